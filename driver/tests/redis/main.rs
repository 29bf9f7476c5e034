//! Tests of storage in Redis, with real servers.

#![cfg(all(feature = "redis", unix))]

mod failures;
mod server;
mod several;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use server::RedisServer;
use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::store::merge::Rank;
use skydht_core::time::Unix;
use skydht_driver::storage::{RedisStorage, Storage};
use skydht_driver::testing::{record, storage_conformance};

const TTL: Duration = Duration::from_secs(7_200);
const FAR: Unix = Unix(4_000_000_000_000_000_000);

fn open(url: &str) -> RedisStorage {
    RedisStorage::new(url.parse().unwrap(), TTL, false)
}

fn version(salt: &str, seq: u64, value: &str) -> StoredRecord {
    let secret = SecretKey::from_entropy(&[7; 32]);
    let item = Item::sign(
        &secret,
        Seq(seq),
        Value::from(value.as_bytes().to_vec()),
        Salt::from(salt),
    );
    StoredRecord {
        target: item.target(),
        vouched: Unix(1_790_000_000_000_000_000),
        expires: Some(FAR),
        item,
        bound: None,
    }
}

fn keep(record: &StoredRecord) -> StoreChange {
    StoreChange::Keep(Box::new(record.clone()))
}

fn stored(storage: &mut RedisStorage, target: &Target) -> Option<StoredRecord> {
    storage.get(target).unwrap().map(|kept| kept.record)
}

/// Returns everything, by target.
fn all(storage: &mut RedisStorage) -> BTreeMap<Target, StoredRecord> {
    let (mut found, mut from) = (BTreeMap::new(), Some(Target::default()));
    while let Some(target) = from {
        let page = storage.page(target, 256).unwrap();
        found.extend(
            page.kept
                .into_iter()
                .map(|it| (it.record.target, it.record)),
        );
        from = page.next;
    }
    found
}

/// Polls until these records have arrived, and returns everything that arrived.
#[track_caller]
fn news(storage: &mut RedisStorage, awaited: &[StoredRecord]) -> Vec<StoredRecord> {
    let end = Instant::now() + Duration::from_secs(30);
    let mut came = Vec::new();
    while !awaited.iter().all(|record| came.contains(record)) {
        assert!(Instant::now() < end, "{came:#?} and not {awaited:#?}");
        let news = storage.poll().unwrap();
        came.extend(news.kept.into_iter().map(|kept| {
            assert!(!kept.proven, "nothing is believed");
            kept.record
        }));
        std::thread::yield_now();
    }
    came
}

#[test]
fn redis_conforms() {
    let server = RedisServer::start(&[]);
    storage_conformance(|| open(&server.url()));
    server.cli(&["flushall"]);
    let tcp = format!("redis://127.0.0.1:{}/3", server.port);
    storage_conformance(|| open(&tcp));
    assert_eq!(
        server.cli(&["-n", "3", "dbsize"]),
        "51",
        "records and changes"
    );
}

#[test]
fn what_one_writes_comes_to_the_others_once_and_not_to_itself() {
    let server = RedisServer::start(&[]);
    let mut nodes: Vec<RedisStorage> = (0..3).map(|_| open(&server.url())).collect();
    for node in &mut nodes {
        assert!(all(node).is_empty());
    }
    let records: Vec<StoredRecord> = (0..600).map(record).collect();
    let changes: Vec<StoreChange> = records.iter().map(keep).collect();
    nodes[0].write(&changes, false).unwrap();
    for node in &mut nodes[1..] {
        assert_eq!(news(node, &records).len(), records.len());
        assert!(node.poll().unwrap().kept.is_empty(), "once");
    }
    assert!(nodes[0].poll().unwrap().kept.is_empty(), "its own");
    // A renewal is reported, too; an identical record is not even written.
    let mut renewed = records[1].clone();
    renewed.expires = Some(FAR.plus(TTL));
    nodes[1]
        .write(&[keep(&renewed), keep(&records[2])], false)
        .unwrap();
    assert_eq!(news(&mut nodes[0], &[renewed.clone()]), [renewed]);
}

/// Writers that write ranks in different orders, and a reader that polls.
#[test]
fn interleaved_writers_never_lower_a_rank() {
    const WRITERS: u64 = 4;
    const VERSIONS: u64 = 400;
    let server = RedisServer::start(&[]);
    let salts = ["a", "b", "c", "d"];
    let targets = salts.map(|salt| version(salt, 1, "").target);
    let done = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (url, done) = (server.url(), &done);
            scope.spawn(move || {
                let mut storage = open(&url);
                let index = usize::try_from(writer).unwrap();
                for n in 0..VERSIONS {
                    // Each writer has an order of its own, with equal sequences among writers.
                    let seq = 1 + (n * [3, 7, 9, 11][index] + writer * 101) % VERSIONS;
                    let changes = salts.map(|salt| keep(&version(salt, seq, &writer.to_string())));
                    storage.write(&changes, false).unwrap();
                }
                done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            });
        }
        let mut reader = open(&server.url());
        let mut ranks: BTreeMap<Target, Rank> = BTreeMap::new();
        let mut rises = 0;
        while done.load(std::sync::atomic::Ordering::SeqCst) < WRITERS {
            for target in &targets {
                let Some(record) = stored(&mut reader, target) else {
                    continue;
                };
                let rank = Rank::of(target, &record.item);
                let before = ranks.insert(*target, rank);
                assert!(before.is_none_or(|before| before <= rank), "a rank fell");
                rises += u32::from(before.is_some_and(|before| before < rank));
            }
        }
        assert!(rises > 0, "nothing was seen to change");
    });
    for salt in salts {
        let best = (0..WRITERS).map(|writer| version(salt, VERSIONS, &writer.to_string()));
        let best = best
            .max_by_key(|it| Rank::of(&it.target, &it.item))
            .unwrap();
        assert_eq!(stored(&mut open(&server.url()), &best.target), Some(best));
    }
}

#[test]
fn the_higher_rank_that_another_wrote_stays_and_is_reported() {
    let server = RedisServer::start(&[]);
    let (mut near, mut far) = (open(&server.url()), open(&server.url()));
    near.check().unwrap();
    let (old, new) = (version("s", 1, "old"), version("s", 2, "new"));
    far.write(&[keep(&new)], false).unwrap();
    near.write(&[keep(&old)], false).unwrap();
    let alone = std::slice::from_ref(&new);
    assert_eq!(news(&mut near, alone), alone);
    assert_eq!(stored(&mut near, &new.target), Some(new.clone()));
    // A record with an invalid signature does not stay, whatever rank it claims.
    let mut forged = new.clone();
    forged.item.seq = Seq(9);
    let json = serde_json::json!({
        "k": forged.item.key, "seq": 9, "sig": forged.item.signature, "v": forged.item.value,
        "salt": forged.item.salt, "vouched": 1, "expires": FAR.0,
    });
    let key = format!("dht:{}", new.target);
    server.cli(&["set", &key, &json.to_string()]);
    assert_eq!(stored(&mut near, &new.target).unwrap().item.seq, Seq(9));
    near.write(&[keep(&new)], false).unwrap();
    assert_eq!(stored(&mut near, &new.target), Some(new.clone()));
    // Nor does an expired one, nor an equal one with a wrong signature.
    let mut over = version("s", 7, "over");
    over.expires = Some(Unix(1_780_000_000_000_000_000));
    let mut unsigned = new.clone();
    unsigned.item.signature = over.item.signature;
    for other in [over, unsigned] {
        server.cli(&["set", &key, &as_upstream(&other)]);
        near.write(&[keep(&new)], false).unwrap();
        assert_eq!(stored(&mut near, &new.target), Some(new.clone()));
    }
}

/// Encodes an item as Go programs do if `expires` is `None`.
fn as_upstream(record: &StoredRecord) -> String {
    let item = &record.item;
    let mut json = serde_json::json!({
        "k": item.key, "seq": item.seq, "sig": item.signature, "v": item.value, "salt": item.salt,
    });
    if let Some(expires) = record.expires {
        json["vouched"] = record.vouched.0.into();
        json["expires"] = expires.0.into();
    }
    json.to_string()
}

#[test]
fn a_forgotten_record_goes_when_it_is_over_or_forged_and_else_stays() {
    let server = RedisServer::start(&[]);
    let mut storage = open(&server.url());
    let living = version("living", 1, "v");
    let mut over = version("over", 1, "v");
    over.expires = Some(Unix(1_780_000_000_000_000_000));
    let mut forged = version("forged", 1, "v");
    forged.item.seq = Seq(2);
    let mut timeless = version("timeless", 1, "v");
    timeless.expires = None;
    let mut lapsed = version("lapsed", 1_780_000_000_000_000_000, "v");
    lapsed.expires = None;
    let records = [&living, &over, &forged, &timeless, &lapsed];
    for record in records {
        let key = format!("dht:{}", record.target);
        server.cli(&["set", &key, &as_upstream(record)]);
    }
    let forget = records.map(|record| StoreChange::Forget(record.target));
    // Of values without a life, only those that the node has verified are removed.
    storage.write(&forget[3..4], false).unwrap();
    assert!(stored(&mut storage, &timeless.target).is_some());
    assert_eq!(all(&mut storage).len(), 5);
    storage.write(&forget, false).unwrap();
    let left: Vec<Target> = all(&mut storage).into_keys().collect();
    assert_eq!(left, [living.target]);
}

#[test]
fn redis_drops_a_record_by_itself_when_it_expires() {
    let server = RedisServer::start(&[]);
    let mut storage = open(&server.url());
    let (finite, mut endless) = (version("finite", 1, "v"), version("endless", 1, "v"));
    endless.expires = None;
    storage
        .write(&[keep(&finite), keep(&endless)], false)
        .unwrap();
    let ttl = |record: &StoredRecord| server.cli(&["pttl", &format!("dht:{}", record.target)]);
    let left: u64 = ttl(&finite).parse().unwrap();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
    let expected = FAR.0 / 1_000_000 - u64::try_from(now.as_millis()).unwrap();
    assert!(left.abs_diff(expected) < 60_000, "{left} for {expected}");
    assert_eq!(ttl(&endless), "-1");
}

#[test]
fn writers_that_announce_nothing_are_found_and_what_is_lost_is_wanted_again() {
    let server = RedisServer::start(&[]);
    let mut storage = open(&server.url()).with_scan_every(Duration::from_millis(10));
    let ours: Vec<StoredRecord> = (0..700).map(record).collect();
    let changes: Vec<StoreChange> = ours.iter().map(keep).collect();
    storage.write(&changes, false).unwrap();
    let mut theirs = version("theirs", 5, "by plain SET");
    theirs.expires = None;
    theirs.vouched = Unix(0);
    let key = format!("dht:{}", theirs.target);
    server.cli(&["set", &key, &as_upstream(&theirs)]);
    assert_eq!(news(&mut storage, &[theirs.clone()]), [theirs]);
    // An older version over a newer one is reported, so that the node writes its own again.
    let mut older = ours[4].clone();
    older.item = version("record-4", 1, "older").item;
    let key = format!("dht:{}", older.target);
    server.cli(&["set", &key, &as_upstream(&older)]);
    assert_eq!(news(&mut storage, &[older.clone()]), [older]);
    server.cli(&["flushall"]);
    let mut wanted = Vec::new();
    let end = Instant::now() + Duration::from_secs(30);
    while wanted.len() < 701 {
        assert!(Instant::now() < end, "{} are wanted again", wanted.len());
        wanted.extend(storage.poll().unwrap().wanted);
    }
    wanted.sort_unstable();
    wanted.dedup();
    assert_eq!(wanted.len(), 701, "each once");
}

#[test]
fn a_gap_in_the_stream_of_changes_is_noticed_and_made_up_for() {
    let server = RedisServer::start(&[]);
    let (mut near, mut far) = (open(&server.url()), open(&server.url()));
    far.write(&[keep(&record(0))], false).unwrap();
    near.check().unwrap();
    // Announced, but dropped from the stream before it was read: by its length, or with the stream.
    for (n, drop) in [
        (1, &["xtrim", "dht:changes", "maxlen", "0"][..]),
        (2, &["del", "dht:changes"]),
    ] {
        far.write(&[keep(&record(n))], false).unwrap();
        server.cli(drop);
        assert!(news(&mut near, &[record(n)]).contains(&record(n)));
        // Reading continues with the new stream.
        far.write(&[keep(&record(n + 10))], false).unwrap();
        assert_eq!(news(&mut near, &[record(n + 10)]), [record(n + 10)]);
    }
}
