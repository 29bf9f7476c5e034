//! Several nodes, each in a process of its own, on real TCP.

mod support;

use std::fs;

use support::{Node, Ran, TempDir, finish, http, program, request, run};

/// Starts three nodes that know each other.
fn three(home: &TempDir) -> (Node, Node, Node) {
    let mut a = Node::start(home, "a", &[]);
    let mut b = Node::start(home, "b", &[&a]);
    a.knows(1);
    let mut c = Node::start(home, "c", &[&a, &b]);
    for node in [&mut a, &mut b, &mut c] {
        node.knows(2);
    }
    (a, b, c)
}

fn keys(peers: &Ran) -> Vec<String> {
    let peers = peers.json();
    let mut keys: Vec<String> = peers["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| peer["key"].as_str().unwrap().to_owned())
        .collect();
    keys.sort();
    keys
}

#[test]
fn put_through_one_get_through_another_update_and_delete() {
    let home = TempDir::new();
    let (a, b, c) = three(&home);
    let owner = a.text("key").to_owned();

    let put = a
        .run(&home, &["put", "hello", "--salt", "greeting", "--json"])
        .exits(0)
        .json();
    assert_eq!(put["schema"], "skydht.put/1");
    assert_eq!(put["acknowledged"], 2, "{put}");
    let first: u64 = put["seq"].as_str().unwrap().parse().unwrap();

    let got = c
        .run(&home, &["get", &owner, "--salt", "greeting"])
        .exits(0);
    assert_eq!(got.text(), "hello", "the bytes and nothing else");
    assert!(
        got.stderr.contains("owner · ") && got.stderr.contains(" agree · "),
        "{}",
        got.stderr
    );
    let own = a.run(&home, &["get", "self", "greeting"]).exits(0);
    assert_eq!(own.text(), "hello");

    // Bytes from stdin that are not UTF-8 are returned unchanged.
    let bytes: Vec<u8> = (0..=255).collect();
    let mut command = program(&home);
    command.args(["put", "-", "--salt", "bytes", "--state-dir", &a.dir]);
    finish(&mut command, &bytes).exits(0);
    let got = b
        .run(&home, &["get", &owner, "bytes", "--policy", "first"])
        .exits(0);
    assert_eq!(got.stdout, bytes);

    // Compare-and-swap: the current version is accepted, the old one is not.
    let expect = first.to_string();
    a.run(
        &home,
        &[
            "put",
            "hello again",
            "--salt",
            "greeting",
            "--expect",
            &expect,
        ],
    )
    .exits(0);
    let stale = a
        .run(
            &home,
            &[
                "put", "no", "--salt", "greeting", "--expect", &expect, "--json",
            ],
        )
        .exits(6);
    assert_eq!(stale.json()["code"], "conflict", "{}", stale.text());
    let old = a
        .run(&home, &["put", "no", "--salt", "greeting", "--seq", "1"])
        .exits(6);
    assert!(old.stderr.contains("--seq"), "{}", old.stderr);
    let got = c
        .run(&home, &["get", &owner, "greeting", "--json"])
        .exits(0)
        .json();
    assert_eq!(got["text"], "hello again");
    assert_eq!(got["key"], owner.as_str());
    assert!(got["seq"].as_str().unwrap().parse::<u64>().unwrap() > first);

    // Two peers cannot store three replicas.
    let partial = a
        .run(
            &home,
            &[
                "put",
                "wide",
                "--salt",
                "wide",
                "--min-replicas",
                "3",
                "--json",
            ],
        )
        .exits(5)
        .json();
    assert_eq!(partial["code"], "partial");
    assert_eq!(partial["details"]["acknowledged"], 2, "{partial}");
    assert_eq!(
        b.run(&home, &["get", &owner, "wide"]).exits(0).text(),
        "wide"
    );

    // Deleted and missing items have the same exit status and different messages.
    a.run(&home, &["put", "--delete", "--salt", "greeting"])
        .exits(0);
    let deleted = c
        .run(&home, &["get", &owner, "greeting", "--json"])
        .exits(4)
        .json();
    let missing = c
        .run(&home, &["get", &owner, "never", "--json"])
        .exits(4)
        .json();
    assert_eq!(
        (&deleted["code"], &missing["code"]),
        (&"deleted".into(), &"not_found".into())
    );
    assert_ne!(deleted["message"], missing["message"]);

    let ahead = "put x --salt ahead --seq 2400000000000000000";
    let mut ahead: Vec<_> = ahead.split(' ').collect();
    let refused = a.run(&home, &ahead).exits(6);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    ahead.push("--force");
    a.run(&home, &ahead).exits(0);
}

#[test]
fn a_command_can_join_for_one_operation() {
    let home = TempDir::new();
    let (a, b, _c) = three(&home);
    let alice = home.join("alice.key");
    let key = run(&home, &["keygen", &alice])
        .exits(0)
        .text()
        .trim()
        .to_owned();
    let (one, two) = (a.address(), b.address());
    let joined = ["--bootstrap", &one, "--bootstrap", &two];

    let put = [
        "put",
        "from outside",
        "--salt",
        "x",
        "--key-file",
        &alice,
        "--json",
    ];
    let put = run(&home, &[&put[..], &joined].concat()).exits(0).json();
    assert_eq!(put["acknowledged"], 3, "{put}");
    let got = run(&home, &[&["get", &key, "x"][..], &joined].concat()).exits(0);
    assert_eq!(got.text(), "from outside");
    let own = ["get", "self", "x", "--key-file", &alice];
    assert_eq!(
        run(&home, &[&own[..], &joined].concat()).exits(0).text(),
        "from outside"
    );
    let got = a.run(&home, &["get", &key, "x"]).exits(0);
    assert_eq!(got.text(), "from outside");

    // It served no requests, so that no node keeps it as a peer.
    let known = keys(&a.run(&home, &["peers", "--json"]).exits(0));
    assert!(!known.contains(&key), "{known:?}");

    // A running node's key cannot be used a second time.
    let args = ["put", "v", "--state-dir", &a.dir, "--bootstrap", &two];
    let ran = run(&home, &args).exits(6);
    assert!(ran.stderr.contains("running"), "{}", ran.stderr);

    // The bootstrap peer is gone.
    let address = b.address();
    b.kill();
    let ran = run(&home, &["get", &key, "--bootstrap", &address, "--json"]).exits(3);
    assert_eq!(ran.json()["code"], "no_peers", "{}", ran.text());
}

#[test]
fn a_killed_node_comes_back_by_itself() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let mut b = Node::start(&home, "b", &[&a]);
    b.knows(1);
    let mut c = Node::start(&home, "c", &[&a]);
    c.wait_for("peers remembered");
    for node in [&mut a, &mut b, &mut c] {
        node.knows(2);
    }
    let (key, owner) = (c.text("key").to_owned(), a.text("key").to_owned());
    assert_eq!(keys(&c.run(&home, &["peers", "--json"]).exits(0)).len(), 2);
    a.run(&home, &["put", "still here"]).exits(0);
    let dir = c.dir.clone();
    c.kill();
    b.run(&home, &["get", &owner]).exits(0);
    // The file still contains the API's address, but nothing listens there.
    let ran = run(&home, &["status", "--state-dir", &dir]).exits(3);
    assert!(
        ran.stderr.contains("no node answers at http://127.0.0.1:"),
        "{}",
        ran.stderr
    );

    // Without a bootstrap peer, the peers saved by the killed process must suffice.
    let mut c = Node::start(&home, "c", &[]);
    assert_eq!(c.text("key"), key, "the same node");
    assert_eq!(c.about["bootstrap"], 0);
    assert!(c.about["remembered"].as_u64().unwrap() >= 1, "{}", c.about);
    c.knows(1);
    assert_eq!(c.run(&home, &["get", &owner]).exits(0).text(), "still here");

    // A damaged file of peers is reported and ignored.
    c.kill();
    fs::write(format!("{dir}/peers.json"), "{\"peers\":").unwrap();
    let mut c = Node::start(&home, "c", &[]);
    c.wait_for("remembered peers are ignored");
    assert_eq!(c.about["remembered"], 0);
}

#[test]
fn signals_and_the_api_stop_a_node_cleanly() {
    let home = TempDir::new();
    let (a, b, c) = three(&home);
    let key = b.text("key").to_owned();
    support::signal(b.pid(), "TERM");
    assert_eq!(b.wait(), Some(0));
    support::signal(c.pid(), "INT");
    assert_eq!(c.wait(), Some(0));
    let (api, bearer) = (a.api().to_owned(), format!("Bearer {}", a.token()));
    let headers = [("Host", api.as_str()), ("Authorization", &bearer)];
    assert_eq!(
        http(&api, &request("POST", "/shutdown", &headers, "")).status,
        200
    );
    let dir = a.dir.clone();
    assert_eq!(a.wait(), Some(0));
    // The API's file is removed, which commands report.
    let ran = run(&home, &["status", "--state-dir", &dir]).exits(3);
    assert!(ran.stderr.contains("no node runs on"), "{}", ran.stderr);
    assert!(
        fs::read_to_string(format!("{dir}/peers.json"))
            .unwrap()
            .contains(&key)
    );
}

#[test]
fn a_taken_port_or_directory_is_named_with_what_to_do() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let listen = a.text("listen").to_owned();
    let other = home.join("other");
    let args = [
        "run",
        "--listen",
        &listen,
        "--api-listen",
        "off",
        "--state-dir",
        &other,
    ];
    let ran = run(&home, &args).exits(1);
    assert!(
        ran.stderr.contains(&listen) && ran.stderr.contains("--listen"),
        "{}",
        ran.stderr
    );
    let args = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        a.api(),
        "--state-dir",
        &other,
    ];
    let ran = run(&home, &args).exits(1);
    assert!(
        ran.stderr.contains(a.api()) && ran.stderr.contains("--api-listen"),
        "{}",
        ran.stderr
    );
    let args = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--state-dir",
        &a.dir,
    ];
    let ran = run(&home, &args).exits(6);
    assert!(
        ran.stderr.contains("another node runs on"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_start_that_fails_leaves_no_trace_on_the_node_that_runs() {
    let home = TempDir::new();
    // Without storage, no lock on the items' file protects the directory.
    let config = home.join("c.json");
    fs::write(&config, r#"{"storage": "none"}"#).unwrap();
    let args = ["run", "--config", &config, "--listen", "127.0.0.1:0"];
    let a = Node::start_with(&home, "a", &args);
    let api = || fs::read_to_string(format!("{}/api.json", a.dir)).unwrap();
    let before = api();
    let more = ["--api-listen", "127.0.0.1:0", "--state-dir", &a.dir];
    for damage in ["removed", "replaced"] {
        // As a cleaner of /tmp would do.
        fs::remove_file(format!("{}/lock", a.dir)).unwrap();
        if damage == "replaced" {
            fs::write(format!("{}/lock", a.dir), "").unwrap();
        }
        let ran = run(&home, &[&args[..], &more].concat()).exits(6);
        assert!(ran.stderr.contains("another node runs on"), "{ran:?}");
        assert_eq!(api(), before, "{damage}");
        a.run(&home, &["status"]).exits(0);
        fs::write(format!("{}/lock", a.dir), "").unwrap();
    }
    // A start that fails later, at the listener, leaves no trace either.
    let dir = home.join("b");
    let taken = a.text("listen").to_owned();
    let args = ["run", "--listen", &taken, "--api-listen", "127.0.0.1:0"];
    run(&home, &[&args[..], &["--state-dir", &dir]].concat()).exits(1);
    assert!(!fs::exists(format!("{dir}/api.json")).unwrap());
    a.run(&home, &["stop"]).exits(0);
    assert!(!fs::exists(format!("{}/api.json", a.dir)).unwrap());
}

#[test]
fn status_peers_and_ping_tell_how_a_node_is() {
    let home = TempDir::new();
    let (a, b, _c) = three(&home);
    let status = b.run(&home, &["status"]).exits(0);
    assert!(
        status.text().starts_with("GREEN node 0"),
        "{}",
        status.text()
    );
    assert!(
        status
            .text()
            .contains("bootstrap 1 of 1 reachable · 2 proven peers · network ≈ "),
        "{}",
        status.text()
    );
    let limits = b.run(&home, &["status", "--limits"]).exits(0);
    assert!(
        limits.text().contains("limits.streams "),
        "{}",
        limits.text()
    );
    let peers = b.run(&home, &["peers"]).exits(0);
    assert!(
        peers.text().contains(a.text("key")) && peers.text().contains(a.text("listen")),
        "{}",
        peers.text()
    );
    let buckets = b.run(&home, &["peers", "--buckets"]).exits(0);
    assert!(
        buckets.text().starts_with("BUCKET  PEERS  EXPECTED"),
        "{}",
        buckets.text()
    );
    let ping = b.run(&home, &["ping", a.text("key")]).exits(0);
    assert!(
        ping.text()
            .starts_with(&format!("pong from {}", a.text("key"))),
        "{}",
        ping.text()
    );
    let stranger = run(&home, &["keygen", &home.join("k")])
        .exits(0)
        .text()
        .trim()
        .to_owned();
    b.run(&home, &["ping", &stranger]).exits(3);

    // Without its bootstrap peer a node is still reachable, but warns about its next start.
    let with_wrong_token = [
        "status",
        "--api",
        b.text("api"),
        "--token-file",
        a.text("token_file"),
    ];
    let ran = run(&home, &with_wrong_token).exits(6);
    assert!(ran.stderr.contains("not its token"), "{}", ran.stderr);
}
