//! The DMSG protocol's layers: secp256k1 Noise, encrypted streams and multiplexed sessions.
//!
//! From the bottom: [`handshake`] (Noise XK and KK), [`cipher`] (transport records), [`frame`]
//! (length prefixes), [`secure`] (an encrypted byte stream over any connection), [`session`]
//! (many streams over one byte stream). Direct TCP is `secure` with a `session` inside. There is no
//! executor and no clock in here: the caller spawns the session's driver and sets the deadlines.

mod buffer;
pub mod cipher;
mod clear;
pub mod client;
pub mod discovery;
pub mod dmsg_session;
pub mod endpoint;
pub mod entry;
pub mod frame;
mod gob;
pub mod handshake;
mod mux_frame;
mod noise;
pub mod object;
#[cfg(test)]
mod pipe;
mod publisher;
pub mod pulse;
pub mod secure;
pub mod server;
pub mod session;
mod session_task;
mod signal;
mod talk;
