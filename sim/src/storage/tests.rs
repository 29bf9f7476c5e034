//! The storage models fulfil the contract of storages and break it only in the configured ways.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng as _;
use skydht_core::mark::{MarkChange, StoredMark};
use skydht_core::node::{ChangeId, StoreChange};
use skydht_core::record::StoredRecord;
use skydht_driver::storage::{Storage, StorageError};
use skydht_driver::testing::{record, storage_conformance};

use super::{FaultyDisk, Queue, Redis};
use crate::clock::SimTime;

const SECOND: Duration = Duration::from_secs(1);

fn keep(n: u64) -> StoreChange {
    StoreChange::Keep(Box::new(record(n)))
}

fn records(storage: &mut impl Storage) -> Vec<StoredRecord> {
    let page = storage.page(Default::default(), 1_000).unwrap();
    page.kept.into_iter().map(|kept| kept.record).collect()
}

#[test]
fn the_models_are_storages() {
    let redis = Redis::default();
    storage_conformance(|| redis.client(1));
    for lies in [false, true] {
        let disk = std::sync::Arc::new(std::sync::Mutex::new(FaultyDisk::new(lies)));
        storage_conformance(|| Handle(disk.clone()));
    }
}

/// A disk that outlives its user.
struct Handle(std::sync::Arc<std::sync::Mutex<FaultyDisk>>);

impl Storage for Handle {
    fn kind(&self) -> &'static str {
        self.0.lock().unwrap().kind()
    }
    fn page(
        &mut self,
        from: skydht_core::id::Target,
        most: usize,
    ) -> Result<skydht_driver::storage::Page, StorageError> {
        self.0.lock().unwrap().page(from, most)
    }
    fn get(
        &mut self,
        target: &skydht_core::id::Target,
    ) -> Result<Option<skydht_driver::storage::Kept>, StorageError> {
        self.0.lock().unwrap().get(target)
    }
    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError> {
        self.0.lock().unwrap().write(changes, sync)
    }
    fn marks(&mut self) -> Result<Vec<StoredMark>, StorageError> {
        self.0.lock().unwrap().marks()
    }
    fn write_marks(&mut self, changes: &[MarkChange]) -> Result<(), StorageError> {
        self.0.lock().unwrap().write_marks(changes)
    }
    fn is_durable(&self) -> bool {
        true
    }
}

#[test]
fn a_disk_keeps_what_is_synced_and_one_that_lies_keeps_anything() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut disk = FaultyDisk::new(false);
    disk.write(&[keep(1)], true).unwrap();
    disk.write(&[keep(2)], false).unwrap();
    assert_eq!(records(&mut disk).len(), 2);
    assert_eq!(disk.lose_power(&mut random), 0);
    assert_eq!(records(&mut disk), [record(1)]);
    disk.set_full(true);
    assert!(disk.write(&[keep(3)], true).is_err());
    disk.set_full(false);
    disk.write(&[StoreChange::Forget(record(1).target)], true)
        .unwrap();
    disk.lose_power(&mut random);
    assert_eq!(records(&mut disk), []);

    let mut liar = FaultyDisk::new(true);
    let all: Vec<StoreChange> = (0..300).map(keep).collect();
    liar.write(&all, true).unwrap();
    let torn = liar.lose_power(&mut random);
    let left = liar.page(Default::default(), 1_000).unwrap().kept;
    let unproven = left.iter().filter(|kept| !kept.proven).count() as u64;
    assert_eq!(unproven, torn);
    assert!((60..140).contains(&torn) && (160..240).contains(&left.len()));
    for kept in left {
        let signed = kept.record.item.check().is_ok();
        assert_eq!(signed, kept.proven, "what is torn was never signed");
    }
}

#[test]
fn clients_read_the_writes_of_others_and_write_again_what_a_failover_lost() {
    let redis = Redis::default();
    let at = |seconds: u32| redis.set_now(SimTime::ZERO.plus(seconds * SECOND));
    let (mut one, mut two) = (redis.client(1), redis.client(2));
    for client in [&mut one, &mut two] {
        assert_eq!(client.poll().unwrap(), Default::default());
    }
    one.write(&[keep(1)], true).unwrap();
    assert_eq!(one.poll().unwrap(), Default::default());
    let news = two.poll().unwrap();
    assert!(news.kept.len() == 1 && news.kept[0].record == record(1));
    assert!(!news.kept[0].proven && news.wanted.is_empty());
    // A client that writes a lower rank gets the stored record and changes nothing.
    let mut later = record(1);
    later.item.seq.0 += 1;
    one.write(&[StoreChange::Keep(Box::new(later.clone()))], true)
        .unwrap();
    two.write(&[keep(1), StoreChange::Forget(record(1).target)], true)
        .unwrap();
    assert_eq!(redis.records(), [later.clone()]);
    assert_eq!(two.poll().unwrap().kept[0].record, later);
    at(10);
    one.write(&[keep(2)], true).unwrap();
    two.poll().unwrap();
    assert_eq!(redis.fail_over(SECOND), [record(2).target]);
    assert_eq!(redis.records(), [later]);
    for client in [&mut one, &mut two] {
        let news = client.poll().unwrap();
        assert_eq!((news.kept.len(), news.wanted), (0, vec![record(2).target]));
    }
    let away = StorageError::Unavailable("away".into());
    redis.set_failing(Some(away.clone()));
    assert_eq!(one.write(&[keep(3)], true), Err(away.clone()));
    assert_eq!(one.poll(), Err(away));
}

#[test]
fn changes_that_could_not_be_written_wait_with_their_acknowledgements() {
    let mut queue = Queue::default();
    queue.add(ChangeId(1), keep(1), true);
    queue.add(ChangeId(2), keep(2), false);
    assert!(queue.begin() && !queue.begin());
    queue.add(ChangeId(3), StoreChange::Forget(record(1).target), true);
    assert_eq!(queue.failed(), SECOND / 4);
    assert!(!queue.begin());
    queue.paused();
    assert!(queue.begin());
    assert_eq!(queue.failed(), SECOND / 2);
    queue.paused();
    assert!(queue.begin());
    let mut writing = queue.writing();
    writing.retain(|it| matches!(it, StoreChange::Forget(_)));
    assert_eq!((queue.len(), writing.len()), (2, 1), "the later one counts");
    assert_eq!(queue.wrote(false), [ChangeId(1), ChangeId(3)]);
    assert!(queue.plan_sync() && !queue.plan_sync());
    // Changes that were not synced when a write fails are written again.
    queue.add(ChangeId(4), keep(4), true);
    assert!(queue.begin() && !queue.sync_due());
    queue.failed();
    queue.paused();
    assert!(queue.begin());
    assert_eq!(queue.len(), 3);
    assert_eq!(queue.wrote(true), [ChangeId(4)]);
    assert!(!queue.plan_sync() && !queue.sync_due());
    queue.add(ChangeId(5), keep(5), false);
    assert_eq!(queue.rest(), [keep(5)]);
}
