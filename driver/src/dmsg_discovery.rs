//! The DHT as DMSG's discovery: an entry is an item that its owner publishes (specification of
//! discovery, §7 and §8.1).
//!
//! Dials made for the DHT do not come here, since they would lead to further ones
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

/// The salt of entries.
pub const SALT: &str = "dmsg";
/// How long an entry that says the same is not put again. The node renews the item meanwhile.
pub const REPEAT: Duration = Duration::from_secs(15 * 60);
/// Servers that entries named and that are remembered.
pub const MOST_SERVERS: usize = 64;
/// Of these from one entry.
pub const MOST_NAMED: usize = 4;
/// Lookups of one question for servers, of each kind.
pub const MOST_LOOKUPS: usize = 16;
/// With fewer servers known, peers' entries are read for the servers that they name.
const ENOUGH_SERVERS: usize = 4;

/// Entries in the DHT. Clones are the same one.
///
/// A DMSG client or server that is to find others through it is started first, the node over it
/// next; then [`DhtDiscovery::attach`] joins the two. Until then nothing is found, and an entry
/// that is published is put only when it is published again, a minute later at most. Once the
/// node is gone, which this does not keep running, calls end with
/// [`DiscoveryError::Unavailable`].
#[derive(Clone, Default)]
pub struct DhtDiscovery(Arc<Shared>);

#[derive(Default)]
struct Shared {
    dht: OnceLock<WeakDht>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Keys of servers that are known beforehand.
    known: BTreeSet<PublicKey>,
    /// Those that entries named.
    named: BTreeSet<PublicKey>,
    /// What was put last, and its timestamp.
    put: Option<(Content, i64)>,
}

/// What an entry says, without what changes every time.
type Content = (Option<ClientFields>, String, Option<ServerFields>);

fn content(entry: &Entry) -> Content {
    let server = entry.server.clone().map(|server| ServerFields {
        available_sessions: 0,
        ..server
    });
    (entry.client.clone(), entry.client_type.clone(), server)
}

impl DhtDiscovery {
    /// One that knows the keys of these servers: their entries tell where they are.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = PublicKey>) -> Self {
        let this = Self::default();
        this.state().known.extend(servers);
        this
    }

    /// From now on this node is asked. Only the first one counts.
    pub fn attach(&self, dht: &Dht) {
        let _ = self.0.dht.set(dht.downgrade());
    }

    /// As [`Discovery::entry`], but only what this node holds itself: no peer is asked.
    ///
    /// # Errors
    /// As [`Discovery::entry`].
    pub async fn at_hand(&self, key: PublicKey) -> Result<Entry, DiscoveryError> {
        self.find(key, ReadPolicy::Local).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node; none before there is one.
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
        // Others may be named in their places.
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
        let said = (content(entry.entry()), entry.entry().timestamp);
        let repeats = {
            let state = self.state();
            let put = state.put.as_ref();
            put.is_some_and(|(content, at)| *content == said.0 && is_recent(*at, said.1))
        };
        if repeats {
            return Ok(());
        }
        let value = Value::new(entry.json());
        let put = dht.put(Salt::from(SALT), value, PutOptions::default());
        put.await
            .map_err(|error| DiscoveryError::Unavailable(error.to_string()))?;
        self.state().put = Some(said);
        Ok(())
    }
}

impl State {
    /// Remembers the servers of an entry.
    fn learn(&mut self, entry: &Entry) {
        let own = entry.server.as_ref().map(|_| &entry.key);
        let named = own.into_iter().chain(entry.delegated_servers());
        for server in named.take(MOST_NAMED) {
            if self.named.len() < MOST_SERVERS {
                self.named.insert(*server);
            }
        }
    }

    /// Those that are known beforehand first.
    fn servers(&self) -> Vec<PublicKey> {
        let named = self.named.difference(&self.known);
        self.known.iter().chain(named).copied().collect()
    }
}

/// Whether less than [`REPEAT`] lies between two timestamps, in nanoseconds.
fn is_recent(before: i64, now: i64) -> bool {
    u128::from(now.abs_diff(before)) < REPEAT.as_nanos()
}

/// The entry in a value, if it is one that this key's owner signed. Upstream's readers also take
/// `{}` for one.
fn read(key: PublicKey, value: &[u8]) -> Option<SignedEntry> {
    let signed = SignedEntry::from_json(value).ok()?;
    let entry = signed.entry();
    let holds = entry.key == key && entry.validate().is_ok() && signed.verify_stored().is_ok();
    holds.then_some(signed)
}

impl Discovery for DhtDiscovery {
    /// An item that is no valid entry counts as none.
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.find(key, ReadPolicy::Freshest).await })
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.find_signed(key, ReadPolicy::Freshest).await })
    }

    /// The servers that are known beforehand, and those that entries named; when they are few,
    /// the servers of some peers.
    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.find_servers().await })
    }

    /// Puts it when it says something new, else every [`REPEAT`].
    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        let this = self.clone();
        Box::pin(async move { this.put(entry).await })
    }

    /// Does nothing: the item ends with its life. A tombstone would have to be outranked at the
    /// next start (docs/architecture.md, "No tombstone at shutdown").
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
        let mut state = State::default();
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
