//! One question to both.

use std::time::Duration;

use skydht_core::time::{Mono, Time, Unix};

/// An answer is given after this at the latest.
pub const LONGEST: Duration = Duration::from_secs(8);
/// Once one source has a record, the other one has so long to show a newer one.
pub const GRACE: Duration = Duration::from_millis(500);
/// Where HTTP proves nothing, an owner's item in the DHT that is younger wins.
pub const FRESH: Duration = Duration::from_secs(5 * 60);

/// Who was asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Source {
    /// The DHT.
    Dht,
    /// The HTTP service.
    Http,
}

/// When the owner signed a record. Of two the later is newer; of the same moment the one with the
/// higher sequence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signed {
    /// When it was made, in nanoseconds since 1970, as the owner's clock had it.
    pub timestamp: i64,
    /// Its number.
    pub sequence: u64,
}

/// What a source has of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said<T> {
    /// A record.
    Record {
        /// What it says.
        record: T,
        /// What its owner signed; none where the source proves nothing.
        signed: Option<Signed>,
    },
    /// The owner took it back, which is proven.
    Deleted(Signed),
    /// There is none.
    Nothing,
    /// The source cannot be asked; why, for people.
    Failed(String),
}

/// What a source said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer<T> {
    /// Who.
    pub from: Source,
    /// What.
    pub said: Said<T>,
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ask<T> {
    /// This source is to be asked; its answer goes to [`Lookup::handle`].
    Source(Source),
    /// It is over. Answers that come later are of no use.
    Done(Outcome<T>),
}

/// A record that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found<T> {
    /// What it says.
    pub record: T,
    /// Whence.
    pub source: Source,
    /// How long ago its owner signed it, where that is proven.
    pub age: Option<Duration>,
    /// The other source had another one, or said that there is none.
    pub disagreed: bool,
}

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome<T> {
    /// A record.
    Found(Found<T>),
    /// Its owner took it back later than any record that was seen.
    Deleted(Source),
    /// A source that was asked has none.
    Nothing {
        /// Why the other one could not be asked, if it could not.
        failed: Option<(Source, String)>,
    },
    /// No source could be asked; why.
    Unknown(Vec<(Source, String)>),
}

enum State<T> {
    /// It is not to be asked.
    Unasked,
    Due,
    Asked,
    Said(Said<T>),
}

/// One question. Create it, then: take all of [`Lookup::poll_output`], wait for an answer or for
/// [`Lookup::next_deadline`], [`Lookup::handle`] it, and again.
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
    /// A question to the DHT, and to HTTP if that may be asked.
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

    /// When to call [`Lookup::handle`] without an answer.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        (!self.done).then_some(self.deadline)
    }

    /// Who is to be asked, and at last the outcome; `None` when there is nothing more to do now.
    pub fn poll_output(&mut self) -> Option<Ask<T>> {
        for (source, state) in [(Source::Dht, &mut self.dht), (Source::Http, &mut self.http)] {
            if matches!(state, State::Due) && !self.done {
                *state = State::Asked;
                return Some(Ask::Source(source));
            }
        }
        self.outcome.take().map(Ask::Done)
    }

    /// Takes an answer, or looks at the time.
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

/// What the answers of both come to.
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

/// Which of at most two counts, the DHT's first.
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

/// A timestamp ahead of now is of now.
fn age(now: Unix, signed: Signed) -> Duration {
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    let age = now.saturating_sub(signed.timestamp);
    Duration::from_nanos(u64::try_from(age).unwrap_or(0))
}

/// What was counted of questions, by the names that upstream's status has.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Answered by the DHT.
    pub lookup_dht_hits: u64,
    /// Answered by HTTP.
    pub lookup_http_hits: u64,
    /// Neither had it.
    pub lookup_http_misses: u64,
    /// Both answered, and not the same.
    pub disagreements: u64,
    /// Neither could be asked.
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
