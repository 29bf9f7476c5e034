//! Publishing and finding entries.

mod fixed;
mod memory;
mod removed;
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_runtime::BoxFuture;

use crate::entry::{Entry, EntryError, SignedEntry};

pub use fixed::FixedServers;
pub use memory::MemoryDiscovery;
pub use table::{
    AVAILABLE_LIFE, CLIENT_LIFE, CLIENT_STALE, EXPIRING_LIFE, EntryTable, Limits, MOST_DELEGATED,
    MOST_PAIRS, MOST_SERVERS, SERVER_LIFE, Written,
};

/// Why a call to a discovery failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// There is no entry of that key.
    #[error("no entry of this key")]
    NotFound,
    /// The discovery refused the entry.
    #[error("entry refused: {0}")]
    Refused(#[from] EntryError),
    /// It holds as many entries as its limits allow.
    #[error("discovery is full")]
    Full,
    /// The entry is longer than the discovery accepts.
    #[error("the discovery takes no entry of this length")]
    TooLong,
    /// It was asked too often, and asks for a pause of this length.
    #[error("the discovery was asked too often, and wants to be left alone for {0:?}")]
    TooOften(Duration),
    /// It cannot be reached, or failed.
    #[error("discovery unavailable: {0}")]
    Unavailable(String),
}

/// A server to connect to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KnownServer {
    /// Its key.
    pub key: PublicKey,
    /// Its address.
    pub address: SocketAddr,
}

impl KnownServer {
    /// Returns the server that an entry describes, if its address is numerical.
    #[must_use]
    pub fn of(entry: &Entry) -> Option<Self> {
        let server = entry.server.as_ref()?;
        let address = server.address.parse().ok()?;
        Some(Self {
            key: entry.key,
            address,
        })
    }
}

/// A directory of entries: [`FixedServers`], [`MemoryDiscovery`], one over HTTP
/// (`skydht_discovery::HttpDiscovery`), or the DHT (`skydht_driver::DhtDiscovery`). All calls are
/// cancel-safe; the caller sets deadlines.
pub trait Discovery: Send + Sync + 'static {
    /// Returns the entry of a key. The implementation has verified its signature, or trusts its
    /// source.
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>>;

    /// Returns the caller's own entry exactly as it was published, from where [`publish`] puts it
    /// and from no other source. Only [`DiscoveryError::NotFound`] means that there is none. The
    /// signature is not verified.
    ///
    /// [`publish`]: Self::publish
    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>>;

    /// Returns servers that accept clients.
    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>>;

    /// Publishes the caller's own entry.
    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>>;

    /// Removes the caller's own entry. Its signature authorises the removal.
    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>>;
}
