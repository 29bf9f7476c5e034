//! Models of the storage of hosts: disks that lose power, fill up and lie about syncs, and a Redis
//! that several hosts share and that fails over.
//!
//! Both implement the driver's [`Storage`](skydht_driver::storage::Storage) and pass its
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

/// How a host stores its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Setup {
    /// Each write is synced; otherwise data is synced once a second.
    pub(crate) sync: bool,
    /// The disk confirms syncs without doing them.
    pub(crate) lies: bool,
    /// Records are in the shared Redis instead of on a disk.
    pub(crate) shared: bool,
}

impl Setup {
    /// A disk that works correctly.
    pub(crate) const SOUND: Self = Self {
        sync: true,
        lies: false,
        shared: false,
    };
}

/// The storage of a host.
pub(crate) enum Engine {
    Disk(FaultyDisk),
    Redis(RedisClient),
}

impl Engine {
    /// Writes changes and marks. The shared Redis keeps no marks, as it cannot prove which node
    /// wrote them.
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
