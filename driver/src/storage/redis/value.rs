//! Values in Redis: an item in upstream's JSON, followed by members that upstream does not know.
//!
//! `{"k":…,"seq":…,"sig":…,"v":…,"salt":…}` is upstream's. `vouched` and `expires` (Unix
//! nanoseconds) and `bound` (hexadecimal) are additions that Go programs ignore.

use std::time::Duration;

use serde::Deserialize;
use skydht_core::id::Target;
use skydht_core::key::Signature;
use skydht_core::record::StoredRecord;
use skydht_core::time::Unix;
use skydht_core::wire::{WireItem, decode_item, encode_item};

/// Prefix of keys; the target follows as 64 lower-case hexadecimal digits.
const PREFIX: &str = "dht:";
/// Pattern that matches the keys of items in `SCAN`.
pub(super) const PATTERN: &str = concat!(
    "dht:",
    "????????????????????????????????",
    "????????????????????????????????"
);

/// Returns the key of a target.
pub(super) fn key_of(target: &Target) -> Vec<u8> {
    format!("{PREFIX}{target}").into_bytes()
}

/// Returns the target of a key; `None` for keys of other programs.
pub(super) fn target_of_key(key: &[u8]) -> Option<Target> {
    let digits = key.strip_prefix(PREFIX.as_bytes())?;
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |at: usize| match pair[at] {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(Target::from_bytes(bytes))
}

/// A value that is a record.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Found {
    pub(super) record: StoredRecord,
    /// Whether it says how long it lives, which means that a skydht node wrote it.
    pub(super) has_life: bool,
}

#[derive(Deserialize, Default)]
struct Extra {
    vouched: Option<u64>,
    expires: Option<u64>,
    bound: Option<Signature>,
}

/// Decodes a value; `None` if it is not an item, or exceeds the size limits.
pub(super) fn decode(target: &Target, json: &[u8]) -> Option<Found> {
    read(target, json).filter(|found| found.record.item.check_sizes().is_ok())
}

/// Decodes an item in the form that it has in Redis under `target`, written by upstream or by
/// skydht, without verifying it. An item without a stored life has no expiry, and counts as vouched
/// for at the time in its sequence, if that is a time.
#[must_use]
pub fn redis_record(target: &Target, json: &[u8]) -> Option<StoredRecord> {
    read(target, json).map(|found| found.record)
}

fn read(target: &Target, json: &[u8]) -> Option<Found> {
    let item = decode_item(json).ok()?.into_item()?;
    let extra: Extra = serde_json::from_slice(json).ok()?;
    // Go programs store no life: it starts at the sequence, if that is a time.
    let vouched = extra.vouched.map(Unix).or(item.seq.as_time());
    Some(Found {
        has_life: extra.vouched.is_some(),
        record: StoredRecord {
            target: *target,
            item: std::sync::Arc::unwrap_or_clone(item),
            vouched: vouched.unwrap_or_default(),
            expires: extra.expires.map(Unix),
            bound: extra.bound,
        },
    })
}

/// Encodes a record in the form that it has in Redis: [`redis_record`] decodes it, and upstream's
/// programs can decode the item in it.
#[must_use]
pub fn redis_value(record: &StoredRecord) -> Vec<u8> {
    let mut json = encode_item(&WireItem::from(record.item.clone()));
    json.pop();
    json.extend_from_slice(format!(",\"vouched\":{}", record.vouched.0).as_bytes());
    if let Some(expires) = record.expires {
        json.extend_from_slice(format!(",\"expires\":{}", expires.0).as_bytes());
    }
    if let Some(bound) = &record.bound {
        json.extend_from_slice(b",\"bound\":");
        json.extend(serde_json::to_vec(bound).unwrap_or_default());
    }
    json.push(b'}');
    json
}

impl Found {
    /// Returns whether the record has expired. `ttl` applies to records without a stored life.
    pub(super) fn is_over(&self, now: Unix, ttl: Duration) -> bool {
        let StoredRecord {
            vouched, expires, ..
        } = &self.record;
        match expires {
            Some(expires) => expires.is_set() && *expires <= now,
            None => !self.has_life && vouched.is_set() && vouched.plus(ttl) <= now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::record;

    #[test]
    fn records_round_trip_and_go_reads_the_item_in_them() {
        for n in 0..10 {
            let mut record = record(n);
            if n == 5 {
                record.bound = Some(Signature::from_bytes([9; 65]));
            }
            let json = redis_value(&record);
            let found = decode(&record.target, &json).unwrap();
            assert_eq!((found.record, found.has_life), (record.clone(), true));
            // Upstream reads the item's members only.
            let item = decode_item(&json).unwrap();
            assert_eq!(**item.item().unwrap(), record.item);
            let key = key_of(&record.target);
            assert_eq!(target_of_key(&key), Some(record.target));
            assert_eq!(key.len(), PATTERN.len());
        }
    }

    #[test]
    fn what_upstream_wrote_lives_since_its_sequence_where_that_is_a_time() {
        let ttl = Duration::from_secs(7_200);
        let mut record = record(1);
        for (seq, vouched) in [
            (7, 0),
            (1_790_000_000_000_000_000, 1_790_000_000_000_000_000),
        ] {
            record.item.seq = skydht_core::item::Seq(seq);
            let json = encode_item(&WireItem::from(record.item.clone()));
            let found = decode(&record.target, &json).unwrap();
            assert_eq!(
                (found.record.vouched, found.record.expires),
                (Unix(vouched), None)
            );
            let late = Unix(1_790_000_000_000_000_000).plus(ttl);
            assert_eq!(found.is_over(late, ttl), vouched != 0);
            assert!(!found.is_over(Unix(late.0 - 1), ttl));
        }
    }

    #[test]
    fn keys_and_values_of_others_are_none_of_ours() {
        let target = record(1).target;
        let upper = key_of(&target).to_ascii_uppercase();
        for key in [&b"dht:"[..], b"dht:changes", b"other", &upper, &[b'x'; 68]] {
            assert_eq!(target_of_key(key), None);
        }
        let good = String::from_utf8(redis_value(&record(1))).unwrap();
        let cut = &good[..good.len() - 1];
        let keyless = good.replacen("\"k\":\"0", "\"k\":\"1", 1);
        for json in [
            "",
            "{}",
            "null",
            "7",
            "[]",
            "\"x\"",
            "{\"k\":1}",
            cut,
            &keyless,
        ] {
            assert_eq!(decode(&target, json.as_bytes()), None, "{json}");
        }
    }
}
