//! Keys, signatures and items.

use k256::ecdsa::VerifyingKey;
use k256::ecdsa::signature::hazmat::PrehashVerifier as _;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature, SignatureError};
use skydht_core::wire::{WireItem, decode_item, encode_item, encoded_item_len};

use crate::cursor::Cursor;

/// Input: a byte that selects the kind of the rest.
pub fn items_and_signatures(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 4 {
        0 => item_text(input.rest()),
        1 => signature(input),
        2 => damaged_item(input),
        _ => keys(input),
    }
}

/// JSON of an item: an item that decodes encodes to a stable text of the predicted length.
fn item_text(json: &[u8]) {
    let Ok(item) = decode_item(json) else {
        return;
    };
    let text = encode_item(&item);
    if let WireItem::Keyed(item) = &item {
        assert_eq!(text.len(), encoded_item_len(item));
        // The form used in journals.
        let journal = serde_json::to_vec(&**item).unwrap();
        assert_eq!(serde_json::from_slice::<Item>(&journal).unwrap(), **item);
    }
    let again = decode_item(&text).unwrap();
    assert_eq!(again, item);
    assert_eq!(encode_item(&again), text);
}

/// Any key, digest and signature: plain ECDSA also accepts every signature that we accept.
fn signature(mut input: Cursor<'_>) {
    let mut key = input.array::<33>();
    key[0] = 2 | key[0] & 1;
    let (digest, bytes) = (input.array::<32>(), input.array::<65>());
    let key = PublicKey::from_bytes(&key).unwrap();
    let verdict = key.verify(&digest, &Signature::from_bytes(bytes));
    if key.check_curve().is_err() {
        assert_eq!(verdict, Err(SignatureError::InvalidKey));
    }
    if verdict.is_ok() {
        assert!(bytes[64] < 4 && bytes[32] & 0x80 == 0);
        assert_eq!(plain_ecdsa(&key, &digest, &bytes), Some(true));
    }
}

/// `None` if the key or the signature cannot even be parsed.
fn plain_ecdsa(key: &PublicKey, digest: &[u8; 32], bytes: &[u8; 65]) -> Option<bool> {
    let key = VerifyingKey::from_sec1_bytes(key.as_bytes()).ok()?;
    let signature = k256::ecdsa::Signature::from_slice(&bytes[..64]).ok()?;
    let low = signature.normalize_s();
    Some(key.verify_prehash(digest, &low).is_ok())
}

/// A signed item with one changed byte in the signed data, the key or the signature is refused.
fn damaged_item(mut input: Cursor<'_>) {
    let secret = SecretKey::from_entropy(&[input.byte(); 32]);
    let (at, change, seq) = (input.u16(), input.byte(), Seq(input.u64()));
    let salt = Salt::new(input.short());
    let value = Value::new(input.rest());
    let item = Item::sign(&secret, seq, value, salt);
    let signed = item.check();
    assert_eq!(signed, item.check_sizes());
    if signed.is_err() || change == 0 {
        return;
    }
    let payload = item.payload();
    assert_eq!(
        payload.len(),
        16 + item.value.as_bytes().len() + item.salt.as_bytes().len()
    );
    let mut damaged = item.clone();
    let mut bytes = *item.signature.as_bytes();
    let mut key = *item.key.as_bytes();
    match usize::from(at) {
        at @ 0..65 => bytes[at] ^= change,
        at @ 65..98 => key[at - 65] ^= change,
        at => match at % 2 {
            0 => damaged.seq.0 ^= u64::from(change) << (at % 56),
            _ => {
                let mut value = item.value.as_bytes().to_vec();
                value.push(change);
                damaged.value = Value::from(value);
            }
        },
    }
    damaged.signature = Signature::from_bytes(bytes);
    let Ok(key) = PublicKey::from_bytes(&key) else {
        return;
    };
    damaged.key = key;
    assert!(damaged.check().is_err(), "{damaged:?} passes for {item:?}");
}

/// Any bytes as keys of either kind, and as text.
fn keys(mut input: Cursor<'_>) {
    let bytes = input.array::<32>();
    let other = SecretKey::from_entropy(&input.array());
    if let Ok(secret) = SecretKey::from_bytes(&bytes) {
        assert_eq!(*secret.to_bytes(), bytes);
        let (ours, theirs) = (secret.public(), other.public());
        assert_eq!(ours.check_curve(), Ok(()));
        let shared = secret.diffie_hellman(&theirs).unwrap();
        assert_eq!(*shared, *other.diffie_hellman(&ours).unwrap());
    }
    let text = input.rest();
    if let Ok(key) = PublicKey::from_bytes(text) {
        let shown = key.to_string();
        assert_eq!(
            shown.parse::<PublicKey>().is_ok(),
            key.check_curve().is_ok()
        );
        assert_eq!(
            other.diffie_hellman(&key).is_ok(),
            key.check_curve().is_ok()
        );
    }
    if let Ok(text) = str::from_utf8(text) {
        if let Ok(key) = text.parse::<PublicKey>() {
            assert!(key.to_string().eq_ignore_ascii_case(text));
        }
        if let Ok(signature) = text.parse::<Signature>() {
            assert!(signature.to_string().eq_ignore_ascii_case(text));
        }
    }
}
