//! Items outlast the process that holds them.

mod support;

use std::time::Instant;

use serde_json::Value;
use support::{DEADLINE, Node, TempDir, signal};

fn status(node: &Node, home: &TempDir) -> Value {
    node.run(home, &["status", "--json"]).exits(0).json()
}

/// Asks for the status until it is so.
#[track_caller]
fn until(node: &Node, home: &TempDir, what: &str, holds: impl Fn(&Value) -> bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let status = status(node, home);
        if holds(&status) {
            return;
        }
        assert!(Instant::now() < end, "not {what}: {status:#}");
    }
}

/// Starts a full node in this directory, with more arguments.
fn full_node(home: &TempDir, more: &[&str]) -> Node {
    let run = ["run", "--listen", "127.0.0.1:0", "--full-node"];
    Node::start_with(home, "full", &[&run[..], more].concat())
}

/// Lets another node publish `n` items at `to`, and stops it; its key.
fn publish(home: &TempDir, to: &Node, n: usize) -> String {
    let owner = Node::start(home, "owner", &[to]);
    until(&owner, home, "ready", |status| status["ready"] == true);
    for index in 0..n {
        let (value, salt) = (format!("value {index}"), format!("s{index}"));
        let put = owner.run(home, &["put", &value, "--salt", &salt]);
        put.exits(0);
    }
    let key = owner.text("key").to_owned();
    owner.run(home, &["stop"]).exits(0);
    owner.wait();
    key
}

#[track_caller]
fn holds(node: &Node, home: &TempDir, key: &str, n: usize) {
    until(node, home, "loaded", |status| {
        status["store"]["items"] == n && status["storage"]["health"] == "good"
    });
    for index in 0..n {
        let salt = format!("s{index}");
        let get = ["get", key, "--salt", &salt, "--policy", "local"];
        let got = node.run(home, &get).exits(0);
        assert!(got.text().starts_with(&format!("value {index}")), "{got:?}");
    }
}

#[test]
fn items_outlast_a_stop_and_a_kill() {
    let home = TempDir::new();
    let full = full_node(&home, &[]);
    let key = publish(&home, &full, 3);
    assert_eq!(status(&full, &home)["storage"]["kind"], "file");
    full.run(&home, &["stop"]).exits(0);
    assert_eq!(full.wait(), Some(0));

    let full = full_node(&home, &[]);
    holds(&full, &home, &key, 3);
    assert_eq!(status(&full, &home)["storage"]["loaded"], 3);
    full.run(&home, &["stop"]).exits(0);
    full.wait();

    // With sync nothing waits for the end, and nothing is lost without one.
    let config = home.path().join("sync.json");
    std::fs::write(&config, r#"{"durability": "sync"}"#).unwrap();
    let sync = ["--config", config.to_str().unwrap()];
    let full = full_node(&home, &sync);
    let key = publish(&home, &full, 5);
    until(&full, &home, "written", |status| {
        status["storage"]["waiting"] == 0
            && status["storage"]["written"].as_u64().unwrap_or_default() >= 5
    });
    signal(full.pid(), "KILL");
    full.wait();
    let full = full_node(&home, &sync);
    holds(&full, &home, &key, 5);
}

#[test]
fn without_storage_there_is_no_file_and_the_status_says_none() {
    let home = TempDir::new();
    let config = home.path().join("none.json");
    std::fs::write(&config, r#"{"storage": "none"}"#).unwrap();
    let full = full_node(&home, &["--config", config.to_str().unwrap()]);
    publish(&home, &full, 1);
    assert_eq!(status(&full, &home)["storage"]["health"], "none");
    assert!(!home.path().join("full/items.redb").exists());
}

#[test]
fn a_file_that_is_damaged_or_of_another_key_is_put_aside() {
    let home = TempDir::new();
    let dir = home.path().join("full");
    let full = full_node(&home, &[]);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    std::fs::write(dir.join("items.redb"), "nonsense").unwrap();
    let full = full_node(&home, &[]);
    assert_eq!(status(&full, &home)["storage"]["health"], "good");
    let aside = std::fs::read_to_string(dir.join("items.redb.damaged-1"));
    assert_eq!(aside.unwrap(), "nonsense");
    full.run(&home, &["stop"]).exits(0);
    full.wait();

    std::fs::remove_file(dir.join("node.key")).unwrap();
    let full = full_node(&home, &[]);
    assert_eq!(status(&full, &home)["storage"]["health"], "good");
    assert!(dir.join("items.redb.other-key-1").exists());
}

#[test]
fn a_stopped_nodes_items_are_counted_exported_imported_and_compacted() {
    let home = TempDir::new();
    let full = full_node(&home, &[]);
    let key = publish(&home, &full, 3);
    let dir = home.join("full");
    let store = |words: &[&str]| {
        let words = [&["--state-dir", &dir, "store"], words].concat();
        support::run(&home, &words)
    };
    let in_use = store(&["stats"]);
    assert!(
        in_use.stderr.contains("in use") && in_use.stderr.contains("skydht stop"),
        "{in_use:?}"
    );
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let stats = store(&["stats", "--json"]).exits(0).json();
    assert_eq!(
        (&stats["items"], &stats["unproven"]),
        (&3.into(), &0.into())
    );
    let lines = store(&["export"]).exits(0);
    assert_eq!(lines.text().lines().count(), 3);

    // Into an empty file, between lines that are no items.
    let mut text = format!("nonsense\n\n{}", lines.text());
    text.push_str(
        &lines
            .text()
            .lines()
            .next()
            .unwrap()
            .replace("\"seq\":1", "\"seq\":2"),
    );
    std::fs::write(home.path().join("items.jsonl"), &text).unwrap();
    std::fs::remove_file(home.path().join("full/items.redb")).unwrap();
    let full = full_node(&home, &[]);
    full.run(&home, &["stop"]).exits(0);
    full.wait();
    let file = home.join("items.jsonl");
    let imported = store(&["import", "--json", "--file", &file]).exits(5);
    assert!(
        imported.stderr.contains("line 1 is left out"),
        "{imported:?}"
    );
    let imported = imported.json();
    assert_eq!(
        (&imported["imported"], &imported["refused"]),
        (&3.into(), &2.into())
    );
    assert_eq!(
        store(&["import", "--json", "--file", &file]).json()["held"],
        3
    );
    store(&["check"]).exits(0);
    store(&["compact"]).exits(0);
    let full = full_node(&home, &[]);
    holds(&full, &home, &key, 3);
}
