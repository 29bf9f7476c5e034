//! Finds DMSG servers and clients: over an HTTP discovery or a configured list, and in the DHT once
//! the node runs.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_discovery::HttpDiscovery;
use skydht_dmsg::client::Client;
use skydht_dmsg::discovery::{Discovery, DiscoveryError, FixedServers, KnownServer};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_driver::{Dht, DhtDiscovery};
use skydht_runtime::BoxFuture;
use skydht_tokio::TokioRuntime;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::entries::EntryFuture;
use super::known_servers::KnownServers;
use super::two_sources::TwoSources;
use crate::clock::Clock;
use crate::config::DmsgSettings;
use crate::http::{Exchanger, ServiceDialer};
use crate::names;
use crate::output::Human;
use crate::report::{DiscoveryReport, ms};

/// Longest wait for the discovery; below the timeouts of callers.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for the discovery including the resolution of host names.
const RESOLVED_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for the discovery if servers are known without it.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);
/// First and longest pause before the discovery is asked again for servers.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Longest pause accepted from a discovery that rejects requests as too frequent.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Error for an answer without servers.
const NONE: &str = "the discovery knows no server";

#[derive(Clone)]
enum Source {
    Http(HttpDiscovery<Exchanger>),
    Fixed(FixedServers),
}

/// The directory of this process. Clones share their state.
#[derive(Clone)]
pub(crate) struct Directory {
    source: Source,
    /// Dials a discovery on DMSG.
    dialer: ServiceDialer,
    /// URL of the discovery; `None` if none is configured.
    url: Option<String>,
    configured: Vec<KnownServer>,
    remembered: KnownServers,
    dht: DhtDiscovery,
    own: Arc<Mutex<OwnEntry>>,
    state: Arc<Mutex<DiscoveryState>>,
    sources: Arc<TwoSources>,
}

/// State of the discovery.
struct DiscoveryState {
    /// Whether the last request was answered; `None` before the first one.
    is_available: Option<bool>,
    /// When that changed last.
    since: Instant,
    /// Why the last request was not answered.
    cause: Option<String>,
    /// When the discovery is asked next, if that is scheduled.
    next: Option<Instant>,
    /// When the request in progress was sent.
    asked: Option<Instant>,
    /// Until when no request is sent, because the discovery rejected one as too frequent.
    backoff_until: Option<Instant>,
}

/// The node's own DMSG entry.
#[derive(Default)]
struct OwnEntry {
    last: Option<SignedEntry>,
    /// Why the discovery rejected the entry last time.
    refused: Option<String>,
}

impl Directory {
    /// Creates a directory with the configured discovery, or else the configured servers.
    pub(crate) fn new(settings: &DmsgSettings) -> Self {
        Self::with(settings, KnownServers::default(), Clock::default())
    }

    /// Does as [`Directory::new`], with the servers of earlier runs, and a clock that uses the
    /// discovery's `Date` headers.
    pub(crate) fn with(settings: &DmsgSettings, remembered: KnownServers, clock: Clock) -> Self {
        let dialer = ServiceDialer::default();
        let source = match &settings.discovery {
            Some(url) => {
                let dialer = dialer.clone();
                Source::Http(HttpDiscovery::new(url.clone(), Exchanger { clock, dialer }))
            }
            None => Source::Fixed(FixedServers::new(settings.servers.iter().copied())),
        };
        Self {
            source,
            dialer,
            url: settings.discovery.as_ref().map(ToString::to_string),
            configured: settings.servers.clone(),
            remembered,
            dht: DhtDiscovery::new(settings.servers.iter().map(|server| server.key)),
            own: Arc::default(),
            sources: Arc::default(),
            state: Arc::new(Mutex::new(DiscoveryState {
                is_available: None,
                since: Instant::now(),
                cause: None,
                next: None,
                asked: None,
                backoff_until: None,
            })),
        }
    }

    fn state(&self) -> MutexGuard<'_, DiscoveryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the dialer for services on DMSG.
    pub(super) fn dialer(&self) -> ServiceDialer {
        self.dialer.clone()
    }

    /// Sets the client over which a discovery on DMSG is asked, with the servers where it may be
    /// found.
    pub(super) fn set_client(&self, client: &Client<TokioRuntime>, servers: &[KnownServer]) {
        self.dialer.set(client, servers);
    }

    /// Sends a request to the discovery, and records the result in `state` and `sources`.
    fn asked<T: Send + 'static>(
        &self,
        call: BoxFuture<'static, Result<T, DiscoveryError>>,
    ) -> BoxFuture<'static, Result<T, DiscoveryError>> {
        if self.url.is_none() {
            return call;
        }
        let this = self.clone();
        Box::pin(async move {
            let late = || {
                let text = format!("no answer within {TIMEOUT:?}");
                Err(DiscoveryError::Unavailable(text))
            };
            let backoff_until = this.state().backoff_until;
            let left = backoff_until.map(|until| until.saturating_duration_since(Instant::now()));
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                return Err(DiscoveryError::TooOften(left));
            }
            this.state().asked.get_or_insert_with(Instant::now);
            let answer = tokio::time::timeout(TIMEOUT, call).await;
            let answer = answer.unwrap_or_else(|_| late());
            this.sources.note(&answer);
            let mut state = this.state();
            state.asked = None;
            state.backoff_until = match &answer {
                Err(DiscoveryError::TooOften(wait)) => {
                    Some(Instant::now() + (*wait).min(LONGEST_BACKOFF))
                }
                _ => None,
            };
            let cause = match &answer {
                Err(DiscoveryError::Unavailable(why)) => Some(why.clone()),
                _ => None,
            };
            if state.is_available != Some(cause.is_none()) {
                state.is_available = Some(cause.is_none());
                state.since = Instant::now();
            }
            (state.cause, state.next) = (cause, None);
            drop(state);
            answer
        })
    }

    /// Reports the state of the discovery; `None` if none is configured.
    pub(crate) fn report(&self) -> Option<DiscoveryReport> {
        let url = self.url.clone()?;
        let refusal = self.own().refused.clone();
        let state = self.state();
        let next = state.next;
        let next = next.map(|next| ms(next.saturating_duration_since(Instant::now())));
        Some(DiscoveryReport {
            url,
            reachable: state.is_available,
            since_ms: ms(state.since.elapsed()),
            cause: match (state.is_available, state.asked) {
                (None, Some(asked)) => Some(format!("asked {} ago", Human(asked.elapsed()))),
                _ => state.cause.clone(),
            },
            refusal,
            next_try_ms: next,
            lookups: self.sources.stats().into(),
        })
    }

    /// Adds the DHT as a source of entries. Publishes the own entry there once the node is ready.
    pub(crate) fn attach(&self, dht: &Dht) {
        self.dht.attach(dht);
        let (this, dht) = (self.clone(), dht.clone());
        tokio::spawn(async move {
            let ready = dht.ready().await;
            let last = this.own().last.clone();
            if let (Ok(()), Some(entry)) = (ready, last) {
                this.put(entry).await;
            }
        });
    }

    /// Publishes the own entry in the DHT. A failure is only logged, since the entry is published
    /// periodically.
    async fn put(&self, entry: SignedEntry) {
        if let Err(error) = self.dht.publish(entry).await {
            tracing::debug!(%error, "this node's DMSG entry is not in the DHT");
        }
    }

    fn own(&self) -> MutexGuard<'_, OwnEntry> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds an entry for the DHT's own dials: in this node's store or in the discovery, but never
    /// by a lookup in the DHT, which would need further dials (docs/architecture.md, "Dials made
    /// for the DHT").
    pub(super) fn entry_without_lookup(&self, key: PublicKey) -> EntryFuture {
        let from_discovery = self.found(key);
        let dht = self.dht.clone();
        let sources = Arc::clone(&self.sources);
        Box::pin(async move {
            let local = Box::pin(async move { dht.at_hand(key).await });
            sources.find(local, from_discovery).await
        })
    }

    /// Asks the discovery for an entry, and resolves the host name of a server.
    fn found(&self, key: PublicKey) -> EntryFuture {
        let asked = self.asked(self.inner().entry(key));
        Box::pin(async move { Ok(with_numbers(asked.await?).await) })
    }

    /// Asks the discovery for all servers, and resolves their host names.
    fn named(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let asked = match &self.source {
            Source::Http(discovery) => self.asked(discovery.server_entries()),
            Source::Fixed(servers) => return servers.servers(),
        };
        Box::pin(async move {
            let mut resolving = JoinSet::new();
            for entry in asked.await? {
                resolving.spawn(with_numbers(entry));
            }
            let entries = resolving.join_all().await;
            Ok(entries.iter().filter_map(KnownServer::of).collect())
        })
    }

    fn inner(&self) -> &dyn Discovery {
        match &self.source {
            Source::Http(discovery) => discovery,
            Source::Fixed(servers) => servers,
        }
    }

    /// Returns all known servers: configured, named by the discovery, or named before. Also returns
    /// why the discovery named none.
    pub(crate) async fn ask_servers(&self) -> (Vec<KnownServer>, Result<(), String>) {
        let mut known = self.configured.clone();
        known.extend(self.remembered.all());
        let patience = if known.is_empty() {
            RESOLVED_TIMEOUT
        } else {
            SHORT_TIMEOUT
        };
        let answer = match tokio::time::timeout(patience, self.servers()).await {
            Ok(Ok(found)) => {
                known.extend(found);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("the discovery does not answer within {patience:?}")),
        };
        known.sort();
        known.dedup();
        (known, answer)
    }

    /// Returns why no server is known, if none is.
    pub(crate) async fn no_server(&self) -> Option<String> {
        match self.ask_servers().await {
            (known, _) if !known.is_empty() => None,
            (_, Err(why)) => Some(why),
            (_, Ok(())) => Some(NONE.to_owned()),
        }
    }

    /// Returns the known servers; waits until there is one.
    pub(crate) async fn known_servers(&self) -> Vec<KnownServer> {
        let mut wait = RETRY.0;
        loop {
            let (known, answer) = self.ask_servers().await;
            if !known.is_empty() {
                return known;
            }
            let why = answer.err();
            let why = why.as_deref().unwrap_or(NONE);
            tracing::info!("no DMSG server yet: {why}; asking again in {wait:?}");
            self.state().next = Some(Instant::now() + wait);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }
}

impl Discovery for Directory {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let (local, from_discovery) = (self.dht.entry(key), self.found(key));
        let sources = Arc::clone(&self.sources);
        Box::pin(async move { sources.find(local, from_discovery).await })
    }

    /// If the discovery is unavailable, the DHT's entry is used, so that the next version can be
    /// published there. The discovery rejects that version later if it has a newer one.
    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        let asked = self.asked(self.inner().stored(key));
        let local = tokio::time::timeout(TIMEOUT, self.dht.stored(key));
        Box::pin(async move {
            let (answer, local) = tokio::join!(asked, local);
            match (answer, local) {
                (Err(DiscoveryError::Unavailable(_)), Ok(Ok(entry))) => Ok(entry),
                (Err(DiscoveryError::Unavailable(_)), _) => Err(DiscoveryError::NotFound),
                (answer, _) => answer,
            }
        })
    }

    /// A configured list may be outdated, and an HTTP discovery may be unavailable; then servers of
    /// earlier answers and of the DHT are added.
    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let asked = self.named();
        let (dht, remembered) = (self.dht.clone(), self.remembered.clone());
        let is_complete = matches!(self.source, Source::Http(_));
        Box::pin(async move {
            let answer = asked.await;
            if is_complete && let Ok(named) = &answer {
                remembered.learn(named);
                return answer;
            }
            let mut others = remembered.all();
            others.extend(dht.servers().await.into_iter().flatten());
            if others.is_empty() {
                return answer;
            }
            Ok(answer.into_iter().flatten().chain(others).collect())
        })
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let published = self.asked(self.inner().publish(entry.clone()));
        let this = self.clone();
        Box::pin(async move {
            let result = published.await;
            {
                let mut own = this.own();
                own.refused = match &result {
                    Err(DiscoveryError::Unavailable(_)) => None,
                    other => other.as_ref().err().map(ToString::to_string),
                };
                own.last = Some(entry.clone());
            }
            tokio::spawn(async move { this.put(entry).await });
            result
        })
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.asked(self.inner().remove(entry))
    }
}

/// Resolves the host name in a server's address. If that fails, the entry keeps the name.
async fn with_numbers(mut entry: Entry) -> Entry {
    let Some(server) = &mut entry.server else {
        return entry;
    };
    if server.address.parse::<SocketAddr>().is_ok() {
        return entry;
    }
    let parts = server.address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    let Some((host, port)) = parts else {
        return entry;
    };
    match names::resolve(&host, port).await {
        Ok(addrs) => server.address = addrs[0].to_string(),
        Err(why) => tracing::debug!(server = %entry.key, "{why}"),
    }
    entry
}

/// The directory as a server's own client sees it: the other servers. It publishes nothing, because
/// the server publishes the only entry of their common key.
pub(crate) struct OtherServers {
    directory: Directory,
    own: PublicKey,
}

impl OtherServers {
    /// Creates a view of all servers but the one with the key `own`.
    pub(crate) fn new(directory: Directory, own: PublicKey) -> Self {
        Self { directory, own }
    }
}

impl Discovery for OtherServers {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.directory.entry(key)
    }

    fn stored(&self, _: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        Box::pin(std::future::ready(Err(DiscoveryError::NotFound)))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let (asked, own) = (self.directory.servers(), self.own);
        Box::pin(async move {
            let mut servers = asked.await?;
            servers.retain(|server| server.key != own);
            Ok(servers)
        })
    }

    fn publish(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use skydht_core::key::SecretKey;

    use super::*;

    #[tokio::test]
    async fn a_servers_name_becomes_its_address() {
        use skydht_dmsg::entry::ServerFields;

        let key = SecretKey::from_bytes(&[1; 32]).unwrap().public();
        for (address, found) in [
            ("192.0.2.1:80", Some("192.0.2.1:80")),
            ("localhost:80", Some(":80")),
            ("no-such-host.invalid:80", None),
            ("localhost", None),
            ("", None),
        ] {
            let mut entry = Entry::new(key, 0, 0);
            entry.server = Some(ServerFields {
                address: address.into(),
                ..ServerFields::default()
            });
            let server = KnownServer::of(&with_numbers(entry).await);
            let server = server.map(|server| server.address.to_string());
            assert_eq!(server.is_some(), found.is_some(), "{address}");
            assert!(
                server
                    .unwrap_or_default()
                    .ends_with(found.unwrap_or_default())
            );
        }
    }
}
