//! Values of the discoveries' salts, compared with a simple parser of the same JSON.

use std::sync::LazyLock;

use serde_json::Value;
use skydht_core::item::MAX_VALUE_LEN;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_discovery::record::{Record, Services, Transport, Transports, chunks, read, schema_of};

/// A salt of each row of the table, and some of no row.
const SALTS: [&str; 12] = [
    "dmsg",
    "tp",
    "tp:1",
    "svc",
    "svc:vpn",
    "addr",
    "addr:stcpr",
    "addr:sudph",
    "dmsg-server",
    "fullnode",
    "tp:x",
    "",
];

static KEYS: LazyLock<[PublicKey; 4]> =
    LazyLock::new(|| std::array::from_fn(|n| SecretKey::from_entropy(&[n as u8 + 1; 32]).public()));

/// Input: salt and owner, then a value in which the bytes 1 to 4 stand for the texts of four keys.
///
/// - Everything in the value is read: as many transports or services as the list has.
/// - A transport belongs to the owner, has the id of its edges and type, and occurs once.
/// - A list that is written is read as the same list, in chunks that fit an item.
/// - A removed record is empty, and an empty record counts as removed.
pub fn records(data: &[u8]) {
    let [salt, owner, text @ ..] = data else {
        return;
    };
    let salt = SALTS[usize::from(*salt) % SALTS.len()];
    let owner = KEYS[usize::from(*owner) % KEYS.len()];
    let mut value = Vec::new();
    for byte in text {
        match byte {
            1..=4 => value.extend_from_slice(KEYS[usize::from(byte - 1)].to_string().as_bytes()),
            other => value.push(*other),
        }
    }
    let found = read(salt.as_bytes(), &owner, &value);
    let Ok(record) = found else {
        return;
    };
    assert!(schema_of(salt.as_bytes()).is_some_and(|row| value.len() <= row.longest));
    // In ignored members, invalid UTF-8 and numbers that are too large are skipped, as in Go. The
    // simple parser does not accept such numbers and then gives no result.
    let plain = serde_json::from_str::<Value>(&String::from_utf8_lossy(&value));
    let says_nothing = match &plain {
        Ok(Value::Null) => true,
        Ok(Value::Array(list)) => list.is_empty(),
        Ok(Value::Object(members)) => members.is_empty(),
        Ok(_) => false,
        // Only whitespace that JSON permits.
        Err(_) => value.iter().all(|byte| b" \t\n\r".contains(byte)),
    };
    assert_eq!(record == Record::Deleted, says_nothing);
    match record {
        Record::Deleted => {}
        Record::Transports(transports) => {
            listed(&owner, &transports, plain.ok().as_ref());
        }
        Record::Services(services) if salt == "svc" => {
            if let Ok(plain) = &plain {
                let there = plain.as_array().map(Vec::len);
                assert_eq!(there, Some(services.list.len()));
            }
            let written = services.to_json();
            if written.len() <= MAX_VALUE_LEN {
                let again = read(b"svc", &owner, &written);
                assert_eq!(again, Ok(Record::Services(services)));
            }
        }
        Record::Services(Services { list }) => assert_eq!(list.len(), 1),
        Record::Entry(entry) => {
            assert_eq!(entry.entry().key, owner);
            assert!(entry.verify_stored().is_ok());
        }
        Record::Addresses(_) | Record::Server(_) | Record::Advert(_) => {
            assert!(plain.map_or(true, |plain| plain.is_object()));
        }
    }
}

fn listed(owner: &PublicKey, transports: &Transports, plain: Option<&Value>) {
    if let Some(plain) = plain {
        let there = plain.get("ts").unwrap_or(plain);
        assert_eq!(there.as_array().map(Vec::len), Some(transports.list.len()));
    }
    let list: Vec<Transport> = transports
        .list
        .iter()
        .map(|listed| listed.transport.clone())
        .collect();
    for transport in &list {
        assert!(transport.edges.contains(owner));
        assert_eq!(transport.validate(), Ok(()));
    }
    let mut again = Vec::new();
    for value in chunks(&list) {
        assert!(value.len() <= MAX_VALUE_LEN);
        match read(b"tp", owner, &value) {
            Ok(Record::Transports(chunk)) => {
                again.extend(chunk.list.into_iter().map(|listed| listed.transport));
            }
            Ok(Record::Deleted) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(again, list);
}
