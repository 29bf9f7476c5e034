//! Linked DMSG servers, with every part in a process of its own: visors without a common server
//! reach each other.

mod support;

use support::{Node, TempDir, status, until};

fn server(home: &TempDir, name: &str, peers: &[&str]) -> Node {
    let mut words = vec!["dmsg-server", "--listen", "127.0.0.1:0"];
    let config = home.join(&format!("{name}.json"));
    let text = serde_json::json!({ "dmsg": { "peers": peers, "servers": peers } });
    std::fs::write(&config, text.to_string()).unwrap();
    words.extend(["--config", &config]);
    Node::start_with(home, name, &words)
}

/// Returns `PK@IP:PORT` of a server.
fn place(server: &Node) -> String {
    format!("{}@{}", server.text("key"), server.text("dmsg_server"))
}

fn visor(home: &TempDir, name: &str, server: &Node) -> Node {
    let config = home.join(&format!("{name}.json"));
    let text = serde_json::json!({
        "dmsg": { "servers": [place(server)] },
        "bootstrap_pks": [server.text("key")],
    });
    std::fs::write(&config, text.to_string()).unwrap();
    Node::start_with(home, name, &["run", "--config", &config])
}

#[test]
fn visors_that_share_no_server_reach_each_other() {
    let home = TempDir::new();
    let one = server(&home, "one", &[]);
    let two = server(&home, "two", &[&place(&one)]);
    until(&two, &home, "linked", |it| {
        it["dmsg"]["relay"]["links"] == 1
    });
    let (mut alice, mut bob) = (visor(&home, "alice", &one), visor(&home, "bob", &two));
    // Both servers and the other visor.
    alice.knows(3);
    bob.knows(3);
    let put = [
        "put",
        "over two servers",
        "--salt",
        "s",
        "--min-replicas",
        "3",
    ];
    alice.run(&home, &put).exits(0);
    let owner = alice.text("key").to_owned();
    let read = bob.run(&home, &["get", &owner, "--salt", "s", "--json"]);
    assert_eq!(read.exits(0).json()["text"], "over two servers");
    let relays = [&one, &two].map(|server| status(server, &home)["dmsg"]["relay"].clone());
    let forwarded = relays
        .each_ref()
        .map(|it| it["forwarded"].as_u64().unwrap());
    let passed_on = relays
        .each_ref()
        .map(|it| it["passed_on"].as_u64().unwrap());
    assert!(forwarded.iter().sum::<u64>() > 0, "{relays:?}");
    assert!(passed_on.iter().sum::<u64>() > 0, "{relays:?}");
}
