use std::future::poll_fn;
use std::sync::mpsc;
use std::task::Poll;
use std::time::{Duration, Instant};

use skydht_core::item::{Item, Origin, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::mark::MarkKind;
use skydht_core::record::StoredRecord;

use super::super::MemoryStorage;
use super::super::contract::{Kept, StorageError};
use super::state::*;
use super::*;
use crate::testing::record;

/// A queue with storage in memory, and what an event loop would have taken from it.
struct TestQueue {
    queue: StorageQueue,
    waker: Arc<AtomicWaker>,
    storage: MemoryStorage,
    done: Vec<(ChangeId, bool)>,
    loaded: Vec<Kept>,
    /// The progress of loading that was last reported.
    up_to: Option<Option<Target>>,
    answers: Vec<Answer>,
}

impl TestQueue {
    fn over(storage: MemoryStorage, durability: Durability) -> Self {
        Self::reading(storage.clone(), storage, durability)
    }

    fn reading(read: impl Storage, storage: MemoryStorage, durability: Durability) -> Self {
        let waker = Arc::new(AtomicWaker::new());
        let persistence = Persistence::new(read, durability);
        Self {
            queue: persistence.start(Arc::clone(&waker)).unwrap(),
            waker,
            storage,
            done: Vec::new(),
            loaded: Vec::new(),
            up_to: None,
            answers: Vec::new(),
        }
    }

    fn submit(&self, n: u64) {
        let what = StoreChange::Keep(Box::new(record(n)));
        self.queue.submit(ChangeId(n), what, true);
    }

    /// Takes results after each wake, until `is_over`.
    fn until(&mut self, is_over: impl Fn(&Self) -> bool) {
        let waker = Arc::clone(&self.waker);
        futures::executor::block_on(poll_fn(|cx| {
            waker.register(cx.waker());
            let mut done = Vec::new();
            self.queue.take_done(&mut done);
            self.done.append(&mut done);
            while let Some(answer) = self.queue.next_answer() {
                self.answers.push(answer);
            }
            while let Some(loaded) = self.queue.next_loaded(true) {
                match loaded {
                    Loaded::Record(kept) => self.loaded.push(kept),
                    Loaded::UpTo(next) => self.up_to = Some(next),
                }
            }
            match is_over(self) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
    }
}

fn filled(n: u64) -> MemoryStorage {
    let mut storage = MemoryStorage::default();
    let changes: Vec<_> = (0..n)
        .map(|n| StoreChange::Keep(Box::new(record(n))))
        .collect();
    storage.write(&changes, true).unwrap();
    storage
}

#[test]
fn changes_are_written_together_acknowledged_and_the_last_of_a_target_counts() {
    let storage = MemoryStorage::default();
    storage.set_failing(Some(StorageError::Unavailable("not yet".into())));
    let mut test_queue = TestQueue::over(storage, Durability::Sync);
    for n in 0..1_000 {
        test_queue.submit(n);
        test_queue.submit(n);
    }
    let forget = StoreChange::Forget(record(0).target);
    test_queue.queue.submit(ChangeId(5_000), forget, false);
    test_queue.storage.set_failing(None);
    test_queue.until(|it| it.done.len() == 2_000);
    drop(test_queue.queue);
    assert_eq!(test_queue.storage.records().len(), 999);
    assert!(
        test_queue.storage.writes() <= 2,
        "{}",
        test_queue.storage.writes()
    );
    // Memory is not durable, whatever is configured.
    assert!(test_queue.done.iter().all(|(_, durable)| !durable));
}

#[test]
fn all_records_of_earlier_runs_are_loaded_once() {
    let mut test_queue = TestQueue::over(filled(5_000), Durability::Async);
    test_queue.until(|it| it.up_to == Some(None));
    let mut targets: Vec<_> = test_queue
        .loaded
        .iter()
        .map(|it| it.record.target)
        .collect();
    targets.dedup();
    assert_eq!(targets.len(), 5_000);
    assert_eq!(test_queue.queue.stats().loaded, 5_000);
}

#[test]
fn while_storage_fails_changes_wait_and_none_is_lost() {
    let storage = MemoryStorage::default();
    let full = StorageError::Unavailable("no space left on device".into());
    storage.set_failing(Some(full.clone()));
    let mut test_queue = TestQueue::over(storage, Durability::Sync);
    for n in 0..10 {
        test_queue.submit(n);
    }
    // The thread reports the state after it has tried.
    while test_queue.queue.stats().health != StorageHealth::Failing(full.clone()) {
        thread::yield_now();
    }
    assert!(test_queue.done.is_empty());
    test_queue.storage.set_failing(None);
    test_queue.until(|it| it.done.len() == 10);
    assert_eq!(test_queue.storage.records().len(), 10);
    let stats = test_queue.queue.stats();
    assert!(stats.failures > 0 && stats.waiting == 0, "{stats:?}");
}

#[test]
fn waiting_changes_are_bounded_and_those_given_up_are_reported() {
    let mut state = QueueState::default();
    for n in 0..MAX_WAITING as u64 + 10 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let forget = StoreChange::Forget(Target::from_bytes(bytes));
        state.add(ChangeId(n), forget, true);
        assert!(state.waiting.len() <= MAX_WAITING);
    }
    assert_eq!((state.stats.given_up, state.done.len()), (10, 10));
    assert!(state.done.iter().all(|(_, durable)| !durable));
    let mut state = QueueState::default();
    let large = |n: u64| {
        let mut record = record(n);
        record.item.value = skydht_core::item::Value::from(vec![7; 65_536]);
        StoreChange::Keep(Box::new(record))
    };
    for n in 0..1_100 {
        state.add(ChangeId(n), large(n), false);
        assert!(state.waiting_bytes <= MAX_WAITING_BYTES);
    }
    assert_eq!(state.stats.given_up, 1_100 - 1_024);
    while state.take_oldest().is_some() {}
    assert_eq!(state.waiting_bytes, 0);
}

#[test]
fn the_end_waits_for_queued_changes() {
    let test_queue = TestQueue::over(filled(3_000), Durability::Async);
    for n in 3_000..3_100 {
        test_queue.submit(n);
    }
    drop(test_queue.queue);
    assert_eq!(test_queue.storage.records().len(), 3_100);
}

/// Loses what is not synced when a sync fails, like a file on a full disk.
struct Forgetful {
    durable: MemoryStorage,
    unsynced: Vec<StoreChange>,
}

impl Storage for Forgetful {
    fn kind(&self) -> &'static str {
        "forgetful"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<super::super::Page, StorageError> {
        self.durable.page(from, most)
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        self.durable.get(target)
    }

    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError> {
        self.unsynced.extend_from_slice(changes);
        if !sync {
            return Ok(());
        }
        let changes = std::mem::take(&mut self.unsynced);
        self.durable.write(&changes, true)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[test]
fn what_a_failed_sync_lost_is_written_again() {
    let storage = MemoryStorage::default();
    let mut test_queue = TestQueue::over(storage.clone(), Durability::Async);
    let forgetful = Forgetful {
        durable: storage.clone(),
        unsynced: Vec::new(),
    };
    let persistence = Persistence::new(forgetful, Durability::Async);
    test_queue.queue = persistence.start(Arc::clone(&test_queue.waker)).unwrap();
    test_queue.until(|it| it.queue.stats().health == StorageHealth::Good);
    storage.set_failing(Some(StorageError::Unavailable("no space left".into())));
    for n in 0..8 {
        test_queue.submit(n);
    }
    test_queue.until(|it| it.done.len() == 8);
    let by = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(
                Instant::now() < end,
                "{what}: {:?}",
                test_queue.queue.stats()
            );
            thread::yield_now();
        }
    };
    by("a failed sync", &|| test_queue.queue.stats().failures > 0);
    by("they wait again", &|| test_queue.queue.stats().waiting == 8);
    storage.set_failing(None);
    by("they are there", &|| storage.records().len() == 8);
    drop(test_queue.queue);
    assert_eq!(storage.records().len(), 8);
}

#[test]
fn what_is_not_synced_is_bounded() {
    let mut unsynced = UnsyncedChanges::default();
    let written = |n: u64, bytes| WaitingChange {
        what: StoreChange::Keep(Box::new(record(n))),
        acknowledge: Vec::new(),
        bytes,
    };
    unsynced.add(vec![written(1, 10), written(2, MAX_UNSYNCED_BYTES - 11)]);
    assert!(!unsynced.is_full());
    unsynced.add(vec![written(1, 11)]);
    assert!(unsynced.is_full());
    assert_eq!(unsynced.take().len(), 2);
    assert!(unsynced.bytes == 0 && unsynced.since.is_none());
}

/// Returns one record per page, and each page only when the test allows it.
struct Slow {
    storage: MemoryStorage,
    pages: mpsc::Receiver<()>,
}

impl Storage for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }

    fn page(&mut self, from: Target, _: usize) -> Result<super::super::Page, StorageError> {
        // An error means that the test has ended, so that pages are no longer held back.
        let _ = self.pages.recv();
        self.storage.page(from, 1)
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        self.storage.get(target)
    }

    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError> {
        self.storage.write(changes, sync)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// Returns a queue with slow storage of `n` records, the sender that allows the next page, and the
/// records in the order of their targets.
fn slow(n: u64) -> (TestQueue, mpsc::Sender<()>, Vec<StoredRecord>) {
    let storage = filled(n);
    let (turn, pages) = mpsc::channel();
    let read = Slow {
        storage: storage.clone(),
        pages,
    };
    let records = storage.records();
    (
        TestQueue::reading(read, storage, Durability::Sync),
        turn,
        records,
    )
}

#[test]
fn what_the_node_asks_for_comes_before_the_rest() {
    let (mut test_queue, turn, records) = slow(1_000);
    let last = records.last().unwrap();
    test_queue.queue.ask(last.target);
    let nothing = record(5_000).target;
    test_queue.queue.ask(nothing);
    turn.send(()).unwrap();
    test_queue.until(|it| it.answers.len() == 2);
    assert!(test_queue.loaded.len() <= 1 && test_queue.up_to != Some(None));
    let found = test_queue.answers[0].kept.as_ref().map(|kept| &kept.record);
    assert_eq!(
        (found, test_queue.answers[0].target),
        (Some(last), last.target)
    );
    let none = &test_queue.answers[1];
    assert!(none.kept.is_none() && none.read && none.target == nothing);
    for _ in 1..1_000 {
        turn.send(()).unwrap();
    }
    test_queue.until(|it| it.up_to == Some(None));
    assert_eq!(test_queue.loaded.len(), 1_000);
    drop(turn);
}

#[test]
fn requests_are_answered_as_unreadable_while_storage_fails() {
    let storage = filled(10);
    storage.set_failing(Some(StorageError::Unavailable("away".into())));
    let mut test_queue = TestQueue::over(storage, Durability::Async);
    for n in 0..3 {
        test_queue.queue.ask(record(n).target);
        test_queue.until(|it| it.answers.len() == usize::try_from(n).unwrap() + 1);
    }
    assert!(
        test_queue
            .answers
            .iter()
            .all(|it| !it.read && it.kept.is_none())
    );
    test_queue.storage.set_failing(None);
    test_queue.until(|it| it.up_to == Some(None));
    // The thread reports the state after it has passed on what it read.
    let end = Instant::now() + Duration::from_secs(30);
    while test_queue.queue.stats().health != StorageHealth::Good {
        assert!(Instant::now() < end, "{:?}", test_queue.queue.stats());
        thread::yield_now();
    }
    test_queue.queue.ask(record(1).target);
    test_queue.until(|it| it.answers.len() == 4);
    assert!(test_queue.answers[3].read && test_queue.answers[3].kept.is_some());
}

/// Changes that the node made before it received the stored record.
#[test]
fn no_change_of_a_target_that_was_not_read_lowers_or_removes_the_stored_record() {
    let (mut test_queue, turn, records) = slow(20);
    let secret = SecretKey::from_entropy(&[7; 32]);
    let signed = |record: &StoredRecord, seq| {
        let item = &record.item;
        StoredRecord {
            item: Item::sign(&secret, Seq(seq), Value::new(b"new"), item.salt.clone()),
            ..record.clone()
        }
    };
    let lower = signed(&records[17], 0);
    let higher = signed(&records[18], 1_000);
    let (forgotten, seen) = (records[16].target, records[19].target);
    test_queue.queue.ask(seen);
    turn.send(()).unwrap();
    test_queue.until(|it| it.answers.len() == 1);
    let keep = |record: &StoredRecord| StoreChange::Keep(Box::new(record.clone()));
    let queue = &test_queue.queue;
    queue.submit(ChangeId(1), keep(&lower), true);
    queue.submit(ChangeId(2), keep(&higher), true);
    queue.submit(ChangeId(3), StoreChange::Forget(forgotten), false);
    queue.submit(ChangeId(4), StoreChange::Forget(seen), false);
    turn.send(()).unwrap();
    test_queue.until(|it| it.done.len() == 2);
    let there = |test_queue: &TestQueue| test_queue.storage.records();
    assert_eq!(there(&test_queue)[17], records[17], "the higher one stays");
    assert_eq!(there(&test_queue)[18], higher);
    assert_eq!(there(&test_queue)[16], records[16], "forgotten unseen");
    assert_eq!(there(&test_queue).len(), 19, "this one was seen");
    let passed: Vec<_> = test_queue.loaded.iter().map(|it| &it.record).collect();
    assert!(passed.contains(&&records[16]) && passed.contains(&&records[17]));
    // The node has the records now, so its changes apply.
    let queue = &test_queue.queue;
    queue.submit(ChangeId(5), StoreChange::Forget(forgotten), false);
    queue.submit(ChangeId(6), keep(&lower), true);
    turn.send(()).unwrap();
    turn.send(()).unwrap();
    test_queue.until(|it| it.done.len() == 3);
    assert_eq!(there(&test_queue).len(), 18);
    drop(turn);
}

fn mark(n: u64) -> StoredMark {
    StoredMark {
        target: record(n).target,
        kind: MarkKind::Own,
        origin: Origin::Owner,
        seq: Seq(n),
        expires: None,
        lasting: true,
    }
}

#[test]
fn marks_come_before_every_record_and_are_written_whatever_fails_meanwhile() {
    let mut storage = filled(10);
    storage.write_marks(&[MarkChange::Keep(mark(1))]).unwrap();
    storage.set_failing(Some(StorageError::Unavailable("away".into())));
    let mut test_queue = TestQueue::over(storage, Durability::Async);
    test_queue.queue.ask(record(3).target);
    test_queue.until(|it| it.answers.len() == 1);
    assert!(!test_queue.answers[0].read && test_queue.queue.next_mark().is_none());
    for n in 2..5 {
        test_queue.queue.submit_mark(MarkChange::Keep(mark(n)));
    }
    let forget = MarkChange::Forget(MarkKind::Own, mark(3).target);
    test_queue.queue.submit_mark(forget);
    test_queue.storage.set_failing(None);
    test_queue.until(|it| !it.loaded.is_empty());
    let first = test_queue.queue.next_mark();
    assert_eq!(first.map(|it| it.seq), Some(Seq(1)));
    drop(test_queue.queue);
    let mut seqs: Vec<_> = test_queue
        .storage
        .marks()
        .unwrap()
        .iter()
        .map(|it| it.seq.0)
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 2, 4]);
}

#[test]
fn marks_that_wait_are_bounded_and_the_last_of_each_counts() {
    let mut state = QueueState::default();
    for n in 0..MAX_WAITING as u64 + 10 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let target = Target::from_bytes(bytes);
        state.add_mark(MarkChange::Forget(MarkKind::Own, target));
        state.add_mark(MarkChange::Keep(StoredMark { target, ..mark(n) }));
        assert!(state.marks_waiting.len() <= MAX_WAITING);
    }
    assert_eq!(state.stats.given_up, 10);
    let kept = state.marks_waiting.values();
    assert!(kept.into_iter().all(|it| matches!(it, MarkChange::Keep(_))));
}
