//! Comparison of two versions of a record.

use std::collections::BTreeMap;

use skydht_core::key::PublicKey;

use crate::publish::RecordId;
use crate::record::{Record, Service, TransportId, read};
use crate::transport;
use crate::web;

/// Relation of a service's version of a record to the DHT's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Difference {
    /// Both are equal.
    Same,
    /// The service's is newer, according to its owner's signature.
    OlderInDht,
    /// The DHT's is newer.
    OlderAtService,
    /// They differ, and neither is proven to be newer.
    Differs,
}

/// Compares the values of a record at a service and in the DHT; lists as a whole. An unreadable
/// value differs from any other.
#[must_use]
pub fn compare(id: &RecordId, at_service: &[u8], in_dht: &[u8]) -> Difference {
    if at_service == in_dht {
        return Difference::Same;
    }
    let differs = |is_same: bool| match is_same {
        true => Difference::Same,
        false => Difference::Differs,
    };
    match id.salt.as_bytes() {
        b"tp" => match (ids(&id.owner, at_service), ids(&id.owner, in_dht)) {
            (Some(one), Some(other)) => differs(one == other),
            _ => Difference::Differs,
        },
        salt => match (
            read(salt, &id.owner, at_service),
            read(salt, &id.owner, in_dht),
        ) {
            (Ok(Record::Entry(one)), Ok(Record::Entry(other))) => {
                let age = |it: &skydht_dmsg::entry::SignedEntry| {
                    let entry = it.entry();
                    (entry.timestamp, entry.sequence)
                };
                match age(&one).cmp(&age(&other)) {
                    std::cmp::Ordering::Greater => Difference::OlderInDht,
                    std::cmp::Ordering::Less => Difference::OlderAtService,
                    std::cmp::Ordering::Equal => Difference::Differs,
                }
            }
            (Ok(Record::Services(one)), Ok(Record::Services(other))) => {
                differs(by_name(one.list) == by_name(other.list))
            }
            _ => Difference::Differs,
        },
    }
}

/// Returns the sorted ids of a whole list of transports.
fn ids(owner: &PublicKey, value: &[u8]) -> Option<Vec<TransportId>> {
    let whole = web::json_text(http::StatusCode::OK, value.to_vec());
    let answer = transport::Answer::read(&transport::Call::OfEdge(*owner), &whole);
    let Ok(transport::Answer::List(list)) = answer else {
        return None;
    };
    let mut ids: Vec<TransportId> = list.iter().map(|it| it.id).collect();
    ids.sort_unstable();
    ids.dedup();
    Some(ids)
}

fn by_name(list: Vec<Service>) -> BTreeMap<String, Service> {
    let name = |it: &Service| format!("{} {}", it.address, it.type_text);
    list.into_iter().map(|it| (name(&it), it)).collect()
}

#[cfg(test)]
mod tests {
    use skydht_core::item::Salt;
    use skydht_core::key::SecretKey;
    use skydht_dmsg::entry::{ClientFields, Entry};

    use super::*;
    use crate::record::{ServiceAddress, ServiceKind, Services, Transport};

    fn secret(n: u8) -> SecretKey {
        SecretKey::from_bytes(&[n; 32]).unwrap()
    }

    fn id(salt: &str) -> RecordId {
        RecordId {
            owner: secret(1).public(),
            salt: Salt::from(salt),
        }
    }

    #[test]
    fn the_owners_own_time_says_which_entry_is_newer() {
        let entry = |timestamp, sequence| {
            let mut entry = Entry::new(secret(1).public(), sequence, timestamp);
            entry.client = Some(ClientFields {
                delegated_servers: Some(vec![secret(2).public()]),
            });
            entry.sign(&secret(1)).json().to_vec()
        };
        let id = id("dmsg");
        assert_eq!(compare(&id, &entry(1, 1), &entry(1, 1)), Difference::Same);
        assert_eq!(
            compare(&id, &entry(2, 1), &entry(1, 9)),
            Difference::OlderInDht
        );
        assert_eq!(
            compare(&id, &entry(1, 1), &entry(1, 2)),
            Difference::OlderAtService
        );
        assert_eq!(compare(&id, &entry(1, 1), b"{}"), Difference::Differs);
        assert_eq!(compare(&id, b"x", &entry(1, 1)), Difference::Differs);
    }

    #[test]
    fn lists_are_the_same_in_any_order() {
        let [own, b, c] = [1, 2, 3].map(|n| secret(n).public());
        let [one, other] = [b, c].map(|it| Transport::new(own, it, "stcpr", "user").to_json());
        let list = |parts: &[&[u8]]| [b"[", &parts.join(&b","[..])[..], b"]"].concat();
        let tp = id("tp");
        let both = [list(&[&one, &other]), list(&[&other, &one])];
        assert_eq!(compare(&tp, &both[0], &both[1]), Difference::Same);
        assert_eq!(compare(&tp, &both[0], &list(&[&one])), Difference::Differs);
        assert_eq!(compare(&tp, &both[0], b"x"), Difference::Differs);
        let service = |port| {
            let address = ServiceAddress {
                key: Some(own),
                port,
            };
            Service::new(address, &ServiceKind::Visor)
        };
        let services = |list: &[u16]| {
            let list = list.iter().map(|port| service(*port)).collect();
            Services { list }.to_json()
        };
        let svc = id("svc");
        let same = compare(&svc, &services(&[1, 2]), &services(&[2, 1]));
        assert_eq!(same, Difference::Same);
        let fewer = compare(&svc, &services(&[1, 2]), &services(&[1]));
        assert_eq!(fewer, Difference::Differs);
    }
}
