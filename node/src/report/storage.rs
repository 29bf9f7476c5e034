//! How storage does.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_driver::storage::{StorageHealth, StorageStats};

use crate::output::count;

/// Whether items survive a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StorageState {
    /// They do not.
    #[default]
    None,
    /// What earlier runs left is being read.
    Loading,
    /// They do.
    Good,
    /// What was written does; what waits does not.
    Failing,
}

/// Where items are kept across restarts, and how that goes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StorageReport {
    /// `file` or `redis`, or empty when there is none.
    pub(crate) kind: String,
    pub(crate) health: StorageState,
    /// Why it is failing.
    pub(crate) cause: Option<String>,
    /// Items of earlier runs, and of others who share the storage, that were read.
    pub(crate) loaded: u64,
    /// Values found that are no items.
    pub(crate) damaged: u64,
    /// Changes that are not written yet.
    pub(crate) waiting: usize,
    /// Changes written since the start.
    pub(crate) written: u64,
    /// Writes that failed since the start.
    pub(crate) failures: u64,
    /// Changes that were never written, because too many waited.
    pub(crate) given_up: u64,
}

impl StorageReport {
    /// From the driver's figures.
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
