//! The DMSG discovery that relays and nodes share. It is sometimes unavailable.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skydht_core::key::PublicKey;
use skydht_driver::dmsg::discovery::{Discovery, DiscoveryError, KnownServer, MemoryDiscovery};
use skydht_driver::dmsg::entry::{Entry, SignedEntry};
use skydht_runtime::BoxFuture;
use skydht_runtime::virtual_time::VirtualTime;

/// State of the discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Presence {
    /// It answers.
    Here,
    /// It has no listener: requests fail immediately.
    Gone,
    /// It accepts requests but never answers.
    Silent,
}

/// The discovery. Clones share their state.
#[derive(Clone)]
pub(super) struct Directory {
    entries: MemoryDiscovery,
    presence: Arc<Mutex<Presence>>,
}

impl Directory {
    pub(super) fn new(world: &VirtualTime) -> Self {
        Self {
            entries: MemoryDiscovery::new(world.runtime()),
            presence: Arc::new(Mutex::new(Presence::Here)),
        }
    }

    pub(super) fn set(&self, presence: Presence) {
        *self.presence() = presence;
    }

    fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request if the discovery is available. An unavailable discovery changes nothing.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MemoryDiscovery) -> BoxFuture<'static, Result<T, DiscoveryError>>,
    ) -> BoxFuture<'static, Result<T, DiscoveryError>> {
        match *self.presence() {
            Presence::Here => ask(&self.entries),
            Presence::Silent => Box::pin(pending()),
            Presence::Gone => {
                let error = DiscoveryError::Unavailable("nobody listens".to_owned());
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}

impl Discovery for Directory {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.ask(|it| it.entry(key))
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        self.ask(|it| it.stored(key))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        self.ask(|it| it.servers())
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.ask(|it| it.publish(entry))
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.ask(|it| it.remove(entry))
    }
}
