//! The id of a transport: a UUID derived from its edges and its type.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use skydht_core::key::PublicKey;

/// The first 16 bytes of SHA-256(16 zero bytes ‖ smaller edge ‖ larger edge ‖ type), with the bits
/// of UUID version 0 and variant 1 (specification of discovery, §4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TransportId([u8; 16]);

/// Error for a text that is not a UUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no UUID")]
pub struct NoUuid;

impl TransportId {
    /// First and last of all ids.
    pub(crate) const FIRST: Self = Self([0; 16]);
    pub(crate) const LAST: Self = Self([0xff; 16]);

    /// Returns the id of a transport between two keys, given in any order.
    #[must_use]
    pub fn of(one: &PublicKey, other: &PublicKey, kind: &str) -> Self {
        let [first, second] = super::transport::in_order(*one, *other);
        let mut hash = Sha256::new();
        hash.update([0; 16]);
        hash.update(first.as_bytes());
        hash.update(second.as_bytes());
        hash.update(kind);
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id[6] &= 0x0f;
        id[8] = id[8] & 0x3f | 0x80;
        Self(id)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns whether it is Go's null value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TransportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportId({self})")
    }
}

impl FromStr for TransportId {
    type Err = NoUuid;

    /// Parses a UUID like Go's library: 36 characters, also in braces or with the prefix
    /// `urn:uuid:`, or 32 digits.
    fn from_str(text: &str) -> Result<Self, NoUuid> {
        let inner = match text.len() {
            45 if text
                .get(..9)
                .ok_or(NoUuid)?
                .eq_ignore_ascii_case("urn:uuid:") =>
            {
                &text[9..]
            }
            38 => text.get(1..37).ok_or(NoUuid)?,
            _ => text,
        };
        let digits: String = match inner.len() {
            36 => {
                let is_dash = |at: usize| inner.as_bytes()[at] == b'-';
                if ![8, 13, 18, 23].into_iter().all(is_dash) {
                    return Err(NoUuid);
                }
                inner.replacen('-', "", 4)
            }
            32 => inner.to_owned(),
            _ => return Err(NoUuid),
        };
        if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoUuid);
        }
        let number = u128::from_str_radix(&digits, 16).map_err(|_| NoUuid)?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl Serialize for TransportId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TransportId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}
