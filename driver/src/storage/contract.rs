//! What a storage is to the node: records by target, in pages, and news of others.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::mark::{MarkChange, StoredMark};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;

/// A record that storage holds.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// What was written.
    pub record: StoredRecord,
    /// Storage proves that this node wrote it: its signature need not be checked again.
    pub proven: bool,
}

/// A page of what storage holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Page {
    /// In the order of their targets.
    pub kept: Vec<Kept>,
    /// Values that are no records; they stay where they are, and are counted.
    pub damaged: usize,
    /// Where the next page begins; none after the last.
    pub next: Option<Target>,
}

/// What is new in a storage that others write to, too.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct News {
    /// Records that others wrote.
    pub kept: Vec<Kept>,
    /// New values that are no records.
    pub damaged: usize,
    /// Targets that it had and has lost: what the node holds there is to be written again.
    pub wanted: Vec<Target>,
    /// There is more: ask again soon.
    pub more: bool,
}

/// Why storage did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// It may work later: a full disk, a lost connection.
    #[error("{0}")]
    Unavailable(String),
    /// It will not work without help: a damaged file.
    #[error("{0}")]
    Damaged(String),
    /// It does not do what the configuration asks for: a server that does not sync.
    #[error("{0}")]
    Unsuitable(String),
}

/// Records by target. All calls block, and come from one thread.
///
/// [`crate::testing::storage_conformance`] checks an implementation.
pub trait Storage: Send + 'static {
    /// What it is, in a word for people: `file`, `memory`.
    fn kind(&self) -> &'static str;

    /// The first records at or after `from`, at most `most`, which is at least 1.
    ///
    /// # Errors
    /// [`StorageError`].
    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError>;

    /// The record at `target`.
    ///
    /// # Errors
    /// [`StorageError`].
    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError>;

    /// Writes all of `changes` or none; of two for one target the later counts. With `sync` they
    /// are durable when this returns, and so is everything written before.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing was written, or, where it is shared, perhaps some of it: a
    /// record of lower rank than the one there is never written, so it can be tried again.
    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError>;

    /// What is remembered of targets beyond the lives of their items: those marks that it proves
    /// this node wrote. Storage that proves nothing keeps none.
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

    /// Whether what was written with `sync` survives the loss of power.
    fn is_durable(&self) -> bool;

    /// Whether others write to it, too. It then keeps what is forgotten while that lives, as
    /// others may hold it, proves nothing, and has to be asked for news.
    fn is_shared(&self) -> bool {
        false
    }

    /// How often to ask for news; none: there are none.
    fn poll_every(&self) -> Option<Duration> {
        None
    }

    /// What others wrote since the last time.
    ///
    /// # Errors
    /// [`StorageError`].
    fn poll(&mut self) -> Result<News, StorageError> {
        Ok(News::default())
    }
}

/// Where a change belongs.
pub(crate) fn target_of(change: &StoreChange) -> Target {
    match change {
        StoreChange::Keep(record) => record.target,
        StoreChange::Forget(target) => *target,
    }
}
