//! Estimate of the network's size from the distances of the nearest nodes.
//!
//! Identifiers are hashes, so nodes lie in the key space like points of a Poisson process.
//! When the k-th nearest of them is at distance D (as a fraction of the key space), then
//! (k − 1) / D is the unbiased estimate of their number, with a relative error of about
//! 1 / √k. It needs no message: the local node knows its own neighbourhood best.
//!
//! All arithmetic is on integers: the upper 64 bits of distances are enough for networks
//! of up to 2^50 nodes.

use crate::id::{Distance, Target};
use crate::routing::contact::Contact;
use crate::routing::table::Table;

/// Binary logarithm of the inverse of the highest false-alarm rate of
/// [`Table::denser_than_expected`].
const FALSE_ALARM_BITS: u32 = 10;

impl Table {
    /// Estimate of the number of nodes, the local one included: from the k-th nearest live
    /// peer; with no more than k live peers, their number.
    #[must_use]
    pub fn network_size(&self) -> u64 {
        self.estimate()
            .unwrap_or(self.len() as u64)
            .saturating_add(1)
    }

    /// The distance, as [`Distance::high`], within which `n` nodes are expected around any
    /// point of the key space; [`u128::MAX`] when there are no more than `n` in all.
    #[must_use]
    pub fn expected_radius(&self, n: usize) -> u128 {
        (u128::MAX / u128::from(self.network_size())).saturating_mul(n as u128)
    }

    /// Whether a target's `n` nearest nodes, the last of them at `nth`, lie denser than the
    /// network-size estimate allows: the mark of an eclipse by keys ground to be near (the
    /// defence of arXiv 2307.12212, as a test of two densities).
    ///
    /// Both neighbourhoods, the target's and our own, hold n points of the same Poisson
    /// process if no peer cheats; then x = D / (D + E), with the n-th nearest at D and
    /// expected at E, follows Beta(n, n), and by Chernoff's bound the probability of a
    /// smaller x is at most (4x(1 − x))^n. The answer is true when that is below 1/1024. For
    /// n = 20 that needs more than the threefold density, and an attacker who owns *all* 20
    /// nearest stays below it in fewer than 1 of 100 cases. Always false while the table
    /// has no more than k live peers: without an estimate there is no judgement.
    #[must_use]
    pub fn denser_than_expected(&self, n: usize, nth: &Distance) -> bool {
        if self.estimate().is_none() {
            return false;
        }
        let found = nth.high() >> 64;
        let expected = self.expected_radius(n) >> 64;
        if found >= expected {
            return false;
        }
        const ONE: u128 = 1 << 32;
        let x = (found << 32) / (found + expected);
        let base = (4 * x * (ONE - x)) >> 32;
        let mut bound = ONE;
        for _ in 0..n.min(self.k) {
            bound = (bound * base) >> 32;
        }
        bound < ONE >> FALSE_ALARM_BITS
    }

    /// Estimate of the number of other nodes; `None` without more than k live peers.
    fn estimate(&self) -> Option<u64> {
        let local = Target::from(self.local);
        let mut live = self.closest_where(&local, self.k + 1, Contact::is_live);
        let kth = live.nth(self.k - 1)?;
        live.next()?;
        let distance = (local.distance(&kth.id).high() >> 64).max(1);
        let others = (((self.k - 1).max(1) as u128) << 64) / distance;
        Some(
            u64::try_from(others)
                .unwrap_or(u64::MAX)
                .max(self.len() as u64),
        )
    }
}
