//! Numbers and tags: plain values that layers pass to each other, so that no layer has to know its
//! users.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

handle! {
    /// Number of a stream: even if the core opened it, odd if the driver accepted it. Each side
    /// counts upwards and never reuses a number.
    StreamId
}
handle! {
    /// Number of an operation, assigned by the driver, ascending and never reused.
    OperationId
}
handle! {
    /// Number of a verification job, assigned by the core.
    JobId
}
handle! {
    /// Number of a change to persist, assigned by the core.
    ChangeId
}
handle! {
    /// Number of an address probe, assigned by the core.
    ProbeId
}

impl StreamId {
    /// Whether the core opened this stream.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// Number of a query, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct QueryId(pub(crate) u64);

/// Number of a reconciliation session or an offer, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SyncId(pub(crate) u64);

/// Number of a call, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct CallId(pub(crate) u64);

/// Who receives the result of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallTag {
    /// A step of a lookup.
    Step(QueryId),
    /// A replica of a put; `step` when the answer also serves the lookup.
    Replica { query: QueryId, step: bool },
    /// A ping of the oldest peer of a full bucket.
    Eviction,
    /// A ping of a silent peer of the table.
    Proof,
    /// A ping of an unknown caller.
    PingBack,
    /// A ping of a peer that others named for a sparse bucket.
    Fill,
    /// A ping of a bootstrap peer.
    Bootstrap,
    /// A user's ping.
    Ping(OperationId),
    /// A read repair, whose answer changes nothing.
    Repair,
    /// A request of a reconciliation session.
    Reconcile(SyncId),
    /// An offer of items that are new on this node.
    Offer(SyncId),
    /// The items that a peer requested after an offer.
    Given,
    /// An offer to a new peer of the table, or the items that it requested after one.
    HandOver,
    /// A long poll of a holder on behalf of a watch.
    Poll(OperationId),
}

/// What a verification belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VerifyTag {
    /// An item that a read returned.
    Get(QueryId),
    /// An item put by a peer over this stream.
    Put(StreamId),
    /// One item of a batch that a peer put over a stream, by its index there.
    Batch { stream: StreamId, index: usize },
    /// A user's put of a signed item.
    Signed(OperationId),
    /// A record from storage.
    Loaded,
    /// An item that a reconciliation session fetched.
    Synced(SyncId),
}

/// Why a query or an operation stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StopReason {
    /// Its purpose is met, or no candidate is left to ask.
    Done,
    /// Its operation's deadline passed.
    Timeout,
    /// Its caller cancelled.
    Cancelled,
    /// The node shuts down.
    Shutdown,
}

/// Whether an item is new to the network or only has its lifetime renewed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutMode {
    Publish,
    Renew,
}
