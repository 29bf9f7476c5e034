//! Services by kind and country.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use skydht_core::key::PublicKey;

use super::bounds::{IndexLimits, IndexStats};
use crate::record::{Service, ServiceAddress, ServiceKind};

/// Salts of services of one owner that are kept: `svc`, and upstream's first form by type.
const MOST_SALTS: usize = 16;
/// The salt of all services; where it is, those by type do not count.
const WHOLE: &[u8] = b"svc";

/// Which services are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceQuery {
    /// Of this kind.
    pub kind: ServiceKind,
    /// In this country, as the service says.
    pub country: Option<String>,
    /// Of a visor of this version.
    pub version: Option<String>,
}

impl ServiceQuery {
    /// All of a kind.
    #[must_use]
    pub const fn of(kind: ServiceKind) -> Self {
        Self {
            kind,
            country: None,
            version: None,
        }
    }

    /// Whether a service is among those.
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

/// What an owner has, by salt; `None` cannot be read.
type Salts = BTreeMap<Vec<u8>, Option<Vec<Arc<Service>>>>;

#[derive(Debug)]
pub(super) struct ServiceIndex {
    limits: IndexLimits,
    owners: BTreeMap<PublicKey, Salts>,
    by_kind: BTreeMap<ServiceKind, ByAddress>,
    by_country: BTreeMap<(ServiceKind, String), ByAddress>,
    /// Services in all of `owners`.
    held: usize,
    /// Owners with a record that cannot be read.
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

    /// Takes what is under one of an owner's salts: none, an unreadable record, or services.
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

/// Takes one out of a map in a map, and the inner one with its last.
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

/// The services of an owner that count: those of the whole list, else of each salt; of two with the
/// same kind and address the first.
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
