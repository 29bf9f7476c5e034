//! Reads the services of a service discovery.

use std::collections::BTreeMap;

use skydht_core::item::Salt;
use skydht_core::key::PublicKey;

use super::round::{Call, Round, RoundError, Step};
use crate::publish::{Content, RecordId};
use crate::record::{Service, ServiceAddress, ServiceKind, Services};
use crate::service::{Answer, Call as Asked};
use crate::web::Response;

/// Returns the requests of a round: one per known type, as a service discovery has no list of all.
pub(super) fn first() -> Vec<Call> {
    let kinds = [ServiceKind::Visor, ServiceKind::Vpn, ServiceKind::Skysocks];
    let call = |kind| {
        Call::Service(Asked::List {
            kind,
            version: None,
            country: None,
            quantity: None,
        })
    };
    kinds.map(call).into()
}

pub(super) fn answered(call: &Asked, response: &Response, round: &mut Round) -> Step {
    match Answer::read(call, response) {
        Ok(Answer::List(list)) => {
            for service in list {
                let place = (service.address, service.kind());
                round.services.insert(place, service);
            }
            Step::Next
        }
        Ok(_) => Step::Failed(RoundError::Answer("an answer of another kind".into())),
        Err(error) => Step::Failed(RoundError::Answer(error.to_string())),
    }
}

/// Groups the services by visor.
pub(super) fn records(
    services: &BTreeMap<(ServiceAddress, ServiceKind), Service>,
) -> BTreeMap<RecordId, Content> {
    let mut by_owner: BTreeMap<PublicKey, Vec<Service>> = BTreeMap::new();
    for service in services.values() {
        if let Some(owner) = service.address.key {
            by_owner.entry(owner).or_default().push(service.clone());
        }
    }
    let record = |(owner, list)| (id_of(owner), list_of(list));
    by_owner.into_iter().map(record).collect()
}

/// Returns the id of a visor's record of services.
pub(super) fn id_of(owner: PublicKey) -> RecordId {
    RecordId {
        owner,
        salt: Salt::from("svc"),
    }
}

/// Encodes a visor's services in Go's format.
pub(super) fn list_of(list: Vec<Service>) -> Content {
    match list.is_empty() {
        true => Content::Gone,
        false => Content::Value(Services { list }.to_json()),
    }
}
