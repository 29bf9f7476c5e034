//! One lookup in both sources.

use std::time::Duration;

use skydht_core::time::{Mono, Time, Unix};

/// Longest duration of a lookup.
pub const LONGEST: Duration = Duration::from_secs(8);
/// Once one source has a record, how long the other one may still answer with a newer one.
pub const GRACE: Duration = Duration::from_millis(500);
/// Age below which an owner's item in the DHT is preferred to an unproven record from HTTP.
pub const FRESH: Duration = Duration::from_secs(5 * 60);

/// Source of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// The DHT.
    Dht,
    /// The HTTP service.
    Http,
}

/// When the owner signed a record. The order is that of the records: by timestamp, then by sequence
/// number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signed {
    /// Time of the signature by the owner's clock, in nanoseconds since the Unix epoch.
    pub timestamp: i64,
    /// Sequence number of the record.
    pub sequence: u64,
}

/// A source's answer about a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said<T> {
    /// The source has a record.
    Record {
        /// The content of the record.
        record: T,
        /// The owner's signature; `None` if the source provides no proof.
        signed: Option<Signed>,
    },
    /// The owner deleted the record, with proof.
    Deleted(Signed),
    /// The source has no record.
    Nothing,
    /// The source could not be asked; contains a description for users.
    Failed(String),
}

/// An answer with its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<T> {
    /// The source that answered.
    pub from: Source,
    /// Its answer.
    pub said: Said<T>,
}

/// Output of a [`Lookup`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask<T> {
    /// Ask this source, and pass its answer to [`Lookup::handle`].
    Source(Source),
    /// The lookup has ended. Later answers are ignored.
    Done(Outcome<T>),
}

/// A found record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found<T> {
    /// The content of the record.
    pub record: T,
    /// The source of the record.
    pub source: Source,
    /// Time since the owner signed it; `None` if the source provides no proof.
    pub age: Option<Duration>,
    /// Whether the other source had a different record, or none.
    pub disagreed: bool,
}

/// Outcome of a lookup.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<T> {
    /// A record was found.
    Found(Found<T>),
    /// The owner deleted the record after signing any version that was found.
    Deleted(Source),
    /// A source that answered has no record.
    Nothing {
        /// The source that could not be asked, if any, with the cause.
        failed: Option<(Source, String)>,
    },
    /// No source could be asked; contains the causes.
    Unknown(Vec<(Source, String)>),
}

enum State<T> {
    /// Must not be asked.
    Unasked,
    Due,
    Asked,
    Said(Said<T>),
}

/// A lookup of one record. After creating it, repeat: take every [`Lookup::poll_output`], wait for
/// an answer or for [`Lookup::next_deadline`], and call [`Lookup::handle`].
pub struct Lookup<T> {
    dht: State<T>,
    http: State<T>,
    deadline: Mono,
    done: bool,
    outcome: Option<Outcome<T>>,
}

impl<T> std::fmt::Debug for Lookup<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

impl<T: PartialEq> Lookup<T> {
    /// Starts a lookup in the DHT and, if `http`, in the HTTP service.
    #[must_use]
    pub fn new(now: Time, http: bool) -> Self {
        Self {
            dht: State::Due,
            http: if http { State::Due } else { State::Unasked },
            deadline: now.mono.plus(LONGEST),
            done: false,
            outcome: None,
        }
    }

    /// Returns when to call [`Lookup::handle`] without an answer; `None` if the lookup has ended.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        (!self.done).then_some(self.deadline)
    }

    /// Returns the next source to ask, and finally the outcome; `None` if there is nothing to do
    /// now.
    pub fn poll_output(&mut self) -> Option<Ask<T>> {
        for (source, state) in [(Source::Dht, &mut self.dht), (Source::Http, &mut self.http)] {
            if matches!(state, State::Due) && !self.done {
                *state = State::Asked;
                return Some(Ask::Source(source));
            }
        }
        self.outcome.take().map(Ask::Done)
    }

    /// Processes an answer, or the deadline.
    pub fn handle(&mut self, now: Time, answer: Option<Answer<T>>) {
        if self.done {
            return;
        }
        if let Some(Answer { from, said }) = answer {
            let has_record = matches!(said, Said::Record { .. } | Said::Deleted(_));
            let state = match from {
                Source::Dht => &mut self.dht,
                Source::Http => &mut self.http,
            };
            *state = State::Said(said);
            if has_record {
                self.deadline = self.deadline.min(now.mono.plus(GRACE));
            }
        }
        let waits = |state: &State<T>| matches!(state, State::Due | State::Asked);
        let all_said = !waits(&self.dht) && !waits(&self.http);
        if all_said || now.mono >= self.deadline {
            self.done = true;
            let take = |state: &mut State<T>| match std::mem::replace(state, State::Unasked) {
                State::Said(said) => Some(said),
                State::Due | State::Asked => Some(Said::Failed("no answer in time".to_owned())),
                State::Unasked => None,
            };
            let (dht, http) = (take(&mut self.dht), take(&mut self.http));
            self.outcome = Some(decide(now.unix, dht, http));
        }
    }
}

/// Combines the answers of both sources into the outcome.
fn decide<T: PartialEq>(now: Unix, dht: Option<Said<T>>, http: Option<Said<T>>) -> Outcome<T> {
    let mut failures = Vec::new();
    let mut nothing = false;
    let mut had = Vec::new();
    for (source, said) in [(Source::Dht, dht), (Source::Http, http)] {
        match said {
            None => {}
            Some(Said::Failed(why)) => failures.push((source, why)),
            Some(Said::Nothing) => nothing = true,
            Some(Said::Deleted(signed)) => had.push((source, None, Some(signed))),
            Some(Said::Record { record, signed }) => had.push((source, Some(record), signed)),
        }
    }
    let Some(best) = newest(now, &had) else {
        return match nothing {
            true => Outcome::Nothing {
                failed: failures.pop(),
            },
            false => Outcome::Unknown(failures),
        };
    };
    let (source, record, signed) = had.swap_remove(best);
    let Some(record) = record else {
        return Outcome::Deleted(source);
    };
    let differs = had
        .first()
        .is_some_and(|(_, other, _)| other.as_ref() != Some(&record));
    let age = signed.map(|signed| age(now, signed));
    Outcome::Found(Found {
        record,
        source,
        age,
        disagreed: differs || nothing,
    })
}

/// Returns the index of the newer of at most two records; the DHT's is first.
fn newest<T>(now: Unix, had: &[(Source, Option<T>, Option<Signed>)]) -> Option<usize> {
    let [(_, _, dht), (_, _, http)] = had else {
        return (!had.is_empty()).then_some(0);
    };
    let http_wins = match (dht, http) {
        (Some(dht), Some(http)) => http > dht,
        (Some(dht), None) => age(now, *dht) >= FRESH,
        (None, _) => true,
    };
    Some(usize::from(http_wins))
}

/// Returns the age of a record; 0 if its timestamp is in the future.
fn age(now: Unix, signed: Signed) -> Duration {
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let age = now.saturating_sub(signed.timestamp);
    Duration::from_nanos(u64::try_from(age).unwrap_or(0))
}

/// Counts of lookups, with the names of upstream's status.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Lookups answered from the DHT.
    pub lookup_dht_hits: u64,
    /// Lookups answered from the HTTP service.
    pub lookup_http_hits: u64,
    /// Lookups in which no source had a record.
    pub lookup_http_misses: u64,
    /// Lookups in which the sources had different records, or only one had a record.
    pub disagreements: u64,
    /// Lookups in which no source could be asked.
    pub unknown: u64,
}

impl Stats {
    /// Counts an outcome.
    pub fn count<T>(&mut self, outcome: &Outcome<T>) {
        let counter = match outcome {
            Outcome::Found(found) => {
                self.disagreements += u64::from(found.disagreed);
                match found.source {
                    Source::Dht => &mut self.lookup_dht_hits,
                    Source::Http => &mut self.lookup_http_hits,
                }
            }
            Outcome::Deleted(_) | Outcome::Nothing { .. } => &mut self.lookup_http_misses,
            Outcome::Unknown(_) => &mut self.unknown,
        };
        *counter += 1;
    }
}
