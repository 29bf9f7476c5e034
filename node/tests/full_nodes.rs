//! Full nodes through the program: switched at run time, reconciled on request, listed.

mod support;

use serde_json::{Value, json};
use support::{Node, TempDir, until};

/// Lists a node's items, one object per line.
fn list(node: &Node, home: &TempDir, more: &[&str]) -> Vec<Value> {
    let ran = node
        .run(home, &[&["list", "--json"], more].concat())
        .exits(0);
    let lines = ran.text().lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_node_made_a_full_node_holds_what_others_hold_and_says_what() {
    let home = TempDir::new();
    let mut first = Node::start_with(
        &home,
        "first",
        &["run", "--listen", "127.0.0.1:0", "--full-node"],
    );
    let mut second = Node::start(&home, "second", &[&first]);
    first.knows(1);
    second.knows(1);
    let state = |node: &Node| node.run(&home, &["full-node", "--json"]).exits(0).json();
    assert_eq!(state(&first)["full_node"], true);
    assert_eq!(state(&second)["full_node"], false);
    for n in 0..30 {
        let (value, salt) = (format!("value {n}"), format!("salt {n}"));
        // Only the first node stores it: it knows no other node.
        first.run(&home, &["put", &value, "--salt", &salt]).exits(0);
    }
    let refused = second.run(&home, &["sync"]).exits(6);
    assert!(
        refused.stderr.contains("skydht full-node on"),
        "{refused:?}"
    );
    let on = second.run(&home, &["full-node", "on"]).exits(0);
    assert!(on.text().starts_with("a full node"), "{on:?}");
    assert!(on.stderr.contains("config set full_node true"), "{on:?}");
    until(&second, &home, "a full node", |status| {
        status["full_node"] == true
    });
    let key = first.text("key").to_owned();
    let synced = second.run(&home, &["sync", &key, "--json"]).exits(0).json();
    assert_eq!(synced["peers"][0]["key"], *key);
    assert_eq!(synced["peers"][0]["error"], Value::Null);
    // By salt, by owner, by the first digits of the target, with values and without.
    let owned = list(&second, &home, &["--owner", &key]);
    assert!(owned.len() >= 30, "{}", owned.len());
    let one = list(&second, &home, &["--salt", "salt 7", "--values"]);
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!(
        one[0]["value"],
        json!(data_encoding::BASE64.encode(b"value 7"))
    );
    assert_eq!(
        (&one[0]["pk"], &one[0]["owner"]),
        (&json!(key), &json!(true))
    );
    let target = one[0]["target"].as_str().unwrap();
    let by_target = list(&second, &home, &["--prefix", &target[..8]]);
    assert_eq!(by_target.len(), 1);
    assert_eq!(by_target[0].get("value"), None);
    assert_eq!(list(&second, &home, &["--limit", "5"]).len(), 5);
    let text = second
        .run(&home, &["list", "--salt", "salt 7", "--values"])
        .exits(0);
    assert!(text.text().contains("\n  value 7\n"), "{text:?}");
    second.run(&home, &["list", "--prefix", "xyz"]).exits(2);
    // Peers that do not exist.
    let unknown_peer = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    let failed = second
        .run(&home, &["sync", unknown_peer, "--json"])
        .exits(5)
        .json();
    assert_eq!(failed["peers"][0]["error"], "unreached");
    second.run(&home, &["sync", second.text("key")]).exits(2);
    // The node becomes a regular one again.
    let off = second
        .run(&home, &["full-node", "off", "--json"])
        .exits(0)
        .json();
    assert_eq!(off["full_node"], false);
    let asked = first
        .run(&home, &["sync", second.text("key"), "--json"])
        .exits(5);
    assert_eq!(asked.json()["peers"][0]["error"], "not_full_node");
    first.run(&home, &["sync"]).exits(3);
    for node in [first, second] {
        node.run(&home, &["stop"]).exits(0);
        assert_eq!(node.wait(), Some(0));
    }
}
