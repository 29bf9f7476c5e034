//! keys.json: parsing of keys, node ids, Diffie-Hellman, and hexadecimal text in messages.

use serde::Deserialize;
use serde_json::{Value, json};
use skydht_core::key::{PUBLIC_KEY_LEN, PublicKey, SecretKey};
use skydht_core::wire::{WireItem, decode_item};

use crate::hex::{Hex, hex};
use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyPair {
    sk: Hex,
    pk: Hex,
    node_id: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ecdh {
    sk: Hex,
    pk: Hex,
    shared_point_compressed: Hex,
    ecdh: Hex,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretKeyCheck {
    sk: Hex,
    note: String,
    accepted: bool,
    /// Go's error text; this implementation's errors are typed.
    #[serde(rename = "error")]
    _error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicKeyCheck {
    /// Present for Diffie-Hellman only.
    sk: Option<Hex>,
    pk: Hex,
    note: String,
    accepted: bool,
    panics: bool,
    #[serde(rename = "error")]
    _error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextDecoding {
    #[serde(rename = "type")]
    kind: TextKind,
    text: String,
    accepted: bool,
    value: Hex,
    #[serde(rename = "error")]
    _error: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum TextKind {
    Pubkey,
    Sig,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    for (i, pair) in section::<KeyPair>(file, "keys", report) {
        let mut case = report.case(format!("keys/{i}"));
        match SecretKey::from_bytes(&pair.sk.0) {
            Ok(secret) => {
                case.check("pk", hex(secret.public().as_bytes()), &pair.pk);
                case.check("node_id", secret.public().id(), &pair.node_id);
            }
            Err(error) => case.fail(error),
        }
    }
    for (i, ecdh) in section::<Ecdh>(file, "ecdh", report) {
        let mut case = report.case(format!("ecdh/{i}"));
        let shared = diffie_hellman(&ecdh.sk, &ecdh.pk);
        case.check("ecdh", shared, &ecdh.ecdh);
        // The vector must be consistent: this is the point that is hashed.
        let point = PublicKey::from_bytes(&ecdh.shared_point_compressed.0);
        let hashed = point.map(|point| point.id()).ok();
        case.check("shared_point_compressed", hashed, &ecdh.ecdh);
    }
    for (_, check) in section::<SecretKeyCheck>(file, "secret_key_checks", report) {
        let ours = SecretKey::from_bytes(&check.sk.0).is_ok();
        let mut case = report.case(format!("secret_key_checks/{}", check.note));
        case.check("accepted", ours, check.accepted);
    }
    for (_, check) in section::<PublicKeyCheck>(file, "public_key_checks", report) {
        let ours = PublicKey::from_bytes(&check.pk.0).and_then(|key| key.check_curve());
        let mut case = report.case(format!("public_key_checks/{}", check.note));
        case.check("accepted", ours.is_ok(), check.accepted && !check.panics);
    }
    for (_, check) in section::<PublicKeyCheck>(file, "ecdh_checks", report) {
        let mut case = report.case(format!("ecdh_checks/{}", check.note));
        let secret = check.sk.unwrap_or_default();
        let ours = diffie_hellman(&secret, &check.pk).is_some();
        case.check("accepted", ours, check.accepted && !check.panics);
    }
    for (i, vector) in section::<TextDecoding>(file, "text_decoding", report) {
        let mut case = report.case(format!("text_decoding/{i}"));
        let ours = decode_text(&vector.kind, &vector.text);
        case.check("accepted", ours.is_some(), vector.accepted);
        if let Some(value) = ours {
            case.check("value", hex(value), &vector.value);
        }
    }
}

/// Returns the bytes of a key or signature in a message's JSON, after both steps of validation.
fn decode_text(kind: &TextKind, text: &str) -> Option<Vec<u8>> {
    let field = match kind {
        TextKind::Pubkey => "k",
        TextKind::Sig => "sig",
    };
    let item = decode_item(json!({ field: text }).to_string().as_bytes()).ok()?;
    match (kind, item) {
        (TextKind::Pubkey, WireItem::Keyed(item)) => {
            item.key.check_curve().ok()?;
            Some(item.key.as_bytes().to_vec())
        }
        // Upstream's zero key.
        (TextKind::Pubkey, WireItem::Keyless(_)) => Some(vec![0; PUBLIC_KEY_LEN]),
        (TextKind::Sig, WireItem::Keyless(item)) => Some(item.signature.as_bytes().to_vec()),
        (TextKind::Sig, WireItem::Keyed(_)) => None,
    }
}

fn section<T: serde::de::DeserializeOwned>(
    file: &Value,
    name: &str,
    report: &mut Report,
) -> impl Iterator<Item = (usize, T)> + use<T> {
    let cases: Vec<T> = report.section(file, name).unwrap_or_default();
    cases.into_iter().enumerate()
}

fn diffie_hellman(secret: &Hex, public: &Hex) -> Option<String> {
    let secret = SecretKey::from_bytes(&secret.0).expect("the vectors' secret keys are good");
    let public = PublicKey::from_bytes(&public.0).ok()?;
    secret
        .diffie_hellman(&public)
        .ok()
        .map(|shared| hex(*shared))
}
