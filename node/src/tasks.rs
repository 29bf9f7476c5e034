//! Success times of a node's periodic tasks, which are kept across restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use skydht_core::node::{Label as _, Snapshot, Task};

use crate::failure::{Code, Failure, Result};
use crate::private_file;
use crate::report::{TaskReport, ms};

/// Largest file, in bytes; a longer one is treated as damaged.
const MOST_BYTES: u64 = 64 << 10;
const SCHEMA: &str = "skydht.tasks/1";

#[derive(Serialize, Deserialize)]
struct Contents {
    schema: String,
    /// Last success by task, in seconds since the Unix epoch.
    last_ok: BTreeMap<String, u64>,
}

/// Times at which tasks last succeeded. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `None`: nothing is saved.
    path: Option<PathBuf>,
    /// The times in the file.
    last_ok: Mutex<BTreeMap<String, u64>>,
}

fn unix_now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

impl Tasks {
    /// Loads the times of earlier runs. An unusable file is logged and replaced.
    pub(crate) fn of(path: PathBuf) -> Self {
        let last_ok = load(&path).unwrap_or_else(|failure| {
            tracing::warn!("it is not known when tasks of an earlier run succeeded: {failure}");
            BTreeMap::new()
        });
        Self(Arc::new(Inner {
            path: Some(path),
            last_ok: Mutex::new(last_ok),
        }))
    }

    fn last_ok(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        let last_ok = self.0.last_ok.lock();
        last_ok.unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the state of each task; without a snapshot, only earlier successes are known.
    pub(crate) fn report(&self, snapshot: Option<&Snapshot>) -> Vec<TaskReport> {
        let now = unix_now();
        let before = self.last_ok();
        let report = |task: &Task| {
            let states = snapshot.map_or(&[][..], |it| &it.tasks);
            let state = states.iter().find(|state| state.task == *task);
            let earlier = before.get(task.name()).copied();
            let earlier = earlier.map(|at| now.saturating_sub(Duration::from_secs(at)));
            TaskReport {
                task: task.name().into(),
                runs: state.map_or(0, |state| state.runs),
                last_run_ms: state.and_then(|state| state.last_run).map(ms),
                last_ok_ms: state.and_then(|state| state.last_ok).or(earlier).map(ms),
                next_ms: state.and_then(|state| state.next).map(ms),
            }
        };
        Task::ALL.iter().map(report).collect()
    }

    /// Saves the times at which tasks last succeeded.
    pub(crate) fn save(&self, snapshot: &Snapshot) -> Result<()> {
        let now = unix_now();
        let mut last_ok = self.last_ok();
        for state in &snapshot.tasks {
            if let Some(ago) = state.last_ok {
                let at = now.saturating_sub(ago).as_secs();
                last_ok.insert(state.task.name().into(), at);
            }
        }
        let contents = Contents {
            schema: SCHEMA.into(),
            last_ok: last_ok.clone(),
        };
        drop(last_ok);
        let Some(path) = &self.0.path else {
            return Ok(());
        };
        let text = serde_json::to_vec(&contents);
        let text = text.map_err(|error| Failure::new(Code::Local, error))?;
        private_file::replace(path, &text)
    }
}

fn load(path: &Path) -> Result<BTreeMap<String, u64>> {
    if path.symlink_metadata().is_err() {
        return Ok(BTreeMap::new());
    }
    let text = private_file::read(path, MOST_BYTES)?;
    let damaged = |why: &dyn std::fmt::Display| {
        let text = format!("{} is damaged: {why}", path.display());
        Failure::new(Code::Local, text)
    };
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
    if contents.schema != SCHEMA {
        return Err(damaged(&"it is of another version"));
    }
    let known = |name: &str| Task::ALL.iter().any(|task| task.name() == name);
    let last_ok = contents.last_ok.into_iter();
    Ok(last_ok.filter(|(name, _)| known(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;
    use crate::report::tests::snapshot;

    #[test]
    fn what_succeeded_in_an_earlier_run_is_known_and_damage_is_not_fatal() {
        let dir = TempDir::new("tasks");
        let path = dir.0.join("tasks.json");
        let ago = Duration::from_secs(3_600);
        let mut seen = snapshot();
        for state in &mut seen.tasks {
            if state.task == Task::Renewal {
                state.last_ok = Some(ago);
            }
        }
        Tasks::of(path.clone()).save(&seen).unwrap();
        let found = |tasks: &Tasks, snapshot| {
            let report = tasks.report(snapshot).into_iter();
            let mut found = report.filter(|it| it.last_ok_ms.is_some());
            found.next().map(|it| (it.task, it.last_ok_ms.unwrap()))
        };
        let again = Tasks::of(path.clone());
        let fresh = snapshot();
        for snapshot in [None, Some(&fresh)] {
            let (task, age) = found(&again, snapshot).unwrap();
            assert_eq!(task, "renewal");
            assert!((3_599_000.0..3_700_000.0).contains(&age), "{age}");
        }
        // A later run without a success keeps the earlier times.
        again.save(&fresh).unwrap();
        assert!(found(&Tasks::of(path.clone()), None).is_some());
        for damage in ["", "{}", r#"{"schema":"skydht.tasks/2","last_ok":{}}"#] {
            private_file::replace(&path, damage.as_bytes()).unwrap();
            assert_eq!(found(&Tasks::of(path.clone()), None), None, "{damage}");
        }
        let unknown = r#"{"schema":"skydht.tasks/1","last_ok":{"x":1}}"#;
        private_file::replace(&path, unknown.as_bytes()).unwrap();
        assert!(Tasks::of(path).last_ok().is_empty());
    }
}
