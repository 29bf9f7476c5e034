//! All types in the signatures of [`Dht`], and the types that those contain. The runtime crates
//! re-export it.

pub use skydht_core::Seed;
pub use skydht_core::cap::Cap;
pub use skydht_core::id::{NodeId, Target};
pub use skydht_core::item::{Item, Origin, Salt, Seq, Value};
pub use skydht_core::key::{PublicKey, SecretKey, Signature};
pub use skydht_core::node::{
    Advertise, BootstrapPeer, Config, ConfigError, Counter, Event, Expected, FindNodeOutcome,
    GetError, GetOutcome, GetRequest, HopResult, Identity, Limit, LimitUse, Limits, LookupStats,
    OperationError, OperationId, OwnItem, PeerInfo, PingError, PingOutcome, PutError, PutOptions,
    PutOutcome, Reach, ReadPolicy, Replicas, Snapshot, Source,
};
pub use skydht_core::record::StoredRecord;
pub use skydht_core::store::Refusal;
pub use skydht_runtime::Runtime;

pub use crate::dht::{Dht, GetEvent, GetProgress, StartError, Stopped, WeakDht};
pub use crate::dmsg_discovery::DhtDiscovery;
pub use crate::dmsg_node::{DmsgNode, StartDmsgError};
pub use crate::events::{EventStream, Lagged};
pub use crate::options::StartOptions;
pub use crate::recorder::Recorder;
pub use crate::stats::DriverStats;
pub use crate::storage::{Persistence, StorageStats};
pub use crate::tcp_node::{StartTcpError, TcpNode};
pub use crate::transport::dmsg::{DmsgOptions, DmsgTransport, Relay, Via};
pub use crate::transport::tcp::{TcpOptions, TcpTransport};
pub use crate::transport::{DialFailure, Transport, TransportStats};
pub use crate::verifier::Verifier;
pub use crate::watch::Watch;
