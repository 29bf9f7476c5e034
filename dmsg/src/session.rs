//! Many streams over one connection: yamux, with limits that hold against any peer.
//!
//! [`Session::new`] gives three things: the handle (open streams, close), the streams that the peer
//! opens, and the driver, a future that the caller spawns and that does all the work.
//!
//! yamux itself ends a whole session at its stream limit. Here a stream over the limit is reset
//! alone and counted, and what the peer can make us hold is bounded: [`SessionConfig`] says how.

mod driver;
mod gate;
mod room;
mod shared;
mod stall;
mod stream;
mod unread;

use std::net::IpAddr;
use std::sync::Arc;

use futures::channel::{mpsc, oneshot};
use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::PublicKey;

pub use driver::Driver;
pub use room::SendBudget;
pub use stall::Stall;
pub use stream::Stream;
pub use unread::ReceiveBudget;

use shared::Shared;

use crate::secure::SecureError;

/// Which end of the connection this is. yamux numbers streams by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// We dialled.
    Client,
    /// We accepted.
    Server,
}

/// A session's limits.
///
/// A stream holds at most 256 KiB of unread data (yamux's first window, which is kept from
/// growing), all of them together `receive_queue`, plus some 64 KiB of buffers. Of what its streams
/// send, `send_queue` bytes wait for the connection at most. An idle session costs a few KiB. Limits above 4096
/// count as 4096.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Most streams of the peer's at once; more are reset. Default 256.
    pub max_inbound: usize,
    /// Most streams of ours at once, those waiting to open included. Default 256.
    pub max_outbound: usize,
    /// How many of the peer's streams may wait in [`Incoming`]; more are reset. Default 64.
    pub backlog: usize,
    /// How many of the peer's streams beyond `max_inbound` are not reset but handed out as
    /// [`Stream::is_spare`]. Default 0.
    pub spare_inbound: usize,
    /// Bytes of data of all streams that may wait until the connection takes them; beyond, writing
    /// waits. At least one frame, 32 KiB. Default 256 KiB: one stream's window.
    pub send_queue: usize,
    /// The same over all sessions with this budget.
    pub send_budget: SendBudget,
    /// Bytes of data of all streams that may have come without being read; beyond, those streams
    /// are reset that were read longest ago. Default 32 MiB: 128 streams' windows.
    pub receive_queue: usize,
    /// The same over all sessions with this budget; the address and session with the most make room.
    pub receive_budget: ReceiveBudget,
    /// The address that the session counts for in the receive budget; by itself without one.
    pub source: Option<IpAddr>,
}

/// See [`SessionConfig::send_queue`].
const SEND_QUEUE: usize = 256 * 1024;

/// See [`SessionConfig::receive_queue`].
const RECEIVE_QUEUE: usize = 32 << 20;

/// Spare streams of a session on which pings come as streams: at its limit it must not be taken
/// for dead.
const PING_STREAMS: usize = 16;

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            max_inbound: 256,
            max_outbound: 256,
            backlog: 64,
            spare_inbound: 0,
            send_queue: SEND_QUEUE,
            send_budget: SendBudget::default(),
            receive_queue: RECEIVE_QUEUE,
            receive_budget: ReceiveBudget::default(),
            source: None,
        }
    }
}

impl SessionConfig {
    /// The same limit for either direction. All that the peer may open may wait: a burst of
    /// streams comes in one read.
    #[must_use]
    pub fn with_streams(max: usize) -> Self {
        Self {
            max_inbound: max,
            max_outbound: max,
            backlog: max,
            ..Self::default()
        }
    }

    /// The same, with a few spare streams for pings.
    #[must_use]
    pub fn with_pings(max: usize) -> Self {
        Self {
            backlog: max.saturating_add(PING_STREAMS),
            spare_inbound: PING_STREAMS,
            ..Self::with_streams(max)
        }
    }
}

/// Why a session ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// We closed it, or dropped the last handle.
    #[error("closed by us")]
    Local,
    /// The peer closed it.
    #[error("closed by the peer")]
    Remote,
    /// The driver was dropped.
    #[error("driver dropped")]
    Dropped,
    /// The connection failed, or ended inside a frame.
    #[error("connection failed: {0}")]
    Io(std::io::ErrorKind),
    /// The encrypted stream below got a bad record.
    #[error(transparent)]
    Secure(SecureError),
    /// The peer speaks smux.
    #[error("the peer multiplexes with smux, which is not built: let it use yamux")]
    Smux,
    /// The peer broke the multiplexing protocol.
    #[error("protocol violation: {0}")]
    Protocol(Arc<str>),
}

/// Why a stream was not opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session is over.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// [`SessionConfig::max_outbound`] streams are open.
    #[error("too many streams on this session")]
    TooManyStreams,
}

/// What a session has counted since its start, and what it holds now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct SessionCounters {
    /// Streams that we opened.
    pub opened: u64,
    /// The peer's streams that were queued in [`Incoming`].
    pub accepted: u64,
    /// The peer's streams that were reset: over the limit, backlog full, or nobody listening.
    pub refused: u64,
    /// Streams of ours that live now, those waiting to open included.
    pub outbound: usize,
    /// Streams of the peer's that live now.
    pub inbound: usize,
}

/// A handle on a session. When the last clone is dropped, the session closes.
#[derive(Clone)]
pub struct Session(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.request_close();
    }
}

impl Session {
    /// Starts a session over a connection. Spawn the driver: nothing moves without it.
    pub fn new<IO: AsyncRead + AsyncWrite + Send + Unpin>(
        io: IO,
        role: Role,
        config: &SessionConfig,
    ) -> (Self, Incoming, Driver<IO>) {
        let (ended, end) = oneshot::channel();
        let (queue, incoming) = mpsc::channel(config.backlog.saturating_sub(1));
        let shared = Arc::new(Shared::new(config, end));
        shared.enter_budget(config.source);
        let driver = Driver::new(io, role, shared.clone(), queue, ended);
        (Self(Arc::new(Handle(shared))), Incoming(incoming), driver)
    }

    /// Opens a stream. Waits while 256 of ours are still unknown to the peer (yamux's limit).
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn open(&self) -> Result<Stream, SessionError> {
        let opened = self.0.0.request_open()?;
        match opened.await {
            Ok(stream) => Ok(stream),
            Err(_) => Err(SessionError::Closed(self.0.0.reason())),
        }
    }

    /// Closes the session: queued data is sent, streams end, the connection is closed. Wait for it
    /// with [`Self::closed`].
    pub fn close(&self) {
        self.0.0.request_close();
    }

    /// Whether the session is over, or closing.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.0.is_closing()
    }

    /// Waits for the end of the session.
    pub async fn closed(&self) -> CloseReason {
        self.0.0.ended().await
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        self.0.0.counters()
    }
}

/// The streams that the peer opens; ends with the session. When it is dropped, they are all reset.
pub struct Incoming(mpsc::Receiver<Stream>);

impl Incoming {
    /// The next stream, or `None` when the session is over. Cancel-safe.
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

/// Which of two sessions with one peer stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The one that was there.
    Old,
    /// The one that was just made.
    New,
}

/// Decides between two sessions with one peer, alike on both sides without a word: when both
/// dialled at once, the session that the smaller key dialled stays. When the same side dialled
/// both, the newer stays: the older is most likely a dead connection.
///
/// Use the loser for nothing new, and close it when its streams have ended: the other side may
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
