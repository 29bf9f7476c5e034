//! What a node keeps between runs: its key, the API's token and address, the peers it knows.

use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::private_file;

/// Longer files of ours are damaged.
const MOST_BYTES: u64 = 1 << 20;

/// The directory of one node.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

/// Held while a node runs on the directory; the system releases it, whatever happens.
#[derive(Debug)]
pub(crate) struct Running {
    _lock: File,
}

/// Where a running node's control API is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// Its URL.
    pub(crate) url: String,
    /// The node's key.
    pub(crate) key: PublicKey,
}

impl StateDir {
    /// The directory; nothing is made yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.into())
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory and takes it for this process.
    pub(crate) fn take(&self) -> Result<Running> {
        private_file::create_dir(&self.0)?;
        let path = self.0.join("lock");
        let lock =
            File::create(&path).map_err(|error| private_file::failed("create", &path, &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Running { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::new(
                Code::Exists,
                format_args!("another node runs on {}", self.0.display()),
            )
            .hint("stop it, or give this one a directory of its own with --state-dir")),
            Err(TryLockError::Error(error)) => Err(private_file::failed("lock", &path, &error)),
        }
    }

    /// The file with the API's token.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.0.join("api.token")
    }

    /// The API's token; made if it is not there.
    pub(crate) fn make_token(&self) -> Result<Zeroizing<String>> {
        let path = self.token_file();
        if path.exists() {
            return read_token(&path);
        }
        let bytes = Zeroizing::new(crate::random_bytes()?);
        let token = Zeroizing::new(HEXLOWER.encode(&*bytes));
        let line = Zeroizing::new(format!("{}\n", *token));
        private_file::create(&path, line.as_bytes())?;
        Ok(token)
    }

    /// Tells other commands where the API is.
    pub(crate) fn write_endpoint(&self, addr: SocketAddr, key: PublicKey) -> Result<Endpoint> {
        let endpoint = Endpoint {
            url: format!("http://{addr}"),
            key,
        };
        let text =
            serde_json::to_vec(&endpoint).map_err(|error| Failure::new(Code::Local, error))?;
        private_file::replace(&self.endpoint_file(), &text)?;
        Ok(endpoint)
    }

    /// Where the API is, if a node runs here or crashed here.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let text = private_file::read(&self.endpoint_file(), MOST_BYTES).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Says that the API is gone. A leftover does no harm: commands then find nobody there.
    pub(crate) fn remove_endpoint(&self) {
        let _ = fs::remove_file(self.endpoint_file());
    }

    /// The file with the peers that are remembered.
    pub(crate) fn peers_file(&self) -> PathBuf {
        self.0.join("peers.json")
    }

    fn endpoint_file(&self) -> PathBuf {
        self.0.join("api.json")
    }
}

/// Reads a token file.
pub(crate) fn read_token(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(private_file::read(path, 256)?);
    let token = bytes.trim_ascii();
    if token.len() < 32 || !token.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Failure::new(
            Code::Config,
            format_args!(
                "{} holds no token: at least 32 letters and digits are wanted",
                path.display()
            ),
        )
        .hint("remove the file and start the node again"));
    }
    Ok(Zeroizing::new(String::from_utf8_lossy(token).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;

    #[test]
    fn a_directory_belongs_to_one_node_at_a_time() {
        let dir = TempDir::new("lock");
        let state = StateDir::new(&dir.0.join("a/b"));
        let first = state.take().unwrap();
        assert_eq!(state.take().unwrap_err().code, Code::Exists);
        drop(first);
        assert!(state.take().is_ok());
    }

    #[test]
    fn the_token_stays_and_is_private() {
        let dir = TempDir::new("token");
        let state = StateDir::new(&dir.0);
        let token = state.make_token().unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(*state.make_token().unwrap(), *token);
        assert_eq!(*read_token(&state.token_file()).unwrap(), *token);
        fs::write(state.token_file(), "short").unwrap();
        assert_eq!(state.make_token().unwrap_err().code, Code::Config);
    }

    #[test]
    fn the_endpoint_reads_back_and_damage_counts_as_absence() {
        let dir = TempDir::new("endpoint");
        let state = StateDir::new(&dir.0);
        let key = crate::keys::generate().unwrap().public();
        let endpoint = state
            .write_endpoint("127.0.0.1:9".parse().unwrap(), key)
            .unwrap();
        assert_eq!(state.endpoint(), Some(endpoint));
        private_file::replace(&state.endpoint_file(), b"{").unwrap();
        assert_eq!(state.endpoint(), None);
    }
}
