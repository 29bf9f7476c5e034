//! What measurements are distinguished by. Each enum lists its values once, so that none is left out
//! of an array, and none is counted under another's name.

use serde::Serialize;

use crate::item::Origin;
use crate::node::limits::Limit;
use crate::node::outcome::Source;
use crate::store::Refusal;
use crate::wire::Method;

/// A value that measurements are distinguished by.
pub trait Label: Copy + 'static {
    /// All of them, in the order of their indices.
    const ALL: &'static [Self];

    /// Stable name, in snake case.
    fn name(self) -> &'static str;

    /// Its place in [`Label::ALL`].
    fn index(self) -> usize;
}

/// Names the values of an enum without payload whose discriminants count up from 0.
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
    /// Whose request it is.
    Side {
        /// A peer asks this node.
        Inbound => "inbound",
        /// This node asks a peer.
        Outbound => "outbound",
    }
}

labels! {
    /// Which way bytes go.
    Direction {
        /// They came.
        Received => "received",
        /// They were sent.
        Sent => "sent",
    }
}

labels! {
    /// What became of a request of a peer's that came whole.
    ServedOutcome {
        /// An answer was sent, refusals of items included.
        Answered => "answered",
        /// It broke the protocol.
        Malformed => "malformed",
        /// A limit left no room for it.
        Overloaded => "overloaded",
        /// A deadline passed.
        TimedOut => "timed_out",
        /// The peer went before it was answered.
        PeerLeft => "peer_left",
        /// This node stopped before it was answered.
        Shutdown => "shutdown",
    }
}

labels! {
    /// What became of a call to a peer.
    CallOutcome {
        /// It was answered.
        Answered => "answered",
        /// No stream could be opened.
        Unreachable => "unreachable",
        /// No stream was opened because of a limit of this node's, or because it stops.
        Overloaded => "overloaded",
        /// No answer came in time.
        TimedOut => "timed_out",
        /// The stream ended without an answer.
        Closed => "closed",
        /// The session below the stream was lost, more than once.
        Lost => "lost",
        /// The answer is not one.
        Malformed => "malformed",
        /// The answer was not wanted any more.
        Abandoned => "abandoned",
    }
}

labels! {
    /// What a user asked for.
    OperationKind {
        /// A put.
        Put => "put",
        /// A read.
        Get => "get",
        /// A search for nodes.
        FindNode => "find_node",
        /// A sign of life.
        Ping => "ping",
        /// A reconciliation.
        Sync => "sync",
        /// The next version of an item.
        Watch => "watch",
    }
}

labels! {
    /// How what a user asked for ended.
    OperationOutcome {
        /// It did what was asked.
        Ok => "ok",
        /// No peer holds the item.
        NotFound => "not_found",
        /// Its owner deleted the item.
        Deleted => "deleted",
        /// Less than was asked for.
        Partial => "partial",
        /// Refused: the item, its sequence, or what was expected of it.
        Refused => "refused",
        /// The peer does not answer.
        NoAnswer => "no_answer",
        /// No peer is known.
        NoPeers => "no_peers",
        /// Too many operations.
        Busy => "busy",
        /// The time was over.
        TimedOut => "timed_out",
        /// Its caller cancelled it, or the node stopped.
        Cancelled => "cancelled",
    }
}

labels! {
    /// What became of a repair of a holder that lags.
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
    /// What a check of a signature found.
    VerifyOutcome {
        /// The signature is its signer's.
        Valid => "valid",
        /// It is not, or the item is none.
        Invalid => "invalid",
    }
}

labels! {
    /// How full nodes find what they hold differently.
    SyncKind {
        /// Set reconciliation.
        Reconcile => "reconcile",
        /// Pages of everything that is held, with upstream's nodes.
        Pages => "pages",
        /// It ended before the peer said which.
        Unknown => "unknown",
    }
}

labels! {
    /// How a session of reconciliation ended.
    SyncResult {
        /// Both hold the same.
        Done => "done",
        /// The peer was not reached, or room was short here.
        Unreached => "unreached",
        /// The next session goes on.
        Unfinished => "unfinished",
        /// The peer is no full node.
        NotFullNode => "not_full_node",
        /// The peer breaks the rules.
        Broken => "broken",
        /// This node is no full node any more, or stops.
        Stopped => "stopped",
    }
}

labels! {
    /// What a node does again and again by itself.
    Task {
        /// Asking bootstrap peers for a sign of life.
        Bootstrap => "bootstrap",
        /// Looking up the own id.
        SelfLookup => "self_lookup",
        /// Looking up stale and sparse buckets.
        Refresh => "refresh",
        /// Asking silent peers of the table for a sign of life.
        Prove => "prove",
        /// Renewing own items.
        Renewal => "renewal",
        /// Reconciling with other full nodes.
        Reconcile => "reconcile",
        /// Letting go of items whose life is over.
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
