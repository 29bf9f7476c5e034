//! Many streams over one connection: yamux, with limits that hold against any peer.
//!
//! [`Session::new`] gives three things: the handle (open streams, close), the streams that the peer
//! opens, and the driver, a future that the caller spawns and that does all the work.
//!
//! A stream over the limit is reset and counted without ending the session, and the memory that a
//! peer can occupy is bounded: see [`SessionConfig`]. The multiplexing itself is a state machine,
//! `mux`, that handles, streams and driver share behind a lock.

mod config;
mod driver;
mod room;
mod shared;
mod stall;
mod stream;
mod unread;

use std::sync::Arc;

use futures::channel::{mpsc, oneshot};
use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::PublicKey;

pub use crate::mux::Role;
pub use config::{CloseReason, SessionConfig, SessionCounters, SessionError};
pub use driver::Driver;
pub use room::SendBudget;
pub use stall::Stall;
pub use stream::Stream;
pub use unread::ReceiveBudget;

use shared::Shared;

/// A handle to a session. Dropping the last clone closes the session.
#[derive(Clone)]
pub struct Session(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Session {
    /// Starts a session over a connection. Spawn the driver: the session makes no progress without
    /// it.
    pub fn new<IO: AsyncRead + AsyncWrite + Send + Unpin>(
        io: IO,
        role: Role,
        config: &SessionConfig,
    ) -> (Self, Incoming, Driver<IO>) {
        let (ended, end) = oneshot::channel();
        let (queue, incoming) = mpsc::channel(config.backlog.saturating_sub(1));
        let shared = Shared::new(role, config, end);
        let driver = Driver::new(io, Arc::clone(&shared), queue, ended);
        (Self(Arc::new(Handle(shared))), Incoming(incoming), driver)
    }

    /// Opens a stream. Waits while the peer has not acknowledged 256 of our streams. Cancel-safe.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn open(&self) -> Result<Stream, SessionError> {
        let mut permit = None;
        let opened = std::future::poll_fn(|cx| self.0.0.poll_open(cx, &mut permit));
        opened.await.map(|(id, permit)| Stream::new(id, permit))
    }

    /// Closes the session: sends queued data, ends the streams and closes the connection. Await
    /// [`Self::closed`] for the end.
    pub fn close(&self) {
        self.0.0.close();
    }

    /// Returns whether the session is over or closing.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.0.state().is_closing
    }

    /// Waits for the end of the session and returns its cause.
    pub async fn closed(&self) -> CloseReason {
        self.0.0.ended().await
    }

    /// Returns the session's counters.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        self.0.0.counters()
    }
}

/// The streams that the peer opens; ends with the session. Dropping it resets them all.
pub struct Incoming(mpsc::Receiver<Stream>);

impl Incoming {
    /// Returns the next stream, or `None` when the session is over. Cancel-safe.
    pub async fn next(&mut self) -> Option<Stream> {
        futures::StreamExt::next(&mut self.0).await
    }
}

impl futures::Stream for Incoming {
    type Item = Stream;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Stream>> {
        std::pin::Pin::new(&mut self.0).poll_next(cx)
    }
}

/// Which of two sessions with the same peer stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The existing session.
    Old,
    /// The new session.
    New,
}

/// Decides which of two sessions with one peer stays.
///
/// Both sides decide alike without exchanging a message. If each side dialled one, the session that
/// the smaller key dialled stays. If one side dialled both, the newer stays: the older is most
/// likely a dead connection.
///
/// Open no new streams on the other session, and close it when its streams have ended: the peer may
/// not know of the winner yet.
#[must_use]
pub fn keep_which(local: &PublicKey, remote: &PublicKey, old: Role, new: Role) -> Keep {
    if old == new {
        return Keep::New;
    }
    let winner = if local < remote {
        Role::Client
    } else {
        Role::Server
    };
    if new == winner { Keep::New } else { Keep::Old }
}

#[cfg(test)]
mod tests;
