//! Report of a version of a watched item.

use std::fmt::{self, Display};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use skydht_core::id::Target;
use skydht_core::item::{Origin, Seq};
use skydht_core::key::PublicKey;
use skydht_core::node::GetOutcome;

use super::units::{ms, seq_text};

/// A version of an item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct VersionReport {
    pub(crate) schema: String,
    /// Target of the item.
    pub(crate) target: Target,
    /// Key that signed it.
    pub(crate) key: PublicKey,
    /// Salt of the item; bytes that are not UTF-8 are escaped.
    pub(crate) salt: String,
    /// Sequence number, from which a watch can resume.
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// Whether its owner deleted the item.
    pub(crate) deleted: bool,
    /// The value in base64.
    pub(crate) value: String,
    /// The value as text, if it is UTF-8.
    pub(crate) text: Option<String>,
    /// "owner" or "mirror".
    pub(crate) origin: Origin,
    /// Time since its signer last renewed it, if known.
    pub(crate) age_ms: Option<f64>,
}

impl VersionReport {
    /// Converts the core's outcome.
    pub(crate) fn new(outcome: &GetOutcome) -> Self {
        let bytes = outcome.item.value.as_bytes();
        Self {
            schema: "skydht.version/1".into(),
            target: outcome.target,
            key: outcome.item.key,
            salt: crate::printable::printable_name(outcome.item.salt.as_bytes()),
            seq: outcome.item.seq,
            deleted: outcome.item.reads_as_deleted(),
            value: BASE64.encode(bytes),
            text: std::str::from_utf8(bytes).ok().map(str::to_owned),
            origin: outcome.origin,
            age_ms: outcome.age.map(ms),
        }
    }

    /// Returns the decoded value.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        BASE64.decode(self.value.as_bytes()).unwrap_or_default()
    }
}

impl Display for VersionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {}", self.seq)?;
        if self.deleted {
            f.write_str(", deleted")?;
        }
        match self.origin {
            Origin::Owner => Ok(()),
            Origin::Mirror => write!(f, ", mirrored by {}", self.key),
        }
    }
}
