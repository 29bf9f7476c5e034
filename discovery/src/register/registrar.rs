//! Registration at all services.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_core::time::Mono;

use super::own_records::Own;
use super::registration::{DeskReport, Registration, Verdict};
use crate::record::{Service, ServiceAddress, ServiceKind, Transport, TransportId, VisorAddress};
use crate::web::{Request, Response};
use crate::{resolver, service, transport};

/// Interval of registrations at a transport discovery; half a minute before its entries expire, as
/// in upstream's visors.
const TRANSPORTS_EVERY: Duration = Duration::from_secs(90);
/// Interval at a service discovery, whose entries expire after five minutes.
const SERVICES_EVERY: Duration = Duration::from_secs(2 * 60);
/// Interval at an address resolver; this crate's expires addresses after ten minutes.
const ADDRESS_EVERY: Duration = Duration::from_secs(3 * 60);

/// Kind of a service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Registry {
    /// The transport discovery.
    Transports,
    /// The service discovery.
    Services,
    /// The address resolver.
    Addresses,
}

/// A request to send; its result must be passed to [`Registrar::handle`].
#[derive(Debug)]
pub struct Ask {
    /// Identifies the request.
    pub id: u64,
    /// The service to send it to.
    pub to: Registry,
    /// The request, with a path and without a host.
    pub request: Request,
}

/// Registers a visor's records; see the [module](super).
pub struct Registrar {
    secret: SecretKey,
    own: Own,
    transports: Option<Registration<transport::Call>>,
    services: Option<Registration<service::Call>>,
    addresses: Option<Registration<resolver::Call>>,
    /// Registered records that may have to be removed again.
    registered: Registered,
    last_id: u64,
}

#[derive(Default)]
struct Registered {
    transports: BTreeSet<TransportId>,
    services: BTreeSet<(ServiceKind, ServiceAddress)>,
    address: bool,
}

impl std::fmt::Debug for Registrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registrar")
            .field("key", &self.secret.public())
            .finish_non_exhaustive()
    }
}

impl Registrar {
    /// Creates a registrar for a visor without records. [`Registrar::register_at`] adds the
    /// services.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        Self {
            secret,
            own: Own::default(),
            transports: None,
            services: None,
            addresses: None,
            registered: Registered::default(),
            last_id: 0,
        }
    }

    /// Registers at a service from `now` on. `over_dmsg`: it is reached over DMSG, where requests
    /// need no signature.
    pub fn register_at(&mut self, service: Registry, over_dmsg: bool, now: Mono) {
        match service {
            Registry::Transports => {
                self.transports = Some(Registration::new(over_dmsg, TRANSPORTS_EVERY, now));
            }
            Registry::Services => {
                self.services = Some(Registration::new(over_dmsg, SERVICES_EVERY, now))
            }
            Registry::Addresses => {
                self.addresses = Some(Registration::new(over_dmsg, ADDRESS_EVERY, now))
            }
        }
    }

    /// Returns the visor's records.
    #[must_use]
    pub const fn own(&self) -> &Own {
        &self.own
    }

    /// Sets the visor's transports. Transports of other visors are ignored.
    pub fn set_transports(&mut self, now: Mono, list: impl IntoIterator<Item = Transport>) {
        let own = self.secret.public();
        let list = list.into_iter().filter(|it| it.edges.contains(&own));
        self.own.transports = list.map(|it| (it.id, it)).collect();
        if let Some(registration) = &mut self.transports {
            registration.changed(now);
        }
    }

    /// Sets the visor's services. Services of other visors are ignored.
    pub fn set_services(&mut self, now: Mono, list: impl IntoIterator<Item = Service>) {
        let own = Some(self.secret.public());
        let list = list.into_iter().filter(|it| it.address.key == own);
        self.own.services = list.map(|it| ((it.kind(), it.address), it)).collect();
        if let Some(registration) = &mut self.services {
            registration.changed(now);
        }
    }

    /// Sets the address at which the visor accepts connections, or removes it.
    pub fn set_address(&mut self, now: Mono, address: Option<VisorAddress>) {
        self.own.address = address;
        if let Some(registration) = &mut self.addresses {
            registration.changed(now);
        }
    }

    /// Returns the state of the registration at each service.
    #[must_use]
    pub fn report(&self) -> BTreeMap<Registry, DeskReport> {
        let reports = [
            (
                Registry::Transports,
                self.transports.as_ref().map(Registration::report),
            ),
            (
                Registry::Services,
                self.services.as_ref().map(Registration::report),
            ),
            (
                Registry::Addresses,
                self.addresses.as_ref().map(Registration::report),
            ),
        ];
        let reports = reports.into_iter();
        reports
            .filter_map(|(at, report)| Some((at, report?)))
            .collect()
    }

    /// Returns the next request, if one is due.
    pub fn poll_output(&mut self, now: Mono) -> Option<Ask> {
        let (id, secret) = (self.last_id + 1, &self.secret);
        let (own, registered) = (&self.own, &self.registered);
        let transports = self.transports.as_mut().and_then(|registration| {
            let round = || transport_calls(own, registered);
            registration.poll(now, id, secret, round, transport::Call::write)
        });
        let found = transports.map(|request| (Registry::Transports, request));
        let found = found.or_else(|| {
            let registration = self.services.as_mut()?;
            let round = || service_calls(own, registered);
            let request = registration.poll(now, id, secret, round, service::Call::write)?;
            Some((Registry::Services, request))
        });
        let (to, request) = found.or_else(|| {
            let registration = self.addresses.as_mut()?;
            let round = || address_calls(own, registered);
            let request = registration.poll(now, id, secret, round, resolver::Call::write)?;
            Some((Registry::Addresses, request))
        })?;
        self.last_id = id;
        Some(Ask { id, to, request })
    }

    /// Processes the result of a request.
    pub fn handle(&mut self, now: Mono, id: u64, result: Result<Response, String>) {
        let registered = &mut self.registered;
        if let Some(registration) = &mut self.transports
            && let Some((call, is_taken)) =
                registration.handle(now, id, result.clone(), judge_transports)
        {
            if is_taken {
                match call {
                    transport::Call::RegisterBare(list) => {
                        registered.transports.extend(list.iter().map(|it| it.id));
                    }
                    transport::Call::DeleteBatch(ids) => {
                        registered.transports.retain(|id| !ids.contains(id));
                    }
                    _ => {}
                }
            }
            return;
        }
        if let Some(registration) = &mut self.services
            && let Some((call, is_taken)) =
                registration.handle(now, id, result.clone(), judge_services)
        {
            if is_taken {
                match call {
                    service::Call::Register(it) => {
                        registered.services.insert((it.kind(), it.address));
                    }
                    service::Call::Deregister(address, kind) => {
                        registered.services.remove(&(kind, address));
                    }
                    _ => {}
                }
            }
            return;
        }
        if let Some(registration) = &mut self.addresses
            && let Some((call, true)) = registration.handle(now, id, result, judge_addresses)
        {
            registered.address = matches!(call, resolver::Call::Bind(..));
        }
    }

    /// Returns when [`Registrar::poll_output`] will return a request; `None` while responses are
    /// pending.
    #[must_use]
    pub fn next_deadline(&self, now: Mono) -> Option<Mono> {
        let deadlines = [
            self.transports
                .as_ref()
                .and_then(|it| it.next_deadline(now)),
            self.services.as_ref().and_then(|it| it.next_deadline(now)),
            self.addresses.as_ref().and_then(|it| it.next_deadline(now)),
        ];
        deadlines.into_iter().flatten().min()
    }
}

fn transport_calls(own: &Own, registered: &Registered) -> Vec<transport::Call> {
    let gone = registered.transports.iter();
    let gone = gone.filter(|id| !own.transports.contains_key(id)).copied();
    let gone: Vec<TransportId> = gone.collect();
    let mut calls: Vec<_> = gone
        .chunks(transport::MOST_ASKED)
        .map(|ids| transport::Call::DeleteBatch(ids.to_vec()))
        .collect();
    let all: Vec<Transport> = own.transports.values().cloned().collect();
    let lists = all.chunks(transport::MOST_ASKED);
    calls.extend(lists.map(|list| transport::Call::RegisterBare(list.to_vec())));
    calls
}

fn service_calls(own: &Own, registered: &Registered) -> Vec<service::Call> {
    let gone = registered.services.iter();
    let gone = gone.filter(|id| !own.services.contains_key(id));
    let mut calls: Vec<_> = gone
        .map(|(kind, address)| service::Call::Deregister(*address, kind.clone()))
        .collect();
    let all = own.services.values().cloned();
    calls.extend(all.map(|it| service::Call::Register(Box::new(it))));
    calls
}

fn address_calls(own: &Own, registered: &Registered) -> Vec<resolver::Call> {
    match &own.address {
        Some(visor) => {
            let seen = visor.remote_addr.parse::<std::net::SocketAddr>();
            let binding = resolver::Binding {
                visor: visor.clone(),
                public_ip: seen.ok().map(|seen| seen.ip()),
            };
            vec![resolver::Call::Bind(
                resolver::Carrier::Tcp,
                Box::new(binding),
            )]
        }
        None if registered.address => vec![resolver::Call::Unbind(resolver::Carrier::Tcp)],
        None => Vec::new(),
    }
}

/// Classifies a refusal: after a client error, a repeated request would be refused, too.
fn refused(status: u16, why: String, wait: Option<Duration>) -> Verdict {
    match status {
        // 401: another request of this key has used the nonce meanwhile.
        401 | 429 | 500..=599 => Verdict::Later(why, wait),
        _ => Verdict::Refused(why),
    }
}

fn judge_transports(call: &transport::Call, response: &Response) -> Verdict {
    match transport::Answer::read(call, response) {
        Ok(_) => Verdict::Taken,
        Err(transport::AnswerError::Refused(transport::Refusal::TooOften(wait))) => {
            refused(429, "asked too often".to_owned(), Some(wait))
        }
        Err(error) => refused(response.status().as_u16(), error.to_string(), None),
    }
}

fn judge_services(call: &service::Call, response: &Response) -> Verdict {
    let status = response.status().as_u16();
    match (call, service::Answer::read(call, response)) {
        (_, Ok(_)) => Verdict::Taken,
        // The service is not registered, which was the purpose.
        (service::Call::Deregister(..), Err(_)) if status == 404 => Verdict::Taken,
        (_, Err(error)) => refused(status, error.to_string(), None),
    }
}

fn judge_addresses(call: &resolver::Call, response: &Response) -> Verdict {
    let status = response.status().as_u16();
    match (call, resolver::Answer::read(call, response)) {
        (_, Ok(_)) => Verdict::Taken,
        (resolver::Call::Unbind(_), Err(_)) if status == 404 => Verdict::Taken,
        (_, Err(error)) => refused(status, error.to_string(), None),
    }
}
