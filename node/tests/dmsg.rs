//! The DHT over DMSG, with every part in a process of its own: a discovery, servers, visors.

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Instant;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use serde_json::{Value, json};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{FixedServers, KnownServer};
use skydht_dmsg::object::Address;
use skydht_tokio::{TokioRuntime, entropy};
use support::{DEADLINE, Node, TempDir, finish, http, program, request, run, signal};

fn discovery(home: &TempDir) -> Node {
    let mut command = program(home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    Node::spawn(command, "discovery", String::new())
}

fn server(home: &TempDir, name: &str, discovery: &Node) -> Node {
    server_at(home, name, discovery.text("url"))
}

fn server_at(home: &TempDir, name: &str, url: &str) -> Node {
    let args = ["dmsg-server", "--discovery", url, "--listen", "127.0.0.1:0"];
    Node::start_with(home, name, &args)
}

fn visor(home: &TempDir, name: &str, discovery: &Node) -> Node {
    Node::start_with(home, name, &["run", "--discovery", discovery.text("url")])
}

fn key(node: &Node) -> PublicKey {
    node.text("key").parse().unwrap()
}

/// Sends GET requests over DMSG to a server's own key, from a client that knows only this server.
async fn get_over_dmsg(server: &Node, paths: &[&str]) -> Vec<(u16, String)> {
    let known = KnownServer {
        key: key(server),
        address: server.text("dmsg_server").parse().unwrap(),
    };
    let secret = SecretKey::from_entropy(&entropy().unwrap());
    let (servers, config) = (FixedServers::new([known]), ClientConfig::default());
    let client = Client::start(TokioRuntime, secret, entropy().unwrap(), servers, config);
    client.ready().await;
    let mut answers = Vec::new();
    for path in paths {
        let to = Address {
            key: known.key,
            port: 80,
        };
        let mut stream = client.dial(to).await.unwrap();
        let asked = request("GET", path, &[("Host", "server")], "");
        stream.write_all(asked.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        answers.push((status, body.to_owned()));
    }
    client.close().await;
    answers
}

#[test]
fn discovery_server_and_two_visors_put_and_get() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let server = server(&home, "server", &discovery);
    assert_eq!(server.about["full_node"], true);
    let (mut alice, mut bob) = (
        visor(&home, "alice", &discovery),
        visor(&home, "bob", &discovery),
    );
    assert_eq!(alice.text("transport"), "dmsg");
    assert_eq!(alice.text("listen"), format!("dmsg://{}:100", key(&alice)));
    alice.knows(2);
    bob.knows(2);
    let value = "{\"over\":\"dmsg\"}";
    alice
        .run(&home, &["put", value, "--salt", "s", "--min-replicas", "2"])
        .exits(0);
    let owner = key(&alice).to_string();
    let read = bob
        .run(&home, &["get", &owner, "--salt", "s", "--json"])
        .exits(0)
        .json();
    assert_eq!(read["text"], value);
    assert_eq!((&read["agree"], &read["asked"]), (&json!(2), &json!(2)));

    // The discovery has all of them.
    let at = discovery.text("url").strip_prefix("http://").unwrap();
    let host = [("Host", at)];
    let ask = |path: &str| http(at, &request("GET", path, &host, "")).json();
    let entries: Vec<String> = serde_json::from_value(ask("/dmsg-discovery/entries")).unwrap();
    let mut visors = [key(&alice).to_string(), key(&bob).to_string()];
    visors.sort();
    assert_eq!(entries, visors);
    let servers = ask("/dmsg-discovery/available_servers");
    assert_eq!(servers[0]["static"], key(&server).to_string());
    assert_eq!(servers[0]["server"]["dht_bootstrap"], true);

    // The server has the entries too, for clients without a DHT.
    let (there, missing) = (
        format!("/dht/entry/{owner}?salt=s"),
        format!("/dht/entry/{}", "02".repeat(33)),
    );
    let paths = ["/health", &there, &missing, "/dht/entry/zz", "/else"];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let answers = runtime.block_on(async {
        let asked = get_over_dmsg(&server, &paths);
        tokio::time::timeout(DEADLINE, asked).await.unwrap()
    });
    let health: Value = serde_json::from_str(&answers[0].1).unwrap();
    assert_eq!(health["dmsg_address"], format!("{}:80", key(&server)));
    assert_eq!(health["dht_bootstrap"], true);
    assert_eq!(answers[1], (200, value.to_owned()));
    assert_eq!(answers[2], (404, "not found\n".to_owned()));
    assert_eq!(answers[3], (400, "invalid pk\n".to_owned()));
    assert_eq!(answers[4].0, 404);

    // A node that stops cleanly removes its entry.
    bob.run(&home, &["status"]).exits(0);
    support::signal(bob.pid(), "TERM");
    assert_eq!(bob.wait(), Some(0));
    support::signal(server.pid(), "TERM");
    assert_eq!(server.wait(), Some(0));
    let entries = ask("/dmsg-discovery/entries");
    assert_eq!(entries, json!([owner]));
    let none = http(
        at,
        &request("GET", "/dmsg-discovery/all_servers", &host, ""),
    );
    assert_eq!(none.status, 404);
    support::signal(discovery.pid(), "INT");
    assert_eq!(discovery.wait(), Some(0));
}

#[test]
fn visors_go_on_when_one_of_two_servers_is_killed() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let first = server(&home, "first", &discovery);
    let second = server(&home, "second", &discovery);
    let (mut alice, mut bob) = (
        visor(&home, "alice", &discovery),
        visor(&home, "bob", &discovery),
    );
    // Each other, and both servers.
    alice.knows(3);
    bob.knows(3);
    alice.run(&home, &["put", "before"]).exits(0);
    first.kill();
    let owner = key(&alice).to_string();
    assert_eq!(bob.run(&home, &["get", &owner]).exits(0).text(), "before");
    alice.run(&home, &["put", "after"]).exits(0);
    assert_eq!(bob.run(&home, &["get", &owner]).exits(0).text(), "after");
    drop(second);
}

#[test]
fn visors_that_share_no_server_meet_by_their_entries() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let _servers = ["first", "second", "third"].map(|name| server(&home, name, &discovery));
    let file = home.join("one.json");
    let url = discovery.text("url");
    let config = json!({"dmsg": {"discovery": url, "sessions_count": 1}});
    std::fs::write(&file, config.to_string()).unwrap();
    let mut visors = ["a", "b", "c", "d", "e"]
        .map(|name| Node::start_with(&home, name, &["run", "--config", &file]));
    for visor in &mut visors {
        visor.knows(7);
    }
    for (writer, name) in visors.iter().zip(["a", "b", "c", "d", "e"]) {
        let put = writer.run(&home, &["put", name, "--min-replicas", "7"]);
        put.exits(0);
        for reader in &visors {
            let read = reader.run(&home, &["get", writer.text("key")]);
            assert_eq!(read.exits(0).text(), name);
        }
    }
}

#[test]
fn over_dmsg_a_peer_to_start_from_is_named_by_its_key_alone() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let _server = server(&home, "server", &discovery);
    let alice = visor(&home, "alice", &discovery);
    let pk = key(&alice).to_string();
    let args = [
        "run",
        "--discovery",
        discovery.text("url"),
        "--bootstrap",
        &pk,
    ];
    let mut bob = Node::start_with(&home, "bob", &args);
    assert_eq!(bob.about["bootstrap"], 1);
    bob.knows(2);
    let status = bob.run(&home, &["status", "--json"]).exits(0).json();
    assert_eq!(status["bootstrap"]["configured"], 1);
    assert_eq!(status["bootstrap"]["known"], 2, "the server, too");
    let dir = home.join("carol");
    let tcp = [
        "run",
        "--bootstrap",
        &pk,
        "--api-listen",
        "off",
        "--state-dir",
        &dir,
    ];
    fails(&home, &tcp, 2, &["has no address", "dmsg.discovery"]);
}

#[test]
fn a_visor_remembers_whom_it_knew_by_their_keys() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let server = server(&home, "server", &discovery);
    let alice = visor(&home, "alice", &discovery);
    let mut bob = visor(&home, "bob", &discovery);
    bob.wait_for("peers remembered");
    bob.knows(2);
    // The peers are saved again at the stop, with both of them.
    signal(bob.pid(), "TERM");
    assert_eq!(bob.wait(), Some(0));
    let mut bob = visor(&home, "bob", &discovery);
    assert_eq!(bob.about["remembered"], 2);
    bob.knows(2);
    let status = bob.run(&home, &["status", "--json"]).exits(0).json();
    assert_eq!(status["bootstrap"]["known"], 2, "the server is one");
    drop((alice, server));
}

#[test]
fn a_command_can_join_over_dmsg_for_one_operation() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let url = discovery.text("url");
    let missing = ["get", &"02".repeat(33), "--discovery", url, "--json"];
    let failure = run(&home, &missing).exits(3).json();
    assert_eq!(failure["code"], "unreachable");
    let why = failure["message"].as_str().unwrap();
    assert!(why.contains("the discovery knows no server"), "{why}");
    let server = server(&home, "server", &discovery);
    let file = home.join("alice.key");
    let key = run(&home, &["keygen", &file, "--json"]).exits(0).json();
    let owner = key["key"].as_str().unwrap();
    let put = ["put", "hello", "--discovery", url, "--key-file", &file];
    run(&home, &put).exits(0);
    let read = run(&home, &["get", owner, "--discovery", url]).exits(0);
    assert_eq!(read.text(), "hello");
    let ping = ["ping", server.text("key"), "--discovery", url];
    run(&home, &ping).exits(0);
    // No entry is left behind.
    let at = url.strip_prefix("http://").unwrap();
    let asked = request("GET", "/dmsg-discovery/entries", &[("Host", at)], "");
    assert_eq!(http(at, &asked).json(), json!([]));
}

#[test]
fn servers_that_start_at_the_same_time_meet() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let mut servers = std::thread::scope(|scope| {
        let (home, url) = (&home, discovery.text("url"));
        let start = |name| scope.spawn(move || server_at(home, name, url));
        ["first", "second"]
            .map(start)
            .map(|started| started.join().unwrap())
    });
    for server in &mut servers {
        server.knows(1);
    }
    let [first, second] = &servers;
    first.run(&home, &["put", "hello"]).exits(0);
    let read = second.run(&home, &["get", first.text("key")]).exits(0);
    assert_eq!(read.text(), "hello");
    let ping = first.run(&home, &["ping", second.text("key")]).exits(0);
    assert!(ping.text().contains("through a relay"), "{ping:?}");
}

#[test]
fn servers_can_be_configured_without_a_discovery() {
    let home = TempDir::new();
    let args = ["dmsg-server", "--listen", "127.0.0.1:0"];
    let server = Node::start_with(&home, "server", &args);
    let (pk, at) = (server.text("key"), server.text("dmsg_server"));
    let as_text = json!({"dmsg": {"servers": [format!("{pk}@{at}")], "sessions_count": 1}});
    let entry = json!({"static": pk, "server": {"address": at, "availableSessions": 0}});
    let as_entry = json!({"dmsg": {"servers": [entry]}});
    let mut visors = [("alice", as_text), ("bob", as_entry)].map(|(name, config)| {
        let file = home.join(&format!("{name}.json"));
        std::fs::write(&file, config.to_string()).unwrap();
        Node::start_with(&home, name, &["run", "--config", &file])
    });
    for visor in &mut visors {
        visor.knows(1);
    }
    let [alice, bob] = &visors;
    alice.run(&home, &["put", "hello"]).exits(0);
    let read = bob.run(&home, &["get", &key(alice).to_string()]).exits(0);
    assert_eq!(read.text(), "hello");
}

/// The new server knows one that the visor knows, too, but no discovery.
#[test]
fn without_its_discovery_a_visor_finds_a_new_server_in_the_dht() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let first = server(&home, "first", &discovery);
    let mut alice = visor(&home, "alice", &discovery);
    alice.knows(1);
    signal(discovery.pid(), "INT");
    assert_eq!(discovery.wait(), Some(0));
    let (pk, at) = (first.text("key"), first.text("dmsg_server"));
    let file = home.join("second.json");
    let config = json!({"dmsg": {"servers": [format!("{pk}@{at}")]}});
    std::fs::write(&file, config.to_string()).unwrap();
    let args = ["dmsg-server", "--listen", "127.0.0.1:0", "--config", &file];
    let mut second = Node::start_with(&home, "second", &args);
    second.knows(2);
    let begun = Instant::now();
    let sessions = || {
        let status = alice.run(&home, &["status", "--json"]).exits(0).json();
        status["transport"]["sessions"].as_u64().unwrap()
    };
    while sessions() < 2 {
        assert!(begun.elapsed() < DEADLINE, "no session with the new server");
    }
    first.kill();
    alice.run(&home, &["put", "still here"]).exits(0);
    let owner = key(&alice).to_string();
    let read = second.run(&home, &["get", &owner]).exits(0);
    assert_eq!(read.text(), "still here");
}

#[test]
fn a_visor_waits_for_its_discovery_and_says_so() {
    let home = TempDir::new();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", unused.local_addr().unwrap());
    drop(unused);
    let mut command = program(&home);
    command.args(["run", "--discovery", &url, "--api-listen", "127.0.0.1:0"]);
    says_while_it_starts(command, "no DMSG server yet: discovery unavailable");
}

#[test]
fn a_server_that_the_discovery_refuses_says_why() {
    let home = TempDir::new();
    let mut command = program(&home);
    command.args(["dmsg-discovery", "--addr", "0.0.0.0:0", "--json"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    assert_eq!(discovery.about["test_mode"], false);
    let mut command = program(&home);
    let url = discovery.text("url");
    command.args(["dmsg-server", "--listen", "127.0.0.1:0", "--discovery", url]);
    command.args(["--api-listen", "off"]);
    says_while_it_starts(
        command,
        "advertising localhost listening address is not allowed",
    );
}

/// Runs a command that cannot start, until it logs this text, and stops it.
#[track_caller]
fn says_while_it_starts(mut command: Command, part: &str) {
    let mut child = command.spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let ((sender, said), wanted) = (channel(), part.to_owned());
    std::thread::spawn(move || {
        let mut lines = log.lines().map_while(Result::ok);
        let found = lines.any(|line| line.contains(&wanted));
        let _ = sender.send(found);
        // The log must be read to its end, so that the process does not block.
        lines.for_each(drop);
    });
    let found = said.recv_timeout(DEADLINE);
    if found != Ok(true) {
        let _ = child.kill();
        panic!("it did not say {part:?}: {found:?}");
    }
    support::signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_configuration_is_checked_against_the_network() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let file = home.join("c.json");
    let url = discovery.text("url");
    std::fs::write(&file, json!({"dmsg": {"discovery": url}}).to_string()).unwrap();
    let check = || {
        let args = ["config", "check", "--config", &file, "--json"];
        run(&home, &args).exits(0).json()
    };
    let alone = check();
    assert_eq!(alone["dmsg"], json!({"servers": 0, "reachable": 0}));
    assert_eq!(
        alone["warnings"],
        json!(["DMSG: the discovery knows no server"])
    );
    let server = server(&home, "server", &discovery);
    let up = check();
    assert_eq!(up["dmsg"], json!({"servers": 1, "reachable": 1}));
    assert_eq!(up["warnings"], json!([]));
    let text = run(&home, &["config", "check", "--config", &file]).exits(0);
    assert!(
        text.text().contains("1 of 1 DMSG servers reachable"),
        "{text:?}"
    );
    server.kill();
    let down = check();
    assert_eq!(down["dmsg"], json!({"servers": 1, "reachable": 0}));
    drop(discovery);
    let gone = check();
    let warning = gone["warnings"][0].as_str().unwrap();
    assert!(warning.contains("discovery unavailable"), "{warning}");
}

#[test]
fn the_discovery_bounds_what_it_reads() {
    let home = TempDir::new();
    let discovery = discovery(&home);
    let at = discovery.text("url").strip_prefix("http://").unwrap();
    let host = [("Host", at)];
    let post = |body: &str| {
        let asked = request("POST", "/dmsg-discovery/entry/", &host, body);
        let answer = http(at, &asked);
        (answer.status, answer.body)
    };
    let unexpected = r#"{"message":"something unexpected happened","code":500}"#;
    assert_eq!(post(&" ".repeat(65_536)), (500, unexpected.to_owned()));
    let too_long = r#"{"message":"body too long","code":413}"#;
    assert_eq!(post(&" ".repeat(65_537)), (413, too_long.to_owned()));
    assert_eq!(post(&" ".repeat(1 << 20)), (413, too_long.to_owned()));
    let wrong = http(at, "GET / HTTP/9\r\n\r\n");
    assert_eq!(wrong.status, 400);
    let long = format!("/dmsg-discovery/entry/{}", "0".repeat(100_000));
    let long = http(at, &request("GET", &long, &host, ""));
    assert!((400..500).contains(&long.status), "{long:?}");
    let missing = http(at, &request("GET", "/nothing", &host, ""));
    assert_eq!(
        (missing.status, missing.body.as_str()),
        (404, "404 page not found\n")
    );
    let health = http(at, &request("GET", "/health", &host, ""));
    assert_eq!(health.status, 200);
}

#[track_caller]
fn fails(home: &TempDir, args: &[&str], code: i32, parts: &[&str]) {
    let failure = run(home, &[args, &["--json"]].concat()).exits(code).json();
    let text = format!("{} {}", failure["message"], failure["hint"]);
    for part in parts {
        assert!(text.contains(part), "{part:?} in {failure}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do() {
    let home = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let dir = home.join("dir");
    let place = ["--api-listen", "off", "--state-dir", &dir];
    let with = |args: &[&'static str]| [args, &place].concat();
    fails(
        &home,
        &["dmsg-discovery", "--addr", &taken],
        1,
        &["cannot listen", "--addr"],
    );
    fails(
        &home,
        &[&["dmsg-server", "--listen", &taken][..], &place].concat(),
        1,
        &["for DMSG clients", "--listen"],
    );
    fails(
        &home,
        &with(&["dmsg-server", "--listen", "0.0.0.0:0"]),
        2,
        &["the address that they are told", "--public-address"],
    );
    for (command, url, part) in [
        ("run", "ftp://disc.example", "only http"),
        ("run", "disc.example", "http://HOST:PORT"),
        ("dmsg-server", "http://", "http://HOST:PORT"),
    ] {
        fails(&home, &with(&[command, "--discovery", url]), 2, &[part]);
    }
    let file = home.join("wrong.json");
    for (text, parts) in [
        (r#"{"dmsg": 1}"#, &["expected an object"][..]),
        (
            r#"{"dmsg": {"discvery": ""}}"#,
            &["dmsg.discvery", "did you mean `dmsg.discovery`"],
        ),
        (r#"{"dmsg": {"servers": ["x"]}}"#, &["PK@IP:PORT"]),
        (r#"{"dmsg": {"protocol": "smux"}}"#, &["yamux"]),
        (r#"{"dmsg": {"max_sessions": 0}}"#, &["1 or more"]),
        (r#"{"dmsg": {"public_address": "host"}}"#, &["HOST:PORT"]),
    ] {
        std::fs::write(&file, text).unwrap();
        fails(&home, &["config", "check", "--config", &file], 2, parts);
    }
    let mut command = program(&home);
    command.env("SKYDHT_DMSG_SESSIONS_COUNT", "many");
    let failure = finish(command.args(["config", "check", "--json"]), b"");
    let failure = failure.exits(2).json();
    assert_eq!(
        failure["details"]["problems"][0]["from"],
        "SKYDHT_DMSG_SESSIONS_COUNT"
    );
}

/// A network without plain HTTP, as upstream's since June 2026: the discovery's key and one server
/// are sufficient.
#[test]
fn without_clear_http_a_discovery_on_dmsg_is_found_through_a_known_server() {
    let home = TempDir::new();
    let server = Node::start_with(&home, "first", &["dmsg-server", "--listen", "127.0.0.1:0"]);
    let at = format!("{}@{}", server.text("key"), server.text("dmsg_server"));
    let key_file = home.join("disc.key");
    run(&home, &["keygen", &key_file]).exits(0);
    let mut command = program(&home);
    command.args([
        "dmsg-discovery",
        "--addr",
        "127.0.0.1:0",
        "--json",
        "--key-file",
        &key_file,
    ]);
    command.args(["--dmsg-server", &at]);
    let discovery = Node::spawn(command, "discovery", String::new());
    let url = discovery.text("dmsg_url").to_owned();
    let config = home.path().join("dmsg.json");
    let dmsg = json!({"dmsg": {"discovery": url, "servers": [at]}});
    std::fs::write(&config, dmsg.to_string()).unwrap();
    let config = config.to_str().unwrap();
    let second = ["--config", config, "dmsg-server", "--listen", "127.0.0.1:0"];
    let second = Node::start_with(&home, "second", &second);
    let visor = |name| Node::start_with(&home, name, &["--config", config, "run"]);
    let (alice, bob) = (visor("alice"), visor("bob"));
    let end = Instant::now() + DEADLINE;
    for node in [&second, &alice, &bob] {
        loop {
            let status = node.run(&home, &["status", "--json"]).exits(0).json();
            if status["dmsg"]["discovery"]["reachable"] == true && status["ready"] == true {
                assert_eq!(status["dmsg"]["discovery"]["url"], url);
                break;
            }
            assert!(Instant::now() < end, "{status:#}");
        }
    }
    let clear = discovery.text("url").strip_prefix("http://").unwrap();
    let ask = |path: &str| {
        let asked = request("GET", path, &[("Host", clear)], "");
        http(clear, &asked).body
    };
    loop {
        let visors = ask("/dmsg-discovery/entries");
        let servers = ask("/dmsg-discovery/all_servers");
        let has_visors = [&alice, &bob]
            .iter()
            .all(|it| visors.contains(it.text("key")));
        if has_visors && servers.contains(second.text("key")) {
            break;
        }
        assert!(Instant::now() < end, "{visors} {servers}");
    }
    alice
        .run(&home, &["put", "over DMSG alone", "--salt", "s"])
        .exits(0);
    let get = ["get", alice.text("key"), "--salt", "s"];
    assert!(
        bob.run(&home, &get)
            .exits(0)
            .text()
            .starts_with("over DMSG alone")
    );
}
