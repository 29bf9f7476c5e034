//! Report of a node's storage.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_driver::storage::{StorageHealth, StorageStats};

use crate::output::count;

/// State of the storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StorageState {
    /// There is no storage: items are lost at a restart.
    #[default]
    None,
    /// Items of earlier runs are being loaded.
    Loading,
    /// Items survive a restart.
    Good,
    /// The last write failed: written items survive a restart, waiting changes do not.
    Failing,
}

/// Storage of items across restarts, and its state.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StorageReport {
    /// `file` or `redis`; empty without storage.
    pub(crate) kind: String,
    pub(crate) health: StorageState,
    /// Why writes fail.
    pub(crate) cause: Option<String>,
    /// Items loaded from earlier runs, or from others who share the storage.
    pub(crate) loaded: u64,
    /// Values in the storage that do not decode as items.
    pub(crate) damaged: u64,
    /// Changes that are not written yet.
    pub(crate) waiting: usize,
    /// Changes written since the start.
    pub(crate) written: u64,
    /// Failed writes since the start.
    pub(crate) failures: u64,
    /// Changes dropped because too many were waiting.
    pub(crate) given_up: u64,
}

impl StorageReport {
    /// Converts the driver's statistics.
    pub(crate) fn new(stats: &StorageStats) -> Self {
        let (health, cause) = match &stats.health {
            StorageHealth::None => (StorageState::None, None),
            StorageHealth::Loading => (StorageState::Loading, None),
            StorageHealth::Good => (StorageState::Good, None),
            StorageHealth::Failing(error) => (StorageState::Failing, Some(error.to_string())),
        };
        Self {
            kind: stats.kind.into(),
            health,
            cause,
            loaded: stats.loaded,
            damaged: stats.damaged,
            waiting: stats.waiting,
            written: stats.written,
            failures: stats.failures,
            given_up: stats.given_up,
        }
    }
}

impl Display for StorageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, .. } = self;
        write!(f, "storage {kind}")?;
        if self.health == StorageState::Loading {
            write!(f, " · loading")?;
        }
        write!(
            f,
            " · {} items read · {} changes written",
            count(self.loaded),
            count(self.written)
        )?;
        for (n, what) in [
            (self.waiting as u64, "waiting"),
            (self.damaged, "damaged"),
            (self.given_up, "given up"),
        ] {
            if n > 0 {
                write!(f, " · {} {what}", count(n))?;
            }
        }
        Ok(())
    }
}
