//! Faults of the network: every rate is a field, which a scenario sets or a seed draws, and which
//! may change at any time.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use skydht_core::time::nanos;

use crate::clock::text;

const MILLION: u32 = 1_000_000;

/// A probability, stored in parts per million; in scenario files a number from 0 to 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Rate(u32);

impl Rate {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(MILLION);

    /// A rate of `ppm` parts per million, at most 1.
    #[must_use]
    pub const fn ppm(ppm: u32) -> Self {
        Self(if ppm > MILLION { MILLION } else { ppm })
    }

    /// A rate of `percent` per cent, at most 1.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::ppm(percent.saturating_mul(MILLION / 100))
    }

    /// Parts per million.
    #[must_use]
    pub const fn as_ppm(self) -> u32 {
        self.0
    }

    /// Draws whether the event happens. A rate of zero draws nothing from the random stream.
    pub(crate) fn hits(self, random: &mut ChaCha8Rng) -> bool {
        self.0 > 0 && below(random, u64::from(MILLION)) < u64::from(self.0)
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_f64(f64::from(self.0) / f64::from(MILLION))
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let rate = f64::deserialize(d)?;
        if (0.0..=1.0).contains(&rate) {
            // IEEE multiplication and rounding give the same result on every machine.
            Ok(Self((rate * f64::from(MILLION)).round() as u32))
        } else {
            Err(serde::de::Error::custom(format_args!(
                "a rate is a number from 0 to 1, not {rate}"
            )))
        }
    }
}

/// Returns a uniform number below `bound`; 0 if `bound` is 0.
pub(crate) fn below(random: &mut ChaCha8Rng, bound: u64) -> u64 {
    scale(random.next_u64(), bound)
}

/// Returns a uniform duration from zero to `most`.
pub(crate) fn up_to(most: Duration, random: &mut ChaCha8Rng) -> Duration {
    Duration::from_nanos(below(random, nanos(most) + 1))
}

/// Scales `uniform` from the range 0..2^64 to 0..`bound`.
fn scale(uniform: u64, bound: u64) -> u64 {
    ((u128::from(uniform) * u128::from(bound)) >> 64) as u64
}

/// Mixes 64 bits well (the finalizer of SplitMix64).
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Quantiles of a log-normal distribution with σ = 0.6, in thousandths of its median, at
/// 0.5 %, 1/32, 2/32 … 31/32, 99.5 %.
const LOG_NORMAL: [u64; 33] = [
    213, 327, 398, 453, 501, 546, 587, 628, 667, 706, 746, 786, 826, 867, 910, 954, 1000, 1048,
    1099, 1153, 1211, 1273, 1341, 1415, 1499, 1593, 1703, 1833, 1994, 2205, 2510, 3058, 4690,
];

/// Distribution of a duration. In scenario files `{ fixed = "50ms" }`, `{ uniform = { from =
/// "10ms", to = "90ms" } }` or `{ log_normal = { median = "75ms" } }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spread {
    /// Always the same.
    Fixed(#[serde(with = "text")] Duration),
    /// Uniform between two durations.
    Uniform {
        /// The minimum.
        #[serde(with = "text")]
        from: Duration,
        /// The maximum.
        #[serde(with = "text")]
        to: Duration,
    },
    /// Log-normal with σ = 0.6, like round trips over the Internet: from a fifth of the median to
    /// 4.7 times the median.
    LogNormal {
        /// The median.
        #[serde(with = "text")]
        median: Duration,
    },
}

impl Spread {
    /// Returns the duration for a uniformly drawn number.
    #[must_use]
    pub fn at(&self, uniform: u64) -> Duration {
        Duration::from_nanos(match self {
            Self::Fixed(duration) => nanos(*duration),
            Self::Uniform { from, to } => {
                let (from, to) = (nanos(*from), nanos(*to));
                from + scale(uniform, to.saturating_sub(from).saturating_add(1))
            }
            Self::LogNormal { median } => {
                let index = (uniform >> 59) as usize;
                let part = (uniform << 5) >> 44;
                let (low, high) = (LOG_NORMAL[index], LOG_NORMAL[index + 1]);
                let thousandths = (low << 20) + (high - low) * part;
                let scaled = u128::from(nanos(*median)) * u128::from(thousandths);
                u64::try_from((scaled >> 20) / 1000).unwrap_or(u64::MAX)
            }
        })
    }
}

/// Faults of the network. `Faults::default()` is a good network: latency, and no faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Faults {
    /// One-way latency, drawn once per pair of hosts; the same in both directions.
    pub latency: Spread,
    /// Added to each message: a uniform duration from zero to this.
    #[serde(with = "text")]
    pub jitter: Duration,
    /// Bytes per second that one stream carries in one direction; 0: unlimited.
    pub bandwidth: u64,
    /// Probability that a transmission is lost; it is repeated after [`Faults::rto`], which doubles
    /// each time.
    pub loss: Rate,
    /// First retransmission timeout.
    #[serde(with = "text")]
    pub rto: Duration,
    /// Probability that a message resets its stream instead of arriving.
    pub stream_reset: Rate,
    /// Probability that a message ends its session, with all streams, instead of arriving.
    pub session_reset: Rate,
    /// Probability that a new stream silently loses everything sent in one direction.
    pub half_open: Rate,
    /// Time after which a half-open stream is reset; zero: never.
    #[serde(with = "text")]
    pub half_open_for: Duration,
    /// Probability that a new stream is slow.
    pub slow: Rate,
    /// Bytes per second of a slow stream; 0: unlimited.
    pub slow_bandwidth: u64,
    /// Probability that a dial is refused although the peer is up.
    pub dial_refused: Rate,
    /// Probability that a dial gets no answer although the peer is up.
    pub dial_lost: Rate,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency: Spread::Fixed(Duration::from_millis(50)),
            jitter: Duration::ZERO,
            bandwidth: 0,
            loss: Rate::NEVER,
            rto: Duration::from_millis(200),
            stream_reset: Rate::NEVER,
            session_reset: Rate::NEVER,
            half_open: Rate::NEVER,
            half_open_for: Duration::from_secs(60),
            slow: Rate::NEVER,
            slow_bandwidth: 1024,
            dial_refused: Rate::NEVER,
            dial_lost: Rate::NEVER,
        }
    }
}

impl Faults {
    /// Returns the same network without faults: latency, jitter and bandwidth stay.
    #[must_use]
    pub fn healed(&self) -> Self {
        Self {
            latency: self.latency,
            jitter: self.jitter,
            bandwidth: self.bandwidth,
            ..Self::default()
        }
    }
}

/// How sessions and streams are established: properties of a transport, not of the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Transport {
    /// Number of round trips of a dial, handshake included, before the first stream can be opened.
    pub dial_trips: u8,
    /// Whether a stream on an existing session is usable only after the peer has confirmed it
    /// (DMSG), rather than immediately (yamux over TCP).
    pub confirm_streams: bool,
    /// Time after which a dial without an answer fails.
    #[serde(with = "text")]
    pub dial_timeout: Duration,
    /// Time after which a session without any delivery is closed at both ends.
    #[serde(with = "text")]
    pub session_timeout: Duration,
    /// Time after which a session without streams is closed, or up to half as long again.
    #[serde(with = "text")]
    pub idle_timeout: Duration,
    /// Bytes that a paused receiver accepts before the sender has to wait.
    pub window: u32,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            dial_trips: 2,
            confirm_streams: false,
            dial_timeout: Duration::from_secs(3),
            session_timeout: Duration::from_secs(90),
            idle_timeout: Duration::from_secs(180),
            window: 256 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng as _;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn spreads_keep_to_their_bounds_and_median() {
        let median = 100 * MS;
        let log = Spread::LogNormal { median };
        assert_eq!(log.at(1 << 63), median);
        assert_eq!(log.at(0), Duration::from_micros(21_300));
        assert!(log.at(u64::MAX) > 468 * MS && log.at(u64::MAX) <= 469 * MS);
        let (from, to) = (10 * MS, 20 * MS);
        let uniform = Spread::Uniform { from, to };
        assert_eq!((uniform.at(0), uniform.at(u64::MAX)), (from, to));
        assert!(uniform.at(1 << 63) >= 15 * MS && uniform.at(1 << 63) < 16 * MS);
        assert_eq!(Spread::Fixed(median).at(77), median);
        let points: Vec<_> = (0..1024).map(|i| log.at(i << 54)).collect();
        assert!(points.is_sorted());
    }

    #[test]
    fn rates_hit_as_often_as_they_say() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let rate = Rate::percent(30);
        let hits = (0..10_000).filter(|_| rate.hits(&mut random)).count();
        assert!((2_800..3_200).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| Rate::ALWAYS.hits(&mut random)));
        assert!((0..1000).all(|_| !Rate::NEVER.hits(&mut random)));
    }

    #[test]
    fn faults_are_read_from_toml_and_nonsense_is_refused() {
        let faults: Faults = toml::from_str(
            "latency = { log_normal = { median = \"75ms\" } }\nloss = 0.01\nrto = \"300ms\"",
        )
        .unwrap();
        assert_eq!(faults.loss, Rate::percent(1));
        assert_eq!(faults.rto, 300 * MS);
        for wrong in ["loss = 1.5", "loss = -0.1", "los = 0.1", "jitter = \"1\""] {
            assert!(toml::from_str::<Faults>(wrong).is_err(), "{wrong}");
        }
    }
}
