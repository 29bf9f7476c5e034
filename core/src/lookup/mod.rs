//! The iterative lookup of the nearest live nodes to a target.
//!
//! Kademlia's node lookup (Maymounkov & Mazières 2002, §2.3) as a sliding window instead of
//! upstream's lock-step rounds, in which one dead peer costs ten seconds (`spec/dht.md` §14 row 5).
//! At most alpha calls occupy the window. A call that exceeds its *soft* deadline leaves the window
//! but stays open until it is answered, fails, or the *hard* deadline passes. Peers that fail leave
//! the result (row 6).
//!
//! [`Lookup`] is a pure state machine: [`Lookup::next`] returns the node to ask, the caller asks it
//! and reports by [`Lookup::answered`] or [`Lookup::failed`]. The caller decides what it asks
//! (FindNode or GetValue).

mod disjoint;
mod path;
mod rtt;
#[cfg(test)]
mod tests;

use core::net::SocketAddr;
use core::time::Duration;

use crate::id::NodeId;
use crate::key::PublicKey;
use crate::time::Mono;

pub use disjoint::Lookup;
pub use rtt::RttEstimator;

/// Maximum width to which [`Lookup::widen`] widens.
pub const MAX_WIDTH: usize = 64;
/// Maximum number of concurrent calls that are waited for, slow ones included, per call of the
/// window.
pub const OPEN_PER_PLACE: usize = 4;
/// Maximum number of concurrent calls in all, per call that is waited for. The others have been
/// silent too long to wait for, or were never expected to answer.
pub const SILENT_PER_CALL: usize = 4;
/// Maximum number of calls in all, per candidate that a lookup may keep.
pub const ASKS_PER_CANDIDATE: usize = 4;
/// While fewer than k peers have answered and no other candidate is left, a slow call is waited for
/// up to this many times its soft deadline. The same applies to the replicas of a put.
pub const PATIENCE: u32 = 3;

/// A node known to a lookup. Its key is proven if it comes from the routing table, and only claimed
/// if it comes from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Key of the node.
    pub key: PublicKey,
    /// Node id: the hash of the key.
    pub id: NodeId,
    /// Address at which it is said to be dialled directly.
    pub addr: Option<SocketAddr>,
}

/// Parameters of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupParams {
    /// Number of nearest live nodes to find; at least 1.
    pub k: usize,
    /// Size of the window of each path; at least 1. Once the `alpha` nearest known nodes have
    /// answered, the rest of the `k` nearest are asked together.
    pub alpha: usize,
    /// Disjoint paths (S/Kademlia, Baumgart & Mies 2007, §4.4). 1 is plain Kademlia.
    pub disjoint_paths: usize,
    /// Maximum number of nodes that one answer may add.
    pub newcomers_per_answer: usize,
    /// Maximum number of nodes that the lookup keeps, shared among the paths, but at least `k` per
    /// path.
    pub max_candidates: usize,
    /// Time after which a call counts as failed.
    pub hard_deadline: Duration,
}

/// The next step of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask this node now; it counts as asked. Then take the next step.
    Ask(Candidate),
    /// Do nothing before an answer, a failure, or this instant, which is in the future.
    Wait(Mono),
    /// Nothing is left to do, unless a slow call is still answered or the lookup is widened.
    Done(Why),
}

/// Why a lookup ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The k nearest live candidates answered; or, in a network smaller than that, every
    /// candidate answered or failed, and at least one answered.
    Converged,
    /// Fewer than k answered and no candidate is left, while either none answered at all or some
    /// open calls are not waited for any longer. Or the calls reached their limit,
    /// [`ASKS_PER_CANDIDATE`] times the candidates.
    Exhausted,
}

/// What an answer contributed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Learned {
    /// Number of new candidates.
    pub new: u16,
    /// Number of entries dropped because their claimed id is not the hash of their key.
    pub lying_ids: u16,
    /// Number of entries dropped because of a limit.
    pub cut: u16,
}

/// Counts of a lookup so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Candidates kept.
    pub known: usize,
    /// Calls made.
    pub asked: usize,
    /// Calls in progress, slow ones included.
    pub open: usize,
    /// Calls answered.
    pub answered: usize,
    /// Calls failed, those that passed their hard deadline included.
    pub failed: usize,
    /// Calls that passed their soft deadline, whatever their result.
    pub slow: usize,
}
