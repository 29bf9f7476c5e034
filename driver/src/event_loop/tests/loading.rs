//! Tests of what the event loop takes from storage and passes to it.

use super::*;
use crate::storage::{Durability, MemoryStorage, Page, Persistence, Storage, StorageError};
use crate::testing::record;

/// Storage in memory that claims to be durable, and proves nothing.
struct Unproven(MemoryStorage);

impl Storage for Unproven {
    fn kind(&self) -> &'static str {
        "unproven"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError> {
        let mut page = self.0.page(from, most)?;
        page.kept.iter_mut().for_each(|kept| kept.proven = false);
        Ok(page)
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        let kept = self.0.get(target)?;
        Ok(kept.map(|kept| Kept {
            proven: false,
            ..kept
        }))
    }

    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError> {
        self.0.write(changes, sync)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[test]
fn what_is_kept_is_acknowledged_once_storage_has_it() {
    let storage = MemoryStorage::default();
    let persistence = Persistence::new(Unproven(storage.clone()), Durability::Sync);
    let mut bench = Bench::over(Config::default(), Some(persistence));
    let _outcome = bench.command(put());
    bench.until("persisted true");
    assert_eq!(storage.records().len(), 1);
}

#[test]
fn records_of_earlier_runs_come_a_few_a_turn_and_unproven_ones_as_they_are_checked() {
    let changes: Vec<_> = (0..200)
        .map(|n| StoreChange::Keep(Box::new(record(n))))
        .collect();
    for proven in [true, false] {
        let mut storage = MemoryStorage::default();
        storage.write(&changes, true).unwrap();
        let persistence = match proven {
            true => Persistence::new(storage, Durability::Async),
            false => Persistence::new(Unproven(storage), Durability::Async),
        };
        let mut bench = Bench::over(Config::default(), Some(persistence));
        let words = bench.until("all loaded");
        let word = if proven { "loaded" } else { "unproven" };
        let count = |word: &str| words.iter().filter(|it| *it == word).count();
        assert_eq!(count(word), 200);
        // Unproven records wait until others have been verified.
        let bursts = words.split(|it| it == "verified").map(|words| {
            let of_burst = words.iter().filter(|it| *it == word);
            of_burst.count()
        });
        let most = bursts.max().unwrap();
        assert!(proven || most <= UNPROVEN, "{most} at once");
        assert_eq!(bench.event_loop.stats.misuse, 0);
    }
}
