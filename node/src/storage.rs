//! Opens the storage of a node's items: a file or a Redis.

use std::path::{Path, PathBuf};

use skydht_core::key::SecretKey;
use skydht_driver::storage::{
    Durability, FileError, FileStorage, Persistence, RedisStorage, RedisUrl, StorageError,
};

use crate::config::{Settings, StorageLocation};
use crate::failure::{Code, Failure, Result};
use crate::path_text::shown;
use crate::state_dir::StateDir;

/// Maximum number of names tried for a file that is put aside.
const MOST_ASIDE: u32 = 100;

/// Opens the configured storage; `None` if items are not stored. A file that is damaged, or belongs
/// to another key, is renamed and replaced by a new one: items that peers store are restored from
/// them. A file that cannot be opened now is tried again later. Both are logged.
///
/// # Errors
/// The file is in use by another node, has a later version's format, or cannot be renamed.
pub(crate) fn open(
    settings: &Settings,
    state: &StateDir,
    secret: &SecretKey,
) -> Result<Option<Persistence>> {
    match &settings.storage.location {
        StorageLocation::None => return Ok(None),
        StorageLocation::Redis(url) => return open_redis(settings, url).map(Some),
        StorageLocation::File => {}
    }
    let path = state.items_file();
    let opened = match FileStorage::open(&path, secret) {
        Err(error @ (FileError::Damaged { .. } | FileError::OtherKey { .. })) => {
            let aside = put_aside(&path, &error)?;
            tracing::warn!(
                "{error}; it is now {}, and a new one is begun: this node's own items have to be put again",
                shown(&aside)
            );
            FileStorage::open(&path, secret)
        }
        other => other,
    };
    match opened {
        Ok(storage) => Ok(Some(Persistence::new(storage, settings.storage.durability))),
        Err(error @ FileError::Open { .. }) => {
            tracing::warn!("{error}; it is tried again, until then items are kept in memory");
            let storage = FileStorage::later(&path, secret);
            Ok(Some(Persistence::new(storage, settings.storage.durability)))
        }
        Err(error) => {
            let hint = match &error {
                FileError::InUse { .. } => {
                    "stop the other node, or give this one another --state-dir"
                }
                FileError::Format { .. } => "run the version that wrote it, or move the file away",
                _ => "move the file away: what peers hold comes back from them",
            };
            Err(Failure::new(Code::Local, error).hint(hint))
        }
    }
}

/// Opens the Redis. If it is unavailable, the node starts without it; if its configuration is
/// unsuitable, that is an error.
fn open_redis(settings: &Settings, url: &RedisUrl) -> Result<Persistence> {
    let (storage, checked) = redis(settings, url);
    match checked {
        Ok(()) => {}
        Err(error @ StorageError::Unsuitable(_)) => return Err(Failure::new(Code::Config, error)),
        Err(error) => tracing::warn!("{error}; until then items are kept in memory"),
    }
    let durability = settings.storage.durability;
    Ok(Persistence::new(storage, durability))
}

/// Creates the client of a Redis, and checks whether it can be used.
pub(crate) fn redis(
    settings: &Settings,
    url: &RedisUrl,
) -> (RedisStorage, std::result::Result<(), StorageError>) {
    let sync = settings.storage.durability == Durability::Sync;
    let mut storage = RedisStorage::new(url.clone(), settings.node.item_ttl, sync);
    let checked = storage.check();
    (storage, checked)
}

/// Renames a file, so that its content is not lost.
fn put_aside(path: &Path, error: &FileError) -> Result<PathBuf> {
    let why = match error {
        FileError::OtherKey { .. } => "other-key",
        _ => "damaged",
    };
    let name = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{why}-{n}"));
        PathBuf::from(name)
    };
    let free = (1..=MOST_ASIDE).map(name).find(|name| !name.exists());
    let renamed = free.and_then(|name| std::fs::rename(path, &name).ok().map(|()| name));
    renamed.ok_or_else(|| {
        Failure::new(
            Code::Local,
            format_args!("{error}, and it cannot be renamed"),
        )
        .hint("move it away; what peers hold comes back from them")
    })
}
