//! Elements of the reconciled set.

use sha2::{Digest, Sha256};

use crate::id::Target;
use crate::item::{Origin, Seq};

/// The version of an item at a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Whether the item is the owner's or a mirror's.
    pub origin: Origin,
    /// The sequence.
    pub seq: Seq,
    /// Payload hash, such as [`Item::content_hash`](crate::item::Item::content_hash).
    pub payload: [u8; 32],
}

impl Version {
    /// The digest that the set sums up: SHA-256(target ‖ origin ‖ sequence ‖ payload hash), with
    /// origin 1 for the owner's item and 0 for a mirror's.
    #[must_use]
    pub fn digest(&self, target: &Target) -> [u8; 32] {
        let mut bytes = [0; 73];
        bytes[..32].copy_from_slice(target.as_bytes());
        bytes[32] = u8::from(self.origin == Origin::Owner);
        bytes[33..41].copy_from_slice(&self.seq.0.to_be_bytes());
        bytes[41..].copy_from_slice(&self.payload);
        Sha256::digest(bytes).into()
    }

    /// The short form of this version.
    #[must_use]
    pub fn stamp(&self, target: &Target) -> Stamp {
        Stamp {
            lead: Lead::of(target),
            origin: self.origin,
            seq: self.seq,
        }
    }
}

/// The first eight bytes of a target, which identify it among the targets of a node. Of several
/// targets that share them (finding a pair takes 2^32 hashes), only the first is found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lead(pub u64);

impl Lead {
    /// The lead of a target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let mut lead = [0; 8];
        lead.copy_from_slice(&target.as_bytes()[..8]);
        Self(u64::from_be_bytes(lead))
    }

    /// The lowest target with this lead.
    #[must_use]
    pub fn first(self) -> Target {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.0.to_be_bytes());
        Target::from_bytes(bytes)
    }
}

/// The short form of a version: all that the other side needs to decide whether it wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// Lead of the target.
    pub lead: Lead,
    /// Whether the item is the owner's or a mirror's.
    pub origin: Origin,
    /// The sequence.
    pub seq: Seq,
}
