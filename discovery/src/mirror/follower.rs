//! Follows the records of one service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::changes::{Change, Changes};
use super::round::{Call, Round, RoundError, ServiceTraits, Step};
use super::{entries, services, transports};
use crate::publish::{Content, RecordId};
use crate::web::{Request, Response};

/// A record is removed when the service has answered without it for this long. Visors register
/// again every 90 s to 5 min, so that a service that lost its data has all of them again by then.
pub const ABSENT: Duration = Duration::from_secs(6 * 60);
/// Maximum number of concurrent requests.
const CONCURRENT: usize = 8;
/// First and longest pause after a failed round; it doubles with each further failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));
/// Longest pause that a service may request.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of records of one service.
const MOST_RECORDS: usize = 100_000;

/// Kind of the followed service.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Followed {
    /// A DMSG discovery.
    Entries,
    /// A transport discovery. If it has no list of all transports, it is asked for the edges set by
    /// [`Follower::set_edges`].
    Transports,
    /// A service discovery.
    Services,
}

/// A request to send; its result must be passed to [`Follower::handle`].
#[derive(Debug)]
pub struct Ask {
    /// Identifies the request.
    pub id: u64,
    /// The request, with a path and without a host.
    pub request: Request,
}

/// Counts since the start; `records` is the current number.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Records of the service.
    pub records: usize,
    /// Rounds in which every request was answered.
    pub rounds: u64,
    /// Rounds that failed.
    pub failed_rounds: u64,
    /// Why the last round failed, if it did.
    pub error: Option<String>,
    /// Records that were new or had changed.
    pub changed: u64,
    /// Records that were removed.
    pub gone: u64,
    /// Records that are unproven or violate a rule, and are not mirrored.
    pub rejected: u64,
}

/// Follows one service; see the [module](super).
pub struct Follower {
    followed: Followed,
    interval: Duration,
    traits: ServiceTraits,
    round: Option<Round>,
    under_way: BTreeMap<u64, Call>,
    last_id: u64,
    /// When the round continues, or the next one begins.
    due: Mono,
    failures: u32,
    known: Changes,
    changes: Vec<(RecordId, Content)>,
    stats: Stats,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("followed", &self.followed)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// Starts to follow a service at `now`, with a round every `interval`.
    #[must_use]
    pub fn new(followed: Followed, interval: Duration, now: Mono) -> Self {
        Self {
            followed,
            interval,
            traits: ServiceTraits::default(),
            round: None,
            under_way: BTreeMap::new(),
            last_id: 0,
            due: now,
            failures: 0,
            known: Changes::default(),
            changes: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Returns the kind of the followed service.
    #[must_use]
    pub const fn followed(&self) -> Followed {
        self.followed
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            records: self.known.len(),
            ..self.stats.clone()
        }
    }

    /// Returns the keys that a DMSG discovery listed last.
    #[must_use]
    pub fn keys(&self) -> &BTreeSet<PublicKey> {
        &self.traits.edges
    }

    /// Sets the visors that may have transports, from the next round on.
    pub fn set_edges(&mut self, edges: BTreeSet<PublicKey>) {
        self.traits.edges = edges;
    }

    /// Returns the next request, if one is due and the limit of concurrent requests permits it.
    pub fn poll_output(&mut self, now: Mono) -> Option<Ask> {
        if now < self.due || self.under_way.len() >= CONCURRENT {
            return None;
        }
        if self.round.is_none() {
            let queue = match self.followed {
                Followed::Entries => entries::first(),
                Followed::Transports => transports::first(&self.traits),
                Followed::Services => services::first(),
            };
            self.round = Some(Round {
                queue: queue.into(),
                ..Round::default()
            });
            // Without a known edge there is nothing to request, so that the round ends immediately.
            self.end_if_over(now);
        }
        let call = self.round.as_mut()?.queue.pop_front()?;
        self.last_id += 1;
        let (id, request) = (self.last_id, call.write());
        self.under_way.insert(id, call);
        Some(Ask { id, request })
    }

    /// Processes the result of a request; ignores unknown ids.
    pub fn handle(&mut self, now: Mono, id: u64, result: Result<Response, String>) {
        let (Some(call), Some(round)) = (self.under_way.remove(&id), &mut self.round) else {
            return;
        };
        let step = match result {
            Ok(response) => match call {
                Call::Entry(call) => entries::answered(*call, &response, &mut self.traits, round),
                Call::Transport(call) => {
                    transports::answered(call, &response, &mut self.traits, round)
                }
                Call::Service(call) => services::answered(&call, &response, round),
            },
            Err(why) => Step::Failed(RoundError::Unreachable(why)),
        };
        match step {
            Step::Next => {}
            Step::Pause(wait) => self.due = now.plus(wait.min(LONGEST_PAUSE)),
            Step::Failed(error) => {
                round.queue.clear();
                round.error.get_or_insert(error);
            }
        }
        self.end_if_over(now);
    }

    /// Returns the records that have changed or been removed since the last call.
    pub fn take_changes(&mut self) -> Vec<(RecordId, Content)> {
        std::mem::take(&mut self.changes)
    }

    /// Returns when [`Follower::poll_output`] will return a request; `None` while it waits for
    /// results.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        let has_more = self.round.as_ref().is_none_or(|it| !it.queue.is_empty());
        (has_more && self.under_way.len() < CONCURRENT).then_some(self.due)
    }

    fn end_if_over(&mut self, now: Mono) {
        let is_over = |round: &&mut Round| round.queue.is_empty();
        if !self.under_way.is_empty() || self.round.as_mut().filter(is_over).is_none() {
            return;
        }
        let Some(mut round) = self.round.take() else {
            return;
        };
        match self.followed {
            Followed::Entries => {}
            Followed::Transports => round.found = transports::lists(&round.transports),
            Followed::Services => round.found = services::records(&round.services),
        }
        self.stats.rejected += round.rejected;
        if round.found.len() > MOST_RECORDS {
            round.error.get_or_insert(RoundError::TooMany(MOST_RECORDS));
            round.found.clear();
        }
        let is_whole = round.error.is_none();
        self.compare(now, round.found, is_whole);
        match round.error {
            None => {
                self.stats.rounds += 1;
                self.stats.error = None;
                (self.failures, self.due) = (0, now.plus(self.interval));
            }
            Some(error) => {
                self.stats.failed_rounds += 1;
                self.stats.error = Some(error.to_string());
                let wait = RETRY.0 * 2u32.saturating_pow(self.failures);
                self.failures = self.failures.saturating_add(1);
                self.due = now.plus(wait.min(RETRY.1));
            }
        }
    }

    /// Compares the records of a round with the known ones. Transports and services are only used
    /// from a complete round, because a partial list looks like a shorter one.
    fn compare(&mut self, now: Mono, found: BTreeMap<RecordId, Content>, is_whole: bool) {
        if !is_whole && self.followed != Followed::Entries {
            return;
        }
        if is_whole {
            let is_there = |id: &RecordId| found.contains_key(id);
            for id in self.known.forget_absent(now, ABSENT, is_there) {
                self.stats.gone += 1;
                self.changes.push((id, Content::Gone));
            }
        }
        for (id, content) in found {
            match self.known.note(now, &id, &content) {
                Change::Same => {}
                Change::Rejected => self.stats.rejected += 1,
                Change::Publish => {
                    self.stats.changed += 1;
                    self.changes.push((id, content));
                }
            }
        }
    }
}
