//! What time peers say it is: the newest `last_seen` in an answer is at most so old as the
//! answering peer's last contact with any node, hence close below its wall clock.
//!
//! One peer may lie or be wrong, so that only the median of several counts. Kept as the
//! difference between their wall clock and our monotonic one, which a step of our own wall clock
//! does not change.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;

use crate::key::PublicKey;
use crate::time::{Mono, Time, Unix};
use crate::wire::PeerList;

/// Peers whose clock is remembered. At the limit the oldest makes room.
const MOST: usize = 15;
/// With fewer peers nothing is said.
const ENOUGH: usize = 3;
/// What a peer said longer ago than this no longer counts.
const LIFE: Duration = Duration::from_secs(60 * 60);

/// How far the wall clocks of peers are from ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PeersClock {
    /// Median of their clocks minus ours, in nanoseconds; up to some minutes too low, because
    /// peers name contacts of some minutes ago.
    pub offset: i64,
    /// How many peers that is the median of.
    pub peers: u8,
}

struct Sample {
    /// Their wall clock minus our monotonic one.
    base: i64,
    at: Mono,
}

#[derive(Default)]
pub(crate) struct PeerClocks(BTreeMap<PublicKey, Sample>);

impl PeerClocks {
    /// A peer answered with these contacts of its own.
    pub(crate) fn note(&mut self, peer: PublicKey, contacts: &PeerList, now: Time) {
        let seen = contacts.peers.iter().filter_map(|it| it.last_seen.unix());
        let Some(newest) = seen.max().filter(|newest| newest.is_set()) else {
            return;
        };
        let base = minus(newest, now.mono);
        if let Some(sample) = self.0.get_mut(&peer)
            && now.mono.since(sample.at) < LIFE / 4
        {
            // Both are below the truth: the higher one is closer.
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

    /// How far they are from our clock; none while too few have said something.
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
        // To the nearest, since peers are a little too low.
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
                // Two of five lie, or are wrong themselves.
                let theirs = if n <= 2 { truth + 900 * DAY } else { truth };
                let seen = [theirs - 7 * DAY, theirs - MINUTE];
                clocks.note(key(n), &list(&seen), now(5, ours_ahead));
            }
            let found = clocks.offset(now(5, ours_ahead)).unwrap();
            assert_eq!((days(found.offset), found.peers), (-wrong, 5));
            // Our clock is set right: that shows without any further answer.
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
