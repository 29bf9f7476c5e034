//! Report of verifying own items.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::node::OwnItem;

use super::units::{ms, seq_text};
use crate::printable::printable_name;

/// Result of reading an item back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerifyOutcome {
    /// At least half of the closest peers store it.
    Held,
    /// Fewer than half of the closest peers store it, but at least one.
    Thin,
    /// None of the closest peers stores it.
    Lost,
    /// A newer version or a deletion was found: another program uses this key.
    Superseded,
    /// The closest peers did not answer in time.
    Unknown,
}

/// A verified item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VerifiedItem {
    /// Salt of the item; bytes that are not UTF-8 are escaped.
    pub(crate) salt: String,
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    pub(crate) outcome: VerifyOutcome,
    /// Peers that store this version.
    pub(crate) held: u16,
    /// Peers that answered.
    pub(crate) asked: u16,
}

impl VerifiedItem {
    pub(crate) fn new(item: &OwnItem, outcome: VerifyOutcome, held: u16, asked: u16) -> Self {
        Self {
            salt: printable_name(item.salt.as_bytes()),
            seq: item.seq,
            outcome,
            held,
            asked,
        }
    }

    /// Returns the salt, or "(none)" if it is empty.
    pub(crate) fn name(&self) -> &str {
        match self.salt.as_str() {
            "" => "(none)",
            salt => salt,
        }
    }
}

impl Display for VerifiedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.name(), self.held, self.asked)?;
        f.write_str(match self.outcome {
            VerifyOutcome::Held => "",
            VerifyOutcome::Thin => " thin",
            VerifyOutcome::Lost => " lost",
            VerifyOutcome::Superseded => " superseded: another program publishes with this key",
            VerifyOutcome::Unknown => " not answered in time",
        })
    }
}

/// Summary of a verification, for the verdict.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct VerifiedReport {
    /// Time since the items were read back.
    pub(crate) age_ms: f64,
    /// Number of items.
    pub(crate) items: usize,
    /// Salts of items that fewer than half of the closest peers store, at most [`NAMED`].
    pub(crate) not_held: Vec<String>,
}

/// Maximum number of salts in a summary.
const NAMED: usize = 8;

/// Report of all verified items.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VerifyReport {
    pub(crate) schema: String,
    /// Key of the node, which is their owner.
    pub(crate) key: PublicKey,
    /// The items, sorted by salt.
    pub(crate) items: Vec<VerifiedItem>,
}

impl VerifyReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.verify/1";

    pub(crate) fn new(key: PublicKey, mut items: Vec<VerifiedItem>) -> Self {
        items.sort_by(|a, b| a.salt.cmp(&b.salt));
        Self {
            schema: Self::SCHEMA.into(),
            key,
            items,
        }
    }

    /// Returns the summary; `age` is the time since the verification.
    pub(crate) fn summary(&self, age: Duration) -> VerifiedReport {
        VerifiedReport {
            age_ms: ms(age),
            items: self.items.len(),
            not_held: self
                .not_held()
                .take(NAMED)
                .map(ToString::to_string)
                .collect(),
        }
    }

    /// Returns the items whose outcome is not [`VerifyOutcome::Held`].
    pub(crate) fn not_held(&self) -> impl Iterator<Item = &VerifiedItem> {
        let items = self.items.iter();
        items.filter(|item| item.outcome != VerifyOutcome::Held)
    }
}

impl Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, item) in self.items.iter().enumerate() {
            let end = if index + 1 < self.items.len() {
                "\n"
            } else {
                ""
            };
            write!(f, "{item}{end}")?;
        }
        Ok(())
    }
}
