//! The index of services by kind and country.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use skydht_core::key::PublicKey;

use super::bounds::{IndexLimits, IndexStats};
use crate::record::{Service, ServiceAddress, ServiceKind};

/// Maximum number of salts with services per owner: `svc`, and upstream's first form with a type.
const MOST_SALTS: usize = 16;
/// Salt of all services; if it exists, those with a type are ignored.
const WHOLE: &[u8] = b"svc";

/// A query for services.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceQuery {
    /// Kind of the services.
    pub kind: ServiceKind,
    /// Country, as stated by the service; `None`: any.
    pub country: Option<String>,
    /// Version of the visor; `None`: any.
    pub version: Option<String>,
}

impl ServiceQuery {
    /// Creates a query for all services of a kind.
    #[must_use]
    pub const fn of(kind: ServiceKind) -> Self {
        Self {
            kind,
            country: None,
            version: None,
        }
    }

    /// Returns whether a service matches.
    #[must_use]
    pub fn matches(&self, service: &Service) -> bool {
        let is_in = |country| Some(country) == country_of(service);
        service.kind() == self.kind
            && self.country.as_deref().is_none_or(is_in)
            && self
                .version
                .as_ref()
                .is_none_or(|it| *it == service.version)
    }
}

fn country_of(service: &Service) -> Option<&str> {
    service.geo.as_ref().map(|geo| geo.country.as_str())
}

type ByAddress = BTreeMap<ServiceAddress, Arc<Service>>;

/// An owner's records by salt; `None` for an unreadable one.
type Salts = BTreeMap<Vec<u8>, Option<Vec<Arc<Service>>>>;

#[derive(Debug)]
pub(super) struct ServiceIndex {
    limits: IndexLimits,
    owners: BTreeMap<PublicKey, Salts>,
    by_kind: BTreeMap<ServiceKind, ByAddress>,
    by_country: BTreeMap<(ServiceKind, String), ByAddress>,
    /// Number of services in all of `owners`.
    held: usize,
    /// Number of owners with an unreadable record.
    unreadable: usize,
    left_out: u64,
}

impl ServiceIndex {
    pub(super) const fn new(limits: IndexLimits) -> Self {
        Self {
            limits,
            owners: BTreeMap::new(),
            by_kind: BTreeMap::new(),
            by_country: BTreeMap::new(),
            held: 0,
            unreadable: 0,
            left_out: 0,
        }
    }

    /// Sets the record under one of an owner's salts: absent, unreadable, or services.
    pub(super) fn update(
        &mut self,
        owner: &PublicKey,
        salt: &[u8],
        now: Option<Option<Vec<Service>>>,
    ) {
        let mut salts = self.owners.remove(owner).unwrap_or_default();
        self.unreadable -= usize::from(is_unreadable(&salts));
        for service in counting(&salts) {
            self.take_out(&service);
        }
        let before = salts.remove(salt).flatten();
        self.held -= before.map_or(0, |services| services.len());
        if let Some(now) = now {
            let n = now.as_ref().map_or(0, Vec::len);
            if salts.len() >= MOST_SALTS
                || self.held + n > self.limits.services
                || (salts.is_empty() && self.owners.len() >= self.limits.owners)
            {
                self.left_out += 1;
            } else {
                self.held += n;
                let now = now.map(|services| services.into_iter().map(Arc::new).collect());
                salts.insert(salt.to_vec(), now);
            }
        }
        for service in counting(&salts) {
            self.put_in(service);
        }
        self.unreadable += usize::from(is_unreadable(&salts));
        if !salts.is_empty() {
            self.owners.insert(*owner, salts);
        }
    }

    pub(super) fn find<'a>(
        &'a self,
        query: &'a ServiceQuery,
    ) -> impl Iterator<Item = &'a Service> + 'a {
        let found = match &query.country {
            Some(country) => self.by_country.get(&(query.kind.clone(), country.clone())),
            None => self.by_kind.get(&query.kind),
        };
        let found = found.into_iter().flat_map(BTreeMap::values);
        found.map(AsRef::as_ref).filter(|it| query.matches(it))
    }

    pub(super) fn count(&self, stats: &mut IndexStats) {
        stats.service_owners = self.owners.len();
        stats.services = self.held;
        stats.unreadable_services = self.unreadable;
        stats.left_out += self.left_out;
    }

    fn put_in(&mut self, service: Arc<Service>) {
        let (kind, address) = (service.kind(), service.address);
        if let Some(country) = country_of(&service) {
            let place = self.by_country.entry((kind.clone(), country.to_owned()));
            place.or_default().insert(address, Arc::clone(&service));
        }
        self.by_kind
            .entry(kind)
            .or_default()
            .insert(address, service);
    }

    fn take_out(&mut self, service: &Service) {
        let (kind, address) = (service.kind(), service.address);
        if let Some(country) = country_of(service) {
            remove(
                self.by_country.entry((kind.clone(), country.to_owned())),
                &address,
            );
        }
        remove(self.by_kind.entry(kind), &address);
    }
}

/// Removes a service from a map within a map, and the inner map when it is empty.
fn remove<K: Ord>(place: Entry<'_, K, ByAddress>, address: &ServiceAddress) {
    if let Entry::Occupied(mut place) = place {
        place.get_mut().remove(address);
        if place.get().is_empty() {
            place.remove();
        }
    }
}

fn is_unreadable(salts: &Salts) -> bool {
    salts.values().any(Option::is_none)
}

/// Returns the services of an owner that are indexed: those under `svc`, or else under each type.
/// Of several with the same kind and address, the first is used.
fn counting(salts: &Salts) -> Vec<Arc<Service>> {
    let lists: Vec<_> = match salts.get(WHOLE) {
        Some(whole) => vec![whole],
        None => salts.values().collect(),
    };
    let mut counting = BTreeMap::new();
    for service in lists.into_iter().flatten().flatten() {
        let place = counting.entry((service.kind(), service.address));
        place.or_insert_with(|| Arc::clone(service));
    }
    counting.into_values().collect()
}
