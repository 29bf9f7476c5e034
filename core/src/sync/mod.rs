//! Set reconciliation: what two nodes hold differently, found at a cost that grows with the
//! differences and not with what they hold.
//!
//! The set holds one [`Version`] for each target. [`FingerprintTree`] keeps sums of it by ranges
//! of targets, in O(log n) an update and a range. [`Session`] is the side that starts, a state
//! machine of `handle` and `poll_output`; [`respond`] is the other, which keeps nothing between
//! two messages. Ranges whose fingerprints differ are split until few entries are left, these are
//! named, and what either side lacks is fetched or given. `docs/replication.md` says why it is done
//! this way and what it costs.
//!
//! Fingerprints and names of entries on the wire are short hashes under a salt that the
//! starting side draws for each session. So ranges that differ look equal once in 2^32, in a
//! session that no third party can foresee, and the next session finds them.
//!
//! A peer can lie about what it holds. That costs it one answer for each request, and this side
//! a bounded number of rounds, bytes and hashes: see [`SessionLimits`] and [`MAX_RESPOND_WORK`].

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
