//! The actions that a node requests from its driver.

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

/// Addresses to try, best first; at most three per key.
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
    /// The stream was unused for long: finish.
    Idle,
    /// A limit was reached: flush the refusal if there is one, then finish.
    Overloaded,
    /// The peer broke the protocol: reset.
    Protocol,
    /// A deadline passed: reset.
    Timeout,
    /// The answer is no longer needed: reset.
    Cancelled,
    /// The node shuts down: finish.
    Shutdown,
    /// Others needed the room, and this stream was least valuable: reset.
    Evicted,
}

impl CloseReason {
    /// Whether queued bytes are flushed and the stream is finished, instead of reset.
    #[must_use]
    pub const fn is_graceful(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Idle | Self::Overloaded | Self::Shutdown
        )
    }
}

/// A change to the store, for persistence. A later change to a target replaces earlier ones.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreChange {
    /// Write this record under its target.
    Keep(Box<StoredRecord>),
    /// Remove the record of this target.
    Forget(Target),
}

/// Something that happened, for logs and metrics; it requires no action.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A get has its first verified value; a fresher one may follow in the outcome.
    FirstValue {
        /// The get.
        op: OperationId,
        /// The item.
        item: Arc<Item>,
        /// Whether the owner or a mirror signed it.
        origin: Origin,
        /// The peer that had it; `None` for this node's own store.
        from: Option<PublicKey>,
    },
    /// A lookup of an operation made a step, for traces.
    Hop {
        /// The operation.
        op: OperationId,
        /// The peer that was asked.
        peer: PublicKey,
        /// The result.
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
        /// Target of the item.
        target: Target,
        /// Sequence of the item.
        seq: Seq,
    },
    /// The clock jumped, as after a suspension of the machine. The node bootstraps again.
    ClockJumped,
    /// A peer wasted so much work that its streams were reset and new ones are refused for a while.
    /// What it sends still costs the transport, mostly for decryption: a driver that can close its
    /// session and refuse new ones until then should do so.
    PeerRefused {
        /// Its key.
        peer: PublicKey,
        /// When it is served again.
        until: Mono,
    },
}

/// The result of a step of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HopResult {
    /// A request was sent.
    Asked,
    /// The peer answered.
    Answered {
        /// Candidates in the answer that are new to the lookup.
        new: u16,
        /// Whether the answer carried an item.
        item: bool,
    },
    /// No usable answer.
    Failed,
}

/// An action that a node requests from its driver. Not `non_exhaustive`: a driver that ignores a
/// new output must fail to compile.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Open a stream; the driver answers with `StreamOpened` or `StreamFailed`.
    OpenStream {
        /// Even, and not used before.
        stream: StreamId,
        /// Key of the peer; the transport proves it.
        peer: PublicKey,
        /// Addresses to dial, best first, if there is no session.
        addrs: Addrs,
        /// Whether dialling is allowed.
        session: SessionUse,
    },
    /// Send bytes in order; the driver answers with `Sent` when all have left.
    Send {
        /// The stream.
        stream: StreamId,
        /// One whole frame.
        #[serde(serialize_with = "base64::serialize")]
        bytes: Arc<[u8]>,
    },
    /// Close a stream that is open or being opened. No further event for it is needed.
    CloseStream {
        /// The stream.
        stream: StreamId,
        /// The reason, which also says whether to finish or to reset.
        reason: CloseReason,
    },
    /// Stop reading from a stream until `ResumeReading`.
    PauseReading {
        /// The stream.
        stream: StreamId,
    },
    /// Resume reading from a stream.
    ResumeReading {
        /// The stream.
        stream: StreamId,
    },
    /// Find out, without a session, whether `peer` answers at `addr`; the driver answers with
    /// `Probed`.
    Probe {
        /// Not used before.
        probe: ProbeId,
        /// Key expected at the address.
        peer: PublicKey,
        /// The address.
        addr: SocketAddr,
    },
    /// Run a job on any thread; the driver answers with `Verified`.
    Verify {
        /// Not used before.
        job: JobId,
        /// The job: plain data with a pure `run`.
        work: VerifyJob,
    },
    /// Write a change to storage, if there is storage.
    Persist {
        /// Not used before.
        change: ChangeId,
        /// The change.
        what: StoreChange,
        /// Whether the driver answers with `Persisted`.
        acknowledge: bool,
    },
    /// Write what is remembered about a target beyond its item's lifetime to storage that can prove
    /// it, so that after a restart deleted items stay deleted and no own sequence is lowered.
    PersistMark {
        /// The change.
        change: MarkChange,
    },
    /// Read the record at a target from storage, out of order. The driver answers with `Loaded` if
    /// there is a record, then with `TargetLoaded`. Only while storage is being read: after a
    /// `LoadedUpTo` whose `next` is not `None`.
    LoadTarget {
        /// The target.
        target: Target,
    },
    /// An operation ended. Exactly one per operation.
    Finished {
        /// The operation.
        op: OperationId,
        /// Its result.
        outcome: Outcome,
    },
    /// An event for logs and metrics.
    Event(Event),
}

/// Why the node needs to be woken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WakeReason {
    /// A call's soft or hard deadline.
    Call,
    /// The read or idle deadline of an accepted stream.
    Stream,
    /// An operation's deadline.
    Operation,
    /// Bootstrap, self-lookup, bucket refresh or a ping of the oldest.
    Maintenance,
    /// Waiting requests can be resumed, or peers that do not read their answers are disconnected to
    /// make room for them.
    Requests,
    /// Items expire.
    Expiry,
    /// Own items need renewal.
    Renewal,
}

/// When to call `handle` with [`Input::TimerFired`](crate::node::Input::TimerFired), and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Deadline {
    /// The time, on the monotonic clock.
    pub at: crate::time::Mono,
    /// The most urgent reason.
    pub why: WakeReason,
}
