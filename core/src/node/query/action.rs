//! Actions that a read or a put requests of its query, since it has no access to the node itself.

use alloc::sync::Arc;

use smallvec::SmallVec;

use crate::item::Item;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::counters::Counter;
use crate::wire::Life;

/// An action of a query.
pub(crate) enum Action {
    Count(Counter),
    /// Reports a first value to the caller; `from` is `None` for this node's own store and cache.
    FirstValue {
        item: Arc<Item>,
        from: Option<PublicKey>,
    },
    /// Starts to check the signature of an item, if the limits allow it, and passes the job's
    /// number to [`Get::verifying`](crate::node::query::get::Get::verifying).
    Verify(Unverified),
    /// Sends the complete item to a peer that does not have what was to be renewed.
    StoreWhole(Candidate),
}

/// An item whose signature has not been checked.
pub(crate) struct Unverified {
    pub(crate) item: Arc<Item>,
    pub(crate) life: Option<Life>,
    pub(crate) from: Candidate,
}

/// The actions that an event leads to, in the order of execution; mostly one or two.
pub(crate) type Outbox = SmallVec<[Action; 2]>;
