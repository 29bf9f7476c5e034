//! A visor's own records.

use std::collections::BTreeMap;

use skydht_core::item::Salt;
use skydht_core::key::PublicKey;

use crate::mirror::{services_of, transports_of};
use crate::publish::{Content, RecordId};
use crate::record::{Service, ServiceAddress, ServiceKind, Transport, TransportId, VisorAddress};

/// All records of a visor except its DMSG entry.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Own {
    /// Transports, by id.
    pub transports: BTreeMap<TransportId, Transport>,
    /// Services, by kind and address.
    pub services: BTreeMap<(ServiceKind, ServiceAddress), Service>,
    /// Address at which the visor accepts TCP connections.
    pub address: Option<VisorAddress>,
}

/// Converts the visor's data to records for the DHT; absent data is [`Content::Gone`].
#[must_use]
pub fn records(owner: PublicKey, own: &Own) -> [(RecordId, Content); 3] {
    let transports: Vec<&Transport> = own.transports.values().collect();
    let services: Vec<Service> = own.services.values().cloned().collect();
    let address = own.address.as_ref();
    let address_id = RecordId {
        owner,
        salt: Salt::from("addr:stcpr"),
    };
    let address = address.map_or(Content::Gone, |it| Content::Value(it.to_json()));
    [
        transports_of(owner, &transports),
        services_of(owner, services),
        (address_id, address),
    ]
}
