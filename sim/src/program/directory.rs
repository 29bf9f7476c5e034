//! The DMSG discovery that relays and nodes share. At times it is away.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use skydht_core::key::PublicKey;
use skydht_driver::dmsg::discovery::{Discovery, DiscoveryError, KnownServer, MemoryDiscovery};
use skydht_driver::dmsg::entry::{Entry, SignedEntry};
use skydht_runtime::BoxFuture;
use skydht_runtime::virtual_time::VirtualTime;

/// How the discovery is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It answers.
    Here,
    /// Nobody listens there: whoever asks knows at once.
    Gone,
    /// It takes questions and never answers.
    Silent,
}

/// The discovery; clones are the same one.
#[derive(Clone)]
pub(super) struct Directory {
    entries: MemoryDiscovery,
    presence: Arc<AtomicU8>,
}

impl Directory {
    pub(super) fn new(world: &VirtualTime) -> Self {
        Self {
            entries: MemoryDiscovery::new(world.runtime()),
            presence: Arc::default(),
        }
    }

    pub(super) fn set(&self, presence: Presence) {
        self.presence.store(presence as u8, Relaxed);
    }

    /// What it answers, if it does now. One that is away does nothing.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&MemoryDiscovery) -> BoxFuture<'static, Result<T, DiscoveryError>>,
    ) -> BoxFuture<'static, Result<T, DiscoveryError>> {
        let presence = self.presence.load(Relaxed);
        if presence == Presence::Here as u8 {
            return ask(&self.entries);
        }
        if presence == Presence::Silent as u8 {
            return Box::pin(pending());
        }
        let error = DiscoveryError::Unavailable("nobody listens".to_owned());
        Box::pin(std::future::ready(Err(error)))
    }
}

impl Discovery for Directory {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.ask(|it| it.entry(key))
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
