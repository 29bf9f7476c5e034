//! Drives a [`skydht_core::Node`]: the event loop, written once for all executors, the transports,
//! and the [`Dht`] handle that users hold.
//!
//! [`Dht::start`] takes a [`Runtime`](skydht_runtime::Runtime), a [`Transport`] and what the node
//! needs. One task then owns the node and its streams. It polls all streams itself, so that a call
//! costs no task, no channel and no lock but its stream's.
//!
//! Nothing is dropped silently: every queue is bounded, and at the bound either the sender waits or
//! the answer reports it. [`DriverStats`] counts what the core cannot see.

// A length or number that is truncated on 32-bit targets is an error here, too.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]
#![warn(missing_debug_implementations)]

mod debug;
mod dht;
pub mod dmsg_discovery;
mod dmsg_node;
mod event_loop;
mod events;
mod full_node;
pub mod journal;
pub mod large;
mod mailbox;
mod options;
pub mod prelude;
mod recorder;
mod stats;
pub mod storage;
mod tcp_node;
pub mod testing;
#[cfg(feature = "redis")]
pub mod tls;
pub mod transport;
mod verifier;
mod watch;

/// DMSG itself: clients and relays, whose sessions a node can use.
pub use skydht_dmsg as dmsg;

pub use dht::{Dht, GetEvent, GetProgress, StartError, Stopped, WeakDht};
pub use dmsg_discovery::DhtDiscovery;
pub use dmsg_node::{DmsgNode, StartDmsgError};
pub use events::{EVENT_CAPACITY, EventStream, Lagged};
pub use options::StartOptions;
pub use recorder::Recorder;
pub use stats::DriverStats;
pub use tcp_node::{StartTcpError, TcpNode};
pub use transport::{Accepted, Transport};
pub use verifier::{MAX_THREADS, Verifier};
