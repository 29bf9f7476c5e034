//! Where a node's items live across restarts.
//!
//! A [`Storage`] is a plain store of records by target: it knows no rules, the core judges. It is
//! synchronous and runs on a thread of its own, which [`Persistence`] starts: the event loop hands
//! in changes, and learns which of them are durable, what earlier runs have left, and what other
//! nodes write to a storage that is shared.

mod contract;
#[cfg(feature = "redb")]
mod file;
mod memory;
mod queue;
#[cfg(feature = "redis")]
mod redis;

pub use contract::{Kept, News, Page, Storage, StorageError};
#[cfg(feature = "redb")]
pub use file::{FileError, FileStorage};
pub use memory::MemoryStorage;
pub(crate) use queue::{Answer, Loaded, StorageQueue};
pub use queue::{Durability, Persistence, StorageHealth, StorageStats};
#[cfg(feature = "redis")]
pub use redis::{RedisReply, RedisStorage, RedisUrl, RedisUrlError, redis_record, redis_value};
