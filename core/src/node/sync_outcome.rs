//! How a reconciliation with other full nodes went.

use alloc::vec::Vec;
use core::time::Duration;

use serde::Serialize;

use crate::key::PublicKey;
use crate::node::outcome::OperationError;

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
