//! Storage in memory, for tests, and for restarts of a node within one process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;

use super::{Kept, Page, Storage, StorageError};

/// Storage in memory. Clones share the records.
#[derive(Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    records: BTreeMap<Target, StoredRecord>,
    marks: BTreeMap<(MarkKind, Target), StoredMark>,
    failing: Option<StorageError>,
    writes: u64,
}

impl MemoryStorage {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes all further calls fail with `error`, or none with `None`.
    pub fn set_failing(&self, error: Option<StorageError>) {
        self.lock().failing = error;
    }

    /// Returns all records.
    #[must_use]
    pub fn records(&self) -> Vec<StoredRecord> {
        self.lock().records.values().cloned().collect()
    }

    /// Returns the number of successful writes of records.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }
}

impl Storage for MemoryStorage {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError> {
        let inner = self.lock();
        if let Some(error) = &inner.failing {
            return Err(error.clone());
        }
        let mut rest = inner.records.range(from..);
        let kept = rest.by_ref().take(most).map(|(_, record)| Kept {
            record: record.clone(),
            proven: true,
        });
        Ok(Page {
            kept: kept.collect(),
            damaged: 0,
            next: rest.next().map(|(target, _)| *target),
        })
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        let inner = self.lock();
        if let Some(error) = &inner.failing {
            return Err(error.clone());
        }
        Ok(inner.records.get(target).map(|record| Kept {
            record: record.clone(),
            proven: true,
        }))
    }

    fn write(&mut self, changes: &[StoreChange], _: bool) -> Result<(), StorageError> {
        let mut inner = self.lock();
        if let Some(error) = &inner.failing {
            return Err(error.clone());
        }
        for change in changes {
            match change {
                StoreChange::Keep(record) => {
                    inner.records.insert(record.target, (**record).clone());
                }
                StoreChange::Forget(target) => {
                    inner.records.remove(target);
                }
            }
        }
        inner.writes += 1;
        Ok(())
    }

    fn marks(&mut self) -> Result<Vec<StoredMark>, StorageError> {
        let inner = self.lock();
        match &inner.failing {
            Some(error) => Err(error.clone()),
            None => Ok(inner.marks.values().copied().collect()),
        }
    }

    fn write_marks(&mut self, changes: &[MarkChange]) -> Result<(), StorageError> {
        let mut inner = self.lock();
        if let Some(error) = &inner.failing {
            return Err(error.clone());
        }
        for change in changes {
            match change {
                MarkChange::Keep(mark) => drop(inner.marks.insert(change.place(), *mark)),
                MarkChange::Forget(..) => drop(inner.marks.remove(&change.place())),
            }
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        false
    }
}
