//! The index of transports by id and by edge, with the evidence for each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::large::list::{MAX_ELEMENTS, MAX_LIST_CHUNKS, chunk_seq};

use super::bounds::{IndexLimits, IndexStats};
use crate::record::{ListedTransport, Transport, TransportId};

/// Evidence for a transport.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Standing {
    /// One edge lists it, which it can do for any other visor.
    OneSided,
    /// Both edges list it.
    BothEdges,
    /// Both edges signed it.
    Signed,
}

/// A transport that at least one edge lists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The entry in each edge's list, in the order of the edges.
    by: [Option<Arc<ListedTransport>>; 2],
}

impl Claim {
    /// Returns the transport, with the label of the first edge that lists it.
    ///
    /// # Panics
    /// Never: a claim without an edge that lists it is removed.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        let listed = self.by.iter().flatten().next();
        &listed.expect("an edge claims it").transport
    }

    /// Returns the evidence for the transport.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if self.by.iter().flatten().any(|it| it.is_proven) {
            Standing::Signed
        } else if self.by.iter().all(Option::is_some) {
            Standing::BothEdges
        } else {
            Standing::OneSided
        }
    }
}

type List = BTreeMap<TransportId, Arc<ListedTransport>>;

/// A chunk of a list.
#[derive(Debug)]
struct Chunk {
    seq: Seq,
    /// `None` if the chunk is unreadable.
    elements: Option<Vec<Arc<ListedTransport>>>,
}

impl Chunk {
    fn len(&self) -> usize {
        self.elements.as_ref().map_or(0, Vec::len)
    }
}

#[derive(Debug, Default)]
struct Owner {
    chunks: BTreeMap<u16, Chunk>,
    /// The last complete version, which is indexed.
    list: List,
    /// Whether the chunks do not form a complete list at present.
    is_unsettled: bool,
    /// Whether the list exceeds the limits. Its chunks are then ignored until the index is rebuilt,
    /// since missing chunks could not be noticed.
    is_left_out: bool,
}

impl Owner {
    fn len(&self) -> usize {
        self.chunks.values().map(Chunk::len).sum()
    }

    /// Joins the chunks if they are of one version, by the same rule as a reader
    /// ([`skydht_core::large::list::Joiner`]).
    fn join(&self) -> Option<List> {
        let mut list = List::new();
        let Some(first) = self.chunks.get(&0) else {
            return Some(list);
        };
        let mut is_full = false;
        for n in 0..MAX_LIST_CHUNKS {
            let Some(chunk) = self.chunks.get(&n) else {
                break;
            };
            let expected = chunk_seq(first.seq, n);
            // A chunk that an older and longer version left after the end.
            if chunk.seq < expected && !is_full {
                break;
            }
            if chunk.seq != expected {
                return None;
            }
            let elements = chunk.elements.as_ref()?;
            for listed in elements {
                list.entry(listed.transport.id)
                    .or_insert_with(|| Arc::clone(listed));
            }
            if elements.is_empty() {
                break;
            }
            is_full = elements.len() >= MAX_ELEMENTS;
        }
        Some(list)
    }
}

#[derive(Debug)]
pub(super) struct TransportIndex {
    limits: IndexLimits,
    owners: BTreeMap<PublicKey, Owner>,
    claims: BTreeMap<TransportId, Claim>,
    by_edge: BTreeSet<(PublicKey, TransportId)>,
    /// Number of transports in all chunks of `owners`.
    held: usize,
    unsettled: usize,
    left_out: u64,
}

impl TransportIndex {
    pub(super) const fn new(limits: IndexLimits) -> Self {
        Self {
            limits,
            owners: BTreeMap::new(),
            claims: BTreeMap::new(),
            by_edge: BTreeSet::new(),
            held: 0,
            unsettled: 0,
            left_out: 0,
        }
    }

    /// Sets one chunk of an owner's list: absent, unreadable, or transports.
    pub(super) fn update(
        &mut self,
        key: &PublicKey,
        n: u16,
        now: Option<(Seq, Option<Vec<ListedTransport>>)>,
    ) {
        // Readers ignore such chunks.
        if n >= MAX_LIST_CHUNKS {
            return;
        }
        let is_known = self.owners.contains_key(key);
        if !is_known && (now.is_none() || self.owners.len() >= self.limits.owners) {
            self.left_out += u64::from(now.is_some());
            return;
        }
        let mut owner = self.owners.remove(key).unwrap_or_default();
        if owner.is_left_out {
            self.left_out += u64::from(now.is_some());
            self.owners.insert(*key, owner);
            return;
        }
        self.held -= owner.chunks.remove(&n).map_or(0, |chunk| chunk.len());
        if let Some((seq, elements)) = now {
            let elements = elements.map(|list| list.into_iter().map(Arc::new).collect());
            let chunk = Chunk { seq, elements };
            self.held += chunk.len();
            owner.chunks.insert(n, chunk);
        }
        self.unsettled -= usize::from(owner.is_unsettled);
        if owner.len() > self.limits.transports_of_owner || self.held > self.limits.transports {
            self.left_out += 1;
            self.held -= owner.len();
            self.replace(key, &owner.list, &List::new());
            owner = Owner {
                is_left_out: true,
                ..Owner::default()
            };
        } else {
            let joined = owner.join();
            owner.is_unsettled = joined.is_none();
            self.unsettled += usize::from(owner.is_unsettled);
            if let Some(list) = joined {
                self.replace(key, &owner.list, &list);
                owner.list = list;
            }
        }
        if owner.is_left_out || !owner.chunks.is_empty() {
            self.owners.insert(*key, owner);
        }
    }

    pub(super) fn by_id(&self, id: &TransportId) -> Option<&Claim> {
        self.claims.get(id)
    }

    pub(super) fn by_edge(&self, edge: &PublicKey) -> impl Iterator<Item = &Claim> {
        let all = (*edge, TransportId::FIRST)..=(*edge, TransportId::LAST);
        let found = self.by_edge.range(all);
        found.filter_map(|(_, id)| self.claims.get(id))
    }

    pub(super) fn count(&self, stats: &mut IndexStats) {
        stats.transport_owners = self.owners.len();
        stats.transports = self.held;
        stats.unsettled_lists = self.unsettled;
        stats.left_out += self.left_out;
    }

    /// Replaces the claims of one version of a list by those of another.
    fn replace(&mut self, owner: &PublicKey, before: &List, now: &List) {
        for (id, listed) in before {
            let Some(claim) = self.claims.get_mut(id) else {
                continue;
            };
            let edges = listed.transport.edges;
            for (edge, by) in edges.iter().zip(&mut claim.by) {
                if edge == owner {
                    *by = None;
                }
            }
            if claim.by.iter().all(Option::is_none) {
                self.claims.remove(id);
                for edge in edges {
                    self.by_edge.remove(&(edge, *id));
                }
            }
        }
        for (id, listed) in now {
            let edges = listed.transport.edges;
            let claim = self.claims.entry(*id).or_insert(Claim { by: [None, None] });
            for (edge, by) in edges.iter().zip(&mut claim.by) {
                self.by_edge.insert((*edge, *id));
                if edge == owner {
                    *by = Some(Arc::clone(listed));
                }
            }
        }
    }
}
