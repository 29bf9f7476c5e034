use futures::executor::block_on;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::node::Reach;
use skydht_runtime::pipe::{self, OnDrop, Pipe};

use super::*;

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};
const NOW: Mono = Mono(0);

struct Bench {
    streams: Streams<Pipe>,
    buffer: Vec<u8>,
    ready: Vec<usize>,
}

impl Bench {
    fn new() -> Self {
        Self {
            streams: Streams::new(Arc::default()),
            buffer: vec![0; 1024],
            ready: Vec::new(),
        }
    }

    /// An accepted stream and its peer's end.
    fn accept(&mut self, id: u64, capacity: usize) -> Pipe {
        let (near, far) = pipe::pair(capacity, OnDrop::Reset);
        self.streams.accept(StreamId(id), near);
        assert!(self.turn().is_empty());
        far
    }

    /// Visits all marked slots, as the loop does, and tells what came.
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
    // The oldest went.
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
        bench.send(2 * n + 1, &vec![0; 1024 * 1024]);
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
