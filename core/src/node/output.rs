//! Everything a node wants done.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;

use serde::Serialize;
use smallvec::SmallVec;

use crate::encoding::base64;
use crate::id::{NodeId, Target};
use crate::item::{Item, Origin, Seq};
use crate::key::PublicKey;
use crate::mark::MarkChange;
use crate::node::ids::{ChangeId, JobId, OperationId, ProbeId, StreamId};
use crate::node::outcome::Outcome;
use crate::node::verify::VerifyJob;
use crate::record::StoredRecord;
use crate::time::Mono;

/// Addresses to try, best first; at most three a key.
pub type Addrs = SmallVec<[SocketAddr; 1]>;

/// Which connection a new stream may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionUse {
    /// An existing session first, else dial.
    ReuseOrDial,
    /// An existing session, whichever side dialled it, or fail with
    /// [`OpenFailure::NoAddress`](crate::node::OpenFailure).
    ReuseOnly,
}

/// Why the node closes a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CloseReason {
    /// The exchange is complete: flush what was sent, then finish.
    Done,
    /// Unused for long: finish.
    Idle,
    /// A limit was reached: flush the refusal if there is one, then finish.
    Overloaded,
    /// The peer broke the protocol: reset.
    Protocol,
    /// A deadline passed: reset.
    Timeout,
    /// The answer is no longer wanted: reset.
    Cancelled,
    /// The node shuts down: finish.
    Shutdown,
    /// Others needed the room, and this was worth least: reset.
    Evicted,
}

impl CloseReason {
    /// Whether queued bytes are flushed and the stream finished, rather than reset.
    #[must_use]
    pub const fn is_graceful(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Idle | Self::Overloaded | Self::Shutdown
        )
    }
}

/// A change to the store, for persistence. Later changes to a target replace earlier ones.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreChange {
    /// Keep this under its target.
    Keep(Box<StoredRecord>),
    /// Forget this target.
    Forget(Target),
}

/// What happened, for logs and metrics; nothing needs to be done.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A get has its first verified value; a fresher one may follow in the outcome.
    FirstValue {
        /// Which get.
        op: OperationId,
        /// What was found.
        item: Arc<Item>,
        /// Owner or mirror.
        origin: Origin,
        /// Who had it; none for this node's own store.
        from: Option<PublicKey>,
    },
    /// A lookup learnt something; only for operations, for traces.
    Hop {
        /// Which operation.
        op: OperationId,
        /// Who was asked.
        peer: PublicKey,
        /// What came of it.
        result: HopResult,
    },
    /// The routing table is not empty and the first self-lookups are done.
    Ready {
        /// Peers in the table.
        peers: usize,
    },
    /// A peer entered the routing table.
    PeerAdded {
        /// Its key.
        peer: PublicKey,
    },
    /// A peer left the routing table.
    PeerRemoved {
        /// Its id.
        id: NodeId,
    },
    /// One of the node's own items could not be renewed at any peer.
    RenewalFailed {
        /// Which.
        target: Target,
        /// Its sequence.
        seq: Seq,
    },
    /// The clock jumped (a suspended machine): the node bootstraps again.
    ClockJumped,
    /// A peer wasted so much work that its streams were reset, and new ones are until then. What it
    /// sends costs its transport all the same, mostly for decryption: a driver that can end its
    /// session, and refuse another for as long, does.
    PeerRefused {
        /// Its key.
        peer: PublicKey,
        /// When it is served again.
        until: Mono,
    },
}

/// What one lookup step brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HopResult {
    /// A request went out.
    Asked,
    /// An answer with this many closer peers, new to the lookup.
    Answered {
        /// New candidates.
        new: u16,
        /// Whether it carried an item.
        item: bool,
    },
    /// No usable answer.
    Failed,
}

/// Everything a node wants done. Not `non_exhaustive`: a driver that ignores a new output
/// must fail to compile.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Open a stream; answer with `StreamOpened` or `StreamFailed`.
    OpenStream {
        /// Even, fresh.
        stream: StreamId,
        /// To whom; the transport proves it.
        peer: PublicKey,
        /// Where to dial, best first, if there is no session.
        addrs: Addrs,
        /// Whether dialling is allowed.
        session: SessionUse,
    },
    /// Send bytes, in order; answer with `Sent` when all have left.
    Send {
        /// Where.
        stream: StreamId,
        /// One whole frame.
        #[serde(serialize_with = "base64::serialize")]
        bytes: Arc<[u8]>,
    },
    /// Close a stream that is open or being opened. Nothing more is said about it.
    CloseStream {
        /// Which.
        stream: StreamId,
        /// Why, and whether gracefully.
        reason: CloseReason,
    },
    /// Read no more from a stream until resumed.
    PauseReading {
        /// Which.
        stream: StreamId,
    },
    /// Read from a stream again.
    ResumeReading {
        /// Which.
        stream: StreamId,
    },
    /// Find out, without a session, whether `peer` answers at `addr`; answer with `Probed`.
    Probe {
        /// Fresh.
        probe: ProbeId,
        /// Who should be there.
        peer: PublicKey,
        /// Where.
        addr: SocketAddr,
    },
    /// Run a job on any thread; answer with `Verified`.
    Verify {
        /// Fresh.
        job: JobId,
        /// Plain data with a pure `run`.
        work: VerifyJob,
    },
    /// Write a change to storage, if there is any.
    Persist {
        /// Fresh.
        change: ChangeId,
        /// What.
        what: StoreChange,
        /// Answer with `Persisted`.
        acknowledge: bool,
    },
    /// Write, to storage that can prove it, what is remembered of a target beyond its item's life, so
    /// that after a restart nothing deleted comes back and no own sequence is lowered.
    PersistMark {
        /// What.
        change: MarkChange,
    },
    /// Read from storage what lies at a target, before its turn; answer with `Loaded` if there
    /// is a record, then `TargetLoaded`. Only after a `LoadedUpTo` that is not the last.
    LoadTarget {
        /// Which.
        target: Target,
    },
    /// An operation ended. Exactly one for each.
    Finished {
        /// Which.
        op: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// Something happened.
    Event(Event),
}

/// Why the node wants to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WakeReason {
    /// A call's soft or hard deadline.
    Call,
    /// A served stream's read or idle deadline.
    Stream,
    /// An operation's deadline.
    Operation,
    /// Bootstrap, self-lookup, bucket refresh or a ping of the oldest.
    Maintenance,
    /// Requests wait and could go on, or peers who do not take their answers have to go for them.
    Requests,
    /// Items expire.
    Expiry,
    /// Own items want renewing.
    Renewal,
}

/// When to call `handle` with [`Input::TimerFired`](crate::node::Input::TimerFired), and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Deadline {
    /// When.
    pub at: crate::time::Mono,
    /// What for.
    pub why: WakeReason,
}
