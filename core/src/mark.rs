//! Marks: what storage keeps about a target beyond the lifetime of its item.
//!
//! # Encoding
//!
//! Version 1, integers big-endian, 50 bytes:
//!
//! | Bytes | Field |
//! |---|---|
//! | 1 | version, 1 |
//! | 1 | flags: 1 deleted, 2 expired, 4 own (one of these); 8 of an owner's item, 16 lasting, 32 it has an expiry |
//! | 32 | target |
//! | 8 | sequence |
//! | 8 | expiry, Unix nanoseconds; 0 without |
//!
//! A mark has no signature, so only storage that proves what it stores may keep marks.

use serde::{Deserialize, Serialize};

use crate::id::{ID_LEN, Target};
use crate::item::{Origin, Seq};
use crate::time::Unix;

const VERSION: u8 = 1;
const OWNER: u8 = 8;
const LASTING: u8 = 16;
const EXPIRES: u8 = 32;
/// Length of an encoded mark, in bytes.
pub const MARK_LEN: usize = 2 + ID_LEN + 8 + 8;

/// What a mark states about all sequences up to its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum MarkKind {
    /// The item was deleted, by its owner or on this node.
    Deleted = 1,
    /// The item has expired on this node.
    Expired = 2,
    /// This node has used the sequence for an item of its own, or found it used: the next one is
    /// higher.
    Own = 4,
}

/// What is remembered about a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredMark {
    /// The target.
    pub target: Target,
    /// The kind of mark.
    pub kind: MarkKind,
    /// Whether the item was an owner's or a mirror's.
    pub origin: Origin,
    /// The highest sequence that it covers.
    pub seq: Seq,
    /// When the mark expires; `None` if the clock was not set, and for [`MarkKind::Own`].
    pub expires: Option<Unix>,
    /// Whether the owner had kept the item alive: such marks are dropped last.
    pub lasting: bool,
}

/// A change of marks, for persistence.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkChange {
    /// Write this mark, replacing any other of its kind and target.
    Keep(StoredMark),
    /// Remove the mark of this kind and target.
    Forget(MarkKind, Target),
}

impl MarkChange {
    /// Kind and target of the mark that changes.
    #[must_use]
    pub const fn place(&self) -> (MarkKind, Target) {
        match self {
            Self::Keep(mark) => (mark.kind, mark.target),
            Self::Forget(kind, target) => (*kind, *target),
        }
    }
}

impl StoredMark {
    /// Encodes the mark.
    #[must_use]
    pub fn encode(&self) -> [u8; MARK_LEN] {
        let flag = |on, flag| if on { flag } else { 0 };
        let mut bytes = [0; MARK_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.kind as u8
            | flag(self.origin == Origin::Owner, OWNER)
            | flag(self.lasting, LASTING)
            | flag(self.expires.is_some(), EXPIRES);
        bytes[2..34].copy_from_slice(self.target.as_bytes());
        bytes[34..42].copy_from_slice(&self.seq.0.to_be_bytes());
        let expires = self.expires.unwrap_or_default().0;
        bytes[42..].copy_from_slice(&expires.to_be_bytes());
        bytes
    }

    /// Decodes a mark; `None` if the bytes are not a valid one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<2>()?;
        let (target, rest) = rest.split_first_chunk::<ID_LEN>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let [version, flags] = *head;
        let kind = match flags & 7 {
            1 => MarkKind::Deleted,
            2 => MarkKind::Expired,
            4 => MarkKind::Own,
            _ => return None,
        };
        let mark = Self {
            target: Target::from_bytes(*target),
            kind,
            origin: match flags & OWNER {
                0 => Origin::Mirror,
                _ => Origin::Owner,
            },
            seq: Seq(u64::from_be_bytes(*seq)),
            expires: (flags & EXPIRES != 0).then(|| Unix(u64::from_be_bytes(*expires))),
            lasting: flags & LASTING != 0,
        };
        // Each mark has exactly one encoding.
        (version == VERSION && rest.is_empty() && mark.encode() == *bytes).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;

    quickcheck! {
        fn marks_round_trip_and_what_decodes_encodes_to_the_same_bytes(
            target: u8, kind: u8, seq: u64, expires: Option<u64>, bits: u8, damage: Vec<(usize, u8)>
        ) -> bool {
            let mark = StoredMark {
                target: Target::from_bytes([target; ID_LEN]),
                kind: [MarkKind::Deleted, MarkKind::Expired, MarkKind::Own][usize::from(kind % 3)],
                origin: if bits & 1 == 0 { Origin::Mirror } else { Origin::Owner },
                seq: Seq(seq),
                expires: expires.map(Unix),
                lasting: bits & 2 == 0,
            };
            let mut bytes = mark.encode();
            let whole = StoredMark::decode(&bytes) == Some(mark);
            for (at, new) in damage {
                bytes[at % MARK_LEN] = new;
            }
            let cut = StoredMark::decode(&bytes[..MARK_LEN - 1]).is_none();
            whole && cut && StoredMark::decode(&bytes).is_none_or(|mark| mark.encode() == bytes)
        }
    }

    use alloc::vec::Vec;
}
