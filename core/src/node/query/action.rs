//! What a read or a put wants done. Its query does that, in this order.

use alloc::sync::Arc;

use smallvec::SmallVec;

use crate::item::Item;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::counters::Counter;
use crate::wire::Life;

/// One thing to do.
pub(crate) enum Action {
    Count(Counter),
    /// The caller may have this value at once; `from` is `None` for this node's own store.
    FirstValue {
        item: Arc<Item>,
        from: Option<PublicKey>,
    },
    /// Check the signature of an item; [`Get::verifying`](crate::node::query::get::Get::verifying)
    /// is to learn the job's number.
    Verify(Unverified),
    /// Give the whole item to a peer that does not hold what was to be renewed.
    StoreWhole(Candidate),
}

/// An item whose signature has not been checked.
pub(crate) struct Unverified {
    pub(crate) item: Arc<Item>,
    pub(crate) life: Option<Life>,
    pub(crate) from: Candidate,
}

/// What is to be done. Most events lead to one action or two.
pub(crate) type Outbox = SmallVec<[Action; 2]>;
