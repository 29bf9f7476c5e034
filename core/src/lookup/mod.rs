//! The iterative lookup: who are the nearest live nodes to a target?
//!
//! Kademlia's node lookup (Maymounkov & Mazières 2002, §2.3) as a sliding window instead of
//! upstream's lock-step rounds, with which one dead peer costs ten seconds (`spec/dht.md`
//! §14 row 5). Always alpha calls are in flight. A call that is slower than its *soft*
//! deadline gives up its place in the window but stays open until it is answered, fails,
//! or the *hard* deadline passes. Peers that fail leave the result (row 6).
//!
//! [`Lookup`] is a pure state machine: [`Lookup::next`] says whom to ask, the caller asks
//! and reports by [`Lookup::answered`] or [`Lookup::failed`]. What is asked (a FindNode, a
//! FindValue) is the caller's business.

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

/// The most that [`Lookup::widen`] widens to.
pub const MAX_WIDTH: usize = 64;
/// Concurrent calls that are waited for, slow ones included, for each place in the window.
pub const OPEN_PER_PLACE: usize = 4;
/// Concurrent calls in all, for each that is waited for: the others are silent for so long
/// that they are not waited for, or were never expected to answer.
pub const SILENT_PER_CALL: usize = 4;
/// Calls in all, for each candidate that a lookup may keep.
pub const ASKS_PER_CANDIDATE: usize = 4;
/// While fewer than k peers answered and no other candidate is left, a slow call is waited for
/// until this many times its soft deadline. The same holds for the replicas of a put.
pub const PATIENCE: u32 = 3;

/// A node that a lookup knows of. Its key is proven when it comes from the routing table,
/// and only claimed when it comes from an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Its key.
    pub key: PublicKey,
    /// Its position: the hash of its key.
    pub id: NodeId,
    /// Where it is said to be dialled directly.
    pub addr: Option<SocketAddr>,
}

/// What a lookup is told at its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupParams {
    /// How many of the nearest live nodes to find; at least 1.
    pub k: usize,
    /// Places in the window of each path; at least 1. Once the `alpha` nearest known have
    /// answered, the rest of the `k` nearest are asked together.
    pub alpha: usize,
    /// Disjoint paths (S/Kademlia, Baumgart & Mies 2007, §4.4). 1 is plain Kademlia.
    pub disjoint_paths: usize,
    /// Nodes that one answer may add.
    pub newcomers_per_answer: usize,
    /// Nodes that the lookup keeps, shared among the paths, but at least `k` for each path.
    pub max_candidates: usize,
    /// After this a call counts as failed.
    pub hard_deadline: Duration,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ask this node now; it counts as asked. Then take the next step.
    Ask(Candidate),
    /// Nothing before an answer, a failure, or this instant, which is later than now.
    Wait(Mono),
    /// Nothing any more, unless a slow call is still answered or the lookup is widened.
    Done(Why),
}

/// How a lookup ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The k nearest live candidates answered; or, in a network smaller than that, every
    /// candidate answered or failed, and at least one answered.
    Converged,
    /// Fewer than k answered and no candidate is left; either none answered at all, or calls
    /// are open that are past waiting for. Or the calls reached their limit, which is
    /// [`ASKS_PER_CANDIDATE`] times the candidates.
    Exhausted,
}

/// What an answer taught.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Learned {
    /// New candidates.
    pub new: u16,
    /// Entries whose claimed id is not the hash of their key. They were dropped.
    pub lying_ids: u16,
    /// Entries dropped because of a limit.
    pub cut: u16,
}

/// Where a lookup stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Candidates kept.
    pub known: usize,
    /// Calls so far.
    pub asked: usize,
    /// Calls open, slow ones included.
    pub open: usize,
    /// Calls answered.
    pub answered: usize,
    /// Calls failed, those that passed their hard deadline included.
    pub failed: usize,
    /// Calls that passed their soft deadline, whatever became of them.
    pub slow: usize,
}
