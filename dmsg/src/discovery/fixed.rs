//! A discovery that is a fixed list of servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use skydht_core::key::PublicKey;
use skydht_runtime::BoxFuture;

use super::{Discovery, DiscoveryError, KnownServer};
use crate::entry::{Entry, ServerFields, SignedEntry};

/// A discovery that knows only the given servers. Published entries are dropped. Clients are not
/// found, so they are dialled through every server.
#[derive(Clone, Default, Debug)]
pub struct FixedServers(BTreeMap<PublicKey, SocketAddr>);

impl FixedServers {
    /// Creates a discovery that knows these servers.
    #[must_use]
    pub fn new(servers: impl IntoIterator<Item = KnownServer>) -> Self {
        let servers = servers.into_iter();
        Self(servers.map(|server| (server.key, server.address)).collect())
    }
}

impl Discovery for FixedServers {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        let entry = self.0.get(&key).map(|address| {
            let mut entry = Entry::new(key, 0, 0);
            entry.server = Some(ServerFields {
                address: address.to_string(),
                ..ServerFields::default()
            });
            entry
        });
        Box::pin(std::future::ready(entry.ok_or(DiscoveryError::NotFound)))
    }

    fn stored(&self, _: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        Box::pin(std::future::ready(Err(DiscoveryError::NotFound)))
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        let servers = self.0.iter().map(|(key, address)| KnownServer {
            key: *key,
            address: *address,
        });
        Box::pin(std::future::ready(Ok(servers.collect())))
    }

    fn publish(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
