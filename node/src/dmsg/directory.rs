//! Where DMSG's servers and clients are found: an HTTP discovery or a configured list, and the DHT
//! once it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_discovery::HttpDiscovery;
use skydht_dmsg::discovery::{Discovery, DiscoveryError, FixedServers, KnownServer};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_driver::{Dht, DhtDiscovery};
use skydht_runtime::BoxFuture;

use super::entries::Finding;
use crate::config::DmsgSettings;
use crate::http::Exchanger;

/// How long the discovery is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The first and the longest wait before it is asked again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

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
    configured: Vec<KnownServer>,
    dht: DhtDiscovery,
    own: Arc<Mutex<Own>>,
}

/// What became of our entry.
#[derive(Default)]
struct Own {
    last: Option<SignedEntry>,
    /// Why it was not taken the last time.
    refused: Option<String>,
}

impl Directory {
    /// The discovery that is configured; without one the servers that are.
    pub(crate) fn new(settings: &DmsgSettings) -> Self {
        let source = match &settings.discovery {
            Some(url) => Source::Http(HttpDiscovery::new(url.clone(), Exchanger)),
            None => Source::Fixed(FixedServers::new(settings.servers.iter().copied())),
        };
        Self {
            source,
            configured: settings.servers.clone(),
            dht: DhtDiscovery::new(settings.servers.iter().map(|server| server.key)),
            own: Arc::default(),
        }
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
    /// dials (design §3.14): from this node's store or from the discovery.
    pub(super) fn entry_without_lookup(&self, key: PublicKey) -> Finding {
        let (dht, told) = (self.dht.clone(), self.inner().entry(key));
        Box::pin(async move {
            let (held, told) = tokio::join!(dht.at_hand(key), told);
            later(held, told)
        })
    }

    fn inner(&self) -> &dyn Discovery {
        match &self.source {
            Source::Http(discovery) => discovery,
            Source::Fixed(servers) => servers,
        }
    }

    /// Why our entry was not taken the last time, if it was not.
    pub(crate) fn refused(&self) -> Option<String> {
        self.own().refused.clone()
    }

    /// The servers that are configured, and those that the discovery tells; why it tells none.
    pub(crate) async fn ask_servers(&self) -> (Vec<KnownServer>, Result<(), String>) {
        let asked = tokio::time::timeout(TIMEOUT, self.servers());
        let mut known = self.configured.clone();
        let answer = match asked.await {
            Ok(Ok(found)) => {
                known.extend(found);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the discovery does not answer".to_owned()),
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
            tracing::warn!("no DMSG server yet: {why}; asking again in {wait:?}");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }
}

impl Discovery for Directory {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let (asked, dht) = (self.inner().entry(key), self.dht.clone());
        Box::pin(async move {
            match asked.await {
                Ok(entry) => Ok(entry),
                Err(error) => dht.entry(key).await.map_err(|_| error),
            }
        })
    }

    /// A list of servers may be old, and an HTTP discovery may be away: then those that the DHT
    /// knows.
    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let (asked, dht) = (self.inner().servers(), self.dht.clone());
        let is_complete = matches!(self.source, Source::Http(_));
        Box::pin(async move {
            let answer = asked.await;
            if is_complete && answer.is_ok() {
                return answer;
            }
            match dht.servers().await {
                Ok(found) if !found.is_empty() => {
                    Ok(answer.into_iter().flatten().chain(found).collect())
                }
                _ => answer,
            }
        })
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let (published, this) = (self.inner().publish(entry.clone()), self.clone());
        Box::pin(async move {
            let result = published.await;
            {
                let mut own = this.own();
                own.refused = result.as_ref().err().map(ToString::to_string);
                own.last = Some(entry.clone());
            }
            tokio::spawn(async move { this.put(entry).await });
            result
        })
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.inner().remove(entry)
    }
}

/// The entry that its owner signed later; what is known, if only one is.
fn later(
    held: Result<Entry, DiscoveryError>,
    told: Result<Entry, DiscoveryError>,
) -> Result<Entry, DiscoveryError> {
    match (held, told) {
        (Ok(held), Ok(told)) if held.timestamp <= told.timestamp => Ok(told),
        (Ok(held), _) => Ok(held),
        (Err(_), told) => told,
    }
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

    #[test]
    fn the_entry_that_was_signed_later_counts() {
        let key = SecretKey::from_bytes(&[1; 32]).unwrap().public();
        let signed = |at| Ok(Entry::new(key, 0, at));
        let none = || Err(DiscoveryError::NotFound);
        let away = || Err(DiscoveryError::Unavailable(String::new()));
        assert_eq!(later(signed(5), signed(6)), signed(6));
        assert_eq!(later(signed(6), signed(5)), signed(6));
        assert_eq!(later(signed(5), away()), signed(5));
        assert_eq!(later(none(), signed(5)), signed(5));
        assert_eq!(later(none(), away()), away());
    }
}
