//! Set reconciliation: finds the differences between two nodes at a cost that grows with the
//! differences and not with the size of the sets.
//!
//! The set contains one [`Version`] per target. [`FingerprintTree`] keeps sums of it by ranges of
//! targets, in O(log n) per update and range. [`Session`] is the initiator, a state machine with
//! `handle` and `poll_output`; [`respond`] is the responder, which is stateless. Ranges whose
//! fingerprints differ are split until few entries are left; these are named, and what either side
//! lacks is fetched or given. `docs/replication.md` explains the design and its cost.
//!
//! Fingerprints and names of entries on the wire are short hashes under a salt that the initiator
//! draws at random for each session. So different ranges look equal with a probability of 2^-32, in
//! a session that no third party can predict, and the next session finds them.
//!
//! A peer can lie about its items. That costs the peer one answer per request, and this side a
//! bounded number of rounds, bytes and hashes: see [`SessionLimits`] and [`MAX_RESPOND_WORK`].

mod bytes;
mod entry;
mod fingerprint;
mod item_bytes;
mod message;
mod prefix;
mod respond;
mod session;
mod set;
mod source;

pub use bytes::{Fault, MessageError};
pub use entry::{Lead, Stamp, Version};
pub use fingerprint::{FingerprintTree, MAX_LEAF, Sum};
pub use item_bytes::{MAX_ITEM_BYTES, item_bytes};
pub use message::{
    FetchedItem, MAX_IDS, MAX_SYNC_MESSAGE, RequestPart, ResponsePart, SyncRequest, SyncResponse,
};
pub use prefix::{MAX_PREFIX_BITS, Prefix};
pub use respond::{MAX_RESPOND_WORK, Reply, respond};
pub use session::{Received, Session, SessionError, SessionLimits, SessionOutput, Summary};
pub use set::ItemSet;
pub use source::{Entries, Source};

#[cfg(test)]
mod tests;
