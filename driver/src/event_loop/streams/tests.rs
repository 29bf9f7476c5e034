use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use skydht_core::node::Reach;
use skydht_runtime::pipe::{self, OnDrop, Pipe};

use super::*;

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};
const NOW: Mono = Mono(0);

struct Bench<S = Pipe> {
    streams: Streams<S>,
    buffer: Vec<u8>,
    ready: Vec<usize>,
}

impl<S: Connection> Bench<S> {
    fn new() -> Self {
        Self {
            streams: Streams::new(Arc::default()),
            buffer: vec![0; 1024],
            ready: Vec::new(),
        }
    }

    /// Visits all marked slots, as the event loop does, and returns what happened.
    fn turn(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            self.streams.take_ready(&mut self.ready);
            if self.ready.is_empty() {
                return told;
            }
            for index in std::mem::take(&mut self.ready) {
                loop {
                    told.push(match self.streams.step(index, NOW, &mut self.buffer) {
                        Step::Idle => break,
                        Step::Opened(id, _) => format!("{id} opened"),
                        Step::Failed(id, reason) => format!("{id} failed: {reason}"),
                        Step::Bytes(id, n) => {
                            format!("{id} {}", self.buffer[..n].escape_ascii())
                        }
                        Step::Sent(id) => format!("{id} sent"),
                        Step::Closed(id, end) => format!("{id} {end:?}"),
                    });
                }
            }
        }
    }

    fn send(&mut self, id: u64, bytes: &[u8]) {
        self.streams.send(StreamId(id), bytes.into());
    }
}

impl Bench {
    /// Accepts a stream and returns its peer's end.
    fn accept(&mut self, id: u64, capacity: usize) -> Pipe {
        let (near, far) = pipe::pair(capacity, OnDrop::Reset);
        self.streams.accept(StreamId(id), near);
        assert!(self.turn().is_empty());
        far
    }
}

/// A stream whose calls return scripted results; afterwards they are pending, and closing succeeds.
#[derive(Default)]
struct Scripted {
    reads: VecDeque<io::Result<usize>>,
    writes: VecDeque<io::Result<usize>>,
    flushes: VecDeque<Poll<io::Result<()>>>,
    closes: VecDeque<Poll<io::Result<()>>>,
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reads.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes.pop_front().unwrap_or(Poll::Pending)
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.closes.pop_front().unwrap_or(Poll::Ready(Ok(())))
    }
}

fn read(far: &mut Pipe, n: usize) -> Vec<u8> {
    let mut got = vec![0; n];
    block_on(far.read_exact(&mut got)).unwrap();
    got
}

fn write(far: &mut Pipe, bytes: &[u8]) {
    block_on(far.write_all(bytes)).unwrap();
}

#[test]
fn frames_leave_in_order_and_are_acknowledged_once_all_have_left() {
    let mut bench = Bench::new();
    let mut far = bench.accept(1, 4);
    bench.send(1, b"abc");
    bench.send(1, b"def");
    assert!(bench.turn().is_empty());
    assert_eq!(read(&mut far, 4), b"abcd");
    assert_eq!(bench.turn(), ["1 sent"]);
    assert_eq!(read(&mut far, 2), b"ef");
}

#[test]
fn bytes_come_in_any_fragmentation_and_then_the_end() {
    let mut bench = Bench::new();
    let mut far = bench.accept(1, 64);
    write(&mut far, b"a");
    assert_eq!(bench.turn(), ["1 a"]);
    write(&mut far, b"b");
    write(&mut far, b"c");
    block_on(far.close()).unwrap();
    assert_eq!(bench.turn(), ["1 bc", "1 Finished"]);
    assert_eq!(bench.streams.len(), 0);
    assert_eq!(block_on(far.read(&mut [0])).unwrap(), 0);
}

#[test]
fn a_paused_stream_is_not_read_and_holds_its_peer_back() {
    let mut bench = Bench::new();
    let mut far = bench.accept(1, 4);
    bench.streams.set_paused(StreamId(1), true);
    write(&mut far, b"abcd");
    assert!(bench.turn().is_empty());
    assert!(futures::FutureExt::now_or_never(far.write(b"e")).is_none());
    bench.streams.set_paused(StreamId(1), false);
    assert_eq!(bench.turn(), ["1 abcd"]);
    write(&mut far, b"e");
    assert_eq!(bench.turn(), ["1 e"]);
}

#[test]
fn a_graceful_close_flushes_first_and_another_resets() {
    let mut bench = Bench::new();
    let (mut one, mut three) = (bench.accept(1, 2), bench.accept(3, 2));
    for (id, graceful) in [(1, true), (3, false)] {
        bench.send(id, b"abc");
        bench.streams.close(StreamId(id), graceful);
    }
    assert!(bench.turn().is_empty());
    assert_eq!((bench.streams.len(), bench.streams.lingering()), (1, 1));
    assert_eq!(read(&mut one, 2), b"ab");
    bench.turn();
    assert_eq!((bench.streams.len(), bench.streams.lingering()), (0, 0));
    assert_eq!(read(&mut one, 1), b"c");
    assert_eq!(block_on(one.read(&mut [0])).unwrap(), 0);
    let reset = block_on(three.read(&mut [0])).unwrap_err();
    assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn what_a_peer_sent_before_it_reset_still_arrives() {
    let mut bench = Bench::new();
    let mut far = bench.accept(1, 4);
    bench.send(1, b"too long for the pipe");
    assert!(bench.turn().is_empty());
    write(&mut far, b"busy");
    drop(far);
    assert_eq!(bench.turn(), ["1 busy", "1 Reset"]);
    assert_eq!(bench.streams.len(), 0);
}

#[test]
fn an_opening_stream_opens_fails_or_is_given_up() {
    let mut bench = Bench::new();
    let (near, _far) = pipe::pair(4, OnDrop::Reset);
    let held = Arc::new(());
    let dial = Arc::clone(&held);
    bench
        .streams
        .open(StreamId(0), Box::pin(async { Ok((near, PATH)) }));
    bench
        .streams
        .open(StreamId(2), Box::pin(async { Err(OpenFailure::Timeout) }));
    bench.streams.open(
        StreamId(4),
        Box::pin(async move {
            let _dial = dial;
            std::future::pending().await
        }),
    );
    assert_eq!(bench.turn(), ["0 opened", "2 failed: timed out"]);
    bench.streams.close(StreamId(4), true);
    assert_eq!((Arc::strong_count(&held), bench.streams.len()), (1, 1));
}

#[test]
fn streams_that_take_too_long_to_finish_are_cut() {
    let mut bench = Bench::new();
    let mut far = bench.accept(1, 1);
    bench.send(1, b"abc");
    bench.streams.close(StreamId(1), true);
    bench.turn();
    let due = bench.streams.next_overdue().unwrap();
    assert_eq!(due, NOW.plus(LINGER));
    bench.streams.cut_overdue(Mono(due.0 - 1));
    assert_eq!(bench.streams.cut_count(), 0);
    bench.streams.cut_overdue(due);
    assert_eq!((bench.streams.cut_count(), bench.streams.len()), (1, 0));
    assert_eq!(read(&mut far, 1), b"a");
    assert!(block_on(far.read(&mut [0])).is_err());
}

#[test]
fn at_most_so_many_streams_linger() {
    let mut bench = Bench::new();
    let mut ends = Vec::new();
    for n in 0..=MAX_LINGERING as u64 {
        ends.push(bench.accept(2 * n + 1, 1));
        bench.send(2 * n + 1, b"abc");
        bench.streams.close(StreamId(2 * n + 1), true);
        bench.turn();
    }
    assert_eq!(bench.streams.lingering(), MAX_LINGERING);
    assert_eq!(bench.streams.cut_count(), 1);
    // The oldest one was reset.
    assert_eq!(read(&mut ends[0], 1), b"a");
    assert!(block_on(ends[0].read(&mut [0])).is_err());
}

#[test]
fn what_lingers_is_bounded_in_bytes_too_and_cutting_gives_them_back() {
    let mut bench = Bench::new();
    let mut ends = Vec::new();
    for n in 0..12u64 {
        let mut far = bench.accept(2 * n + 1, 1);
        // The peer has finished, and does not read its answer.
        block_on(far.close()).unwrap();
        // One byte fits into the pipe, so that eight streams are exactly at the limit.
        bench.send(2 * n + 1, &vec![0; 1024 * 1024 + 1]);
        bench.turn();
        ends.push(far);
        assert!(bench.streams.lingering_bytes <= MAX_LINGERING_BYTES);
    }
    assert_eq!(
        (bench.streams.lingering(), bench.streams.cut_count()),
        (8, 4)
    );
    let due = NOW.plus(LINGER);
    bench.streams.cut_overdue(due);
    assert_eq!((bench.streams.lingering_bytes, bench.streams.len()), (0, 0));
}

#[test]
fn slots_are_used_again() {
    let mut bench = Bench::new();
    for n in 0..100 {
        let mut far = bench.accept(2 * n + 1, 8);
        write(&mut far, b"x");
        assert_eq!(bench.turn().len(), 1);
        bench.streams.close(StreamId(2 * n + 1), false);
    }
    assert_eq!((bench.streams.slots.len(), bench.streams.len()), (1, 0));
}

#[test]
fn each_end_is_told_as_what_it_was() {
    let finished = || Ok(0);
    let error = |kind: io::ErrorKind| Err(kind.into());
    for (write, read, told) in [
        (None, finished(), "1 Finished"),
        (None, error(LOST), "1 Lost"),
        (None, error(io::ErrorKind::ConnectionReset), "1 Reset"),
        (None, error(io::ErrorKind::Other), "1 Reset"),
        // What the node sent did not arrive, so this is not a regular end.
        (
            Some(error(io::ErrorKind::BrokenPipe)),
            finished(),
            "1 Reset",
        ),
        (Some(Ok(0)), finished(), "1 Reset"),
        (Some(error(LOST)), error(LOST), "1 Lost"),
    ] {
        let mut bench = Bench::new();
        let stream = Scripted {
            reads: [Ok(1), read].into(),
            writes: write.into_iter().collect(),
            ..Scripted::default()
        };
        bench.streams.accept(StreamId(1), stream);
        bench.send(1, b"abc");
        bench.send(1, b"def");
        assert_eq!(bench.turn(), ["1 \\x00", told]);
    }
}

#[test]
fn after_a_failed_write_nothing_is_kept_to_be_sent() {
    let mut bench = Bench::new();
    let stream = Scripted {
        writes: [Ok(1), Err(io::ErrorKind::BrokenPipe.into())].into(),
        ..Scripted::default()
    };
    bench.streams.accept(StreamId(1), stream);
    bench.send(1, b"abc");
    bench.send(1, b"def");
    assert_eq!(bench.streams.unsent(), 6);
    assert!(bench.turn().is_empty());
    assert_eq!((bench.streams.unsent(), bench.streams.len()), (0, 1));
    bench.send(1, b"ghi");
    assert_eq!(bench.streams.unsent(), 0);
    // It closes immediately: nothing is left to flush.
    bench.streams.close(StreamId(1), true);
    assert!(bench.turn().is_empty());
    assert_eq!((bench.streams.len(), bench.streams.lingering()), (0, 0));
}

#[test]
fn frames_are_sent_once_they_are_flushed() {
    let mut bench = Bench::new();
    let stream = Scripted {
        writes: [Ok(2), Ok(1), Ok(2)].into(),
        flushes: [Poll::Pending, Poll::Pending, Poll::Ready(Ok(()))].into(),
        ..Scripted::default()
    };
    bench.streams.accept(StreamId(1), stream);
    bench.send(1, b"abc");
    bench.send(1, b"def");
    assert!(bench.turn().is_empty());
    assert_eq!(bench.streams.unsent(), 1);
    let Some(State::Open(open)) = bench.streams.slots[0]
        .0
        .as_mut()
        .map(|slot| &mut slot.state)
    else {
        panic!("it is open");
    };
    open.stream.writes.push_back(Ok(1));
    for told in [&[][..], &[], &["1 sent"], &[]] {
        bench.streams.revisit(0);
        assert_eq!(bench.turn(), told);
        assert_eq!(bench.streams.unsent(), 0);
    }
}

#[test]
fn a_stream_that_is_closed_is_flushed_before_it_is_forgotten() {
    let waits = || Poll::Pending;
    let done = || Poll::Ready(Ok(()));
    let failed = || Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
    for (flushes, closes, visits) in [
        (vec![done()], vec![done()], 1),
        (vec![waits(), done()], vec![done()], 2),
        (vec![done()], vec![waits(), waits(), done()], 3),
        // A failure also ends it.
        (vec![failed()], vec![waits()], 1),
        (vec![done()], vec![failed()], 1),
    ] {
        let mut bench = Bench::new();
        let stream = Scripted {
            writes: [Ok(3)].into(),
            flushes: flushes.into(),
            closes: closes.into(),
            ..Scripted::default()
        };
        bench.streams.accept(StreamId(1), stream);
        bench.send(1, b"abc");
        bench.streams.close(StreamId(1), true);
        for visit in 1..=visits {
            assert_eq!(bench.streams.len(), 1, "{visit} of {visits}");
            bench.streams.revisit(0);
            bench.turn();
            assert_eq!(bench.streams.lingering(), usize::from(visit < visits));
        }
        assert_eq!((bench.streams.len(), bench.streams.lingering()), (0, 0));
        assert_eq!(bench.streams.cut_count(), 0);
    }
}

#[test]
fn what_is_unsent_is_counted_over_open_and_closing_streams() {
    let mut bench = Bench::new();
    let (_one, _three) = (bench.accept(1, 2), bench.accept(3, 1));
    let pending = Box::pin(std::future::pending());
    bench.streams.open(StreamId(0), pending);
    bench.send(1, b"abc");
    bench.send(1, b"de");
    bench.send(3, b"fghi");
    bench.streams.close(StreamId(3), true);
    assert_eq!(bench.streams.unsent(), 9);
    bench.turn();
    assert_eq!(bench.streams.unsent(), 3 + 3);
    assert_eq!(bench.streams.lingering_bytes(), 3);
    assert_eq!(bench.streams.len(), 3);
}

#[test]
fn clearing_resets_everything_and_counts_what_it_cut() {
    let mut bench = Bench::new();
    let (mut one, _three) = (bench.accept(1, 1), bench.accept(3, 1));
    bench.send(3, b"abc");
    bench.streams.close(StreamId(3), true);
    bench.turn();
    assert!(bench.streams.lingering_bytes() > 0);
    bench.streams.clear();
    let streams = &bench.streams;
    assert_eq!((streams.len(), streams.lingering()), (0, 0));
    assert_eq!((streams.lingering_bytes(), streams.cut_count()), (0, 2));
    assert_eq!(streams.next_overdue(), None);
    assert!(block_on(one.read(&mut [0])).is_err());
    // Indices from before mark nothing.
    bench.streams.revisit(0);
    let mut five = bench.accept(5, 8);
    write(&mut five, b"x");
    bench.streams.revisit(1);
    assert_eq!(bench.turn(), ["5 x"]);
}

/// Counts how often the event loop is woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_slot_wakes_the_loop_once_until_it_is_visited() {
    let waker = Arc::<AtomicWaker>::default();
    let mut bench = Bench {
        streams: Streams::new(Arc::clone(&waker)),
        ..Bench::new()
    };
    let woken = Arc::<Woken>::default();
    let count = || {
        waker.register(&Waker::from(Arc::clone(&woken)));
        woken.0.load(Ordering::Relaxed)
    };
    let (mut one, mut three) = (bench.accept(1, 8), bench.accept(3, 8));
    assert_eq!(count(), 0, "the loop runs");
    write(&mut one, b"a");
    assert_eq!(count(), 1);
    // Also by a stored clone, and not again before the visit.
    let kept = bench.streams.slots[0].1.clone();
    kept.wake_by_ref();
    assert_eq!(count(), 1);
    write(&mut three, b"b");
    assert_eq!(count(), 2);
    assert_eq!(bench.turn(), ["1 a", "3 b"]);
    kept.wake();
    assert_eq!(count(), 3);
    assert!(bench.turn().is_empty());
}
