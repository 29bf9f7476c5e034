//! A network of scripted peers on virtual time, and lookups driven through it.

mod disjoint;
mod graph;
mod limits;
mod window;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::lookup::path::CandidateState;
use crate::lookup::{Candidate, Lookup, LookupParams, OPEN_PER_PLACE, Step, Why};
use crate::random::{Random, Seed};
use crate::time::Mono;

const SOFT: Duration = Duration::from_secs(1);
const HARD: Duration = Duration::from_secs(10);

const PARAMS: LookupParams = LookupParams {
    k: 20,
    alpha: 3,
    disjoint_paths: 1,
    newcomers_per_answer: 20,
    max_candidates: 256,
    hard_deadline: HARD,
};

fn random(seed: u64) -> Random {
    Seed::from_number(seed).stream("lookup tests")
}

fn any_candidate(random: &mut Random) -> Candidate {
    let mut bytes = [3; 33];
    bytes[1..].copy_from_slice(&random.bytes());
    let key = PublicKey::from_bytes(&bytes).unwrap();
    let id = key.id();
    Candidate {
        key,
        id,
        addr: None,
    }
}

/// `n` candidates, nearest to `target` first.
fn candidates(random: &mut Random, target: &Target, n: usize) -> Vec<Candidate> {
    let mut all: Vec<_> = (0..n).map(|_| any_candidate(random)).collect();
    all.sort_by_key(|it| target.distance(&it.id));
    all
}

fn any_target(random: &mut Random) -> Target {
    Target::from_bytes(random.bytes())
}

fn stranger() -> NodeId {
    NodeId::from_bytes([0x55; 32])
}

fn named(candidate: &Candidate) -> (NodeId, PublicKey, Option<SocketAddr>) {
    (candidate.id, candidate.key, candidate.addr)
}

fn millis(n: u64) -> Mono {
    Mono(0).plus(Duration::from_millis(n))
}

/// The step at `n` milliseconds, with a soft deadline of one second.
fn step(lookup: &mut Lookup, n: u64) -> Step {
    lookup.next(millis(n), |_| Some(SOFT))
}

/// Takes steps while the lookup asks. Returns the peers asked, and the last step.
fn asked(lookup: &mut Lookup, n: u64) -> (Vec<Candidate>, Step) {
    let mut asked = Vec::new();
    loop {
        match step(lookup, n) {
            Step::Ask(candidate) => asked.push(candidate),
            other => return (asked, other),
        }
    }
}

/// How a scripted peer reacts to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Manner {
    /// Answers after this many milliseconds.
    Answers(u64),
    /// The call fails after this many milliseconds.
    Fails(u64),
    /// Never answers.
    Silent,
}

struct Peer {
    me: Candidate,
    manner: Manner,
    /// Indices of the peers that it knows.
    knows: Vec<usize>,
}

struct World {
    peers: Vec<Peer>,
    index: BTreeMap<NodeId, usize>,
    /// Number of nodes in one answer.
    answer: usize,
}

/// The result of a driven lookup.
struct Run {
    why: Why,
    end: Mono,
    result: Vec<NodeId>,
    asked: BTreeSet<NodeId>,
    /// All peers that it ever learned of.
    known: BTreeSet<NodeId>,
}

impl World {
    /// `n` peers that answer within their soft deadline and know no other peer.
    fn new(random: &mut Random, n: usize) -> Self {
        let peers: Vec<Peer> = (0..n)
            .map(|_| Peer {
                me: any_candidate(random),
                manner: Manner::Answers(20 + random.below(900)),
                knows: Vec::new(),
            })
            .collect();
        let index = (0..).zip(&peers).map(|(i, peer)| (peer.me.id, i)).collect();
        Self {
            peers,
            index,
            answer: 20,
        }
    }

    /// Gives every peer an ideal Kademlia table: of each bucket's range `k` peers, or all if there
    /// are fewer.
    fn fill_tables(&mut self, random: &mut Random, k: usize) {
        let ids: Vec<NodeId> = self.peers.iter().map(|peer| peer.me.id).collect();
        for (own, peer) in self.peers.iter_mut().enumerate() {
            let mut buckets: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
            for (i, id) in ids.iter().enumerate().filter(|(i, _)| *i != own) {
                let prefix = id.distance(&ids[own]).common_prefix();
                buckets.entry(prefix).or_default().push(i);
            }
            peer.knows.clear();
            for mut range in buckets.into_values() {
                while range.len() > k {
                    range.swap_remove(random.below(range.len() as u64) as usize);
                }
                peer.knows.extend(range);
            }
        }
    }

    fn nearest(&self, target: &Target, n: usize, among: impl Fn(&Peer) -> bool) -> Vec<NodeId> {
        let mut ids: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|peer| among(peer))
            .map(|peer| peer.me.id)
            .collect();
        ids.sort_by_key(|id| target.distance(id));
        ids.truncate(n);
        ids
    }

    /// The answer of `peer`: the nearest to the target of the peers that it knows.
    fn answer_of(&self, peer: usize, target: &Target) -> Vec<Candidate> {
        let mut known: Vec<Candidate> = self.peers[peer]
            .knows
            .iter()
            .map(|i| self.peers[*i].me)
            .collect();
        known.sort_by_key(|it| target.distance(&it.id));
        known.truncate(self.answer);
        known
    }

    /// Runs a lookup to its end, checking the invariants at every step.
    fn run(&self, target: Target, params: LookupParams, seeds: &[usize]) -> Run {
        let seeds = seeds.iter().map(|i| self.peers[*i].me);
        let mut known: BTreeSet<NodeId> = seeds.clone().map(|it| it.id).collect();
        let mut lookup = Lookup::new(target, params, seeds, stranger());
        let paths = params.disjoint_paths;
        let (mut now, mut asked, mut sure) = (Mono(0), BTreeSet::new(), false);
        let mut open: BTreeMap<NodeId, Mono> = BTreeMap::new();
        let mut events: BTreeSet<(Mono, NodeId)> = BTreeSet::new();
        for _ in 0..100_000 {
            let deadline = match lookup.next(now, |_| Some(SOFT)) {
                Step::Ask(candidate) => {
                    assert!(asked.insert(candidate.id), "asked twice");
                    assert!(lookup.is_waiting(&candidate.id));
                    open.insert(candidate.id, now);
                    // A single path asks the rest concurrently once the nearest has answered. Calls
                    // to peers that are no longer among the k nearest do not occupy the window.
                    let near = lookup
                        .nearest()
                        .map(|it| it.state)
                        .filter(|state| state.may_live() && *state != CandidateState::Slow)
                        .take(params.k);
                    let near: Vec<CandidateState> = near.collect();
                    sure |= near.first() == Some(&CandidateState::Answered);
                    let in_time = near
                        .iter()
                        .filter(|it| **it == CandidateState::Asked)
                        .count();
                    let width = if sure || paths > 1 {
                        params.k
                    } else {
                        params.alpha
                    };
                    assert!(in_time <= width * paths, "window {in_time}");
                    assert!(open.len() <= params.k * paths * OPEN_PER_PLACE);
                    match self.peers[self.index[&candidate.id]].manner {
                        Manner::Answers(ms) | Manner::Fails(ms) => {
                            let at = now.plus(Duration::from_millis(ms));
                            events.insert((at, candidate.id));
                        }
                        Manner::Silent => {}
                    }
                    continue;
                }
                Step::Wait(at) => {
                    assert!(at > now, "a deadline in the past is a busy loop");
                    assert!(!open.is_empty(), "does not wait for an answer");
                    at
                }
                Step::Done(why) => {
                    let counts = lookup.counts();
                    assert_eq!(counts.asked, asked.len());
                    return Run {
                        why,
                        end: now,
                        result: lookup.answered_closest().map(|it| it.id).collect(),
                        asked,
                        known,
                    };
                }
            };
            now = match events.first() {
                Some((at, _)) if *at <= deadline => *at,
                _ => deadline,
            };
            while let Some((_, id)) = events.first().filter(|(at, _)| *at <= now).copied() {
                events.pop_first();
                let peer = self.index[&id];
                if open.get(&id).is_none_or(|at| now.since(*at) >= HARD) {
                    continue;
                }
                open.remove(&id);
                if matches!(self.peers[peer].manner, Manner::Answers(_)) {
                    let answer = self.answer_of(peer, &target);
                    known.extend(answer.iter().map(|it| it.id));
                    lookup.answered(&id, answer.iter().map(named));
                } else {
                    lookup.failed(&id);
                }
                assert!(!lookup.is_waiting(&id));
            }
            open.retain(|_, at| now.since(*at) < HARD);
            assert!(lookup.counts().known <= params.max_candidates);
        }
        panic!("the lookup does not end");
    }
}
