//! `Debug` for types that users hold: only their names, nothing of the sockets, tasks and secrets
//! inside.

use std::fmt;

use skydht_runtime::{Runtime, opaque_debug};

use crate::dht::{Dht, GetProgress, WeakDht};
use crate::dmsg_discovery::DhtDiscovery;
use crate::dmsg_node::DmsgNode;
use crate::events::EventStream;
use crate::journal::{FileRecorder, Reader, Written};
use crate::options::StartOptions;
use crate::storage::{MemoryStorage, Persistence};
use crate::tcp_node::TcpNode;
use crate::testing::{Pair, RuntimeSuite};
use crate::transport::Accepted;
use crate::transport::dmsg::{DmsgOptions, DmsgTransport, Relay, Via};
use crate::transport::memory::{MemoryNetwork, MemoryTransport};
use crate::transport::tcp::TcpTransport;
use crate::verifier::Verifier;
use crate::watch::Watch;

opaque_debug!(
    Accepted<S>,
    DhtDiscovery,
    DmsgNode<R: Runtime>,
    DmsgOptions,
    DmsgTransport<R: Runtime>,
    EventStream,
    FileRecorder,
    GetProgress,
    MemoryNetwork,
    MemoryStorage,
    MemoryTransport,
    Pair<T>,
    Persistence,
    Reader<R>,
    Relay<R: Runtime>,
    RuntimeSuite<R>,
    StartOptions,
    TcpNode,
    TcpTransport<R: Runtime>,
    Verifier,
    Via<R: Runtime>,
    Watch,
    WeakDht,
    Written,
);

#[cfg(feature = "redb")]
use crate::storage::FileStorage;
#[cfg(feature = "redb")]
opaque_debug!(FileStorage);

#[cfg(feature = "redis")]
use crate::storage::RedisStorage;
#[cfg(feature = "redis")]
opaque_debug!(RedisStorage);

impl fmt::Debug for Dht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Dht");
        shown.field("key", &self.key()).finish_non_exhaustive()
    }
}
