//! The state directory: a node's key, the API's token and address, known peers and items.

use std::fs::{self, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use skydht_core::key::PublicKey;
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::private_file;

/// Largest file, in bytes; a longer one is treated as damaged.
const MOST_BYTES: u64 = 1 << 20;
/// Largest file with a token, in bytes.
const MOST_TOKEN: u64 = 256;

/// The state directory of a node.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

/// How often a lock file that was replaced meanwhile is opened again.
const MOST_TRIES: u32 = 8;

/// Locks on the state directory while a node runs; the system releases them when the process ends.
#[derive(Debug)]
pub(crate) struct Running {
    /// Lock on the directory itself, which remains if the lock file is removed. `None` if the file
    /// system cannot lock directories.
    _dir: Option<File>,
    /// Lock on the lock file; `None` if the directory is locked, and no file can be created in it.
    _lock: Option<File>,
}

/// The file that contains the API's address for commands. It is removed on drop, unless another
/// node has replaced it.
#[derive(Debug)]
pub(crate) struct Announced {
    state: StateDir,
    endpoint: Endpoint,
}

impl Announced {
    /// Returns the URL of the API.
    pub(crate) fn url(&self) -> &str {
        &self.endpoint.url
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        // A file that is left over is harmless: commands find no node at that address.
        if matches!(self.state.endpoint(), Ok(Some(there)) if there == self.endpoint) {
            let _ = fs::remove_file(self.state.endpoint_file());
        }
    }
}

/// Address of a running node's control API.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    /// Key of the node.
    pub(crate) key: PublicKey,
}

impl StateDir {
    /// Creates the handle; the directory is not created.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Creates and locks the directory. Removes temporary files of earlier processes.
    pub(crate) fn take(&self) -> Result<Running> {
        private_file::create_dir(&self.0)?;
        let dir = match File::open(&self.0).map(|dir| (dir.try_lock(), dir)) {
            Ok((Ok(()), dir)) => Some(dir),
            Ok((Err(TryLockError::WouldBlock), _)) => return Err(self.taken()),
            // The lock file has to suffice.
            Ok((Err(TryLockError::Error(_)), _)) | Err(_) => None,
        };
        let lock = match self.take_lock() {
            Ok(lock) => Some(lock),
            // On a full or read-only disk, the directory's lock has to suffice.
            Err(_) if dir.is_some() && self.is_without_lock() => None,
            Err(failure) => return Err(failure),
        };
        private_file::remove_abandoned(&self.0);
        Ok(Running {
            _dir: dir,
            _lock: lock,
        })
    }

    fn take_lock(&self) -> Result<File> {
        let path = self.lock_file();
        for _ in 0..MOST_TRIES {
            let lock = private_file::open_lock(&path)?;
            match lock.try_lock() {
                Ok(()) if is_at(&lock, &path) => return Ok(lock),
                // The file was replaced between opening and locking.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(self.taken()),
                Err(TryLockError::Error(error)) => {
                    return Err(private_file::failed("lock", &path, &error));
                }
            }
        }
        let error = io::Error::other("something replaces it again and again");
        Err(private_file::failed("lock", &path, &error))
    }

    /// Returns whether there is no lock file, as in a directory in which no file can be created.
    fn is_without_lock(&self) -> bool {
        self.lock_file().symlink_metadata().is_err()
    }

    fn taken(&self) -> Box<Failure> {
        Failure::new(
            Code::Exists,
            format_args!("another node runs on {}", self.0.display()),
        )
        .hint("stop it, or give this one a directory of its own with --state-dir")
    }

    /// Returns whether a node runs with this directory.
    pub(crate) fn is_taken(&self) -> bool {
        let is_locked =
            |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        File::open(&self.0).is_ok_and(is_locked)
            || private_file::open_regular(&self.lock_file()).is_ok_and(is_locked)
    }

    fn lock_file(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Returns the default file with the secret key.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.0.join("node.key")
    }

    /// Returns the file with the API's token.
    pub(crate) fn token_file(&self) -> PathBuf {
        self.0.join("api.token")
    }

    /// Reads the API's token, for a command that connects to the running node.
    pub(crate) fn token(&self) -> Result<Zeroizing<String>> {
        let (path, user) = (self.token_file(), private_file::service_user(&self.0));
        token(&path, private_file::read_of(user, &path, MOST_TOKEN)?)
    }

    /// Reads the API's token, for the node. A missing or damaged token, or one that others may
    /// read, is replaced. The new one is used even if it cannot be written, since the node does not
    /// need the file.
    pub(crate) fn token_for_node(&self) -> Result<Zeroizing<String>> {
        let path = self.token_file();
        if path.symlink_metadata().is_ok() {
            match read_token(&path) {
                Ok(token) => return Ok(token),
                Err(failure) => {
                    tracing::warn!("the control API gets a new token: {}", failure.message);
                }
            }
        }
        let bytes = Zeroizing::new(crate::random_bytes()?);
        let token = Zeroizing::new(HEXLOWER.encode(&*bytes));
        let line = Zeroizing::new(format!("{}\n", *token));
        if let Err(failure) = private_file::replace(&path, line.as_bytes()) {
            tracing::warn!(
                "no command can use this node's control API, for its token is not on disk: {failure}"
            );
        }
        Ok(token)
    }

    /// Writes the API's address for commands, until the result is dropped. If that fails, commands
    /// need --api.
    pub(crate) fn announce(&self, addr: SocketAddr, key: PublicKey) -> Announced {
        let endpoint = Endpoint {
            url: format!("http://{addr}"),
            key,
        };
        let written = serde_json::to_vec(&endpoint)
            .map_err(|error| Failure::new(Code::Local, error))
            .and_then(|text| private_file::replace(&self.endpoint_file(), &text));
        if let Err(failure) = written {
            tracing::warn!(
                "commands find this node's control API with --api {} only: {failure}",
                endpoint.url
            );
        }
        Announced {
            state: self.clone(),
            endpoint,
        }
    }

    /// Returns the API's address, if a node runs here, or crashed.
    ///
    /// # Errors
    /// The file or its directory belongs to another user, or is damaged.
    pub(crate) fn endpoint(&self) -> Result<Option<Endpoint>> {
        let path = self.endpoint_file();
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let user = private_file::service_user(&self.0);
        private_file::check_dir_of(user, &self.0)?;
        let text = private_file::read_of(user, &path, MOST_BYTES)?;
        serde_json::from_slice(&text).map(Some).map_err(|error| {
            Failure::new(
                Code::Local,
                format_args!("{} is damaged: {error}", path.display()),
            )
            .hint("restart the node, or say with --api URL where its control API is")
        })
    }

    /// Returns the file with known peers.
    pub(crate) fn peers_file(&self) -> PathBuf {
        self.0.join("peers.json")
    }

    /// Returns the file with known DMSG servers.
    pub(crate) fn servers_file(&self) -> PathBuf {
        self.0.join("servers.json")
    }

    /// Returns the file with the salts of renewed items.
    pub(crate) fn own_items_file(&self) -> PathBuf {
        self.0.join("own_items.json")
    }

    /// Returns the file with the times at which tasks last succeeded.
    pub(crate) fn tasks_file(&self) -> PathBuf {
        self.0.join("tasks.json")
    }

    /// Returns the file with the items.
    pub(crate) fn items_file(&self) -> PathBuf {
        self.0.join("items.redb")
    }

    fn endpoint_file(&self) -> PathBuf {
        self.0.join("api.json")
    }
}

/// Returns whether an open file is the one at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let Ok(open) = file.metadata() else {
        return false;
    };
    let named = fs::metadata(path);
    named.is_ok_and(|it| (it.dev(), it.ino()) == (open.dev(), open.ino()))
}

/// Reads a token file of this user.
pub(crate) fn read_token(path: &Path) -> Result<Zeroizing<String>> {
    token(path, private_file::read(path, MOST_TOKEN)?)
}

/// Parses the content of a token file.
fn token(path: &Path, bytes: Vec<u8>) -> Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(bytes);
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
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_directory_belongs_to_one_node_at_a_time() {
        let dir = TempDir::new("lock");
        let state = StateDir::new(&dir.0.join("a/b"));
        assert!(!state.is_taken());
        let first = state.take().unwrap();
        assert!(state.is_taken());
        assert_eq!(state.take().unwrap_err().code, Code::Exists);
        drop(first);
        assert!(state.take().is_ok());
    }

    #[test]
    fn a_directory_stays_taken_when_its_lock_is_removed_or_replaced() {
        let dir = TempDir::new("lock-gone");
        let state = StateDir::new(&dir.0);
        let first = state.take().unwrap();
        for replace in [false, true] {
            fs::remove_file(state.lock_file()).unwrap();
            if replace {
                fs::write(state.lock_file(), "").unwrap();
            }
            assert!(state.is_taken(), "{replace}");
            let failure = state.take().unwrap_err();
            assert_eq!(failure.code, Code::Exists, "{replace}: {failure}");
            fs::write(state.lock_file(), "").unwrap();
        }
        drop(first);
        assert!(state.take().is_ok());
    }

    #[test]
    fn what_dead_processes_were_writing_is_removed_at_the_start() {
        let dir = TempDir::new("abandoned");
        let state = StateDir::new(&dir.0);
        // A process that has ended, and whose id is not in use again.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let name = |pid: u32| dir.0.join(format!("own_items.json.{pid}.new"));
        let alive = std::os::unix::process::parent_id();
        let others = [dir.0.join("a.new"), dir.0.join(".1x.new"), name(alive)];
        for path in others
            .iter()
            .chain([&name(dead), &name(std::process::id())])
        {
            fs::write(path, "").unwrap();
        }
        drop(state.take().unwrap());
        assert!(!name(dead).exists());
        assert!(!name(std::process::id()).exists(), "an earlier one's");
        for path in others {
            assert!(path.exists(), "{path:?}");
        }
    }

    #[test]
    fn the_token_stays_and_is_private() {
        let dir = TempDir::new("token");
        let state = StateDir::new(&dir.0);
        let token = state.token_for_node().unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(*state.token_for_node().unwrap(), *token);
        assert_eq!(*read_token(&state.token_file()).unwrap(), *token);
    }

    #[test]
    fn what_can_be_made_again_is_made_again() {
        let dir = TempDir::new("again");
        let state = StateDir::new(&dir.0);
        let file = state.token_file();
        for damage in [
            "",
            "short",
            "not a token of letters and digits, but long enough",
        ] {
            fs::write(&file, damage).unwrap();
            assert_eq!(read_token(&file).unwrap_err().code, Code::Config);
            let token = state.token_for_node().unwrap();
            assert_eq!(*read_token(&file).unwrap(), *token, "{damage:?}");
        }
        let token = state.token_for_node().unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_ne!(*state.token_for_node().unwrap(), *token, "others know it");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert_eq!(
            state.token_for_node().unwrap().len(),
            64,
            "cannot be written"
        );
    }

    #[test]
    fn the_endpoint_reads_back_and_damage_is_named() {
        let dir = TempDir::new("endpoint");
        let state = StateDir::new(&dir.0);
        let key = crate::keys::generate().unwrap().public();
        assert_eq!(state.endpoint().unwrap(), None);
        let announced = state.announce("127.0.0.1:9".parse().unwrap(), key);
        let there = state.endpoint().unwrap();
        assert_eq!(there.as_ref(), Some(&announced.endpoint));
        // The file of another node is not removed.
        let other = state.announce("127.0.0.1:10".parse().unwrap(), key);
        drop(announced);
        assert!(state.endpoint().unwrap().is_some());
        drop(other);
        assert_eq!(state.endpoint().unwrap(), None);
        private_file::replace(&state.endpoint_file(), b"{").unwrap();
        let failure = state.endpoint().unwrap_err();
        assert!(failure.message.contains("is damaged"), "{failure}");
    }
}
