//! Tests of outgoing data when the peer reads nothing, slowly, or no longer.

use std::rc::Rc;

use super::*;

/// Capacity of the connection in these tests, in bytes.
const PIPE: usize = 1 << 16;
const STREAMS: usize = 100;
/// Bytes that each stream sends: less than its window.
const EACH: usize = 200_000;

/// A session whose streams all send, and the other end of its connection.
struct Sending {
    pool: LocalPool,
    session: Session,
    far: End,
    sent: Rc<Cell<usize>>,
    ended: Rc<Cell<usize>>,
    budget: SendBudget,
}

impl Sending {
    fn new() -> Self {
        let pool = LocalPool::new();
        let (near, far) = pipe(PIPE);
        let config = SessionConfig::default();
        let budget = config.send_budget.clone();
        let node = start(&pool.spawner(), near, Role::Client, &config);
        let mut it = Self {
            pool,
            session: node.session,
            far,
            sent: Rc::default(),
            ended: Rc::default(),
            budget,
        };
        for _ in 0..STREAMS {
            it.send();
        }
        it.pool.run_until_stalled();
        it
    }

    /// Opens one more stream, and sends over it until everything is sent or the session ends.
    fn send(&self) {
        let (sent, ended) = (Rc::clone(&self.sent), Rc::clone(&self.ended));
        let session = self.session.clone();
        let sending = async move {
            let mut stream = session.open().await.unwrap();
            let data = vec![7; EACH];
            let mut left = EACH;
            while left > 0 {
                let Ok(n) = stream.write(&data[..left]).await else {
                    break;
                };
                left -= n;
                sent.set(sent.get() + n);
            }
            ended.set(ended.get() + 1);
        };
        self.pool.spawner().spawn_local(sending).unwrap();
    }
}

#[test]
fn data_for_a_peer_that_reads_nothing_is_bounded() {
    let mut it = Sending::new();
    let most = PIPE + 256 * 1024 + 32 * 1024;
    assert!(it.sent.get() <= most, "{} bytes", it.sent.get());
    assert!(it.budget.queued() <= most - PIPE + 12 * STREAMS);
    // More streams change nothing, and neither does dropping those that have sent everything.
    for _ in 0..STREAMS {
        it.send();
    }
    it.pool.run_until_stalled();
    assert!(it.sent.get() <= most, "{} bytes", it.sent.get());
    assert!(
        it.ended.get() <= 1,
        "only the first had room for everything"
    );
}

#[test]
fn waiters_are_woken_when_a_full_queue_is_drained() {
    let mut it = Sending::new();
    assert!(it.ended.get() <= 1);
    let mut far = it.far;
    let draining = async move {
        let mut chunk = vec![0; 10_000];
        while far.read(&mut chunk).await.is_ok_and(|n| n > 0) {}
    };
    it.pool.spawner().spawn_local(draining).unwrap();
    it.pool.run_until_stalled();
    assert_eq!((it.sent.get(), it.ended.get()), (STREAMS * EACH, STREAMS));
    assert_eq!(it.budget.queued(), 0);
}

#[test]
fn waiters_are_woken_when_the_session_of_a_full_queue_ends() {
    let mut it = Sending::new();
    drop(it.far);
    it.pool.run_until_stalled();
    assert_eq!(it.ended.get(), STREAMS);
    drop(it.session);
    it.pool.run_until_stalled();
    assert_eq!(it.budget.queued(), 0, "the budget has everything back");
}

#[test]
fn waiters_are_woken_when_the_peer_acknowledges_streams() {
    const CALLS: usize = 1_000;
    let mut pool = LocalPool::new();
    // More streams than the peer may leave unacknowledged.
    let (a, b) = pair(&pool, &limits(2 * CALLS, 2 * CALLS, 2 * CALLS));
    let echoing = echo(b.incoming, pool.spawner());
    pool.spawner().spawn_local(echoing).unwrap();
    let answered = Rc::new(Cell::new(0));
    for _ in 0..CALLS {
        let (session, answered) = (a.session.clone(), Rc::clone(&answered));
        let calling = async move {
            assert_eq!(call(&session, b"request").await, b"request");
            answered.set(answered.get() + 1);
        };
        pool.spawner().spawn_local(calling).unwrap();
    }
    pool.run_until_stalled();
    assert_eq!(answered.get(), CALLS);
}
