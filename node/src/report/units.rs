//! Formats of numbers in reports.

use std::time::Duration;

/// Serializes a sequence number as a string.
pub(crate) mod seq_text {
    use serde::{Deserialize, Deserializer, Serializer};
    use skydht_core::item::Seq;

    pub(crate) fn serialize<S: Serializer>(seq: &Seq, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(seq)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Seq, D::Error> {
        String::deserialize(d)?
            .parse()
            .map(Seq)
            .map_err(serde::de::Error::custom)
    }
}

/// Returns the duration in milliseconds, rounded to microseconds.
pub(crate) fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

pub(crate) fn from_ms(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default()
}
