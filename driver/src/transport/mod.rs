//! Transports: streams to peers that are identified by their *key*, which the transport proves.

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
    /// The path over which the stream runs.
    pub path: Path,
    /// The stream itself.
    pub stream: S,
}

/// Counters of a transport, all since its start, except `sessions`, `streams`, `queued_bytes`,
/// `dialling`, `handshaking` and `without_dht`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TransportStats {
    /// Sessions that exist now.
    pub sessions: usize,
    /// Streams of these sessions, in both directions, those being opened included.
    pub streams: usize,
    /// Bytes of outgoing data of these streams that wait for their connections.
    pub queued_bytes: usize,
    /// Peers being dialled now.
    pub dialling: usize,
    /// Handshakes of incoming connections in progress now.
    pub handshaking: usize,
    /// Dials that established a session.
    pub dials: u64,
    /// Dials that failed at all their addresses.
    pub dials_failed: u64,
    /// Opens that waited for a dial in progress.
    pub dials_shared: u64,
    /// Peers that connected to us and proved a key.
    pub accepted: u64,
    /// Incoming connections that failed their handshake or did not finish it in time.
    pub handshakes_failed: u64,
    /// Incoming connections that the peer closed during the handshake: probes and port scans.
    pub handshakes_abandoned: u64,
    /// Handshakes of incoming connections that ended to make room for others.
    pub handshakes_dropped: u64,
    /// Connections refused because of a limit, or because their peer is refused.
    pub refused: u64,
    /// Times that a session had to wait because too many streams waited for the event loop.
    pub accepts_held: u64,
    /// Sessions closed because another one with the same peer was kept.
    pub superseded: u64,
    /// Sessions closed because they were idle.
    pub idle_closed: u64,
    /// Sessions with streams that ended to make room for others.
    pub displaced: u64,
    /// Sessions closed by the network, or by a peer that was silent or violated the protocol.
    pub lost: u64,
    /// Peers currently remembered for having refused because they run no DHT.
    pub without_dht: usize,
    /// Opens that were not tried because of such a refusal.
    pub avoided: u64,
    /// Refusals forgotten early because too many were remembered.
    pub without_dht_evicted: u64,
}

/// How nodes reach each other.
///
/// A stream is ordered and reliable, with back-pressure: a stream that is not read holds its peer
/// back. `poll_close` finishes the writing direction after everything written; dropping a stream
/// that was not closed resets it. A read returns 0 after the peer has finished, an error after a
/// reset, and an error of kind `ConnectionAborted` after the loss of the session.
///
/// Streams run over *sessions*, and **an accepted session also carries streams to its dialer**:
/// once a stream of a peer was accepted, [`Transport::open`] to that peer succeeds without an
/// address, also with [`SessionUse::ReuseOnly`], over the session that the peer dialled, and not
/// only while a stream of the peer is open. A node that was dialled pings its dialer this way; most
/// nodes have no address that could be dialled instead. With one connection per stream it would
/// never learn of its dialers, and readers would not find what they put: use a multiplexer over the
/// connection (`skydht_dmsg::session` is one).
///
/// [`crate::testing::conformance`] tests an implementation.
pub trait Transport: Send + Sync + 'static {
    /// The type of its streams.
    type Stream: Connection;

    /// Returns the key that this transport proves to peers.
    fn local_key(&self) -> PublicKey;

    /// Returns the address at which peers can dial this transport directly, if there is one.
    fn local_addr(&self) -> Option<SocketAddr>;

    /// Opens a stream to `peer`: over an existing session, or else, if `session` allows it, by
    /// dialling `addrs` in order. Returns only once the peer has proven its key. Dropping the
    /// future gives up the stream; a dial that other callers wait for continues.
    fn open(
        &self,
        peer: PublicKey,
        addrs: Addrs,
        session: SessionUse,
    ) -> BoxFuture<'static, Result<(Self::Stream, Path), OpenFailure>>;

    /// Polls for the next stream that a peer opened; `None` once the transport is closed. Only one
    /// task polls.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<Self::Stream>>>;

    /// Tests whether `peer` answers and proves its key at `addr`, over a separate connection that
    /// is then closed. Transports without addresses return [`OpenFailure::NoAddress`].
    fn probe(
        &self,
        peer: PublicKey,
        addr: SocketAddr,
    ) -> BoxFuture<'static, Result<(), OpenFailure>>;

    /// Ends the session with `peer`, if it is direct, and refuses further ones for `duration`. Used
    /// for peers whose requests cost more than resetting their streams would save. The default does
    /// nothing.
    fn refuse(&self, peer: PublicKey, duration: Duration) {
        let _ = (peer, duration);
    }

    /// Stops listening and closes all sessions; completes when they are closed.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// Returns the transport's counters. The default returns zeros.
    fn stats(&self) -> TransportStats {
        TransportStats::default()
    }

    /// Returns why bootstrap peers are not reached, for those whose last dial failed. The default
    /// returns none.
    fn dial_failures(&self) -> Vec<DialFailure> {
        Vec::new()
    }
}
