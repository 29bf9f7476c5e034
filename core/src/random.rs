//! Randomness as an input: one seed, and one stream per use, so that an additional draw in one
//! place does not shift the others.

use core::fmt;
use core::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

use crate::time::nanos;

/// The source of all randomness of a node. Take it once from the operating system; to replay a run,
/// use the same seed again.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// Creates a seed from a small number, for simulations and tests.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(Sha256::digest(number.to_be_bytes()).into())
    }

    /// Creates the random stream for one use.
    #[must_use]
    pub(crate) fn stream(&self, purpose: &'static str) -> Random {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(purpose.as_bytes());
        Random(ChaCha8Rng::from_seed(hash.finalize().into()))
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(")?;
        crate::key::write_hex(f, &self.0)?;
        f.write_str(")")
    }
}

/// A random stream.
#[derive(Clone)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// Returns 64 random bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `bound`, which must not be 0. The bias is at most bound / 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// 32 random bytes.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.fill_bytes(&mut out);
        out
    }

    /// Returns between three quarters and five quarters of `duration`, so that nodes do not act in
    /// lockstep.
    pub(crate) fn jitter(&mut self, duration: Duration) -> Duration {
        let n = nanos(duration);
        Duration::from_nanos(n - n / 4 + self.below((n / 2).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_are_independent_and_repeatable() {
        let seed = Seed::from_number(7);
        let (mut a, mut b) = (seed.stream("a"), seed.stream("b"));
        let first = a.next();
        assert_ne!(first, b.next());
        assert_eq!(seed.stream("a").next(), first);
    }

    #[test]
    fn jitter_stays_within_a_quarter() {
        let mut random = Seed::from_number(1).stream("jitter");
        for _ in 0..1000 {
            let d = random.jitter(Duration::from_secs(4));
            assert!((Duration::from_secs(3)..=Duration::from_secs(5)).contains(&d));
        }
    }
}
