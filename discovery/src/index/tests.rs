use std::collections::{BTreeMap, BTreeSet};

use skydht_core::item::Salt;
use skydht_core::key::SecretKey;
use skydht_core::large::list::{Joiner, chunk_salt};

use super::*;
use crate::record::{
    Geo, ServiceAddress, ServiceKind, Services, SignedTransport, Transport, chunks,
};

fn secret(n: u16) -> SecretKey {
    let mut bytes = [1; 32];
    bytes[..2].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_bytes(&bytes).unwrap()
}

fn key(n: u16) -> PublicKey {
    secret(n).public()
}

fn service(n: u16, port: u16, kind: &str, country: &str) -> Service {
    let address = ServiceAddress {
        key: Some(key(n)),
        port,
    };
    let geo = Geo {
        country: country.to_owned(),
        ..Geo::default()
    };
    let mut service = Service::new(address, &ServiceKind::of(kind));
    service.geo = (!country.is_empty()).then_some(geo);
    service
}

fn value_of(services: &[Service]) -> Vec<u8> {
    let list = services.to_vec();
    Services { list }.to_json()
}

fn query(kind: &str, country: Option<&str>) -> ServiceQuery {
    ServiceQuery {
        country: country.map(str::to_owned),
        ..ServiceQuery::of(ServiceKind::of(kind))
    }
}

fn hub(owner: u16, remotes: std::ops::Range<u16>, kind: &str) -> Vec<Transport> {
    remotes
        .map(|n| Transport::new(key(owner), key(n), kind, "user"))
        .collect()
}

/// Reproducible random numbers.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u16) -> u16 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u16::try_from((self.0 >> 33) % u64::from(n)).unwrap()
    }
}

/// A salt with its new record.
type Change = (Vec<u8>, Option<(Seq, Vec<u8>)>);
type Records = BTreeMap<(Vec<u8>, PublicKey), (Seq, Vec<u8>)>;

/// Returns the matching services by a scan of all records.
fn scan_services(records: &Records, query: &ServiceQuery) -> BTreeSet<String> {
    let services_of = |salt: &[u8], owner: &PublicKey, value: &[u8]| match read(salt, owner, value)
    {
        Ok(Record::Services(services)) => services.list,
        _ => Vec::new(),
    };
    let mut found: BTreeMap<_, Service> = BTreeMap::new();
    for ((salt, owner), (_, value)) in records {
        let has_whole = records.contains_key(&(b"svc".to_vec(), *owner));
        if salt == b"svc" || salt.starts_with(b"svc:") && !has_whole {
            for service in services_of(salt, owner, value) {
                let place = found.entry((service.kind(), service.address));
                place.or_insert(service);
            }
        }
    }
    let matching = found.values().filter(|it| query.matches(it));
    matching.map(|it| format!("{it:?}")).collect()
}

/// Returns the list that a reader joins from an owner's chunks; `None` while they are of several
/// versions.
fn scan_list(records: &Records, owner: &PublicKey) -> Option<BTreeSet<TransportId>> {
    let mut joiner = Joiner::default();
    let tp = Salt::from("tp");
    loop {
        let salt = chunk_salt(&tp, joiner.next()).as_bytes().to_vec();
        let chunk = records.get(&(salt, *owner));
        let chunk = chunk.map(|(seq, value)| (*seq, value.as_slice()));
        if !joiner.push(chunk).ok()? {
            break;
        }
    }
    let Some(whole) = joiner.finish() else {
        return Some(BTreeSet::new());
    };
    let list: Vec<Transport> = serde_json::from_slice(&whole).unwrap();
    Some(list.into_iter().map(|it| it.id).collect())
}

fn rows(claims: impl IntoIterator<Item = Claim>) -> BTreeMap<TransportId, Standing> {
    let rows = claims.into_iter();
    rows.map(|it| (it.transport().id, it.standing())).collect()
}

/// Owners publish, replace chunk by chunk, delete and expire in random order. After each step the
/// index must equal a scan of all records.
#[test]
fn r14_the_index_equals_brute_force_over_the_records() {
    const OWNERS: u16 = 6;
    let kinds = ["vpn", "skysocks", "visor", "proxy", "new"];
    let countries = ["", "DE", "JP"];
    // For each owner: an empty list, one that the other owners may confirm, and one of two chunks.
    let list_of = |owner: u16, n: u16| {
        let remotes = (0..n).filter(|remote| *remote != owner);
        let one = |remote| Transport::new(key(owner), key(remote), "dmsg", "user");
        chunks(&remotes.map(one).collect::<Vec<_>>())
    };
    let lists: Vec<Vec<Vec<u8>>> = (0..OWNERS)
        .flat_map(|owner| [0, OWNERS, 205].map(|n| list_of(owner, n)))
        .collect();
    let mut draw = Draw(7);
    let mut records = Records::new();
    let mut whole: BTreeMap<PublicKey, BTreeSet<TransportId>> = BTreeMap::new();
    let mut index = Index::new(IndexLimits::default());
    let mut seen = [0; 3];
    for step in 1..=500_u64 {
        let n = draw.below(OWNERS);
        let owner = key(n);
        let mut changes: Vec<Change> = Vec::new();
        match draw.below(8) {
            0..3 => {
                let some: BTreeMap<_, _> = (0..draw.below(5))
                    .map(|port| {
                        let kind = kinds[usize::from(draw.below(5))];
                        let country = countries[usize::from(draw.below(3))];
                        (port, service(n, port + 1, kind, country))
                    })
                    .collect();
                let some: Vec<_> = some.into_values().collect();
                changes.push((b"svc".to_vec(), Some((Seq(step), value_of(&some)))));
            }
            3 => {
                let kind = kinds[usize::from(draw.below(5))];
                let value =
                    serde_json::json!({"pk": owner, "port": 1 + draw.below(3), "type": kind});
                let salt = format!("svc:{kind}").into_bytes();
                changes.push((salt, Some((Seq(step), value.to_string().into_bytes()))));
            }
            4..7 => {
                let values = &lists[usize::from(n * 3 + draw.below(3))];
                // Some of the chunks are lost.
                for (i, value) in (0..).zip(values) {
                    let salt = chunk_salt(&Salt::from("tp"), i).as_bytes().to_vec();
                    if draw.below(6) > 0 {
                        let seq = Seq(step * 1_000 + u64::from(i));
                        changes.push((salt, Some((seq, value.clone()))));
                    }
                }
            }
            _ => {
                let salts = ["svc", "svc:vpn", "svc:new", "tp", "tp:1"];
                let salt = salts[usize::from(draw.below(5))].as_bytes().to_vec();
                let deleted = [None, Some("[]"), Some("{}"), Some("null"), Some("")];
                let deleted = deleted[usize::from(draw.below(5))];
                let now = deleted.map(|text| (Seq(step * 1_000), text.as_bytes().to_vec()));
                changes.push((salt, now));
            }
        }
        for (salt, now) in changes {
            let value = now.as_ref().map(|(seq, value)| (*seq, value.as_slice()));
            index.update(&salt, &owner, value).unwrap();
            match now {
                Some(now) => records.insert((salt, owner), now),
                None => records.remove(&(salt, owner)),
            };
            match scan_list(&records, &owner) {
                Some(list) => whole.insert(owner, list),
                None => {
                    seen[0] += 1;
                    None
                }
            };
        }
        for kind in kinds {
            for country in [None, Some(""), Some("DE"), Some("JP"), Some("FR")] {
                let query = query(kind, country);
                let found: Vec<_> = index.services(&query).map(|it| format!("{it:?}")).collect();
                seen[1] += found.len();
                let as_set: BTreeSet<_> = found.iter().cloned().collect();
                assert_eq!(as_set.len(), found.len(), "each once");
                assert_eq!(
                    as_set,
                    scan_services(&records, &query),
                    "step {step}: {query:?}"
                );
            }
        }
        // While a list is being replaced, its previous version counts.
        let listed = |id: &TransportId| whole.values().filter(|it| it.contains(id)).count();
        let expected: BTreeMap<TransportId, Standing> = whole
            .values()
            .flatten()
            .map(|id| match listed(id) {
                1 => (*id, Standing::OneSided),
                _ => (*id, Standing::BothEdges),
            })
            .collect();
        seen[2] += expected
            .values()
            .filter(|it| **it == Standing::BothEdges)
            .count();
        for n in 0..OWNERS {
            let edge = key(n);
            let found = rows(index.transports_of(&edge).cloned());
            let by_id = found.keys().filter_map(|id| index.transport(id).cloned());
            assert_eq!(found, rows(by_id));
            let has_edge = |id: &&TransportId| {
                let claim = index.transport(id);
                claim.is_some_and(|it| it.transport().edges.contains(&edge))
            };
            let scanned: BTreeSet<_> = expected.keys().filter(has_edge).collect();
            assert_eq!(
                found.keys().collect::<BTreeSet<_>>(),
                scanned,
                "step {step}"
            );
            assert!(
                found.iter().all(|(id, it)| expected[id] == *it),
                "step {step}"
            );
        }
        for id in expected.keys() {
            assert!(index.transport(id).is_some(), "step {step}");
        }
        assert_eq!(index.is_complete(), index.stats().unsettled_lists == 0);
    }
    assert!(seen.iter().all(|n| *n > 50), "{seen:?}");

    // A rebuilt index is equal, except for lists without a complete version now.
    let all = records.iter();
    let all = all.map(|((salt, owner), (seq, value))| (&salt[..], *owner, *seq, &value[..]));
    let again = Index::rebuild(IndexLimits::default(), all);
    assert_eq!(again.stats(), index.stats());
    for n in 0..OWNERS {
        let is_settled = (0..OWNERS).all(|n| scan_list(&records, &key(n)).is_some());
        let [one, other] = [&index, &again].map(|it| rows(it.transports_of(&key(n)).cloned()));
        assert!(!is_settled || one == other);
    }
}

#[test]
fn r8_a_list_that_is_being_replaced_is_the_version_before_until_the_last_chunk() {
    let owner = key(0);
    let [old, new] = [hub(0, 1..451, "stcpr"), hub(0, 100..560, "stcpr")];
    let mut index = Index::new(IndexLimits::default());
    let put = |index: &mut Index, base: u64, n: u16, value: &[u8]| {
        let salt = chunk_salt(&Salt::from("tp"), n);
        let now = (Seq(base + u64::from(n)), value);
        index.update(salt.as_bytes(), &owner, Some(now)).unwrap();
    };
    let ids = |list: &[Transport]| list.iter().map(|it| it.id).collect::<BTreeSet<_>>();
    let shown = |index: &Index| -> BTreeSet<_> {
        index
            .transports_of(&owner)
            .map(|it| it.transport().id)
            .collect()
    };
    for (n, value) in (0..).zip(chunks(&old)) {
        put(&mut index, 10, n, &value);
    }
    assert_eq!((shown(&index), index.is_complete()), (ids(&old), true));
    // The chunks arrive in any order.
    let values = chunks(&new);
    for (n, is_last) in [(2, false), (0, false), (1, true)] {
        put(&mut index, 1_000, n, &values[usize::from(n)]);
        let expected = if is_last { &new } else { &old };
        assert_eq!(
            (shown(&index), index.is_complete()),
            (ids(expected), is_last),
            "{n}"
        );
    }
    // A shorter version: chunks after its end are not part of it.
    let few = hub(0, 1..11, "stcpr");
    put(&mut index, 2_000, 0, &chunks(&few)[0]);
    assert_eq!((shown(&index), index.is_complete()), (ids(&few), true));
    // An unreadable chunk does not end the list.
    for (n, value) in (0..).zip(&values) {
        put(&mut index, 3_000, n, value);
    }
    let unreadable = (Seq(4_001), &b"[1]"[..]);
    assert!(index.update(b"tp:1", &owner, Some(unreadable)).is_err());
    put(&mut index, 4_000, 0, &values[0]);
    assert_eq!((shown(&index), index.is_complete()), (ids(&new), false));
    for salt in ["tp", "tp:1", "tp:2"] {
        index.update(salt.as_bytes(), &owner, None).unwrap();
    }
    assert_eq!(index.stats(), IndexStats::default());
}

#[test]
fn one_edge_claims_a_transport_and_both_or_their_signatures_confirm_it() {
    let transport = Transport::new(key(1), key(2), "stcpr", "user");
    let bare = |label: &str| {
        let [one, other] = transport.edges;
        chunks(&[Transport::new(one, other, "stcpr", label)]).remove(0)
    };
    let mut signed = SignedTransport::new(transport.clone());
    signed.sign(&secret(1)).unwrap();
    let one_signed = [b"[".to_vec(), signed.to_json(), b"]".to_vec()].concat();
    signed.sign(&secret(2)).unwrap();
    let both_signed = [b"[".to_vec(), signed.to_json(), b"]".to_vec()].concat();
    let mut index = Index::new(IndexLimits::default());
    let steps: [(u16, Option<Vec<u8>>, Option<Standing>); 7] = [
        (1, Some(bare("user")), Some(Standing::OneSided)),
        (1, Some(one_signed), Some(Standing::OneSided)),
        (2, Some(bare("automatic")), Some(Standing::BothEdges)),
        (1, Some(both_signed), Some(Standing::Signed)),
        (2, None, Some(Standing::Signed)),
        (1, Some(b"[]".to_vec()), None),
        (1, None, None),
    ];
    for (step, (owner, value, standing)) in (1..).zip(steps) {
        let now = value.as_deref().map(|value| (Seq(step), value));
        index.update(b"tp", &key(owner), now).unwrap();
        let found = index.transport(&transport.id).map(Claim::standing);
        assert_eq!(found, standing, "step {step}");
        for edge in transport.edges {
            let n = index.transports_of(&edge).count();
            assert_eq!(n, usize::from(standing.is_some()), "step {step}");
        }
    }
    assert_eq!(index.stats(), IndexStats::default());
    // A key cannot list a transport between two others.
    let foreign = (Seq(9), &bare("user")[..]);
    assert!(index.update(b"tp", &key(3), Some(foreign)).is_err());
    assert!(index.transport(&transport.id).is_none());
}

#[test]
fn what_there_is_no_room_for_is_counted_and_never_a_part_of_a_list() {
    let limits = IndexLimits {
        owners: 2,
        services: 3,
        transports: 6,
        transports_of_owner: 4,
    };
    let vpn = query("vpn", None);
    let mut index = Index::new(limits);
    let put_services = |index: &mut Index, n: u16, count: u16| {
        let list: Vec<_> = (1..=count)
            .map(|port| service(n, port, "vpn", "DE"))
            .collect();
        let value = value_of(&list);
        index
            .update(b"svc", &key(n), Some((Seq(1), &value)))
            .unwrap();
    };
    put_services(&mut index, 1, 2);
    put_services(&mut index, 2, 1);
    assert_eq!(
        (index.services(&vpn).count(), index.is_complete()),
        (3, true)
    );
    put_services(&mut index, 3, 1);
    assert_eq!(
        (index.services(&vpn).count(), index.stats().left_out),
        (3, 1)
    );
    put_services(&mut index, 2, 2);
    assert_eq!(
        (index.services(&vpn).count(), index.stats().left_out),
        (2, 2)
    );
    assert!(!index.is_complete());

    let mut index = Index::new(limits);
    let put = |index: &mut Index, n: u16, seq: u64, list: &[Transport]| {
        let value = chunks(list).remove(0);
        index
            .update(b"tp", &key(n), Some((Seq(seq), &value)))
            .unwrap();
        (index.transports_of(&key(n)).count(), index.stats().left_out)
    };
    assert_eq!(put(&mut index, 1, 1, &hub(1, 10..14, "dmsg")), (4, 0));
    assert_eq!(put(&mut index, 2, 1, &hub(2, 10..12, "dmsg")), (2, 0));
    assert_eq!(put(&mut index, 3, 1, &hub(3, 10..11, "dmsg")), (0, 1));
    assert!(!index.is_complete());
    // One transport above the limit per owner, then one above the total limit.
    assert_eq!(put(&mut index, 1, 2, &hub(1, 10..15, "dmsg")), (0, 2));
    assert_eq!(put(&mut index, 1, 3, &hub(1, 10..11, "dmsg")), (0, 3));
    assert_eq!(put(&mut index, 2, 2, &hub(2, 10..14, "dmsg")), (4, 3));
    assert_eq!(index.stats().transports, 4);
    // Now with another owner's list.
    let limits = IndexLimits {
        owners: 3,
        ..limits
    };
    let mut index = Index::new(limits);
    assert_eq!(put(&mut index, 1, 1, &hub(1, 10..14, "dmsg")), (4, 0));
    assert_eq!(put(&mut index, 2, 1, &hub(2, 10..12, "dmsg")), (2, 0));
    assert_eq!(put(&mut index, 2, 2, &hub(2, 10..13, "dmsg")), (0, 1));
    assert_eq!(
        (
            index.stats().transports,
            index.transports_of(&key(1)).count()
        ),
        (4, 4)
    );
}

#[test]
fn only_the_salts_of_lists_are_taken() {
    let mut index = Index::new(IndexLimits::default());
    let junk = Some((Seq(1), &b"junk"[..]));
    for salt in ["dmsg", "addr", "fullnode", "", "tpx", "services"] {
        assert_eq!(
            index.update(salt.as_bytes(), &key(1), junk),
            Ok(()),
            "{salt}"
        );
    }
    for salt in ["tp:0", "tp:01", "svc:"] {
        let update = index.update(salt.as_bytes(), &key(1), junk);
        assert_eq!(update, Err(RecordError::UnknownSalt), "{salt}");
    }
    assert_eq!(index.stats(), IndexStats::default());
    for salt in ["tp", "svc", "svc:vpn"] {
        assert!(index.update(salt.as_bytes(), &key(1), junk).is_err());
        assert!(!index.is_complete(), "{salt}");
        index.update(salt.as_bytes(), &key(1), None).unwrap();
        assert_eq!(index.stats(), IndexStats::default(), "{salt}");
    }
}
