//! Keepalives for idle connections, and the means to detect a dead peer.
//!
//! yamux sends nothing while it is idle. A [`Keepalive`] sends something that every peer answers or
//! skips, Go's included: an empty record where the connection is encrypted, a yamux ping where it
//! is not. It keeps NAT bindings open and makes a dead TCP connection fail. The caller, which has
//! the clock, decides when to request a ping and how long a silence may last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use futures::task::AtomicWaker;

/// A handle to the keepalive of one connection, usable while another task owns the stream.
#[derive(Clone, Default)]
pub struct Keepalive(Arc<KeepaliveState>);

#[derive(Default)]
struct KeepaliveState {
    ping_requested: AtomicBool,
    received: AtomicU64,
    writer: AtomicWaker,
}

impl Keepalive {
    /// Requests one ping. The task that flushes the connection sends it. On an encrypted connection
    /// it is skipped if other data is about to be sent.
    pub fn request_ping(&self) {
        self.0.ping_requested.store(true, Ordering::Release);
        self.0.writer.wake();
    }

    /// Returns how many records or frames the peer has sent, empty ones and answers included. The
    /// peer is alive as long as this number rises.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    pub(crate) fn count_received(&self) {
        self.0.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a pending ping request, and registers `writer` to be woken by the next one.
    pub(crate) fn take_ping_request(&self, writer: &Waker) -> bool {
        self.0.writer.register(writer);
        self.0.ping_requested.swap(false, Ordering::Acquire)
    }
}
