//! What is published where.

use std::fmt;

use sha2::{Digest as _, Sha256};
use skydht_core::item::Salt;
use skydht_core::key::PublicKey;

/// Under whose key and which salt.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RecordId {
    /// Whose record it is; not the program's own key for one that it mirrors.
    pub owner: PublicKey,
    /// The salt; of a list that of its first chunk.
    pub salt: Salt,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.salt)
    }
}

/// A record's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// One item.
    Value(Vec<u8>),
    /// A JSON array in chunks under numbered salts, as upstream keeps `tp`.
    List(Vec<u8>),
    /// A deletion.
    Gone,
}

impl Content {
    /// The bytes, none of a deletion.
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
