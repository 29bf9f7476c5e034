//! Keeping an idle connection alive, and telling whether the peer still is.
//!
//! yamux sends nothing while it is idle. A [`Keepalive`] sends something that every reader answers
//! or skips, Go's included: a record without plaintext where the connection is encrypted, a ping of
//! yamux's where it is not. It keeps NAT bindings open and makes a dead TCP connection fail. The
//! caller, which has the clock, decides when to request a ping and how long a silence is too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use futures::task::AtomicWaker;

/// A handle on one connection's bytes; stays usable while something else owns the stream.
#[derive(Clone, Default)]
pub struct Keepalive(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wanted: AtomicBool,
    received: AtomicU64,
    writer: AtomicWaker,
}

impl Keepalive {
    /// Requests one ping. Only the task that flushes the connection sends it; no empty
    /// record is sent when other data is on its way anyway.
    pub fn request_ping(&self) {
        self.0.wanted.store(true, Ordering::Release);
        self.0.writer.wake();
    }

    /// How many records (or frames) have come from the peer, empty ones and answers included. As
    /// long as this number moves, the peer lives.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    pub(crate) fn count_received(&self) {
        self.0.received.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a requested ping, and registers `writer` to be woken by the next request.
    pub(crate) fn take_ping_request(&self, writer: &Waker) -> bool {
        self.0.writer.register(writer);
        self.0.wanted.swap(false, Ordering::Acquire)
    }
}
