//! The response of `/health`, as of all Skywire services.

use serde::{Deserialize, Serialize};
use skydht_core::time::Unix;

/// Path of the request.
pub const PATH: &str = "/health";

/// Build information; `unknown` where the build does not provide it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuildInfo {
    /// Version of the program.
    pub version: String,
    /// Commit that was built.
    pub commit: String,
    /// Date of the build.
    pub date: String,
}

impl Default for BuildInfo {
    fn default() -> Self {
        let unknown = || "unknown".to_owned();
        Self {
            version: unknown(),
            commit: unknown(),
            date: unknown(),
        }
    }
}

/// The response, with upstream's names. Empty members are omitted.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// Name of the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_name: String,
    /// How the program was built.
    pub build_info: BuildInfo,
    /// Time of the start, in RFC 3339.
    pub started_at: String,
    /// The service's address on DMSG, `PK:PORT`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dmsg_address: String,
    /// URL of the DMSG discovery that the service uses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dmsg_discovery: String,
    /// Whether the service is a bootstrap node of the DHT.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dht_bootstrap: bool,
}

impl Health {
    /// Creates the response of a service of version `version` that started at `started`.
    #[must_use]
    pub fn new(started: Unix, version: &str) -> Self {
        let mut health = Self {
            started_at: rfc3339(started),
            ..Self::default()
        };
        version.clone_into(&mut health.build_info.version);
        health
    }
}

/// Formats a time as Go does: UTC, nanoseconds without trailing zeros.
#[must_use]
pub fn rfc3339(at: Unix) -> String {
    let (seconds, nanos) = (at.0 / 1_000_000_000, at.0 % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Counts days from 0000-03-01, in eras of 400 years (H. Hinnant, "chrono-compatible low-level
    // date algorithms").
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, year) = match month {
        0..=9 => (month + 3, year + era * 400),
        _ => (month - 9, year + era * 400 + 1),
    };
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}{fraction}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_go_writes_them() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00Z"),
            (951_868_799_500_000_000, "2000-02-29T23:59:59.5Z"),
            (951_868_800_000_000_000, "2000-03-01T00:00:00Z"),
            (1_795_338_834_111_076_237, "2026-11-22T09:13:54.111076237Z"),
            (4_107_542_399_000_000_001, "2100-02-28T23:59:59.000000001Z"),
        ] {
            assert_eq!(rfc3339(Unix(at)), text);
        }
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let health = Health::new(Unix(0), "1.2.3");
        assert_eq!(
            serde_json::to_string(&health).unwrap(),
            r#"{"build_info":{"version":"1.2.3","commit":"unknown","date":"unknown"},"started_at":"1970-01-01T00:00:00Z"}"#
        );
    }
}
