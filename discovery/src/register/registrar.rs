//! All services together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_core::time::Mono;

use super::desk::{Desk, DeskReport, Verdict};
use super::wanted::Own;
use crate::record::{Service, ServiceAddress, ServiceKind, Transport, TransportId, VisorAddress};
use crate::web::{Request, Response};
use crate::{resolver, service, transport};

/// Half a minute before a transport discovery forgets, as upstream's visors do.
const TRANSPORTS_EVERY: Duration = Duration::from_secs(90);
/// Services live five minutes.
const SERVICES_EVERY: Duration = Duration::from_secs(2 * 60);
/// Addresses live ten minutes at ours.
const ADDRESS_EVERY: Duration = Duration::from_secs(3 * 60);

/// Which service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Registry {
    /// The transport discovery.
    Transports,
    /// The service discovery.
    Services,
    /// The address resolver.
    Addresses,
}

/// A request for a service, and to [`Registrar::handle`] what comes of it.
#[derive(Debug)]
pub struct Ask {
    /// Names the request.
    pub id: u64,
    /// To whom.
    pub to: Registry,
    /// With a path and no host.
    pub request: Request,
}

/// See the module's documentation.
pub struct Registrar {
    secret: SecretKey,
    own: Own,
    transports: Option<Desk<transport::Call>>,
    services: Option<Desk<service::Call>>,
    addresses: Option<Desk<resolver::Call>>,
    /// What was registered and may have to be taken back.
    there: There,
    last_id: u64,
}

#[derive(Default)]
struct There {
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
    /// For a visor with this key, which so far has nothing, at the services that are named by
    /// [`Registrar::register_at`].
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        Self {
            secret,
            own: Own::default(),
            transports: None,
            services: None,
            addresses: None,
            there: There::default(),
            last_id: 0,
        }
    }

    /// Registers at a service from `now` on. `over_dmsg`: it is reached over DMSG, where requests
    /// need no signature.
    pub fn register_at(&mut self, service: Registry, over_dmsg: bool, now: Mono) {
        match service {
            Registry::Transports => {
                self.transports = Some(Desk::new(over_dmsg, TRANSPORTS_EVERY, now));
            }
            Registry::Services => self.services = Some(Desk::new(over_dmsg, SERVICES_EVERY, now)),
            Registry::Addresses => self.addresses = Some(Desk::new(over_dmsg, ADDRESS_EVERY, now)),
        }
    }

    /// What the visor has.
    #[must_use]
    pub const fn own(&self) -> &Own {
        &self.own
    }

    /// The visor's transports are these. Those of other visors are left out.
    pub fn set_transports(&mut self, now: Mono, list: impl IntoIterator<Item = Transport>) {
        let own = self.secret.public();
        let list = list.into_iter().filter(|it| it.edges.contains(&own));
        self.own.transports = list.map(|it| (it.id, it)).collect();
        if let Some(desk) = &mut self.transports {
            desk.changed(now);
        }
    }

    /// The visor's services are these. Those of other visors are left out.
    pub fn set_services(&mut self, now: Mono, list: impl IntoIterator<Item = Service>) {
        let own = Some(self.secret.public());
        let list = list.into_iter().filter(|it| it.address.key == own);
        self.own.services = list.map(|it| ((it.kind(), it.address), it)).collect();
        if let Some(desk) = &mut self.services {
            desk.changed(now);
        }
    }

    /// The visor takes connections there, or nowhere.
    pub fn set_address(&mut self, now: Mono, address: Option<VisorAddress>) {
        self.own.address = address;
        if let Some(desk) = &mut self.addresses {
            desk.changed(now);
        }
    }

    /// How it goes at each service that is registered at.
    #[must_use]
    pub fn report(&self) -> BTreeMap<Registry, DeskReport> {
        let reports = [
            (
                Registry::Transports,
                self.transports.as_ref().map(Desk::report),
            ),
            (Registry::Services, self.services.as_ref().map(Desk::report)),
            (
                Registry::Addresses,
                self.addresses.as_ref().map(Desk::report),
            ),
        ];
        let reports = reports.into_iter();
        reports
            .filter_map(|(at, report)| Some((at, report?)))
            .collect()
    }

    /// The next request, if one is due.
    pub fn poll_output(&mut self, now: Mono) -> Option<Ask> {
        let (id, secret) = (self.last_id + 1, &self.secret);
        let (own, there) = (&self.own, &self.there);
        let transports = self.transports.as_mut().and_then(|desk| {
            let round = || transport_calls(own, there);
            desk.poll(now, id, secret, round, transport::Call::write)
        });
        let found = transports.map(|request| (Registry::Transports, request));
        let found = found.or_else(|| {
            let desk = self.services.as_mut()?;
            let round = || service_calls(own, there);
            let request = desk.poll(now, id, secret, round, service::Call::write)?;
            Some((Registry::Services, request))
        });
        let (to, request) = found.or_else(|| {
            let desk = self.addresses.as_mut()?;
            let round = || address_calls(own, there);
            let request = desk.poll(now, id, secret, round, resolver::Call::write)?;
            Some((Registry::Addresses, request))
        })?;
        self.last_id = id;
        Some(Ask { id, to, request })
    }

    /// What came of a request.
    pub fn handle(&mut self, now: Mono, id: u64, result: Result<Response, String>) {
        let there = &mut self.there;
        if let Some(desk) = &mut self.transports
            && let Some((call, is_taken)) = desk.handle(now, id, result.clone(), judge_transports)
        {
            if is_taken {
                match call {
                    transport::Call::RegisterBare(list) => {
                        there.transports.extend(list.iter().map(|it| it.id));
                    }
                    transport::Call::DeleteBatch(ids) => {
                        there.transports.retain(|id| !ids.contains(id));
                    }
                    _ => {}
                }
            }
            return;
        }
        if let Some(desk) = &mut self.services
            && let Some((call, is_taken)) = desk.handle(now, id, result.clone(), judge_services)
        {
            if is_taken {
                match call {
                    service::Call::Register(it) => {
                        there.services.insert((it.kind(), it.address));
                    }
                    service::Call::Deregister(address, kind) => {
                        there.services.remove(&(kind, address));
                    }
                    _ => {}
                }
            }
            return;
        }
        if let Some(desk) = &mut self.addresses
            && let Some((call, true)) = desk.handle(now, id, result, judge_addresses)
        {
            there.address = matches!(call, resolver::Call::Bind(..));
        }
    }

    /// When [`Registrar::poll_output`] has something next; none while answers are waited for.
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

fn transport_calls(own: &Own, there: &There) -> Vec<transport::Call> {
    let gone = there.transports.iter();
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

fn service_calls(own: &Own, there: &There) -> Vec<service::Call> {
    let gone = there.services.iter();
    let gone = gone.filter(|id| !own.services.contains_key(id));
    let mut calls: Vec<_> = gone
        .map(|(kind, address)| service::Call::Deregister(*address, kind.clone()))
        .collect();
    let all = own.services.values().cloned();
    calls.extend(all.map(|it| service::Call::Register(Box::new(it))));
    calls
}

fn address_calls(own: &Own, there: &There) -> Vec<resolver::Call> {
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
        None if there.address => vec![resolver::Call::Unbind(resolver::Carrier::Tcp)],
        None => Vec::new(),
    }
}

/// What a refusal is worth: of a request that is wrong no later one will be taken.
fn refused(status: u16, why: String, wait: Option<Duration>) -> Verdict {
    match status {
        // 401: another request of this key took the number meanwhile.
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
        // It is gone, which was wanted.
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
