//! What keeps hosts' records, as a model: disks that lose power, fill up and lie about what they
//! synced, and a Redis that several hosts share and that fails over.
//!
//! Both are [`Storage`](skydht_driver::storage::Storage) as the driver knows it, and pass its
//! conformance suite.

mod disk;
mod queue;
mod redis;

use skydht_core::mark::MarkChange;
use skydht_core::node::StoreChange;
use skydht_driver::storage::{Storage as _, StorageError};

pub use disk::FaultyDisk;
pub(crate) use queue::{Queue, SYNC_EVERY};
pub(crate) use redis::POLL;
pub use redis::{Redis, RedisClient};

/// How a host keeps its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Setup {
    /// Each write is synced; otherwise what was written is synced once a second.
    pub(crate) sync: bool,
    /// The disk says that it synced, and did not.
    pub(crate) lies: bool,
    /// In the Redis of the world rather than on a disk.
    pub(crate) shared: bool,
}

impl Setup {
    /// On a disk that does what it says.
    pub(crate) const SOUND: Self = Self {
        sync: true,
        lies: false,
        shared: false,
    };
}

/// A host's storage.
pub(crate) enum Engine {
    Disk(FaultyDisk),
    Redis(RedisClient),
}

impl Engine {
    pub(crate) fn write(
        &mut self,
        changes: &[StoreChange],
        marks: &[MarkChange],
        sync: bool,
    ) -> Result<(), StorageError> {
        match self {
            Self::Disk(disk) => disk
                .write_marks(marks)
                .and_then(|()| disk.write(changes, sync)),
            Self::Redis(client) => client.write(changes, sync),
        }
    }
}

#[cfg(test)]
mod tests;
