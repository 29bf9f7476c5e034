//! Storage of a node's items across restarts.
//!
//! A [`Storage`] is a plain store of records by target without rules of its own; the core decides
//! what it contains. It is synchronous and runs on a separate thread that [`Persistence`] starts.
//! The event loop sends changes to it, and receives which of them are durable, what earlier runs
//! have stored, and what other nodes write to a shared storage.

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
