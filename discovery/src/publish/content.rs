//! Identity and content of a published record.

use std::fmt;

use sha2::{Digest as _, Sha256};
use skydht_core::item::Salt;
use skydht_core::key::PublicKey;

/// Identity of a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RecordId {
    /// Key of the owner; for a mirrored record, that is not the publishing program's key.
    pub owner: PublicKey,
    /// Salt; for a list, that of its first chunk.
    pub salt: Salt,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.salt)
    }
}

/// Content of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// The value of one item.
    Value(Vec<u8>),
    /// A JSON array, published in chunks under numbered salts, as upstream stores `tp`.
    List(Vec<u8>),
    /// A deletion.
    Gone,
}

impl Content {
    /// Returns the bytes; empty for a deletion.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Value(bytes) | Self::List(bytes) => bytes,
            Self::Gone => &[],
        }
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        let kind = match self {
            Self::Value(_) => [1],
            Self::List(_) => [2],
            Self::Gone => [0],
        };
        let hash = Sha256::new().chain_update(kind);
        hash.chain_update(self.bytes()).finalize().into()
    }
}
