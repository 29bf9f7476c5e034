//! The future that moves a session.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::{mpsc, oneshot};
use futures_io::{AsyncRead, AsyncWrite};
use yamux::{ConnectionError, FrameDecodeError};

use super::config::{CloseReason, Role};
use super::context::{MOST_STREAMS, SessionContext, Side};
use super::cork::{CorkState, CorkedIo};
use super::requests::Requests;
use super::stream::Stream;
use crate::plaintext_mux::IsSmux;
use crate::secure::SecureError;

/// How many dropped streams yamux may have in its books before we wait for it. They linger only
/// while the connection takes no more of our data.
const DROPPED_LIMIT: usize = 256;
/// yamux ends the session when it counts more streams than it was told, so it is told more than
/// there can ever be: the dropped ones, and some that other threads drop meanwhile.
const SLACK: usize = 4 * DROPPED_LIMIT;

/// What yamux is told fits addresses of 32 bits, too.
const _: () = {
    let streams = (3 * MOST_STREAMS + SLACK) as u64;
    assert!(streams * yamux::DEFAULT_CREDIT as u64 <= u32::MAX as u64);
};

/// The most data in one frame, in bytes. Others' streams wait no longer for it than for what the
/// socket holds anyway.
const FRAME: usize = 32 * 1024;

/// Runs one session; completes when it is over. Spawn it.
#[must_use = "a session does nothing unless its driver runs"]
pub struct Driver<IO> {
    /// `None` when the session is over.
    connection: Option<yamux::Connection<CorkedIo<IO>>>,
    cork: Arc<CorkState>,
    requests: Arc<Requests>,
    queue: mpsc::Sender<Stream>,
    ended: Option<oneshot::Sender<()>>,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Driver<IO> {
    pub(super) fn new(
        io: IO,
        role: Role,
        requests: Arc<Requests>,
        queue: mpsc::Sender<Stream>,
        ended: oneshot::Sender<()>,
    ) -> Self {
        let context = Arc::clone(&requests.context);
        let streams = context.max_streams() + SLACK;
        let mut config = yamux::Config::default();
        // Exactly the first window for every stream: yamux demands that much, and with nothing
        // left over no window ever grows.
        config
            .set_max_connection_receive_window(None)
            .set_max_num_streams(streams)
            .set_split_send_size(FRAME)
            .set_max_connection_receive_window(Some(streams * yamux::DEFAULT_CREDIT as usize));
        let mode = match role {
            Role::Client => yamux::Mode::Client,
            Role::Server => yamux::Mode::Server,
        };
        let cork = Arc::new(CorkState::default());
        let corked_io = CorkedIo::new(io, cork.clone(), context);
        Self {
            connection: Some(yamux::Connection::new(corked_io, config, mode)),
            cork,
            requests,
            queue,
            ended: Some(ended),
        }
    }

    /// One turn: serves requests, collects what the streams send and reads what came until nothing
    /// moves, then flushes once. `None`: wait for a waker.
    fn turn(&mut self, cx: &mut Context<'_>) -> Option<CloseReason> {
        let connection = self.connection.as_mut()?;
        let (requests, cork) = (&*self.requests, &*self.cork);
        let context = &requests.context;
        cork.start_turn();
        loop {
            cork.collect();
            if let Err(error) = serve_requests(connection, requests, cx) {
                return Some(reason(error));
            }
            if let Some(end) = advance(connection, context, cork, &mut self.queue, cx) {
                return Some(end);
            }
            let held = cork.reads_are_held();
            if cork.is_dirty() {
                cork.flush();
                if let Some(end) = advance(connection, context, cork, &mut self.queue, cx) {
                    return Some(end);
                }
            }
            if cork.is_violated() {
                return Some(violation());
            }
            let stuck = cork.is_blocked() || cork.is_dirty();
            if requests.is_closing() && !stuck {
                return Some(CloseReason::Local);
            }
            if !held || stuck {
                return None;
            }
            // Reads were held because of dropped streams; those are gone now.
        }
    }

    fn end(&mut self, reason: CloseReason) {
        self.requests.context.end(reason);
        self.requests.close();
        // Wakes everyone who waits on a stream; they find the reason set.
        self.connection = None;
        self.queue.close_channel();
        if let Some(ended) = self.ended.take() {
            let _ = ended.send(());
        }
    }
}

impl<IO> Driver<IO> {
    /// Bytes of data that wait for the connection, and bytes that it has taken.
    pub(super) fn sending(&self) -> (usize, u64) {
        self.requests.context.sending()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Future for Driver<IO> {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.requests.context.driver.register(cx.waker());
        match self.turn(cx) {
            None => Poll::Pending,
            Some(reason) => {
                self.end(reason.clone());
                Poll::Ready(reason)
            }
        }
    }
}

impl<IO> Drop for Driver<IO> {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.requests.context.end(CloseReason::Dropped);
            self.requests.close();
            self.queue.close_channel();
        }
    }
}

/// Opens the streams that were asked for, as far as yamux goes.
fn serve_requests<IO: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut yamux::Connection<CorkedIo<IO>>,
    requests: &Requests,
    cx: &mut Context<'_>,
) -> Result<(), ConnectionError> {
    let context = &requests.context;
    while context.unread.dropped() < DROPPED_LIMIT
        && let Some(request) = requests.next()
    {
        match connection.poll_new_outbound(cx) {
            Poll::Ready(stream) => {
                context.count_opened();
                // Not wanted any more: dropped, hence reset.
                if let Some(stream) = Stream::outbound(stream?, request.permit) {
                    let _ = request.reply.send(stream);
                }
            }
            Poll::Pending => {
                requests.postpone(request);
                break;
            }
        }
    }
    Ok(())
}

/// Lets yamux write and read until nothing moves, and hands out the peer's new streams.
fn advance<IO: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut yamux::Connection<CorkedIo<IO>>,
    context: &Arc<SessionContext>,
    cork: &CorkState,
    queue: &mut mpsc::Sender<Stream>,
    cx: &mut Context<'_>,
) -> Option<CloseReason> {
    loop {
        let dropped = context.unread.dropped();
        if dropped >= DROPPED_LIMIT {
            cork.hold_reads();
        }
        match connection.poll_next_inbound(cx) {
            Poll::Ready(Some(Ok(stream))) => admit(stream, context, queue),
            Poll::Ready(None | Some(Err(_))) if cork.is_violated() => {
                return Some(violation());
            }
            Poll::Ready(Some(Err(error))) => return Some(reason(error)),
            Poll::Ready(None) => return Some(CloseReason::Remote),
            Poll::Pending => {
                if !cork.is_blocked() {
                    // Nothing was in the way, so yamux has seen all that were dropped before.
                    context.unread.forget_dropped(dropped);
                }
                return None;
            }
        }
    }
}

/// Queues a stream of the peer's, or resets it when a limit is reached.
fn admit(stream: yamux::Stream, context: &Arc<SessionContext>, queue: &mut mpsc::Sender<Stream>) {
    let Some(permit) = context.permit(Side::Inbound) else {
        context.unread.refuse(stream);
        return context.count_refused();
    };
    let stream = Stream::inbound(stream, permit);
    match stream.map(|stream| queue.try_send(stream)) {
        Some(Ok(())) => context.count_accepted(),
        Some(Err(_)) | None => context.count_refused(),
    }
}

/// yamux logs what it was, but does not tell us.
fn violation() -> CloseReason {
    CloseReason::Protocol("a frame against the rules".into())
}

fn reason(error: ConnectionError) -> CloseReason {
    match error {
        ConnectionError::Closed => CloseReason::Remote,
        ConnectionError::Io(error) | ConnectionError::Decode(FrameDecodeError::Io(error)) => {
            match SecureError::of(&error) {
                Some(error) => CloseReason::Secure(error),
                None if IsSmux::is_cause(&error) => CloseReason::Smux,
                None => CloseReason::Io(error.kind()),
            }
        }
        other => CloseReason::Protocol(other.to_string().into()),
    }
}
