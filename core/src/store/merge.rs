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
        Self::known(item.origin_at(target), item.content_hash(), item)
    }

    /// The same, where its origin and its content's hash are known.
    pub(super) fn known(origin: Origin, content_hash: [u8; 32], item: &Item) -> Self {
        Self {
            origin,
            seq: item.seq,
            content: Reverse(content_hash),
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
pub fn judge(stored: &Rank, candidate: &Rank) -> Judgement {
    let conflict = candidate.contradicts(stored);
    match candidate.cmp(stored) {
        Ordering::Greater => Judgement::Newer { conflict },
        Ordering::Equal => Judgement::Same,
        Ordering::Less => Judgement::Older { conflict },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Salt, Value};
    use crate::key::Signature;
    use alloc::vec::Vec;

    fn key(byte: u8) -> PublicKey {
        let mut bytes = [byte; 33];
        bytes[0] = 2;
        PublicKey::from_bytes(&bytes).unwrap()
    }

    fn item(key: PublicKey, seq: u64, value: &[u8], salt: &[u8]) -> Item {
        Item {
            key,
            seq: Seq(seq),
            signature: Signature::default(),
            value: Value::new(value),
            salt: Salt::new(salt),
        }
    }

    /// Everything that two sequences, three signers, and values and salts cut from "ab" give,
    /// at one target; a tombstone among them.
    fn universe() -> (Target, Vec<Item>) {
        let owner = key(1);
        let mut items = Vec::new();
        for seq in [1, 2] {
            for value in [&b""[..], b"a", b"b"] {
                items.push(item(owner, seq, value, b"s"));
            }
            for mirror in [key(2), key(3)] {
                for (value, salt) in [(&b"ab"[..], &b""[..]), (b"a", b"b"), (b"", b"ab")] {
                    items.push(item(mirror, seq, value, salt));
                }
            }
        }
        (Target::of(&owner, b"s"), items)
    }

    fn join(a: Rank, b: Rank) -> Rank {
        match judge(&a, &b) {
            Judgement::Newer { .. } => b,
            Judgement::Same | Judgement::Older { .. } => a,
        }
    }

    #[test]
    fn the_rule_is_a_join_on_every_small_state() {
        let (target, items) = universe();
        let ranks: Vec<Rank> = items.iter().map(|i| Rank::of(&target, i)).collect();
        for &a in &ranks {
            assert_eq!(join(a, a), a, "idempotent");
            for &b in &ranks {
                assert_eq!(join(a, b), join(b, a), "commutative");
                for &c in &ranks {
                    assert_eq!(join(join(a, b), c), join(a, join(b, c)), "associative");
                }
            }
        }
    }

    #[test]
    fn equal_ranks_are_the_same_item_and_no_others() {
        let (target, items) = universe();
        for a in &items {
            for b in &items {
                let same = judge(&Rank::of(&target, a), &Rank::of(&target, b)) == Judgement::Same;
                assert_eq!(same, a.same_content(b), "{a:?} {b:?}");
            }
            let mut resigned = a.clone();
            resigned.signature = Signature::from_bytes([7; 65]);
            let judgement = judge(&Rank::of(&target, a), &Rank::of(&target, &resigned));
            assert_eq!(judgement, Judgement::Same);
        }
    }

    #[test]
    fn owner_then_sequence_then_smaller_hash() {
        let (owner, mirror) = (key(1), key(2));
        let target = Target::of(&owner, b"s");
        let rank = |item: &Item| Rank::of(&target, item);
        let first = rank(&item(owner, 1, b"v", b"s"));
        let loud = rank(&item(mirror, u64::MAX, b"v", b"s"));
        assert_eq!(judge(&loud, &first), Judgement::Newer { conflict: false });
        let second = rank(&item(owner, 2, b"v", b"s"));
        assert_eq!(judge(&first, &second), Judgement::Newer { conflict: false });
        let other = rank(&item(owner, 1, b"w", b"s"));
        let (small, large) = match first.content_hash() < other.content_hash() {
            true => (first, other),
            false => (other, first),
        };
        assert_eq!(judge(&large, &small), Judgement::Newer { conflict: true });
        assert_eq!(judge(&small, &large), Judgement::Older { conflict: true });
    }

    #[test]
    fn mirrors_of_different_keys_are_no_conflict_and_still_ordered() {
        let target = Target::of(&key(1), b"s");
        let a = Rank::of(&target, &item(key(2), 5, b"v", b"s"));
        let b = Rank::of(&target, &item(key(3), 5, b"v", b"s"));
        assert_eq!(a.content_hash(), b.content_hash());
        assert_eq!(judge(&b, &a), Judgement::Newer { conflict: false });
        assert_eq!(judge(&a, &b), Judgement::Older { conflict: false });
    }
}
