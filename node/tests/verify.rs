//! Verification of own items, and tasks' success times across restarts.

mod support;

use std::time::Instant;

use serde_json::Value;
use support::{DEADLINE, Node, TempDir, status, until};

/// Starts a node that bootstraps from `peer` and stores items in memory only.
fn forgetful(home: &TempDir, name: &str, peer: &Node) -> Node {
    let peer = peer.address();
    let run = ["run", "--listen", "127.0.0.1:0", "--storage", "none"];
    let node = Node::start_with(home, name, &[&run[..], &["--bootstrap", &peer]].concat());
    until(&node, home, "joined", |status| status["ready"] == true);
    node
}

#[test]
fn an_item_that_its_holders_lost_is_named_and_the_verdict_remembers() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let holders = ["b", "c"].map(|name| forgetful(&home, name, &a));
    a.knows(2);
    let nothing = a.run(&home, &["verify"]).exits(0);
    assert!(nothing.stderr.contains("skydht put"), "{nothing:?}");
    a.run(&home, &["put", "v", "--salt", "x"]).exits(0);
    let found = a.run(&home, &["verify"]).exits(0);
    assert_eq!(found.text(), "x 2/2\n");
    let unknown = a.run(&home, &["verify", "y"]).exits(4);
    assert!(unknown.stderr.contains("skydht ls"), "{unknown:?}");

    // Nodes with the same keys, but without items.
    holders.into_iter().for_each(Node::kill);
    let holders = ["b", "c"].map(|name| forgetful(&home, name, &a));
    let end = Instant::now() + DEADLINE;
    for holder in &holders {
        let ping = ["ping", holder.text("key")];
        while a.run(&home, &ping).code != Some(0) {
            assert!(Instant::now() < end, "not found again");
        }
    }
    let lost = a.run(&home, &["verify", "--all", "--json"]).exits(5).json();
    assert_eq!(lost["items"][0]["outcome"], "lost", "{lost:#}");
    assert_eq!(lost["items"][0]["asked"], 2, "{lost:#}");
    let seen = status(&a, &home);
    let reasons = seen["reasons"].to_string();
    assert!(
        reasons.contains("not where readers look for them"),
        "{seen:#}"
    );
    assert!(reasons.contains("x 0/2 lost"), "{seen:#}");
    assert_eq!(seen["verified"]["items"], 1);
    // The read restored the items at the holders, which the next verification finds; the verdict is
    // as before.
    while a.run(&home, &["verify", "x"]).code != Some(0) {
        assert!(Instant::now() < end, "not repaired");
    }
    let reasons = status(&a, &home)["reasons"].to_string();
    assert!(!reasons.contains("not where readers"), "{reasons}");
    drop(holders);
}

fn task<'a>(status: &'a Value, name: &str) -> &'a Value {
    let tasks = status["tasks"].as_array().unwrap();
    tasks.iter().find(|it| it["task"] == name).unwrap()
}

#[test]
fn when_a_task_last_succeeded_outlives_the_node() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let b = Node::start(&home, "b", &[&a]);
    let ran = until(&b, &home, "joined", |status| {
        task(status, "bootstrap")["last_ok_ms"].is_number()
            && task(status, "self_lookup")["last_ok_ms"].is_number()
    });
    assert!(task(&ran, "bootstrap")["runs"].as_u64() >= Some(1));
    assert!(task(&ran, "refresh")["next_ms"].is_number(), "{ran:#}");
    let table = b.run(&home, &["status", "--tasks"]).exits(0);
    assert!(table.text().contains("\nself_lookup "), "{table:?}");
    b.run(&home, &["stop"]).exits(0);
    assert_eq!(b.wait(), Some(0));
    let peer = a.address();
    a.kill();
    // This run has reached no peer, but the previous one had.
    let run = ["run", "--listen", "127.0.0.1:0", "--bootstrap", &peer];
    let b = Node::start_with(&home, "b", &run);
    let again = status(&b, &home);
    let bootstrap = task(&again, "bootstrap");
    assert!(bootstrap["last_ok_ms"].is_number(), "{again:#}");
    assert_eq!(again["bootstrap"]["reachable"], 0);
}
