//! A lookup over one path or several disjoint ones.
//!
//! With d > 1 the seeds are distributed over d paths, and a candidate belongs to the path that
//! learned of it first, so a hostile peer sees and influences one path only (S/Kademlia §4.4). Each
//! path has its own window and ends independently.

use core::net::SocketAddr;
use core::time::Duration;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use smallvec::SmallVec;

use crate::id::{Distance, NodeId, Target};
use crate::key::PublicKey;
use crate::lookup::path::{CandidateState, Entry, Offer, Path, Rules};
use crate::lookup::{
    ASKS_PER_CANDIDATE, Candidate, Counts, Learned, LookupParams, MAX_WIDTH, Step, Why,
};
use crate::time::Mono;

/// Maximum number of entries of one answer that are examined, per new candidate that it may add. An
/// honest answer has at most k entries; hashing the keys of one of 4 MiB would take milliseconds.
const EXAMINED_PER_NEWCOMER: usize = 4;

/// An iterative lookup of the nearest live nodes to a target.
#[derive(Clone, Debug)]
pub struct Lookup {
    target: Target,
    local: NodeId,
    rules: Rules,
    newcomers_per_answer: usize,
    paths: SmallVec<[Path; 1]>,
    /// Candidates that were asked and then dropped for lack of room, by distance, so that no peer
    /// is asked twice. At most as many as there were calls.
    forgotten: BTreeSet<Distance>,
}

impl Lookup {
    /// Creates a lookup that starts from `seeds`, usually the nearest peers of the routing table.
    /// The local node is never a candidate.
    pub fn new(
        target: Target,
        params: LookupParams,
        seeds: impl IntoIterator<Item = Candidate>,
        local: NodeId,
    ) -> Self {
        let mut seeds: Vec<_> = seeds
            .into_iter()
            .filter(|seed| seed.id != local)
            .map(|seed| (target.distance(&seed.id), seed))
            .collect();
        seeds.sort_unstable_by_key(|(distance, _)| *distance);
        seeds.dedup_by_key(|(distance, _)| *distance);
        let paths = params.disjoint_paths.min(seeds.len()).max(1);
        let k = params.k.max(1);
        let max_candidates = (params.max_candidates / paths).max(k);
        let mut lookup = Self {
            target,
            local,
            rules: Rules {
                k,
                alpha: params.alpha.max(1),
                max_candidates,
                max_asks: max_candidates.saturating_mul(ASKS_PER_CANDIDATE),
                hard_deadline: params.hard_deadline,
            },
            newcomers_per_answer: params.newcomers_per_answer,
            paths: (0..paths).map(|_| Path::default()).collect(),
            forgotten: BTreeSet::new(),
        };
        for (i, (distance, seed)) in seeds.into_iter().enumerate() {
            lookup.paths[i % paths].offer(seed, distance, 0, &lookup.rules);
        }
        lookup
    }

    /// The target of the lookup.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Returns the next step. Call again after `Ask`, after every report, and at the instant of
    /// `Wait`. `soft` is the time within which a node usually answers; `None` if it is not expected
    /// to answer: then it is asked, but not waited for while there is another answer.
    pub fn next(&mut self, now: Mono, soft: impl Fn(&Candidate) -> Option<Duration>) -> Step {
        let mut earliest = None;
        let (mut converged, mut short) = (false, false);
        for path in &mut self.paths {
            match path.step(now, &self.rules, &soft) {
                step @ Step::Ask(_) => return step,
                Step::Wait(at) => earliest = Some(earliest.map_or(at, |other: Mono| other.min(at))),
                Step::Done(Why::Converged) => converged = true,
                Step::Done(Why::Exhausted) => {
                    // A path without any answer had dead seeds; the other paths found the nearest
                    // nodes.
                    short |= path.counts().answered > 0;
                }
            }
        }
        match earliest {
            Some(at) => Step::Wait(at),
            None if converged && !short => Step::Done(Why::Converged),
            None => Step::Done(Why::Exhausted),
        }
    }

    /// Reports the answer of a node, with the nodes that it named: claimed id, key, address. Ids
    /// are computed from the keys. Ignored if the node was not asked, or has answered or failed
    /// before.
    pub fn answered(
        &mut self,
        id: &NodeId,
        closer: impl IntoIterator<Item = (NodeId, PublicKey, Option<SocketAddr>)>,
    ) -> Learned {
        let mut learned = Learned::default();
        let distance = self.target.distance(id);
        let Some((path, depth)) = self
            .paths
            .iter_mut()
            .enumerate()
            .find_map(|(i, path)| Some((i, path.answered(&distance)?)))
        else {
            return learned;
        };
        let examined = self
            .newcomers_per_answer
            .saturating_mul(EXAMINED_PER_NEWCOMER);
        for (i, (claimed, key, addr)) in closer.into_iter().enumerate() {
            if i >= examined || usize::from(learned.new) >= self.newcomers_per_answer {
                learned.cut = learned.cut.saturating_add(1);
                continue;
            }
            let id = key.id();
            if id != claimed {
                learned.lying_ids = learned.lying_ids.saturating_add(1);
                continue;
            }
            let distance = self.target.distance(&id);
            let known = self.entry(&distance).is_some() || self.forgotten.contains(&distance);
            if known || id == self.local {
                continue;
            }
            let candidate = Candidate { key, id, addr };
            match self.paths[path].offer(candidate, distance, depth.saturating_add(1), &self.rules)
            {
                Offer::Added { forgotten } => {
                    learned.new = learned.new.saturating_add(1);
                    self.forgotten.extend(forgotten);
                }
                Offer::NoRoom => learned.cut = learned.cut.saturating_add(1),
            }
        }
        learned
    }

    /// Reports a failed call. Ignored if the node was not asked, or has answered or failed before.
    pub fn failed(&mut self, id: &NodeId) {
        let distance = self.target.distance(id);
        for path in &mut self.paths {
            path.failed(&distance);
        }
    }

    /// Whether a call to this node is in progress.
    #[must_use]
    pub fn is_waiting(&self, id: &NodeId) -> bool {
        self.entry(&self.target.distance(id))
            .is_some_and(|it| matches!(it.state, CandidateState::Asked | CandidateState::Slow))
    }

    /// The nearest nodes that answered, up to k, nearest first.
    pub fn answered_closest(&self) -> impl Iterator<Item = &Candidate> {
        self.nearest()
            .filter(|it| it.state == CandidateState::Answered)
            .take(self.rules.k)
            .map(|it| &it.candidate)
    }

    /// The unasked ones of the `n` nearest known nodes that did not fail, nearest first.
    pub fn unasked_among_closest(&self, n: usize) -> impl Iterator<Item = &Candidate> {
        self.nearest()
            .filter(|it| it.state.may_live())
            .take(n)
            .filter(|it| it.state == CandidateState::Unasked)
            .map(|it| &it.candidate)
    }

    /// Whether this node is among the `n` nearest known nodes that did not fail. Also works for
    /// nodes that are not candidates, such as the local one.
    #[must_use]
    pub fn is_among_closest(&self, id: &NodeId, n: usize) -> bool {
        let distance = self.target.distance(id);
        let failed = self.entry(&distance).is_some_and(|it| !it.state.may_live());
        let nearer = self
            .nearest()
            .take_while(|it| it.distance < distance)
            .filter(|it| it.state.may_live());
        !failed && nearer.take(n).count() < n
    }

    /// Number of referrals from a seed to the nearest node that answered: 0 if a seed is nearest.
    #[must_use]
    pub fn hops(&self) -> u16 {
        self.nearest()
            .find(|it| it.state == CandidateState::Answered)
            .map_or(0, |it| it.depth)
    }

    /// Counts over all paths.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.paths
            .iter()
            .map(Path::counts)
            .fold(Counts::default(), |a, b| Counts {
                known: a.known + b.known,
                asked: a.asked + b.asked,
                open: a.open + b.open,
                answered: a.answered + b.answered,
                failed: a.failed + b.failed,
                slow: a.slow + b.slow,
            })
    }

    /// Number of nearest nodes that the lookup looks for.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.rules.k
    }

    /// Increases the number of nearest nodes to find to `k`, at most [`MAX_WIDTH`]; never decreases
    /// it. Then take the next step, also after `Done`.
    pub fn widen(&mut self, k: usize) {
        self.rules.k = self.rules.k.max(k.min(MAX_WIDTH));
        self.rules.max_candidates = self.rules.max_candidates.max(self.rules.k);
    }

    fn entry(&self, distance: &Distance) -> Option<&Entry> {
        self.paths.iter().find_map(|path| path.get(distance))
    }

    /// The candidates of all paths, nearest first.
    pub(super) fn nearest(&self) -> impl Iterator<Item = &Entry> {
        let mut heads: SmallVec<[&[Entry]; 1]> = self.paths.iter().map(Path::entries).collect();
        core::iter::from_fn(move || {
            let head = heads
                .iter_mut()
                .filter(|it| !it.is_empty())
                .min_by_key(|it| it[0].distance)?;
            let (first, rest) = head.split_first()?;
            *head = rest;
            Some(first)
        })
    }
}
