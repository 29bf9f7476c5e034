//! Tests of power failures at any moment, on a simulated disk that drops what was not synced and
//! tears what was being written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::*;
use crate::testing::record;
use skydht_core::item::{Origin, Seq};
use skydht_core::time::Unix;

/// Bytes that are written atomically; the rest of a write may be lost.
const SECTOR: usize = 512;
const CYCLES: u64 = 500;
const TARGETS: u64 = 40;
/// Maximum number of writes in one cycle; the power mostly fails before.
const MOST_WRITES: u64 = 200;

/// A pseudorandom sequence of numbers, the same for each seed.
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
    /// What reads return.
    seen: Vec<u8>,
    /// What survives a power failure for certain.
    durable: Vec<u8>,
    /// What was written since the last sync, in order.
    pending: Vec<Pending>,
    /// Number of calls until the power fails.
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

    /// Lets some of the pending writes reach the disk, in parts and in any order.
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

/// Versions of a target that may be found after a power failure; `None` is no record.
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
            // The power may fail while the file is opened or created.
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
                        // From here on no older version may be found.
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
    // Power failures did happen.
    assert!(
        interrupted > 300 && opening > 5 && acknowledged > 500,
        "{interrupted}, {opening}, {acknowledged}"
    );
}

const ROUNDS: u64 = 300;

fn mark(n: u64) -> StoredMark {
    StoredMark {
        target: record(n).target,
        kind: MarkKind::Deleted,
        origin: Origin::Owner,
        seq: Seq(n),
        expires: Some(Unix(4_000_000_000_000_000_000)),
        lasting: false,
    }
}

/// Creates a file as version 1 wrote it, without a table of marks.
fn of_version_1(disk: &Disk, records: u64) {
    let key = [7; 32];
    let database = Database::builder().create_with_backend(disk.clone());
    let database = database.unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut meta = write.open_table(META).unwrap();
        meta.insert("format", [1].as_slice()).unwrap();
        meta.insert("owner", code(&key, b"owner").as_slice())
            .unwrap();
        let mut items = write.open_table(ITEMS).unwrap();
        for n in 0..records {
            let mut value = record(n).encode();
            let code = code(&key, &value);
            value.extend_from_slice(&code);
            items
                .insert(record(n).target.as_bytes(), value.as_slice())
                .unwrap();
        }
    }
    write.commit().unwrap();
}

fn format_of(disk: &Disk) -> u8 {
    let database = Database::builder()
        .create_with_backend(disk.clone())
        .unwrap();
    let meta = database.begin_read().unwrap().open_table(META).unwrap();
    meta.get("format").unwrap().unwrap().value()[0]
}

fn unlimited() -> Disk {
    let disk = Disk::default();
    disk.0.lock().unwrap().calls_left = u64::MAX;
    disk
}

#[test]
fn a_file_of_the_version_before_is_changed_in_one_transaction_and_loses_nothing() {
    let mut numbers = Numbers(0xfade);
    let (mut before, mut after) = (0, 0);
    for round in 0..ROUNDS {
        let disk = unlimited();
        of_version_1(&disk, 20);
        // The power fails during the upgrade.
        disk.0.lock().unwrap().calls_left = numbers.below(120);
        drop(open_on(&disk));
        let mut platter = disk.0.lock().unwrap();
        platter.lose_power(&mut numbers);
        platter.calls_left = u64::MAX;
        drop(platter);
        match format_of(&disk) {
            1 => before += 1,
            FORMAT => after += 1,
            other => panic!("round {round}: format {other}"),
        }
        let mut storage = open_on(&disk).unwrap_or_else(|error| panic!("round {round}: {error}"));
        let page = storage.page(Target::default(), 100).unwrap();
        assert_eq!((page.kept.len(), page.damaged), (20, 0));
        assert!(page.kept.iter().all(|kept| kept.proven));
        assert_eq!(storage.marks(), Ok(Vec::new()));
        storage.write_marks(&[MarkChange::Keep(mark(1))]).unwrap();
        storage.write(&[], true).unwrap();
        drop(storage);
        assert_eq!(format_of(&disk), FORMAT);
        assert_eq!(open_on(&disk).unwrap().marks(), Ok(vec![mark(1)]));
    }
    assert!(before > 20 && after > 20, "{before}, {after}");
}

#[test]
fn a_file_of_a_later_version_or_of_none_is_refused_and_left_as_it_is() {
    for (format, owner) in [
        (FORMAT + 1, true),
        (200, true),
        (0, true),
        (1, false),
        (FORMAT, false),
    ] {
        let disk = unlimited();
        of_version_1(&disk, 3);
        let database = Database::builder()
            .create_with_backend(disk.clone())
            .unwrap();
        let write = database.begin_write().unwrap();
        {
            let mut meta = write.open_table(META).unwrap();
            meta.insert("format", [format].as_slice()).unwrap();
            if !owner {
                meta.insert("owner", [1; 32].as_slice()).unwrap();
            }
        }
        write.commit().unwrap();
        drop(database);
        let error = open_on(&disk).err();
        match (owner, &error) {
            (true, Some(FileError::Format { format: found, .. })) => assert_eq!(*found, format),
            (false, Some(FileError::OtherKey { .. })) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(format_of(&disk), format);
    }
}

#[test]
fn a_mark_that_this_node_did_not_write_there_is_not_believed() {
    let disk = unlimited();
    let mut storage = open_on(&disk).unwrap();
    let keep = |n| MarkChange::Keep(mark(n));
    storage
        .write_marks(&[keep(1), keep(2), keep(3), keep(4)])
        .unwrap();
    let forget = MarkChange::Forget(MarkKind::Deleted, mark(4).target);
    storage.write_marks(&[forget]).unwrap();
    storage.write(&[], true).unwrap();
    drop(storage);
    let database = Database::builder()
        .create_with_backend(disk.clone())
        .unwrap();
    let write = database.begin_write().unwrap();
    {
        let mut marks = write.open_table(MARKS).unwrap();
        let place = |n| mark_key((MarkKind::Deleted, mark(n).target));
        let value = |n: u64, marks: &redb::Table<'_, &[u8], &[u8]>| {
            marks
                .get(place(n).as_slice())
                .unwrap()
                .unwrap()
                .value()
                .to_vec()
        };
        // One bit changed; another mark under this key; a value that is too short.
        let mut changed = value(1, &marks);
        changed[36] ^= 1;
        marks
            .insert(place(1).as_slice(), changed.as_slice())
            .unwrap();
        let others = value(3, &marks);
        marks
            .insert(place(2).as_slice(), others.as_slice())
            .unwrap();
        marks.insert([9].as_slice(), [1, 2, 3].as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    assert_eq!(open_on(&disk).unwrap().marks(), Ok(vec![mark(3)]));
}
