//! Numbers and tags: plain values that layers hand to each other, so that none has to know who
//! uses it.

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
    /// A stream: even when the core opened it, odd when the driver accepted it. Each side
    /// counts upward; a number is never used again.
    StreamId
}
handle! {
    /// An operation, numbered by the driver, upward; a number is never used again.
    OperationId
}
handle! {
    /// A verification job, numbered by the core.
    JobId
}
handle! {
    /// A change to persist, numbered by the core.
    ChangeId
}
handle! {
    /// An address probe, numbered by the core.
    ProbeId
}

impl StreamId {
    /// Whether the core opened this stream.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// A query's number, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct QueryId(pub(crate) u64);

/// A session's or an offer's number, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SyncId(pub(crate) u64);

/// A call's number, never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct CallId(pub(crate) u64);

/// Who wants the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallTag {
    /// A step of a lookup.
    Step(QueryId),
    /// A replica of a put; `step` when the answer also serves the lookup.
    Replica { query: QueryId, step: bool },
    /// Is the oldest of a full bucket alive?
    Eviction,
    /// Does a peer of the table still live?
    Proof,
    /// Does an unknown caller answer?
    PingBack,
    /// Does a peer that others named for a sparse bucket answer?
    Fill,
    /// Does a bootstrap peer answer?
    Bootstrap,
    /// A user's ping.
    Ping(OperationId),
    /// A read repair, whose answer changes nothing.
    Repair,
    /// A request of a reconciliation session.
    Reconcile(SyncId),
    /// An offer of what is new here.
    Offer(SyncId),
    /// What was wanted of an offer.
    Given,
    /// An offer to a newcomer, or what it wanted of it.
    HandOver,
    /// Has a holder something newer for a watch?
    Poll(OperationId),
}

/// What a signature being checked belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum VerifyTag {
    /// An item that a read brought.
    Get(QueryId),
    /// An item put over a stream.
    Put(StreamId),
    /// One item of a batch put over a stream, by its place there.
    Batch { stream: StreamId, index: usize },
    /// A user's put of a signed item.
    Signed(OperationId),
    /// A record from storage.
    Loaded,
    /// An item that a reconciliation session brought.
    Synced(SyncId),
}

/// Why a query or an operation stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StopReason {
    /// Its purpose is met, or no peer is left to ask.
    Done,
    /// Its operation's deadline passed.
    Timeout,
    /// Its caller cancelled.
    Cancelled,
    /// The node stops.
    Shutdown,
}

/// Whether the item is new to the network or only wants its life renewed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PutMode {
    Publish,
    Renew,
}
