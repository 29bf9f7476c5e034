//! Fills the buckets beyond the neighbourhood at joining: a neighbourhood whose nodes know
//! only each other answers lookups for elsewhere with itself (Kademlia §2.3 refreshes all
//! farther buckets at joining).
//!
//! The self-lookups pass through these buckets: their answers name many peers there that
//! need no lookup of their own. Some are remembered and pinged once the neighbourhood is known,
//! which costs a third of a lookup. A bucket that still holds few peers is looked up.

use alloc::collections::BTreeMap;

use smallvec::SmallVec;

use crate::id::Target;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::ids::CallTag;
use crate::node::query::{Queries, QueryKind};
use crate::wire::{Request, WirePeer};

/// A bucket with fewer peers is filled.
const SPARSE: usize = 3;
/// Peers of one bucket that are remembered from answers.
const HEARD: usize = 4;
/// Of these, from one answer: one liar is not to name them all.
const HEARD_AT_ONCE: usize = 2;
/// Buckets filled at a time.
const STEP: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Joining: answers to self-lookups are listened to.
    #[default]
    Listening,
    /// Who was heard of is pinged, from this bucket on.
    Pinging(u8),
    /// What is still sparse is looked up, from this bucket on.
    LookingUp(u8),
    Over,
}

/// Where filling stands.
#[derive(Default)]
pub(crate) struct BucketFiller {
    stage: Stage,
    heard: BTreeMap<u8, SmallVec<[Candidate; HEARD]>>,
}

impl BucketFiller {
    /// The neighbourhood is known.
    pub(crate) fn begin(&mut self) {
        self.stage = Stage::Pinging(0);
    }
}

impl BucketFiller {
    /// A self-lookup's answer names these peers.
    pub(crate) fn hear_of(&mut self, base: &Base, peers: &[WirePeer]) {
        if self.stage != Stage::Listening {
            return;
        }
        let mut named = SmallVec::<[u8; 20]>::new();
        for peer in peers {
            let Some(index) = base.peers.table.bucket_of(&Target::from(peer.id)) else {
                continue;
            };
            let heard = self.heard.get(&index);
            let full = heard.is_some_and(|heard| {
                heard.len() >= HEARD || heard.iter().any(|it| it.id == peer.id)
            });
            if full
                || named.iter().filter(|it| **it == index).count() >= HEARD_AT_ONCE
                || base.peers.table.peers_in(index) >= SPARSE
                || base.peers.table.get(&peer.id).is_some()
            {
                continue;
            }
            // The id may be a lie.
            let Some(key) = peer.key.filter(|key| key.id() == peer.id) else {
                continue;
            };
            named.push(index);
            let heard = self.heard.entry(index).or_default();
            heard.push(Candidate {
                key,
                id: peer.id,
                addr: peer.addr,
            });
        }
    }

    /// Fills the next few buckets; false when none is left.
    pub(crate) fn fill(&mut self, base: &mut Base, queries: &mut Queries) -> bool {
        let (from, pinging) = match self.stage {
            Stage::Pinging(from) => (from, true),
            Stage::LookingUp(from) => (from, false),
            Stage::Listening | Stage::Over => return false,
        };
        // The self-lookups have covered what is nearer than the k nearest.
        let covered = edge_of_neighbourhood(base);
        let wanted = |i: &u8| *i >= from && covered.is_none_or(|covered| *i <= covered);
        let sparse = base.peers.table.sparse_buckets(SPARSE).filter(wanted);
        let sparse: SmallVec<[u8; STEP]> = sparse.take(STEP).collect();
        // Each once: far from full may be all there is.
        let next = sparse.get(STEP - 1).and_then(|last| last.checked_add(1));
        if pinging {
            for index in &sparse {
                self.ping_heard(base, *index);
            }
            let then = next.map_or(Stage::LookingUp(0), Stage::Pinging);
            self.stage = then;
        } else {
            queries.look_up_buckets(base, &sparse, QueryKind::Fill);
            let then = next.map_or(Stage::Over, Stage::LookingUp);
            *self = BucketFiller {
                stage: then,
                heard: BTreeMap::new(),
            };
        }
        true
    }

    fn ping_heard(&mut self, base: &mut Base, index: u8) {
        let heard = self.heard.remove(&index);
        for peer in heard.into_iter().flatten() {
            let known = base.peers.table.get(&peer.id).is_some();
            if !known && !base.peers.store.is_paused(&peer.key, base.cx.now.mono) {
                base.ask(peer, Request::Ping, CallTag::Fill);
            }
        }
    }
}

/// The bucket of the farthest of the k nearest peers; none with fewer peers.
fn edge_of_neighbourhood(base: &Base) -> Option<u8> {
    let own = Target::from(base.cx.id);
    let farthest = base
        .peers
        .table
        .closest(&own, base.cx.config.k)
        .nth(base.cx.config.k - 1)?;
    base.peers.table.bucket_of(&farthest.id.into())
}
