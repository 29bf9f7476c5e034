//! Tests of what a relayed stream holds while one side does not read, and of how its ends are
//! forwarded.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_runtime::virtual_time::VirtualTime;

use super::*;
use crate::pipe::pipe;
use crate::session::{Incoming, ReceiveBudget, Role, Session, SessionConfig};

const SECOND: Duration = Duration::from_secs(1);
const LINGER: Duration = Duration::from_secs(30);
/// One stream's window.
const WINDOW: usize = 256 * 1024;

/// A relay between two sessions; the test has their other ends.
struct Bench {
    world: VirtualTime,
    /// Accounts for what the relay holds.
    budget: ReceiveBudget,
    source: Stream,
    destination: Stream,
    copier: Copier,
    copied: Counter,
    _sessions: Vec<(Session, Incoming)>,
}

impl Bench {
    fn new() -> Self {
        let world = VirtualTime::new(1);
        let budget = ReceiveBudget::default();
        let mut sessions = Vec::new();
        let mut stream = || {
            let (near, far) = pipe(1 << 16);
            let relays = SessionConfig {
                receive_budget: budget.clone(),
                ..SessionConfig::default()
            };
            let (session, mut incoming, driver) = Session::new(near, Role::Server, &relays);
            let clients = SessionConfig::default();
            let (client, others, other_driver) = Session::new(far, Role::Client, &clients);
            let runtime = world.runtime();
            runtime.spawn(Box::pin(async move { drop(driver.await) }));
            runtime.spawn(Box::pin(async move { drop(other_driver.await) }));
            let (outer, inner) = world
                .run_until(async {
                    let mut outer = client.open().await.unwrap();
                    outer.flush().await.unwrap();
                    (outer, incoming.next().await.unwrap())
                })
                .unwrap();
            sessions.extend([(session, incoming), (client, others)]);
            (outer, inner)
        };
        let ((source, a), (destination, b)) = (stream(), stream());
        Self {
            world,
            budget,
            source,
            destination,
            copier: Copier {
                a,
                b,
                a_to_b: Direction::default(),
                b_to_a: Direction::default(),
            },
            copied: Counter::default(),
            _sessions: sessions,
        }
    }

    /// Copies for a second, or until a direction has ended.
    fn copy(&mut self) -> Option<io::Result<()>> {
        let copying = poll_fn(|cx| self.copier.poll_first(cx, &self.copied));
        let runtime = self.world.runtime();
        self.world
            .run_until(within(&runtime, SECOND, copying))
            .unwrap()
    }

    /// Sends as much as is accepted within a second.
    fn send(&mut self, bytes: &[u8]) {
        let runtime = self.world.runtime();
        let sending = async {
            self.source.write_all(bytes).await.unwrap();
            self.source.flush().await.unwrap();
        };
        let sent = self.world.run_until(within(&runtime, SECOND, sending));
        sent.unwrap().expect("it fits into the window");
    }

    fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut got = vec![0; len];
        let reading = self.destination.read_exact(&mut got);
        let runtime = self.world.runtime();
        let read = self.world.run_until(within(&runtime, SECOND, reading));
        read.unwrap().expect("it has come").unwrap();
        got
    }
}

#[test]
fn waiting_data_counts_as_unread_and_occupies_no_more() {
    let mut bench = Bench::new();
    let sent: Vec<u8> = (0..WINDOW).map(|n| (n % 251) as u8).collect();
    bench.send(&sent);
    assert!(bench.copy().is_none());
    // Everything fits into the destination's window, so nothing waits in the relay.
    assert_eq!(bench.budget.held(), 0);
    assert_eq!(bench.copier.a_to_b.buffer.capacity(), 0);
    let more = [7; 50_000];
    bench.send(&more);
    assert!(bench.copy().is_none());
    let a_to_b = &bench.copier.a_to_b;
    assert_eq!(a_to_b.buffer.len(), CHUNK);
    assert_eq!((a_to_b.filled.len(), a_to_b.kept), (CHUNK, CHUNK));
    let held = bench.budget.held();
    assert!((50_000..51_000).contains(&held), "{held}");
    // After the reader has taken a part, only the rest is allocated.
    let (first, rest) = sent.split_at(200_000);
    assert!(bench.receive(first.len()) == first);
    assert!(bench.copy().is_none());
    assert!(bench.receive(rest.len()) == rest);
    assert!(bench.copy().is_none());
    assert_eq!(bench.receive(more.len()), more);
    assert!(bench.copy().is_none());
    let a_to_b = &bench.copier.a_to_b;
    assert_eq!(
        (bench.budget.held(), a_to_b.kept, a_to_b.buffer.capacity()),
        (0, 0, 0)
    );
    assert_eq!(bench.copied.get(), 312_144);
}

#[test]
fn a_partly_sent_buffer_shrinks() {
    let mut bench = Bench::new();
    // The destination accepts all but 1,000 bytes of a window, and then only those of a chunk.
    bench.send(&vec![1; WINDOW - 1_000]);
    assert!(bench.copy().is_none());
    for (more, waits) in [(20_000, 19_000), (40_000, CHUNK)] {
        bench.send(&vec![2; more]);
        assert!(bench.copy().is_none());
        let a_to_b = &bench.copier.a_to_b;
        assert_eq!(a_to_b.filled.len(), a_to_b.buffer.len());
        assert_eq!((a_to_b.filled.start, a_to_b.kept), (0, a_to_b.buffer.len()));
        assert!(a_to_b.kept > 0 && a_to_b.kept <= waits, "{}", a_to_b.kept);
    }
    let held = bench.budget.held();
    assert!((59_000..60_000).contains(&held), "{held}");
    let ones = bench.receive(WINDOW - 1_000);
    assert!(bench.copy().is_none());
    let twos = bench.receive(60_000);
    assert!(ones.iter().all(|it| *it == 1) && twos.iter().all(|it| *it == 2));
    assert!(bench.copy().is_none());
    assert_eq!(bench.budget.held(), 0);
}

/// Most streams carry little data at a time; for more, the buffer is kept.
#[test]
fn a_buffer_is_allocated_for_larger_reads_and_kept_while_data_flows() {
    let mut bench = Bench::new();
    for (sent, buffered) in [
        (5, 5),
        (FIRST_READ - 1, FIRST_READ - 1),
        (FIRST_READ, CHUNK),
        (500, CHUNK),
    ] {
        bench.send(&vec![1; sent]);
        let arriving = bench.world.runtime().sleep(SECOND);
        bench.world.run_until(arriving).unwrap();
        let Copier { a, a_to_b, .. } = &mut bench.copier;
        let filling = poll_fn(|cx| a_to_b.poll_fill(a, cx));
        let filled = futures::FutureExt::now_or_never(filling);
        assert!(matches!(filled, Some(Ok(()))), "{sent}");
        assert_eq!(
            (a_to_b.filled.clone(), a_to_b.buffer.len()),
            (0..sent, buffered)
        );
        assert!(!a_to_b.ended);
    }
}

/// The other direction has `linger`; later data is lost.
#[test]
fn a_direction_continues_for_a_while_when_the_other_has_ended() {
    for answers_at in [LINGER - SECOND, LINGER + SECOND] {
        let bench = Bench::new();
        let Bench {
            world,
            mut source,
            mut destination,
            copier: Copier { a, b, .. },
            _sessions,
            ..
        } = bench;
        let (copying, runtime) = (world.runtime(), world.runtime());
        let spawner = world.runtime();
        spawner.spawn(Box::pin(async move {
            copy_bidirectional(&copying, a, b, LINGER, &Counter::default()).await;
        }));
        let answer = world.run_until(async {
            source.write_all(b"question").await.unwrap();
            source.close().await.unwrap();
            let mut question = Vec::new();
            destination.read_to_end(&mut question).await.unwrap();
            assert_eq!(question, b"question");
            runtime.sleep(answers_at).await;
            let _ = destination.write_all(b"answer").await;
            let _ = destination.close().await;
            let mut answer = Vec::new();
            source.read_to_end(&mut answer).await.map(|_| answer)
        });
        let expected: &[u8] = if answers_at < LINGER { b"answer" } else { b"" };
        assert_eq!(answer.unwrap().unwrap(), expected, "{answers_at:?}");
    }
}
