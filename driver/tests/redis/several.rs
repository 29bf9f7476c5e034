//! Tests with several servers: sentinels that fail over, and a cluster that moves its slots.

use std::time::{Duration, Instant};

use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_driver::storage::{RedisStorage, Storage};
use skydht_driver::testing::{record, storage_conformance};

use super::server::RedisServer;
use super::{all, keep, news, open, stored};

const DEADLINE: Duration = Duration::from_secs(60);

/// Repeats until `holds` returns true.
#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "not {what}");
        std::thread::yield_now();
    }
}

/// Repeats a write until it succeeds.
fn write(storage: &mut RedisStorage, changes: &[StoreChange]) {
    until("written", || storage.write(changes, false).is_ok());
}

#[test]
fn the_sentinels_master_is_followed_and_what_it_lost_is_written_again() {
    let mut master = RedisServer::start(&[]);
    let (master_port, replica_port) = (master.port.to_string(), ());
    let () = replica_port;
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &master_port]);
    let lines = format!(
        "sentinel monitor main 127.0.0.1 {master_port} 1\n\
         sentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 5000\n"
    );
    let sentinel = RedisServer::sentinel(&lines);
    until("a replica", || {
        replica
            .cli(&["info", "replication"])
            .contains("master_link_status:up")
    });
    until("known", || {
        sentinel
            .cli(&["sentinel", "replicas", "main"])
            .contains(&replica.port.to_string())
    });
    let url = format!(
        "redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main",
        sentinel.port
    );
    let mut storage = open(&url);
    let records: Vec<StoredRecord> = (0..300).map(record).collect();
    let changes: Vec<StoreChange> = records.iter().map(keep).collect();
    storage.write(&changes[..200], false).unwrap();
    until("replicated", || replica.cli(&["dbsize"]) == "201");
    // Writes after the replica has lost its master are lost with the master.
    replica.cli(&["config", "set", "masterauth", "x"]);
    replica.cli(&["client", "kill", "type", "master"]);
    storage.write(&changes[200..250], false).unwrap();
    master.kill();
    let refused = storage
        .write(&changes[250..], false)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("redis+sentinel://"), "{refused}");
    write(&mut storage, &changes[250..]);
    assert_eq!(replica.cli(&["role"]).lines().next(), Some("master"));
    let mut wanted = Vec::new();
    until("all wanted again", || {
        wanted.extend(storage.poll().unwrap().wanted);
        let lost = |it: &&StoredRecord| stored(&mut open(&replica.url()), &it.target).is_none();
        records
            .iter()
            .filter(lost)
            .all(|it| wanted.contains(&it.target))
    });
    let again: Vec<StoreChange> = records
        .iter()
        .filter(|it| wanted.contains(&it.target))
        .map(keep)
        .collect();
    storage.write(&again, false).unwrap();
    assert_eq!(all(&mut storage).len(), records.len());
}

#[test]
fn a_cluster_conforms_and_its_slots_may_move_under_load() {
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let servers: Vec<RedisServer> = (0..3).map(|_| RedisServer::start(&arguments)).collect();
    for (n, server) in servers.iter().enumerate() {
        let (first, last) = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)][n];
        server.cli(&[
            "cluster",
            "addslotsrange",
            &first.to_string(),
            &last.to_string(),
        ]);
        server.cli(&["cluster", "set-config-epoch", &(n + 1).to_string()]);
    }
    for server in &servers[1..] {
        servers[0].cli(&["cluster", "meet", "127.0.0.1", &server.port.to_string()]);
    }
    for server in &servers {
        until("one cluster", || {
            let info = server.cli(&["cluster", "info"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        });
    }
    // The first server of the URL does not exist.
    let url = format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", servers[1].port);
    storage_conformance(|| open(&url));
    for server in &servers {
        server.cli(&["flushall"]);
    }

    let (mut near, mut far) = (open(&url), open(&url));
    far.check().unwrap();
    let records: Vec<StoredRecord> = (0..500).map(record).collect();
    let changes: Vec<StoreChange> = records.iter().map(keep).collect();
    write(&mut near, &changes[..250]);
    assert_eq!(news(&mut far, &records[..250]).len(), 250);
    assert!(servers.iter().all(|server| server.cli(&["dbsize"]) != "0"));

    // Move a third of the first server's slots to the third one while the rest is written.
    let [first, third] = [0, 2].map(|n: usize| &servers[n]);
    let ids = [first, third].map(|server| server.cli(&["cluster", "myid"]));
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            for slot in (0..5_460).step_by(30) {
                let slot = slot.to_string();
                third.cli(&["cluster", "setslot", &slot, "importing", &ids[0]]);
                first.cli(&["cluster", "setslot", &slot, "migrating", &ids[1]]);
                loop {
                    let keys = first.cli(&["cluster", "getkeysinslot", &slot, "100"]);
                    if keys.is_empty() {
                        break;
                    }
                    let port = third.port.to_string();
                    let mut words = vec!["migrate", "127.0.0.1", &port, "", "0", "5000", "keys"];
                    words.extend(keys.lines());
                    first.cli(&words);
                }
                for server in [third, first] {
                    server.cli(&["cluster", "setslot", &slot, "node", &ids[1]]);
                }
            }
        });
        for some in changes[250..].chunks(10) {
            write(&mut near, some);
        }
        moving.join().unwrap();
    });
    write(&mut near, &changes);
    assert_eq!(all(&mut open(&url)).len(), records.len());
    let mut seen: Vec<StoredRecord> = Vec::new();
    until("all seen", || {
        if let Ok(news) = far.poll() {
            seen.extend(news.kept.into_iter().map(|kept| kept.record));
        }
        records[250..].iter().all(|record| seen.contains(record))
    });
}
