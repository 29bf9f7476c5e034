//! Visors that speak only HTTP are found in the DHT through a mirror; every part is a process of
//! its own.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skydht_discovery::transport;
use support::old_visor::{OldVisor, between, key};
use support::{DEADLINE, Node, TempDir, program, until};

/// Reads through a node until the condition holds.
#[track_caller]
fn reads(node: &Node, home: &TempDir, n: u8, salt: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let (owner, end) = (key(n).to_string(), Instant::now() + DEADLINE);
    loop {
        let ran = node.run(home, &["get", &owner, "--salt", salt, "--json"]);
        let read = ran.json();
        if holds(&read) {
            return read;
        }
        assert!(Instant::now() < end, "{read:#}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn write_private(path: &str, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
}

/// Returns the length of a list of transports.
fn length(read: &Value) -> usize {
    let text = read["text"].as_str().unwrap_or("[]");
    let list: Vec<Value> = serde_json::from_str(text).unwrap();
    list.len()
}

#[test]
fn visors_that_speak_only_http_are_found_in_the_dht() {
    let home = TempDir::new();
    let mirror_key = home.join("mirror.key");
    let made = support::run(&home, &["keygen", &mirror_key, "--json"]).exits(0);
    let mirror_pk = made.json()["key"].as_str().unwrap().to_owned();
    let mut command = program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    command.args(["--services", "--transports"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    let url = discovery.text("url").to_owned();
    let at = url.strip_prefix("http://").unwrap();
    let (one, two) = (OldVisor { n: 1, at }, OldVisor { n: 2, at });
    one.post_entry(0, 99);
    two.post_entry(0, 99);
    one.register_transports(&[between(1, 2), between(1, 3)]);
    two.register_vpn();

    let config = home.join("node.json");
    std::fs::write(&config, json!({ "mirror_pks": [mirror_pk] }).to_string()).unwrap();
    let node = |name: &str, bootstrap: Option<&Node>| {
        let mut words = vec!["run", "--config", &config, "--listen", "127.0.0.1:0"];
        let peer = bootstrap.map(Node::address);
        if let Some(peer) = &peer {
            words.extend(["--bootstrap", peer]);
        }
        Node::start_with(&home, name, &words)
    };
    let first = node("first", None);
    let second = node("second", Some(&first));
    let third = node("third", Some(&first));
    let peer = first.address();
    let mirror = Node::start_with(
        &home,
        "mirror",
        &[
            "mirror",
            "--dmsg-discovery",
            &url,
            "--transport-discovery",
            &url,
            "--service-discovery",
            &url,
            "--interval",
            "1s",
            "--key-file",
            &mirror_key,
            "--listen",
            "127.0.0.1:0",
            "--bootstrap",
            &peer,
        ],
    );
    let status = until(&mirror, &home, "all published", |it| {
        it["mirror"]["published"] == 6 && it["mirror"]["waiting"] == 0
    });
    assert_eq!(status["mirror"]["sources"][0]["records"], 2, "{status:#}");
    assert_eq!(status["mirror"]["sources"][1]["records"], 3, "{status:#}");
    assert_eq!(status["mirror"]["sources"][2]["records"], 1, "{status:#}");

    // Read through another node, the entry is as its owner signed it.
    let found = reads(&third, &home, 1, "dmsg", |it| it["text"].is_string());
    assert_eq!(found["origin"], "mirror", "{found:#}");
    assert_eq!(found["key"], mirror_pk.as_str(), "{found:#}");
    assert!(
        found["text"]
            .as_str()
            .unwrap()
            .contains(&key(99).to_string())
    );
    let list = reads(&second, &home, 2, "tp", |it| it["text"].is_string());
    assert_eq!(length(&list), 1);
    reads(&second, &home, 2, "svc", |it| it["text"].is_string());

    // A new transport is published at both edges, and nothing else is.
    one.register_transports(&[between(1, 2), between(1, 3), between(1, 4)]);
    reads(&third, &home, 1, "tp", |it| length(it) == 3);
    reads(&third, &home, 4, "tp", |it| length(it) == 1);
    let status = until(&mirror, &home, "published", |it| {
        it["mirror"]["waiting"] == 0
    });
    assert_eq!(status["mirror"]["published"], 8, "{status:#}");
    // A removed transport changes exactly the lists of its edges; the one without others is deleted
    // later.
    one.register_transports(&[between(1, 2)]);
    let call = transport::Call::Delete(between(1, 3).id);
    assert_eq!(one.signed(call.write()).status(), 200);
    reads(&third, &home, 1, "tp", |it| length(it) == 2);
    let status = until(&mirror, &home, "published", |it| {
        it["mirror"]["waiting"] == 0
    });
    assert_eq!(status["mirror"]["published"], 9, "{status:#}");

    // An item that the visor publishes itself precedes the mirror's, whatever its sequence number.
    let own_key = home.join("visor.key");
    let hex: String = [1u8; 32].iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(&own_key, &hex);
    let put = [
        "put",
        "its own",
        "--salt",
        "dmsg",
        "--key-file",
        &own_key,
        "--bootstrap",
        &peer,
    ];
    support::run(&home, &put).exits(0);
    let found = reads(&third, &home, 1, "dmsg", |it| it["origin"] == "owner");
    assert_eq!(found["text"], "its own");
    one.post_entry(1, 98);
    until(&mirror, &home, "outranked", |it| {
        it["mirror"]["of_owner"] == 1
    });
    reads(&third, &home, 1, "dmsg", |it| it["text"] == "its own");

    // The command `diff` finds the same: the owner's own item is not in the discovery.
    let diff = |words: &[&str]| {
        let words = [&["diff", "--http", &url, "--json"], words].concat();
        third.run(&home, &words)
    };
    let found = diff(&["--salt", "dmsg"]).exits(5).json();
    assert_eq!(found["there"], 2, "{found:#}");
    assert_eq!(found["same"], 1, "{found:#}");
    assert_eq!(
        found["differences"][0]["key"],
        key(1).to_string(),
        "{found:#}"
    );
    diff(&["--salt", "svc"]).exits(0);

    // Without the discovery, all records remain, and the mirror reports the error.
    drop(discovery);
    until(&mirror, &home, "said", |it| {
        let sources = it["mirror"]["sources"].as_array().unwrap();
        sources.iter().all(|it| it["error"].is_string())
    });
    reads(&third, &home, 2, "dmsg", |it| it["origin"] == "mirror");
    reads(&second, &home, 1, "tp", |it| length(it) == 2);
}

#[test]
fn a_mirror_of_nothing_is_refused() {
    let home = TempDir::new();
    let ran = support::run(&home, &["mirror", "--api-listen", "off"]).exits(2);
    assert!(ran.stderr.contains("--dmsg-discovery"), "{ran:?}");
    let words = [
        "mirror",
        "--dmsg-discovery",
        "ftp://x",
        "--api-listen",
        "off",
    ];
    let ran = support::run(&home, &words).exits(2);
    assert!(ran.stderr.contains("--dmsg-discovery"), "{ran:?}");
}
