//! signatures.json: signatures that Go accepts or rejects.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use skydht_core::key::{PublicKey, SecretKey, Signature};

use crate::hex::Hex;
use crate::report::Report;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verification {
    name: String,
    payload: Hex,
    pk: Hex,
    sig: Hex,
    accept: bool,
    error: String,
    /// The same results in a different order, which need not be repeated.
    #[serde(rename = "error_2026")]
    _error_2026: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SelfCheck {
    signed: usize,
    accepted: usize,
    #[serde(rename = "recid_counts")]
    _recid_counts: String,
}

pub(crate) fn run(file: &Value, report: &mut Report) {
    let cases: Vec<Verification> = report.section(file, "cases").unwrap_or_default();
    for vector in &cases {
        let digest = Sha256::digest(&vector.payload.0).into();
        let signature = Signature::from_bytes(vector.sig.array());
        let mut case = report.case(format!("cases/{}", vector.name));
        match PublicKey::from_bytes(&vector.pk.0) {
            Ok(key) => {
                let ours = key.verify(&digest, &signature);
                case.check("accept", ours.is_ok(), vector.accept);
                let text = ours.err().map_or(String::new(), |error| error.to_string());
                case.check("error", text, &vector.error);
            }
            // Such a key cannot be constructed, so that nothing is verified with it.
            Err(_) => {
                case.check("accept", false, vector.accept);
            }
        }
    }

    // Go's nonces are random, this implementation's are RFC 6979's: each side accepts the other's
    // signatures.
    let deterministic: Option<bool> = report.section(file, "signing_is_deterministic");
    let go: Option<SelfCheck> = report.section(file, "self_check");
    let Some(go) = go else { return };
    let mut accepted = 0;
    let mut repeated = true;
    for (i, vector) in cases.iter().cycle().take(go.signed).enumerate() {
        let mut hash = Sha256::new();
        hash.update((i as u64).to_be_bytes());
        hash.update(&vector.payload.0);
        let digest = hash.finalize().into();
        let secret = SecretKey::from_entropy(&digest);
        let signature = secret.sign(&digest);
        repeated &= signature == secret.sign(&digest);
        accepted += usize::from(secret.public().verify(&digest, &signature).is_ok());
    }
    let mut case = report.case("self_check");
    case.check("accepted", accepted, go.accepted);
    if deterministic == Some(true) || !repeated {
        case.fail("RFC 6979 signatures repeat; Go's do not");
    }
}
