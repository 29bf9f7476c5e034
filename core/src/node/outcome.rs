//! The results of operations.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;

use crate::id::Target;
use crate::item::{Item, ItemError, Origin, Salt, Seq};
use crate::key::PublicKey;
use crate::node::input::{OpenFailure, Path};
use crate::store::Refusal;

/// The result of an operation.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A put or put of a signed item.
    Put(Result<PutOutcome, PutError>),
    /// A get.
    Get(Result<GetOutcome, GetError>),
    /// A lookup of the nearest nodes.
    FindNode(Result<FindNodeOutcome, OperationError>),
    /// A ping.
    Ping(Result<PingOutcome, PingError>),
    /// A reconciliation with other full nodes.
    Sync(Result<SyncOutcome, SyncError>),
    /// The next version of an item; a deletion is one that
    /// [reads as deleted](crate::item::Item::reads_as_deleted).
    Watch(Result<GetOutcome, GetError>),
    /// A shutdown; every other operation has finished before.
    Shutdown,
}

/// How the peers answered a put.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Replicas {
    /// Peers that stored the item.
    pub stored: u16,
    /// Peers that had the same item and renewed its lifetime.
    pub refreshed: u16,
    /// Peers that refused, by reason, most frequent first.
    pub refused: Vec<(Refusal, u16)>,
    /// Peers that did not answer: they may or may not have the item.
    pub unknown: u16,
}

impl Replicas {
    /// Number of peers that certainly have the item.
    #[must_use]
    pub const fn acknowledged(&self) -> u16 {
        self.stored.saturating_add(self.refreshed)
    }

    /// Number of peers that were asked.
    #[must_use]
    pub fn attempted(&self) -> u16 {
        self.refused.iter().fold(
            self.acknowledged().saturating_add(self.unknown),
            |sum, (_, n)| sum.saturating_add(*n),
        )
    }
}

/// The cost of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LookupStats {
    /// Peers that answered.
    pub answered: u16,
    /// Peers that failed.
    pub failed: u16,
    /// Requests sent, those of the lookup and those that store.
    pub requests: u16,
    /// Referrals between this node and the nearest peer that answered.
    pub hops: u16,
    /// Whether the k nearest live peers known all answered.
    pub converged: bool,
    /// Time from the command to the outcome.
    pub elapsed: Duration,
}

/// A put that enough peers acknowledged. An item acknowledged by h peers survives h − 1 failures
/// within the TTL.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PutOutcome {
    /// Target of the item.
    pub target: Target,
    /// Sequence of the item.
    pub seq: Seq,
    /// How the peers answered.
    pub replicas: Replicas,
    /// Whether this node stores the item too.
    pub local: bool,
    /// Cost of the lookup.
    pub stats: LookupStats,
}

/// Why a put failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PutError {
    /// The item is invalid.
    #[error(transparent)]
    Item(ItemError),
    /// This node has no secret key.
    #[error("this node has no secret key to sign with")]
    NoSecretKey,
    /// A version of the same or a higher sequence is known.
    #[error("sequence {got} is not above {have}, which is held")]
    Sequence {
        /// The highest known.
        have: Seq,
        /// The one asked for.
        got: Seq,
    },
    /// Another node with the same key published a higher sequence at each attempt of this put.
    #[error("another node publishes this item at the same time, and was first at every try")]
    Overtaken {
        /// The highest sequence that a holder named.
        have: Option<Seq>,
    },
    /// The key publishes this item itself, and its item outranks any mirror.
    #[error("the owner publishes this item itself, with sequence {have}")]
    OwnerPublishes {
        /// Sequence of the owner's item.
        have: Seq,
    },
    /// The highest known sequence is the maximum and has no successor.
    #[error("the owner's sequence is at its maximum and cannot grow")]
    SequenceSaturated,
    /// The sequence is more than a day ahead of the clock.
    #[error("sequence {0} is more than a day ahead of the clock; force it if you mean it")]
    SequenceAhead(Seq),
    /// `expect` did not hold for the majority of holders.
    #[error("{}", conflict(*.held))]
    Conflict {
        /// The highest sequence that holders have; `None` if they have none.
        held: Option<Seq>,
    },
    /// This node's own store refused the item, and the put was local only.
    #[error("refused by the local store: {0}")]
    Local(Refusal),
    /// Fewer peers acknowledged than `min_replicas`.
    #[error("{} of the {wanted} replicas asked for", .partial.replicas.acknowledged())]
    TooFewReplicas {
        /// The required number.
        wanted: u16,
        /// The result so far.
        partial: Box<PutOutcome>,
    },
    /// The deadline passed before enough peers acknowledged.
    #[error("timed out")]
    Timeout {
        /// The result so far.
        partial: Box<PutOutcome>,
    },
    /// An error that any operation can have.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

fn conflict(held: Option<Seq>) -> String {
    match held {
        Some(held) => format!("another version is held: sequence {held}"),
        None => "another version was expected, but none is held".into(),
    }
}

/// Where the value of a read came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Peers, in this operation.
    Network,
    /// This node's own store.
    Store,
    /// This node's read cache, whose entries are at most 60 s old.
    Cache,
}

/// The result of a successful read.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GetOutcome {
    /// Target of the item.
    pub target: Target,
    /// The highest-ranked item.
    pub item: Arc<Item>,
    /// Whether the owner or a mirror signed the item; a mirror's key is the item's key.
    pub origin: Origin,
    /// Time since the signer last vouched for the item; `None` if unknown.
    pub age: Option<Duration>,
    /// Where the value came from.
    pub source: Source,
    /// Peers that have exactly this item.
    pub agree: u16,
    /// Peers that answered.
    pub asked: u16,
    /// Time from the command to the first verified value.
    pub first_value: Duration,
    /// Cost of the lookup; `converged` says whether the k nearest live peers were all asked.
    pub stats: LookupStats,
}

/// Why a read returned no value.
#[derive(Clone, PartialEq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GetError {
    /// No peer that answered has the item.
    #[error("not found: {} peers answered, none holds it", .stats.answered)]
    NotFound {
        /// Cost of the lookup.
        stats: LookupStats,
    },
    /// The owner deleted the item.
    #[error("deleted by its owner, sequence {seq}")]
    Deleted {
        /// Sequence of the tombstone.
        seq: Seq,
        /// The cost.
        stats: LookupStats,
    },
    /// The deadline passed before the policy was met.
    #[error("timed out")]
    Timeout {
        /// The best value so far.
        best: Option<Box<GetOutcome>>,
        /// The cost.
        stats: LookupStats,
    },
    /// `owner` does not result in `target`.
    #[error("key and salt do not give this target")]
    WrongTarget,
    /// An error that any operation can have.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

/// Errors that any operation can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationError {
    /// The routing table is empty and no bootstrap peer answers.
    #[error("no peers: the routing table is empty and no bootstrap peer answers")]
    NoPeers,
    /// The limit on concurrent operations is reached.
    #[error("busy: {0} operations are under way, the most there may be")]
    Busy(usize),
    /// The deadline passed before the operation was complete.
    #[error("timed out")]
    Timeout,
    /// Cancelled by its caller.
    #[error("cancelled")]
    Cancelled,
    /// The node shuts down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// A peer as operations and snapshots report it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PeerInfo {
    /// Key of the peer, proven by a transport.
    pub key: PublicKey,
    /// Address at which it can be dialled, if known.
    pub addr: Option<core::net::SocketAddr>,
    /// Index of its bucket: the length of the prefix that it shares with this node's id.
    pub bucket: u8,
    /// Time since it last answered.
    pub last_seen: Duration,
    /// Smoothed round-trip time; `None` before the first measurement.
    pub rtt: Option<Duration>,
    /// Whether it speaks our extensions; `None` while unknown.
    pub skydht: Option<bool>,
    /// Whether this node reached it by dialling or over a relay, and so names it to other peers.
    pub reachable: bool,
    /// Whether its last call did not fail and its last sign of life is recent enough; see
    /// [`Snapshot::proven_within`](crate::node::Snapshot).
    pub proven: bool,
}

/// An item of this node that it keeps renewed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OwnItem {
    /// Target of the item.
    pub target: Target,
    /// Salt of the item.
    pub salt: Salt,
    /// Sequence of the version that is renewed.
    pub seq: Seq,
    /// Length of its value in bytes.
    pub value_len: usize,
    /// Peers that stored or renewed it the last time.
    pub holders: u16,
    /// Time since then; `None`: it has reached no peer yet.
    pub age: Option<Duration>,
    /// Time until the next renewal; `None` if none is scheduled.
    pub next_renewal: Option<Duration>,
}

/// The result of a lookup of the nearest peers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FindNodeOutcome {
    /// Keys of the nearest live peers, nearest first; all of them answered.
    pub closest: Vec<PublicKey>,
    /// Cost of the lookup.
    pub stats: LookupStats,
}

/// The result of an answered ping.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PingOutcome {
    /// Time from request to answer, opening the stream included.
    pub rtt: Duration,
    /// Path of the stream.
    pub path: Path,
}

/// Why a ping failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PingError {
    /// No stream could be opened.
    #[error("cannot reach it: {0}")]
    Open(OpenFailure),
    /// A stream was opened, but no usable answer came.
    #[error("connected, but it did not answer")]
    NoAnswer,
    /// A stream was opened, but its session was lost, twice in a row.
    #[error("connected, but the connection was lost before it answered")]
    Lost,
    /// An error that any operation can have.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

/// The result of reconciling with full nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SyncOutcome {
    /// One entry per full node, in the order in which they finished.
    pub peers: Vec<PeerSync>,
    /// Time from the command to the outcome.
    pub elapsed: Duration,
}

/// The result of reconciling with one full node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PeerSync {
    /// The full node.
    pub peer: PublicKey,
    /// `Ok` if both have the same items now, apart from what changed meanwhile.
    pub result: Result<(), SyncFailure>,
    /// Cost and yield of the session.
    pub progress: SyncProgress,
}

/// Cost and yield of a session so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SyncProgress {
    /// Requests sent.
    pub rounds: u32,
    /// Items received.
    pub fetched: u64,
    /// Items sent.
    pub given: u64,
    /// Bytes of the messages, both directions; 0 with upstream's nodes, where they are not counted.
    pub bytes: u64,
    /// Bytes of the items themselves, included in `bytes`.
    pub item_bytes: u64,
}

/// Why a session with a peer failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncFailure {
    /// No connection or no answer.
    #[error("it cannot be reached, or does not answer")]
    Unreached,
    /// The peer says that it is not a full node.
    #[error("it is no full node")]
    NotFullNode,
    /// Its answers violate the protocol, or it sent forged items.
    #[error("it breaks the rules of reconciliation, or sent forged items")]
    Broken,
    /// The sets differ by more than one session may find, or the time ran out; the next session
    /// continues.
    #[error("not finished; the next session goes on")]
    Unfinished,
    /// This node stopped being a full node.
    #[error("this node is no full node any more")]
    Stopped,
}

/// Why no reconciliation took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncError {
    /// A regular node stores only part of the items.
    #[error("this node is no full node, and does not hold what full nodes hold")]
    NotFullNode,
    /// This node has met no full node and stores no advert of one.
    #[error("no other full node is known")]
    NoFullNodes,
    /// An error that any operation can have.
    #[error(transparent)]
    Operation(#[from] OperationError),
}
