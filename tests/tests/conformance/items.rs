//! items.json: signed bytes, targets, and limits of items.

use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};
use skydht_core::item::{Item, ItemError, MAX_SALT_LEN, MAX_VALUE_LEN, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::wire::{decode_item, encode_item};

use crate::hex::{Hex, hex};
use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    k: Hex,
    sk: Hex,
    seq: String,
    salt: Hex,
    salt_is_nil: bool,
    v: Option<Hex>,
    v_is_nil: bool,
    v_len: Option<usize>,
    v_sha256: Option<Hex>,
    v_rule: Option<String>,
    sign_payload: Option<Hex>,
    sign_payload_sha256: Hex,
    sig: Hex,
    target: Hex,
    json: Option<String>,
    json_len: Option<usize>,
    json_sha256: Hex,
    verify_ok: bool,
    verify_error: String,
}

/// The only rule for values that the vectors do not list.
const VALUE_RULE: &str = "byte i = (i*31 + i/256 + 7) mod 256";

/// Returns a value of this length by [`VALUE_RULE`].
pub(crate) fn value_by_rule(length: usize) -> Value {
    let bytes = (0..length).map(|i| (i * 31 + i / 256 + 7) as u8);
    Value::from(bytes.collect::<Vec<_>>())
}

impl Vector {
    fn value(&self) -> Value {
        match (&self.v, self.v_len) {
            (Some(bytes), None) if self.v_is_nil => {
                assert!(bytes.0.is_empty(), "nil with bytes");
                Value::null()
            }
            (Some(bytes), None) => Value::new(&bytes.0),
            (None, Some(length)) => {
                assert_eq!(self.v_rule.as_deref(), Some(VALUE_RULE), "unknown rule");
                value_by_rule(length)
            }
            _ => panic!("either v or v_len"),
        }
    }
}

pub(crate) fn run(file: &Json, report: &mut Report) {
    if let Some(limit) = report.section::<usize>(file, "max_value_size") {
        let mut case = report.case("max_value_size");
        case.check("bytes", MAX_VALUE_LEN, limit);
    }
    if let Some(limit) = report.section::<usize>(file, "max_salt_size") {
        let mut case = report.case("max_salt_size");
        case.check("bytes", MAX_SALT_LEN, limit);
    }
    let vectors: Vec<Vector> = report.section(file, "items").unwrap_or_default();
    for vector in vectors {
        check(&vector, report);
    }
}

fn check(vector: &Vector, report: &mut Report) {
    let value = vector.value();
    let seq = Seq(vector.seq.parse().expect("a decimal u64"));
    let item = Item {
        key: PublicKey::from_bytes(&vector.k.0).expect("a good key"),
        seq,
        signature: Signature::from_bytes(vector.sig.array()),
        value: value.clone(),
        salt: Salt::new(&vector.salt.0),
    };
    let mut case = report.case(format!("items/{}", vector.name));
    if vector.salt_is_nil && !vector.salt.0.is_empty() {
        case.fail("nil salt with bytes");
    }
    if let Some(payload) = &vector.sign_payload {
        case.check("sign_payload", hex(item.payload()), payload);
    }
    let digest = hex(item.digest());
    case.check("sign_payload_sha256", digest, &vector.sign_payload_sha256);
    if let Some(hash) = &vector.v_sha256 {
        // The content hash covers value and salt; without a salt it is the hash of the value.
        let unsalted = Item {
            salt: Salt::default(),
            ..item.clone()
        };
        case.check("v_sha256", hex(unsalted.content_hash()), hash);
    }
    case.check("target", item.target(), &vector.target);
    let verdict = item.check();
    case.check("verify_ok", verdict.is_ok(), vector.verify_ok);
    case.check("verify_error", text(verdict), &vector.verify_error);

    // The same item signed by this implementation differs only in the signature, and has the same
    // verdict.
    let secret = SecretKey::from_bytes(&vector.sk.0).expect("a good secret key");
    let ours = Item::sign(&secret, seq, value, item.salt.clone());
    case.check(
        "own signature verifies",
        ours.check().is_ok(),
        vector.verify_ok,
    );
    case.check("own target", ours.target(), &vector.target);
    case.check("key", ours.key, &vector.k);

    // Go's JSON, in both directions. Long texts are listed by length and hash.
    let json = encode_item(&item.clone().into());
    if let Some(theirs) = &vector.json {
        case.check("json", String::from_utf8_lossy(&json), theirs);
    }
    if let Some(theirs) = vector.json_len {
        case.check("json_len", json.len(), theirs);
    }
    let hash = hex(Sha256::digest(&json));
    case.check("json_sha256", hash, &vector.json_sha256);
    let theirs = vector
        .json
        .as_ref()
        .map_or(json.as_slice(), |text| text.as_bytes());
    match decode_item(theirs) {
        Ok(decoded) => {
            let null = decoded.item().is_some_and(|item| item.value.is_null());
            case.check("decodes to the same", decoded == item.into(), true);
            case.check("v_is_nil", null, vector.v_is_nil);
        }
        Err(error) => case.fail(error),
    }
}

/// Returns Go's error text. Its part after the signature's colon depends on the version of Go.
fn text(verdict: Result<(), ItemError>) -> String {
    verdict
        .err()
        .map_or(String::new(), |error| error.to_string())
}
