//! Estimates peers' wall clocks: the newest `last_seen` in an answer is the answering peer's last
//! contact with any node, so it is slightly before that peer's current time.
//!
//! A single peer may lie or be wrong, so the median of several counts. Each sample is the
//! difference between a peer's wall clock and our monotonic clock, which steps of our own wall
//! clock do not change.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;

use crate::key::PublicKey;
use crate::time::{Mono, Time, Unix};
use crate::wire::PeerList;

/// Maximum number of peers whose clock is remembered; the oldest sample is replaced.
const MOST: usize = 15;
/// Minimum number of samples for an estimate.
const ENOUGH: usize = 3;
/// Lifetime of a sample.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// Offset of peers' wall clocks from this node's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PeersClock {
    /// Median of the peers' clocks minus this node's, in nanoseconds. Up to some minutes too low,
    /// because peers name contacts of some minutes ago.
    pub offset: i64,
    /// Number of peers that the median is taken of.
    pub peers: u8,
}

struct Sample {
    /// The peer's wall clock minus our monotonic clock, in nanoseconds.
    base: i64,
    at: Mono,
}

#[derive(Default)]
pub(crate) struct PeerClocks(BTreeMap<PublicKey, Sample>);

impl PeerClocks {
    /// Takes a sample from the contacts in a peer's answer.
    pub(crate) fn note(&mut self, peer: PublicKey, contacts: &PeerList, now: Time) {
        let seen = contacts.peers.iter().filter_map(|it| it.last_seen.unix());
        let Some(newest) = seen.max().filter(|newest| newest.is_set()) else {
            return;
        };
        let base = minus(newest, now.mono);
        if let Some(sample) = self.0.get_mut(&peer)
            && now.mono.since(sample.at) < LIFE / 4
        {
            // Both are too low, so the higher one is closer.
            sample.base = sample.base.max(base);
            return;
        }
        if self.0.len() >= MOST && !self.0.contains_key(&peer) {
            let oldest = self.0.iter().min_by_key(|(_, sample)| sample.at);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.and_then(|key| self.0.remove(&key));
        }
        let at = now.mono;
        self.0.insert(peer, Sample { base, at });
    }

    /// The estimated offset; `None` while there are too few samples.
    pub(crate) fn offset(&self, now: Time) -> Option<PeersClock> {
        let fresh = self.0.values().filter(|it| now.mono.since(it.at) < LIFE);
        let mut bases: Vec<i64> = fresh.map(|sample| sample.base).collect();
        if bases.len() < ENOUGH {
            return None;
        }
        bases.sort_unstable();
        Some(PeersClock {
            offset: bases[bases.len() / 2].saturating_sub(minus(now.unix, now.mono)),
            peers: u8::try_from(bases.len()).unwrap_or(u8::MAX),
        })
    }
}

fn minus(unix: Unix, mono: Mono) -> i64 {
    let signed = |n| i64::try_from(n).unwrap_or(i64::MAX);
    signed(unix.0).saturating_sub(signed(mono.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use crate::wire::WirePeer;

    const MINUTE: u64 = 60_000_000_000;
    const DAY: u64 = 24 * 60 * MINUTE;

    fn key(n: u8) -> PublicKey {
        SecretKey::from_bytes(&[n; 32]).unwrap().public()
    }

    fn now(minutes: u64, ours_ahead: i64) -> Time {
        let true_unix = Unix::BUILD.0 + 100 * DAY + minutes * MINUTE;
        Time {
            mono: Mono(minutes * MINUTE),
            unix: Unix(true_unix.checked_add_signed(ours_ahead).unwrap()),
        }
    }

    fn list(seen: &[u64]) -> PeerList {
        let peer = |unix: &u64| WirePeer::new(&key(9), Unix(*unix).into(), None);
        seen.iter().map(peer).collect::<Vec<_>>().into()
    }

    fn days(offset: i64) -> i64 {
        // Rounds to the nearest day, since the samples are slightly too low.
        (offset + DAY as i64 / 2).div_euclid(DAY as i64)
    }

    #[test]
    fn the_median_of_several_peers_shows_a_clock_that_is_days_off() {
        for wrong in [-3, 0, 3] {
            let ours_ahead = wrong * DAY as i64;
            let mut clocks = PeerClocks::default();
            let truth = now(5, 0).unix.0;
            for n in 1..=5 {
                assert_eq!(clocks.offset(now(5, ours_ahead)).is_some(), n > 3, "{n}");
                // Two of five peers lie or have a wrong clock.
                let theirs = if n <= 2 { truth + 900 * DAY } else { truth };
                let seen = [theirs - 7 * DAY, theirs - MINUTE];
                clocks.note(key(n), &list(&seen), now(5, ours_ahead));
            }
            let found = clocks.offset(now(5, ours_ahead)).unwrap();
            assert_eq!((days(found.offset), found.peers), (-wrong, 5));
            // After our clock is corrected, the estimate is right without any further answer.
            let found = clocks.offset(now(6, 0)).unwrap();
            assert_eq!(days(found.offset), 0);
            assert!(clocks.offset(now(64, 0)).is_some());
            assert_eq!(clocks.offset(now(65, 0)), None, "an hour ago");
        }
    }

    #[test]
    fn as_many_may_be_late_as_early() {
        for lie in [-50, 50] {
            let mut clocks = PeerClocks::default();
            for n in 1..=5 {
                let theirs = now(0, if n <= 2 { lie * DAY as i64 } else { 0 }).unix;
                clocks.note(key(n), &list(&[theirs.0]), now(0, 0));
            }
            assert_eq!(clocks.offset(now(0, 0)).map(|it| it.offset), Some(0));
        }
    }

    #[test]
    fn the_highest_of_a_quarter_of_an_hour_counts_and_then_what_a_peer_says_anew() {
        let mut clocks = PeerClocks::default();
        let mut says = |minutes, ahead| {
            let theirs = now(minutes, ahead * MINUTE as i64).unix;
            clocks.note(key(1), &list(&[theirs.0]), now(minutes, 0));
            (clocks.0[&key(1)].base - minus(now(0, 0).unix, Mono(0))) / MINUTE as i64
        };
        assert_eq!(says(0, 1), 1);
        assert_eq!(says(1, 2), 2);
        assert_eq!(says(14, 0), 2);
        assert_eq!(says(15, 0), 0);
    }

    #[test]
    fn what_says_nothing_is_no_sample_and_samples_are_bounded() {
        let mut clocks = PeerClocks::default();
        for n in 1..=9 {
            clocks.note(key(n), &list(&[]), now(1, 0));
            clocks.note(key(n), &list(&[5]), now(1, 0));
        }
        assert_eq!(clocks.offset(now(1, 0)), None);
        for n in 1..=100 {
            let truth = now(n.into(), 0);
            clocks.note(key(n), &list(&[truth.unix.0]), truth);
        }
        assert_eq!(clocks.0.len(), MOST);
        assert!(clocks.0.contains_key(&key(100)));
    }
}
