//! How nodes reach each other: streams to a *key*, which the transport proves.

pub mod dmsg;
mod failures;
pub mod memory;
pub mod tcp;

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, Path, SessionUse};
use skydht_runtime::{BoxFuture, Connection};

pub use failures::DialFailure;

/// A stream that a peer opened.
pub struct Accepted<S> {
    /// The key that the handshake proved.
    pub peer: PublicKey,
    /// How it runs.
    pub path: Path,
    /// The bytes.
    pub stream: S,
}

/// What a transport counts; all since its start, except `sessions`, `streams`, `queued_bytes`,
/// `dialling` and `handshaking`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TransportStats {
    /// Sessions now.
    pub sessions: usize,
    /// Streams of these sessions, in both directions, those being opened included.
    pub streams: usize,
    /// Bytes of data of these streams that wait for their connections now.
    pub queued_bytes: usize,
    /// Peers being dialled now.
    pub dialling: usize,
    /// Handshakes of peers that connected here, under way now.
    pub handshaking: usize,
    /// Dials that brought a session.
    pub dials: u64,
    /// Dials that did not, over all their addresses.
    pub dials_failed: u64,
    /// Opens that waited for a dial that was under way.
    pub dials_shared: u64,
    /// Peers that connected here and proved a key.
    pub accepted: u64,
    /// Connections here that failed their handshake or did not finish it in time.
    pub handshakes_failed: u64,
    /// Connections here that the other side closed during the handshake: probes and port scans.
    pub handshakes_abandoned: u64,
    /// Handshakes of connections here that made room for others.
    pub handshakes_dropped: u64,
    /// Connections here that were refused because of a limit, or because of who it was.
    pub refused: u64,
    /// Times that a session had to wait because too many streams waited for the event loop.
    pub accepts_held: u64,
    /// Sessions closed because another one with the same peer was kept.
    pub superseded: u64,
    /// Sessions closed for want of use.
    pub idle_closed: u64,
    /// Sessions in use that made room for others.
    pub displaced: u64,
    /// Sessions that were lost.
    pub lost: u64,
    /// Peers now remembered for having said that they run no DHT.
    pub without_dht: usize,
    /// Opens not tried because the peer was remembered so.
    pub avoided: u64,
    /// Peers forgotten before their time because too many were remembered.
    pub without_dht_evicted: u64,
}

/// How nodes reach each other.
///
/// A stream is ordered and reliable, with back-pressure: not reading from it holds its peer
/// back. `poll_close` finishes the writing direction after everything written; dropping a
/// stream that was not closed resets it. A read gives 0 after the peer finished, an error
/// after a reset, and one of kind `ConnectionAborted` after the loss of the session.
///
/// Streams run over *sessions*, and **an accepted session carries streams back**: once a peer's
/// stream was accepted, [`Transport::open`] to that peer succeeds without an address, also with
/// [`SessionUse::ReuseOnly`], over the session that the peer dialled, and not only while a stream
/// of its own is open. A node that is dialled pings its dialler back that way; most nodes have no
/// address that could be dialled instead. With one connection for each stream it never learns of
/// its diallers, and no reader finds what they put: use a multiplexer over the connection
/// (`skydht_dmsg::session` is one).
///
/// [`crate::testing::conformance`] checks an implementation.
pub trait Transport: Send + Sync + 'static {
    /// Its streams.
    type Stream: Connection;

    /// The key that this transport proves to others.
    fn local_key(&self) -> PublicKey;

    /// Where others can dial this transport directly, if they can.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// Opens a stream to `peer`: over a session that is there, else, if `session` allows it, by
    /// dialling `addrs` in order. Returns only once the peer proved its key. Dropping the
    /// future gives the stream up; a dial that others wait for goes on.
    fn open(
        &self,
        peer: PublicKey,
        addrs: Addrs,
        session: SessionUse,
    ) -> BoxFuture<'static, Result<(Self::Stream, Path), OpenFailure>>;

    /// The next stream that a peer opened; none once the transport is closed. One task polls.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<Self::Stream>>>;

    /// Whether `peer` answers and proves its key at `addr`, over a connection of its own that
    /// is closed again. Transports without addresses answer [`OpenFailure::NoAddress`].
    fn probe(
        &self,
        peer: PublicKey,
        addr: SocketAddr,
    ) -> BoxFuture<'static, Result<(), OpenFailure>>;

    /// Ends the session with `peer`, if it is direct, and refuses another from it for `duration`:
    /// it wastes more than its streams' resets would save. Does nothing unless implemented.
    fn refuse(&self, peer: PublicKey, duration: Duration) {
        let _ = (peer, duration);
    }

    /// Closes every session and stops listening; completes when all is closed.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// What it counted. Zeroes unless implemented.
    fn stats(&self) -> TransportStats {
        TransportStats::default()
    }

    /// Why those bootstrap peers cannot be reached whose last dial failed. None unless
    /// implemented.
    fn dial_failures(&self) -> Vec<DialFailure> {
        Vec::new()
    }
}
