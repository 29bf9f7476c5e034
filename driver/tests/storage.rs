//! Storage and the queue before it, with real files.

#![cfg(feature = "redb")]

use std::path::{Path, PathBuf};

use skydht_core::id::Target;
use skydht_core::key::SecretKey;
use skydht_core::node::StoreChange;
use skydht_driver::storage::{FileError, FileStorage, MemoryStorage, Storage, StorageError};
use skydht_driver::testing::{record, storage_conformance};

/// A directory that goes with the test.
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
    // What another process would find after a crash.
    let copy = dir.0.join("copy.redb");
    std::fs::copy(dir.file(), &copy).unwrap();
    let mut found = FileStorage::open(&copy, &secret(1)).unwrap();
    assert_eq!(found.len().unwrap(), 2);
}

/// One bit of a value is changed in the file.
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
        // The library's own checksums may have noticed.
        Err(FileError::Damaged { .. }) => {}
        Err(other) => panic!("{other}"),
        Ok(mut storage) => match storage.page(Target::default(), 10) {
            Ok(page) => assert!(page.kept.iter().all(|kept| !kept.proven), "{page:?}"),
            Err(error) => assert!(matches!(error, StorageError::Damaged(_)), "{error}"),
        },
    }
}
