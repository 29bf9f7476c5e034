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

/// A queue before storage in memory, and what a loop would have taken from it.
struct Looped {
    queue: StorageQueue,
    waker: Arc<AtomicWaker>,
    storage: MemoryStorage,
    done: Vec<(ChangeId, bool)>,
    loaded: Vec<Kept>,
    /// The last that was said of how far it is.
    up_to: Option<Option<Target>>,
    answers: Vec<Answer>,
}

impl Looped {
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

    /// Turns of the loop, each after a wake, until `is_over`.
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
    let mut looped = Looped::over(storage, Durability::Sync);
    for n in 0..1_000 {
        looped.submit(n);
        looped.submit(n);
    }
    let forget = StoreChange::Forget(record(0).target);
    looped.queue.submit(ChangeId(5_000), forget, false);
    looped.storage.set_failing(None);
    looped.until(|it| it.done.len() == 2_000);
    drop(looped.queue);
    assert_eq!(looped.storage.records().len(), 999);
    assert!(looped.storage.writes() <= 2, "{}", looped.storage.writes());
    // Memory is not durable, whatever is asked.
    assert!(looped.done.iter().all(|(_, durable)| !durable));
}

#[test]
fn everything_of_earlier_runs_comes_once_however_much_it_is() {
    let mut looped = Looped::over(filled(5_000), Durability::Async);
    looped.until(|it| it.up_to == Some(None));
    let mut targets: Vec<_> = looped.loaded.iter().map(|it| it.record.target).collect();
    targets.dedup();
    assert_eq!(targets.len(), 5_000);
    assert_eq!(looped.queue.stats().loaded, 5_000);
}

#[test]
fn while_storage_fails_changes_wait_and_none_is_lost() {
    let storage = MemoryStorage::default();
    let full = StorageError::Unavailable("no space left on device".into());
    storage.set_failing(Some(full.clone()));
    let mut looped = Looped::over(storage, Durability::Sync);
    for n in 0..10 {
        looped.submit(n);
    }
    // The thread says how it goes when it has tried.
    while looped.queue.stats().health != StorageHealth::Failing(full.clone()) {
        thread::yield_now();
    }
    assert!(looped.done.is_empty());
    looped.storage.set_failing(None);
    looped.until(|it| it.done.len() == 10);
    assert_eq!(looped.storage.records().len(), 10);
    let stats = looped.queue.stats();
    assert!(stats.failures > 0 && stats.waiting == 0, "{stats:?}");
}

#[test]
fn what_waits_is_bounded_and_what_is_given_up_is_told() {
    let mut state = State::default();
    for n in 0..MOST_WAITING as u64 + 10 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let forget = StoreChange::Forget(Target::from_bytes(bytes));
        state.add(ChangeId(n), forget, true);
        assert!(state.waiting.len() <= MOST_WAITING);
    }
    assert_eq!((state.stats.given_up, state.done.len()), (10, 10));
    assert!(state.done.iter().all(|(_, durable)| !durable));
    let mut state = State::default();
    let large = |n: u64| {
        let mut record = record(n);
        record.item.value = skydht_core::item::Value::from(vec![7; 65_536]);
        StoreChange::Keep(Box::new(record))
    };
    for n in 0..1_100 {
        state.add(ChangeId(n), large(n), false);
        assert!(state.waiting_bytes <= MOST_WAITING_BYTES);
    }
    assert_eq!(state.stats.given_up, 1_100 - 1_024);
    while state.take_oldest().is_some() {}
    assert_eq!(state.waiting_bytes, 0);
}

#[test]
fn the_end_waits_for_what_was_handed_in() {
    let looped = Looped::over(filled(3_000), Durability::Async);
    for n in 3_000..3_100 {
        looped.submit(n);
    }
    drop(looped.queue);
    assert_eq!(looped.storage.records().len(), 3_100);
}

/// Loses what is not synced when a sync fails, as a file on a full disk.
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
    let mut looped = Looped::over(storage.clone(), Durability::Async);
    let forgetful = Forgetful {
        durable: storage.clone(),
        unsynced: Vec::new(),
    };
    let persistence = Persistence::new(forgetful, Durability::Async);
    looped.queue = persistence.start(Arc::clone(&looped.waker)).unwrap();
    looped.until(|it| it.queue.stats().health == StorageHealth::Good);
    storage.set_failing(Some(StorageError::Unavailable("no space left".into())));
    for n in 0..8 {
        looped.submit(n);
    }
    looped.until(|it| it.done.len() == 8);
    let by = |what: &str, holds: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < end, "{what}: {:?}", looped.queue.stats());
            thread::yield_now();
        }
    };
    by("a failed sync", &|| looped.queue.stats().failures > 0);
    by("they wait again", &|| looped.queue.stats().waiting == 8);
    storage.set_failing(None);
    by("they are there", &|| storage.records().len() == 8);
    drop(looped.queue);
    assert_eq!(storage.records().len(), 8);
}

#[test]
fn what_is_not_synced_is_bounded() {
    let mut unsynced = Unsynced::default();
    let written = |n: u64, bytes| Waiting {
        what: StoreChange::Keep(Box::new(record(n))),
        acknowledge: Vec::new(),
        bytes,
    };
    unsynced.add(vec![written(1, 10), written(2, MOST_UNSYNCED_BYTES - 11)]);
    assert!(!unsynced.is_full());
    unsynced.add(vec![written(1, 11)]);
    assert!(unsynced.is_full());
    assert_eq!(unsynced.take().len(), 2);
    assert!(unsynced.bytes == 0 && unsynced.since.is_none());
}

/// Gives one record a page, and each page only when it is told to.
struct Slow {
    storage: MemoryStorage,
    pages: mpsc::Receiver<()>,
}

impl Storage for Slow {
    fn kind(&self) -> &'static str {
        "slow"
    }

    fn page(&mut self, from: Target, _: usize) -> Result<super::super::Page, StorageError> {
        // An error: from now on nobody holds it back.
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

/// A queue before slow storage with `n` records, what lets the next page come, and the records in
/// the order of their targets.
fn slow(n: u64) -> (Looped, mpsc::Sender<()>, Vec<StoredRecord>) {
    let storage = filled(n);
    let (turn, pages) = mpsc::channel();
    let read = Slow {
        storage: storage.clone(),
        pages,
    };
    let records = storage.records();
    (
        Looped::reading(read, storage, Durability::Sync),
        turn,
        records,
    )
}

#[test]
fn what_the_node_asks_for_comes_before_the_rest() {
    let (mut looped, turn, records) = slow(1_000);
    let last = records.last().unwrap();
    looped.queue.ask(last.target);
    let nothing = record(5_000).target;
    looped.queue.ask(nothing);
    turn.send(()).unwrap();
    looped.until(|it| it.answers.len() == 2);
    assert!(looped.loaded.len() <= 1 && looped.up_to != Some(None));
    let found = looped.answers[0].kept.as_ref().map(|kept| &kept.record);
    assert_eq!((found, looped.answers[0].target), (Some(last), last.target));
    let none = &looped.answers[1];
    assert!(none.kept.is_none() && none.read && none.target == nothing);
    for _ in 1..1_000 {
        turn.send(()).unwrap();
    }
    looped.until(|it| it.up_to == Some(None));
    assert_eq!(looped.loaded.len(), 1_000);
    drop(turn);
}

#[test]
fn while_storage_fails_every_question_is_answered_with_that() {
    let storage = filled(10);
    storage.set_failing(Some(StorageError::Unavailable("away".into())));
    let mut looped = Looped::over(storage, Durability::Async);
    for n in 0..3 {
        looped.queue.ask(record(n).target);
        looped.until(|it| it.answers.len() == usize::try_from(n).unwrap() + 1);
    }
    assert!(
        looped
            .answers
            .iter()
            .all(|it| !it.read && it.kept.is_none())
    );
    looped.storage.set_failing(None);
    looped.until(|it| it.up_to == Some(None));
    // The thread says how it goes when it has handed over what it read.
    let end = Instant::now() + Duration::from_secs(30);
    while looped.queue.stats().health != StorageHealth::Good {
        assert!(Instant::now() < end, "{:?}", looped.queue.stats());
        thread::yield_now();
    }
    looped.queue.ask(record(1).target);
    looped.until(|it| it.answers.len() == 4);
    assert!(looped.answers[3].read && looped.answers[3].kept.is_some());
}

/// What the node took, or let go, before it was given what lies there.
#[test]
fn no_change_of_a_target_that_was_not_read_lowers_or_removes_what_lies_there() {
    let (mut looped, turn, records) = slow(20);
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
    looped.queue.ask(seen);
    turn.send(()).unwrap();
    looped.until(|it| it.answers.len() == 1);
    let keep = |record: &StoredRecord| StoreChange::Keep(Box::new(record.clone()));
    let queue = &looped.queue;
    queue.submit(ChangeId(1), keep(&lower), true);
    queue.submit(ChangeId(2), keep(&higher), true);
    queue.submit(ChangeId(3), StoreChange::Forget(forgotten), false);
    queue.submit(ChangeId(4), StoreChange::Forget(seen), false);
    turn.send(()).unwrap();
    looped.until(|it| it.done.len() == 2);
    let there = |looped: &Looped| looped.storage.records();
    assert_eq!(there(&looped)[17], records[17], "the higher one stays");
    assert_eq!(there(&looped)[18], higher);
    assert_eq!(there(&looped)[16], records[16], "forgotten unseen");
    assert_eq!(there(&looped).len(), 19, "this one was seen");
    let given: Vec<_> = looped.loaded.iter().map(|it| &it.record).collect();
    assert!(given.contains(&&records[16]) && given.contains(&&records[17]));
    // The node has them now: what it says counts.
    let queue = &looped.queue;
    queue.submit(ChangeId(5), StoreChange::Forget(forgotten), false);
    queue.submit(ChangeId(6), keep(&lower), true);
    turn.send(()).unwrap();
    turn.send(()).unwrap();
    looped.until(|it| it.done.len() == 3);
    assert_eq!(there(&looped).len(), 18);
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
    let mut looped = Looped::over(storage, Durability::Async);
    looped.queue.ask(record(3).target);
    looped.until(|it| it.answers.len() == 1);
    assert!(!looped.answers[0].read && looped.queue.next_mark().is_none());
    for n in 2..5 {
        looped.queue.submit_mark(MarkChange::Keep(mark(n)));
    }
    let forget = MarkChange::Forget(MarkKind::Own, mark(3).target);
    looped.queue.submit_mark(forget);
    looped.storage.set_failing(None);
    looped.until(|it| !it.loaded.is_empty());
    let first = looped.queue.next_mark();
    assert_eq!(first.map(|it| it.seq), Some(Seq(1)));
    drop(looped.queue);
    let mut seqs: Vec<_> = looped
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
    let mut state = State::default();
    for n in 0..MOST_WAITING as u64 + 10 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let target = Target::from_bytes(bytes);
        state.add_mark(MarkChange::Forget(MarkKind::Own, target));
        state.add_mark(MarkChange::Keep(StoredMark { target, ..mark(n) }));
        assert!(state.marks_waiting.len() <= MOST_WAITING);
    }
    assert_eq!(state.stats.given_up, 10);
    let kept = state.marks_waiting.values();
    assert!(kept.into_iter().all(|it| matches!(it, MarkChange::Keep(_))));
}
