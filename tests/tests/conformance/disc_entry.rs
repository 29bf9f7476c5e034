//! disc_entry.json, and the entries of dmsg_2026.json: encoding, signatures and rules of discovery
//! entries.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::entry::{ClientFields, Entry, EntryError, ServerFields, SignedEntry};

use crate::hex::{Hex, hex};
use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    name: String,
    entry_json: String,
    signature: Hex,
    signed_bytes: String,
    signed_bytes_hex: Option<Hex>,
    signed_bytes_sha256: Option<Hex>,
    sk: Option<Hex>,
    verify_error: Option<String>,
    validate_without_time_error: Option<String>,
    /// Concerns Go's two JSON libraries only.
    #[serde(rename = "std_encoding_json_gives_same_text")]
    _same_text: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignatureCheck {
    name: String,
    entry_json: String,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Validation {
    name: String,
    check_timestamp: bool,
    timestamp_minus_now: String,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Iteration {
    name: String,
    old_sequence: u64,
    old_timestamp: i64,
    new_sequence: u64,
    new_timestamp: i64,
    error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    client_sk: Hex,
    client_pk: Hex,
    server_sk: Hex,
    server_pk: Hex,
    third_pk: Hex,
}

fn text(result: Result<(), EntryError>) -> String {
    result
        .err()
        .map_or(String::new(), |error| error.to_string())
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    for vector in report
        .section::<Vec<Signed>>(file, "entries")
        .unwrap_or_default()
    {
        signed("entries", &vector, report);
    }
    let checks: Vec<SignatureCheck> = report.section(file, "signature_checks").unwrap_or_default();
    for vector in checks {
        let mut case = report.case(format!("signature_checks/{}", vector.name));
        let read = SignedEntry::from_json(vector.entry_json.as_bytes());
        let ours = text(read.and_then(|entry| entry.verify()));
        case.check("error", ours, vector.error);
    }
    let Some(keys) = report.section::<Keys>(file, "keys") else {
        return;
    };
    let mut case = report.case("keys");
    for (sk, pk) in [
        (&keys.client_sk, &keys.client_pk),
        (&keys.server_sk, &keys.server_pk),
    ] {
        let public = SecretKey::from_bytes(&sk.0).map(|key| hex(key.public().as_bytes()));
        case.check(&hex(&pk.0), public.ok(), pk);
    }
    case.check(
        "third",
        PublicKey::from_bytes(&keys.third_pk.0).is_ok(),
        true,
    );
    drop(case);
    let validations: Vec<Validation> = report.section(file, "validate").unwrap_or_default();
    for vector in validations {
        validation(&vector, &keys, report);
    }
    for vector in report
        .section::<Vec<Iteration>>(file, "iteration")
        .unwrap_or_default()
    {
        let key = PublicKey::from_bytes(&keys.client_pk.0).expect("a key of the vectors");
        let old = Entry::new(key, vector.old_sequence, vector.old_timestamp);
        let new = Entry::new(key, vector.new_sequence, vector.new_timestamp);
        let mut case = report.case(format!("iteration/{}", vector.name));
        case.check("error", text(new.validate_iteration(&old)), vector.error);
    }
}

pub(crate) fn run_2026(file: &Value, report: &mut Report) {
    for vector in report
        .section::<Vec<Signed>>(file, "disc_entries")
        .unwrap_or_default()
    {
        signed("disc_entries", &vector, report);
    }
}

fn signed(section: &str, vector: &Signed, report: &mut Report) {
    let mut case = report.case(format!("{section}/{}", vector.name));
    let entry = match SignedEntry::from_json(vector.entry_json.as_bytes()) {
        Ok(entry) => entry,
        Err(error) => return case.fail(error),
    };
    let expected = vector.verify_error.as_deref().unwrap_or("");
    case.check("verify", text(entry.verify()), expected);
    // This implementation's encoding of the content, with and without the signature.
    let content = entry.entry();
    let written = serde_json::to_string(content).expect("an entry is JSON");
    case.check("entry_json", &written, &vector.entry_json);
    let member = format!(",\"signature\":\"{}\"", hex(&vector.signature.0));
    case.check(
        "signed_bytes",
        written.replace(&member, ""),
        &vector.signed_bytes,
    );
    if let Some(bytes) = &vector.signed_bytes_hex {
        case.check("signed_bytes_hex", hex(&vector.signed_bytes), bytes);
    }
    if let Some(hash) = &vector.signed_bytes_sha256 {
        case.check("sha256", hex(Sha256::digest(&vector.signed_bytes)), hash);
    }
    if let Some(expected) = &vector.validate_without_time_error {
        case.check("validate", text(content.validate()), expected);
    }
    // The same content, signed by this implementation, verifies, and has the same encoding except
    // for the signature.
    if let Some(sk) = &vector.sk {
        let secret = SecretKey::from_bytes(&sk.0).expect("a key of the vectors");
        let ours = content.clone().sign(&secret);
        let again = SignedEntry::from_json(ours.json());
        case.check("ours", text(again.and_then(|entry| entry.verify())), "");
        let length = vector.entry_json.len();
        case.check("length of ours", ours.json().len(), length);
    }
}

/// Builds the entry that the vectors refer to by name.
fn subject(name: &str, keys: &Keys, timestamp: i64) -> Result<SignedEntry, EntryError> {
    let secret = SecretKey::from_bytes(&keys.server_sk.0).expect("a key of the vectors");
    let mut entry = Entry::new(secret.public(), 1, timestamp);
    entry.server = Some(ServerFields {
        address: "192.0.2.10:8080".to_owned(),
        ..ServerFields::default()
    });
    match name {
        "no version" => entry.version.clear(),
        "another version is accepted" => entry.version = "9.9.9".to_owned(),
        "neither" => entry.server = None,
        "server with empty address" => {
            entry.client = Some(ClientFields::default());
            entry.server = Some(ServerFields::default());
        }
        _ => {}
    }
    let signed = entry.sign(&secret);
    let json = String::from_utf8(signed.json().to_vec()).expect("JSON is UTF-8");
    let key = hex(secret.public().as_bytes());
    let json = match name {
        "no signature" => json.replace("\"signature\"", "\"_\""),
        "null static" => json.replace(&key, &"0".repeat(key.len())),
        _ => json,
    };
    SignedEntry::from_json(json.as_bytes())
}

const NAMES: &[&str] = &[
    "good",
    "no version",
    "another version is accepted",
    "no signature",
    "null static",
    "neither",
    "server with empty address",
    "timestamp window",
    "timestamp window, not checked",
];

fn validation(vector: &Validation, keys: &Keys, report: &mut Report) {
    let at = &vector.timestamp_minus_now;
    let mut case = report.case(format!("validate/{} {at}", vector.name));
    if !NAMES.contains(&vector.name.as_str()) {
        return case.fail("unknown name");
    }
    let now = Duration::from_secs(1_777_000_000);
    let timestamp = now.as_nanos() as i64 + nanoseconds(at);
    let ours = subject(&vector.name, keys, timestamp).and_then(|signed| {
        signed.entry().validate()?;
        match vector.check_timestamp {
            true => signed.entry().validate_time(now),
            false => Ok(()),
        }
    });
    case.check("error", text(ours), &vector.error);
}

/// Parses Go's format of a duration in whole hours, minutes and seconds.
fn nanoseconds(text: &str) -> i64 {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut seconds = 0;
    let mut number = 0;
    for c in text.chars() {
        match (c, c.to_digit(10)) {
            (_, Some(digit)) => number = number * 10 + i64::from(digit),
            (unit, None) => {
                let factor = match unit {
                    'h' => 3600,
                    'm' => 60,
                    's' => 1,
                    other => panic!("{other} in a duration"),
                };
                seconds += number * factor;
                number = 0;
            }
        }
    }
    sign * seconds * 1_000_000_000
}
