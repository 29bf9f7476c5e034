//! Where entries are published and found.

mod fixed;
mod gone;
mod memory;
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

/// Why a discovery did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// There is no entry of that key.
    #[error("no entry of this key")]
    NotFound,
    /// It refused the entry.
    #[error("entry refused: {0}")]
    Refused(#[from] EntryError),
    /// It holds as many entries as it can.
    #[error("discovery is full")]
    Full,
    /// It takes nothing as long as that.
    #[error("the discovery takes no entry of this length")]
    TooLong,
    /// It was asked too often, and is to be left alone for so long.
    #[error("the discovery was asked too often, and wants to be left alone for {0:?}")]
    TooOften(Duration),
    /// It cannot be asked.
    #[error("discovery unavailable: {0}")]
    Unavailable(String),
}

/// A server to connect to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KnownServer {
    /// Its key.
    pub key: PublicKey,
    /// Where it listens.
    pub address: SocketAddr,
}

impl KnownServer {
    /// The server of an entry, if it is one's with a numerical address.
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
/// (`skydht_discovery::HttpDiscovery`), or the DHT (`skydht_driver::DhtDiscovery`). Every call may be dropped at any time; the caller sets deadlines.
pub trait Discovery: Send + Sync + 'static {
    /// The entry of a key. The implementation has checked its signature, or trusts its source.
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>>;

    /// The caller's own entry as it was published, word for word: asked for where [`publish`] puts
    /// it, and nowhere else. [`DiscoveryError::NotFound`] alone says that there is none. Its
    /// signature is not checked.
    ///
    /// [`publish`]: Self::publish
    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>>;

    /// Servers that take clients.
    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>>;

    /// Publishes the caller's own entry.
    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>>;

    /// Removes the caller's own entry, which proves itself by its signature.
    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>>;
}
