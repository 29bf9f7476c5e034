//! Skywire's Kademlia DHT as a deterministic state machine: no I/O, no clock, no randomness of
//! its own, `no_std` with `alloc`.
//!
//! # The invariant
//!
//! **`handle`, then drain `poll_output` until `None`, then sleep until `next_deadline`.**
//!
//! [`Node::handle`] takes every event ([`node::Input`]), [`Node::poll_output`] returns every action
//! that the node requests ([`node::Output`]), and [`Node::next_deadline`] says when to call
//! `handle` with [`node::Input::TimerFired`]. A run is a function of the configuration, the
//! identity, the [`Seed`] and the inputs with their times: the same inputs give the same outputs,
//! bit for bit (see [`journal`]).
//!
//! ```
//! use skydht_core::key::SecretKey;
//! use skydht_core::node::{Command, Config, Identity, Input, OperationId, Output};
//! use skydht_core::time::{Mono, Time, Unix};
//! use skydht_core::{Node, Seed};
//!
//! // Time comes from outside; here a clock that never moves.
//! let now = Time { mono: Mono(0), unix: Unix(1_790_000_000_000_000_000) };
//! let secret = SecretKey::from_entropy(&[7; 32]);
//! let mut node = Node::new(Config::default(), Identity::Keyed(secret), Seed([1; 32]), now)?;
//!
//! let op = OperationId(1);
//! let find = Command::FindNode { target: node.public_key().id().into(), timeout: None };
//! node.handle(now, Input::Command { op, command: find })?;
//!
//! while let Some(output) = node.poll_output() {
//!     match output {
//!         // Connect to the peer, then StreamOpened or StreamFailed.
//!         Output::OpenStream { .. } => {}
//!         // Write, then Sent. Everything that arrives: Bytes. Its end: StreamClosed.
//!         Output::Send { .. } => {}
//!         Output::CloseStream { .. } => {}
//!         Output::PauseReading { .. } | Output::ResumeReading { .. } => {}
//!         // See whether the address answers for the key, then Probed.
//!         Output::Probe { .. } => {}
//!         // Run it on any thread, then Verified.
//!         Output::Verify { job, work } => {
//!             let verdict = work.run();
//!             node.handle(now, Input::Verified { job, verdict })?;
//!         }
//!         // Write it somewhere, then Persisted if that was asked for.
//!         Output::Persist { .. } | Output::PersistMark { .. } => {}
//!         // Read it there, before its turn: Loaded, then TargetLoaded.
//!         Output::LoadTarget { .. } => {}
//!         // This node knows no peer.
//!         Output::Finished { outcome, .. } => println!("{outcome:?}"),
//!         Output::Event(event) => println!("{event:?}"),
//!     }
//! }
//! let wake = node.next_deadline(); // sleep until then, or until something happens
//! # assert!(wake.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/two_nodes.rs` runs two nodes in one thread and prints everything that goes in and
//! out.
//!
//! # Where things are
//!
//! From the bottom layer to the top, each usable and tested alone: [`time`], [`cap`], [`id`],
//! [`key`], [`item`], [`record`] (the form in which storage keeps an item), [`wire`] (frames and
//! messages in Go's JSON), [`sync`] (set reconciliation), [`routing`] (k-buckets), [`store`] (the
//! merge rule, item lifetimes, quotas), [`lookup`] (the sliding window), [`node`] (everything
//! together), [`journal`] (record and replay). `docs/architecture.md` describes the inside of the
//! node.
//!
//! # What a transport must do
//!
//! - A stream is ordered and reliable. It leads to a *key* that the handshake proved on both sides
//!   before the transport reports [`StreamAccepted`](node::Input::StreamAccepted) or
//!   [`StreamOpened`](node::Input::StreamOpened).
//! - **An accepted session carries streams back.** The node that was dialled opens streams to its
//!   dialler over the same session, without an address. With one connection per stream it could
//!   not: it would never learn whom it may ask, the dialler would enter no routing table, and no
//!   peer would find what the dialler puts. A transport with one stream per connection needs a
//!   multiplexer.
//! - A session outlives its streams for a while: the transport does not close it with the last one.
//!
//! # Out of scope
//!
//! Connections, handshakes, threads, clocks and files belong to the driver. The transport *proves*
//! the keys of peers before they reach the core; the core never takes an identity from a message.

#![cfg_attr(not(test), no_std)]
#![warn(missing_debug_implementations)]
// A length or number that is cut where addresses have 32 bits is an error here, too.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]
#![cfg_attr(test, allow(clippy::disallowed_types, clippy::disallowed_methods))]

extern crate alloc;

pub mod address;
pub mod cap;
mod debug;
mod encoding;
pub mod id;
pub mod item;
pub mod journal;
pub mod key;
pub mod large;
pub mod lookup;
pub mod mark;
pub mod node;
mod random;
pub mod record;
pub mod routing;
pub mod store;
pub mod sync;
pub mod time;
pub mod wire;

pub use node::Node;
pub use random::Seed;
