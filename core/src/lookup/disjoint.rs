//! A lookup over one path or several disjoint ones.
//!
//! With d > 1 the seeds are dealt to d paths, and a candidate belongs to the path that
//! learned of it first, so that a hostile peer sees and steers one path only (S/Kademlia
//! §4.4). Each path has its own window and ends by itself.

use core::net::SocketAddr;
use core::time::Duration;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use smallvec::SmallVec;

use crate::id::{Distance, NodeId, Target};
use crate::key::PublicKey;
use crate::lookup::path::{Entry, Offer, Path, Rules, State};
use crate::lookup::{
    ASKS_PER_CANDIDATE, Candidate, Counts, Learned, LookupParams, MAX_WIDTH, Step, Why,
};
use crate::time::Mono;

/// Entries of one answer that are looked at, for each newcomer it may bring. An honest
/// answer has at most k; hashing the keys of a 4 MiB one would take milliseconds.
const EXAMINED_PER_NEWCOMER: usize = 4;

/// A search for the nearest live nodes to a target.
#[derive(Clone, Debug)]
pub struct Lookup {
    target: Target,
    local: NodeId,
    rules: Rules,
    newcomers_per_answer: usize,
    paths: SmallVec<[Path; 1]>,
    /// Who was asked and then dropped for want of room, by distance, so that no peer is asked
    /// twice. No longer than the calls in all.
    forgotten: BTreeSet<Distance>,
}

impl Lookup {
    /// A lookup that starts from `seeds`, usually the nearest peers of the routing table. The
    /// local node is never a candidate.
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

    /// What is looked up.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The next step. Call again after `Ask`, after every report, and at the instant of
    /// `Wait`. `soft` is how long an answer of a node usually takes at most; none when it is not
    /// expected to answer: it is asked, and not waited for while there is another answer.
    pub fn next(&mut self, now: Mono, soft: impl Fn(&Candidate) -> Option<Duration>) -> Step {
        let mut earliest = None;
        let (mut converged, mut short) = (false, false);
        for path in &mut self.paths {
            match path.step(now, &self.rules, &soft) {
                step @ Step::Ask(_) => return step,
                Step::Wait(at) => earliest = Some(earliest.map_or(at, |other: Mono| other.min(at))),
                Step::Done(Why::Converged) => converged = true,
                Step::Done(Why::Exhausted) => {
                    // A path without any answer had dead seeds; the others found the nearest.
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

    /// A node that was asked answered, and named `closer` nodes: claimed id, key, address. Ids
    /// are computed from the keys. Ignored when the node was not asked, or answered or
    /// failed before.
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

    /// A call failed. Ignored when the node was not asked, or answered or failed before.
    pub fn failed(&mut self, id: &NodeId) {
        let distance = self.target.distance(id);
        for path in &mut self.paths {
            path.failed(&distance);
        }
    }

    /// Whether a call to this node is open.
    #[must_use]
    pub fn is_waiting(&self, id: &NodeId) -> bool {
        self.entry(&self.target.distance(id))
            .is_some_and(|it| matches!(it.state, State::Asked | State::Slow))
    }

    /// The nearest nodes that answered, up to k, nearest first.
    pub fn answered_closest(&self) -> impl Iterator<Item = &Candidate> {
        self.nearest()
            .filter(|it| it.state == State::Answered)
            .take(self.rules.k)
            .map(|it| &it.candidate)
    }

    /// Those of the `n` nearest known that did not fail and were not asked, nearest first.
    pub fn unasked_among_closest(&self, n: usize) -> impl Iterator<Item = &Candidate> {
        self.nearest()
            .filter(|it| it.state.may_live())
            .take(n)
            .filter(|it| it.state == State::Unasked)
            .map(|it| &it.candidate)
    }

    /// Whether this node is among the `n` nearest known that did not fail. Also for nodes that
    /// are no candidates, such as the local one.
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

    /// Referrals from a seed to the nearest node that answered: 0 when a seed is nearest.
    #[must_use]
    pub fn hops(&self) -> u16 {
        self.nearest()
            .find(|it| it.state == State::Answered)
            .map_or(0, |it| it.depth)
    }

    /// Where the lookup stands, over all paths.
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

    /// How many of the nearest nodes are sought.
    #[must_use]
    pub const fn width(&self) -> usize {
        self.rules.k
    }

    /// Seeks more of the nearest nodes, at most [`MAX_WIDTH`]; never fewer than before. Then
    /// take the next step, also after `Done`.
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
