//! Bytes in the encoding of the vectors.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes, encoded as lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    /// Returns the bytes as an array.
    ///
    /// # Panics
    /// Panics if the length is not `N`.
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        let length = self.0.len();
        <[u8; N]>::try_from(self.0.as_slice())
            .unwrap_or_else(|_| panic!("{length} bytes where {N} belong"))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = HEXLOWER.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&HEXLOWER.encode_display(&self.0))
    }
}

/// Encodes `bytes` as in the vectors.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}
