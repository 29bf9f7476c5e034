use std::future::poll_fn;
use std::task::Poll;

use super::super::MemoryStorage;
use super::*;
use crate::testing::record;

/// A queue before storage in memory, and what a loop would have taken from it.
struct Looped {
    queue: StorageQueue,
    waker: Arc<AtomicWaker>,
    storage: MemoryStorage,
    done: Vec<(ChangeId, bool)>,
    loaded: Vec<Kept>,
}

impl Looped {
    fn over(storage: MemoryStorage, durability: Durability) -> Self {
        let waker = Arc::new(AtomicWaker::new());
        let persistence = Persistence::new(storage.clone(), durability);
        Self {
            queue: persistence.start(Arc::clone(&waker)).unwrap(),
            waker,
            storage,
            done: Vec::new(),
            loaded: Vec::new(),
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
            while let Some(kept) = self.queue.next_loaded(true) {
                self.loaded.push(kept);
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
    looped.until(|it| it.loaded.len() == 5_000);
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
