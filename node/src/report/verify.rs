//! Whether own items are where readers look for them.

use std::fmt::{self, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::node::OwnItem;

use super::units::{ms, seq_text};
use crate::printable::printable_name;

/// What reading an item back brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VerifyOutcome {
    /// At least half of the nearest peers hold it.
    Held,
    /// Some of the nearest peers hold it, but fewer than half.
    Thin,
    /// None of the nearest peers holds it.
    Lost,
    /// A higher sequence is there, or its deletion: another program has this key.
    Superseded,
    /// The nearest peers were not reached in time.
    Unknown,
}

/// One item.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VerifiedItem {
    /// Under which salt; bytes that are no text are escaped.
    pub(crate) salt: String,
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    pub(crate) outcome: VerifyOutcome,
    /// Peers that hold this version.
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

    /// Its name: the item without salt has none of its own.
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

/// What the verdict on a node remembers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct VerifiedReport {
    /// Since the items were read back.
    pub(crate) age_ms: f64,
    /// How many.
    pub(crate) items: usize,
    /// Those that at least half of the nearest peers do not hold, at most a few of them.
    pub(crate) not_held: Vec<String>,
}

/// Items that a verdict names.
const NAMED: usize = 8;

/// All that were read back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct VerifyReport {
    pub(crate) schema: String,
    /// Whose they are.
    pub(crate) key: PublicKey,
    /// By salt.
    pub(crate) items: Vec<VerifiedItem>,
}

impl VerifyReport {
    /// Name and version of this shape.
    pub(crate) const SCHEMA: &'static str = "skydht.verify/1";

    pub(crate) fn new(key: PublicKey, mut items: Vec<VerifiedItem>) -> Self {
        items.sort_by(|a, b| a.salt.cmp(&b.salt));
        Self {
            schema: Self::SCHEMA.into(),
            key,
            items,
        }
    }

    /// What the verdict on a node remembers, this long after.
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

    /// Those that readers may not find as the node would have them.
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
