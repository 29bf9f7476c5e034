//! The demo and a benchmark: their reports must match what happened.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Node, TempDir, finish, http, request, run};

#[test]
fn the_demo_loses_nothing_and_reads_from_nodes_that_do_not_hold_the_item() {
    let home = TempDir::new();
    let args = [
        "demo",
        "--transport",
        "tcp",
        "--nodes",
        "30",
        "--items",
        "12",
    ];
    let ran = run(&home, &[&args[..], &["--json"]].concat()).exits(0);
    assert_eq!(ran.text().lines().count(), 1, "one object");
    let report = ran.json();
    assert_eq!(
        (report["nodes"].as_u64(), report["failures"].as_u64()),
        (Some(30), Some(0))
    );
    assert_eq!(report["puts"], 12 + 6 + 3);
    assert_eq!(report["gets"], 36);
    assert_eq!(report["stopped"], 7);
    assert_eq!(report["transport"], "tcp");
    for field in ["get_p50_ms", "get_p99_ms", "put_p50_ms", "up_s", "seconds"] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field}: {report}");
    }
    assert!(ran.stderr.contains("nodes are up"), "{}", ran.stderr);

    let args = ["demo", "--transport", "tcp", "--nodes", "5", "--items", "3"];
    let table = run(&home, &args).exits(0);
    assert!(table.text().starts_with("STEP "), "{}", table.text());
    assert!(
        table.text().contains("nothing was lost"),
        "{}",
        table.text()
    );
}

#[test]
fn the_demo_over_dmsg_loses_nothing_when_a_server_is_killed() {
    let home = TempDir::new();
    let args = ["demo", "--nodes", "12", "--items", "8", "--json"];
    let ran = run(&home, &args).exits(0);
    let report = ran.json();
    assert_eq!(report["transport"], "dmsg");
    assert_eq!(
        (&report["servers"], &report["servers_killed"]),
        (&2.into(), &1.into())
    );
    assert_eq!(
        (&report["nodes"], &report["stopped"]),
        (&12.into(), &0.into())
    );
    assert_eq!((&report["puts"], &report["gets"]), (&14.into(), &24.into()));
    assert_eq!(report["failures"], 0, "{report}");
    for part in [
        "over a discovery and 2 DMSG servers",
        "1 of 2 DMSG servers killed",
    ] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
}

#[test]
fn a_demo_that_stays_answers_commands() {
    let home = TempDir::new();
    // The options that `start_with` adds have no effect: state directory and API address are the
    // demo's own.
    let args = ["demo", "--nodes", "8", "--items", "4", "--stay"];
    let demo = Node::start_with(&home, "unused", &args);
    let stay = &demo.about["stay"];
    let (api, token) = (
        stay["api"].as_str().unwrap(),
        stay["token_file"].as_str().unwrap(),
    );
    let at = ["--api", api, "--token-file", token];
    let status = run(&home, &[&["status", "--json"][..], &at].concat())
        .exits(0)
        .json();
    assert_eq!(status["ready"], true);
    run(&home, &[&["put", "hello"][..], &at].concat()).exits(0);
    assert_eq!(
        run(&home, &[&["get", "self"][..], &at].concat())
            .exits(0)
            .text(),
        "hello"
    );
    // Another node can join.
    let next = stay["next"][3].as_str().unwrap();
    let (_, url) = next.split_once("run --discovery ").unwrap();
    let (url, _) = url.split_once(' ').unwrap();
    let mut joined = Node::start_with(&home, "joined", &["run", "--discovery", url]);
    joined.knows(8);
    let owner = status["key"].as_str().unwrap();
    let read = joined.run(&home, &["get", owner]).exits(0);
    assert_eq!(read.text(), "hello");

    // It stops cleanly and removes its directory.
    let token = Path::new(token).to_owned();
    let bearer = format!("Bearer {}", fs::read_to_string(&token).unwrap().trim());
    let host = api.strip_prefix("http://").unwrap();
    let headers = [("Host", host), ("Authorization", bearer.as_str())];
    assert_eq!(
        http(host, &request("POST", "/shutdown", &headers, "")).status,
        200
    );
    assert_eq!(demo.wait(), Some(0));
    assert!(!token.parent().unwrap().exists());
}

#[test]
fn the_bench_measures_what_it_says() {
    let home = TempDir::new();
    let args = [
        "bench",
        "network",
        "--nodes",
        "5",
        "--ops",
        "20",
        "--concurrency",
        "4",
        "--json",
    ];
    let report = run(&home, &args).exits(0).json();
    assert_eq!(report["failures"], 0, "{report}");
    for field in [
        "puts_per_s",
        "gets_per_s",
        "gets_fresh_per_s",
        "put_p50_ms",
        "put_p99_ms",
        "get_p50_ms",
        "get_p99_ms",
        "rss_mib",
        "up_s",
    ] {
        assert!(report[field].as_f64().unwrap() > 0.0, "{field}: {report}");
    }
    assert_eq!(report["seed"], 1);
    assert!(
        report["command"]
            .as_str()
            .unwrap()
            .contains("bench network --nodes 5")
    );
}

#[test]
fn too_few_open_files_are_named_with_what_to_do() {
    let home = TempDir::new();
    let skydht = env!("CARGO_BIN_EXE_skydht");
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("ulimit -n 200 && exec {skydht} bench network --nodes 100 --json"),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("HOME", home.path());
    let failure = finish(&mut command, b"").exits(1).json();
    assert_eq!(failure["code"], "local");
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("may have 200"),
        "{failure}"
    );
    assert!(
        failure["hint"].as_str().unwrap().contains("ulimit -n"),
        "{failure}"
    );
}
