//! A session's limits, counters and ends, as plain data.

use std::net::IpAddr;
use std::sync::Arc;

use super::room::SendBudget;
use super::unread::ReceiveBudget;
use crate::secure::SecureError;

/// A session's limits.
///
/// A stream holds at most 256 KiB of unread data (yamux's first window, which is kept from
/// growing), all of them together `receive_queue`, plus some 64 KiB of buffers. Of what its streams
/// send, `send_queue` bytes wait for the connection at most. An idle session costs a few KiB.
/// Limits above 4096 count as 4096.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Most streams of the peer's at once; more are reset. Default 256.
    pub max_inbound: usize,
    /// Most streams of ours at once, those waiting to open included. Default 256.
    pub max_outbound: usize,
    /// How many of the peer's streams may wait in [`Incoming`](super::Incoming); more are reset.
    /// Default 64.
    pub backlog: usize,
    /// How many of the peer's streams beyond `max_inbound` are not reset but handed out as
    /// [`Stream::is_spare`](super::Stream::is_spare). Default 0.
    pub spare_inbound: usize,
    /// Bytes of data of all streams that may wait until the connection takes them; beyond, writing
    /// waits. At least one frame, 32 KiB. Default 256 KiB: one stream's window.
    pub send_queue: usize,
    /// The same over all sessions with this budget.
    pub send_budget: SendBudget,
    /// Bytes of data of all streams that may have come without being read; beyond, those streams
    /// are reset that were read longest ago. Default 32 MiB: 128 streams' windows.
    pub receive_queue: usize,
    /// The same over all sessions with this budget; the address and session with the most make
    /// room.
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
    /// The peer's streams that were queued in [`Incoming`](super::Incoming).
    pub accepted: u64,
    /// The peer's streams that were reset: over the limit, backlog full, or no listener.
    pub refused: u64,
    /// Streams of ours that live now, those waiting to open included.
    pub outbound: usize,
    /// Streams of the peer's that live now.
    pub inbound: usize,
}
