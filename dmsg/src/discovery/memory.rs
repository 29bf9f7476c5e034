//! A discovery in memory, with upstream's rules: for networks in one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_runtime::{BoxFuture, Runtime};

use super::{Discovery, DiscoveryError, KnownServer};
use crate::entry::{Entry, SignedEntry};

/// Entries that one discovery holds.
const MAX_ENTRIES: usize = 100_000;
/// How long a server's entry counts after it was published.
const SERVER_LIFE: Duration = Duration::from_secs(120);

type Clock = dyn Fn() -> Duration + Send + Sync;

/// Holds the entries that were published and checks them as upstream's discovery does. Clones
/// share them.
#[derive(Clone)]
pub struct MemoryDiscovery {
    entries: Arc<Mutex<BTreeMap<PublicKey, (Duration, SignedEntry)>>>,
    unix: Arc<Clock>,
}

impl MemoryDiscovery {
    /// An empty one that goes by the runtime's wall clock.
    #[must_use]
    pub fn new<R: Runtime>(runtime: R) -> Self {
        Self {
            entries: Arc::default(),
            unix: Arc::new(move || runtime.clocks().unix),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PublicKey, (Duration, SignedEntry)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entry of a key, if it is there and has not expired.
    #[must_use]
    pub fn get(&self, key: &PublicKey) -> Option<SignedEntry> {
        let now = (self.unix)();
        let entries = self.lock();
        let (at, signed) = entries.get(key)?;
        is_alive(*at, signed, now).then(|| signed.clone())
    }

    fn put(&self, signed: SignedEntry) -> Result<(), DiscoveryError> {
        let now = (self.unix)();
        let entry = signed.entry();
        entry.validate()?;
        signed.verify()?;
        if entry.server.is_some() {
            entry.validate_time(now)?;
        }
        let mut entries = self.lock();
        match entries.get(&entry.key) {
            Some((at, old)) if is_alive(*at, old, now) => entry.validate_iteration(old.entry())?,
            Some(_) => {}
            None if entries.len() >= MAX_ENTRIES => return Err(DiscoveryError::Full),
            None => {}
        }
        entries.insert(entry.key, (now, signed));
        Ok(())
    }

    fn delete(&self, signed: &SignedEntry) -> Result<(), DiscoveryError> {
        signed.verify()?;
        let removed = self.lock().remove(&signed.entry().key);
        removed.map(drop).ok_or(DiscoveryError::NotFound)
    }
}

fn is_alive(at: Duration, signed: &SignedEntry, now: Duration) -> bool {
    signed.entry().server.is_none() || now.saturating_sub(at) < SERVER_LIFE
}

impl Discovery for MemoryDiscovery {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let found = self.get(&key).map(|signed| signed.entry().clone());
        Box::pin(std::future::ready(found.ok_or(DiscoveryError::NotFound)))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let now = (self.unix)();
        let entries = self.lock();
        let alive = entries.values().filter(|(at, it)| is_alive(*at, it, now));
        let open = alive.filter_map(|(_, signed)| {
            let server = signed.entry().server.as_ref()?;
            (server.available_sessions > 0).then(|| KnownServer::of(signed.entry()))?
        });
        let open = open.collect();
        Box::pin(std::future::ready(Ok(open)))
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
        let now = || (discovery.unix)().as_nanos() as i64;
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
