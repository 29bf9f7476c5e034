//! Time in the core: two readings, passed in by the driver with every input.
//!
//! Deadlines and lifetimes use [`Mono`], which never goes back. [`Unix`] serves for sequences,
//! `last_seen` on the wire and persistence; it may step, and is not trusted before [`Unix::BUILD`].

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
    /// Monotonic reading, for deadlines and lifetimes.
    pub mono: Mono,
    /// Wall-clock reading, for sequences, `last_seen` and persistence.
    pub unix: Unix,
}

/// Converts `duration` to whole nanoseconds, saturating (584 years).
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

    /// Time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Unix {
    /// 2026-01-01T00:00:00Z. A wall clock before this has never been set.
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

    /// Time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whether the wall clock has been set, and can be trusted.
    #[must_use]
    pub const fn is_set(self) -> bool {
        self.0 >= Self::BUILD.0
    }
}
