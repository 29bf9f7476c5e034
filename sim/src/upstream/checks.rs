//! Remembers what Go does with keys and signatures. Both depend only on bytes that a whole network
//! passes around, and computing them takes about 6 and 60 µs.

use std::cell::RefCell;
use std::hash::Hash;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};
use skydht_core::item::{Item, ItemError};
use skydht_core::key::{PublicKey, SignatureError};
use skydht_core::wire::WireItem;

/// Maximum number of remembered results of each kind. When it is reached, all are forgotten.
const MEMO: usize = 1 << 18;

/// What Go's decoder does with a key whose tag is 2 or 3.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KeyFate {
    /// It accepts the key.
    Good,
    /// The key is not a point on the curve: the decoder refuses the whole message.
    Refused,
    /// x is not below the field prime: the decoder panics, which ends the process (defect 36).
    Panics,
}

type Memo<K, V> = RefCell<HashMap<K, V, FixedState>>;

thread_local! {
    static KEYS: Memo<PublicKey, KeyFate> = RefCell::default();
    static ITEMS: Memo<[u8; 32], Result<(), ItemError>> = RefCell::default();
}

fn remembered<K: Hash + Eq, V: Copy>(memo: &Memo<K, V>, key: K, compute: impl FnOnce() -> V) -> V {
    if let Some(known) = memo.borrow().get(&key) {
        return *known;
    }
    let value = compute();
    let mut memo = memo.borrow_mut();
    if memo.len() >= MEMO {
        memo.clear();
    }
    memo.insert(key, value);
    value
}

/// What Go's decoder does with `key`.
pub(crate) fn key_fate(key: &PublicKey) -> KeyFate {
    KEYS.with(|memo| {
        remembered(memo, *key, || match key.check_curve() {
            Ok(()) => KeyFate::Good,
            Err(_) if is_beyond_the_field(key) => KeyFate::Panics,
            Err(_) => KeyFate::Refused,
        })
    })
}

/// What Go's decoder does with a message with these keys. The first bad key decides.
pub(super) fn keys_fate<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> KeyFate {
    let fates = keys.into_iter().map(key_fate);
    let mut bad = fates.filter(|fate| *fate != KeyFate::Good);
    bad.next().unwrap_or(KeyFate::Good)
}

/// Whether x ≥ p = 2^256 − 2^32 − 977.
fn is_beyond_the_field(key: &PublicKey) -> bool {
    let mut prime = [0xff; 32];
    prime[27..].copy_from_slice(&[0xfe, 0xff, 0xff, 0xfc, 0x2f]);
    key.as_bytes()[1..] >= prime[..]
}

/// Checks the sizes and then the signature, in the way Go does.
pub(super) fn verify(item: &WireItem) -> Result<(), ItemError> {
    item.check_sizes()?;
    match item {
        WireItem::Keyed(item) => verify_keyed(item),
        // No signature recovers to the zero key.
        WireItem::Keyless(_) => Err(SignatureError::Recover.into()),
    }
}

fn verify_keyed(item: &Item) -> Result<(), ItemError> {
    let mut hash = Sha256::new();
    hash.update(item.key.as_bytes());
    hash.update(item.signature.as_bytes());
    hash.update(item.digest());
    ITEMS.with(|memo| remembered(memo, hash.finalize().into(), || item.check()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_core::item::{Salt, Seq, Value};
    use skydht_core::key::{SecretKey, Signature};

    fn key(x: [u8; 32]) -> PublicKey {
        PublicKey::from_bytes(&[&[2][..], &x].concat()).unwrap()
    }

    #[test]
    fn keys_at_the_edge_of_the_field() {
        let mut p = [0xff; 32];
        p[27..].copy_from_slice(&[0xfe, 0xff, 0xff, 0xfc, 0x2f]);
        assert_eq!(key_fate(&key(p)), KeyFate::Panics);
        assert_eq!(key_fate(&key([0xff; 32])), KeyFate::Panics);
        // These are below p; about half of all x have no point.
        let fates = (0..8).map(|n| {
            p[31] = 0x2e - n;
            key_fate(&key(p))
        });
        let fates: Vec<KeyFate> = fates.collect();
        assert!(!fates.contains(&KeyFate::Panics));
        assert!(fates.contains(&KeyFate::Good) && fates.contains(&KeyFate::Refused));
    }

    #[test]
    fn the_first_bad_key_decides() {
        let good = SecretKey::from_bytes(&[3; 32]).unwrap().public();
        let panics = key([0xff; 32]);
        assert_eq!(keys_fate([&good]), KeyFate::Good);
        assert_eq!(keys_fate([&good, &panics]), KeyFate::Panics);
    }

    #[test]
    fn a_remembered_verdict_is_of_that_signature_alone() {
        let secret = SecretKey::from_bytes(&[4; 32]).unwrap();
        let mut item = Item::sign(&secret, Seq(1), Value::new(b"v"), Salt::default());
        assert_eq!(verify_keyed(&item), Ok(()));
        assert_eq!(verify_keyed(&item), Ok(()));
        item.signature = Signature::default();
        assert!(verify_keyed(&item).is_err());
    }
}
