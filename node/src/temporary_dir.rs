//! A private directory for as long as a command runs.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;

use crate::failure::Result;
use crate::private_file;

/// A directory that is removed when this is dropped.
pub(crate) struct TemporaryDir(PathBuf);

impl TemporaryDir {
    /// Makes one whose name holds `purpose`.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        // A name that no other process can have taken before.
        let name = HEXLOWER.encode(&crate::random_bytes()?[..8]);
        let path = std::env::temp_dir().join(format!("skydht-{purpose}-{name}"));
        private_file::create_dir(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDir {
    fn drop(&mut self) {
        // A leftover in the directory for temporary files is no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
