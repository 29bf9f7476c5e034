//! The streams of a node, polled by its only task.
//!
//! Each stream has a slot, and each slot a waker: waking marks the slot, and a turn of the event
//! loop visits only marked slots. Slots and wakers are reused, so a stream costs no allocation
//! here. A waker that outlives its stream marks the next stream in the slot, which is then polled
//! once without need.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use skydht_core::node::{OpenFailure, Path, StreamEnd, StreamId};
use skydht_core::time::Mono;
use skydht_runtime::{BoxFuture, Connection};

/// How long a peer may take to receive the rest of a stream that the node has closed.
const LINGER: Duration = Duration::from_secs(30);
/// Maximum number of lingering streams; beyond it, the one whose time ends first is reset.
const MAX_LINGERING: usize = 1_024;
/// Maximum bytes that lingering streams have to send; beyond it, the one whose time ends first is
/// reset.
const MAX_LINGERING_BYTES: usize = 8 * 1024 * 1024;

/// Error of reading a stream whose session has ended, in every transport.
const LOST: io::ErrorKind = io::ErrorKind::ConnectionAborted;

/// Indices of the slots that were woken.
struct Ready {
    marked: Mutex<Vec<usize>>,
    waker: Arc<AtomicWaker>,
}

impl Ready {
    fn mark(&self, index: usize) {
        let mut marked = self.marked.lock().unwrap_or_else(PoisonError::into_inner);
        marked.push(index);
    }
}

struct SlotWaker {
    index: usize,
    marked: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.marked.swap(true, Ordering::AcqRel) {
            self.ready.mark(self.index);
            self.ready.waker.wake();
        }
    }
}

pub(super) type Opening<S> = BoxFuture<'static, Result<(S, Path), OpenFailure>>;

/// An open stream.
struct Open<S> {
    stream: S,
    /// The frame being written, of which `written` bytes are; `behind` are those that follow.
    frame: Option<Arc<[u8]>>,
    written: usize,
    behind: VecDeque<Arc<[u8]>>,
    /// Whether written bytes were not flushed yet.
    unflushed: bool,
    paused: bool,
    /// Whether writing failed. Data that the peer sent before is still read.
    write_failed: bool,
}

enum State<S> {
    Opening(Opening<S>),
    Open(Open<S>),
    /// Closed by the node: flush, finish, forget. If that takes time, until this moment at most.
    Closing(Open<S>, Option<Mono>),
}

struct Slot<S> {
    id: StreamId,
    state: State<S>,
}

/// Result of a step in a slot. All but `Idle` are passed to the node.
pub(super) enum Step {
    /// Nothing more can be done now.
    Idle,
    Opened(StreamId, Path),
    Failed(StreamId, OpenFailure),
    /// This many bytes were read into the buffer.
    Bytes(StreamId, usize),
    Sent(StreamId),
    /// If the peer has finished regularly, queued data is still flushed.
    Closed(StreamId, StreamEnd),
}

pub(super) struct Streams<S> {
    slots: Vec<(Option<Slot<S>>, Waker, Arc<SlotWaker>)>,
    free: Vec<usize>,
    by_id: HashMap<StreamId, usize>,
    /// The streams that take time to finish, by when they are reset, with the bytes that they had
    /// to send.
    lingering: BTreeMap<(Mono, StreamId), usize>,
    lingering_bytes: usize,
    cut: u64,
    ready: Arc<Ready>,
}

impl<S: Connection> Streams<S> {
    /// Creates an empty set. `waker` wakes the event loop.
    pub(super) fn new(waker: Arc<AtomicWaker>) -> Self {
        let marked = Mutex::default();
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            lingering: BTreeMap::new(),
            lingering_bytes: 0,
            cut: 0,
            ready: Arc::new(Ready { marked, waker }),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    fn insert(&mut self, id: StreamId, state: State<S>) {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.slots.len();
            let waker = Arc::new(SlotWaker {
                index,
                marked: AtomicBool::new(false),
                ready: Arc::clone(&self.ready),
            });
            self.slots
                .push((None, Waker::from(Arc::clone(&waker)), waker));
            index
        });
        self.slots[index].0 = Some(Slot { id, state });
        self.by_id.insert(id, index);
        self.mark(index);
    }

    /// Marks a slot without waking the event loop, which is running.
    fn mark(&self, index: usize) {
        if !self.slots[index].2.marked.swap(true, Ordering::AcqRel) {
            self.ready.mark(index);
        }
    }

    pub(super) fn open(&mut self, id: StreamId, opening: Opening<S>) {
        self.insert(id, State::Opening(opening));
    }

    pub(super) fn accept(&mut self, id: StreamId, stream: S) {
        self.insert(id, State::Open(Open::new(stream)));
    }

    fn open_mut(&mut self, id: StreamId) -> Option<(usize, &mut Open<S>)> {
        let index = *self.by_id.get(&id)?;
        match &mut self.slots[index].0.as_mut()?.state {
            State::Open(open) => Some((index, open)),
            State::Opening(_) | State::Closing(..) => None,
        }
    }

    /// Queues a frame. Ignored if the stream has ended, which the node knows or is about to learn.
    pub(super) fn send(&mut self, id: StreamId, bytes: Arc<[u8]>) {
        if let Some((index, open)) = self.open_mut(id) {
            open.behind_or_frame(bytes);
            self.mark(index);
        }
    }

    pub(super) fn set_paused(&mut self, id: StreamId, paused: bool) {
        if let Some((index, open)) = self.open_mut(id) {
            open.paused = paused;
            if !paused {
                self.mark(index);
            }
        }
    }

    /// Resets a stream, or starts to finish it.
    pub(super) fn close(&mut self, id: StreamId, graceful: bool) {
        let Some(&index) = self.by_id.get(&id) else {
            return;
        };
        match self.slots[index].0.take().map(|slot| slot.state) {
            Some(State::Open(open)) if graceful => {
                let state = State::Closing(open, None);
                self.slots[index].0 = Some(Slot { id, state });
                self.mark(index);
            }
            state => {
                self.forget(index, id);
                // Dropping a stream resets it; dropping the future gives up the dial.
                drop(state);
            }
        }
    }

    /// Resets a stream that takes too long to finish.
    fn cut(&mut self, until: Mono, id: StreamId) {
        self.lingered(until, id);
        self.cut += 1;
        self.close(id, false);
    }

    /// Removes a stream from the lingering ones.
    fn lingered(&mut self, until: Mono, id: StreamId) {
        let bytes = self.lingering.remove(&(until, id));
        self.lingering_bytes -= bytes.unwrap_or_default();
    }

    /// Resets the streams that have taken too long to finish.
    pub(super) fn cut_overdue(&mut self, now: Mono) {
        while let Some((&(until, id), _)) = self.lingering.first_key_value()
            && until <= now
        {
            self.cut(until, id);
        }
    }

    /// Returns when [`Streams::cut_overdue`] must be called next.
    pub(super) fn next_overdue(&self) -> Option<Mono> {
        self.lingering.first_key_value().map(|((at, _), _)| *at)
    }

    /// Returns the number of streams that take time to finish.
    pub(super) fn lingering(&self) -> usize {
        self.lingering.len()
    }

    /// Returns the bytes that lingering streams had to send when they started to linger.
    pub(super) const fn lingering_bytes(&self) -> usize {
        self.lingering_bytes
    }

    /// Returns the bytes of frames that no stream has accepted yet. O(streams).
    pub(super) fn unsent(&self) -> usize {
        let open = self
            .slots
            .iter()
            .filter_map(|(slot, ..)| match &slot.as_ref()?.state {
                State::Open(open) | State::Closing(open, _) => Some(open.unsent()),
                State::Opening(_) => None,
            });
        open.sum()
    }

    /// Returns the number of streams reset while finishing.
    pub(super) fn cut_count(&self) -> u64 {
        self.cut
    }

    fn forget(&mut self, index: usize, id: StreamId) {
        self.slots[index].0 = None;
        self.by_id.remove(&id);
        self.free.push(index);
    }

    /// Resets all streams.
    pub(super) fn clear(&mut self) {
        self.cut += self.by_id.len() as u64;
        self.by_id.clear();
        self.lingering.clear();
        self.lingering_bytes = 0;
        self.free.clear();
        self.slots.clear();
    }

    /// Returns whether slots are marked.
    pub(super) fn has_ready(&self) -> bool {
        let marked = self.ready.marked.lock();
        !marked.unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Swaps the marked slots with `empty`. They can be marked again from now on.
    pub(super) fn take_ready(&self, empty: &mut Vec<usize>) {
        let mut marked = self
            .ready
            .marked
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *marked, empty);
        drop(marked);
        for index in empty {
            if let Some((_, _, waker)) = self.slots.get(*index) {
                waker.marked.store(false, Ordering::Release);
            }
        }
    }

    /// Marks a slot again that has more to do than one visit allows.
    pub(super) fn revisit(&self, index: usize) {
        if index < self.slots.len() {
            self.mark(index);
        }
    }

    /// Performs one step in a slot. Call it until it returns [`Step::Idle`].
    pub(super) fn step(&mut self, index: usize, now: Mono, buffer: &mut [u8]) -> Step {
        let Some((Some(slot), waker, _)) = self.slots.get_mut(index) else {
            return Step::Idle;
        };
        let id = slot.id;
        let cx = &mut Context::from_waker(waker);
        match &mut slot.state {
            State::Opening(opening) => match opening.as_mut().poll(cx) {
                Poll::Pending => Step::Idle,
                Poll::Ready(Ok((stream, path))) => {
                    slot.state = State::Open(Open::new(stream));
                    Step::Opened(id, path)
                }
                Poll::Ready(Err(reason)) => {
                    self.forget(index, id);
                    Step::Failed(id, reason)
                }
            },
            State::Open(open) => {
                if open.has_unsent() {
                    match open.poll_send(cx) {
                        Poll::Ready(Ok(())) => return Step::Sent(id),
                        Poll::Ready(Err(_)) => open.fail_writing(),
                        Poll::Pending => {}
                    }
                }
                match open.poll_receive(cx, buffer) {
                    Poll::Pending => Step::Idle,
                    Poll::Ready(Ok(0)) if !open.write_failed => {
                        self.close(id, true);
                        Step::Closed(id, StreamEnd::Finished)
                    }
                    Poll::Ready(Err(error)) if error.kind() == LOST => {
                        self.close(id, false);
                        Step::Closed(id, StreamEnd::Lost)
                    }
                    Poll::Ready(Ok(0) | Err(_)) => {
                        self.close(id, false);
                        Step::Closed(id, StreamEnd::Reset)
                    }
                    Poll::Ready(Ok(n)) => Step::Bytes(id, n),
                }
            }
            State::Closing(open, until) => {
                if open.poll_finish(cx).is_ready() {
                    if let Some(until) = *until {
                        self.lingered(until, id);
                    }
                    self.forget(index, id);
                } else if until.is_none() {
                    let at = now.plus(LINGER);
                    *until = Some(at);
                    let bytes = open.unsent();
                    self.lingering.insert((at, id), bytes);
                    self.lingering_bytes += bytes;
                    while let Some((&(at, id), _)) = self.lingering.first_key_value()
                        && (self.lingering.len() > MAX_LINGERING
                            || self.lingering_bytes > MAX_LINGERING_BYTES)
                    {
                        self.cut(at, id);
                    }
                }
                Step::Idle
            }
        }
    }
}

impl<S: Connection> Open<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            frame: None,
            written: 0,
            behind: VecDeque::new(),
            unflushed: false,
            paused: false,
            write_failed: false,
        }
    }

    fn behind_or_frame(&mut self, bytes: Arc<[u8]>) {
        if self.write_failed {
            return; // the node hears of the end once everything received is read
        }
        if self.frame.is_none() {
            self.frame = Some(bytes);
        } else {
            self.behind.push_back(bytes);
        }
    }

    fn has_unsent(&self) -> bool {
        self.frame.is_some() || self.unflushed
    }

    /// Returns the bytes that have not been written.
    fn unsent(&self) -> usize {
        let frames = self.frame.iter().chain(&self.behind);
        frames.map(|frame| frame.len()).sum::<usize>() - self.written
    }

    fn fail_writing(&mut self) {
        self.write_failed = true;
        self.frame = None;
        self.written = 0;
        self.behind.clear();
        self.unflushed = false;
    }

    /// Writes and flushes everything queued.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(frame) = &self.frame {
            while self.written < frame.len() {
                let stream = Pin::new(&mut self.stream);
                match std::task::ready!(stream.poll_write(cx, &frame[self.written..]))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => self.written += n,
                }
            }
            self.unflushed = true;
            self.written = 0;
            self.frame = self.behind.pop_front();
        }
        std::task::ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.paused {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    /// Flushes and finishes. An error also ends the stream.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.has_unsent() {
            std::task::ready!(self.poll_send(cx))?;
        }
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
