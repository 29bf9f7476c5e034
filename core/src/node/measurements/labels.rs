//! The labels that distinguish measurements. Each enum lists its values once, so that none is
//! missing from an array and none is counted under another's name.

use serde::Serialize;

use crate::item::Origin;
use crate::node::limits::Limit;
use crate::node::outcome::Source;
use crate::store::Refusal;
use crate::wire::Method;

/// A value that distinguishes measurements.
pub trait Label: Copy + 'static {
    /// All values, in the order of their indices.
    const ALL: &'static [Self];

    /// Stable name in snake case, as metrics and JSON use it.
    fn name(self) -> &'static str;

    /// Index in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Implements [`Label`](crate::node::Label) for an enum without payload whose discriminants count
/// up from 0.
#[macro_export]
macro_rules! label_names {
    ($enum:ty { $($variant:ident => $name:literal,)* }) => {
        impl $crate::node::Label for $enum {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

macro_rules! labels {
    ($(#[$enum_doc:meta])* $enum:ident { $($(#[$doc:meta])* $variant:ident => $name:literal,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $enum {
            $($(#[$doc])* $variant,)*
        }

        label_names!($enum { $($variant => $name,)* });
    };
}

labels! {
    /// Who sent a request.
    Side {
        /// A peer asks this node.
        Inbound => "inbound",
        /// This node asks a peer.
        Outbound => "outbound",
    }
}

labels! {
    /// Direction of bytes.
    Direction {
        /// Received.
        Received => "received",
        /// Sent.
        Sent => "sent",
    }
}

labels! {
    /// Result of a complete request of a peer.
    ServedOutcome {
        /// An answer was sent, refusals of items included.
        Answered => "answered",
        /// It broke the protocol.
        Malformed => "malformed",
        /// A limit was reached.
        Overloaded => "overloaded",
        /// A deadline passed.
        TimedOut => "timed_out",
        /// The peer closed the stream before it was answered.
        PeerLeft => "peer_left",
        /// This node stopped before it was answered.
        Shutdown => "shutdown",
    }
}

labels! {
    /// Result of a call to a peer.
    CallOutcome {
        /// It was answered.
        Answered => "answered",
        /// No stream could be opened.
        Unreachable => "unreachable",
        /// No stream was opened because of a limit of this node or its shutdown.
        Overloaded => "overloaded",
        /// No answer came in time.
        TimedOut => "timed_out",
        /// The stream ended without an answer.
        Closed => "closed",
        /// The session below the stream was lost more than once.
        Lost => "lost",
        /// The answer was invalid.
        Malformed => "malformed",
        /// The answer was no longer needed.
        Abandoned => "abandoned",
    }
}

labels! {
    /// Kind of a user's operation.
    OperationKind {
        /// A put.
        Put => "put",
        /// A read.
        Get => "get",
        /// A lookup of nodes.
        FindNode => "find_node",
        /// A ping.
        Ping => "ping",
        /// A reconciliation.
        Sync => "sync",
        /// The next version of an item.
        Watch => "watch",
    }
}

labels! {
    /// Result of a user's operation.
    OperationOutcome {
        /// Success.
        Ok => "ok",
        /// No peer holds the item.
        NotFound => "not_found",
        /// Its owner deleted the item.
        Deleted => "deleted",
        /// Less than was requested.
        Partial => "partial",
        /// Refused: the item, its sequence, or what was expected of it.
        Refused => "refused",
        /// The peer did not answer.
        NoAnswer => "no_answer",
        /// No peers are known.
        NoPeers => "no_peers",
        /// The limit on operations was reached.
        Busy => "busy",
        /// The deadline passed.
        TimedOut => "timed_out",
        /// Its caller cancelled it, or the node stopped.
        Cancelled => "cancelled",
    }
}

labels! {
    /// Result of repairing a stale holder.
    RepairOutcome {
        /// It took the item.
        Stored => "stored",
        /// It refused the item.
        Refused => "refused",
        /// It did not answer.
        Failed => "failed",
    }
}

labels! {
    /// Result of checking a signature.
    VerifyOutcome {
        /// The signature is valid.
        Valid => "valid",
        /// The signature or the item is invalid.
        Invalid => "invalid",
    }
}

labels! {
    /// How two full nodes find their differences.
    SyncKind {
        /// Set reconciliation.
        Reconcile => "reconcile",
        /// Pages of all items, with upstream's nodes.
        Pages => "pages",
        /// The session ended before this was known.
        Unknown => "unknown",
    }
}

labels! {
    /// Result of a reconciliation session.
    SyncResult {
        /// Both have the same items.
        Done => "done",
        /// The peer was not reached, or a local limit prevented the session.
        Unreached => "unreached",
        /// Incomplete; the next session continues.
        Unfinished => "unfinished",
        /// The peer is no full node.
        NotFullNode => "not_full_node",
        /// The peer violated the protocol.
        Broken => "broken",
        /// This node is no longer a full node, or shuts down.
        Stopped => "stopped",
    }
}

labels! {
    /// A recurring task of the node.
    Task {
        /// Pinging the bootstrap peers.
        Bootstrap => "bootstrap",
        /// Looking up the node's own id.
        SelfLookup => "self_lookup",
        /// Looking up stale and sparse buckets.
        Refresh => "refresh",
        /// Pinging silent peers of the table.
        Prove => "prove",
        /// Renewing own items.
        Renewal => "renewal",
        /// Reconciling with other full nodes.
        Reconcile => "reconcile",
        /// Dropping expired items.
        Expiry => "expiry",
    }
}

label_names!(Refusal {
    Older => "older",
    Conflict => "conflict",
    Expired => "expired",
    Quota => "quota",
    Distance => "distance",
    Full => "full",
    ValueTooLarge => "value_too_large",
    SaltTooLong => "salt_too_long",
    Signature => "signature",
    MirrorNotAccepted => "mirror_not_accepted",
    Deleted => "deleted",
    Busy => "busy",
    NotHeld => "not_held",
    Other => "other",
});

label_names!(Origin {
    Mirror => "mirror",
    Owner => "owner",
});

label_names!(Source {
    Network => "network",
    Store => "store",
    Cache => "cache",
});

impl Label for Limit {
    const ALL: &'static [Self] = Self::ALL;

    fn name(self) -> &'static str {
        Self::name(self)
    }

    fn index(self) -> usize {
        self as usize
    }
}

impl Label for Method {
    const ALL: &'static [Self] = &Self::ALL;

    fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find_node",
            Self::GetValue => "get_value",
            Self::PutValue => "put_value",
            Self::GetItems => "get_items",
            Self::PutBatch => "put_batch",
            Self::Renew => "renew",
            Self::Reconcile => "reconcile",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Ping => 0,
            Self::FindNode => 1,
            Self::GetValue => 2,
            Self::PutValue => 3,
            Self::GetItems => 4,
            Self::PutBatch => 5,
            Self::Renew => 6,
            Self::Reconcile => 7,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::String;

    fn check<L: Label + Serialize>() {
        let mut names = BTreeSet::new();
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index, "{}", label.name());
            assert!(names.insert(label.name()), "{} twice", label.name());
            let word = serde_json::to_value(label).unwrap();
            assert_eq!(word, String::from(label.name()));
        }
    }

    #[test]
    fn each_value_has_its_own_index_and_the_name_that_json_has() {
        check::<Side>();
        check::<Task>();
        check::<Direction>();
        check::<ServedOutcome>();
        check::<CallOutcome>();
        check::<OperationKind>();
        check::<OperationOutcome>();
        check::<RepairOutcome>();
        check::<VerifyOutcome>();
        check::<SyncKind>();
        check::<SyncResult>();
        check::<Refusal>();
        check::<Origin>();
        check::<Source>();
        check::<Method>();
        check::<Limit>();
    }
}
