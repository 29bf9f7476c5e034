//! How operations end.

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

/// How an operation ended.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A put or put of a signed item.
    Put(Result<PutOutcome, PutError>),
    /// A get.
    Get(Result<GetOutcome, GetError>),
    /// A search for nodes.
    FindNode(Result<FindNodeOutcome, OperationError>),
    /// A ping.
    Ping(Result<PingOutcome, PingError>),
    /// A reconciliation with other full nodes.
    Sync(Result<SyncOutcome, SyncError>),
    /// The next version of an item; a deletion is one that
    /// [reads as deleted](crate::item::Item::reads_as_deleted).
    Watch(Result<GetOutcome, GetError>),
    /// A shutdown: every other operation has finished before.
    Shutdown,
}

/// Where a put arrived.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Replicas {
    /// Peers that took it anew.
    pub stored: u16,
    /// Peers that had the same and renewed its life.
    pub refreshed: u16,
    /// Peers that refused, by reason, most frequent first.
    pub refused: Vec<(Refusal, u16)>,
    /// Peers whose answer did not come: they may or may not hold it.
    pub unknown: u16,
}

impl Replicas {
    /// Peers that hold the item for sure: h of "acknowledged by h".
    #[must_use]
    pub const fn acknowledged(&self) -> u16 {
        self.stored.saturating_add(self.refreshed)
    }

    /// Peers that were asked.
    #[must_use]
    pub fn attempted(&self) -> u16 {
        self.refused.iter().fold(
            self.acknowledged().saturating_add(self.unknown),
            |sum, (_, n)| sum.saturating_add(*n),
        )
    }
}

/// What a lookup cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LookupStats {
    /// Peers that answered.
    pub answered: u16,
    /// Peers that failed.
    pub failed: u16,
    /// Requests sent, lookup and store together.
    pub requests: u16,
    /// Referrals between this node and the nearest peer that answered.
    pub hops: u16,
    /// Whether the k nearest live peers known all answered.
    pub converged: bool,
    /// From command to outcome.
    pub elapsed: Duration,
}

/// A put that enough peers acknowledged. Acknowledged by h: survives h − 1 failures within TTL.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PutOutcome {
    /// Where it is.
    pub target: Target,
    /// The sequence it got.
    pub seq: Seq,
    /// Who has it.
    pub replicas: Replicas,
    /// Whether this node keeps it too.
    pub local: bool,
    /// The cost.
    pub stats: LookupStats,
}

/// Why a put failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PutError {
    /// The item itself is wrong.
    #[error(transparent)]
    Item(ItemError),
    /// The key has no point on the curve, or this node has no secret key.
    #[error("this node has no secret key to sign with")]
    NoSecretKey,
    /// A newer one is known.
    #[error("sequence {got} is not above {have}, which is held")]
    Sequence {
        /// The highest known.
        have: Seq,
        /// The one asked for.
        got: Seq,
    },
    /// Somebody else with the same key published a higher one each time this put tried the next.
    #[error("another node publishes this item at the same time, and was first at every try")]
    Overtaken {
        /// The highest sequence that a holder named.
        have: Option<Seq>,
    },
    /// The key itself publishes here, which no mirror comes before.
    #[error("the owner publishes this item itself, with sequence {have}")]
    OwnerPublishes {
        /// Of the owner's item.
        have: Seq,
    },
    /// The automatic sequence has no successor.
    #[error("the owner's sequence is at its maximum and cannot grow")]
    SequenceSaturated,
    /// More than a day ahead of the clock.
    #[error("sequence {0} is more than a day ahead of the clock; force it if you mean it")]
    SequenceAhead(Seq),
    /// `expect` did not hold at the majority of holders.
    #[error("{}", conflict(*.held))]
    Conflict {
        /// The highest sequence that holders have; none if they have nothing.
        held: Option<Seq>,
    },
    /// This node's own store refused it, and that was the only place asked for.
    #[error("refused by the local store: {0}")]
    Local(Refusal),
    /// Fewer took it than asked for.
    #[error("{} of the {wanted} replicas asked for", .partial.replicas.acknowledged())]
    TooFewReplicas {
        /// What was asked for.
        wanted: u16,
        /// What was reached.
        partial: Box<PutOutcome>,
    },
    /// Over before the replicas were there.
    #[error("timed out")]
    Timeout {
        /// What was reached.
        partial: Box<PutOutcome>,
    },
    /// No put in the common sense.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

fn conflict(held: Option<Seq>) -> String {
    match held {
        Some(held) => format!("another version is held: sequence {held}"),
        None => "another version was expected, but none is held".into(),
    }
}

/// Where a read's value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Peers, in this operation.
    Network,
    /// This node's own store.
    Store,
    /// This node's private cache of at most 60 s.
    Cache,
}

/// A read.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct GetOutcome {
    /// Where it was found.
    pub target: Target,
    /// The highest-ranked item.
    pub item: Arc<Item>,
    /// Owner or mirror; a mirror's key is the item's.
    pub origin: Origin,
    /// Since its signer last vouched for it, as far as known.
    pub age: Option<Duration>,
    /// Where the value came from.
    pub source: Source,
    /// Peers that hold this very item.
    pub agree: u16,
    /// Peers that answered the question at all.
    pub asked: u16,
    /// When the first verified value came, after the command.
    pub first_value: Duration,
    /// The cost; `converged` says whether the k nearest live peers were all asked.
    pub stats: LookupStats,
}

/// Why a read brought nothing.
#[derive(Clone, PartialEq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GetError {
    /// No peer that was asked holds it.
    #[error("not found: {} peers answered, none holds it", .stats.answered)]
    NotFound {
        /// The cost.
        stats: LookupStats,
    },
    /// The owner deleted it.
    #[error("deleted by its owner, sequence {seq}")]
    Deleted {
        /// The tombstone's sequence.
        seq: Seq,
        /// The cost.
        stats: LookupStats,
    },
    /// Over before the policy was met.
    #[error("timed out")]
    Timeout {
        /// The best value so far.
        best: Option<Box<GetOutcome>>,
        /// The cost.
        stats: LookupStats,
    },
    /// `owner` and `target` do not belong together.
    #[error("key and salt do not give this target")]
    WrongTarget,
    /// No get in the common sense.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

/// Why any operation can end without result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperationError {
    /// The routing table is empty and no bootstrap peer answers.
    #[error("no peers: the routing table is empty and no bootstrap peer answers")]
    NoPeers,
    /// Too many operations at once.
    #[error("busy: {0} operations are under way, the most there may be")]
    Busy(usize),
    /// Over before it converged.
    #[error("timed out")]
    Timeout,
    /// Cancelled by its caller.
    #[error("cancelled")]
    Cancelled,
    /// The node shuts down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// A peer, as operations and snapshots report it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PeerInfo {
    /// Its key, proven by a transport.
    pub key: PublicKey,
    /// Where it can be dialled, if known.
    pub addr: Option<core::net::SocketAddr>,
    /// Bucket, that is the length of the prefix it shares with this node.
    pub bucket: u8,
    /// Since it last answered.
    pub last_seen: Duration,
    /// Smoothed round trip.
    pub rtt: Option<Duration>,
    /// Whether it speaks our extensions; none while unknown.
    pub skydht: Option<bool>,
    /// Whether this node reached it by dialling or over a relay, and so hands it out.
    pub reachable: bool,
    /// Whether its last call did not fail and its last sign of life is recent enough; see
    /// [`Snapshot::proven_within`](crate::node::Snapshot).
    pub proven: bool,
}

/// An item of the node's own that it keeps renewed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct OwnItem {
    /// Where it is.
    pub target: Target,
    /// Which of the node's items.
    pub salt: Salt,
    /// The sequence of the version that is renewed.
    pub seq: Seq,
    /// Bytes of its value.
    pub value_len: usize,
    /// Peers that took it or renewed its life the last time.
    pub holders: u16,
    /// Since then; none: it has reached no peer yet.
    pub age: Option<Duration>,
    /// Until the next renewal.
    pub next_renewal: Option<Duration>,
}

/// The nearest live peers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FindNodeOutcome {
    /// Nearest first; all of them answered.
    pub closest: Vec<PublicKey>,
    /// The cost.
    pub stats: LookupStats,
}

/// A sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PingOutcome {
    /// From request to answer, opening the stream included.
    pub rtt: Duration,
    /// The way it took.
    pub path: Path,
}

/// No sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PingError {
    /// No stream.
    #[error("cannot reach it: {0}")]
    Open(OpenFailure),
    /// A stream, but no usable answer.
    #[error("connected, but it did not answer")]
    NoAnswer,
    /// A stream, but the session below it was lost, and again at the second attempt.
    #[error("connected, but the connection was lost before it answered")]
    Lost,
    /// No ping in the common sense.
    #[error(transparent)]
    Operation(#[from] OperationError),
}

/// What a reconciliation did with each full node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SyncOutcome {
    /// One entry for each full node, in the order in which they were done.
    pub peers: Vec<PeerSync>,
    /// From command to outcome.
    pub elapsed: Duration,
}

/// What a reconciliation with one full node brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct PeerSync {
    /// The full node.
    pub peer: PublicKey,
    /// Whether both hold the same now, but for what changed meanwhile.
    pub result: Result<(), SyncFailure>,
    /// What it cost and brought.
    pub progress: SyncProgress,
}

/// What a session has cost and brought so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct SyncProgress {
    /// Requests.
    pub rounds: u32,
    /// Items that came.
    pub fetched: u64,
    /// Items that were given.
    pub given: u64,
    /// Bytes of the messages, both ways; 0 with upstream's nodes, where they are not counted.
    pub bytes: u64,
    /// Of these, bytes of the items themselves.
    pub item_bytes: u64,
}

/// Why a session with a peer did not end well.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncFailure {
    /// No connection, or no answer.
    #[error("it cannot be reached, or does not answer")]
    Unreached,
    /// It says that it is none.
    #[error("it is no full node")]
    NotFullNode,
    /// Its answers are not what the protocol allows.
    #[error("it breaks the rules of reconciliation, or sent forged items")]
    Broken,
    /// More differs than one session may find, or the time was over; the next one goes on.
    #[error("not finished; the next session goes on")]
    Unfinished,
    /// This node stopped being a full node.
    #[error("this node is no full node any more")]
    Stopped,
}

/// Why there was no reconciliation at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SyncError {
    /// A regular node does not hold what others hold.
    #[error("this node is no full node, and does not hold what full nodes hold")]
    NotFullNode,
    /// None was met, and no advert is held.
    #[error("no other full node is known")]
    NoFullNodes,
    /// No reconciliation in the common sense.
    #[error(transparent)]
    Operation(#[from] OperationError),
}
