//! Data that has come and was not read: bounded for a session, and over all sessions that share a
//! budget.
//!
//! A peer may send 256 KiB on each stream whether its reader takes them or not; yamux has no
//! smaller window, and not to read the connection would hold back its other streams. So whoever
//! holds too much loses streams: the address with the most, of its sessions the one with the
//! most, of its streams those that were read longest ago.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::mux_frame::{self, Header};

/// A budget unless told otherwise, in bytes.
const DEFAULT_BUDGET: usize = 64 << 20;
/// What yamux takes for each frame that waits, besides its data, in bytes.
const FRAME_COST: usize = 64;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound on the unread data of many sessions together. Clones are the same budget.
#[derive(Clone)]
pub struct ReceiveBudget(Arc<Total>);

struct Total {
    limit: usize,
    held: AtomicUsize,
    cut: AtomicU64,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    last_id: u64,
    /// With the address that each counts for.
    live: BTreeMap<u64, (Option<IpAddr>, Weak<Unread>)>,
}

impl ReceiveBudget {
    /// One of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Total {
            limit,
            held: AtomicUsize::new(0),
            cut: AtomicU64::new(0),
            sessions: Mutex::default(),
        }))
    }

    /// Bytes held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(SeqCst)
    }

    /// Whether no session has a part in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        lock(&self.0.sessions).live.is_empty()
    }

    /// Streams that were reset because too much was held.
    #[must_use]
    pub fn cut(&self) -> u64 {
        self.0.cut.load(Relaxed)
    }

    /// The session that makes room first.
    fn largest(&self) -> Option<Arc<Unread>> {
        let live: Vec<_> = {
            let sessions = lock(&self.0.sessions);
            let live = sessions.live.iter().filter_map(|(id, (source, unread))| {
                // Without an address a session counts by itself.
                let group = source.map_or((None, *id), |source| (Some(source), 0));
                Some((group, unread.upgrade()?))
            });
            // None of them may end while the lock is held, since that takes it, too.
            live.collect()
        };
        let mut groups = BTreeMap::<_, (usize, Vec<Arc<Unread>>)>::new();
        for (group, unread) in live {
            let (held, members) = groups.entry(group).or_default();
            *held += unread.held();
            members.push(unread);
        }
        let (_, members) = groups.into_values().max_by_key(|(held, _)| *held)?;
        members.into_iter().max_by_key(|it| it.held())
    }

    /// Cuts until there is some room again.
    fn enforce(&self) {
        if self.held() <= self.0.limit {
            return;
        }
        let enough = self.0.limit - self.0.limit / 8;
        while self.held() > enough {
            let before = self.held();
            let Some(largest) = self.largest() else {
                return;
            };
            // Not more at once, since another one then has the most.
            largest.cut_down_to(largest.held() / 2);
            if self.held() >= before {
                return;
            }
        }
    }
}

impl Default for ReceiveBudget {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

impl std::fmt::Debug for ReceiveBudget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBudget")
            .field("limit", &self.0.limit)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// yamux's streams of one session, and what they hold.
pub(super) struct Unread {
    limit: usize,
    budget: ReceiveBudget,
    /// In the budget.
    id: u64,
    held: AtomicUsize,
    streams: Mutex<BTreeMap<u32, Arc<Buffered>>>,
    /// Streams that were dropped and that yamux may still have in its books.
    dropped: AtomicUsize,
    /// Counts reads, so that streams can be told apart by when they were read last.
    reads: AtomicU64,
}

/// What one stream holds.
#[derive(Default)]
pub(super) struct Buffered(Mutex<Buffer>);

#[derive(Default)]
struct Buffer {
    state: State,
    bytes: usize,
    /// Frames that `bytes` came in, at most as many.
    frames: usize,
    /// Bytes that were read and that the reader still holds.
    kept: usize,
    read_at: u64,
    waker: Option<Waker>,
}

#[derive(Default)]
enum State {
    /// Its first frame has come, and yamux has not handed it out yet.
    #[default]
    Expected,
    Open(yamux::Stream),
    Cut,
}

impl Buffer {
    fn held(&self) -> usize {
        self.bytes + self.frames * FRAME_COST + self.kept
    }

    fn forget(&mut self) {
        (self.bytes, self.frames, self.kept) = (0, 0, 0);
    }
}

impl Unread {
    /// One of a session that counts for `source` in the budget.
    pub(super) fn enter(limit: usize, budget: ReceiveBudget, source: Option<IpAddr>) -> Arc<Self> {
        let total = Arc::clone(&budget.0);
        let mut sessions = lock(&total.sessions);
        sessions.last_id += 1;
        let unread = Arc::new(Self {
            limit,
            budget,
            id: sessions.last_id,
            held: AtomicUsize::new(0),
            streams: Mutex::default(),
            dropped: AtomicUsize::new(0),
            reads: AtomicU64::new(0),
        });
        let entry = (source, Arc::downgrade(&unread));
        sessions.live.insert(unread.id, entry);
        unread
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped.load(SeqCst)
    }

    /// yamux has forgotten `n` of the dropped streams.
    pub(super) fn forget_dropped(&self, n: usize) {
        self.dropped.fetch_sub(n, SeqCst);
    }

    fn drop_stream(&self, stream: yamux::Stream) {
        // Counted before yamux can forget it.
        self.dropped.fetch_add(1, SeqCst);
        drop(stream);
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(SeqCst)
    }

    fn changed(&self, before: usize, after: usize) {
        for count in [&self.held, &self.budget.0.held] {
            if after >= before {
                count.fetch_add(after - before, SeqCst);
            } else {
                count.fetch_sub(before - after, SeqCst);
            }
        }
    }

    /// Changes what a stream holds.
    fn update<T>(&self, buffered: &Buffered, change: impl FnOnce(&mut Buffer) -> T) -> T {
        let mut buffer = lock(&buffered.0);
        let before = buffer.held();
        let result = change(&mut buffer);
        self.changed(before, buffer.held());
        result
    }

    /// A frame's header has come; its body is about to.
    fn arrived(&self, header: &Header) {
        let Some(id) = mux_frame::stream_of(header) else {
            return;
        };
        let buffered = {
            let mut streams = lock(&self.streams);
            match mux_frame::opens_stream(header) {
                true => Some(Arc::clone(streams.entry(id).or_default())),
                false => streams.get(&id).cloned(),
            }
        };
        let len = mux_frame::body_len(header);
        if let Some(buffered) = buffered.filter(|_| len > 0) {
            self.update(&buffered, |buffer| {
                if !matches!(buffer.state, State::Cut) {
                    buffer.bytes += len;
                    buffer.frames += 1;
                }
            });
        }
    }

    /// Takes in a stream that yamux gave out. `None`, and the stream is dropped, if it had to be
    /// cut before.
    pub(super) fn take_in(&self, stream: yamux::Stream) -> Option<Arc<Buffered>> {
        let id = stream.id().val();
        let buffered = Arc::clone(lock(&self.streams).entry(id).or_default());
        let mut stream = Some(stream);
        self.update(&buffered, |buffer| {
            if !matches!(buffer.state, State::Cut)
                && let Some(stream) = stream.take()
            {
                buffer.state = State::Open(stream);
            }
        });
        let Some(stream) = stream else {
            return Some(buffered);
        };
        lock(&self.streams).remove(&id);
        self.drop_stream(stream);
        None
    }

    /// A stream of yamux's that is never accepted.
    pub(super) fn refuse(&self, stream: yamux::Stream) {
        let buffered = lock(&self.streams).remove(&stream.id().val());
        self.drop_stream(stream);
        if let Some(buffered) = buffered {
            self.update(&buffered, Buffer::forget);
        }
    }

    /// Its owner has dropped a stream.
    pub(super) fn leave(&self, buffered: &Arc<Buffered>) {
        let state = self.update(buffered, |buffer| {
            buffer.forget();
            std::mem::replace(&mut buffer.state, State::Cut)
        });
        if let State::Open(stream) = state {
            self.remove(stream.id().val(), buffered);
            self.drop_stream(stream);
        }
    }

    fn remove(&self, id: u32, buffered: &Arc<Buffered>) {
        let mut streams = lock(&self.streams);
        if streams.get(&id).is_some_and(|it| Arc::ptr_eq(it, buffered)) {
            streams.remove(&id);
        }
    }

    /// Lets yamux's stream do something, unless it was cut.
    pub(super) fn with<T>(
        buffered: &Buffered,
        act: impl FnOnce(&mut yamux::Stream) -> T,
    ) -> Option<T> {
        match &mut lock(&buffered.0).state {
            State::Open(stream) => Some(act(stream)),
            State::Expected | State::Cut => None,
        }
    }

    /// `n` bytes of a stream were read.
    pub(super) fn took(&self, buffered: &Buffered, n: usize) {
        let read_at = self.reads.fetch_add(1, Relaxed) + 1;
        self.update(buffered, |buffer| {
            buffer.read_at = read_at;
            let n = n.min(buffer.bytes);
            // Which frames they came in is not known: as many as their part of the bytes.
            if n > 0 {
                buffer.frames -= buffer.frames * n / buffer.bytes;
            }
            buffer.bytes -= n;
        });
    }

    /// A reader holds so many bytes of a stream that it has read.
    pub(super) fn keeps(&self, buffered: &Buffered, n: usize) {
        self.update(buffered, |buffer| {
            if matches!(buffer.state, State::Open(_)) {
                buffer.kept = n;
            }
        });
    }

    /// Ready once a stream was cut.
    pub(super) fn poll_cut(buffered: &Buffered, cx: &Context<'_>) -> Poll<()> {
        let mut buffer = lock(&buffered.0);
        if matches!(buffer.state, State::Cut) {
            return Poll::Ready(());
        }
        match &mut buffer.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// A frame's header has come. Streams that hold too much are cut.
    pub(super) fn frame_arrived(&self, header: &Header) {
        self.arrived(header);
        if self.held() > self.limit {
            self.cut_down_to(self.limit - self.limit / 8);
        }
        self.budget.enforce();
    }

    /// Resets streams until no more than `most` bytes are held, those first that were read longest
    /// ago. Streams that hold little in comparison go last.
    fn cut_down_to(&self, most: usize) {
        let streams: Vec<_> = {
            let streams = lock(&self.streams);
            let streams = streams.iter();
            streams.map(|(id, it)| (*id, Arc::clone(it))).collect()
        };
        let mut holding: Vec<_> = streams
            .iter()
            .map(|(id, it)| {
                let buffer = lock(&it.0);
                (buffer.held(), buffer.read_at, *id, it)
            })
            .filter(|(held, ..)| *held > 0)
            .collect();
        let largest = holding.iter().map(|(held, ..)| *held).max().unwrap_or(0);
        holding.sort_unstable_by_key(|(held, read_at, id, _)| (*held < largest / 2, *read_at, *id));
        for (_, _, id, buffered) in holding {
            if self.held() <= most {
                return;
            }
            self.cut(id, buffered);
        }
    }

    fn cut(&self, id: u32, buffered: &Arc<Buffered>) {
        let (state, waker) = self.update(buffered, |buffer| {
            buffer.forget();
            let state = std::mem::replace(&mut buffer.state, State::Cut);
            (state, buffer.waker.take())
        });
        if let State::Open(stream) = state {
            self.remove(id, buffered);
            self.drop_stream(stream);
        }
        self.budget.0.cut.fetch_add(1, Relaxed);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let budget = &self.budget.0;
        budget.held.fetch_sub(self.held(), SeqCst);
        lock(&budget.sessions).live.remove(&self.id);
    }
}
