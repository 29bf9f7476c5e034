//! The transports in memory, with their expiry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::Refusal;
use crate::record::{Transport, TransportId};

/// Lifetime of a transport that neither edge registers again; as in upstream.
pub const TRANSPORT_LIFE: Duration = Duration::from_secs(2 * 60);

/// Limits of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum number of transports.
    pub transports: usize,
    /// Maximum number of transports registered by one key. A key can claim a transport with any
    /// other edge, so that the limit applies to the key that registers it.
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
    /// Key that registered it first.
    by: PublicKey,
    end: Mono,
}

/// The stored transports, indexed by expiry and by edge.
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

    /// Removes and returns expired transports. Visits expired ones only.
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

    /// Stores a transport. Returns whether it is new or has changed.
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

    /// Removes a transport.
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

    /// Renews all transports of an edge.
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

    /// Returns the transports of an edge, sorted by id.
    pub(super) fn of_edge(&self, edge: &PublicKey) -> impl Iterator<Item = &Transport> {
        self.ids_of(edge).filter_map(|id| self.get(&id))
    }

    /// Returns all transports, sorted by id.
    pub(super) fn all(&self) -> impl Iterator<Item = &Transport> {
        self.kept.values().map(|kept| &kept.transport)
    }
}
