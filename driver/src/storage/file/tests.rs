//! Losses of power, at any moment, on a disk that drops what was not synced and tears what was
//! being written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::testing::record;

/// What is written as one; the rest of a write may be lost.
const SECTOR: usize = 512;
const CYCLES: u64 = 500;
const TARGETS: u64 = 40;
/// Of one cycle; the power mostly goes before.
const MOST_WRITES: u64 = 200;

/// A sequence of numbers, the same for each seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Debug)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Debug, Default)]
struct Platter {
    /// What reads see.
    seen: Vec<u8>,
    /// What survives for certain.
    durable: Vec<u8>,
    /// What was written since, in order.
    pending: Vec<Pending>,
    /// Calls until the power goes.
    calls_left: u64,
}

#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

impl Platter {
    fn apply(bytes: &mut Vec<u8>, pending: &Pending) {
        match pending {
            Pending::Length(length) => bytes.resize(*length, 0),
            Pending::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }

    /// Some of what was pending reaches the disk, in parts and in any order.
    fn lose_power(&mut self, numbers: &mut Numbers) {
        for pending in self.pending.drain(..) {
            match &pending {
                Pending::Length(_) => Self::apply(&mut self.durable, &pending),
                Pending::Write(offset, data) => {
                    let (fate, torn) = (numbers.below(3), numbers.below(4));
                    for (n, sector) in data.chunks(SECTOR).enumerate() {
                        let arrives = match fate {
                            0 => false,
                            1 => true,
                            _ => numbers.below(4) > torn,
                        };
                        if arrives {
                            let write = Pending::Write(offset + n * SECTOR, sector.to_vec());
                            Self::apply(&mut self.durable, &write);
                        }
                    }
                }
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

impl Disk {
    fn with<T>(&self, run: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if platter.calls_left == 0 {
            return Err(io::Error::other("the power is gone"));
        }
        platter.calls_left -= 1;
        run(&mut platter)
    }

    fn write_later(&self, pending: Pending) -> io::Result<()> {
        self.with(|platter| {
            Platter::apply(&mut platter.seen, &pending);
            platter.pending.push(pending);
            Ok(())
        })
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.with(|platter| Ok(platter.seen.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.with(|platter| {
            let offset = usize::try_from(offset).unwrap();
            let found = platter.seen.get(offset..offset + out.len());
            out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write_later(Pending::Length(usize::try_from(len).unwrap()))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|platter| {
            let Platter {
                durable, pending, ..
            } = platter;
            for pending in pending.drain(..) {
                Platter::apply(durable, &pending);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        self.write_later(Pending::Write(offset, data.to_vec()))
    }
}

fn open_on(disk: &Disk) -> Result<FileStorage, FileError> {
    let mut storage = FileStorage {
        path: PathBuf::from("a disk in memory"),
        key: Zeroizing::new([7; 32]),
        database: None,
    };
    storage.database = Some(storage.open_on(disk.clone())?);
    Ok(storage)
}

/// Versions of a target that may be found after a loss of power; none: nothing.
type Possible = Vec<Option<StoredRecord>>;

fn version(n: u64, cycle: u64) -> StoredRecord {
    let mut record = record(n);
    record.vouched.0 += cycle * 1_000;
    record
}

#[test]
fn nothing_acknowledged_under_sync_is_lost_or_damaged_in_500_losses_of_power() {
    let mut numbers = Numbers(0x5eed);
    let disk = Disk::default();
    let mut possible: BTreeMap<u64, Possible> = BTreeMap::new();
    for n in 0..TARGETS {
        possible.insert(n, vec![None]);
    }
    let (mut interrupted, mut opening, mut acknowledged) = (0, 0, 0);
    for cycle in 0..CYCLES {
        let calls = 1 + numbers.below(400);
        disk.0.lock().unwrap().calls_left = calls;
        match open_on(&disk) {
            // The power may go while the file is opened or made.
            Err(FileError::Open { .. }) => opening += 1,
            Err(error) => panic!("cycle {cycle}: {error}"),
            Ok(mut storage) => {
                for _ in 0..MOST_WRITES {
                    let sync = numbers.below(3) == 0;
                    let mut changes = Vec::new();
                    for _ in 0..numbers.below(6) {
                        let n = numbers.below(TARGETS);
                        let (change, after) = match numbers.below(5) {
                            0 => (StoreChange::Forget(record(n).target), None),
                            _ => {
                                let record = version(n, cycle);
                                let keep = StoreChange::Keep(Box::new(record.clone()));
                                (keep, Some(record))
                            }
                        };
                        changes.push(change);
                        possible.get_mut(&n).unwrap().push(after);
                    }
                    if storage.write(&changes, sync).is_err() {
                        interrupted += 1;
                        break;
                    }
                    if sync {
                        acknowledged += 1;
                        // From here on nothing older can be found.
                        for versions in possible.values_mut() {
                            versions.drain(..versions.len() - 1);
                        }
                    }
                }
            }
        }
        let mut platter = disk.0.lock().unwrap();
        platter.lose_power(&mut numbers);
        platter.calls_left = u64::MAX;
        drop(platter);
        let mut storage = open_on(&disk).unwrap_or_else(|error| panic!("cycle {cycle}: {error}"));
        let page = storage.page(Target::default(), 1_000).unwrap();
        assert_eq!((page.damaged, page.next), (0, None), "cycle {cycle}");
        assert!(page.kept.iter().all(|kept| kept.proven), "cycle {cycle}");
        let found: BTreeMap<Target, StoredRecord> = page
            .kept
            .into_iter()
            .map(|kept| (kept.record.target, kept.record))
            .collect();
        for (n, versions) in &mut possible {
            let now = found.get(&record(*n).target).cloned();
            assert!(
                versions.contains(&now),
                "cycle {cycle}, {n}: {now:?} of {versions:?}"
            );
            *versions = vec![now];
        }
    }
    // It did happen.
    assert!(
        interrupted > 300 && opening > 5 && acknowledged > 500,
        "{interrupted}, {opening}, {acknowledged}"
    );
}
