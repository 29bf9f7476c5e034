//! The JSON of each command, for success and failure, compared with files in `golden/`.
//!
//! Values that differ between runs are replaced by their kind, and numbers by 0. To accept a
//! change, run with `SKYDHT_UPDATE_GOLDEN=1`, and read the difference before committing it.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};
use support::{Node, TempDir, http, program, request, run};

/// Replaces values that differ between runs.
fn normal(value: Value, key: &str, home: &str) -> Value {
    match value {
        // The set of counters is the core's; only its presence is checked.
        Value::Object(map) if key == "counters" => json!({"…": i32::from(map.is_empty())}),
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| {
                    let value = normal(value, &key, home);
                    (key, value)
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => list
            .into_iter()
            .filter(|value| !is_further_limit(value))
            .map(|value| normal(value, key, home))
            .collect(),
        Value::Number(_) if key == "exit" || key == "line" => value,
        Value::Number(_) => json!(0),
        Value::String(text) => json!(normal_text(&text, home)),
        other => other,
    }
}

/// The set of limits is the core's, too; the first one shows the format.
fn is_further_limit(value: &Value) -> bool {
    let name = value["key"]
        .as_str()
        .and_then(|key| key.strip_prefix("limits."));
    name.is_some_and(|name| name != "streams")
}

fn normal_text(text: &str, home: &str) -> String {
    let text = text.replace(home, "<home>");
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c))) {
        let end = word
            .find(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c)))
            .unwrap_or(word.len());
        let (token, rest) = word.split_at(end);
        // A key with a DMSG port.
        let (token, rest) = match token.split_once(':') {
            Some((key, _)) if key.len() == 66 => word.split_at(66),
            _ => (token, rest),
        };
        let hex = token.bytes().all(|b| b.is_ascii_hexdigit());
        let number = !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
        out.push_str(match token.len() {
            66 if hex => "<key>",
            64 if hex => "<id>",
            16..=20 if number => "<seq>",
            _ if token.starts_with("127.0.0.1:") => "<addr>",
            _ => token,
        });
        out.push_str(rest);
    }
    // The duration of the operation.
    match out.rfind(", ").filter(|at| out[*at..].ends_with(" ms")) {
        Some(at) => format!("{}, <time>", &out[..at]),
        None => out,
    }
}

#[track_caller]
fn check(name: &str, value: Value, home: &TempDir) {
    let value = normal(value, "", home.path().to_str().unwrap());
    let text = format!("{value:#}\n");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
    if std::env::var_os("SKYDHT_UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "differs from {}", path.display());
}

#[test]
fn commands_that_need_no_node() {
    let home = TempDir::new();
    let key = home.join("k");
    let json = |args: &[&str], code| run(&home, &[args, &["--json"]].concat()).exits(code).json();
    check("keygen", json(&["keygen", &key], 0), &home);
    check("keygen_exists", json(&["keygen", &key], 6), &home);
    let file = home.join("c.json");
    check(
        "config_init",
        json(&["config", "init", "--config", &file], 0),
        &home,
    );
    check(
        "config_init_exists",
        json(&["config", "init", "--config", &file], 6),
        &home,
    );
    check(
        "config_check",
        json(&["config", "check", "--config", &file], 0),
        &home,
    );
    check(
        "config_show",
        json(&["config", "show", "--config", &file], 0),
        &home,
    );
    check("config_keys", json(&["config", "keys"], 0), &home);
    fs::write(
        &file,
        "{\"max_item\": 1,\n \"item_ttl\": true, \"max_items\": -1}",
    )
    .unwrap();
    check(
        "config_check_wrong",
        json(&["config", "check", "--config", &file], 2),
        &home,
    );
    check(
        "run_wrong_config",
        json(&["run", "--config", &file], 2),
        &home,
    );
    let journal = home.join("journal");
    fs::write(&journal, "something else").unwrap();
    check("replay_no_journal", json(&["replay", &journal], 1), &home);
    check("usage", json(&["get", "02"], 2), &home);
    check("full_node_no_node", json(&["full-node", "on"], 3), &home);
    check("status_no_node", json(&["status"], 3), &home);
    check("put_no_node", json(&["put", "v"], 3), &home);
    check("put_empty", json(&["put", ""], 2), &home);
    check(
        "put_too_large",
        json(&["put", "v", "--salt", &"s".repeat(201)], 6),
        &home,
    );
    check("stop_no_node", json(&["stop"], 3), &home);
    let version = json(&["version"], 0);
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    check("version", version, &home);
    check(
        "config_get",
        json(&["config", "get", "max_items"], 0),
        &home,
    );
    check(
        "config_get_unknown",
        json(&["config", "get", "max_item"], 2),
        &home,
    );
    let new = home.join("new.json");
    let set = ["config", "set", "item_ttl", "90m", "--config", &new];
    check("config_set", json(&set, 0), &home);
    let set = ["config", "set", "item_ttl", "0", "--config", &new];
    check("config_set_wrong", json(&set, 2), &home);
    check("unknown_command", json(&["stat"], 2), &home);
}

#[test]
fn commands_on_nodes() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    check("run", a.about.clone(), &home);
    let json = |node: &Node, args: &[&str], code| {
        node.run(&home, &[args, &["--json"]].concat())
            .exits(code)
            .json()
    };
    let once = ["put", "v", "--salt", "once", "--once"];
    check("put_no_peers", json(&a, &once, 3), &home);
    check("put_kept", json(&a, &["put", "v"], 5), &home);
    check("ls", json(&a, &["ls"], 0), &home);
    check(
        "get_no_peers",
        json(&a, &["get", "self", "nothing"], 3),
        &home,
    );
    check("status_alone", json(&a, &["status"], 0), &home);

    let journal = home.join("journal");
    let args = ["run", "--listen", "127.0.0.1:0", "--journal", &journal];
    let peer = a.address();
    let args = [&args[..], &["--bootstrap", &peer]].concat();
    let mut b = Node::start_with(&home, "b", &args);
    b.knows(1);
    a.knows(1);
    check("put", json(&a, &["put", "hello", "--salt", "s"], 0), &home);
    let owner = a.text("key").to_owned();
    check("get", json(&b, &["get", &owner, "s"], 0), &home);
    check(
        "put_partial",
        json(&a, &["put", "v", "--min-replicas", "9"], 5),
        &home,
    );
    check(
        "put_sequence",
        json(&a, &["put", "v", "--salt", "s", "--seq", "1"], 6),
        &home,
    );
    check(
        "put_conflict",
        json(&a, &["put", "v", "--salt", "s", "--expect", "1"], 6),
        &home,
    );
    check("delete", json(&a, &["delete", "self", "s"], 0), &home);
    check(
        "delete_others",
        json(&b, &["delete", &owner, "s"], 6),
        &home,
    );
    check("get_deleted", json(&b, &["get", &owner, "s"], 4), &home);
    check(
        "get_not_found",
        json(&b, &["get", &owner, "nothing"], 4),
        &home,
    );
    check("full_node", json(&b, &["full-node"], 0), &home);
    check("sync_regular", json(&b, &["sync"], 6), &home);
    check("full_node_on", json(&b, &["full-node", "on"], 0), &home);
    check("sync_not_full", json(&b, &["sync", &owner], 5), &home);
    check("full_node", json(&b, &["full-node", "off"], 0), &home);
    check("peers", json(&b, &["peers"], 0), &home);
    check("status", json(&b, &["status"], 0), &home);
    check("ping", json(&b, &["ping", &owner], 0), &home);

    // The command's JSON equals the HTTP body.
    let bearer = format!("Bearer {}", b.token());
    let headers = [("Host", b.api()), ("Authorization", bearer.as_str())];
    let body = |method: &str, path: &str, body: &str| {
        http(b.api(), &request(method, path, &headers, body)).json()
    };
    check("peers", body("GET", "/peers", ""), &home);
    check("ls_none", json(&b, &["ls"], 0), &home);
    check("ls_none", body("GET", "/items", ""), &home);
    check("full_node", body("GET", "/full-node", ""), &home);
    check("syncs_none", body("GET", "/sync", ""), &home);
    // All items with this salt fit into one page.
    let filter = r#"{"salt":"s"}"#;
    check("list", body("POST", "/list", filter), &home);
    check("status", body("GET", "/status", ""), &home);
    check(
        "get_not_found",
        body("GET", &format!("/get/{owner}/nothing"), ""),
        &home,
    );
    check(
        "get_not_found",
        body(
            "POST",
            "/get",
            &format!(r#"{{"pk":"{owner}","salt":"nothing"}}"#),
        ),
        &home,
    );
    check("index", body("GET", "/", ""), &home);
    check("livez", body("GET", "/livez", ""), &home);
    check("readyz", body("GET", "/readyz", ""), &home);
    check("config", body("GET", "/config", ""), &home);
    check("shutdown", body("POST", "/shutdown", ""), &home);
    assert_eq!(b.wait(), Some(0));
    check("stop", json(&a, &["stop"], 0), &home);
    assert_eq!(a.wait(), Some(0));
    let replay = |more: &[&str]| {
        let mut replay = run(&home, &[&["replay", &journal, "--json"], more].concat())
            .exits(0)
            .json();
        replay["digest"] = json!("<digest>");
        replay
    };
    check("replay", replay(&[]), &home);
    let trace = ["replay", &journal, "--json", "--trace-op"];
    let trace = |op, code| run(&home, &[&trace[..], &[op]].concat()).exits(code).json();
    let mut course = trace("1", 0);
    // The format of outcomes is the core's.
    course["outcome"] = json!({"…": i32::from(course["outcome"]["get"]["Ok"].is_object())});
    check("replay_trace", course, &home);
    check("replay_no_operation", trace("9999", 2), &home);
    let mut step = replay(&["--until", "0", "--explain"]);
    // The snapshot's fields are the core's, and are covered by the status report.
    step["snapshot"] = json!({"…": i32::from(step["snapshot"].is_object())});
    check("replay_step", step, &home);
}

#[test]
fn dmsg_services() {
    let home = TempDir::new();
    let mut command = program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    check("dmsg_discovery", discovery.about.clone(), &home);
    let url = discovery.text("url");
    let args = ["dmsg-server", "--discovery", url, "--listen", "127.0.0.1:0"];
    let server = Node::start_with(&home, "server", &args);
    check("dmsg_server", server.about.clone(), &home);
    let visor = Node::start_with(&home, "visor", &["run", "--discovery", url]);
    check("run_dmsg", visor.about.clone(), &home);
    let nowhere = ["dmsg-server", "--listen", "0.0.0.0:0", "--json"];
    let failed = run(&home, &nowhere).exits(2).json();
    check("dmsg_server_nowhere", failed, &home);
    let taken = url.strip_prefix("http://").unwrap();
    let failed = run(&home, &["dmsg-discovery", "--addr", taken, "--json"]);
    check("dmsg_discovery_taken", failed.exits(1).json(), &home);
}

#[test]
fn demo_and_bench() {
    let home = TempDir::new();
    let demo = run(&home, &["demo", "--nodes", "6", "--items", "4", "--json"])
        .exits(0)
        .json();
    check("demo", demo, &home);
    let args = [
        "bench",
        "network",
        "--nodes",
        "4",
        "--ops",
        "6",
        "--concurrency",
        "2",
        "--json",
    ];
    let mut bench = run(&home, &args).exits(0).json();
    for field in ["command", "machine"] {
        assert!(
            bench[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}"
        );
        bench[field] = json!("<text>");
    }
    bench["optimised"] = json!(false);
    check("bench_network", bench, &home);
}
