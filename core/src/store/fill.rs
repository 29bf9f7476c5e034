//! What a store holds, in numbers.

use serde::Serialize;

/// What the store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct StoreFill {
    /// Items, tombstones included.
    pub items: usize,
    /// Bytes.
    pub bytes: usize,
    /// Items from owners in the public tier.
    pub public: usize,
    /// Items of whitelisted keys.
    pub whitelisted: usize,
    /// Items of trusted keys.
    pub trusted: usize,
    /// Mirrored items.
    pub mirrors: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Markers of deleted items.
    pub marks: usize,
    /// Markers of owners' items that expired undeleted.
    pub expired_marks: usize,
}
