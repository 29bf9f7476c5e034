//! Tests of storage and its queue, with real files.

#![cfg(feature = "redb")]

use std::path::{Path, PathBuf};

use skydht_core::id::Target;
use skydht_core::key::SecretKey;
use skydht_core::node::StoreChange;
use skydht_driver::storage::{FileError, FileStorage, MemoryStorage, Storage, StorageError};
use skydht_driver::testing::{record, storage_conformance};

/// A directory that is removed with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("skydht-storage-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("items.redb")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

fn open(path: &Path) -> FileStorage {
    FileStorage::open(path, &secret(1)).unwrap()
}

fn keep(n: u64) -> StoreChange {
    StoreChange::Keep(Box::new(record(n)))
}

#[test]
fn memory_and_file_conform() {
    let memory = MemoryStorage::default();
    storage_conformance(|| memory.clone());
    let dir = Dir::new("conforms");
    storage_conformance(|| open(&dir.file()));
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = Dir::new("mode");
    drop(open(&dir.file()));
    assert_eq!(std::fs::metadata(dir.file()).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_file_in_use_or_of_another_key_is_refused_by_name() {
    let dir = Dir::new("refused");
    let storage = open(&dir.file());
    let again = FileStorage::open(&dir.file(), &secret(1));
    assert!(matches!(again.err(), Some(FileError::InUse { .. })));
    drop(storage);
    let other = FileStorage::open(&dir.file(), &secret(2));
    assert!(matches!(other.err(), Some(FileError::OtherKey { .. })));
    drop(open(&dir.file()));
}

#[test]
fn what_is_no_storage_is_refused_and_left_as_it_is() {
    let dir = Dir::new("foreign");
    for content in [&b"hello"[..], &[0; 4_096], &[0xff; 100_000]] {
        std::fs::write(dir.file(), content).unwrap();
        let opened = FileStorage::open(&dir.file(), &secret(1));
        assert!(
            matches!(opened.err(), Some(FileError::Damaged { .. })),
            "{} bytes",
            content.len()
        );
        assert_eq!(std::fs::read(dir.file()).unwrap(), content);
    }
    let missing = FileStorage::open(&dir.0.join("no/such/place"), &secret(1));
    assert!(matches!(missing.err(), Some(FileError::Open { .. })));
    let directory = FileStorage::open(&dir.0, &secret(1));
    assert!(matches!(directory.err(), Some(FileError::Open { .. })));
}

#[test]
fn a_sync_alone_makes_durable_what_was_written_before() {
    let dir = Dir::new("sync");
    let mut storage = open(&dir.file());
    storage.write(&[keep(1), keep(2)], false).unwrap();
    storage.write(&[], true).unwrap();
    // A copy is what another process would find after a crash.
    let copy = dir.0.join("copy.redb");
    std::fs::copy(dir.file(), &copy).unwrap();
    let mut found = FileStorage::open(&copy, &secret(1)).unwrap();
    assert_eq!(found.len().unwrap(), 2);
}

/// Changes one bit of a value in the file.
#[test]
fn a_record_that_was_tampered_with_is_not_proven() {
    let dir = Dir::new("tampered");
    let mut storage = open(&dir.file());
    storage.write(&[keep(1)], true).unwrap();
    drop(storage);
    let whole = std::fs::read(dir.file()).unwrap();
    let needle = b"value 1";
    let at = whole.windows(needle.len()).position(|it| it == needle);
    let mut changed = whole.clone();
    changed[at.unwrap()] ^= 1;
    std::fs::write(dir.file(), &changed).unwrap();
    match FileStorage::open(&dir.file(), &secret(1)) {
        // redb's own checksums may have detected it.
        Err(FileError::Damaged { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(mut storage) => match storage.page(Target::default(), 10) {
            Ok(page) => assert!(page.kept.iter().all(|kept| !kept.proven), "{page:?}"),
            Err(error) => assert!(matches!(error, StorageError::Damaged(_)), "{error}"),
        },
    }
}

/// Damages a file as a disk or an incomplete copy might: truncated, a page of zeros, a page of
/// noise, two pages exchanged.
fn damage(bytes: &mut Vec<u8>, seed: u64) {
    const PAGE: usize = 4096;
    let draw = |n: u64, below: usize| {
        let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ (n << 32));
        usize::try_from((mixed ^ (mixed >> 29)) >> 8).unwrap() % below
    };
    let pages = bytes.len() / PAGE;
    let (one, other) = (draw(1, pages) * PAGE, draw(2, pages) * PAGE);
    match seed % 4 {
        0 => bytes.truncate(draw(3, bytes.len())),
        1 => bytes[one..one + PAGE].fill(0),
        2 => (0..PAGE).for_each(|i| bytes[one + i] = ((i as u64 * (seed + 7)) >> 3) as u8),
        _ => (0..PAGE).for_each(|i| bytes.swap(one + i, other + i)),
    }
}

/// However a file is damaged, opening it terminates, with the remaining records or with an error,
/// and never returns a record that was not written.
#[test]
fn a_damaged_file_is_an_error_and_never_a_panic_or_an_endless_loop() {
    let dir = Dir::new("damaged");
    let mut whole = open(&dir.file());
    for n in 0..40 {
        let changes: Vec<_> = (n * 10..n * 10 + 10).map(keep).collect();
        whole.write(&changes, n % 7 == 0).unwrap();
    }
    whole.write(&[], true).unwrap();
    drop(whole);
    let bytes = std::fs::read(dir.file()).unwrap();
    let (refused, opened) = std::sync::mpsc::channel();
    let path = dir.0.join("damaged.redb");
    let tries = std::thread::spawn(move || {
        for seed in 0..200 {
            let mut damaged = bytes.clone();
            damage(&mut damaged, seed);
            std::fs::write(&path, &damaged).unwrap();
            let mut storage = match FileStorage::open(&path, &secret(1)) {
                Ok(storage) => storage,
                Err(error) => {
                    assert!(
                        matches!(error, FileError::Damaged { .. }),
                        "{seed}: {error}"
                    );
                    refused.send(true).unwrap();
                    continue;
                }
            };
            let page = storage.page(Target::default(), 1_000);
            let kept = page.unwrap_or_else(|error| panic!("{seed}: {error}")).kept;
            assert!(kept.iter().all(|kept| kept.proven), "{seed}");
            let compacted = storage.compact();
            assert!(compacted.is_ok(), "{seed}: {compacted:?}");
            refused.send(false).unwrap();
        }
    });
    let limit = std::time::Duration::from_secs(60);
    let answers: Vec<bool> = (0..200)
        .map(|seed| {
            opened
                .recv_timeout(limit)
                .unwrap_or_else(|_| panic!("{seed} never ends"))
        })
        .collect();
    tries.join().unwrap();
    let refused = answers.iter().filter(|refused| **refused).count();
    assert!((50..200).contains(&refused), "{refused}");
}

/// A file that cannot be opened at the start becomes available later.
#[test]
fn a_file_that_cannot_be_opened_yet_is_tried_again() {
    let dir = Dir::new("later");
    let path = dir.0.join("not-there-yet/items.redb");
    let mut storage = FileStorage::later(&path, &secret(1));
    for _ in 0..2 {
        let error = storage.write(&[keep(1)], true).unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)), "{error}");
    }
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    storage.write(&[keep(1)], true).unwrap();
    drop(storage);
    assert_eq!(open(&path).len().unwrap(), 1);
}
