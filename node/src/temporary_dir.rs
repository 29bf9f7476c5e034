//! Private temporary directories.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::failure::Result;
use crate::private_file;

/// A directory that is removed when this is dropped.
pub(crate) struct TemporaryDir(PathBuf);

impl TemporaryDir {
    /// Creates a directory with `purpose` in its name.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        // A random name, which no other process can have created before.
        let name = HEXLOWER.encode(&crate::random_bytes()?[..8]);
        let path = std::env::temp_dir().join(format!("skydht-{purpose}-{name}"));
        private_file::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Returns the path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // A directory that is left over is harmless.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
