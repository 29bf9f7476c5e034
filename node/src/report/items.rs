//! Report of the items that a node renews.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use skydht_core::id::Target;
use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::node::OwnItem;

use super::units::{from_ms, ms, seq_text};
use crate::output::{Human, count, table};
use crate::printable::printable_name;

/// A renewed item.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ItemReport {
    /// Salt of the item; bytes that are not UTF-8 are escaped.
    pub(crate) salt: String,
    pub(crate) target: Target,
    #[serde(with = "seq_text")]
    pub(crate) seq: Seq,
    /// Size of its value, in bytes.
    pub(crate) bytes: usize,
    /// Peers that stored or renewed it last time.
    pub(crate) holders: u16,
    /// Time since then; `None` if it has not reached any peer yet.
    pub(crate) age_ms: Option<f64>,
    /// Time until the next renewal.
    pub(crate) next_renewal_ms: Option<f64>,
}

/// Report of the items that a node renews.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ItemsReport {
    pub(crate) schema: String,
    /// Key of the node, which is their owner.
    pub(crate) key: PublicKey,
    /// The items, sorted by salt.
    pub(crate) items: Vec<ItemReport>,
}

impl ItemsReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.items/1";

    /// Converts the core's list.
    pub(crate) fn new(key: PublicKey, items: &[OwnItem]) -> Self {
        let report = |item: &OwnItem| ItemReport {
            salt: printable_name(item.salt.as_bytes()),
            target: item.target,
            seq: item.seq,
            bytes: item.value_len,
            holders: item.holders,
            age_ms: item.age.map(ms),
            next_renewal_ms: item.next_renewal.map(ms),
        };
        let mut items: Vec<_> = items.iter().map(report).collect();
        items.sort_by(|a, b| a.salt.cmp(&b.salt));
        Self {
            schema: Self::SCHEMA.into(),
            key,
            items,
        }
    }
}

impl Display for ItemsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |ms: Option<f64>| ms.map_or("-".into(), |ms| Human(from_ms(ms)).to_string());
        let row = |item: &ItemReport| {
            vec![
                match item.salt.as_str() {
                    "" => "(none)".into(),
                    salt => salt.to_owned(),
                },
                item.holders.to_string(),
                time(item.age_ms),
                time(item.next_renewal_ms),
                count(item.bytes as u64),
                item.seq.to_string(),
            ]
        };
        let rows: Vec<_> = self.items.iter().map(row).collect();
        let head = ["SALT", "HOLDERS", "AGE", "NEXT RENEWAL", "BYTES", "SEQ"];
        f.write_str(&table(&head, &rows))
    }
}
