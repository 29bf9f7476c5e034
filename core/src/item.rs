//! Mutable items after BEP 44: a value signed by its owner's key, with a sequence and a salt.
//!
//! Signed payload, all integers big-endian: `seq` u64 ‖ len(v) u32 ‖ v ‖ len(salt) u32 ‖ salt.
//! The signature is recoverable and covers SHA-256 of the payload. Neither the key nor the
//! target is signed; the key is bound because recovery must yield it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::encoding::base64;
use crate::id::Target;
use crate::key::{PublicKey, SecretKey, Signature, SignatureError};
use crate::time::Unix;

/// Maximum length of a value, in bytes.
pub const MAX_VALUE_LEN: usize = 65_536;
/// Maximum length of a salt, in bytes.
pub const MAX_SALT_LEN: usize = 200;
/// Maximum length of a value that a version 1 Go node accepts, in bytes.
pub const MAX_VALUE_LEN_V1: usize = 1_000;

/// Sequence number of an item: the higher one is newer. Writers that follow the clock use Unix
/// nanoseconds.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    const TIME_LIKE: core::ops::RangeInclusive<u64> =
        1_600_000_000_000_000_000..=2_500_000_000_000_000_000;

    /// The time that this sequence states, if it looks like Unix nanoseconds (1.6e18 to 2.5e18).
    #[must_use]
    pub fn as_time(self) -> Option<Unix> {
        Self::TIME_LIKE.contains(&self.0).then_some(Unix(self.0))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Distinguishes the items of one key. A valid item has at most [`MAX_SALT_LEN`] bytes of salt; the
/// type can hold more, because a peer that sends a longer salt must still be answered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Salt(#[serde(with = "base64")] SmallVec<[u8; 16]>);

impl Salt {
    /// Copies `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(SmallVec::from_slice(bytes))
    }

    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Salt {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Salt({self})")
    }
}

/// The bytes of an item, shared. In JSON, Go distinguishes nil from empty (`null`, `""`), but it
/// signs both alike, so equality compares the bytes only.
#[derive(Clone, Default)]
pub struct Value(Option<Arc<[u8]>>);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(bytes) => base64::serialize(bytes, s),
            None => s.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "base64")] Vec<u8>);
        Ok(Option::<Text>::deserialize(d)?.map_or(Self(None), |text| Self::from(text.0)))
    }
}

impl Value {
    /// Copies `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Some(Arc::from(bytes)))
    }

    /// Go's nil slice.
    #[must_use]
    pub const fn null() -> Self {
        Self(None)
    }

    /// Whether this is Go's nil.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes; empty for null.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Value {}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Some(bytes.into()))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.as_bytes();
        let cut = shown.len().min(32);
        write!(
            f,
            "Value({} B: {}",
            shown.len(),
            shown[..cut].escape_ascii()
        )?;
        f.write_str(if cut < shown.len() { "…)" } else { ")" })
    }
}

/// Why an item is invalid. The texts are those of the Go code, in its order of checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ItemError {
    /// More than [`MAX_VALUE_LEN`] bytes.
    #[error("dht: value exceeds max size")]
    ValueTooLarge,
    /// More than [`MAX_SALT_LEN`] bytes.
    #[error("dht: salt exceeds max size")]
    SaltTooLong,
    /// Not signed by the key it names.
    #[error("dht: invalid signature: {0}")]
    Signature(#[from] SignatureError),
}

/// Whether an item is at its signer's own target or was published elsewhere by another key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Signed by a key other than the target's owner.
    Mirror,
    /// SHA-256(key ‖ salt) equals the target.
    Owner,
}

/// A signed value. Having one proves nothing: see [`Item::check`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Item {
    /// The signer's key.
    pub key: PublicKey,
    /// The sequence: the higher one is newer.
    pub seq: Seq,
    /// Signature over SHA-256 of [`Item::payload`].
    pub signature: Signature,
    /// The value; an empty one is a tombstone.
    pub value: Value,
    /// The salt, which distinguishes the signer's items.
    pub salt: Salt,
}

impl Item {
    /// Signs a new item. The caller checks the sizes, see [`Item::check_sizes`].
    #[must_use]
    pub fn sign(secret: &SecretKey, seq: Seq, value: Value, salt: Salt) -> Self {
        let mut item = Self {
            key: secret.public(),
            seq,
            signature: Signature::default(),
            value,
            salt,
        };
        item.signature = secret.sign(&item.digest());
        item
    }

    /// The target of the signer's own item with this salt.
    #[must_use]
    pub fn target(&self) -> Target {
        Target::of(&self.key, self.salt.as_bytes())
    }

    /// Whether this item at `target` is the owner's or a mirror's.
    #[must_use]
    pub fn origin_at(&self, target: &Target) -> Origin {
        if self.target() == *target {
            Origin::Owner
        } else {
            Origin::Mirror
        }
    }

    /// Whether the value is empty, which means that the owner deleted the item.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.value.as_bytes().is_empty()
    }

    /// The signed bytes.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.feed_payload(|bytes| out.extend_from_slice(bytes));
        out
    }

    /// SHA-256 of the payload, which the signature covers.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        self.feed_payload(|bytes| hash.update(bytes));
        hash.finalize().into()
    }

    /// The digest that a mirror signs to bind this item to a target that is not its own (the `bind`
    /// extension): SHA-256("skydht-bind-1\0" ‖ target ‖ SHA-256(payload)). No payload begins with
    /// the prefix, since it would announce a value of 1.7 GB.
    #[must_use]
    pub fn bind_digest(&self, target: &Target) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"skydht-bind-1\0");
        hash.update(target.as_bytes());
        hash.update(self.digest());
        hash.finalize().into()
    }

    /// Whether readers interpret the value as deleted: a tombstone, or, under the salts that
    /// upstream publishes, one of the values by which it deletes (`{}`, `[]`, `null`).
    #[must_use]
    pub fn reads_as_deleted(&self) -> bool {
        let known = || {
            let salt = self.salt.as_bytes();
            let base = salt.split(|byte| *byte == b':').next().unwrap_or_default();
            [
                b"dmsg".as_slice(),
                b"tp",
                b"svc",
                b"addr",
                b"fullnode",
                b"dmsg-server",
            ]
            .contains(&base)
        };
        match self.value.as_bytes() {
            b"" => true,
            b"{}" | b"[]" | b"null" => known(),
            _ => false,
        }
    }

    /// SHA-256(v ‖ salt), the tie-break between items of equal sequence.
    #[must_use]
    pub fn content_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.value.as_bytes());
        hash.update(self.salt.as_bytes());
        hash.finalize().into()
    }

    /// Whether `other` has the same key, sequence, value and salt; signatures may differ.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.seq == other.seq
            && self.key == other.key
            && self.salt == other.salt
            && self.value == other.value
    }

    /// Checks the sizes only, the cheap part of [`Item::check`].
    ///
    /// # Errors
    /// [`ItemError::ValueTooLarge`] or [`ItemError::SaltTooLong`].
    pub fn check_sizes(&self) -> Result<(), ItemError> {
        check_sizes(&self.value, &self.salt)
    }

    /// Checks the sizes, then the signature, in some 60 µs.
    ///
    /// # Errors
    /// The first error in Go's order of checks.
    pub fn check(&self) -> Result<(), ItemError> {
        self.check_sizes()?;
        self.key.verify(&self.digest(), &self.signature)?;
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, reason = "no message holds 4 GiB")]
    fn feed_payload(&self, mut feed: impl FnMut(&[u8])) {
        let (value, salt) = (self.value.as_bytes(), self.salt.as_bytes());
        feed(&self.seq.0.to_be_bytes());
        feed(&(value.len() as u32).to_be_bytes());
        feed(value);
        feed(&(salt.len() as u32).to_be_bytes());
        feed(salt);
    }
}

/// Checks Go's limits, in its order.
pub(crate) fn check_sizes(value: &Value, salt: &Salt) -> Result<(), ItemError> {
    if value.as_bytes().len() > MAX_VALUE_LEN {
        Err(ItemError::ValueTooLarge)
    } else if salt.as_bytes().len() > MAX_SALT_LEN {
        Err(ItemError::SaltTooLong)
    } else {
        Ok(())
    }
}

/// Age and remaining lifetime of an item as a peer states them; on the wire in whole milliseconds,
/// rounded down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Life {
    /// Time since the signer last vouched for the item.
    pub age: Duration,
    /// Time until it expires.
    pub left: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: &[u8]) -> Item {
        let secret = SecretKey::from_bytes(&[5; 32]).unwrap();
        Item::sign(&secret, Seq(1), Value::new(value), Salt::from("dmsg"))
    }

    #[test]
    fn payload_is_the_one_of_the_specification() {
        let expected = [
            0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 5, b'h', b'e', b'l', b'l', b'o', 0, 0, 0, 4, b'd',
            b'm', b's', b'g',
        ];
        assert_eq!(item(b"hello").payload(), expected);
    }

    #[test]
    fn sizes_are_accepted_at_the_limit_and_refused_above() {
        assert_eq!(item(&[0; MAX_VALUE_LEN]).check(), Ok(()));
        assert_eq!(
            item(&[0; MAX_VALUE_LEN + 1]).check(),
            Err(ItemError::ValueTooLarge)
        );
        let mut long_salt = item(b"");
        long_salt.salt = Salt::new(&[0; MAX_SALT_LEN + 1]);
        assert_eq!(long_salt.check(), Err(ItemError::SaltTooLong));
    }

    #[test]
    fn null_and_empty_are_the_same_tombstone() {
        let (null, empty) = (Value::null(), Value::new(b""));
        assert_eq!(null, empty);
        assert!(item(b"").is_tombstone() && !item(b"{}").is_tombstone());
    }

    #[test]
    fn only_sequences_near_the_present_are_times() {
        assert_eq!(Seq(42).as_time(), None);
        assert_eq!(Seq(u64::MAX).as_time(), None);
        assert_eq!(
            Seq(1_777_000_000_000_000_000).as_time(),
            Some(Unix(1_777_000_000_000_000_000))
        );
    }
}
