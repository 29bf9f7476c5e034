//! `bench abuse`: every attack runs for a second. The node must survive, the figures must be
//! present, and no file or process may be left. Latencies are not checked, because other tests run
//! concurrently.

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use support::{DEADLINE, TempDir, finish, program, run, signal};

/// The benchmark, with its temporary files in the test's directory.
fn bench(home: &TempDir, args: &[&str]) -> Command {
    let mut command = program(home);
    command.env("TMPDIR", home.path());
    command.args(["bench", "abuse", "--json", "--seconds", "1"]);
    command.args(args);
    command
}

/// Checks that no files or processes are left.
#[track_caller]
fn assert_nothing_is_left(home: &TempDir) {
    let files: Vec<_> = fs::read_dir(home.path()).unwrap().flatten().collect();
    assert!(files.is_empty(), "{files:?}");
    let left = processes(home);
    assert!(left.is_empty(), "left running: {left:?}");
}

/// Returns the command lines of processes that contain a directory.
fn processes(home: &TempDir) -> Vec<String> {
    let path = home.path().to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let words = processes.map(|process| {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ")
    });
    words.filter(|words| words.contains(path)).collect()
}

#[track_caller]
fn await_processes(home: &TempDir, enough: impl Fn(usize) -> bool) {
    let end = Instant::now() + DEADLINE;
    while !enough(processes(home).len()) {
        assert!(Instant::now() < end, "{:?}", processes(home));
    }
}

#[track_caller]
fn survives(family: &str) {
    let home = TempDir::new();
    let list = run(&home, &["bench", "abuse", "--list", "--json"])
        .exits(0)
        .json();
    let names: Vec<&str> = list["attacks"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|attack| attack["name"].as_str())
        .filter(|name| name.starts_with(family))
        .collect();
    assert!(!names.is_empty(), "no attack begins with {family}");
    for name in names {
        let ran = finish(&mut bench(&home, &["--attack", name]), b"");
        let report = ran.json();
        assert!(matches!(ran.code, Some(0 | 5)), "{ran:?}");
        let attack = &report["attacks"][0];
        assert_eq!(attack["name"], name);
        assert_eq!(attack["survived"], true, "{attack}");
        assert!(
            attack["attacker"]["opened"].as_u64().unwrap() > 0,
            "{attack}"
        );
        for phase in ["before", "during", "after"] {
            for figure in ["ping", "put", "get", "newcomer", "livez", "status"] {
                let count = attack[phase][figure]["count"].as_u64().unwrap();
                assert!(count > 0, "{phase} {figure}: {attack}");
            }
        }
        let before = &attack["before"];
        assert_eq!(before["ping"]["failures"], 0, "{before}");
        assert!(before["ping"]["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
        for when in ["before", "peak", "after"] {
            assert!(attack["rss_mib"][when].as_f64().unwrap() > 1.0, "{attack}");
        }
        assert_nothing_is_left(&home);
    }
}

#[test]
fn survives_requests_that_are_half_sent() {
    survives("half-sent");
}

#[test]
fn survives_answers_that_are_never_read() {
    survives("never-read");
}

#[test]
fn survives_pages_in_bulk() {
    survives("get-items");
}

#[test]
fn survives_junk() {
    survives("junk");
}

#[test]
fn survives_forged_batches() {
    survives("verify");
}

#[test]
fn survives_a_long_wait_queue() {
    survives("wait-queue");
}

#[test]
fn survives_half_open_connections() {
    survives("half-open");
}

#[test]
fn a_dmsg_server_survives_those_who_take_all_they_can() {
    survives("relay");
}

#[test]
fn survives_attacks_on_the_control_api() {
    survives("api");
}

#[test]
fn a_signal_ends_the_bench_with_all_its_processes() {
    let home = TempDir::new();
    let mut child = bench(&home, &["--attack", "half-sent"]).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let attacked = stderr
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("under attack"));
    assert!(attacked, "it ended before the attack");
    signal(child.id(), "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_nothing_is_left(&home);
}

#[test]
fn only_known_attacks_on_this_machine_are_run() {
    let home = TempDir::new();
    let failure = run(&home, &["bench", "abuse", "--attack", "teardrop", "--json"])
        .exits(2)
        .json();
    assert!(
        failure["hint"].as_str().unwrap().contains("half-sent"),
        "{failure}"
    );
    let key = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";
    let far = [
        "bench",
        "attacker",
        "half-sent",
        key,
        "192.0.2.1:1",
        "127.0.0.1:1",
        "1",
    ];
    let mut command = program(&home);
    command.args(far).arg("--json").stdout(Stdio::piped());
    let failure = finish(&mut command, b"").exits(2).json();
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("this machine"),
        "{failure}"
    );
}

#[test]
fn what_a_bench_started_does_not_outlive_it() {
    // The attacker's arguments do not contain the directory.
    for (args, started) in [
        (&["abuse", "--attack", "relay-streams"][..], 1),
        (&["serve", "--transport", "dmsg"], 2),
    ] {
        let home = TempDir::new();
        let mut command = program(&home);
        command.env("TMPDIR", home.path()).arg("bench").args(args);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        await_processes(&home, |count| count == started);
        child.kill().unwrap();
        child.wait().unwrap();
        await_processes(&home, |count| count == 0);
    }
}
