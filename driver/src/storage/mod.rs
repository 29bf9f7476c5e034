//! Where a node's items live across restarts.
//!
//! A [`Storage`] is a plain store of records by target: it knows no rules, the core judges. It is
//! synchronous and runs on a thread of its own, which [`Persistence`] starts: the event loop hands
//! in changes, and learns which of them are durable and what earlier runs have left.

#[cfg(feature = "redb")]
mod file;
mod memory;
mod queue;

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;

#[cfg(feature = "redb")]
pub use file::{FileError, FileStorage};
pub use memory::MemoryStorage;
pub(crate) use queue::StorageQueue;
pub use queue::{Durability, Persistence, StorageHealth, StorageStats};

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

    /// Writes all of `changes` or none; of two for one target the later counts. With `sync` they
    /// are durable when this returns, and so is everything written before.
    ///
    /// # Errors
    /// [`StorageError`]; then nothing was written.
    fn write(&mut self, changes: &[StoreChange], sync: bool) -> Result<(), StorageError>;

    /// Whether what was written with `sync` survives the loss of power.
    fn is_durable(&self) -> bool;
}

/// Where a change belongs.
pub(crate) fn target_of(change: &StoreChange) -> Target {
    match change {
        StoreChange::Keep(record) => record.target,
        StoreChange::Forget(target) => *target,
    }
}
