//! Report of a node's mirroring.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_discovery::BaseUrl;
use skydht_discovery::mirror::{Followed, Stats as FollowerStats};
use skydht_discovery::publish::Stats;

use crate::output::count;

/// State of one mirrored service.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct MirrorSourceReport {
    /// Salt of its records: `dmsg`, `tp` or `svc`.
    pub(crate) salt: String,
    pub(crate) url: String,
    /// Number of records in the last complete round.
    pub(crate) records: usize,
    /// Rounds in which every request was answered.
    pub(crate) rounds: u64,
    pub(crate) failed_rounds: u64,
    /// Why the last round failed, if it did.
    pub(crate) error: Option<String>,
    pub(crate) changed: u64,
    pub(crate) gone: u64,
    /// Records that are rejected: their signature is invalid, or they break a rule.
    pub(crate) rejected: u64,
}

impl MirrorSourceReport {
    pub(crate) fn new(followed: Followed, url: &BaseUrl, stats: FollowerStats) -> Self {
        let salt = match followed {
            Followed::Entries => "dmsg",
            Followed::Transports => "tp",
            Followed::Services => "svc",
        };
        Self {
            salt: salt.into(),
            url: url.to_string(),
            records: stats.records,
            rounds: stats.rounds,
            failed_rounds: stats.failed_rounds,
            error: stats.error,
            changed: stats.changed,
            gone: stats.gone,
            rejected: stats.rejected,
        }
    }
}

/// State of the published records.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct MirrorReport {
    pub(crate) sources: Vec<MirrorSourceReport>,
    /// Number of known records.
    pub(crate) records: usize,
    /// Records whose latest content is not published yet.
    pub(crate) waiting: usize,
    /// Records that their owners publish themselves.
    pub(crate) of_owner: usize,
    pub(crate) unchanged: u64,
    pub(crate) coalesced: u64,
    pub(crate) published: u64,
    pub(crate) deleted: u64,
    pub(crate) failed: u64,
    pub(crate) refused: u64,
    pub(crate) full: u64,
}

impl MirrorReport {
    pub(crate) fn new(sources: Vec<MirrorSourceReport>, stats: Stats) -> Self {
        Self {
            sources,
            records: stats.records,
            waiting: stats.waiting,
            of_owner: stats.of_owner,
            unchanged: stats.unchanged,
            coalesced: stats.coalesced,
            published: stats.published,
            deleted: stats.deleted,
            failed: stats.failed,
            refused: stats.refused,
            full: stats.full,
        }
    }
}

impl Display for MirrorReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mirror {} records, {} waiting, {} published by their owners",
            count(self.records as u64),
            count(self.waiting as u64),
            count(self.of_owner as u64)
        )?;
        for source in &self.sources {
            let MirrorSourceReport { salt, url, .. } = source;
            write!(f, "\n  {salt} {} from {url}", count(source.records as u64))?;
            match (&source.error, source.rounds) {
                (Some(error), _) => write!(f, ": {error}")?,
                (None, 0) => write!(f, ": not asked yet")?,
                (None, _) => {}
            }
        }
        Ok(())
    }
}
