//! Where DMSG's servers and clients are found: an HTTP discovery or a configured list, and the DHT
//! once it runs.

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

use super::entries::Finding;
use super::known_servers::KnownServers;
use super::two_sources::TwoSources;
use crate::clock::Clock;
use crate::config::DmsgSettings;
use crate::http::{Exchanger, ServiceDialer};
use crate::names;
use crate::output::Human;
use crate::report::{DiscoveryReport, ms};

/// How long the discovery is waited for, less than callers wait for it.
const TIMEOUT: Duration = Duration::from_secs(8);
/// The same with what follows from its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a caller that knows servers without it waits for it.
const HASTE: Duration = Duration::from_secs(2);
/// The first and the longest wait before it is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A discovery that was asked too often is left alone for as long as it wants, up to this.
const LEFT_ALONE: Duration = Duration::from_secs(60);

/// What a discovery says that says nothing.
const NONE: &str = "the discovery knows no server";

#[derive(Clone)]
enum Source {
    Http(HttpDiscovery<Exchanger>),
    Fixed(FixedServers),
}

/// The discovery of this process. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Directory {
    source: Source,
    /// How a discovery on DMSG is reached.
    dialer: ServiceDialer,
    /// The discovery's URL; none: there is none.
    url: Option<String>,
    configured: Vec<KnownServer>,
    remembered: KnownServers,
    dht: DhtDiscovery,
    own: Arc<Mutex<Own>>,
    answers: Arc<Mutex<Answers>>,
    sources: Arc<TwoSources>,
}

/// Whether the discovery answers.
struct Answers {
    /// None: it was not asked yet.
    is_there: Option<bool>,
    /// Since when that is so.
    since: Instant,
    /// Why it is not there.
    cause: Option<String>,
    /// When it is asked again, if that is known.
    next: Option<Instant>,
    /// Since when the first question has waited for an answer.
    asked: Option<Instant>,
    /// It was asked too often, and is left alone until then.
    left_alone: Option<Instant>,
}

/// What became of our entry.
#[derive(Default)]
struct Own {
    last: Option<SignedEntry>,
    /// Why a discovery that answered did not take it the last time.
    refused: Option<String>,
}

impl Directory {
    /// The discovery that is configured; without one the servers that are.
    pub(crate) fn new(settings: &DmsgSettings) -> Self {
        Self::with(settings, KnownServers::default(), Clock::default())
    }

    /// As [`Directory::new`], with the servers of earlier runs, and a clock that learns what time
    /// the discovery says it is.
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
            answers: Arc::new(Mutex::new(Answers {
                is_there: None,
                since: Instant::now(),
                cause: None,
                next: None,
                asked: None,
                left_alone: None,
            })),
        }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What dials services on DMSG.
    pub(super) fn dialer(&self) -> ServiceDialer {
        self.dialer.clone()
    }

    /// The client over which a discovery on DMSG is asked, with the servers to look for it at.
    pub(super) fn set_client(&self, client: &Client<TokioRuntime>, servers: &[KnownServer]) {
        self.dialer.set(client, servers);
    }

    /// Waits for an answer of the discovery, and notes whether there was one.
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
            let left_alone = this.answers().left_alone;
            let left = left_alone.map(|until| until.saturating_duration_since(Instant::now()));
            if let Some(left) = left.filter(|left| !left.is_zero()) {
                return Err(DiscoveryError::TooOften(left));
            }
            this.answers().asked.get_or_insert_with(Instant::now);
            let answer = tokio::time::timeout(TIMEOUT, call).await;
            let answer = answer.unwrap_or_else(|_| late());
            this.sources.note(&answer);
            let mut answers = this.answers();
            answers.asked = None;
            answers.left_alone = match &answer {
                Err(DiscoveryError::TooOften(wait)) => {
                    Some(Instant::now() + (*wait).min(LEFT_ALONE))
                }
                _ => None,
            };
            let cause = match &answer {
                Err(DiscoveryError::Unavailable(why)) => Some(why.clone()),
                _ => None,
            };
            if answers.is_there != Some(cause.is_none()) {
                answers.is_there = Some(cause.is_none());
                answers.since = Instant::now();
            }
            (answers.cause, answers.next) = (cause, None);
            drop(answers);
            answer
        })
    }

    /// Whether the discovery answers; none: there is none.
    pub(crate) fn report(&self) -> Option<DiscoveryReport> {
        let url = self.url.clone()?;
        let refusal = self.own().refused.clone();
        let answers = self.answers();
        let next = answers.next;
        let next = next.map(|next| ms(next.saturating_duration_since(Instant::now())));
        Some(DiscoveryReport {
            url,
            reachable: answers.is_there,
            since_ms: ms(answers.since.elapsed()),
            cause: match (answers.is_there, answers.asked) {
                (None, Some(asked)) => Some(format!("asked {} ago", Human(asked.elapsed()))),
                _ => answers.cause.clone(),
            },
            refusal,
            next_try_ms: next,
            lookups: self.sources.stats().into(),
        })
    }

    /// From now on entries are looked for in the DHT, too. Once the node is ready, our own goes
    /// there.
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

    /// Puts our entry into the DHT. A failure is made good when it is published again.
    async fn put(&self, entry: SignedEntry) {
        if let Err(error) = self.dht.publish(entry).await {
            tracing::debug!(%error, "this node's DMSG entry is not in the DHT");
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry for the DHT's own dials, without a lookup in the DHT, which would lead to further
    /// dials (docs/architecture.md, "Dials made for the DHT"): from this node's store or from the
    /// discovery.
    pub(super) fn entry_without_lookup(&self, key: PublicKey) -> Finding {
        let told = self.found(key);
        let dht = self.dht.clone();
        let sources = Arc::clone(&self.sources);
        Box::pin(async move {
            let held = Box::pin(async move { dht.at_hand(key).await });
            sources.find(held, told).await
        })
    }

    /// The entry of a key, with a server's address as numbers.
    fn found(&self, key: PublicKey) -> Finding {
        let asked = self.asked(self.inner().entry(key));
        Box::pin(async move { Ok(with_numbers(asked.await?).await) })
    }

    /// The servers that are named, also those whose address is a name.
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

    /// The servers that are configured, and those that the discovery tells, or told before; why it
    /// tells none.
    pub(crate) async fn ask_servers(&self) -> (Vec<KnownServer>, Result<(), String>) {
        let mut known = self.configured.clone();
        known.extend(self.remembered.all());
        let patience = if known.is_empty() { PATIENCE } else { HASTE };
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

    /// Why there is no server to connect to, if there is none.
    pub(crate) async fn no_server(&self) -> Option<String> {
        match self.ask_servers().await {
            (known, _) if !known.is_empty() => None,
            (_, Err(why)) => Some(why),
            (_, Ok(())) => Some(NONE.to_owned()),
        }
    }

    /// The servers that are known: waits until there are any.
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
            self.answers().next = Some(Instant::now() + wait);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }
}

impl Discovery for Directory {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let (held, told) = (self.dht.entry(key), self.found(key));
        let sources = Arc::clone(&self.sources);
        Box::pin(async move { sources.find(held, told).await })
    }

    /// A discovery that is away does not keep our entry from the DHT: it follows what is there. The
    /// discovery refuses it when it is back and knows a later one.
    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        let asked = self.asked(self.inner().stored(key));
        let held = tokio::time::timeout(TIMEOUT, self.dht.stored(key));
        Box::pin(async move {
            let (answer, held) = tokio::join!(asked, held);
            match (answer, held) {
                (Err(DiscoveryError::Unavailable(_)), Ok(Ok(entry))) => Ok(entry),
                (Err(DiscoveryError::Unavailable(_)), _) => Err(DiscoveryError::NotFound),
                (answer, _) => answer,
            }
        })
    }

    /// A list of servers may be old, and an HTTP discovery may be away: then those that the DHT
    /// knows.
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

/// The entry, with the name in a server's address looked up. One that is not known now stays, and
/// the caller does without the address.
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

/// The other servers of a directory, for a server's own sessions with them. It publishes nothing:
/// there is one entry for a key, and that is the server's.
pub(crate) struct Others {
    directory: Directory,
    own: PublicKey,
}

impl Others {
    /// All servers but the one with this key.
    pub(crate) fn new(directory: Directory, own: PublicKey) -> Self {
        Self { directory, own }
    }
}

impl Discovery for Others {
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
