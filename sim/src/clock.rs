//! True time and the clocks of hosts: skew, drift, steps and suspension.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skydht_core::time::{Mono, Time, Unix, nanos};

/// The wall clock at [`SimTime::ZERO`]: 2026-09-21T14:13:20Z.
pub const EPOCH: Unix = Unix(1_790_000_000_000_000_000);
/// Reading of a monotonic clock at [`SimTime::ZERO`], so that no event is at time zero.
const MONO_START: u64 = 1_000_000_000;
const MILLION: i128 = 1_000_000;

/// True time: nanoseconds since the simulation began. No host can read it.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SimTime(pub u64);

impl SimTime {
    /// The start of the simulation.
    pub const ZERO: Self = Self(0);

    /// The instant `duration` later, saturating.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// Time since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1000
        )
    }
}

/// The clocks of one host. The monotonic clock drifts and never steps; the wall clock is the
/// monotonic one plus an offset, which may step. The clocks of a suspended host keep running, so it
/// sees a jump when it resumes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Clock {
    /// True time of the last change of drift; `mono` is the reading at that time.
    base: SimTime,
    mono: u64,
    drift_ppm: i32,
    /// Wall clock minus monotonic clock, in nanoseconds.
    unix: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            base: SimTime::ZERO,
            mono: MONO_START,
            drift_ppm: 0,
            unix: EPOCH.0 - MONO_START,
        }
    }
}

impl Clock {
    /// Creates an exact clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the readings of the host at `at`.
    #[must_use]
    pub fn read(&self, at: SimTime) -> Time {
        let mono = self.mono_at(at);
        Time {
            mono: Mono(mono),
            unix: Unix(mono.saturating_add(self.unix)),
        }
    }

    fn mono_at(&self, at: SimTime) -> u64 {
        let elapsed = at.0.saturating_sub(self.base.0);
        if self.drift_ppm == 0 {
            return self.mono.saturating_add(elapsed);
        }
        let drifted = i128::from(elapsed) * (MILLION + i128::from(self.drift_ppm)) / MILLION;
        self.mono
            .saturating_add(u64::try_from(drifted).unwrap_or(u64::MAX))
    }

    /// The first true time at which the monotonic clock shows `mono` or more.
    #[must_use]
    pub fn when(&self, mono: Mono) -> SimTime {
        let ahead = mono.0.saturating_sub(self.mono);
        if self.drift_ppm == 0 {
            return SimTime(self.base.0.saturating_add(ahead));
        }
        let rate = MILLION + i128::from(self.drift_ppm);
        let elapsed = (i128::from(ahead) * MILLION + rate - 1) / rate;
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        SimTime(self.base.0.saturating_add(elapsed))
    }

    /// Makes the clock run this many parts per million too fast (too slow if negative) from `at`
    /// on. Clamped to half and double speed.
    pub fn drift(&mut self, at: SimTime, ppm: i32) {
        self.mono = self.mono_at(at);
        self.base = at;
        self.drift_ppm = ppm.clamp(-500_000, 1_000_000);
    }

    /// Steps the wall clock forward.
    pub fn step_forward(&mut self, by: Duration) {
        self.unix = self.unix.saturating_add(nanos(by));
    }

    /// Steps the wall clock back, not before 1970.
    pub fn step_back(&mut self, by: Duration) {
        self.unix = self.unix.saturating_sub(nanos(by));
    }
}

/// Durations in scenario files: a whole number and a unit, such as `"150ms"`. Units: `us`, `ms`,
/// `s`, `min`, `h`.
///
/// ```
/// use std::time::Duration;
/// # use skydht_sim::clock::text;
/// assert_eq!(text::parse("150ms"), Ok(Duration::from_millis(150)));
/// assert_eq!(text::write(Duration::from_secs(120)), "2min");
/// ```
pub mod text {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    const UNITS: [(&str, u64); 6] = [
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];

    /// Text that is not a duration.
    #[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
    #[error("`{0}` is no duration: write a whole number and us, ms, s, min or h, as 150ms")]
    pub struct ParseDurationError(String);

    /// Parses a duration.
    ///
    /// # Errors
    /// The unit is unknown, the number is missing, or the duration exceeds 584 years.
    pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
        let wrong = || ParseDurationError(text.into());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let (_, scale) = UNITS.iter().find(|u| u.0 == unit).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let nanos = number.checked_mul(*scale).ok_or_else(wrong)?;
        Ok(Duration::from_nanos(nanos))
    }

    /// Formats a duration in the largest unit that divides it.
    #[must_use]
    pub fn write(duration: Duration) -> String {
        let nanos = skydht_core::time::nanos(duration);
        let fits = |scale: u64| nanos >= scale && nanos.is_multiple_of(scale);
        match UNITS.iter().find(|(_, scale)| fits(*scale)) {
            Some((unit, scale)) => format!("{}{unit}", nanos / scale),
            None => "0s".into(),
        }
    }

    /// For `#[serde(with = …)]`.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&write(*duration))
    }

    /// For `#[serde(with = …)]`.
    ///
    /// # Errors
    /// The text is not a duration, see [`parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(d)?;
        parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> SimTime {
        SimTime::ZERO.plus(SECOND * u32::try_from(seconds).unwrap())
    }

    #[test]
    fn a_fast_clock_reaches_its_deadline_early_and_never_goes_back() {
        let mut clock = Clock::new();
        let start = clock.read(SimTime::ZERO).mono;
        clock.drift(at(100), 10_000);
        assert_eq!(clock.read(at(200)).mono.since(start), SECOND * 201);
        let due = start.plus(SECOND * 201);
        assert_eq!(clock.when(due), at(200));
        let before = clock.read(at(200));
        clock.drift(at(200), -10_000);
        assert_eq!(clock.read(at(200)), before);
        assert_eq!(clock.read(at(300)).mono.since(before.mono), SECOND * 99);
    }

    #[test]
    fn the_clock_shows_the_deadline_when_it_is_said_to() {
        let mut clock = Clock::new();
        for ppm in [-499_999, -77, 0, 1, 333_333] {
            clock.drift(at(7), ppm);
            for ahead in [0, 1, 999, 1_000_003, 86_400_000_000_123] {
                let due = Mono(clock.read(at(7)).mono.0 + ahead);
                let when = clock.when(due);
                assert!(clock.read(when).mono >= due, "{ppm} {ahead}");
                let before = SimTime(when.0.max(at(7).0 + 1) - 1);
                assert!(ahead == 0 || clock.read(before).mono < due, "{ppm} {ahead}");
            }
        }
    }

    #[test]
    fn a_step_moves_the_wall_clock_alone() {
        let mut clock = Clock::new();
        let before = clock.read(at(5));
        clock.step_forward(SECOND * 3600);
        assert_eq!(clock.read(at(5)).mono, before.mono);
        assert_eq!(clock.read(at(5)).unix.since(before.unix), SECOND * 3600);
        clock.step_back(SECOND * 7200);
        assert_eq!(before.unix.since(clock.read(at(5)).unix), SECOND * 3600);
    }

    #[test]
    fn durations_round_trip_and_nonsense_is_refused() {
        for text in ["0s", "7us", "150ms", "90s", "2min", "3h"] {
            assert_eq!(text::write(text::parse(text).unwrap()), text);
        }
        for text in ["", "5", "ms", "-1s", "1.5s", "1d", "99999999999h"] {
            assert!(text::parse(text).is_err(), "{text}");
        }
    }
}
