//! A disk with a file of records.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use skydht_core::id::Target;
use skydht_core::item::{Item, Seq, Value};
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_driver::storage::{Kept, Page, Storage, StorageError};

use crate::network::faults::below;

/// A file on a disk. Writes of several changes are atomic, and synced data survives a loss of
/// power. On a disk that lies, nothing is certain: each record that it confirmed as synced may be
/// old, new or torn afterwards.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    synced: BTreeMap<Target, Kept>,
    /// Changes since the last sync; `None` if the record was removed.
    cached: BTreeMap<Target, Option<Kept>>,
    /// Synced marks.
    synced_marks: Marks,
    marks: Marks,
    full: bool,
    lies: bool,
}

type Marks = BTreeMap<(MarkKind, Target), StoredMark>;

impl FaultyDisk {
    /// An empty disk. `lies`: whether it confirms syncs without doing them.
    #[must_use]
    pub fn new(lies: bool) -> Self {
        Self {
            lies,
            ..Self::default()
        }
    }

    /// Sets whether the disk is full, so that nothing can be written.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// The machine loses power: data that is not synced is lost, or torn if the disk lied. Returns
    /// the number of torn records.
    pub fn lose_power(&mut self, random: &mut ChaCha8Rng) -> u64 {
        let mut torn = 0;
        self.marks = self.synced_marks.clone();
        for (target, change) in std::mem::take(&mut self.cached) {
            if !self.lies {
                continue;
            }
            match (below(random, 3), change) {
                (0, _) => {}
                (1, Some(kept)) => {
                    torn += 1;
                    self.synced.insert(target, tear(kept));
                }
                (_, Some(kept)) => drop(self.synced.insert(target, kept)),
                (_, None) => drop(self.synced.remove(&target)),
            }
        }
        torn
    }

    fn at(&self, target: &Target) -> Option<&Kept> {
        let cached = self.cached.get(target).map(Option::as_ref);
        cached.unwrap_or_else(|| self.synced.get(target))
    }

    /// All records in the order of their targets.
    pub(crate) fn all(&self) -> Vec<Kept> {
        let mut all = self.synced.clone();
        for (target, change) in &self.cached {
            match change {
                Some(kept) => drop(all.insert(*target, kept.clone())),
                None => drop(all.remove(target)),
            }
        }
        all.into_values().collect()
    }
}

/// A record that was only partly written: its signature and its authentication code are wrong.
fn tear(kept: Kept) -> Kept {
    let StoredRecord { item, .. } = &kept.record;
    let bytes = item.value.as_bytes();
    let torn = match bytes.len() {
        0 => Item {
            seq: Seq(item.seq.0.wrapping_add(1)),
            ..item.clone()
        },
        len => Item {
            value: Value::new(&bytes[..len / 2]),
            ..item.clone()
        },
    };
    Kept {
        record: StoredRecord {
            item: torn,
            ..kept.record
        },
        proven: false,
    }
}

impl Storage for FaultyDisk {
    fn kind(&self) -> &'static str {
        "simulated disk"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError> {
        let all = self.all().into_iter();
        let mut rest = all.filter(|kept| kept.record.target >= from);
        Ok(Page {
            kept: rest.by_ref().take(most).collect(),
            damaged: 0,
            next: rest.next().map(|kept| kept.record.target),
        })
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        Ok(self.at(target).cloned())
    }

    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError> {
        if self.full {
            let what = "no space left on the simulated disk".to_owned();
            return Err(StorageError::Unavailable(what));
        }
        for change in changes {
            let (target, kept) = match change {
                StoreChange::Keep(record) => {
                    let record = StoredRecord::clone(record);
                    let proven = true;
                    (record.target, Some(Kept { record, proven }))
                }
                StoreChange::Forget(target) => (*target, None),
            };
            self.cached.insert(target, kept);
        }
        if sync && !self.lies {
            self.synced_marks = self.marks.clone();
            for (target, kept) in std::mem::take(&mut self.cached) {
                match kept {
                    Some(kept) => drop(self.synced.insert(target, kept)),
                    None => drop(self.synced.remove(&target)),
                }
            }
        }
        Ok(())
    }

    fn marks(&mut self) -> Result<Vec<StoredMark>, StorageError> {
        Ok(self.marks.values().copied().collect())
    }

    fn write_marks(&mut self, changes: &[MarkChange]) -> Result<(), StorageError> {
        self.write(&[], false)?;
        for change in changes {
            match change {
                MarkChange::Keep(mark) => drop(self.marks.insert(change.place(), *mark)),
                MarkChange::Forget(..) => drop(self.marks.remove(&change.place())),
            }
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }
}
