//! The control API against browsers, unauthenticated clients and malformed requests.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use support::{DEADLINE, Node, TempDir, http, request};

struct Api {
    node: Node,
    host: String,
    bearer: String,
}

impl Api {
    fn start(home: &TempDir) -> Self {
        let node = Node::start(home, "a", &[]);
        let host = node.api().to_owned();
        let bearer = format!("Bearer {}", node.token());
        Self { node, host, bearer }
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> support::Answer {
        http(&self.host, &request(method, path, headers, body))
    }

    fn ours(&self, method: &str, path: &str, body: &str) -> support::Answer {
        let headers = [
            ("Host", self.host.as_str()),
            ("Authorization", &self.bearer),
        ];
        self.send(method, path, &headers, body)
    }
}

#[test]
fn strangers_pages_and_nonsense_are_refused() {
    let home = TempDir::new();
    let api = Api::start(&home);
    let host = ("Host", api.host.as_str());
    let token = ("Authorization", api.bearer.as_str());

    let mode = fs::metadata(api.node.text("token_file"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    // DNS rebinding: the page's host name in Host.
    for path in ["/livez", "/status", "/"] {
        let answer = api.send("GET", path, &[("Host", "evil.example"), token], "");
        assert_eq!(answer.status, 421, "{answer:?}");
        assert_eq!(answer.json()["code"], "misdirected");
    }
    let answer = http(
        &api.host,
        "GET http://evil.example/livez HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(answer.status, 421);

    // Only /livez is open without the token.
    assert_eq!(api.send("GET", "/livez", &[host], "").status, 200);
    for path in [
        "/",
        "/readyz",
        "/status",
        "/metrics",
        "/peers",
        "/config",
        "/get/self",
        "/nowhere",
    ] {
        let answer = api.send("GET", path, &[host], "");
        assert_eq!(answer.status, 401, "{path}");
        assert!(
            answer.head.contains("www-authenticate: bearer"),
            "{}",
            answer.head
        );
        assert_eq!(
            api.send("GET", path, &[host, ("Authorization", "Bearer x")], "")
                .status,
            401
        );
    }
    assert_eq!(api.send("POST", "/shutdown", &[host], "").status, 401);

    // Pages may not write, even with the token.
    let answer = api.send(
        "POST",
        "/put",
        &[host, token, ("Origin", "http://evil.example")],
        "{}",
    );
    assert_eq!(answer.status, 403);
    assert_eq!(answer.json()["code"], "foreign_origin");

    // Malformed requests.
    assert_eq!(
        api.ours("GET", "/nowhere", "").json()["code"],
        "no_such_path"
    );
    assert_eq!(api.ours("GET", "/put", "").status, 405);
    assert_eq!(api.ours("DELETE", "/status", "").json()["code"], "method");
    assert_eq!(api.ours("POST", "/put", "{").json()["code"], "usage");
    assert_eq!(api.ours("POST", "/put", r#"{"txt": "a"}"#).status, 400);
    assert_eq!(api.ours("POST", "/get", r#"{"pk": "02"}"#).status, 400);
    assert_eq!(api.ours("GET", "/get/xyz", "").status, 400);
    // Members are not assigned by position, and every refusal is JSON.
    for path in ["/put", "/get", "/ping"] {
        for body in [
            r#"["dg=="]"#,
            r#"["self"]"#,
            "[]",
            "null",
            "1",
            "\"x\"",
            "",
            " ",
        ] {
            let answer = api.ours("POST", path, body);
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (400, &"usage".into()),
                "{path} {body}"
            );
        }
    }
    for path in [
        "/get/self/%ff",
        "/get/%ff",
        "/get/%ff/%c3",
        "/get/self/a%00b/c",
    ] {
        let answer = api.ours("GET", path, "");
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer:?}");
        assert_eq!(answer.json()["schema"], "skydht.error/1", "{path}");
    }
    let long = format!(r#"{{"text": "{}"}}"#, "a".repeat(200_000));
    assert_eq!(api.ours("POST", "/put", &long).status, 413);
    let answer = api.ours(
        "POST",
        "/put",
        &format!(r#"{{"text": "{}"}}"#, "a".repeat(65_537)),
    );
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (413, Some("too_large"))
    );
}

#[test]
fn every_answer_is_json_with_a_schema_and_is_not_cached() {
    let home = TempDir::new();
    let api = Api::start(&home);
    let index = api.ours("GET", "/", "").json();
    let endpoints = index["endpoints"].as_array().unwrap();
    assert!(endpoints.len() >= 10);
    for endpoint in endpoints
        .iter()
        .filter(|endpoint| endpoint["path"] != "/shutdown")
        // An endless stream of events.
        .filter(|endpoint| !endpoint["path"].as_str().unwrap().starts_with("/watch/"))
        // Plain text; see tests/metrics.rs.
        .filter(|endpoint| endpoint["path"] != "/metrics")
        // HTML and an endless stream of events; see tests/ui.rs.
        .filter(|endpoint| !matches!(endpoint["path"].as_str(), Some("/ui" | "/ui/events")))
    {
        let path = endpoint["path"]
            .as_str()
            .unwrap()
            .replace("{pk}", "self")
            .replace("{salt}", "s");
        let answer = api.ours(endpoint["method"].as_str().unwrap(), &path, "{}");
        let schema = answer.json()["schema"].as_str().unwrap().to_owned();
        assert!(
            schema.starts_with("skydht.") && schema.ends_with("/1"),
            "{path}: {schema}"
        );
        assert_eq!(answer.status == 200, schema != "skydht.error/1", "{path}");
        assert!(answer.head.contains("cache-control: no-store"), "{path}");
        assert!(
            answer.head.contains("x-content-type-options: nosniff"),
            "{path}"
        );
    }
    // Without peers the node is not ready, and says why.
    let ready = api.ours("GET", "/readyz", "");
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("alone"),
        "{ready:?}"
    );
    // The configuration contains no secret.
    let config = api.ours("GET", "/config", "").body;
    let secret = fs::read_to_string(format!("{}/node.key", api.node.dir)).unwrap();
    assert!(
        config.contains("key_file")
            && !config.contains(secret.trim())
            && !config.contains(&api.node.token())
    );
}

#[test]
fn idle_and_slow_connections_do_not_keep_others_out_or_the_node_up() {
    let home = TempDir::new();
    let api = Api::start(&home);
    let mut slow: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(&api.host).unwrap())
        .collect();
    for stream in &mut slow {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost:").unwrap();
    }
    assert_eq!(api.ours("GET", "/status", "").status, 200);
    let answer = api.ours("POST", "/shutdown", "");
    assert_eq!(answer.json()["stopping"], true);
    assert_eq!(api.node.wait(), Some(0));
    let mut rest = Vec::new();
    slow[0].set_read_timeout(Some(DEADLINE)).unwrap();
    // The connection is closed, with or without an error.
    let _ = slow[0].read_to_end(&mut rest);
    assert!(TcpStream::connect(&api.host).is_err(), "the port is free");
}
