//! This visor's own records: published in the DHT, and registered at the HTTP services.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::time::Mono;
use skydht_discovery::record::{Service, Transport, VisorAddress};
use skydht_discovery::register::{Ask, Registrar, Registry, records};
use skydht_discovery::{BaseUrl, Carrier, Exchange as _};
use skydht_driver::Dht;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::RegisterSettings;
use crate::http::Exchanger;
use crate::mirror::Publishing;
use crate::report::{RegistriesReport, RegistryReport};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A visor's own records, and the services where they are registered. Clones share them.
#[derive(Clone)]
pub(crate) struct Registering(Arc<Inner>);

struct Inner {
    registrar: Mutex<Registrar>,
    urls: Vec<(Registry, BaseUrl)>,
    publishing: Publishing,
    changed: Notify,
    begun: Instant,
}

/// New records of a visor; a member that is `None` changes nothing.
#[derive(Debug, Default)]
pub(crate) struct NewRecords {
    pub(crate) transports: Option<Vec<Transport>>,
    pub(crate) services: Option<Vec<Service>>,
    pub(crate) address: Option<Option<VisorAddress>>,
}

impl Registering {
    /// Creates the records of a visor with the key `secret`, to be registered at the configured
    /// services.
    pub(crate) fn new(secret: SecretKey, settings: &RegisterSettings) -> Self {
        let mut registrar = Registrar::new(secret);
        let urls = [
            (Registry::Transports, &settings.transports),
            (Registry::Services, &settings.services),
            (Registry::Addresses, &settings.addresses),
        ];
        let urls = urls.into_iter();
        let urls: Vec<_> = urls
            .filter_map(|(at, url)| Some((at, url.clone()?)))
            .collect();
        for (at, url) in &urls {
            let over_dmsg = matches!(url.carrier(), Carrier::Dmsg { .. });
            registrar.register_at(*at, over_dmsg, Mono(0));
        }
        Self(Arc::new(Inner {
            registrar: Mutex::new(registrar),
            urls,
            publishing: Publishing::default(),
            changed: Notify::new(),
            begun: Instant::now(),
        }))
    }

    fn registrar(&self) -> MutexGuard<'_, Registrar> {
        let registrar = self.0.registrar.lock();
        registrar.unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.0.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Replaces the given records; returns the new state.
    pub(crate) fn set(&self, own: PublicKey, new: NewRecords) -> RegistriesReport {
        let now = self.now();
        let records = {
            let mut registrar = self.registrar();
            if let Some(list) = new.transports {
                registrar.set_transports(now, list);
            }
            if let Some(list) = new.services {
                registrar.set_services(now, list);
            }
            if let Some(address) = new.address {
                registrar.set_address(now, address);
            }
            records(own, registrar.own())
        };
        for (id, content) in records {
            self.0.publishing.set(&id, content);
        }
        self.0.changed.notify_one();
        self.report()
    }

    /// Reports the records, and the state at each service.
    pub(crate) fn report(&self) -> RegistriesReport {
        let registrar = self.registrar();
        let own = registrar.own();
        let mut reports = registrar.report();
        let url_of = |at: &Registry| {
            let found = self.0.urls.iter().find(|(it, _)| it == at);
            found.map(|(_, url)| url.to_string()).unwrap_or_default()
        };
        let at = self.0.urls.iter().filter_map(|(at, _)| {
            let report = reports.remove(at)?;
            Some(RegistryReport::new(*at, url_of(at), report))
        });
        RegistriesReport {
            schema: RegistriesReport::SCHEMA.into(),
            transports: own.transports.len(),
            services: own.services.len(),
            address: own.address.as_ref().map(|it| it.remote_addr.clone()),
            waiting: self.0.publishing.stats().waiting,
            at: at.collect(),
        }
    }

    /// Publishes and registers the records, until it is dropped.
    pub(crate) async fn run(self, dht: Dht, exchanger: Exchanger) {
        tokio::join!(self.0.publishing.run(dht), self.register(exchanger));
    }

    async fn register(&self, exchanger: Exchanger) {
        let exchanger = Arc::new(exchanger);
        let mut asking = JoinSet::new();
        loop {
            let asks: Vec<Ask> = {
                let mut registrar = self.registrar();
                std::iter::from_fn(|| registrar.poll_output(self.now())).collect()
            };
            for Ask {
                id,
                to,
                mut request,
            } in asks
            {
                let base = self.0.urls.iter().find(|(at, _)| *at == to);
                let uri = base.and_then(|(_, base)| base.join(request.uri()).ok());
                let Some(uri) = uri else {
                    let why = "the path cannot be asked for there".to_owned();
                    self.registrar().handle(self.now(), id, Err(why));
                    continue;
                };
                *request.uri_mut() = uri;
                let exchanger = Arc::clone(&exchanger);
                asking.spawn(async move {
                    let result = match timeout(TIMEOUT, exchanger.exchange(request)).await {
                        Ok(result) => result.map_err(|error| error.to_string()),
                        Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
                    };
                    (id, result)
                });
            }
            let next = self.registrar().next_deadline(self.now());
            let due = async {
                match next {
                    Some(due) => sleep_until(self.0.begun + due.since(Mono(0))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(Ok((id, result))) = asking.join_next() => {
                    self.registrar().handle(self.now(), id, result);
                }
                () = due => {}
                () = self.0.changed.notified() => {}
            }
        }
    }
}
