//! How long an item lives, by how it came here.

use core::time::Duration;

use crate::item::{Life, Seq};
use crate::store::candidate::{Candidate, Via};
use crate::store::stored_item::signed;
use crate::time::{Time, Unix, nanos};

/// A sequence farther ahead of the clock than this names no time.
const MOST_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Age and remaining life of an item on its arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ArrivalLife {
    /// Since its signer vouched for it, as far as known.
    pub(super) age: Option<Duration>,
    /// Until it expires, were it not exempt.
    pub(super) remaining: Duration,
    /// Vouched and expiry as recorded, to return to when the clock is set.
    pub(super) awaiting_wall_clock: Option<(Unix, Unix)>,
}

impl ArrivalLife {
    /// When its signer vouched for it, on the monotonic clock.
    pub(super) fn vouched(&self, now: Time) -> Option<i64> {
        Some(signed(now.mono).saturating_sub_unsigned(nanos(self.age?)))
    }

    /// The life of a candidate that arrives now.
    pub(super) fn of(now: Time, ttl: Duration, candidate: &Candidate) -> Self {
        if candidate.via.vouches(&candidate.item) {
            Self {
                age: Some(Duration::ZERO),
                remaining: ttl,
                awaiting_wall_clock: None,
            }
        } else if let Via::Storage { vouched, expires } = candidate.via {
            Self::recorded(now, ttl, vouched, expires)
        } else {
            Self::claimed_by_peer(now, ttl, candidate.item.seq, candidate.life)
        }
    }

    /// From a peer that is not the signer: the smaller of what they claim and what is left
    /// since the sequence, where that names a time; half a life when neither is known.
    fn claimed_by_peer(now: Time, ttl: Duration, seq: Seq, claimed: Option<Life>) -> Self {
        let written = seq
            .as_time()
            .filter(|time| now.unix.is_set() && *time <= now.unix.plus(MOST_AHEAD));
        let since_written = written.map(|time| now.unix.since(time));
        let left = since_written.map(|age| ttl.saturating_sub(age));
        let remaining = match (claimed, left) {
            (Some(claimed), Some(left)) => claimed.left.min(left),
            (Some(claimed), None) => claimed.left,
            (None, Some(left)) => left,
            (None, None) => ttl / 2,
        };
        Self {
            age: claimed.map(|claimed| claimed.age).or(since_written),
            remaining: remaining.min(ttl),
            awaiting_wall_clock: None,
        }
    }

    /// From storage. While one of the two clocks was not set, it is not known how long the item
    /// lay there: it gets at most half a life, and its recorded expiry once the clock is set.
    fn recorded(now: Time, ttl: Duration, vouched: Unix, expires: Option<Unix>) -> Self {
        let expires = expires.unwrap_or_else(|| vouched.plus(ttl));
        let age = (now.unix.is_set() && vouched.is_set()).then(|| now.unix.since(vouched));
        let remaining = if now.unix.is_set() && expires.is_set() {
            expires.since(now.unix)
        } else {
            expires.since(vouched).min(ttl / 2)
        };
        let waits = !now.unix.is_set() && expires.is_set();
        Self {
            age,
            remaining: remaining.min(ttl),
            awaiting_wall_clock: waits.then_some((vouched, expires)),
        }
    }
}
