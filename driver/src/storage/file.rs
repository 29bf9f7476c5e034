//! Storage in a single file, using redb.
//!
//! # Format, version 2
//!
//! Table `meta`: `format` is the byte 2; `owner` is the authentication code of the text `owner`.
//!
//! Table `items`: target (32 bytes) to an encoded [`StoredRecord`] and its authentication code (32
//! bytes), which is HMAC-SHA256 of the record's bytes under a key derived from the node's secret. A
//! record with a valid code was written, and therefore verified, by this node. One with an invalid
//! code is passed to the core as unproven, and its signature is verified again. A value that does
//! not decode, or whose target differs from its key, is counted and left in place.
//!
//! Table `marks`: kind (one byte) and target to an encoded [`StoredMark`] and its code. A mark with
//! an invalid code is ignored.
//!
//! Version 1 had no marks. A file of an earlier version is upgraded when it is opened, in one
//! transaction, so that it has either version even after a power failure.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use redb::backends::FileBackend;
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, StorageBackend,
    TableDefinition,
};
use sha2::Sha256;
use skydht_core::id::Target;
use skydht_core::key::SecretKey;
use skydht_core::mark::{MarkChange, MarkKind, StoredMark};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use zeroize::Zeroizing;

use super::{Kept, Page, Storage, StorageError};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ITEMS: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("items");
const MARKS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("marks");
/// The version that is written; earlier ones are upgraded to it.
const FORMAT: u8 = 2;
/// Purpose in the derivation of the authentication key.
const KEY_PURPOSE: &[u8] = b"skydht storage of items";
/// Length of an authentication code, in bytes.
const CODE_LEN: usize = 32;
/// Maximum size of redb's page cache, in bytes; never more than the file. Half of it may be changed
/// pages: a batch of 4,096 items changes some 16 MiB, and pages that do not fit are written early.
const CACHE_SIZE: usize = 48 << 20;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It cannot be opened or created.
    #[error("cannot open {path}: {error}")]
    Open {
        /// Path of the file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// Another process, or another node of this process, has it open.
    #[error("{path} is in use: another node runs with it")]
    InUse {
        /// Path of the file.
        path: PathBuf,
    },
    /// It was written by a node with another key.
    #[error("{path} holds the items of a node with another key")]
    OtherKey {
        /// Path of the file.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error("{path} has format {format}, this version knows {FORMAT}")]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// The format of the file.
        format: u8,
    },
    /// It is not a storage file, or is damaged.
    #[error("{path} is damaged, or no storage of items: {what}")]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Items in a file that one node has open at a time.
pub struct FileStorage {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
    /// `None` after an error of the disk: the next call opens the file again.
    database: Option<Database>,
}

impl FileStorage {
    /// Opens the file at `path`, or creates it with access for its owner only.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path, secret: &SecretKey) -> Result<Self, FileError> {
        let mut storage = Self::later(path, secret);
        storage.database = Some(storage.open_database()?);
        Ok(storage)
    }

    /// Creates the storage without opening its file. Every call tries to, until it succeeds.
    #[must_use]
    pub fn later(path: &Path, secret: &SecretKey) -> Self {
        Self {
            path: path.to_owned(),
            key: Zeroizing::new(code(&secret.to_bytes(), KEY_PURPOSE)),
            database: None,
        }
    }

    /// Opens the database. A file that this created is removed again if it fails.
    fn open_database(&self) -> Result<Database, FileError> {
        let is_new = !self.path.exists();
        let opened = self.try_open_database();
        if opened.is_err() && is_new {
            // An error means that it was not created, or that it cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
        opened
    }

    fn try_open_database(&self) -> Result<Database, FileError> {
        let path = || self.path.clone();
        let file = open_private(&self.path).map_err(|error| FileError::Open {
            path: path(),
            error,
        })?;
        let backend = FileBackend::new(file).map_err(|error| self.file_error(error.into()))?;
        self.open_on(backend)
    }

    fn open_on(&self, backend: impl StorageBackend) -> Result<Database, FileError> {
        let mut builder = Database::builder();
        // redb trusts a file that was closed cleanly, and panics or hangs if it was changed since.
        // Reading it once takes less than a second for 100,000 items.
        builder
            .set_cache_size(CACHE_SIZE)
            .set_check_integrity_on_open(true);
        let opened = builder.create_with_backend(backend);
        let database = opened.map_err(|error| self.file_error(error.into()))?;
        self.check_meta(&database)?;
        Ok(database)
    }

    /// Checks the format and the owner of the file; a new file is assigned to this node.
    fn check_meta(&self, database: &Database) -> Result<(), FileError> {
        let path = || self.path.clone();
        let owner = code(&self.key, b"owner");
        let run = || -> Result<Option<FileError>, redb::Error> {
            let write = database.begin_write()?;
            let wrong = {
                let mut meta = write.open_table(META)?;
                let format = meta.get("format")?.map(|format| format.value().to_vec());
                let owned = meta.get("owner")?.map(|owner| owner.value().to_vec());
                match (format.as_deref(), owned) {
                    (None, None) => {
                        meta.insert("format", [FORMAT].as_slice())?;
                        meta.insert("owner", owner.as_slice())?;
                        None
                    }
                    (Some([1..=FORMAT]), Some(owned)) if owned == owner => {
                        meta.insert("format", [FORMAT].as_slice())?;
                        None
                    }
                    (Some([1..=FORMAT]), _) => Some(FileError::OtherKey { path: path() }),
                    (Some([format]), _) => Some(FileError::Format {
                        path: path(),
                        format: *format,
                    }),
                    _ => Some(FileError::Damaged {
                        path: path(),
                        what: "it says neither its format nor whose it is".into(),
                    }),
                }
            };
            write.open_table(ITEMS)?;
            write.open_table(MARKS)?;
            match wrong {
                None => write.commit()?,
                Some(_) => write.abort()?,
            }
            Ok(wrong)
        };
        match run() {
            Ok(None) => Ok(()),
            Ok(Some(wrong)) => Err(wrong),
            Err(error) => Err(self.file_error(error)),
        }
    }

    fn file_error(&self, error: redb::Error) -> FileError {
        let path = self.path.clone();
        match error {
            redb::Error::DatabaseAlreadyOpen => FileError::InUse { path },
            redb::Error::Io(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                FileError::Open { path, error }
            }
            error => FileError::Damaged {
                path,
                what: error.to_string(),
            },
        }
    }

    fn database(&mut self) -> Result<&Database, StorageError> {
        if self.database.is_none() {
            self.database = Some(self.open_database().map_err(|error| match error {
                FileError::Damaged { .. } | FileError::OtherKey { .. } => {
                    StorageError::Damaged(error.to_string())
                }
                error => StorageError::Unavailable(error.to_string()),
            })?);
        }
        self.database.as_ref().ok_or_else(|| {
            StorageError::Unavailable(format!("{} is not open", self.path.display()))
        })
    }

    fn run<T>(
        &mut self,
        what: impl FnOnce(&Database, &[u8; 32]) -> Result<T, redb::Error>,
    ) -> Result<T, StorageError> {
        let key = self.key.clone();
        let result = what(self.database()?, &key);
        result.map_err(|error| {
            // After a failed write, redb rejects all operations until the file is opened again.
            self.database = None;
            let path = self.path.display();
            match &error {
                redb::Error::Corrupted(what) => {
                    StorageError::Damaged(format!("{path} is damaged: {what}"))
                }
                _ => StorageError::Unavailable(format!("{path}: {error}")),
            }
        })
    }

    /// Returns the number of items.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn len(&mut self) -> Result<u64, StorageError> {
        self.run(|database, _| {
            use redb::ReadableTableMetadata as _;
            Ok(database.begin_read()?.open_table(ITEMS)?.len()?)
        })
    }

    /// Returns whether there are no items.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn is_empty(&mut self) -> Result<bool, StorageError> {
        Ok(self.len()? == 0)
    }

    /// Returns unused space of the file to the file system. Returns whether there was any.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn compact(&mut self) -> Result<bool, StorageError> {
        self.database()?;
        let path = self.path.display();
        let Some(database) = &mut self.database else {
            return Ok(false);
        };
        database
            .compact()
            .map_err(|error| StorageError::Unavailable(format!("{path}: {error}")))
    }
}

impl Storage for FileStorage {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError> {
        self.run(|database, key| {
            let items = database.begin_read()?.open_table(ITEMS)?;
            let mut page = Page::default();
            for entry in items.range(*from.as_bytes()..)? {
                let (target, value) = entry?;
                let target = Target::from_bytes(target.value());
                if page.kept.len() + page.damaged == most {
                    page.next = Some(target);
                    break;
                }
                match kept(key, &target, value.value()) {
                    Some(kept) => page.kept.push(kept),
                    None => page.damaged += 1,
                }
            }
            Ok(page)
        })
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        self.run(|database, key| {
            let items = database.begin_read()?.open_table(ITEMS)?;
            let value = items.get(target.as_bytes())?;
            Ok(value.and_then(|value| kept(key, target, value.value())))
        })
    }

    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError> {
        self.run(|database, key| {
            let mut write = database.begin_write()?;
            write.set_durability(match sync {
                true => Durability::Immediate,
                false => Durability::None,
            })?;
            {
                let mut items = write.open_table(ITEMS)?;
                // In the order of the tree: a page of it is changed once and then written, where
                // changes in any order would have it read and written again. The sort keeps the
                // order of changes at one target.
                let mut changes: Vec<&StoreChange> = changes.iter().collect();
                changes.sort_by_key(|change| target_of(change));
                for change in changes {
                    match change {
                        StoreChange::Keep(record) => {
                            let mut value = record.encode();
                            let code = code(key, &value);
                            value.extend_from_slice(&code);
                            items.insert(record.target.as_bytes(), value.as_slice())?;
                        }
                        StoreChange::Forget(target) => {
                            items.remove(target.as_bytes())?;
                        }
                    }
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    fn marks(&mut self) -> Result<Vec<StoredMark>, StorageError> {
        self.run(|database, key| {
            let marks = database.begin_read()?.open_table(MARKS)?;
            let mut proven = Vec::new();
            for entry in marks.iter()? {
                let (place, value) = entry?;
                proven.extend(proven_mark(key, place.value(), value.value()));
            }
            Ok(proven)
        })
    }

    fn write_marks(&mut self, changes: &[MarkChange]) -> Result<(), StorageError> {
        self.run(|database, key| {
            let mut write = database.begin_write()?;
            write.set_durability(Durability::None)?;
            {
                let mut marks = write.open_table(MARKS)?;
                for change in changes {
                    let place = mark_key(change.place());
                    match change {
                        MarkChange::Keep(mark) => {
                            let mut value = mark.encode().to_vec();
                            let code = code(key, &value);
                            value.extend_from_slice(&code);
                            marks.insert(place.as_slice(), value.as_slice())?;
                        }
                        MarkChange::Forget(..) => {
                            marks.remove(place.as_slice())?;
                        }
                    }
                }
            }
            write.commit()?;
            Ok(())
        })
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// Returns the target that a change concerns.
const fn target_of(change: &StoreChange) -> &Target {
    match change {
        StoreChange::Keep(record) => &record.target,
        StoreChange::Forget(target) => target,
    }
}

/// Decodes a value; `None` if it is not a record of this target.
fn kept(key: &[u8; 32], target: &Target, value: &[u8]) -> Option<Kept> {
    let (record, expected) = value.split_last_chunk::<CODE_LEN>()?;
    let proven = mac(key, record).verify_slice(expected).is_ok();
    let record = StoredRecord::decode(record).ok()?;
    (record.target == *target).then_some(Kept { record, proven })
}

/// Returns the key of a mark in its table.
fn mark_key((kind, target): (MarkKind, Target)) -> [u8; 33] {
    let mut place = [kind as u8; 33];
    place[1..].copy_from_slice(target.as_bytes());
    place
}

/// Decodes a mark; `None` unless this node wrote it under this key.
fn proven_mark(key: &[u8; 32], place: &[u8], value: &[u8]) -> Option<StoredMark> {
    let (bytes, expected) = value.split_last_chunk::<CODE_LEN>()?;
    mac(key, bytes).verify_slice(expected).ok()?;
    let mark = StoredMark::decode(bytes)?;
    (mark_key((mark.kind, mark.target)) == *place).then_some(mark)
}

fn mac(key: &[u8; 32], message: &[u8]) -> Hmac<Sha256> {
    // Pad the key to the block length, as HMAC does.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(message);
    mac
}

fn code(key: &[u8; 32], message: &[u8]) -> [u8; CODE_LEN] {
    mac(key, message).finalize().into_bytes().into()
}

/// Opens or creates a file with access for its owner only.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests;
