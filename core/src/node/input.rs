//! Everything that can happen to a node.

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

/// How a stream reaches its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Over a connection that this side dialled: its address works.
    Dialled,
    /// Over a connection that the peer dialled.
    Accepted,
    /// Through a relay (DMSG): everyone reaches it the same way.
    Relayed,
}

/// The way a stream runs.
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
    /// Reset by the peer, or by a relay in between.
    Reset,
    /// The session below was lost: that says nothing about the peer.
    Lost,
}

/// How fresh a read must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadPolicy {
    /// Ask the k nearest live peers and return the highest rank.
    #[default]
    Freshest,
    /// Stop when this many holders agree on the highest rank seen.
    Quorum(u8),
    /// Return the first verified value.
    FirstValid,
    /// This node's own store only; no network.
    Local,
}

/// What a put is to replace: compare-and-swap. In JSON the sequence, and 0 for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "Seq", into = "Seq")]
pub enum Expected {
    /// No holder has the item, whatever its sequence.
    Nothing,
    /// This is the highest sequence.
    Version(Seq),
}

impl Expected {
    /// The sequence, unless nothing is expected.
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

/// What a put may do, beyond key, salt and value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PutOptions {
    /// This sequence rather than the automatic one.
    pub seq: Option<Seq>,
    /// Only if this is what is held. Exact among the puts of one node, which take turns, and
    /// against what it holds itself; advisory across nodes with the same key, by majority of the
    /// holders that answer.
    pub expect: Option<Expected>,
    /// Fail when fewer peers than this acknowledge. 0 and 1 ask for one.
    pub min_replicas: u16,
    /// Allow a sequence more than a day ahead of the clock.
    pub force: bool,
    /// Publish it at the target of this key, as a mirror of what it published elsewhere. Peers take
    /// it if they have this node's key among [`crate::node::Config::mirrors`], and only as long as
    /// they hold nothing that the key itself signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror_of: Option<PublicKey>,
    /// Keep it here and tell no peer.
    pub local_only: bool,
    /// Do not renew it: the item dies TTL from now unless put again.
    pub once: bool,
    /// Deadline; none means [`crate::node::Config::operation_timeout`].
    pub timeout: Option<Duration>,
}

impl PutOptions {
    /// Where an item of the key `own` with `salt` goes.
    #[must_use]
    pub fn target(&self, own: &PublicKey, salt: &Salt) -> Target {
        Target::of(self.mirror_of.as_ref().unwrap_or(own), salt.as_bytes())
    }
}

/// What to read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GetRequest {
    /// Where to look.
    pub target: Target,
    /// When to stop.
    pub policy: ReadPolicy,
    /// The owner and salt behind the target, when the caller knows them; checked.
    pub owner: Option<(PublicKey, Salt)>,
    /// Return mirrors of keys that are not configured, too.
    pub unknown_mirrors: bool,
    /// Deadline; none means [`crate::node::Config::operation_timeout`].
    pub timeout: Option<Duration>,
}

impl GetRequest {
    /// The item that `owner` signs under `salt`.
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

    /// Whether the target is that of the owner and salt given with it.
    pub(crate) fn is_consistent(&self) -> bool {
        let owner = self.owner.as_ref();
        owner.is_none_or(|(key, salt)| Target::of(key, salt.as_bytes()) == self.target)
    }
}

/// What a user of the node asks for. Each ends in exactly one
/// [`Output::Finished`](crate::node::Output::Finished).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Sign with the node's own key and publish. An empty value deletes.
    Put {
        /// Which of the node's items.
        salt: Salt,
        /// The bytes.
        value: Value,
        /// Anything out of the ordinary.
        options: PutOptions,
    },
    /// Publish an item with any signature, at its signer's own target.
    PutSigned {
        /// The item; verified first.
        item: Box<Item>,
        /// `seq` and `once` have no meaning here.
        options: PutOptions,
    },
    /// Read an item.
    Get(GetRequest),
    /// Find the live peers nearest to a target.
    FindNode {
        /// Where.
        target: Target,
        /// Deadline; none means [`crate::node::Config::operation_timeout`].
        timeout: Option<Duration>,
    },
    /// Ask one peer for a sign of life.
    Ping {
        /// Whom.
        peer: PublicKey,
        /// Where to dial, if there is no session.
        addr: Option<SocketAddr>,
    },
    /// Reconcile now, with one full node or with all that are known. Only on a full node.
    Sync {
        /// With whom; none: with all.
        peer: Option<PublicKey>,
        /// Deadline; none means [`crate::node::Config::operation_timeout`].
        timeout: Option<Duration>,
    },
    /// Wait for the next version of an item: a higher sequence than `after`. Deletions count. Ends
    /// immediately if there is one, else as soon as a holder hears of it; versions in between that
    /// are replaced before that are left out.
    Watch {
        /// Which item; always with [`ReadPolicy::Freshest`].
        request: GetRequest,
        /// The version known already; none: any will do.
        after: Option<Seq>,
    },
    /// Stop every operation, close every stream, take nothing new.
    Shutdown,
}

/// Everything that can happen to a node. A run is a function of the configuration, the
/// identity, the seed and the sequence of these.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input<'a> {
    /// A stream that the node asked for is open.
    StreamOpened {
        /// The number given in [`Output::OpenStream`](crate::node::Output::OpenStream).
        stream: StreamId,
        /// How it runs.
        path: Path,
    },
    /// A stream that the node asked for could not be opened.
    StreamFailed {
        /// The number given in [`Output::OpenStream`](crate::node::Output::OpenStream).
        stream: StreamId,
        /// Why.
        reason: OpenFailure,
    },
    /// A peer opened a stream. From now on, for as long as its session lasts, the node may open
    /// streams to this peer with [`SessionUse::ReuseOnly`](crate::node::SessionUse) and no
    /// address: that is how it pings an unknown caller back, and learns of peers that cannot be
    /// dialled. See "What a transport must do" in the [crate's documentation](crate).
    StreamAccepted {
        /// Odd, higher than any before.
        stream: StreamId,
        /// The key that the transport's handshake *proved*, never one read from a message.
        peer: PublicKey,
        /// How it runs.
        path: Path,
    },
    /// Bytes from a peer, in any fragmentation.
    Bytes {
        /// Which stream.
        stream: StreamId,
        /// What arrived.
        #[serde(borrow, with = "cow_base64")]
        bytes: Cow<'a, [u8]>,
    },
    /// Everything given to a stream by [`Output::Send`](crate::node::Output::Send) so far has
    /// left for the peer.
    Sent {
        /// Which stream.
        stream: StreamId,
    },
    /// A stream ended, from the peer's side or by loss.
    StreamClosed {
        /// Which stream.
        stream: StreamId,
        /// How.
        end: StreamEnd,
    },
    /// A user wants something.
    Command {
        /// Fresh, higher than any before.
        op: OperationId,
        /// What.
        command: Command,
    },
    /// A user no longer wants it; it finishes as cancelled, unless it has finished.
    Cancel {
        /// Which.
        op: OperationId,
    },
    /// A verification job is done.
    Verified {
        /// Which.
        job: JobId,
        /// What [`VerifyJob::run`](crate::node::VerifyJob::run) returned.
        verdict: Verdict,
    },
    /// An item that storage kept from an earlier run.
    Loaded {
        /// The record.
        record: Box<StoredRecord>,
        /// Storage proves that it is what this node wrote, by an authentication code or because
        /// no other process can write there. Otherwise its signature is checked like any other.
        #[serde(default)]
        proven: bool,
    },
    /// What an earlier run remembered of a target, see
    /// [`Output::PersistMark`](crate::node::Output::PersistMark). All of these come before any record,
    /// and only from storage that proves that this node wrote them.
    MarkLoaded {
        /// The mark.
        mark: StoredMark,
    },
    /// How far storage has been read: it gives its records in the order of their targets. Once
    /// before the first record, with the first of all targets: from then on, whatever needs an item
    /// beyond asks for it by [`Output::LoadTarget`](crate::node::Output::LoadTarget). A driver that
    /// never says so has nothing more to give.
    LoadedUpTo {
        /// Every record below this has been given; none: everything has.
        next: Option<Target>,
    },
    /// Answers [`Output::LoadTarget`](crate::node::Output::LoadTarget); the record, if there is
    /// one, comes before, as [`Input::Loaded`].
    TargetLoaded {
        /// Which.
        target: Target,
        /// Storage was read; else it cannot be now, and who waits is served from memory.
        read: bool,
    },
    /// A change whose acknowledgement was asked for is durable, or will never be.
    Persisted {
        /// Which.
        change: ChangeId,
        /// Whether it is durable.
        durable: bool,
    },
    /// An address probe ended.
    Probed {
        /// Which.
        probe: ProbeId,
        /// What came of it.
        result: Result<(), OpenFailure>,
    },
    /// The deadline was reached (harmless when it was not).
    TimerFired,
    /// The node becomes a full node, or a regular one again, with all that belongs to it. Harmless
    /// when it is one already.
    SetFullNode {
        /// Whether it stores every item from now on.
        full_node: bool,
    },
}

impl Input<'_> {
    /// The same, with bytes of its own: to keep it beyond the driver's buffer.
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

/// The driver broke the contract. Nothing else makes [`Node::handle`](crate::Node::handle) fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// [`Output`](crate::node::Output)s were not drained; the queue is at its bound.
    #[error("outputs were not drained: {0} are waiting")]
    OutputNotDrained(usize),
    /// An accepted stream must have an odd number higher than any before.
    #[error("stream {0} is not a fresh odd number")]
    StreamNumber(StreamId),
    /// An operation must have a number higher than any before.
    #[error("operation {0} is not a fresh number")]
    OperationNumber(OperationId),
    /// No job with this number is out.
    #[error("no verification job {0} is out")]
    UnknownJob(JobId),
    /// No probe with this number is out.
    #[error("no probe {0} is out")]
    UnknownProbe(ProbeId),
    /// No change with this number awaits an acknowledgement.
    #[error("no change {0} awaits an acknowledgement")]
    UnknownChange(ChangeId),
}
