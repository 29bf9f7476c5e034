//! Fills the buckets beyond the neighbourhood when joining. Otherwise nodes of a neighbourhood that
//! know only each other would answer lookups of distant targets with themselves (Kademlia §2.3
//! refreshes all farther buckets when joining).
//!
//! The self-lookups pass through these buckets: their answers name many peers there, which need no
//! lookup of their own. Some of these are remembered and pinged once the neighbourhood is known, at
//! a third of the cost of a lookup. Buckets that still have few peers are looked up.

use alloc::collections::BTreeMap;

use smallvec::SmallVec;

use crate::id::Target;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::ids::CallTag;
use crate::node::query::{Queries, QueryKind};
use crate::wire::{Request, WirePeer};

/// A bucket with fewer peers is sparse.
const SPARSE: usize = 3;
/// Maximum number of candidates remembered per bucket.
const MAX_CANDIDATES: usize = 4;
/// Maximum number of those from one answer, so that a single liar cannot name them all.
const MAX_PER_ANSWER: usize = 2;
/// Number of buckets filled in one step.
const STEP: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Joining: candidates are collected from answers to self-lookups.
    #[default]
    Collecting,
    /// Candidates are pinged, from this bucket on.
    Pinging(u8),
    /// Buckets that are still sparse are looked up, from this bucket on.
    LookingUp(u8),
    Done,
}

/// State of filling sparse buckets.
#[derive(Default)]
pub(crate) struct BucketFiller {
    stage: Stage,
    candidates: BTreeMap<u8, SmallVec<[Candidate; MAX_CANDIDATES]>>,
}

impl BucketFiller {
    /// Starts filling, once the neighbourhood is known.
    pub(crate) fn begin(&mut self) {
        self.stage = Stage::Pinging(0);
    }
}

impl BucketFiller {
    /// Collects candidates from an answer to a self-lookup.
    pub(crate) fn collect_candidates(&mut self, base: &Base, peers: &[WirePeer]) {
        if self.stage != Stage::Collecting {
            return;
        }
        let mut named = SmallVec::<[u8; 20]>::new();
        for peer in peers {
            let Some(index) = base.peers.table.bucket_of(&Target::from(peer.id)) else {
                continue;
            };
            let candidates = self.candidates.get(&index);
            let full = candidates.is_some_and(|candidates| {
                candidates.len() >= MAX_CANDIDATES || candidates.iter().any(|it| it.id == peer.id)
            });
            if full
                || named.iter().filter(|it| **it == index).count() >= MAX_PER_ANSWER
                || base.peers.table.peers_in(index) >= SPARSE
                || base.peers.table.get(&peer.id).is_some()
            {
                continue;
            }
            // The peer may state a wrong id.
            let Some(key) = peer.key.filter(|key| key.id() == peer.id) else {
                continue;
            };
            named.push(index);
            let candidates = self.candidates.entry(index).or_default();
            candidates.push(Candidate {
                key,
                id: peer.id,
                addr: peer.addr,
            });
        }
    }

    /// Fills the next few buckets; returns false if none is left.
    pub(crate) fn fill(&mut self, base: &mut Base, queries: &mut Queries) -> bool {
        let (from, pinging) = match self.stage {
            Stage::Pinging(from) => (from, true),
            Stage::LookingUp(from) => (from, false),
            Stage::Collecting | Stage::Done => return false,
        };
        // The self-lookups have covered the buckets of the k nearest peers.
        let covered = edge_of_neighbourhood(base);
        let wanted = |i: &u8| *i >= from && covered.is_none_or(|covered| *i <= covered);
        let sparse = base.peers.table.sparse_buckets(SPARSE).filter(wanted);
        let sparse: SmallVec<[u8; STEP]> = sparse.take(STEP).collect();
        // Each bucket is tried once, since its range may contain no more peers.
        let next = sparse.get(STEP - 1).and_then(|last| last.checked_add(1));
        if pinging {
            for index in &sparse {
                self.ping_candidates(base, *index);
            }
            let then = next.map_or(Stage::LookingUp(0), Stage::Pinging);
            self.stage = then;
        } else {
            queries.look_up_buckets(base, &sparse, QueryKind::Fill);
            let then = next.map_or(Stage::Done, Stage::LookingUp);
            *self = BucketFiller {
                stage: then,
                candidates: BTreeMap::new(),
            };
        }
        true
    }

    fn ping_candidates(&mut self, base: &mut Base, index: u8) {
        let candidates = self.candidates.remove(&index);
        for peer in candidates.into_iter().flatten() {
            let known = base.peers.table.get(&peer.id).is_some();
            if !known && !base.peers.store.is_paused(&peer.key, base.cx.now.mono) {
                base.ask(peer, Request::Ping, CallTag::Fill);
            }
        }
    }
}

/// The bucket of the farthest of the k nearest peers; `None` if there are fewer.
fn edge_of_neighbourhood(base: &Base) -> Option<u8> {
    let own = Target::from(base.cx.id);
    let farthest = base
        .peers
        .table
        .closest(&own, base.cx.config.k)
        .nth(base.cx.config.k - 1)?;
    base.peers.table.bucket_of(&farthest.id.into())
}
