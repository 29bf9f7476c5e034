//! What the program reports while it starts, and when a part of its network is lost.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::{Node, TempDir, http, program, request, run, signal, status, until};

/// Returns an address where nothing listens.
fn unused() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn discovery(home: &TempDir) -> Node {
    let mut command = program(home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    Node::spawn(command, "discovery", String::new())
}

fn server(home: &TempDir, name: &str, url: &str) -> Node {
    let args = ["dmsg-server", "--discovery", url, "--listen", "127.0.0.1:0"];
    Node::start_with(home, name, &args)
}

fn visor(home: &TempDir, name: &str, url: &str) -> Node {
    Node::start_with(home, name, &["run", "--discovery", url])
}

fn reasons(status: &Value) -> String {
    status["reasons"].to_string()
}

#[test]
fn every_service_stops_cleanly_at_each_signal() {
    for name in ["HUP", "INT", "QUIT", "TERM"] {
        let home = TempDir::new();
        let discovery = discovery(&home);
        let server = server(&home, "server", discovery.text("url"));
        let visor = visor(&home, "visor", discovery.text("url"));
        let tcp = Node::start(&home, "tcp", &[]);
        let demo = ["demo", "--transport", "tcp", "--nodes", "3", "--items", "1"];
        let demo = Node::start_with(&home, "unused", &[&demo[..], &["--stay"]].concat());
        for (service, what) in [
            (demo, "demo"),
            (tcp, "run on TCP"),
            (visor, "run over DMSG"),
            (server, "dmsg-server"),
            (discovery, "dmsg-discovery"),
        ] {
            signal(service.pid(), name);
            assert_eq!(service.wait(), Some(0), "{what} at SIG{name}");
        }
        // The remaining files do not suggest a running node.
        assert!(!home.path().join("tcp/api.json").exists());
    }
}

#[test]
fn signals_that_mean_nothing_to_a_node_do_not_end_it() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    for name in ["USR1", "USR2", "XFSZ"] {
        signal(node.pid(), name);
        status(&node, &home);
    }
    // A stop may be requested by several signals: to the process and to its group, or repeatedly.
    for name in ["TERM", "INT", "TERM", "QUIT"] {
        signal(node.pid(), name);
    }
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_node_under_nohup_outlives_its_terminal() {
    let home = TempDir::new();
    let dir = home.join("a");
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_skydht")])
        .args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--json",
            "--state-dir",
            &dir,
        ])
        .args(["--api-listen", "127.0.0.1:0"])
        .env("HOME", home.path());
    let node = Node::spawn(command, "a", dir);
    signal(node.pid(), "HUP");
    assert_eq!(status(&node, &home)["schema"], "skydht.status/1");
    signal(node.pid(), "TERM");
    assert_eq!(node.wait(), Some(0));
}

#[test]
fn a_node_whose_discovery_is_away_answers_from_the_first_second() {
    let home = TempDir::new();
    // Nothing listens; a listener that never answers; an unknown host name.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = mute.local_addr().map(|at| (mute, at)).unwrap();
    for (url, why) in [
        (format!("http://{}", unused()), "connection refused"),
        (format!("http://{}", mute.1), ""),
        (
            "http://no-such-host.invalid".into(),
            "cannot resolve no-such-host.invalid",
        ),
    ] {
        for service in ["run", "dmsg-server"] {
            let args: &[&str] = match service {
                "run" => &["run", "--discovery", &url],
                _ => &[
                    "dmsg-server",
                    "--discovery",
                    &url,
                    "--listen",
                    "127.0.0.1:0",
                ],
            };
            let begun = Instant::now();
            let node = Node::start_with(&home, &format!("{service}{why}"), args);
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the banner comes"
            );
            let host = [("Host", node.api())];
            assert_eq!(
                http(node.api(), &request("GET", "/livez", &host, "")).status,
                200
            );
            let shown = until(&node, &home, "the cause", |status| {
                let text = status["dmsg"]["discovery"].to_string();
                text.contains(&url) && text.contains(why)
            });
            assert_ne!(shown["verdict"], "green");
            if service == "run" {
                let waits_for = shown["waits_for"].as_str().unwrap();
                assert!(waits_for.contains(&url), "{waits_for}");
                let ready = node
                    .run(&home, &["get", "self", "--timeout", "1s"])
                    .exits(3);
                assert!(ready.stderr.contains("it waits for"), "{ready:?}");
                assert!(ready.stderr.contains(&url), "{ready:?}");
                node.run(&home, &["peers"]).exits(0);
            }
            signal(node.pid(), "TERM");
            assert_eq!(node.wait(), Some(0));
        }
    }
}

#[test]
fn no_command_waits_without_end_for_a_node_that_is_stopped() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    signal(node.pid(), "STOP");
    let asked = [
        &["status"][..],
        &["peers"],
        &["get", "self", "--timeout", "2s"],
        &["put", "x", "--timeout", "2s"],
        // Without a timeout of its own, the node must answer liveness checks.
        &["get", "self"],
        &["put", "x"],
        &["ping", node.text("key")],
    ];
    let (dir, api) = (node.dir.clone(), node.text("api").to_owned());
    std::thread::scope(|scope| {
        for args in asked {
            let (home, dir, api) = (&home, &dir, &api);
            scope.spawn(move || {
                let begun = Instant::now();
                let ran = run(home, &[args, &["--state-dir", dir]].concat()).exits(7);
                let took = begun.elapsed();
                assert!(took < Duration::from_secs(60), "{args:?}: {took:?}");
                for part in ["did not answer within", api] {
                    assert!(ran.stderr.contains(part), "{args:?}: {ran:?}");
                }
                if args.contains(&"--timeout") {
                    assert!(ran.stderr.contains("--timeout 2.0s"), "{ran:?}");
                }
            });
        }
    });
    signal(node.pid(), "CONT");
    status(&node, &home);
}

#[test]
fn a_node_without_control_api_is_not_called_absent() {
    let home = TempDir::new();
    let dir = home.join("a");
    let mut command = program(&home);
    command.args([
        "run",
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--state-dir",
        &dir,
    ]);
    command.args(["--api-listen", "off"]);
    let node = Node::spawn(command, "a", dir);
    let ran = node.run(&home, &["status"]).exits(3);
    assert!(ran.stderr.contains("a node runs on"), "{ran:?}");
    let (dir, pid) = (node.dir.clone(), node.pid());
    signal(pid, "HUP");
    assert_eq!(node.wait(), Some(0));
    let ran = run(&home, &["status", "--state-dir", &dir]).exits(3);
    assert!(ran.stderr.contains("no node runs on"), "{ran:?}");
}

#[test]
fn a_node_comes_back_without_its_discovery() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let url = discovery.text("url").to_owned();
    let server = server(&home, "server", &url);
    let (mut alice, mut bob) = (visor(&home, "alice", &url), visor(&home, "bob", &url));
    alice.knows(2);
    bob.knows(2);
    alice.wait_for("DMSG servers remembered");
    discovery.kill();
    signal(alice.pid(), "TERM");
    assert_eq!(alice.wait(), Some(0));

    let mut alice = visor(&home, "alice", &url);
    alice.wait_for("the DMSG discovery http");
    let shown = until(&alice, &home, "up", |status| {
        status["peers"].as_u64() > Some(0)
    });
    assert_eq!(shown["waits_for"], Value::Null);
    assert_eq!(shown["dmsg"]["connected"], 1);
    alice.run(&home, &["put", "without it"]).exits(0);
    let read = bob.run(&home, &["get", alice.text("key")]).exits(0);
    assert_eq!(read.text(), "without it");
    let shown = until(&alice, &home, "yellow", |status| {
        status["verdict"] == "yellow"
    });
    assert!(
        reasons(&shown).contains("discovery is not reachable"),
        "{shown:#}"
    );
    // On a single machine the whole network is one relay, whose loss is reported as well.
    server.kill();
    let shown = until(&alice, &home, "red", |status| status["verdict"] == "red");
    assert!(
        reasons(&shown).contains("no DMSG server is connected"),
        "{shown:#}"
    );
    alice.wait_for("no DMSG server is connected: ");
}

#[test]
fn a_lost_relay_and_its_return_are_reported_with_its_address() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let url = discovery.text("url").to_owned();
    let first = server(&home, "server", &url);
    let listen = first.text("dmsg_server").to_owned();
    let mut alice = visor(&home, "alice", &url);
    until(&alice, &home, "green", |status| {
        status["verdict"] == "green"
    });
    let key = first.text("key").to_owned();
    first.kill();
    let shown = until(&alice, &home, "red", |status| status["verdict"] == "red");
    assert_eq!(shown["transport"]["sessions"], 0);
    alice.wait_for(&format!(
        "no DMSG server is connected: {key} at {listen} not connected"
    ));
    let args = ["dmsg-server", "--discovery", &url, "--listen", &listen];
    let _second = Node::start_with(&home, "server", &args);
    alice.wait_for("a DMSG server is connected again, after");
    alice.wait_for(&format!("DMSG server {key} is connected again"));
    until(&alice, &home, "green", |status| {
        status["verdict"] == "green"
    });
}

#[test]
fn a_node_that_reaches_no_peer_says_why_for_each_address() {
    let home = TempDir::new();
    let stranger = Node::start(&home, "stranger", &[]);
    let keys = ["k1", "k2", "k3"].map(|name| {
        let made = run(&home, &["keygen", &home.join(name)]).exits(0);
        made.text().trim().to_owned()
    });
    let refused = unused();
    let peers = [
        format!("{}@{refused}", keys[0]),
        format!("{}@{}", keys[1], stranger.text("listen")),
        format!("{}@no-such-host.invalid:7470", keys[2]),
    ];
    let mut args = vec!["run", "--listen", "127.0.0.1:0"];
    for peer in &peers {
        args.extend(["--bootstrap", peer]);
    }
    let mut node = Node::start_with(&home, "a", &args);
    assert_eq!(
        node.about["bootstrap"], 3,
        "a name that is unknown is configured, too"
    );
    let shown = until(&node, &home, "red with all causes", |status| {
        let text = status["bootstrap"].to_string();
        text.matches("\"causes\":[\"").count() == 3
    });
    let causes = [
        format!("{refused}: connection refused"),
        format!("{}: another key answers there", stranger.text("listen")),
        "cannot resolve no-such-host.invalid: ".to_owned(),
    ];
    for cause in &causes {
        assert!(reasons(&shown).contains(cause), "{cause}: {shown:#}");
    }
    let text = node.run(&home, &["status"]).exits(0);
    assert!(text.text().contains("next try in"), "{text:?}");
    node.wait_for("no bootstrap peer is reachable: ");
    for cause in &causes {
        node.wait_for(cause);
    }
}

#[test]
fn a_node_whose_peers_are_gone_is_red_and_comes_back() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let (listen, dir) = (a.text("listen").to_owned(), "a");
    let mut b = Node::start(&home, "b", &[&a]);
    b.knows(1);
    until(&b, &home, "green", |status| status["verdict"] == "green");
    a.kill();
    // The operation notices the loss; otherwise the check of peers would, some minutes later.
    b.run(&home, &["put", "x", "--timeout", "5s"]);
    let shown = until(&b, &home, "red", |status| status["verdict"] == "red");
    assert_eq!(
        (&shown["peers"], &shown["ready"]),
        (&0.into(), &false.into())
    );
    let host = [
        ("Host", b.api().to_owned()),
        ("Authorization", format!("Bearer {}", b.token())),
    ];
    let host: Vec<_> = host.iter().map(|(k, v)| (*k, v.as_str())).collect();
    assert_eq!(
        http(b.api(), &request("GET", "/readyz", &host, "")).status,
        503
    );
    b.wait_for("all peers are lost");
    let args = ["run", "--listen", &listen];
    let _a = Node::start_with(&home, dir, &args);
    until(&b, &home, "green", |status| status["verdict"] == "green");
    b.wait_for("peers answer again, after");
}

#[test]
fn the_nodes_own_key_among_the_bootstrap_peers_changes_no_verdict() {
    let home = TempDir::new();
    let file = home.join("key");
    let own = run(&home, &["keygen", &file])
        .exits(0)
        .text()
        .trim()
        .to_owned();
    let own = format!("{own}@127.0.0.1:1");
    let mut args = vec!["run", "--listen", "127.0.0.1:0", "--key-file", &file];
    args.extend(["--bootstrap", &own]);
    let mut node = Node::start_with(&home, "a", &args);
    node.wait_for("is this node's own key, and is ignored");
    assert_eq!(node.about["bootstrap"], 0);
    let shown = until(&node, &home, "alone", |status| {
        reasons(status).contains("alone")
    });
    assert_eq!(shown["bootstrap"]["configured"], 0);
    let mut other = Node::start(&home, "b", &[&node]);
    other.knows(1);
    until(&node, &home, "green", |status| status["verdict"] == "green");
}

/// Starts a discovery without entries whose clock is off by this many seconds.
fn discovery_with_clock(off: Arc<AtomicI64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now = now
                .as_secs()
                .checked_add_signed(off.load(Ordering::Relaxed));
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(now.unwrap()));
            let body = r#"{"code":404,"message":"no servers"}"#;
            let _ = write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    at
}

#[test]
fn a_clock_that_is_days_off_is_noticed_and_so_is_that_it_was() {
    let home = TempDir::new();
    // Whether the discovery's clock is behind or the local one ahead cannot be distinguished.
    let off = Arc::new(AtomicI64::new(-3 * 86_400));
    let url = format!("http://{}", discovery_with_clock(Arc::clone(&off)));
    let mut node = visor(&home, "a", &url);
    let shown = until(&node, &home, "wrong", |status| {
        status["clock"]["wrong"] == true
    });
    assert!(
        reasons(&shown).contains("clock is wrong: 3d0h ahead"),
        "{shown:#}"
    );
    let text = node.run(&home, &["status"]).exits(0);
    assert!(
        text.text().contains("clock 3d0h ahead, by the discovery"),
        "{text:?}"
    );
    node.wait_for("this machine's clock is wrong: 3d0h ahead, by the discovery");
    off.store(0, Ordering::Relaxed);
    node.wait_for("the clock is right again, after");
    let shown = status(&node, &home);
    assert_eq!(shown["clock"]["wrong"], false);
    assert!((259_190..259_210).contains(&shown["clock"]["was_off_s"].as_i64().unwrap()));
    let text = node.run(&home, &["status"]).exits(0);
    assert!(
        text.text().contains("it was 3d0h ahead in this run"),
        "{text:?}"
    );
}

/// Starts a node that bootstraps from `peer`, which stores its items.
fn owner(home: &TempDir, name: &str, peer: &Node, storage: &str) -> Node {
    let peer = peer.address();
    let run = ["run", "--listen", "127.0.0.1:0", "--bootstrap", &peer];
    Node::start_with(home, name, &[&run[..], &["--storage", storage]].concat())
}

fn put_three(node: &Node, home: &TempDir) {
    until(node, home, "green", |status| status["verdict"] == "green");
    for salt in ["one", "two", "once"] {
        let mut args = vec!["put", salt, "--salt", salt];
        if salt == "once" {
            args.push("--once");
        }
        node.run(home, &args).exits(0);
    }
    assert_eq!(status(node, home)["lapsed"], Value::Null);
}

#[test]
fn items_of_an_earlier_run_that_are_not_renewed_are_named() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let b = owner(&home, "b", &a, "none");
    put_three(&b, &home);
    b.kill();
    let mut b = owner(&home, "b", &a, "none");
    b.wait_for("items of an earlier run are not renewed yet (salts [\"one\", \"two\"]");
    let shown = until(&b, &home, "joined", |status| {
        status["peers"].as_u64() > Some(0)
    });
    assert_eq!(shown["lapsed"]["salts"], serde_json::json!(["one", "two"]));
    assert!(reasons(&shown).contains("not renewed"), "{shown:#}");
    for salt in ["one", "two"] {
        b.run(&home, &["put", "x", "--salt", salt]).exits(0);
    }
    until(&b, &home, "green", |status| status["verdict"] == "green");
}

#[test]
fn lost_connections_are_reported_before_their_peers_are_removed() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let others: Vec<Node> = (0..3)
        .map(|n| Node::start(&home, &format!("b{n}"), &[&a]))
        .collect();
    a.knows(3);
    until(&a, &home, "three connections", |status| {
        status["transport"]["sessions"].as_u64() >= Some(3)
    });
    for other in others {
        other.kill();
    }
    let lost = until(&a, &home, "no connections", |status| {
        status["transport"]["sessions"] == 0
    });
    assert_ne!(lost["verdict"], "green", "{lost}");
}

#[test]
fn items_of_an_earlier_run_that_storage_has_are_renewed_unless_there_is_something_newer() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let b = owner(&home, "b", &a, "file");
    put_three(&b, &home);
    let seq = |salt: &str| {
        let get = ["get", b.text("key"), "--salt", salt, "--json"];
        let got = a.run(&home, &get).exits(0).json();
        let text = got["seq"].to_string();
        text.trim_matches('"').parse::<u64>().unwrap()
    };
    let before = ["one", "two", "once"].map(seq);
    b.run(&home, &["stop"]).exits(0);
    // Another node with the same key deletes one of them meanwhile.
    let dir = std::path::Path::new(&b.dir).to_owned();
    let other = home.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(dir.join("node.key"), other.join("node.key")).unwrap();
    let elsewhere = owner(&home, "other", &a, "none");
    until(&elsewhere, &home, "green", |status| {
        status["verdict"] == "green"
    });
    elsewhere
        .run(&home, &["put", "--delete", "--salt", "two"])
        .exits(0);
    elsewhere.run(&home, &["stop"]).exits(0);

    let again = owner(&home, "b", &a, "file");
    until(&again, &home, "renewed", |status| {
        status["lapsed"] == Value::Null && status["verdict"] == "green"
    });
    let listed = again.run(&home, &["ls", "--json"]).exits(0).json();
    let salts: Vec<&str> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["salt"].as_str().unwrap())
        .collect();
    assert_eq!(salts, ["one"], "{listed:#}");
    let [one, _, once] = before;
    assert!(seq("one") > one && seq("once") == once);
    let get = ["get", again.text("key"), "--salt", "one"];
    let got = a.run(&home, &get).exits(0);
    assert!(got.text().starts_with("one"), "{got:?}");
    let two = a.run(&home, &["get", again.text("key"), "--salt", "two"]);
    assert_ne!(two.code, Some(0), "{two:?}");
}

#[test]
fn connections_lost_to_the_limit_of_open_files_are_reported() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let url = discovery.text("url");
    let server = ["dmsg-server", "--discovery", url, "--listen", "127.0.0.1:0"];
    for (name, args, key) in [
        (
            "node",
            &["run", "--listen", "127.0.0.1:0"][..],
            "max_connections",
        ),
        ("server", &server, "dmsg.max_sessions"),
    ] {
        let dir = home.join(name);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 300; exec \"$@\"", "sh"]);
        command.arg(env!("CARGO_BIN_EXE_skydht")).args(args);
        command.args(["--api-listen", "127.0.0.1:0", "--json", "--state-dir", &dir]);
        let node = Node::spawn(command, name, dir);
        let status = status(&node, &home);
        assert_ne!(status["verdict"], "green", "{status}");
        assert_eq!(status["files"]["key"], key, "{status}");
        assert_eq!(status["files"]["open_files"], 300);
        let reasons = reasons(&status);
        assert!(reasons.contains("limit on open files"), "{reasons}");
        assert!(reasons.contains("LimitNOFILE"), "{reasons}");
        signal(node.pid(), "TERM");
        assert_eq!(node.wait(), Some(0));
    }
}
