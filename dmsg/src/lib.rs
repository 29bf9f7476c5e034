//! DMSG: encrypted streams between keys, through relays that see neither content nor need the
//! peers' addresses; also the encrypted sessions of direct TCP, which are built from the same
//! parts.
//!
//! From the bottom: [`handshake`] (Noise XK and KK), [`cipher`] (records), [`frame`] (length
//! prefixes), [`secure`] (an encrypted byte stream), [`session`] (many streams over one byte
//! stream). Direct TCP is `secure` with a `session` inside.
//!
//! DMSG itself layers them the other way round: [`dmsg_session`] is a handshake with a relay, then
//! a `session` without encryption. On its streams, signed [`object`]s ask for a connection to
//! another key, which then runs end to end ([`endpoint`]). [`client`] keeps sessions with relays
//! and finds routes through them, [`server`] is a relay; both publish an [`entry`] at a
//! [`Discovery`].
//!
//! The crate has no executor: clients and servers run on any [`skydht_runtime::Runtime`], and the
//! layers below them have no clock.
//!
//! ```
//! use futures::{AsyncReadExt as _, AsyncWriteExt as _};
//! use skydht_core::key::SecretKey;
//! use skydht_dmsg::client::{Client, ClientConfig};
//! use skydht_dmsg::discovery::MemoryDiscovery;
//! use skydht_dmsg::object::Address;
//! use skydht_dmsg::server::{Server, ServerConfig};
//! use skydht_runtime::virtual_time::VirtualTime;
//!
//! // This example runs in virtual time; on a real runtime, draw keys and entropy from the system.
//! let world = VirtualTime::new(7);
//! let (relay, alice, bob) = ([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]);
//! let key = |n| SecretKey::from_entropy(&[n; 32]);
//! let discovery = MemoryDiscovery::new(world.runtime());
//! world.run_until(async {
//!     let config = ServerConfig::new((relay, 8080).into());
//!     let host = world.host(relay.into());
//!     let server = Server::start(host, key(1), [1; 32], discovery.clone(), config).await.unwrap();
//!     server.ready().await;
//!
//!     let client = |ip: [u8; 4], n| {
//!         let (host, config) = (world.host(ip.into()), ClientConfig::default());
//!         Client::start(host, key(n), [n; 32], discovery.clone(), config)
//!     };
//!     let (alice, bob) = (client(alice, 2), client(bob, 3));
//!     let mut listener = bob.listen(100).unwrap();
//!     bob.ready().await;
//!     alice.ready().await;
//!
//!     let mut stream = alice.dial(Address { key: bob.key(), port: 100 }).await.unwrap();
//!     stream.write_all(b"hello").await.unwrap();
//!     stream.close().await.unwrap();
//!     let mut accepted = listener.accept().await.unwrap();
//!     assert_eq!(accepted.remote().key, alice.key());
//!     let mut received = Vec::new();
//!     accepted.read_to_end(&mut received).await.unwrap();
//!     assert_eq!(received, b"hello");
//! }).unwrap();
//! ```

// A length or number that is truncated on 32-bit targets is an error here, too.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]
#![warn(missing_debug_implementations)]

pub mod accept_queue;
mod buffer;
pub mod cipher;
pub mod client;
mod debug;
pub mod discovery;
pub mod dmsg_session;
pub mod endpoint;
pub mod entry;
pub mod frame;
mod gob;
pub mod half_open;
pub mod handshake;
mod handshake_io;
pub mod hybrid;
pub mod keepalive;
mod message;
mod mux;
mod noise;
pub mod object;
#[cfg(test)]
mod pipe;
mod publisher;
mod read_buffered;
pub mod secure;
pub mod server;
mod server_session;
pub mod session;
pub mod session_layer;
mod session_task;
mod shares;
mod signal;

pub use discovery::Discovery;
