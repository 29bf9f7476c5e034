//! The interface of a storage: records by target in pages, and changes by other nodes.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, StoredMark};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;

/// A stored record.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// The record as it was written.
    pub record: StoredRecord,
    /// Whether storage proves that this node wrote it, so that its signature need not be verified
    /// again.
    pub proven: bool,
}

/// A page of stored records.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Page {
    /// Records in the order of their targets.
    pub kept: Vec<Kept>,
    /// Number of values that are not records. They stay in storage.
    pub damaged: usize,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Target>,
}

/// Changes in a storage to which other nodes write, too.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct News {
    /// Records that other nodes wrote.
    pub kept: Vec<Kept>,
    /// Number of new values that are not records.
    pub damaged: usize,
    /// Targets whose record was lost: the node writes its own records of them again.
    pub wanted: Vec<Target>,
    /// Whether there are more changes, so that it should be polled again soon.
    pub more: bool,
}

/// Why storage failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// It may work later: a full disk, a lost connection.
    #[error("{0}")]
    Unavailable(String),
    /// It needs the operator: a damaged file.
    #[error("{0}")]
    Damaged(String),
    /// It does not provide what the configuration requires: a server that does not sync.
    #[error("{0}")]
    Unsuitable(String),
}

/// A store of records by target. All calls block, and come from one thread.
///
/// [`crate::testing::storage_conformance`] tests an implementation.
pub trait Storage: Send + 'static {
    /// Returns its kind as one word for users, such as `file` or `memory`.
    fn kind(&self) -> &'static str;

    /// Returns the first records at or after `from`, at most `most`, which is at least 1.
    ///
    /// # Errors
    /// [`StorageError`].
    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError>;

    /// Returns the record at `target`.
    ///
    /// # Errors
    /// [`StorageError`].
    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError>;

    /// Writes all of `changes` or none; of several for one target the last one applies. With
    /// `sync`, they and everything written before are durable when this returns.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing was written, or in a shared storage perhaps a part. The call
    /// can be repeated, since a record never replaces one of higher rank.
    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError>;

    /// Returns the marks (see [`skydht_core::mark`]) that this node has provably written: what it
    /// remembers of targets after their items. Storage without proofs returns none.
    ///
    /// # Errors
    /// [`StorageError`].
    fn marks(&mut self) -> Result<Vec<StoredMark>, StorageError> {
        Ok(Vec::new())
    }

    /// Writes all of `changes` or none. They are durable after the next [`Storage::write`] with
    /// `sync`.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing was written.
    fn write_marks(&mut self, changes: &[MarkChange]) -> Result<(), StorageError> {
        let _ = changes;
        Ok(())
    }

    /// Returns whether data written with `sync` survives a power failure.
    fn is_durable(&self) -> bool;

    /// Returns whether other nodes write to it, too. A shared storage keeps forgotten records while
    /// they live, since other nodes may store them, proves nothing, and must be polled for changes.
    fn is_shared(&self) -> bool {
        false
    }

    /// Returns the interval between two polls; `None` if it need not be polled.
    fn poll_every(&self) -> Option<Duration> {
        None
    }

    /// Returns what other nodes have written since the last call.
    ///
    /// # Errors
    /// [`StorageError`].
    fn poll(&mut self) -> Result<News, StorageError> {
        Ok(News::default())
    }
}

/// Returns the target of a change.
pub(crate) fn target_of(change: &StoreChange) -> Target {
    match change {
        StoreChange::Keep(record) => record.target,
        StoreChange::Forget(target) => *target,
    }
}
