//! `skydht doctor` against every fault that it can find, each caused on purpose.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use support::{Node, Ran, TempDir, finish, program, signal, until};

const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

/// Returns an address where nothing listens.
fn unused() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Builds the doctor's command for a state directory, with free ports.
fn doctor(home: &TempDir, environment: &[(&str, &str)]) -> Command {
    let mut command = program(home);
    command
        .args(["doctor", "--json", "--state-dir", &home.join("s")])
        .env("SKYDHT_LISTEN", "127.0.0.1:0")
        .env("SKYDHT_API_LISTEN", "127.0.0.1:0")
        .envs(environment.iter().copied());
    command
}

fn ask(home: &TempDir, environment: &[(&str, &str)]) -> Ran {
    finish(&mut doctor(home, environment), b"")
}

/// Returns the reason with this check, which must have cause, evidence and remedy.
#[track_caller]
fn reason<'a>(report: &'a Value, check: &str) -> &'a Value {
    let reasons = report["reasons"].as_array().unwrap();
    for reason in reasons {
        for part in ["cause", "evidence", "remedy"] {
            assert_ne!(reason[part].as_str().unwrap(), "", "{reason:#}");
        }
    }
    let found = reasons.iter().find(|reason| reason["check"] == check);
    found.unwrap_or_else(|| panic!("nothing about {check} in {report:#}"))
}

/// Checks that the doctor exits with this status and reports this evidence; the root cause comes
/// first.
#[track_caller]
fn finds(ran: Ran, exit: i32, check: &str, evidence: &str) -> Value {
    let report = ran.exits(exit).json();
    let verdict = ["green", "yellow", "red"][exit as usize];
    assert_eq!(report["verdict"], verdict, "{report:#}");
    let found = reason(&report, check);
    assert!(found.to_string().contains(evidence), "{report:#}");
    assert_eq!(report["reasons"][0]["verdict"], verdict, "{report:#}");
    report
}

/// Returns whether a check succeeded.
fn fine(report: &Value, check: &str) -> bool {
    let checked = report["checked"].as_array().unwrap();
    checked
        .iter()
        .any(|it| it["check"] == check && it["ok"] == true)
}

#[test]
fn a_machine_that_is_ready_lacks_a_node_and_peers_alone() {
    let home = TempDir::new();
    let report = finds(ask(&home, &[]), 1, "node", "skydht run");
    assert_eq!(report["running"], false);
    reason(&report, "bootstrap");
    assert_eq!(report["reasons"].as_array().unwrap().len(), 2, "{report:#}");
    for check in [
        "configuration",
        "state_dir",
        "disk",
        "key",
        "listen",
        "api_listen",
        "open_files",
    ] {
        assert!(fine(&report, check), "{check}: {report:#}");
    }
    // The doctor creates nothing.
    assert!(!home.path().join("s").exists());
    // As text: the verdict first, then a command for each reason.
    let mut command = program(&home);
    command
        .args(["doctor", "--state-dir", &home.join("s")])
        .env("SKYDHT_LISTEN", "127.0.0.1:0")
        .env("SKYDHT_API_LISTEN", "127.0.0.1:0");
    let text = finish(&mut command, b"").exits(1);
    assert!(text.text().starts_with("YELLOW\n"), "{text:?}");
    assert!(
        text.text().contains("\n  skydht run --state-dir "),
        "{text:?}"
    );
}

#[test]
fn a_configuration_that_run_would_refuse() {
    let home = TempDir::new();
    let file = home.join("c.json");
    fs::write(&file, "{\"max_item\": 1}").unwrap();
    let ran = ask(&home, &[("SKYDHT_CONFIG", &file)]);
    finds(ran, 2, "configuration", "max_items");
}

#[test]
fn a_key_file_that_is_missing_or_open_to_others_or_no_key() {
    let home = TempDir::new();
    let file = home.join("my.key");
    let named = [("SKYDHT_KEY_FILE", file.as_str())];
    finds(ask(&home, &named), 2, "key", "skydht keygen");
    fs::write(&file, "no key").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    finds(ask(&home, &named), 2, "key", "holds no secret key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    finds(ask(&home, &named), 2, "key", "chmod 600");
    let secret = [("SKYDHT_SECRET_KEY", "0123")];
    let report = finds(ask(&home, &secret), 2, "key", "SKYDHT_SECRET_KEY");
    assert!(!report.to_string().contains("0123"), "{report:#}");
}

#[test]
fn a_port_that_another_program_has() {
    let home = TempDir::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    for (variable, check) in [
        ("SKYDHT_LISTEN", "listen"),
        ("SKYDHT_API_LISTEN", "api_listen"),
    ] {
        let ran = ask(&home, &[(variable, &at.to_string())]);
        let names = format!("sport = :{}", at.port());
        let report = finds(ran, 2, check, &names);
        let found = reason(&report, check);
        assert!(found["cause"].as_str().unwrap().contains("is taken"));
    }
    // An address that this machine does not have.
    let ran = ask(&home, &[("SKYDHT_LISTEN", "192.0.2.1:7470")]);
    finds(ran, 2, "listen", "cannot be used");
}

#[test]
fn a_state_directory_that_cannot_be_made_or_that_others_may_write_to() {
    let home = TempDir::new();
    fs::write(home.join("file"), "").unwrap();
    let under = home.join("file/below");
    let ran = ask(&home, &[]);
    assert!(fine(&ran.exits(1).json(), "state_dir"));
    let mut other = program(&home);
    other
        .args(["doctor", "--json", "--state-dir", &under])
        .env("SKYDHT_LISTEN", "127.0.0.1:0")
        .env("SKYDHT_API_LISTEN", "127.0.0.1:0");
    finds(finish(&mut other, b""), 2, "state_dir", "is no directory");
    let dir = home.join("s");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    finds(ask(&home, &[]), 2, "state_dir", "chmod");
}

/// Runs the doctor under a limit set by the shell.
fn limited(home: &TempDir, limit: &str) -> Ran {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_skydht"))
        .args(["doctor", "--json", "--state-dir", &home.join("s")])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home.path())
        .env("SKYDHT_LISTEN", "127.0.0.1:0")
        .env("SKYDHT_API_LISTEN", "127.0.0.1:0")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    finish(&mut command, b"")
}

#[test]
fn a_disk_without_room() {
    let home = TempDir::new();
    let dir = home.join("s");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    finds(limited(&home, "ulimit -f 0"), 2, "disk", "df -h");
    // Its test file has been removed.
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    assert!(fine(&ask(&home, &[]).exits(1).json(), "state_dir"));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
}

#[test]
fn too_few_open_files() {
    let home = TempDir::new();
    let report = finds(
        limited(&home, "ulimit -n 400"),
        1,
        "open_files",
        "ulimit -n",
    );
    assert!(reason(&report, "open_files").to_string().contains("400"));
}

#[test]
fn bootstrap_peers_that_do_not_answer_or_are_others() {
    let home = TempDir::new();
    let peer = format!("{KEY}@{}", unused());
    let ran = ask(&home, &[("SKYDHT_BOOTSTRAP", &peer)]);
    finds(ran, 2, "bootstrap", "refused");
    let ran = ask(
        &home,
        &[("SKYDHT_BOOTSTRAP", &format!("{KEY}@no.such.name.invalid:1"))],
    );
    finds(ran, 2, "bootstrap", "no.such.name.invalid");

    let other = Node::start(&home, "other", &[]);
    let stranger = format!("{KEY}@{}", other.text("listen"));
    let ran = ask(&home, &[("SKYDHT_BOOTSTRAP", &stranger)]);
    finds(ran, 2, "bootstrap", "not with this key");
    // A single bootstrap peer that answers is sufficient.
    let both = format!("{peer},{}", other.address());
    let report = ask(&home, &[("SKYDHT_BOOTSTRAP", &both)]).exits(1).json();
    assert!(fine(&report, "bootstrap"), "{report:#}");
    assert!(report.to_string().contains("1 of 2 bootstrap peers answer"));
}

#[test]
fn a_discovery_that_is_away_and_one_without_servers() {
    let home = TempDir::new();
    let url = format!("http://{}", unused());
    let ran = ask(&home, &[("SKYDHT_DMSG_DISCOVERY", &url)]);
    finds(ran, 2, "discovery", "curl -si http://127.0.0.1:");

    let mut command = program(&home);
    command.args(["dmsg-discovery", "--addr", "127.0.0.1:0", "--json"]);
    let discovery = Node::spawn(command, "discovery", String::new());
    let url = [("SKYDHT_DMSG_DISCOVERY", discovery.text("url"))];
    let report = finds(ask(&home, &url), 2, "dmsg_servers", "no DMSG server");
    assert!(fine(&report, "discovery"), "{report:#}");
    let args = ["dmsg-server", "--discovery", discovery.text("url")];
    let args = [&args[..], &["--listen", "127.0.0.1:0"]].concat();
    let server = Node::start_with(&home, "server", &args);
    let report = finds(ask(&home, &url), 1, "node", "no node runs");
    for check in ["discovery", "dmsg_servers", "clock"] {
        assert!(fine(&report, check), "{check}: {report:#}");
    }
    drop(server);
    finds(ask(&home, &url), 2, "dmsg_servers", "reachable");
}

#[test]
fn a_clock_that_the_discovery_contradicts() {
    let home = TempDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let ago = Duration::from_secs(3 * 86_400);
            let date = httpdate::fmt_http_date(UNIX_EPOCH + now - ago);
            let _ = write!(
                stream,
                "HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: 32\r\nConnection: close\r\n\r\n{{\"code\":404,\"message\":\"nothing\"}}"
            );
        }
    });
    let ran = ask(&home, &[("SKYDHT_DMSG_DISCOVERY", &url)]);
    let report = finds(ran, 2, "clock", "timedatectl");
    let cause = reason(&report, "clock")["cause"].as_str().unwrap();
    assert!(cause.contains("3d0h ahead"), "{cause}");
}

#[test]
fn a_node_that_runs_is_asked_and_one_that_hangs_is_named() {
    let home = TempDir::new();
    let mut node = Node::start(&home, "s", &[]);
    let report = finds(ask(&home, &[]), 1, "peers", "alone");
    assert_eq!(report["running"], true);
    assert_eq!(report["key"], node.text("key"));
    let other = Node::start(&home, "other", &[&node]);
    node.knows(1);
    until(&node, &home, "green", |status| status["verdict"] == "green");
    let report = ask(&home, &[]).exits(0).json();
    assert_eq!(report["reasons"], serde_json::json!([]));
    // A running node's own ports are not reported as taken.
    let at = node.text("listen").to_owned();
    ask(&home, &[("SKYDHT_LISTEN", &at)]).exits(0);
    signal(node.pid(), "STOP");
    let ran = ask(&home, &[]);
    signal(node.pid(), "CONT");
    finds(ran, 2, "node", "kill -CONT");
    drop(other);
}
