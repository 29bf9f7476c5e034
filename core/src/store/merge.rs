//! The one merge rule: which of two items at a target stays.
//!
//! Stores, storage back-ends, synchronisation, repair and hybrid reads all call [`judge`], so
//! that replicas which have heard the same items hold the same one, whatever the order.

use core::cmp::{Ordering, Reverse};

use crate::id::Target;
use crate::item::{Item, Origin, Seq};
use crate::key::PublicKey;

/// Where an item stands among those for the same target; the greatest stays.
///
/// Owner before mirror, then the higher sequence, then the smaller SHA-256(v ‖ salt), then the
/// smaller key, then the shorter salt. The last two only tell mirrors apart: at a given target
/// an owner's key and salt are fixed. Two ranks are equal exactly when key, sequence, value and
/// salt are; signature bytes play no part, since one content has many valid signatures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rank {
    origin: Origin,
    seq: Seq,
    content: Reverse<[u8; 32]>,
    key: Reverse<PublicKey>,
    salt_len: Reverse<usize>,
}

impl Rank {
    /// The rank of `item` at `target`. Hashes the value once, and key and salt once.
    #[must_use]
    pub fn of(target: &Target, item: &Item) -> Self {
        Self {
            origin: item.origin_at(target),
            seq: item.seq,
            content: Reverse(item.content_hash()),
            key: Reverse(item.key),
            salt_len: Reverse(item.salt.as_bytes().len()),
        }
    }

    /// Owner or mirror.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The sequence.
    #[must_use]
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// SHA-256(v ‖ salt).
    #[must_use]
    pub const fn content_hash(&self) -> &[u8; 32] {
        &self.content.0
    }

    /// Who signed.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.key.0
    }

    /// Whether one signer said two things with the same sequence.
    fn contradicts(&self, other: &Self) -> bool {
        self.key == other.key && self.seq == other.seq && self.origin == other.origin
    }
}

/// What [`judge`] finds. `conflict`: the same signer signed two contents with one sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// The candidate ranks higher: it replaces what is held.
    Newer {
        /// Same signer, same sequence, other content.
        conflict: bool,
    },
    /// The same item, whatever the signature bytes: it can only renew.
    Same,
    /// The candidate ranks lower: what is held stays.
    Older {
        /// Same signer, same sequence, other content.
        conflict: bool,
    },
}

/// Judges a candidate for a place that is taken. Both must be verified and rank at one target.
#[must_use]
pub fn judge(held: &Rank, candidate: &Rank) -> Judgement {
    let conflict = candidate.contradicts(held);
    match candidate.cmp(held) {
        Ordering::Greater => Judgement::Newer { conflict },
        Ordering::Equal => Judgement::Same,
        Ordering::Less => Judgement::Older { conflict },
    }
}
