//! Time as the core sees it: two readings, handed in by the driver with every input.
//!
//! Deadlines and item life run on [`Mono`], which never goes back. [`Unix`] serves
//! sequences, `last_seen` on the wire and persistence; it may step and is not believed
//! before [`Unix::BUILD`].

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds on a monotonic clock with an arbitrary start.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

/// Nanoseconds since the Unix epoch.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Unix(pub u64);

/// The two clock readings that come with every input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Time {
    /// Monotonic reading: deadlines and life.
    pub mono: Mono,
    /// Wall-clock reading: sequences, `last_seen`, persistence.
    pub unix: Unix,
}

/// `duration` in whole nanoseconds, saturating (584 years).
#[must_use]
#[allow(clippy::cast_possible_truncation, reason = "compared before")]
pub const fn nanos(duration: Duration) -> u64 {
    let n = duration.as_nanos();
    if n > u64::MAX as u128 {
        u64::MAX
    } else {
        n as u64
    }
}

impl Mono {
    /// The instant `duration` later, saturating.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The instant `duration` earlier, saturating at the start.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Unix {
    /// 2026-01-01T00:00:00Z: a wall clock before this was never set.
    pub const BUILD: Self = Self(1_767_225_600_000_000_000);

    /// The instant `duration` later, saturating.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// The instant `duration` earlier, saturating at the epoch.
    #[must_use]
    pub const fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// Time since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whether the wall clock can be believed at all.
    #[must_use]
    pub const fn is_set(self) -> bool {
        self.0 >= Self::BUILD.0
    }
}
