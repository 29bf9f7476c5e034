//! Why an item is not taken.

use serde::Serialize;

/// Why a peer did not take an item. Go's texts are mapped onto these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Refusal {
    /// It holds a higher rank, or (Go) the same sequence.
    #[error("holds a newer item")]
    Older,
    /// It holds another content that the same signer signed with the same sequence.
    #[error("holds another item of the same sequence")]
    Conflict,
    /// Nothing is left of its life.
    #[error("its life is over")]
    Expired,
    /// The publisher's quota there is used up.
    #[error("quota of this publisher is used up")]
    Quota,
    /// Full, and its own items are nearer.
    #[error("full, and nearer items come first")]
    Distance,
    /// No room at all.
    #[error("no room")]
    Full,
    /// The value is longer than it takes (version 1 takes 1000 bytes).
    #[error("value too large for this peer")]
    ValueTooLarge,
    /// The salt is longer than it takes.
    #[error("salt too long")]
    SaltTooLong,
    /// The signature is not valid.
    #[error("invalid signature")]
    Signature,
    /// A mirror from a key that it does not accept mirrors from.
    #[error("mirrors of this key are not accepted")]
    MirrorNotAccepted,
    /// The item is deleted there and this is no newer.
    #[error("deleted, and this is no newer")]
    Deleted,
    /// Busy.
    #[error("busy")]
    Busy,
    /// It does not hold what should be renewed.
    #[error("does not hold it")]
    NotHeld,
    /// Any other text.
    #[error("refused for another reason")]
    Other,
}
