//! The DHT as DMSG's discovery: an entry is an item that its owner publishes (specification of
//! discovery, §7 and §8.1).
//!
//! Dials made for the DHT do not use it, since they would cause further dials
//! (docs/architecture.md, "Dials made for the DHT").

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use skydht_core::item::{Salt, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, GetRequest, PutOptions, ReadPolicy};
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer};
use skydht_dmsg::entry::{ClientFields, Entry, ServerFields, SignedEntry};
use skydht_runtime::BoxFuture;

use crate::dht::{Dht, Stopped, WeakDht};

/// The salt under which entries are published.
pub const SALT: &str = "dmsg";
/// How long an entry with the same content is not put again. The node renews the item meanwhile.
pub const REPEAT: Duration = Duration::from_secs(15 * 60);
/// Maximum number of servers remembered from entries.
pub const MOST_SERVERS: usize = 64;
/// Maximum number of servers remembered from one entry.
pub const MOST_NAMED: usize = 4;
/// Maximum number of lookups of each kind in one request for servers.
pub const MOST_LOOKUPS: usize = 16;
/// If fewer servers are known, entries of peers are read to learn the servers that they name.
const ENOUGH_SERVERS: usize = 4;

/// A discovery that stores entries in the DHT. Clones share one node.
///
/// Start the DMSG client or server that uses it first, then the node over that client or server,
/// and then call [`DhtDiscovery::attach`]. Until then nothing is found, and a published entry is
/// put only when it is published again, at most a minute later. The discovery does not keep the
/// node running; once the node has ended, calls fail with [`DiscoveryError::Unavailable`].
#[derive(Clone, Default)]
pub struct DhtDiscovery(Arc<DiscoveryInner>);

#[derive(Default)]
struct DiscoveryInner {
    dht: OnceLock<WeakDht>,
    state: Mutex<DiscoveryState>,
}

#[derive(Default)]
struct DiscoveryState {
    /// Keys of the configured servers.
    known: BTreeSet<PublicKey>,
    /// Keys of servers that entries named.
    named: BTreeSet<PublicKey>,
    /// The content that was put last, and the timestamp of its entry.
    put: Option<(Content, i64)>,
}

/// The content of an entry without the parts that change with every publication.
type Content = (Option<ClientFields>, String, Option<ServerFields>);

fn content(entry: &Entry) -> Content {
    let server = entry.server.clone().map(|server| ServerFields {
        available_sessions: 0,
        ..server
    });
    (entry.client.clone(), entry.client_type.clone(), server)
}

impl DhtDiscovery {
    /// Creates a discovery that knows the keys of these servers; their addresses come from their
    /// entries.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = PublicKey>) -> Self {
        let this = Self::default();
        this.state().known.extend(servers);
        this
    }

    /// Sets the node to use. Only the first call has an effect.
    pub fn attach(&self, dht: &Dht) {
        let _ = self.0.dht.set(dht.downgrade());
    }

    /// Finds an entry like [`Discovery::entry`], but only in this node's own store, without asking
    /// a peer.
    ///
    /// # Errors
    /// As [`Discovery::entry`].
    pub async fn at_hand(&self, key: PublicKey) -> Result<Entry, DiscoveryError> {
        self.find(key, ReadPolicy::Local).await
    }

    fn state(&self) -> MutexGuard<'_, DiscoveryState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the node; `None` before it is attached.
    fn dht(&self) -> Result<Option<Dht>, DiscoveryError> {
        let Some(dht) = self.0.dht.get() else {
            return Ok(None);
        };
        let stopped = || DiscoveryError::Unavailable(Stopped.to_string());
        dht.upgrade().map(Some).ok_or_else(stopped)
    }

    async fn find(&self, key: PublicKey, policy: ReadPolicy) -> Result<Entry, DiscoveryError> {
        Ok(self.find_signed(key, policy).await?.entry().clone())
    }

    async fn find_signed(
        &self,
        key: PublicKey,
        policy: ReadPolicy,
    ) -> Result<SignedEntry, DiscoveryError> {
        let asked = GetRequest::of(key, Salt::from(SALT), policy);
        let dht = self.dht()?.ok_or(DiscoveryError::NotFound)?;
        let found = match dht.get(asked).await {
            Ok(found) => found,
            Err(GetError::Timeout {
                best: Some(found), ..
            }) => *found,
            Err(GetError::NotFound { .. } | GetError::Deleted { .. }) => {
                return Err(DiscoveryError::NotFound);
            }
            Err(error) => return Err(DiscoveryError::Unavailable(error.to_string())),
        };
        let entry = read(key, found.item.value.as_bytes()).ok_or(DiscoveryError::NotFound)?;
        self.state().learn(entry.entry());
        Ok(entry)
    }

    async fn find_all(&self, keys: impl IntoIterator<Item = PublicKey>) -> Vec<Entry> {
        let asked = keys.into_iter().take(MOST_LOOKUPS);
        let found = join_all(asked.map(|key| self.find(key, ReadPolicy::FirstValid)));
        found.await.into_iter().flatten().collect()
    }

    async fn find_servers(&self) -> Result<Vec<KnownServer>, DiscoveryError> {
        let Some(dht) = self.dht()? else {
            return Ok(Vec::new());
        };
        if self.state().servers().len() < ENOUGH_SERVERS
            && let Ok(peers) = dht.peers().await
        {
            self.find_all(peers.iter().map(|peer| peer.key)).await;
        }
        drop(dht);
        let mut asked = self.state().servers();
        asked.truncate(MOST_LOOKUPS);
        let entries = self.find_all(asked.iter().copied()).await;
        let found: Vec<_> = entries.iter().filter_map(KnownServer::of).collect();
        let is_found = |key| found.iter().any(|server| server.key == key);
        // Forget servers without an entry, so that others can be remembered.
        let mut state = self.state();
        for key in asked.into_iter().filter(|key| !is_found(*key)) {
            state.named.remove(&key);
        }
        drop(state);
        Ok(found)
    }

    async fn put(&self, entry: SignedEntry) -> Result<(), DiscoveryError> {
        let Some(dht) = self.dht()? else {
            return Ok(());
        };
        let latest = (content(entry.entry()), entry.entry().timestamp);
        let repeats = {
            let state = self.state();
            let put = state.put.as_ref();
            put.is_some_and(|(content, at)| *content == latest.0 && is_recent(*at, latest.1))
        };
        if repeats {
            return Ok(());
        }
        let value = Value::new(entry.json());
        let put = dht.put(Salt::from(SALT), value, PutOptions::default());
        put.await
            .map_err(|error| DiscoveryError::Unavailable(error.to_string()))?;
        self.state().put = Some(latest);
        Ok(())
    }
}

impl DiscoveryState {
    /// Remembers the servers that an entry names.
    fn learn(&mut self, entry: &Entry) {
        let own = entry.server.as_ref().map(|_| &entry.key);
        let named = own.into_iter().chain(entry.delegated_servers());
        for server in named.take(MOST_NAMED) {
            if self.named.len() < MOST_SERVERS {
                self.named.insert(*server);
            }
        }
    }

    /// Returns the known servers, the configured ones first.
    fn servers(&self) -> Vec<PublicKey> {
        let named = self.named.difference(&self.known);
        self.known.iter().chain(named).copied().collect()
    }
}

/// Returns whether two timestamps, in nanoseconds, are less than [`REPEAT`] apart.
fn is_recent(before: i64, now: i64) -> bool {
    u128::from(now.abs_diff(before)) < REPEAT.as_nanos()
}

/// Returns the entry in a value, if it is one of `key` that its owner signed. Upstream's readers
/// also accept `{}` as an entry.
fn read(key: PublicKey, value: &[u8]) -> Option<SignedEntry> {
    let signed = SignedEntry::from_json(value).ok()?;
    let entry = signed.entry();
    let holds = entry.key == key && entry.validate().is_ok() && signed.verify_stored().is_ok();
    holds.then_some(signed)
}

impl Discovery for DhtDiscovery {
    /// An item that is not a valid entry counts as not found.
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.find(key, ReadPolicy::Freshest).await })
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.find_signed(key, ReadPolicy::Freshest).await })
    }

    /// Returns the configured servers and those that entries named; if these are few, also servers
    /// of some peers.
    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.find_servers().await })
    }

    /// Puts the entry if its content has changed, and otherwise once per [`REPEAT`].
    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.put(entry).await })
    }

    /// Does nothing: the item expires. A tombstone would have to be outranked at the next start
    /// (docs/architecture.md, "No tombstone at shutdown").
    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use skydht_core::key::SecretKey;

    use super::*;

    fn secret(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).unwrap()
    }

    #[test]
    fn only_its_owners_entry_counts() {
        let key = secret(1).public();
        let mut entry = Entry::new(key, 1, 2);
        entry.client = Some(ClientFields::default());
        let signed = entry.clone().sign(&secret(1));
        assert!(read(key, signed.json()).is_some());
        assert_eq!(read(secret(2).public(), signed.json()), None);
        let mut moved = String::from_utf8(signed.json().to_vec()).unwrap();
        moved = moved.replace("\"sequence\":1", "\"sequence\":3");
        assert_eq!(read(key, moved.as_bytes()), None);
        let nothing = Entry::new(key, 1, 2).sign(&secret(1));
        assert_eq!(read(key, nothing.json()), None);
        for other in ["{}", "[]", "null", "", "7"] {
            assert_eq!(read(key, other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_limited_number_of_servers_is_remembered() {
        let key = |n: u16| {
            let mut bytes = [1; 32];
            bytes[..2].copy_from_slice(&n.to_be_bytes());
            SecretKey::from_bytes(&bytes).unwrap().public()
        };
        let mut state = DiscoveryState::default();
        state.known.insert(key(0));
        let mut entry = Entry::new(key(1_000), 1, 2);
        for first in (0..100).step_by(10) {
            let delegated = Some((first..first + 10).map(key).collect());
            entry.client = Some(ClientFields {
                delegated_servers: delegated,
            });
            state.learn(&entry);
            let len = usize::from(first / 10 + 1) * MOST_NAMED;
            assert_eq!(state.named.len(), len);
        }
        for n in 2_000..3_000 {
            entry.client = Some(ClientFields {
                delegated_servers: Some(vec![key(n)]),
            });
            state.learn(&entry);
        }
        assert_eq!(state.named.len(), MOST_SERVERS);
        assert_eq!((state.servers().len(), state.servers()[0]), (64, key(0)));
    }

    #[test]
    fn timestamps_a_quarter_of_an_hour_apart_are_not_recent() {
        let repeat = i64::try_from(REPEAT.as_nanos()).unwrap();
        assert!(is_recent(5, 5 + repeat - 1));
        assert!(!is_recent(5, 5 + repeat));
        assert!(!is_recent(i64::MIN, i64::MAX));
    }
}
