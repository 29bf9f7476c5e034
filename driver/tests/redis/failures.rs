//! Tests of what can be wrong with a Redis, and of the errors then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use skydht_core::item::{Seq, Value};
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_driver::storage::{RedisStorage, Storage, StorageError};
use skydht_driver::testing::record;

use super::server::RedisServer;
use super::{TTL, all, keep, open, stored, version};

#[track_caller]
fn refused(url: &str, says: &[&str]) {
    let error = open(url).write(&[keep(&record(1))], false).unwrap_err();
    let text = error.to_string();
    for part in says {
        assert!(text.contains(part), "{text:?} without {part:?}");
    }
    assert!(!text.contains("secret"), "{text}");
    assert!(matches!(error, StorageError::Unavailable(_)), "{text}");
}

#[test]
fn each_failure_is_said_with_what_to_do_and_without_the_password() {
    let server = RedisServer::start(&["--requirepass", "other"]);
    let port = server.port;
    let tcp = |credentials: &str| format!("redis://{credentials}127.0.0.1:{port}");
    refused(&tcp(""), &["NOAUTH", "wants a password"]);
    refused(
        &tcp(":secret@"),
        &["WRONGPASS", "correct user and password"],
    );
    refused(&tcp("me:secret@"), &["WRONGPASS"]);
    refused(
        &format!("{}/99", tcp(":other@")),
        &["DB index", "choose a database"],
    );
    let cli = |words: &[&str]| server.cli(&[&["--no-auth-warning", "-a", "other"], words].concat());
    open(&tcp(":other@")).check().unwrap();

    cli(&[
        "acl", "setuser", "me", "on", ">secret", "~dht:*", "+@all", "-eval",
    ]);
    refused(&tcp("me:secret@"), &["NOPERM", "let the user run"]);
    cli(&["config", "set", "maxmemory", "1"]);
    refused(&tcp(":other@"), &["OOM", "raise maxmemory"]);
    cli(&["config", "set", "maxmemory", "0"]);
    cli(&["replicaof", "127.0.0.1", "1"]);
    cli(&["config", "set", "replica-serve-stale-data", "yes"]);
    refused(&tcp(":other@"), &["READONLY", "name the master"]);
    cli(&["replicaof", "no", "one"]);
    open(&tcp(":other@"))
        .write(&[keep(&record(1))], false)
        .unwrap();

    let open_server = RedisServer::start(&[]);
    let url = format!("redis://:secret@127.0.0.1:{}", open_server.port);
    refused(&url, &["it has no password"]);
    let gone = open_server.url();
    drop(open_server);
    refused(&gone, &["is it running"]);
    let url = url.replace("redis://", "rediss://");
    refused(&url, &["127.0.0.1"]);
}

#[test]
fn sync_is_refused_unless_redis_syncs_each_write() {
    let server = RedisServer::start(&[]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    let sync = |url: &str| RedisStorage::new(url.parse().unwrap(), TTL, true);
    let refused = |url: &str, says: &str| {
        let error = sync(url).write(&[keep(&record(1))], true).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StorageError::Unsuitable(_)), "{text}");
        assert!(text.contains(says) && text.contains("\"async\""), "{text}");
    };
    refused(&url, "appendonly no");
    server.cli(&["config", "set", "appendonly", "yes"]);
    refused(&url, "appendfsync everysec");
    server.cli(&["config", "set", "appendfsync", "always"]);
    let mut storage = sync(&url);
    storage.write(&[keep(&record(1))], true).unwrap();
    assert!(storage.is_durable());
    // A server that does not tell whether it syncs.
    server.cli(&["acl", "setuser", "me", "on", ">x", "~*", "+@all", "-config"]);
    refused(
        &format!("redis://me:x@127.0.0.1:{}", server.port),
        "config|get",
    );
    assert!(!open(&url).is_durable());
}

#[test]
fn foreign_damaged_and_oversized_values_are_counted_and_stop_nothing() {
    let server = RedisServer::start(&[]);
    let mut storage = open(&server.url());
    let key = |n: u64| format!("dht:{}", record(n).target);
    storage.write(&[keep(&record(0))], false).unwrap();
    server.cli(&["set", &key(1), "nonsense"]);
    server.cli(&["set", &key(2), ""]);
    server.cli(&["setrange", &key(3), "3000000", "x"]);
    server.cli(&["rpush", &key(4), "another program's"]);
    for foreign in ["dht:x", "dht:", "dht:DEAD", "other", &key(5).to_uppercase()] {
        server.cli(&["set", foreign, "x"]);
    }
    let page = storage.page(Default::default(), 100).unwrap();
    assert_eq!((page.kept.len(), page.damaged), (1, 4));
    for n in 1..=4 {
        assert_eq!(stored(&mut storage, &record(n).target), None);
        storage
            .write(&[StoreChange::Forget(record(n).target)], false)
            .unwrap();
    }
    assert_eq!(server.cli(&["strlen", &key(3)]), "3000001", "left alone");
    // The node's records replace the values under those targets, except another program's.
    let changes: Vec<StoreChange> = (1..=4).map(|n| keep(&record(n))).collect();
    storage.write(&changes, false).unwrap();
    for n in 1..=3 {
        assert_eq!(stored(&mut storage, &record(n).target), Some(record(n)));
    }
    assert_eq!(
        server.cli(&["lrange", &key(4), "0", "-1"]),
        "another program's"
    );
    // They are counted once, not at every scan.
    let mut other = open(&server.url()).with_scan_every(Duration::ZERO);
    let mut damaged = 0;
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        damaged += other.poll().unwrap().damaged;
    }
    assert_eq!(damaged, 1);
    // Another program uses the stream's key.
    server.cli(&["set", "dht:changes", "x"]);
    let error = open(&server.url()).poll().unwrap_err().to_string();
    assert!(error.contains("another database"), "{error}");
}

#[test]
fn the_largest_item_is_kept() {
    let server = RedisServer::start(&[]);
    let mut storage = open(&server.url());
    let mut largest = version("s", u64::MAX, "");
    largest.item.value = Value::from(vec![0xff; 65_536]);
    let secret = skydht_core::key::SecretKey::from_entropy(&[7; 32]);
    let salt = skydht_core::item::Salt::new(&[0xff; 200]);
    largest.item = skydht_core::item::Item::sign(&secret, Seq(u64::MAX), largest.item.value, salt);
    largest.target = largest.item.target();
    storage.write(&[keep(&largest)], false).unwrap();
    assert_eq!(stored(&mut storage, &largest.target), Some(largest));
}

/// Writes until `stop` is set, and returns everything that was acknowledged.
fn write_on(storage: &mut RedisStorage, stop: &AtomicBool) -> (Vec<StoredRecord>, u32) {
    let (mut acknowledged, mut failures) = (Vec::new(), 0);
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        let records: Vec<StoredRecord> = (n..n + 5).map(record).collect();
        let changes: Vec<StoreChange> = records.iter().map(keep).collect();
        match storage.write(&changes, true) {
            Ok(()) => {
                acknowledged.extend(records);
                n += 5;
            }
            Err(StorageError::Unavailable(_)) => failures += 1,
            Err(other) => panic!("{other}"),
        }
    }
    (acknowledged, failures)
}

#[test]
fn nothing_acknowledged_is_lost_when_redis_is_killed_under_load() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let url = server.url();
    let mut storage = RedisStorage::new(url.parse().unwrap(), TTL, true);
    storage.check().unwrap();
    let stop = AtomicBool::new(false);
    let (acknowledged, failures) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_on(&mut storage, &stop));
        let mut reader = open(&url);
        for kills in 1..=5 {
            // Wait until more records have been written since the last kill.
            while all(&mut reader).len() < kills * 50 {}
            server.kill();
            server.launch();
            reader = open(&url);
        }
        stop.store(true, Ordering::SeqCst);
        writer.join().unwrap()
    });
    let found = all(&mut open(&url));
    assert!(
        failures > 0 && acknowledged.len() >= 200,
        "{failures}, {}",
        acknowledged.len()
    );
    for record in &acknowledged {
        assert_eq!(found.get(&record.target), Some(record));
    }
}
