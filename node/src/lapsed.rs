//! Items that an earlier run published and renewed. This run renews them once it has found them in
//! storage and peers have answered for them. Until then they are reported as not renewed.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Result};
use crate::output::Human;
use crate::private_file;

/// Maximum number of saved salts; the node only counts further ones.
const MOST_SALTS: usize = 1_024;
/// Largest file, in bytes; a longer one is treated as damaged.
const MOST_BYTES: u64 = 1 << 20;
/// Maximum number of salts named in one message.
const NAMED: usize = 5;
/// Minimum interval between two warnings that the file cannot be written.
const REPEAT: Duration = Duration::from_secs(30 * 60);
const SCHEMA: &str = "skydht.own-items/1";

#[derive(Serialize, Deserialize)]
struct Contents {
    schema: String,
    /// When the run last renewed the items, in seconds since the Unix epoch.
    renewed_until: u64,
    /// Lifetime of a renewed item, in seconds.
    ttl: u64,
    salts: Vec<String>,
}

/// Salts of own items, of this run and of an earlier one. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Lapsed(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `None`: nothing is saved.
    path: Option<PathBuf>,
    ttl: Duration,
    state: Mutex<LapsedState>,
}

#[derive(Default)]
struct LapsedState {
    /// Salts that this run renews.
    renewed: BTreeSet<String>,
    /// Salts of an earlier run that are not renewed. `expired_at`: when the last of these items has
    /// expired, in seconds since the Unix epoch.
    lapsed: BTreeSet<String>,
    expired_at: u64,
    /// When the last warning of a failed write was logged; `None` after a successful write.
    warned: Option<Instant>,
}

impl LapsedState {
    /// Returns whether to log a failed write. On a full disk, not every put is logged.
    fn warns_of(&mut self, has_failed: bool, now: Instant) -> bool {
        let is_due = self.warned.is_none_or(|last| now >= last + REPEAT);
        match has_failed {
            true if is_due => self.warned = Some(now),
            true => {}
            false => self.warned = None,
        }
        has_failed && is_due
    }
}

/// Items that are not renewed any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct LapsedReport {
    pub(crate) salts: Vec<String>,
    /// Seconds until all of them have expired.
    pub(crate) expire_within_s: u64,
}

impl fmt::Display for LapsedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.salts.iter().take(NAMED).collect();
        let more = self.salts.len().saturating_sub(NAMED);
        write!(f, "salts {named:?}")?;
        if more > 0 {
            write!(f, " and {more} more")?;
        }
        let within = Human(Duration::from_secs(self.expire_within_s));
        write!(f, "; they expire within {within}")
    }
}

fn now() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed();
    since.unwrap_or_default().as_secs()
}

impl Lapsed {
    /// Loads the salts of an earlier run, whose items live for `ttl`. An unusable file is logged
    /// and replaced.
    pub(crate) fn of(path: PathBuf, ttl: Duration) -> Self {
        let contents = load(&path).unwrap_or_else(|failure| {
            tracing::warn!("items of an earlier run are not known: {failure}");
            None
        });
        let mut state = LapsedState::default();
        if let Some(contents) = contents {
            state.expired_at = contents.renewed_until.saturating_add(contents.ttl);
            let salts = contents.salts.into_iter().take(MOST_SALTS);
            state.lapsed = salts.collect();
        }
        Self(Arc::new(Inner {
            path: Some(path),
            ttl,
            state: Mutex::new(state),
        }))
    }

    fn state(&self) -> MutexGuard<'_, LapsedState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports items of an earlier run that are not renewed; `None` if there are none, or all have
    /// expired.
    pub(crate) fn report(&self) -> Option<LapsedReport> {
        let state = self.state();
        let left = state.expired_at.saturating_sub(now());
        (left > 0 && !state.lapsed.is_empty()).then(|| LapsedReport {
            salts: state.lapsed.iter().cloned().collect(),
            // A wrong clock in the earlier run cannot make the time longer than a lifetime.
            expire_within_s: left.min(self.0.ttl.as_secs()),
        })
    }

    /// Returns the salts of these items, until all have expired.
    pub(crate) fn salts(&self) -> Vec<String> {
        self.report().map(|report| report.salts).unwrap_or_default()
    }

    /// Notes that an item was published, and whether this run renews it.
    pub(crate) async fn published(&self, salt: &str, renewed: bool) {
        let is_news = {
            let mut state = self.state();
            let lapsed = state.lapsed.remove(salt);
            let changed = match renewed {
                false => state.renewed.remove(salt),
                true if state.renewed.len() < MOST_SALTS => state.renewed.insert(salt.to_owned()),
                true => false,
            };
            lapsed || changed
        };
        if is_news {
            self.save().await;
        }
    }

    /// Notes that these items are not renewed any more.
    pub(crate) async fn ended<'a>(&self, salts: impl Iterator<Item = &'a str>) {
        let is_news = {
            let mut state = self.state();
            let mut end = |salt| state.renewed.remove(salt) | state.lapsed.remove(salt);
            salts.fold(false, |any, salt| end(salt) | any)
        };
        if is_news {
            self.save().await;
        }
    }

    /// Saves the salts of renewed items, and the current time as their last renewal.
    pub(crate) async fn save(&self) {
        let Some(path) = self.0.path.clone() else {
            return;
        };
        let contents = {
            let state = self.state();
            let is_left = state.expired_at > now();
            let lapsed = state.lapsed.iter().filter(|_| is_left);
            let ttl = self.0.ttl.as_secs();
            Contents {
                schema: SCHEMA.into(),
                // Without renewed items, the expiry of the others must not be extended.
                renewed_until: match state.renewed.is_empty() {
                    true => state.expired_at.saturating_sub(ttl),
                    false => now(),
                },
                ttl,
                salts: state.renewed.iter().chain(lapsed).cloned().collect(),
            }
        };
        if contents.salts.is_empty() && !path.exists() {
            return;
        }
        let saved = tokio::task::spawn_blocking(move || save(&path, &contents)).await;
        if let Ok(saved) = saved
            && self.state().warns_of(saved.is_err(), Instant::now())
            && let Err(failure) = saved
        {
            tracing::warn!("the next run will not know which items this one renews: {failure}");
        }
    }
}

fn save(path: &Path, contents: &Contents) -> Result<()> {
    let text = serde_json::to_vec_pretty(contents);
    let text = text.map_err(|error| Failure::new(Code::Local, error))?;
    private_file::replace(path, &text)
}

fn load(path: &Path) -> Result<Option<Contents>> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let text = private_file::read(path, MOST_BYTES)?;
    let damaged = |why: &dyn fmt::Display| {
        let text = format!("{} is damaged: {why}", path.display());
        Failure::new(Code::Config, text)
    };
    let contents: Contents = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
    if contents.schema != SCHEMA {
        return Err(damaged(&format_args!("its schema is not {SCHEMA}")));
    }
    Ok(Some(contents))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;

    const TTL: Duration = Duration::from_secs(7_200);

    #[tokio::test]
    async fn what_an_earlier_run_renewed_is_named_until_it_is_put_again() {
        let dir = TempDir::new("lapsed");
        let path = dir.0.join("own_items.json");
        let first = Lapsed::of(path.clone(), TTL);
        assert_eq!(first.report(), None);
        first.save().await;
        assert!(!path.exists(), "nothing to say");
        for salt in ["a", "b", "c", ""] {
            first.published(salt, true).await;
        }
        first.published("b", false).await;
        assert_eq!(first.report(), None, "it renews them itself");

        let second = Lapsed::of(path.clone(), TTL);
        let report = second.report().unwrap();
        assert_eq!(report.salts, ["", "a", "c"]);
        assert!(report.expire_within_s > 7_000);
        second.published("a", true).await;
        assert_eq!(second.report().unwrap().salts, ["", "c"]);

        // The third run knows what the second one renewed, and what had not been renewed before.
        let third = Lapsed::of(path.clone(), TTL);
        assert_eq!(third.report().unwrap().salts, ["", "a", "c"]);
        // Ending applies to items of this run and of earlier ones.
        second.ended(["a", "c", "d"].into_iter()).await;
        assert_eq!(second.report().unwrap().salts, [""]);
        assert_eq!(Lapsed::of(path, TTL).report().unwrap().salts, [""]);
    }

    #[test]
    fn a_disk_that_stays_full_is_logged_periodically() {
        let begun = Instant::now();
        let mut state = LapsedState::default();
        for (second, has_failed, warned) in [
            (0, false, false),
            (1, true, true),
            (2, true, false),
            (1_800, true, false),
            (1_801, true, true),
            (1_802, false, false),
            (1_803, true, true),
        ] {
            let now = begun + Duration::from_secs(second);
            assert_eq!(state.warns_of(has_failed, now), warned, "{second}");
        }
    }

    #[tokio::test]
    async fn expired_and_damaged_entries_are_not_reported() {
        let dir = TempDir::new("lapsedold");
        let path = dir.0.join("own_items.json");
        let contents = Contents {
            schema: SCHEMA.into(),
            renewed_until: now() - 7_201,
            ttl: 7_200,
            salts: vec!["a".into()],
        };
        save(&path, &contents).unwrap();
        assert_eq!(Lapsed::of(path.clone(), TTL).report(), None);
        private_file::replace(&path, b"{").unwrap();
        assert_eq!(Lapsed::of(path.clone(), TTL).report(), None);
        assert!(load(&path).is_err());
    }
}
