//! The services in memory, with their expiry.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::Refusal;
use crate::record::{Service, ServiceAddress, ServiceKind};

/// Lifetime of a service that is not registered again; as in upstream.
pub const SERVICE_LIFE: Duration = Duration::from_secs(5 * 60);

/// Limits of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum number of services.
    pub services: usize,
    /// Maximum number of services per key.
    pub of_key: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 20_000,
            of_key: 32,
        }
    }
}

type Id = (ServiceKind, ServiceAddress);

/// The stored services, indexed by expiry and by key.
pub(super) struct Table {
    limits: Limits,
    services: BTreeMap<Id, (Service, Mono)>,
    by_end: BTreeSet<(Mono, Id)>,
    of_key: BTreeSet<(PublicKey, Id)>,
}

impl Table {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            services: BTreeMap::new(),
            by_end: BTreeSet::new(),
            of_key: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.services.len()
    }

    /// Removes expired services, and returns their keys. Visits expired services only.
    pub(super) fn expire(&mut self, now: Mono) -> BTreeSet<PublicKey> {
        let mut of = BTreeSet::new();
        while let Some((end, id)) = self.by_end.first().cloned() {
            if end > now {
                break;
            }
            of.extend(id.1.key);
            self.remove(&id);
        }
        of
    }

    fn ids_of(&self, key: PublicKey) -> impl Iterator<Item = &Id> {
        let first = (ServiceKind::FIRST, ServiceAddress::default());
        let all = self.of_key.range((key, first)..);
        all.take_while(move |(it, _)| *it == key).map(|(_, id)| id)
    }

    /// Returns the services of a key, sorted by kind.
    pub(super) fn of_key(&self, key: &PublicKey) -> Vec<Service> {
        let all = self.ids_of(*key).filter_map(|id| self.get(id));
        all.cloned().collect()
    }

    /// Stores a service of a key, and replaces one with the same kind and address. Returns whether
    /// it is new or has changed.
    pub(super) fn put(
        &mut self,
        now: Mono,
        key: PublicKey,
        service: Service,
    ) -> Result<bool, Refusal> {
        let id = (service.kind(), service.address);
        let before = self.get(&id);
        let has_changed = before != Some(&service);
        if before.is_none()
            && (self.len() >= self.limits.services
                || self.ids_of(key).count() >= self.limits.of_key)
        {
            return Err(Refusal::Full);
        }
        self.remove(&id);
        let end = now.plus(SERVICE_LIFE);
        self.by_end.insert((end, id.clone()));
        self.of_key.insert((key, id.clone()));
        self.services.insert(id, (service, end));
        Ok(has_changed)
    }

    /// Removes a service; returns whether it existed.
    pub(super) fn remove(&mut self, id: &Id) -> bool {
        let Some((service, end)) = self.services.remove(id) else {
            return false;
        };
        self.by_end.remove(&(end, id.clone()));
        if let Some(key) = service.address.key {
            self.of_key.remove(&(key, id.clone()));
        }
        true
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Service> {
        self.services.get(id).map(|(service, _)| service)
    }

    /// Returns the services of a kind.
    pub(super) fn of_kind(&self, kind: &ServiceKind) -> impl Iterator<Item = &Service> {
        let from = (kind.clone(), ServiceAddress::default());
        let all = self.services.range(from..);
        let of_kind = all.take_while(move |((it, _), _)| it == kind);
        of_kind.map(|(_, (service, _))| service)
    }
}
