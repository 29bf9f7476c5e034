//! Processes that are killed while they write: with `sync`, everything acknowledged must be
//! restored.

#![cfg(unix)]

#[path = "../../driver/tests/redis/server.rs"]
mod server;
mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::Value;
use server::RedisServer;
use support::{DEADLINE, Node, TempDir, signal};

const KILLS: usize = 20;
/// Number of puts per life of the process that are acknowledged.
const WAITED_FOR: usize = 3;

fn start(home: &TempDir, config: &str) -> Node {
    let run = ["run", "--listen", "127.0.0.1:0", "--full-node"];
    Node::start_with(home, "full", &[&run[..], &["--config", config]].concat())
}

fn put(dir: &str, home: &TempDir, salt: &str) -> bool {
    // Without peers, only the node itself stores the item.
    let ran = support::run(home, &["put", salt, "--salt", salt, "--state-dir", dir]);
    ran.code == Some(5)
}

#[track_caller]
fn holds(node: &Node, home: &TempDir, salts: &[String]) {
    for salt in salts {
        let end = Instant::now() + DEADLINE;
        let get = ["get", "self", "--salt", salt, "--policy", "local"];
        loop {
            let got = node.run(home, &get);
            if got.code == Some(0) {
                assert!(got.text().starts_with(salt.as_str()), "{got:?}");
                break;
            }
            assert!(Instant::now() < end, "{salt} is lost: {got:?}");
        }
    }
}

/// Waits until storage has acknowledged everything.
#[track_caller]
fn written(node: &Node, home: &TempDir, at_least: u64) {
    let end = Instant::now() + DEADLINE;
    loop {
        let status: Value = node.run(home, &["status", "--json"]).exits(0).json();
        let storage = &status["storage"];
        let count = storage["written"].as_u64().unwrap_or_default();
        if storage["waiting"] == 0 && count >= at_least {
            return;
        }
        assert!(Instant::now() < end, "not written: {storage:#}");
    }
}

/// Kills the node, or what `instead` kills, repeatedly while it writes, and checks the items.
fn kill_and_look(config: &Value, mut instead: impl FnMut(usize) -> bool) {
    let home = TempDir::new();
    let path = home.join("c.json");
    std::fs::write(&path, config.to_string()).unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut node = start(&home, &path);
    for kill in 0..KILLS {
        let recent = acknowledged.len().saturating_sub(2 * WAITED_FOR);
        holds(&node, &home, &acknowledged[recent..]);
        for n in 0..WAITED_FOR {
            let salt = format!("s{kill}-{n}");
            assert!(put(&node.dir, &home, &salt), "{salt}");
            acknowledged.push(salt);
        }
        written(&node, &home, 1);
        let (stop, begun) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let (home, dir) = (&home, node.dir.as_str());
            let (stop, begun) = (&stop, &begun);
            scope.spawn(move || {
                let mut n = 0;
                while !stop.load(Ordering::SeqCst) && n < 1_000 {
                    // These puts may or may not be stored.
                    put(dir, home, &format!("open-{kill}-{n}"));
                    begun.store(true, Ordering::SeqCst);
                    n += 1;
                }
            });
            while !begun.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
            if !instead(kill) {
                signal(node.pid(), "KILL");
            }
            stop.store(true, Ordering::SeqCst);
        });
        if node.run(&home, &["status"]).code != Some(0) {
            node.wait();
            node = start(&home, &path);
        }
    }
    holds(&node, &home, &acknowledged);
    let status = node.run(&home, &["status", "--json"]).exits(0).json();
    assert_eq!(status["storage"]["damaged"], 0, "{status:#}");
}

#[test]
fn a_file_keeps_what_it_acknowledged_through_20_kills() {
    let config = serde_json::json!({"durability": "sync"});
    kill_and_look(&config, |_| false);
}

/// The node and Redis are killed in turn.
#[test]
fn redis_keeps_what_it_acknowledged_through_20_kills() {
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let config = serde_json::json!({"durability": "sync", "storage": server.url()});
    kill_and_look(&config, |kill| {
        let is_redis = kill % 2 == 1;
        if is_redis {
            server.kill();
            server.launch();
        }
        is_redis
    });
}
