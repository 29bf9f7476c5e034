//! The events that a node takes.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::net::SocketAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::encoding::base64;
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::key::PublicKey;
use crate::mark::StoredMark;
use crate::node::ids::{ChangeId, JobId, OperationId, ProbeId, StreamId};
use crate::node::verify::Verdict;
use crate::record::StoredRecord;

/// Who dialled the connection below a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// This side dialled, so the peer's address works.
    Dialled,
    /// The peer dialled.
    Accepted,
    /// A relay (DMSG) connects both; every node reaches the peer in the same way.
    Relayed,
}

/// The network path of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Path {
    /// Who dialled.
    pub reach: Reach,
    /// The other end's transport address, where there is one.
    pub remote: Option<SocketAddr>,
}

/// Why a stream could not be opened, or a probe failed.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, thiserror::Error,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OpenFailure {
    /// No session, and no address to dial.
    #[error("no session and no known address")]
    NoAddress,
    /// The address refused or could not be reached.
    #[error("unreachable")]
    Unreachable,
    /// No answer in time.
    #[error("timed out")]
    Timeout,
    /// The handshake failed: another key, or not our protocol.
    #[error("the handshake failed: another key or another protocol")]
    Handshake,
    /// The key is no point on the curve.
    #[error("the key is not a point on the curve")]
    InvalidKey,
    /// A local limit.
    #[error("a local limit was reached")]
    Overloaded,
    /// The transport is closing.
    #[error("the transport is closing")]
    Closing,
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamEnd {
    /// The peer finished sending; all its bytes were delivered before.
    Finished,
    /// Reset by the peer or by an intermediate relay.
    Reset,
    /// The session below was lost, which says nothing about the peer.
    Lost,
}

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPolicy {
    /// Ask the k nearest live peers and return the highest-ranked item.
    #[default]
    Freshest,
    /// Stop when this many holders agree on the highest rank seen.
    Quorum(u8),
    /// Return the first verified value.
    FirstValid,
    /// This node's own store only; no network.
    Local,
}

/// The version that a put replaces (compare-and-swap). In JSON: its sequence, or 0 for `Nothing`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Seq", into = "Seq")]
pub enum Expected {
    /// No holder has the item at any sequence.
    Nothing,
    /// The highest sequence that holders have.
    Version(Seq),
}

impl Expected {
    /// The expected sequence; `None` for [`Expected::Nothing`].
    #[must_use]
    pub const fn version(self) -> Option<Seq> {
        match self {
            Self::Nothing => None,
            Self::Version(seq) => Some(seq),
        }
    }
}

impl From<Seq> for Expected {
    fn from(seq: Seq) -> Self {
        match seq {
            Seq(0) => Self::Nothing,
            seq => Self::Version(seq),
        }
    }
}

impl From<Expected> for Seq {
    fn from(expected: Expected) -> Self {
        expected.version().unwrap_or_default()
    }
}

/// Options of a put, beyond key, salt and value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PutOptions {
    /// The sequence to use; `None`: the automatic one, which follows the clock.
    pub seq: Option<Seq>,
    /// Put only if this version is the current one. The check is exact among the puts of one node,
    /// which run one after another for an item, and against what that node stores; across nodes
    /// with the same key it is advisory, by majority of the holders that answer.
    pub expect: Option<Expected>,
    /// Fail if fewer peers than this acknowledge. 0 and 1 both require one.
    pub min_replicas: u16,
    /// Allow a sequence more than a day ahead of the clock.
    pub force: bool,
    /// Publish the item at the target of this key, as a mirror of what that key published
    /// elsewhere. Peers accept it if they list this node's key in [`crate::node::Config::mirrors`],
    /// and only while they store nothing that the key itself signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_of: Option<PublicKey>,
    /// Store the item on this node only.
    pub local_only: bool,
    /// Do not renew the item: it expires one TTL from now unless put again.
    pub once: bool,
    /// Deadline; `None` means [`crate::node::Config::operation_timeout`].
    pub timeout: Option<Duration>,
}

impl PutOptions {
    /// The target of an item that the key `own` publishes under `salt` with these options.
    #[must_use]
    pub fn target(&self, own: &PublicKey, salt: &Salt) -> Target {
        Target::of(self.mirror_of.as_ref().unwrap_or(own), salt.as_bytes())
    }
}

/// A read request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GetRequest {
    /// The target to look up.
    pub target: Target,
    /// When the read is complete.
    pub policy: ReadPolicy,
    /// Owner and salt of the item, if the caller knows them; they must give `target`.
    pub owner: Option<(PublicKey, Salt)>,
    /// Whether mirrors of keys that are not configured are returned too.
    pub unknown_mirrors: bool,
    /// Deadline; `None` means [`crate::node::Config::operation_timeout`].
    pub timeout: Option<Duration>,
}

impl GetRequest {
    /// Requests the item that `owner` signs under `salt`.
    #[must_use]
    pub fn of(owner: PublicKey, salt: Salt, policy: ReadPolicy) -> Self {
        Self {
            target: Target::of(&owner, salt.as_bytes()),
            policy,
            owner: Some((owner, salt)),
            unknown_mirrors: false,
            timeout: None,
        }
    }

    /// Whether owner and salt, if given, result in the target.
    pub(crate) fn is_consistent(&self) -> bool {
        let owner = self.owner.as_ref();
        owner.is_none_or(|(key, salt)| Target::of(key, salt.as_bytes()) == self.target)
    }
}

/// A command of the node's user. Each ends in exactly one
/// [`Output::Finished`](crate::node::Output::Finished).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Sign with the node's own key and publish. An empty value deletes.
    Put {
        /// The salt, which names the item among those of the node's key.
        salt: Salt,
        /// The value.
        value: Value,
        /// Sequence, precondition, replicas, deadline.
        options: PutOptions,
    },
    /// Publish an item with any signature, at its signer's own target.
    PutSigned {
        /// The item; its signature is checked first.
        item: Box<Item>,
        /// Options; `seq` and `once` are ignored.
        options: PutOptions,
    },
    /// Read an item.
    Get(GetRequest),
    /// Find the live peers nearest to a target.
    FindNode {
        /// The target.
        target: Target,
        /// Deadline; `None` means [`crate::node::Config::operation_timeout`].
        timeout: Option<Duration>,
    },
    /// Ping one peer.
    Ping {
        /// Key of the peer.
        peer: PublicKey,
        /// Address to dial if there is no session.
        addr: Option<SocketAddr>,
    },
    /// Reconcile immediately with one full node or with all known ones. Only on a full node.
    Sync {
        /// The full node; `None`: all known ones.
        peer: Option<PublicKey>,
        /// Deadline; `None` means [`crate::node::Config::operation_timeout`].
        timeout: Option<Duration>,
    },
    /// Wait for a version of an item with a higher sequence than `after`; a deletion counts as one.
    /// Ends immediately if such a version exists, otherwise as soon as a holder learns of one.
    /// Intermediate versions that are replaced before are skipped.
    Watch {
        /// The item; its policy is treated as [`ReadPolicy::Freshest`].
        request: GetRequest,
        /// The sequence that the caller knows; `None`: any version ends the watch.
        after: Option<Seq>,
    },
    /// Stop every operation, close every stream and accept nothing new.
    Shutdown,
}

/// An event for the node. A run is a function of the configuration, the identity, the seed and the
/// sequence of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input<'a> {
    /// A stream that the node requested is open.
    StreamOpened {
        /// The number given in [`Output::OpenStream`](crate::node::Output::OpenStream).
        stream: StreamId,
        /// Path of the stream.
        path: Path,
    },
    /// A stream that the node requested could not be opened.
    StreamFailed {
        /// The number given in [`Output::OpenStream`](crate::node::Output::OpenStream).
        stream: StreamId,
        /// The cause.
        reason: OpenFailure,
    },
    /// A peer opened a stream. From now on, as long as the peer's session lasts, the node may open
    /// streams to this peer with [`SessionUse::ReuseOnly`](crate::node::SessionUse) and no address:
    /// that is how it pings an unknown caller back, and how it reaches peers that cannot be
    /// dialled. See "What a transport must do" in the [crate's documentation](crate).
    StreamAccepted {
        /// Odd, and higher than that of any stream accepted before.
        stream: StreamId,
        /// The key that the transport's handshake *proved*, never one read from a message.
        peer: PublicKey,
        /// Path of the stream.
        path: Path,
    },
    /// Bytes from a peer, in any fragmentation.
    Bytes {
        /// The stream.
        stream: StreamId,
        /// The bytes that arrived.
        #[serde(borrow, with = "cow_base64")]
        bytes: Cow<'a, [u8]>,
    },
    /// Every byte passed to a stream by [`Output::Send`](crate::node::Output::Send) so far has left
    /// for the peer.
    Sent {
        /// The stream.
        stream: StreamId,
    },
    /// A stream ended, closed by the peer or lost with its session.
    StreamClosed {
        /// The stream.
        stream: StreamId,
        /// How it ended.
        end: StreamEnd,
    },
    /// A user issues a command.
    Command {
        /// Higher than that of any operation before.
        op: OperationId,
        /// The command.
        command: Command,
    },
    /// A user cancels an operation, which finishes as cancelled unless it has finished.
    Cancel {
        /// The operation.
        op: OperationId,
    },
    /// A verification job is complete.
    Verified {
        /// The job.
        job: JobId,
        /// What [`VerifyJob::run`](crate::node::VerifyJob::run) returned.
        verdict: Verdict,
    },
    /// A record from storage, written by an earlier run.
    Loaded {
        /// The record.
        record: Box<StoredRecord>,
        /// Whether storage proves that this node wrote the record, by an authentication code or
        /// because no other process can write there. If not, the signature is checked like any
        /// other.
        #[serde(default)]
        proven: bool,
    },
    /// A mark of an earlier run, see [`Output::PersistMark`](crate::node::Output::PersistMark). All
    /// marks come before any record, and only from storage that proves that this node wrote them.
    MarkLoaded {
        /// The mark.
        mark: StoredMark,
    },
    /// Progress of reading storage, which returns its records in the order of their targets. The
    /// driver sends it once before the first record, with the lowest of all targets; from then on,
    /// whatever needs an item beyond `next` requests it by
    /// [`Output::LoadTarget`](crate::node::Output::LoadTarget). A driver that never sends it has
    /// nothing to load.
    LoadedUpTo {
        /// Every record below this target has been passed; `None`: all records have.
        next: Option<Target>,
    },
    /// Answers [`Output::LoadTarget`](crate::node::Output::LoadTarget). The record, if there is
    /// one, comes before this, as [`Input::Loaded`].
    TargetLoaded {
        /// The target.
        target: Target,
        /// Whether storage could be read. If not, waiting requests are served from memory.
        read: bool,
    },
    /// A change with a requested acknowledgement is durable, or has failed.
    Persisted {
        /// The change.
        change: ChangeId,
        /// Whether it is durable.
        durable: bool,
    },
    /// An address probe ended.
    Probed {
        /// The probe.
        probe: ProbeId,
        /// What came of it.
        result: Result<(), OpenFailure>,
    },
    /// The deadline was reached. Harmless if it was not.
    TimerFired,
    /// Makes the node a full node or a regular one. Harmless if it is one already.
    SetFullNode {
        /// Whether the node stores every item from now on.
        full_node: bool,
    },
}

impl Input<'_> {
    /// Copies borrowed bytes, to keep the input beyond the driver's buffer.
    #[must_use]
    pub fn into_owned(self) -> Input<'static> {
        match self {
            Self::Bytes { stream, bytes } => Input::Bytes {
                stream,
                bytes: Cow::Owned(bytes.into_owned()),
            },
            Self::StreamOpened { stream, path } => Input::StreamOpened { stream, path },
            Self::StreamFailed { stream, reason } => Input::StreamFailed { stream, reason },
            Self::StreamAccepted { stream, peer, path } => {
                Input::StreamAccepted { stream, peer, path }
            }
            Self::Sent { stream } => Input::Sent { stream },
            Self::StreamClosed { stream, end } => Input::StreamClosed { stream, end },
            Self::Command { op, command } => Input::Command { op, command },
            Self::Cancel { op } => Input::Cancel { op },
            Self::Verified { job, verdict } => Input::Verified { job, verdict },
            Self::Loaded { record, proven } => Input::Loaded { record, proven },
            Self::MarkLoaded { mark } => Input::MarkLoaded { mark },
            Self::LoadedUpTo { next } => Input::LoadedUpTo { next },
            Self::TargetLoaded { target, read } => Input::TargetLoaded { target, read },
            Self::Persisted { change, durable } => Input::Persisted { change, durable },
            Self::Probed { probe, result } => Input::Probed { probe, result },
            Self::TimerFired => Input::TimerFired,
            Self::SetFullNode { full_node } => Input::SetFullNode { full_node },
        }
    }
}

mod cow_base64 {
    use super::{Cow, base64};
    use alloc::vec::Vec;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        base64::serialize(bytes, s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Cow<'static, [u8]>, D::Error> {
        base64::deserialize::<Vec<u8>, D>(d).map(Cow::Owned)
    }
}

/// The driver broke the contract; [`Node::handle`](crate::Node::handle) has no other errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// [`Output`](crate::node::Output)s were not drained: the queue has reached its limit.
    #[error("outputs were not drained: {0} are waiting")]
    OutputNotDrained(usize),
    /// An accepted stream must have an odd number higher than that of any before.
    #[error("stream {0} is not a fresh odd number")]
    StreamNumber(StreamId),
    /// An operation must have a number higher than that of any before.
    #[error("operation {0} is not a fresh number")]
    OperationNumber(OperationId),
    /// No job with this number is pending.
    #[error("no verification job {0} is out")]
    UnknownJob(JobId),
    /// No probe with this number is pending.
    #[error("no probe {0} is out")]
    UnknownProbe(ProbeId),
    /// No change with this number awaits an acknowledgement.
    #[error("no change {0} awaits an acknowledgement")]
    UnknownChange(ChangeId),
}
