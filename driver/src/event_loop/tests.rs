//! Tests of what the event loop handles in a turn, when it sleeps, what it counts, and how it ends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Wake, Waker};

use futures::channel::oneshot;
use futures::io::{AsyncRead, AsyncWrite};
use skydht_core::Seed;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::node::{
    Addrs, Config, Deadline, Identity, Path, PutOptions, Reach, SessionUse, VerifyJob,
};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};

use super::*;
use crate::storage::{Durability, MemoryStorage, Persistence};
use crate::verifier::Verifier;

mod loading;

const SECOND: Duration = Duration::from_secs(1);
const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

/// A stream that returns the given reads, and accepts all writes or none.
#[derive(Default)]
struct Stream {
    reads: VecDeque<Vec<u8>>,
    takes_nothing: bool,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reads.pop_front().map_or(Poll::Pending, |bytes| {
            buf[..bytes.len()].copy_from_slice(&bytes);
            Poll::Ready(Ok(bytes.len()))
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.takes_nothing {
            true => Poll::Pending,
            false => Poll::Ready(Ok(buf.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns streams that a test has added, opens none, and closes when the test allows it.
struct Streaming {
    accepted: Mutex<VecDeque<Accepted<Stream>>>,
    refused: Mutex<Vec<(PublicKey, Duration)>>,
    closed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Transport for Streaming {
    type Stream = Stream;

    fn local_key(&self) -> PublicKey {
        key(1)
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn open(
        &self,
        _: PublicKey,
        _: Addrs,
        _: SessionUse,
    ) -> BoxFuture<'static, Result<(Stream, Path), OpenFailure>> {
        Box::pin(std::future::pending())
    }

    fn poll_accept(&self, _: &mut Context<'_>) -> Poll<Option<Accepted<Stream>>> {
        match self.accepted.lock().unwrap().pop_front() {
            Some(accepted) => Poll::Ready(Some(accepted)),
            None => Poll::Pending,
        }
    }

    fn probe(&self, _: PublicKey, _: SocketAddr) -> BoxFuture<'static, Result<(), OpenFailure>> {
        Box::pin(std::future::pending())
    }

    fn refuse(&self, peer: PublicKey, duration: Duration) {
        self.refused.lock().unwrap().push((peer, duration));
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let closed = self.closed.lock().unwrap().take();
        Box::pin(async move {
            let _ = closed.unwrap().await;
        })
    }
}

/// The inputs, one word each.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Recorder for Seen {
    fn input(&mut self, _: Time, input: &Input<'_>) {
        let word = match input {
            Input::StreamAccepted { stream, .. } => format!("{stream} accepted"),
            Input::Bytes { stream, bytes } => format!("{stream} {}", bytes.len()),
            Input::Loaded { proven, .. } if *proven => "loaded".to_owned(),
            Input::Loaded { .. } => "unproven".to_owned(),
            Input::LoadedUpTo { next: None } => "all loaded".to_owned(),
            Input::LoadedUpTo { .. } => "loaded up to".to_owned(),
            Input::Verified { .. } => "verified".to_owned(),
            Input::Persisted { durable, .. } => format!("persisted {durable}"),
            Input::Command { op, .. } => format!("command {}", op.0),
            Input::TimerFired => "timer".to_owned(),
            _ => "other".to_owned(),
        };
        self.0.lock().unwrap().push(word);
    }

    fn output(&mut self, _: &Output) {}

    fn drained(&mut self, _: Option<Deadline>, _: Vec<Signature>) {}
}

/// Wakes the thread of a test.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Bench {
    world: VirtualTime,
    event_loop: EventLoop<VirtualRuntime, Streaming>,
    seen: Seen,
    /// Sent or dropped: the transport has closed.
    close: Option<oneshot::Sender<()>>,
}

impl Bench {
    fn new() -> Self {
        Self::over(Config::default(), None)
    }

    fn over(mut config: Config, storage: Option<Persistence>) -> Self {
        let world = VirtualTime::new(1);
        let seen = Seen::default();
        let options = StartOptions {
            verifier: Verifier::inline(),
            recorder: Some(Box::new(seen.clone())),
            ..StartOptions::default()
        };
        config.storage |= storage.is_some();
        let runtime = world.runtime();
        let identity = Identity::Keyed(secret(1));
        let seed = Seed::from_number(1);
        let mut node = Node::new(config, identity, seed, time(&runtime)).unwrap();
        node.record_signatures();
        let mailbox = Arc::new(Mailbox::new(None));
        let storage = storage.map(|it| it.start(Arc::clone(&mailbox.waker)).unwrap());
        let (close, closed) = oneshot::channel();
        let transport = Arc::new(Streaming {
            accepted: Mutex::default(),
            refused: Mutex::default(),
            closed: Mutex::new(Some(closed)),
        });
        let event_loop = EventLoop::new(runtime, transport, node, mailbox, options, storage);
        let close = Some(close);
        Self {
            world,
            event_loop,
            seen,
            close,
        }
    }

    /// Performs one turn, and returns the node's inputs in it.
    fn turn(&mut self) -> Vec<String> {
        let _ = self.poll();
        self.seen.take()
    }

    fn poll(&mut self) -> Poll<()> {
        self.event_loop
            .poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Performs turns whenever the loop is woken, until an input of this kind; returns all inputs.
    fn until(&mut self, word: &str) -> Vec<String> {
        let mut words = Vec::new();
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let begun = std::time::Instant::now();
        while !words.iter().any(|it| it == word) {
            let left = (60 * SECOND).checked_sub(begun.elapsed());
            let left = left.unwrap_or_else(|| panic!("{word} has not come: {words:?}"));
            assert!(
                self.event_loop
                    .poll(&mut Context::from_waker(&waker))
                    .is_pending()
            );
            words.extend(self.seen.take());
            if !words.iter().any(|it| it == word) {
                std::thread::park_timeout(left);
            }
        }
        words
    }

    /// Adds a stream of the peer `n` that returns these bytes.
    fn accept(&self, n: u8, reads: impl IntoIterator<Item = Vec<u8>>) {
        let accepted = Accepted {
            peer: key(n),
            path: PATH,
            stream: Stream {
                reads: reads.into_iter().collect(),
                ..Stream::default()
            },
        };
        let waiting = &self.event_loop.transport.accepted;
        waiting.lock().unwrap().push_back(accepted);
    }

    fn command(&self, command: Command) -> oneshot::Receiver<Outcome> {
        let (outcome, waiting) = oneshot::channel();
        let reply = Reply {
            outcome,
            events: None,
        };
        self.event_loop.mailbox.command(command, reply).unwrap();
        waiting
    }

    fn now(&self) -> Mono {
        time(&self.event_loop.runtime).mono
    }
}

/// Returns the beginning of a large request, in pieces of these lengths.
fn pieces(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    let mut bytes = 4_000_000u32.to_be_bytes().to_vec();
    bytes.push(6); // a batch to be stored
    let mut bytes = bytes.into_iter().chain(std::iter::repeat(b' '));
    let take = |len| bytes.by_ref().take(len).collect();
    lengths.into_iter().map(take).collect()
}

/// Returns an item of another key.
fn other_item() -> Item {
    Item::sign(&secret(9), Seq(5), Value::new(b"x"), Salt::from("dmsg"))
}

/// A put of the node's own item.
fn put() -> Command {
    Command::Put {
        salt: Salt::from("dmsg"),
        value: Value::new(b"value"),
        options: PutOptions {
            local_only: true,
            ..PutOptions::default()
        },
    }
}

#[test]
fn a_stream_has_a_few_steps_at_a_visit_and_large_reads_count_for_more() {
    for (length, at_a_visit) in [
        (1, 8),
        (BYTES_A_STEP - 1, 8),
        (BYTES_A_STEP, 4),
        (READ_BUFFER, 2),
    ] {
        let mut bench = Bench::new();
        bench.turn();
        bench.accept(2, pieces([length; 12]));
        bench.accept(3, pieces([length; 12]));
        let turn = bench.turn();
        let read: Vec<_> = turn.iter().filter(|it| !it.ends_with("accepted")).collect();
        let (one, three) = (format!("1 {length}"), format!("3 {length}"));
        let expected = [
            vec![&one; at_a_visit],
            vec![&three; at_a_visit],
            vec![&one; 1],
        ];
        assert_eq!(read[..=2 * at_a_visit], expected.concat(), "{length}");
        assert_eq!(read.len(), 24);
    }
}

#[test]
fn a_turn_takes_so_many_inputs_and_bytes_however_much_waits() {
    // Streams on which nothing arrives.
    let mut bench = Bench::new();
    bench.turn();
    for _ in 0..2 * TURN_INPUTS {
        bench.accept(2, []);
    }
    for _ in 0..2 {
        let turn = bench.turn();
        assert!(turn.len() == TURN_INPUTS && turn.iter().all(|it| it.ends_with("accepted")));
    }
    // Streams that send as fast as they can: a large read counts as five inputs.
    let mut bench = Bench::new();
    bench.turn();
    for n in 2..22 {
        bench.accept(n, pieces([READ_BUFFER; 4]));
    }
    let turn = bench.turn();
    let read = turn.len() - 20;
    assert_eq!(
        read,
        (TURN_INPUTS - 20).div_ceil(1 + READ_BUFFER / BYTES_A_STEP)
    );
    let rest = bench.turn();
    assert_eq!(read + rest.len(), 80);
}

#[test]
fn nothing_is_accepted_once_the_node_has_shut_down() {
    let mut bench = Bench::new();
    bench.turn();
    bench.accept(2, []);
    bench.event_loop.ending = Ending::Flushing(Mono(u64::MAX));
    bench.event_loop.budget = 9;
    let cx = &mut Context::from_waker(Waker::noop());
    bench.event_loop.poll_accept(cx);
    assert!(bench.seen.take().is_empty());
    assert_eq!(bench.event_loop.transport.accepted.lock().unwrap().len(), 1);
    // A further shutdown joins the first one; all other requests are still answered.
    let mut again = bench.command(Command::Shutdown);
    let mut other = bench.command(put());
    bench.event_loop.take_requests();
    assert_eq!(bench.seen.take(), ["command 2"]);
    assert!(again.try_recv().is_err());
    assert!(other.try_recv().is_ok());
}

#[test]
fn what_is_to_be_durable_is_told_that_without_storage_nothing_is() {
    let mut config = Config::default();
    config.storage = true;
    let mut bench = Bench::over(config, None);
    bench.turn();
    let _outcome = bench.command(put());
    let turn = bench.turn();
    assert!(turn.contains(&"persisted false".to_owned()), "{turn:?}");
    // No durability is requested for another key's item.
    let mut outcome = bench.command(Command::PutSigned {
        item: Box::new(other_item()),
        options: PutOptions {
            local_only: true,
            ..PutOptions::default()
        },
    });
    let turn = bench.turn();
    assert!(matches!(outcome.try_recv(), Ok(Some(Outcome::Put(Ok(_))))));
    assert!(
        !turn.iter().any(|it| it.starts_with("persisted")),
        "{turn:?}"
    );
    assert_eq!(
        bench
            .event_loop
            .node
            .snapshot_at(time(&bench.event_loop.runtime))
            .store
            .items,
        2
    );
}

#[test]
fn each_thing_that_waits_is_counted_by_itself() {
    let mut bench = Bench::new();
    bench.turn();
    assert_eq!(bench.event_loop.stats(), DriverStats::default());
    let event_loop = &mut bench.event_loop;
    for n in 0..2 {
        let pending = Box::pin(std::future::pending());
        event_loop.streams.open(StreamId(2 * n), pending);
    }
    // One of them takes time to finish.
    for (n, bytes) in [(1, 7), (3, 9)] {
        let stream = Stream {
            takes_nothing: true,
            ..Stream::default()
        };
        event_loop.streams.accept(StreamId(n), stream);
        let frame: Arc<[u8]> = vec![0; bytes].into();
        event_loop.streams.send(StreamId(n), frame);
    }
    event_loop.streams.close(StreamId(3), true);
    event_loop.budget = 9;
    event_loop.visit_streams();
    for n in 0..4 {
        let (outcome, _) = oneshot::channel();
        let reply = Reply {
            outcome,
            events: None,
        };
        event_loop.operations.insert(OperationId(n), reply);
    }
    for _ in 0..6 {
        event_loop.probes.push(Box::pin(std::future::pending()));
    }
    let item = Arc::new(other_item());
    for n in 0..5 {
        let work = VerifyJob::new(Arc::clone(&item), None);
        event_loop.verify.submit(JobId(n), work);
    }
    event_loop.stats.misuse = 8;
    let expected = DriverStats {
        streams: 4,
        lingering: 1,
        lingering_bytes: 9,
        unsent_bytes: 7 + 9,
        operations: 4,
        verifying: 5,
        probes: 6,
        misuse: 8,
        ..DriverStats::default()
    };
    assert_eq!(event_loop.stats(), expected);
}

#[test]
fn a_peer_that_is_refused_is_refused_by_the_transport_for_the_rest_of_its_time() {
    let mut bench = Bench::new();
    let until = bench.now().plus(7 * SECOND);
    let peer = key(5);
    bench.event_loop.publish(Event::PeerRefused { peer, until });
    let refused = &bench.event_loop.transport.refused;
    assert_eq!(*refused.lock().unwrap(), [(peer, 7 * SECOND)]);
}

/// Detects that it is dropped.
struct Sleep {
    _held: Arc<()>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[test]
fn a_sleep_is_kept_unless_it_would_end_too_late() {
    let mut bench = Bench::new();
    bench.turn();
    let wake = bench.event_loop.next_wake().unwrap();
    let soon = Mono(bench.now().0 + 1);
    assert!(wake > soon);
    let cx = &mut Context::from_waker(Waker::noop());
    for (at, is_kept) in [(soon, true), (wake, true), (Mono(wake.0 + 1), false)] {
        let held = Arc::new(());
        let sleep = Sleep {
            _held: Arc::clone(&held),
        };
        bench.event_loop.alarm = Some((at, Box::pin(sleep)));
        assert!(bench.event_loop.poll_alarm(cx).is_pending());
        let (set, _) = bench.event_loop.alarm.as_ref().unwrap();
        assert_eq!(*set, if is_kept { at } else { wake });
        assert_eq!(Arc::strong_count(&held) == 2, is_kept, "{at:?}");
    }
    // A sleep that has ended too early is followed by another one.
    bench.event_loop.alarm = Some((soon, Box::pin(std::future::ready(()))));
    assert!(bench.event_loop.poll_alarm(cx).is_pending());
    assert_eq!(bench.event_loop.alarm.as_ref().unwrap().0, wake);
    // The shutdown has a deadline, too.
    bench.event_loop.ending = Ending::Flushing(soon);
    assert!(bench.event_loop.poll_alarm(cx).is_pending());
    assert_eq!(bench.event_loop.alarm.as_ref().unwrap().0, soon);
    bench.world.advance(Duration::from_nanos(1)).unwrap();
    assert!(bench.event_loop.poll_alarm(cx).is_ready());
}

#[test]
fn the_end_waits_for_streams_and_storage_for_a_while_and_then_for_the_transport() {
    let held_up = |bench: &mut Bench, n| {
        let pending = Box::pin(std::future::pending());
        bench.event_loop.streams.open(StreamId(n), pending);
    };
    for (streams, storage) in [(false, false), (true, false), (false, true), (true, true)] {
        let persistence =
            storage.then(|| Persistence::new(MemoryStorage::default(), Durability::Async));
        let mut bench = Bench::over(Config::default(), persistence);
        bench.turn();
        if streams {
            held_up(&mut bench, 1_000);
        }
        let until = bench.now().plus(SHUTDOWN_GRACE);
        bench.event_loop.ending = Ending::Flushing(until);
        let cx = &mut Context::from_waker(Waker::noop());
        if streams || storage {
            // This storage has not been asked to end.
            bench
                .world
                .advance(SHUTDOWN_GRACE - Duration::from_nanos(1))
                .unwrap();
            assert!(bench.event_loop.poll_ending(cx).is_pending());
            assert!(matches!(bench.event_loop.ending, Ending::Flushing(_)));
            bench.world.advance(Duration::from_nanos(1)).unwrap();
        }
        assert!(bench.event_loop.poll_ending(cx).is_pending());
        assert!(matches!(bench.event_loop.ending, Ending::Closing(_)));
        assert_eq!(bench.event_loop.streams.len(), 0);
        assert_eq!(bench.event_loop.stats().lingering_cut, u64::from(streams));
        let mailbox = Arc::clone(&bench.event_loop.mailbox);
        assert_ne!(mailbox.phase(), Phase::Stopped);
        drop(bench.close.take());
        assert!(bench.event_loop.poll_ending(cx).is_ready());
        assert_eq!(mailbox.phase(), Phase::Stopped);
    }
}

#[test]
fn a_loop_that_is_dropped_has_stopped_for_all_who_wait() {
    let bench = Bench::new();
    let mailbox = Arc::clone(&bench.event_loop.mailbox);
    assert_ne!(mailbox.phase(), Phase::Stopped);
    drop(bench.event_loop);
    assert_eq!(mailbox.phase(), Phase::Stopped);
}
