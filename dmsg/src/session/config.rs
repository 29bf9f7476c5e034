//! Limits, counters and close reasons of a session.

use std::net::IpAddr;
use std::sync::Arc;

use super::room::SendBudget;
use super::unread::ReceiveBudget;
use crate::secure::SecureError;

/// Limits of a session.
///
/// A stream holds at most 256 KiB of unread data (yamux's initial window, which does not grow
/// here), and all streams together `receive_queue`, plus about 64 KiB of buffers. At most
/// `send_queue` bytes of outgoing data wait for the connection. An idle session costs a few KiB.
/// Limits above 4096 streams count as 4096.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Maximum number of concurrent streams opened by the peer; further ones are reset. Default
    /// 256.
    pub max_inbound: usize,
    /// Maximum number of concurrent streams opened by us, those waiting to open included. Default
    /// 256.
    pub max_outbound: usize,
    /// Maximum number of the peer's streams that wait in [`Incoming`](super::Incoming); further
    /// ones are reset. Default 64.
    pub backlog: usize,
    /// Number of the peer's streams beyond `max_inbound` that are not reset but handed out as
    /// [`Stream::is_spare`](super::Stream::is_spare). Default 0.
    pub spare_inbound: usize,
    /// Bytes of outgoing data of all streams that may wait for the connection; beyond, writes wait.
    /// At least one frame, 32 KiB. Default 256 KiB: one stream's window.
    pub send_queue: usize,
    /// Limit of outgoing data over all sessions that share this budget.
    pub send_budget: SendBudget,
    /// Bytes of received but unread data of all streams; beyond, the streams that were read least
    /// recently are reset. Default 32 MiB: the windows of 128 streams.
    pub receive_queue: usize,
    /// Limit of unread data over all sessions that share this budget. Beyond it, the largest
    /// session of the address with the most unread data loses streams.
    pub receive_budget: ReceiveBudget,
    /// Address to which the session's unread data is attributed in the receive budget; `None`
    /// attributes it to the session itself.
    pub source: Option<IpAddr>,
}

/// Default of [`SessionConfig::send_queue`].
const SEND_QUEUE: usize = 256 * 1024;

/// Default of [`SessionConfig::receive_queue`].
const RECEIVE_QUEUE: usize = 32 << 20;

/// Spare streams of a session on which pings arrive as streams: a session at its stream limit must
/// still answer them, or the peer takes it for dead.
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
    /// Sets the same limit for both directions. All of the peer's streams may wait in the backlog,
    /// since one read can deliver a burst of them.
    #[must_use]
    pub fn with_streams(max: usize) -> Self {
        Self {
            max_inbound: max,
            max_outbound: max,
            backlog: max,
            ..Self::default()
        }
    }

    /// Like [`Self::with_streams`], with 16 spare streams for pings.
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
    /// A record of the encrypted stream below was invalid.
    #[error(transparent)]
    Secure(SecureError),
    /// The peer speaks smux.
    #[error("the peer multiplexes with smux, which is not built: let it use yamux")]
    Smux,
    /// The peer violated the multiplexing protocol.
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

/// Counters of a session since its start, and its current streams.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct SessionCounters {
    /// Streams that we opened.
    pub opened: u64,
    /// The peer's streams that were queued in [`Incoming`](super::Incoming).
    pub accepted: u64,
    /// The peer's streams that were reset: over the limit, backlog full, or no listener.
    pub refused: u64,
    /// Current streams that we opened, those waiting to open included.
    pub outbound: usize,
    /// Current streams that the peer opened.
    pub inbound: usize,
}
