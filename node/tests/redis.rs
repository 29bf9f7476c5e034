//! Nodes that share a Redis.

#![cfg(unix)]

#[path = "../../driver/tests/redis/server.rs"]
mod server;
mod support;

use std::time::{Duration, Instant};

use server::RedisServer;
use support::{DEADLINE, Node, TempDir, program, until};

fn full_node(home: &TempDir, name: &str, url: &str) -> Node {
    let run = ["run", "--listen", "127.0.0.1:0", "--full-node"];
    Node::start_with(home, name, &[&run[..], &["--storage", url]].concat())
}

/// Returns whether the node itself stores an item of `owner`.
fn local(node: &Node, home: &TempDir, owner: &Node, salt: &str) -> bool {
    let get = [
        "get",
        owner.text("key"),
        "--salt",
        salt,
        "--policy",
        "local",
    ];
    node.run(home, &get).code == Some(0)
}

#[test]
fn three_nodes_on_one_redis_serve_each_others_writes_within_a_second() {
    let (home, server) = (TempDir::new(), RedisServer::start(&[]));
    let nodes: Vec<Node> = ["a", "b", "c"]
        .map(|name| full_node(&home, name, &server.url()))
        .into();
    for node in &nodes {
        until(node, &home, "good", |status| {
            status["storage"]["health"] == "good" && status["storage"]["kind"] == "redis"
        });
    }
    // They do not know each other: the owner knows only the first.
    let owner = Node::start(&home, "owner", &[&nodes[0]]);
    until(&owner, &home, "ready", |status| status["ready"] == true);
    for round in 0..3 {
        let salt = format!("s{round}");
        owner.run(&home, &["put", "v", "--salt", &salt]).exits(0);
        let put = Instant::now();
        for node in &nodes {
            // The time of the command that finds the item is not counted.
            let mut asked = Instant::now();
            while !local(node, &home, &owner, &salt) {
                assert!(put.elapsed() < DEADLINE, "it does not come");
                asked = Instant::now();
            }
            let took = asked.duration_since(put);
            assert!(took <= Duration::from_secs(1), "after {took:?}");
        }
    }
    // After a restart the items are restored, whichever node wrote them.
    let [_, second, _] = <[Node; 3]>::try_from(nodes).ok().unwrap();
    second.run(&home, &["stop"]).exits(0);
    second.wait();
    let second = full_node(&home, "b", &server.url());
    until(&second, &home, "loaded", |status| {
        status["store"]["items"] == 3
    });
    assert!(local(&second, &home, &owner, "s2"));
}

#[test]
fn a_redis_that_refuses_is_waited_for_and_its_password_is_nowhere() {
    let (home, server) = (
        TempDir::new(),
        RedisServer::start(&["--requirepass", "right"]),
    );
    let url = format!("redis://:secret-word@127.0.0.1:{}", server.port);
    let node = full_node(&home, "full", &url);
    let owner = Node::start(&home, "owner", &[&node]);
    until(&owner, &home, "ready", |status| status["ready"] == true);
    owner.run(&home, &["put", "v", "--salt", "s"]).exits(0);
    until(&node, &home, "failing", |status| {
        let cause = status["storage"]["cause"].as_str().unwrap_or_default();
        status["storage"]["health"] == "failing"
            && cause.contains("WRONGPASS")
            && status["storage"]["waiting"] == 1
    });
    // The item is served from memory.
    assert!(local(&node, &home, &owner, "s"));
    let state = node.dir.as_str();
    let outputs = [
        node.run(&home, &["status"]),
        node.run(&home, &["status", "--json"]),
        node.run(&home, &["verify"]),
    ];
    let mut config = program(&home);
    config.args(["config", "show", "--json", "--state-dir", state]);
    config.env("SKYDHT_STORAGE", &url);
    let mut check = program(&home);
    check.args(["config", "check", "--state-dir", state]);
    check.env("SKYDHT_STORAGE", &url);
    let shown = support::finish(&mut config, b"").exits(0);
    assert!(shown.text().contains("redis://:***@127.0.0.1"), "{shown:?}");
    let checked = support::finish(&mut check, b"").exits(0);
    assert!(checked.stderr.contains("WRONGPASS"), "{checked:?}");
    for ran in outputs.iter().chain([&shown, &checked]) {
        assert!(!format!("{ran:?}").contains("secret-word"), "{ran:?}");
    }
    assert!(!node.about.to_string().contains("secret-word"));
    let cli = [
        "--no-auth-warning",
        "-a",
        "right",
        "config",
        "set",
        "requirepass",
        "secret-word",
    ];
    server.cli(&cli);
    until(&node, &home, "caught up", |status| {
        status["storage"]["health"] == "good" && status["storage"]["waiting"] == 0
    });
    let cli = [
        "--no-auth-warning",
        "-a",
        "secret-word",
        "keys",
        "dht:????*",
    ];
    assert_eq!(
        server
            .cli(&cli)
            .lines()
            .filter(|key| key.len() == 68)
            .count(),
        1
    );
}

#[test]
fn sync_on_a_redis_that_does_not_sync_is_refused_at_the_start() {
    let (home, server) = (TempDir::new(), RedisServer::start(&[]));
    let config = home.path().join("c.json");
    let text = serde_json::json!({"storage": server.url(), "durability": "sync"});
    std::fs::write(&config, text.to_string()).unwrap();
    let config = config.to_str().unwrap();
    for command in ["run --api-listen off", "config check"] {
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend(["--config", config]);
        let ran = support::run(&home, &words).exits(2);
        assert!(ran.stderr.contains("appendfsync"), "{ran:?}");
    }
}

/// The certificates' authority is trusted by this test only.
#[test]
fn tls_is_spoken_to_a_server_whose_certificate_is_believed_and_to_no_other() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../driver/tests/redis/tls");
    let file = |name: &str| format!("{dir}/{name}");
    let port = server::free_port().to_string();
    let _server = RedisServer::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("authority.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let home = TempDir::new();
    let check = |host: &str, certificates: &str| {
        let mut command = program(&home);
        command.args(["config", "check"]);
        command.env("SKYDHT_STORAGE", format!("rediss://{host}:{port}"));
        command.env("SSL_CERT_FILE", certificates);
        support::finish(&mut command, b"").exits(0)
    };
    for host in ["localhost", "127.0.0.1"] {
        let ran = check(host, &file("authority.pem"));
        assert!(ran.text().contains("redis ok"), "{ran:?}");
    }
    // Only a certificate of another authority is trusted.
    let ran = check("localhost", &file("server.pem"));
    assert!(ran.text().contains("redis not usable now"), "{ran:?}");
    assert!(ran.stderr.contains("certificate"), "{ran:?}");
}

/// Starts five full nodes that name each other, on a shared Redis or on files of their own.
fn servers(home: &TempDir, order: [usize; 5], url: Option<&str>) -> Vec<Node> {
    let word = if url.is_some() { "redis" } else { "file" };
    let places: Vec<(String, String)> = (0..5)
        .map(|n| {
            let (name, dir) = (format!("{word}{n}"), home.join(&format!("{word}{n}")));

            let made = support::run(home, &["keygen", "--state-dir", &dir, "--json"]).exits(0);
            let key = made.json()["key"].as_str().unwrap().to_owned();
            let port = server::free_port();
            (name, format!("{key}@127.0.0.1:{port}"))
        })
        .collect();
    let mut nodes = Vec::new();
    for n in order {
        let (name, place) = &places[n];
        let listen = place.split_once('@').unwrap().1;
        let mut words = vec!["run", "--full-node", "--listen", listen];
        for (_, other) in places.iter().filter(|(other, _)| other != name) {
            words.extend(["--bootstrap", other]);
        }
        words.extend(url.iter().flat_map(|url| ["--storage", url]));
        nodes.push(Node::start_with(home, name, &words));
    }
    nodes
}

#[test]
fn r15_servers_that_start_in_any_order_know_each_other_and_a_redis_that_dies_stops_none() {
    let home = TempDir::new();
    let mut server = RedisServer::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let url = server.url();
    for (order, url) in [
        ([3, 0, 4, 1, 2], None),
        ([4, 2, 0, 1, 3], Some(url.as_str())),
    ] {
        let begun = Instant::now();
        let nodes = servers(&home, order, url);
        for node in &nodes {
            until(node, &home, "acquainted", |status| status["peers"] == 4);
        }
        assert!(begun.elapsed() < Duration::from_secs(60));
        let Some(_) = url else { continue };
        let put = |n: usize, salt: &str| {
            nodes[n].run(&home, &["put", "v", "--salt", salt]).exits(0);
        };
        put(0, "before");
        until(&nodes[0], &home, "written", |status| {
            status["storage"]["waiting"] == 0
        });
        server.kill();
        for n in 0..5 {
            put(n, &format!("without {n}"));
            assert!(local(&nodes[n], &home, &nodes[0], "before"));
        }
        for node in &nodes {
            until(node, &home, "failing", |status| {
                status["storage"]["health"] == "failing"
                    && status["reasons"] != serde_json::json!([])
            });
        }
        server.launch();
        for node in &nodes {
            until(node, &home, "caught up", |status| {
                status["storage"]["health"] == "good" && status["storage"]["waiting"] == 0
            });
        }
        // Six items; full nodes store adverts beside them.
        let keys = server.cli(&["keys", "dht:????*"]);
        let items = keys.lines().filter(|key| key.len() == 68).count();
        assert!(items >= 6, "{keys}");
        for n in 0..5 {
            assert!(local(&nodes[0], &home, &nodes[n], &format!("without {n}")));
        }
    }
}
