use serde_json::json;
use skydht_core::item::MAX_VALUE_LEN;
use skydht_core::key::SecretKey;
use skydht_dmsg::entry::{ClientFields, Entry};

use super::*;

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn transports(salt: &str, owner: u8, value: &[u8]) -> Result<Transports, RecordError> {
    match read(salt.as_bytes(), &key(owner), value)? {
        Record::Transports(transports) => Ok(transports),
        other => panic!("{other:?}"),
    }
}

/// The transports of a hub.
fn hub(n: u16) -> Vec<Transport> {
    let remote = |n: u16| {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_bytes(&bytes).unwrap().public()
    };
    (0..n)
        .map(|n| Transport::new(key(1), remote(n), "stcpr", "automatic"))
        .collect()
}

#[test]
fn the_four_shapes_of_a_list_are_read_as_the_same_transports() {
    let one = Transport::new(key(1), key(2), "stcpr", "user");
    let two = Transport::new(key(3), key(1), "dmsg", "automatic");
    let both = vec![one.clone(), two.clone()];
    let bare = format!(
        "[{},{}]",
        String::from_utf8(one.to_json()).unwrap(),
        String::from_utf8(two.to_json()).unwrap()
    );
    let signed = |transport: &Transport, by: &[u8]| {
        let mut signed = SignedTransport::new(transport.clone());
        by.iter().for_each(|n| signed.sign(&secret(*n)).unwrap());
        String::from_utf8(signed.to_json()).unwrap()
    };
    let signed = format!("[{},{}]", signed(&one, &[1, 2]), signed(&two, &[1]));
    let compact = json!([
        {"r": key(2), "t": "stcpr", "l": "user"},
        {"r": key(3), "t": "dmsg", "l": "automatic", "b": 7},
    ]);
    let envelope = json!({"s": key(1), "ts": compact});
    for (shape, text, proven) in [
        (Shape::Bare, bare, [false, false]),
        (Shape::Signed, signed, [true, false]),
        (Shape::Compact, compact.to_string(), [false, false]),
        (Shape::Envelope, envelope.to_string(), [false, false]),
    ] {
        let read = transports("tp:7", 1, text.as_bytes()).unwrap();
        assert_eq!(read.shape, shape);
        let list: Vec<_> = read.list.iter().map(|it| it.transport.clone()).collect();
        assert_eq!(list, both, "{shape:?}");
        let are_proven: Vec<_> = read.list.iter().map(|it| it.is_proven).collect();
        assert_eq!(are_proven, proven, "{shape:?}");
    }
}

/// R14: every decoder with all historic formats and tombstones neither panics nor returns a part of
/// a list.
#[test]
fn r14_no_decoder_gives_a_part_of_what_it_was_given() {
    let good = Transport::new(key(1), key(2), "stcpr", "user");
    let text = |transport: &Transport| String::from_utf8(transport.to_json()).unwrap();
    let other = Transport::new(key(2), key(3), "stcpr", "user");
    let mut wrong_id = Transport::new(key(1), key(3), "stcpr", "user");
    wrong_id.id = good.id;
    let mut unordered = Transport::new(key(1), key(3), "stcpr", "user");
    unordered.edges.reverse();
    let long = Transport::new(key(1), key(3), &"x".repeat(65), "");
    let mut forged = SignedTransport::new(good.clone());
    forged.sign(&secret(1)).unwrap();
    forged.signatures.swap(0, 1);
    let forged = String::from_utf8(forged.to_json()).unwrap();
    let signature_at = usize::from(good.edges[0] == key(1));
    for (element, why) in [
        (text(&other), ElementError::ForeignEdge),
        (text(&wrong_id), ElementError::WrongId),
        (text(&unordered), ElementError::EdgeOrder),
        (text(&long), ElementError::TooLong("type")),
        (text(&good), ElementError::Twice),
        ("{}".to_owned(), ElementError::Missing("t_id")),
    ] {
        let list = format!("[{},{element}]", text(&good));
        assert_eq!(
            transports("tp", 1, list.as_bytes()),
            Err(why.at(1)),
            "{list}"
        );
    }
    let forged = format!("[{forged}]");
    let why = ElementError::Signature(signature_at);
    assert_eq!(transports("tp", 1, forged.as_bytes()), Err(why.at(0)));
    for shapeless in ["[{},{}]", "[{\"x\":1}]", "{\"s\":1}", "{\"ts\":null}"] {
        let read = transports("tp", 1, shapeless.as_bytes());
        assert_eq!(read, Err(RecordError::UnknownShape), "{shapeless}");
    }
    for schema in SCHEMAS {
        let salt = match schema.salt {
            SaltPattern::Exact(salt) | SaltPattern::Numbered(salt) => salt.to_owned(),
            SaltPattern::Named(prefix) => format!("{prefix}vpn"),
        };
        for gone in ["", "{}", "[]", "null", " [ ] ", "{ }\n"] {
            let read = read(salt.as_bytes(), &key(1), gone.as_bytes());
            assert_eq!(read, Ok(Record::Deleted), "{salt}: {gone:?}");
        }
        for junk in [
            "[",
            "{",
            "1",
            "\"x\"",
            "[1]",
            "[null]",
            "{\"pk\":1}",
            "\u{0}",
            "[ ]\u{c}",
            "\u{c}",
        ] {
            assert!(
                read(salt.as_bytes(), &key(1), junk.as_bytes()).is_err(),
                "{salt}: {junk}"
            );
        }
        let long = vec![b' '; schema.longest + 1];
        let read = read(salt.as_bytes(), &key(1), &long);
        assert!(matches!(read, Err(RecordError::TooLong { .. })), "{salt}");
    }
}

#[test]
fn more_elements_than_are_read_are_an_error() {
    for (most, refused) in [(MOST_TRANSPORTS, false), (MOST_TRANSPORTS + 1, true)] {
        let list = format!("[{}]", vec!["{}"; most].join(","));
        let read = transports("tp", 1, list.as_bytes()).unwrap_err();
        let is_refused = matches!(&read, RecordError::Malformed(why) if why.contains("more than"));
        assert_eq!(is_refused, refused, "{read:?}");
    }
}

#[test]
fn a_long_list_is_written_in_chunks_that_upstream_reads() {
    for (n, sizes) in [
        (0, vec![0]),
        (1, vec![1]),
        (200, vec![200]),
        (552, vec![200, 200, 152]),
    ] {
        let all = hub(n);
        let values = chunks(&all);
        let mut read = Vec::new();
        for (index, value) in values.iter().enumerate() {
            assert!(value.len() <= MAX_VALUE_LEN);
            let salt = if index == 0 {
                "tp".to_owned()
            } else {
                format!("tp:{index}")
            };
            if n == 0 {
                assert_eq!(value, b"[]");
                continue;
            }
            let chunk = transports(&salt, 1, value).unwrap();
            assert_eq!((chunk.list.len(), chunk.shape), (sizes[index], Shape::Bare));
            read.extend(chunk.list.into_iter().map(|it| it.transport));
        }
        assert_eq!((values.len(), read), (sizes.len(), all));
    }
    // Long texts make chunks smaller.
    let wide: Vec<_> = hub(300)
        .iter()
        .map(|it| Transport::new(it.edges[0], it.edges[1], &"<".repeat(64), "user"))
        .collect();
    let values = chunks(&wide);
    assert!(values.len() > 2 && values.iter().all(|value| value.len() <= MAX_VALUE_LEN));
}

#[test]
fn an_entry_counts_only_for_its_owner_and_with_its_signature() {
    let mut entry = Entry::new(key(1), 3, 1);
    entry.client = Some(ClientFields::default());
    let signed = entry.sign(&secret(1));
    let read_as = |n: u8, value: &[u8]| read(b"dmsg", &key(n), value);
    assert_eq!(
        read_as(1, signed.json()),
        Ok(Record::Entry(Box::new(signed.clone())))
    );
    assert_eq!(
        read_as(2, signed.json()),
        Err(ElementError::ForeignKey.into())
    );
    let text = String::from_utf8(signed.json().to_vec()).unwrap();
    let forged = text.replace("\"sequence\":3", "\"sequence\":4");
    assert!(matches!(
        read_as(1, forged.as_bytes()),
        Err(RecordError::Entry(_))
    ));
}

#[test]
fn services_of_the_owner_are_read_each_once() {
    let service = |n: u8, port, kind| {
        let address = ServiceAddress {
            key: Some(key(n)),
            port,
        };
        Service::new(address, &ServiceKind::of(kind))
    };
    let list = |services: &[Service]| {
        Services {
            list: services.to_vec(),
        }
        .to_json()
    };
    let read = |value: &[u8]| read(b"svc", &key(1), value);
    let both = [service(1, 3, "proxy"), service(1, 44, "vpn")];
    let value = list(&both);
    assert_eq!(
        read(&value),
        Ok(Record::Services(Services {
            list: both.to_vec()
        }))
    );
    assert!(
        String::from_utf8(value)
            .unwrap()
            .contains("\"type\":\"skysocks\"")
    );
    for (second, why) in [
        (service(2, 44, "vpn"), ElementError::ForeignKey),
        (service(1, 0, "vpn"), ElementError::NoPort),
        (service(1, 3, "skysocks"), ElementError::Twice),
        (
            service(1, 9, &"x".repeat(65)),
            ElementError::TooLong("type"),
        ),
    ] {
        let value = list(&[service(1, 3, "skysocks"), second]);
        assert_eq!(read(&value), Err(why.at(1)));
    }
    // `proxy` and `skysocks` are the same kind.
    let text = json!([
        {"address": format!("{}:3", key(1)), "type": "proxy"},
        {"address": format!("{}:3", key(1)), "type": "skysocks"},
    ]);
    assert_eq!(
        read(text.to_string().as_bytes()),
        Err(ElementError::Twice.at(1))
    );
    let early =
        json!({"pk": key(1), "port": 44, "type": "vpn", "version": "v1", "addr": "1.2.3.4"});
    let found = super::read(b"svc:vpn", &key(1), early.to_string().as_bytes());
    let Ok(Record::Services(found)) = found else {
        panic!("{found:?}")
    };
    assert_eq!(
        (found.list[0].kind(), found.list[0].address.port),
        (ServiceKind::Vpn, 44)
    );
}

#[test]
fn small_records_name_their_owner() {
    let address = json!({"remote_addr": "192.0.2.1:7", "port": "7", "addresses": ["10.0.0.1"]});
    let Ok(Record::Addresses(read_back)) =
        read(b"addr:stcpr", &key(1), address.to_string().as_bytes())
    else {
        panic!()
    };
    assert_eq!(read_back.network, Network::Stcpr);
    assert_eq!(read_back.visor.to_json(), address_text().as_bytes());
    for (salt, value) in [
        ("addr", json!({"pk": key(2), "port": 7})),
        (
            "dmsg-server",
            json!({"pk": key(2), "address": "192.0.2.1:80"}),
        ),
        ("fullnode", json!({"pk": key(2), "full_node": true})),
        ("svc:vpn", json!({"pk": key(2), "port": 7})),
    ] {
        let value = value.to_string();
        let read = |n| read(salt.as_bytes(), &key(n), value.as_bytes());
        assert!(read(2).is_ok(), "{salt}");
        assert_eq!(read(1), Err(ElementError::ForeignKey.into()), "{salt}");
    }
}

fn address_text() -> &'static str {
    r#"{"remote_addr":"192.0.2.1:7","port":"7","addresses":["10.0.0.1"]}"#
}

#[test]
fn numbers_are_read_to_the_last_digit() {
    for lat in [
        "6.666666666666666e+49",
        "0.1",
        "-103.25",
        "5e-324",
        "1.7976931348623157e+308",
    ] {
        let text = format!(
            r#"{{"address":"{}:3","type":"vpn","geo":{{"lat":{lat}}}}}"#,
            key(1)
        );
        let service: Service = serde_json::from_str(&text).unwrap();
        assert_eq!(String::from_utf8(service.to_json()).unwrap(), text);
    }
}
