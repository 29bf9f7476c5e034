//! Follows one service.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::changes::{Change, Changes};
use super::round::{Call, Habits, Round, RoundError, Step};
use super::{entries, services, transports};
use crate::publish::{Content, RecordId};
use crate::web::{Request, Response};

/// A record goes when the service has answered without it for so long: visors register again every
/// 90 s to 5 min, and a service that lost its memory has them all again by then.
pub const ABSENT: Duration = Duration::from_secs(6 * 60);
/// Questions under way.
const CONCURRENT: usize = 8;
/// After a round that failed the next one comes so much later, twice as much after each further one.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));
/// The longest pause that a service may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Records of one service.
const MOST_RECORDS: usize = 100_000;

/// Which service is followed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Followed {
    /// A DMSG discovery.
    Entries,
    /// A transport discovery. One that has no list of all is asked for the edges that
    /// [`Follower::set_edges`] names.
    Transports,
    /// A service discovery.
    Services,
}

/// A question. It goes to the service, and what comes of it to [`Follower::handle`].
#[derive(Debug)]
pub struct Ask {
    /// Names the question.
    pub id: u64,
    /// With a path and no host.
    pub request: Request,
}

/// What was counted since the start; `records` is of now.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Records that the service had.
    pub records: usize,
    /// Rounds in which everything was answered.
    pub rounds: u64,
    /// Rounds that failed.
    pub failed_rounds: u64,
    /// Why the last round failed, if it did.
    pub error: Option<String>,
    /// Records that were new or had changed.
    pub changed: u64,
    /// Records that went.
    pub gone: u64,
    /// Records that prove nothing, or break a rule, and are not mirrored.
    pub rejected: u64,
}

/// See the module's documentation.
pub struct Follower {
    followed: Followed,
    interval: Duration,
    habits: Habits,
    round: Option<Round>,
    under_way: BTreeMap<u64, Call>,
    last_id: u64,
    /// When the round goes on, or the next one begins.
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
    /// Follows a service from `now` on, a round each `interval`.
    #[must_use]
    pub fn new(followed: Followed, interval: Duration, now: Mono) -> Self {
        Self {
            followed,
            interval,
            habits: Habits::default(),
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

    /// Which service it follows.
    #[must_use]
    pub const fn followed(&self) -> Followed {
        self.followed
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            records: self.known.len(),
            ..self.stats.clone()
        }
    }

    /// The keys that a DMSG discovery lists, as of its last answer.
    #[must_use]
    pub fn keys(&self) -> &BTreeSet<PublicKey> {
        &self.habits.edges
    }

    /// The visors that may have transports, from the next round on.
    pub fn set_edges(&mut self, edges: BTreeSet<PublicKey>) {
        self.habits.edges = edges;
    }

    /// The next question, if one is due and not too many are under way.
    pub fn poll_output(&mut self, now: Mono) -> Option<Ask> {
        if now < self.due || self.under_way.len() >= CONCURRENT {
            return None;
        }
        if self.round.is_none() {
            let queue = match self.followed {
                Followed::Entries => entries::first(),
                Followed::Transports => transports::first(&self.habits),
                Followed::Services => services::first(),
            };
            self.round = Some(Round {
                queue: queue.into(),
                ..Round::default()
            });
            // There is nothing to ask: no edge is known yet.
            self.end_if_over(now);
        }
        let call = self.round.as_mut()?.queue.pop_front()?;
        self.last_id += 1;
        let (id, request) = (self.last_id, call.write());
        self.under_way.insert(id, call);
        Some(Ask { id, request })
    }

    /// What came of a question; of one that is not under way nothing changes.
    pub fn handle(&mut self, now: Mono, id: u64, result: Result<Response, String>) {
        let (Some(call), Some(round)) = (self.under_way.remove(&id), &mut self.round) else {
            return;
        };
        let step = match result {
            Ok(response) => match call {
                Call::Entry(call) => entries::answered(*call, &response, &mut self.habits, round),
                Call::Transport(call) => {
                    transports::answered(call, &response, &mut self.habits, round)
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

    /// The records that have changed since the last call, or went.
    pub fn take_changes(&mut self) -> Vec<(RecordId, Content)> {
        std::mem::take(&mut self.changes)
    }

    /// When [`Follower::poll_output`] has something next; none while it waits for answers.
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

    /// Compares what a round found with what was known. A transport's list is taken only from a
    /// whole round, since half of it would look like a shorter list.
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
