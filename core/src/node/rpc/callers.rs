//! What is remembered about callers: which ones were useful, and which ones wasted work.

use core::time::Duration;

use crate::key::PublicKey;
use crate::node::lru_map::LruMap;
use crate::node::rpc::fair_queue::Lane;
use crate::time::Mono;

/// How long a caller counts as known after it has read the answer to a request.
const KNOWN_FOR: Duration = Duration::from_secs(10 * 60);
/// Wasted work, in bytes, above which a caller's requests wait behind all others.
const SLOWED_ABOVE: u64 = 256 * 1024;
/// Wasted work, in bytes, above which a caller is refused.
const REFUSED_ABOVE: u64 = 8 * 1024 * 1024;
/// Wasted work, in bytes, forgiven per second.
const FORGIVEN: u64 = 64 * 1024;
/// How long a caller is refused.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Wasted work charged for a message that does not decode, in addition to its size.
pub(crate) const JUNK_COST: u64 = 1024;
/// Wasted work charged for an invalid signature: the number of bytes that could be decoded in the
/// time.
pub(crate) const FORGERY_COST: u64 = 64 * 1024;

/// What is remembered about one caller.
#[derive(Default)]
struct Caller {
    /// Wasted work at `counted`, in bytes.
    wasted: u64,
    /// Time at which `wasted` was last updated.
    counted: Mono,
    /// When it last read an answer.
    answered: Option<Mono>,
    refused_until: Mono,
}

impl Caller {
    fn wasted(&self, now: Mono) -> u64 {
        let forgiven = now.since(self.counted).as_millis() * u128::from(FORGIVEN) / 1_000;
        let forgiven = u64::try_from(forgiven).unwrap_or(u64::MAX);
        self.wasted.saturating_sub(forgiven)
    }
}

/// The consequence of wasted work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waste {
    Tolerated,
    /// The caller's requests wait behind all others.
    Slowed,
    /// The caller is refused until this time.
    Refused {
        until: Mono,
    },
}

/// All callers; the least recently seen are forgotten first.
pub(crate) struct Callers(LruMap<Caller>);

impl Callers {
    pub(crate) fn new(max: usize, hash_seed: u64) -> Self {
        Self(LruMap::new(max, hash_seed))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a peer is refused at present because it wasted too much work.
    pub(crate) fn is_refused(&self, peer: &PublicKey, now: Mono) -> bool {
        let caller = self.0.get(peer);
        caller.is_some_and(|caller| caller.refused_until > now)
    }

    /// Whether a peer has recently read an answer completely.
    pub(crate) fn took_answer(&self, peer: &PublicKey, now: Mono) -> bool {
        let answered = self.0.get(peer).and_then(|caller| caller.answered);
        answered.is_some_and(|at| now.since(at) < KNOWN_FOR)
    }

    /// The lane in which the requests of a peer wait; `known` tells whether the routing table has
    /// it.
    pub(crate) fn lane(&self, peer: &PublicKey, now: Mono, known: impl FnOnce() -> bool) -> Lane {
        let caller = self.0.get(peer);
        if caller.is_some_and(|caller| caller.wasted(now) > SLOWED_ABOVE) {
            Lane::Penalised
        } else if self.took_answer(peer, now) || known() {
            Lane::Known
        } else {
            Lane::New
        }
    }

    /// Records that a peer has read its answer.
    pub(crate) fn note_answered(&mut self, peer: &PublicKey, now: Mono) {
        self.0.get_or_default(peer, now).answered = Some(now);
    }

    /// Charges a peer for wasted work, and slows it down or refuses it above the thresholds.
    pub(crate) fn note_waste(&mut self, peer: &PublicKey, bytes: u64, now: Mono) -> Waste {
        let caller = self.0.get_or_default(peer, now);
        caller.wasted = caller.wasted(now).saturating_add(bytes);
        caller.counted = now;
        if caller.wasted > REFUSED_ABOVE {
            caller.wasted = 0;
            caller.answered = None;
            let until = now.plus(REFUSED_FOR);
            caller.refused_until = until;
            Waste::Refused { until }
        } else if caller.wasted > SLOWED_ABOVE {
            Waste::Slowed
        } else {
            Waste::Tolerated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

    const NOW: Mono = Mono(1_000_000_000_000);

    fn caller() -> (Callers, PublicKey) {
        let key = SecretKey::from_bytes(&[7; 32]).unwrap().public();
        (Callers::new(8, 1), key)
    }

    #[test]
    fn a_caller_is_slowed_above_the_bound_and_forgiven_with_time() {
        let (mut callers, key) = caller();
        let lane = |callers: &Callers, now| callers.lane(&key, now, || false);
        assert!(callers.note_waste(&key, SLOWED_ABOVE, NOW) == Waste::Tolerated);
        assert!(lane(&callers, NOW) == Lane::New);
        assert!(callers.note_waste(&key, 1, NOW) == Waste::Slowed);
        assert!(lane(&callers, NOW) == Lane::Penalised);
        assert!(lane(&callers, NOW.plus(Duration::from_secs(1))) == Lane::New);
        // Not more than that per second.
        assert!(callers.note_waste(&key, FORGIVEN, NOW) == Waste::Slowed);
        let second = NOW.plus(Duration::from_secs(1));
        assert!(lane(&callers, second) == Lane::Penalised);
        assert!(lane(&callers, second.plus(Duration::from_millis(1))) == Lane::New);
    }

    #[test]
    fn a_caller_is_refused_above_the_bound_until_its_time_is_over() {
        let (mut callers, key) = caller();
        callers.note_answered(&key, NOW);
        assert!(callers.took_answer(&key, NOW));
        assert!(callers.note_waste(&key, REFUSED_ABOVE, NOW) == Waste::Slowed);
        assert!(!callers.is_refused(&key, NOW));
        let until = NOW.plus(REFUSED_FOR);
        assert!(callers.note_waste(&key, 1, NOW) == Waste::Refused { until });
        assert!(callers.is_refused(&key, Mono(until.0 - 1)));
        assert!(!callers.is_refused(&key, until));
        assert!(!callers.took_answer(&key, NOW));
    }

    #[test]
    fn a_caller_that_took_an_answer_is_known_for_a_while() {
        let (mut callers, key) = caller();
        callers.note_answered(&key, NOW);
        let end = NOW.plus(KNOWN_FOR);
        assert!(callers.lane(&key, Mono(end.0 - 1), || false) == Lane::Known);
        assert!(callers.lane(&key, end, || false) == Lane::New);
        assert!(callers.lane(&key, end, || true) == Lane::Known);
    }
}
