//! DMSG servers remembered across runs, so that a node can start while its discovery is
//! unavailable.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use skydht_dmsg::discovery::KnownServer;

use crate::failure::{Code, Failure, Result};
use crate::private_file;

/// Maximum number of remembered servers.
const MOST_SERVERS: usize = 64;
/// Largest file, in bytes; a longer one is treated as damaged.
const MOST_BYTES: u64 = 64 * 1024;
const SCHEMA: &str = "skydht.known-servers/1";

#[derive(Serialize, Deserialize)]
struct Contents<T> {
    schema: String,
    servers: Vec<T>,
}

#[derive(Serialize, Deserialize)]
struct Known {
    key: PublicKey,
    address: SocketAddr,
}

/// The servers of earlier answers. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct KnownServers(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `None`: the servers are not saved.
    path: Option<PathBuf>,
    servers: Mutex<Vec<KnownServer>>,
}

impl KnownServers {
    /// Loads the servers from a file, which is rewritten when they change. An unusable file is
    /// logged and replaced.
    pub(crate) fn of(path: PathBuf) -> Self {
        let servers = load(&path).unwrap_or_else(|failure| {
            tracing::warn!("remembered DMSG servers are ignored: {failure}");
            Vec::new()
        });
        Self(Arc::new(Inner {
            path: Some(path),
            servers: Mutex::new(servers),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<KnownServer>> {
        let servers = self.0.servers.lock();
        servers.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<KnownServer> {
        self.lock().clone()
    }

    /// Replaces the servers by those that the discovery named. An empty answer is ignored.
    pub(crate) fn learn(&self, named: &[KnownServer]) {
        let mut named = named.to_vec();
        named.sort();
        named.dedup();
        named.truncate(MOST_SERVERS);
        {
            let mut servers = self.lock();
            if named.is_empty() || *servers == named {
                return;
            }
            servers.clone_from(&named);
        }
        let Some(path) = self.0.path.clone() else {
            return;
        };
        tokio::task::spawn_blocking(move || match save(&path, &named) {
            Ok(()) => tracing::debug!(count = named.len(), "DMSG servers remembered"),
            Err(failure) => tracing::warn!("DMSG servers cannot be remembered: {failure}"),
        });
    }
}

fn save(path: &Path, servers: &[KnownServer]) -> Result<()> {
    let known = servers.iter().map(|server| Known {
        key: server.key,
        address: server.address,
    });
    let contents = Contents {
        schema: SCHEMA.into(),
        servers: known.collect(),
    };
    let text = serde_json::to_vec_pretty(&contents);
    let text = text.map_err(|error| Failure::new(Code::Local, error))?;
    private_file::replace(path, &text)
}

fn load(path: &Path) -> Result<Vec<KnownServer>> {
    if path.symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    let text = private_file::read(path, MOST_BYTES)?;
    let damaged = |why: &dyn std::fmt::Display| {
        let text = format!("{} is damaged: {why}", path.display());
        Failure::new(Code::Config, text)
    };
    let contents: Contents<serde_json::Value> =
        serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
    if contents.schema != SCHEMA {
        return Err(damaged(&format_args!("its schema is not {SCHEMA}")));
    }
    // An invalid entry is skipped; the others are used.
    let entries = contents.servers.into_iter().take(MOST_SERVERS);
    let usable = entries.filter_map(|entry| serde_json::from_value::<Known>(entry).ok());
    let usable = usable.filter(|it| it.key.check_curve().is_ok() && it.address.port() != 0);
    let servers = usable.map(|known| KnownServer {
        key: known.key,
        address: known.address,
    });
    Ok(servers.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;

    fn server(port: u16) -> KnownServer {
        KnownServer {
            key: crate::keys::generate().unwrap().public(),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    #[test]
    fn a_bad_entry_is_left_out_alone() {
        let dir = TempDir::new("serverpart");
        let path = dir.0.join("servers.json");
        let good = server(1);
        let entry = format!(r#"{{"key": "{}", "address": "127.0.0.1:1"}}"#, good.key);
        let text = format!(r#"{{"schema": "{SCHEMA}", "servers": [1, {{}}, {entry}]}}"#);
        private_file::replace(&path, text.as_bytes()).unwrap();
        assert_eq!(load(&path).unwrap(), [good]);
    }

    #[test]
    fn what_the_discovery_named_last_is_there_at_the_next_start() {
        let dir = TempDir::new("knownservers");
        let path = dir.0.join("servers.json");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let named: Vec<_> = (1..=100).map(server).collect();
        {
            // Dropping the runtime waits for the blocking write.
            let _inside = runtime.enter();
            let servers = KnownServers::of(path.clone());
            servers.learn(&named);
            servers.learn(&[]);
            assert_eq!(servers.all().len(), MOST_SERVERS);
        }
        drop(runtime);
        let again = KnownServers::of(path).all();
        assert_eq!(again.len(), MOST_SERVERS);
        assert!(again.iter().all(|server| named.contains(server)));
    }

    #[test]
    fn a_damaged_file_is_named_and_counts_as_none() {
        let dir = TempDir::new("knownserversbad");
        let path = dir.0.join("servers.json");
        assert!(load(&path).unwrap().is_empty());
        for text in ["{", "{\"schema\":\"x\",\"servers\":[]}", ""] {
            private_file::replace(&path, text.as_bytes()).unwrap();
            let failure = load(&path).unwrap_err();
            assert!(failure.message.contains("is damaged"), "{failure}");
            assert!(KnownServers::of(path.clone()).all().is_empty());
        }
    }
}
