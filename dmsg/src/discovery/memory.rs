//! A discovery in memory with upstream's rules, for networks in one process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skydht_core::key::PublicKey;
use skydht_core::time::{Mono, nanos};
use skydht_runtime::{BoxFuture, Clocks, Runtime};

use super::{Discovery, DiscoveryError, EntryTable, KnownServer, Limits};
use crate::entry::{Entry, SignedEntry};

type Clock = dyn Fn() -> Clocks + Send + Sync;

/// Holds published entries, and validates them as upstream's discovery does. Clones share the
/// entries.
#[derive(Clone)]
pub struct MemoryDiscovery {
    table: Arc<Mutex<EntryTable>>,
    clocks: Arc<Clock>,
}

impl MemoryDiscovery {
    /// Creates an empty discovery that uses the runtime's clocks.
    #[must_use]
    pub fn new<R: Runtime>(runtime: R) -> Self {
        Self {
            table: Arc::new(Mutex::new(EntryTable::new(Limits::default()))),
            clocks: Arc::new(move || runtime.clocks()),
        }
    }

    fn now(&self) -> Mono {
        Mono(nanos((self.clocks)().monotonic))
    }

    /// Returns the table after removing expired entries.
    fn table(&self) -> MutexGuard<'_, EntryTable> {
        let now = self.now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.expire(now);
        table
    }

    /// Returns the entry of a key, if there is one that has not expired.
    #[must_use]
    pub fn get(&self, key: &PublicKey) -> Option<SignedEntry> {
        self.table().get(key).cloned()
    }

    fn put(&self, signed: SignedEntry) -> Result<(), DiscoveryError> {
        signed.judge((self.clocks)().unix)?;
        let now = self.now();
        self.table().write(now, signed, false, None).map(drop)
    }

    fn delete(&self, signed: &SignedEntry) -> Result<(), DiscoveryError> {
        signed.verify()?;
        let removed = self.table().remove_at(self.now(), &signed.entry().key);
        removed.map(drop).ok_or(DiscoveryError::NotFound)
    }
}

impl Discovery for MemoryDiscovery {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let found = self.get(&key).map(|signed| signed.entry().clone());
        Box::pin(std::future::ready(found.ok_or(DiscoveryError::NotFound)))
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        let found = self.get(&key).ok_or(DiscoveryError::NotFound);
        Box::pin(std::future::ready(found))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let now = self.now();
        let open = self.table().available_servers(now);
        let open = open.iter().filter_map(|it| KnownServer::of(it.entry()));
        Box::pin(std::future::ready(Ok(open.collect())))
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(self.put(entry)))
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(self.delete(&entry)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use skydht_core::key::SecretKey;
    use skydht_runtime::virtual_time::VirtualTime;

    use super::*;
    use crate::entry::{ClientFields, EntryError, ServerFields};

    #[test]
    fn entries_follow_the_rules_and_servers_expire() {
        let world = VirtualTime::new(1);
        let discovery = MemoryDiscovery::new(world.runtime());

        let (alice, server) = (
            SecretKey::from_bytes(&[1; 32]).unwrap(),
            SecretKey::from_bytes(&[2; 32]).unwrap(),
        );
        let client = |sequence| {
            let mut entry = Entry::new(alice.public(), sequence, 5);
            entry.client = Some(ClientFields::default());
            entry.sign(&alice)
        };
        let now = || (discovery.clocks)().unix.as_nanos() as i64;
        let of_server = |sequence, sessions| {
            let mut entry = Entry::new(server.public(), sequence, now());
            entry.server = Some(ServerFields {
                address: "192.0.2.1:80".to_owned(),
                available_sessions: sessions,
                ..ServerFields::default()
            });
            entry.sign(&server)
        };
        assert_eq!(discovery.put(client(3)), Ok(()));
        assert_eq!(discovery.put(client(3)), Err(EntryError::Sequence.into()));
        assert_eq!(discovery.put(client(4)), Ok(()));
        assert_eq!(discovery.put(of_server(0, 9)), Ok(()));
        let servers = || {
            futures::executor::block_on(discovery.servers())
                .unwrap()
                .len()
        };
        assert_eq!(servers(), 1);
        assert_eq!(discovery.put(of_server(1, 0)), Ok(()));
        assert_eq!(servers(), 0);
        assert_eq!(discovery.put(of_server(2, 1)), Ok(()));
        let old = of_server(3, 1);
        world.advance(Duration::from_secs(121)).unwrap();
        assert_eq!(servers(), 0);
        assert!(discovery.get(&server.public()).is_none());
        assert!(discovery.get(&alice.public()).is_some());
        assert_eq!(discovery.put(old), Err(EntryError::Outdated.into()));
        assert_eq!(discovery.delete(&client(1)), Ok(()));
        assert_eq!(discovery.delete(&client(1)), Err(DiscoveryError::NotFound));
    }
}
