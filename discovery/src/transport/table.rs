//! Transports in memory, each for some minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::Refusal;
use crate::record::{Transport, TransportId};

/// How long a transport is kept that neither edge registers again; upstream's.
pub const TRANSPORT_LIFE: Duration = Duration::from_secs(2 * 60);

/// How much is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Transports.
    pub transports: usize,
    /// Transports that one key brought. A foreign edge can be claimed, so the one who brings a
    /// transport pays for it.
    pub of_key: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            transports: 50_000,
            of_key: 2_048,
        }
    }
}

struct Kept {
    transport: Transport,
    /// Who brought it first.
    by: PublicKey,
    end: Mono,
}

/// The transports.
pub(super) struct Table {
    limits: Limits,
    kept: BTreeMap<TransportId, Kept>,
    by_end: BTreeSet<(Mono, TransportId)>,
    by_edge: BTreeSet<(PublicKey, TransportId)>,
    of_key: BTreeMap<PublicKey, usize>,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            kept: BTreeMap::new(),
            by_end: BTreeSet::new(),
            by_edge: BTreeSet::new(),
            of_key: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Forgets what has expired, and gives it. Its cost follows what has.
    pub(super) fn expire(&mut self, now: Mono) -> Vec<Transport> {
        let mut gone = Vec::new();
        while let Some((end, id)) = self.by_end.first().copied() {
            if end > now {
                break;
            }
            gone.extend(self.remove(&id));
        }
        gone
    }

    /// Keeps a transport for its life. Returns whether it is new or has changed.
    pub(super) fn put(
        &mut self,
        now: Mono,
        by: PublicKey,
        transport: Transport,
    ) -> Result<bool, Refusal> {
        let (id, end) = (transport.id, now.plus(TRANSPORT_LIFE));
        if let Some(kept) = self.kept.get_mut(&id) {
            self.by_end.remove(&(kept.end, id));
            self.by_end.insert((end, id));
            let has_changed = kept.transport != transport;
            (kept.transport, kept.end) = (transport, end);
            return Ok(has_changed);
        }
        let of_key = self.of_key.get(&by).copied().unwrap_or(0);
        if self.len() >= self.limits.transports || of_key >= self.limits.of_key {
            return Err(Refusal::Full);
        }
        *self.of_key.entry(by).or_default() += 1;
        self.by_end.insert((end, id));
        for edge in transport.edges {
            self.by_edge.insert((edge, id));
        }
        let kept = Kept { transport, by, end };
        self.kept.insert(id, kept);
        Ok(true)
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, id: &TransportId) -> Option<Transport> {
        let Kept { transport, by, end } = self.kept.remove(id)?;
        self.by_end.remove(&(end, *id));
        for edge in transport.edges {
            self.by_edge.remove(&(edge, *id));
        }
        if let Some(count) = self.of_key.get_mut(&by) {
            *count -= 1;
            if *count == 0 {
                self.of_key.remove(&by);
            }
        }
        Some(transport)
    }

    /// All transports of an edge live on.
    pub(super) fn refresh(&mut self, now: Mono, edge: &PublicKey) {
        let ids: Vec<TransportId> = self.ids_of(edge).collect();
        let end = now.plus(TRANSPORT_LIFE);
        for id in ids {
            if let Some(kept) = self.kept.get_mut(&id) {
                self.by_end.remove(&(kept.end, id));
                self.by_end.insert((end, id));
                kept.end = end;
            }
        }
    }

    pub(super) fn get(&self, id: &TransportId) -> Option<&Transport> {
        self.kept.get(id).map(|kept| &kept.transport)
    }

    fn ids_of(&self, edge: &PublicKey) -> impl Iterator<Item = TransportId> {
        let all = (*edge, TransportId::FIRST)..=(*edge, TransportId::LAST);
        self.by_edge.range(all).map(|(_, id)| *id)
    }

    /// All of an edge, in the order of their ids.
    pub(super) fn of_edge(&self, edge: &PublicKey) -> impl Iterator<Item = &Transport> {
        self.ids_of(edge).filter_map(|id| self.get(&id))
    }

    /// All, in the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &Transport> {
        self.kept.values().map(|kept| &kept.transport)
    }
}
