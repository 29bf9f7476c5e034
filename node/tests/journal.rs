//! Journals recorded by the built program, and replayed by it.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use serde_json::Value;
use support::{DEADLINE, Node, TempDir, http, program, request, run};

/// Starts a node that records a journal.
fn recorded(home: &TempDir, name: &str, bootstrap: &[&Node], more: &[&str]) -> (Node, String) {
    let journal = home.join(&format!("{name}.journal"));
    let peers: Vec<String> = bootstrap.iter().map(|node| node.address()).collect();
    let mut args = vec!["run", "--listen", "127.0.0.1:0", "--journal", &journal];
    for peer in &peers {
        args.extend(["--bootstrap", peer]);
    }
    args.extend(more);
    let node = Node::start_with(home, name, &args);
    (node, journal)
}

/// Stops a node over its API and waits until it has ended.
fn stop(node: Node) {
    let bearer = format!("Bearer {}", node.token());
    let headers = [("Host", node.api()), ("Authorization", &bearer)];
    let answer = http(node.api(), &request("POST", "/shutdown", &headers, ""));
    assert_eq!(answer.status, 200);
    assert_eq!(node.wait(), Some(0));
}

/// Runs a network of three nodes and records the second one: put, get, delete, stop.
fn session(home: &TempDir) -> (String, String) {
    let mut a = Node::start(home, "a", &[]);
    let (mut b, journal) = recorded(home, "b", &[&a], &[]);
    b.knows(1);
    let mut c = Node::start(home, "c", &[&a, &b]);
    c.knows(2);
    b.knows(2);
    a.knows(2);
    let owner = b.text("key").to_owned();
    b.run(home, &["put", "hello", "--salt", "greeting"])
        .exits(0);
    let got = c.run(home, &["get", &owner, "greeting"]).exits(0);
    assert_eq!(got.text(), "hello");
    c.run(home, &["put", "other"]).exits(0);
    b.run(home, &["get", c.text("key")]).exits(0);
    b.run(home, &["put", "--delete", "--salt", "greeting"])
        .exits(0);
    stop(b);
    (journal, owner)
}

fn replay(home: &TempDir, journal: &str, code: i32) -> Value {
    run(home, &["replay", journal, "--json"]).exits(code).json()
}

#[test]
fn a_run_replays_to_the_same_digest_without_its_key() {
    let home = TempDir::new();
    let (journal, owner) = session(&home);
    assert_eq!(
        fs::metadata(&journal).unwrap().permissions().mode() & 0o777,
        0o600
    );
    // The journal contains no encoding of the secret key.
    let text = fs::read_to_string(home.join("b/node.key")).unwrap();
    let secret = HEXLOWER
        .decode(text.trim().to_ascii_lowercase().as_bytes())
        .unwrap_or_else(|error| panic!("{error}: the key file changed its format"));
    assert_eq!(secret.len(), 32);
    let bytes = fs::read(&journal).unwrap();
    let mut encodings = vec![
        secret.clone(),
        secret.iter().rev().copied().collect(),
        HEXLOWER.encode(&secret).into_bytes(),
        HEXUPPER.encode(&secret).into_bytes(),
        format!("{secret:?}").replace(' ', "").into_bytes(),
    ];
    for shift in 0..3 {
        let shifted = BASE64.encode(&[&[0; 2][..shift], &secret].concat());
        encodings.push(shifted.into_bytes());
    }
    for needle in encodings {
        let part = &needle[4..needle.len() - 4];
        assert!(!bytes.windows(part.len()).any(|window| window == part));
    }
    assert!(String::from_utf8_lossy(&bytes).contains(&owner));

    fs::remove_dir_all(home.join("b")).unwrap();
    let first = replay(&home, &journal, 0);
    assert_eq!(first["schema"], "skydht.replay/1");
    assert_eq!(first["ending"], "stopped");
    assert_eq!(first["key"], owner.as_str());
    assert!(first["steps"].as_u64().unwrap() > 25, "{first}");
    // Three puts and gets, the read before a deletion, and the shutdown.
    assert_eq!(first["operations"], 5, "{first}");
    let again = run(&home, &["replay", &journal]).exits(0);
    let expected = format!("digest {}\n", first["digest"].as_str().unwrap());
    assert!(again.text().ends_with(&expected), "{}", again.text());
    assert!(again.text().starts_with("replayed "));

    let last = first["steps"].as_u64().unwrap() - 1;
    let explain = [
        "replay",
        &journal,
        "--until",
        &last.to_string(),
        "--explain",
    ];
    let text = run(&home, &explain).exits(0);
    for part in ["input     {", "shutdown", "digest    ", "\"counters\""] {
        assert!(text.text().contains(part), "{part}: {}", text.text());
    }
    let step = run(&home, &[&explain[..], &["--json"]].concat())
        .exits(0)
        .json();
    assert_eq!(step["digest"], first["digest"]);
    assert_eq!(step["step"], last);
    let beyond = (last + 1).to_string();
    let ran = run(&home, &["replay", &journal, "--until", &beyond]).exits(2);
    assert!(ran.stderr.contains("counted from 0"), "{}", ran.stderr);
}

#[test]
fn damage_is_named_with_its_place_and_a_torn_tail_is_usable() {
    let home = TempDir::new();
    let (journal, _) = session(&home);
    let sound = replay(&home, &journal, 0);
    let bytes = fs::read(&journal).unwrap();
    let damaged = home.join("damaged");
    let torn = home.join("torn");

    // Skips to the 21st record: a header, then steps.
    let mut at = 12;
    for _ in 0..21 {
        at += 16 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    let mut changed = bytes.clone();
    changed[at + 16] ^= 1;
    fs::write(&damaged, &changed).unwrap();
    let failure = replay(&home, &damaged, 1);
    assert_eq!(failure["code"], "journal");
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("damaged at byte {at}: ")),
        "{failure}"
    );
    let hint = failure["hint"].as_str().unwrap();
    assert!(hint.contains("the 20 steps before are sound"), "{failure}");
    run(&home, &["replay", &damaged, "--until", "19"]).exits(0);

    fs::write(&torn, &bytes[..at + 40]).unwrap();
    let report = replay(&home, &torn, 0);
    assert_eq!(report["steps"], 20, "{report}");
    assert_eq!(report["ending"], "torn");
    assert_eq!(report["torn_at"], at as u64);
    let ran = run(&home, &["replay", &torn]).exits(0);
    assert!(
        ran.stderr.contains("40 bytes are ignored"),
        "{}",
        ran.stderr
    );
    fs::write(&torn, &bytes[..at]).unwrap();
    assert_eq!(replay(&home, &torn, 0)["ending"], "open");

    fs::write(&damaged, "no journal").unwrap();
    let failure = replay(&home, &damaged, 1);
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("not a journal")
    );
    let missing = home.join("missing");
    assert_eq!(replay(&home, &missing, 1)["code"], "local");

    // A valid journal with a different digest, as from a node that behaves differently.
    let digest = sound["digest"].as_str().unwrap();
    let turned: String = digest.chars().rev().collect();
    fs::write(&damaged, replaced(&bytes, digest, &turned)).unwrap();
    let failure = replay(&home, &damaged, 1);
    assert_eq!(failure["code"], "differs", "{failure}");
    let last = sound["steps"].as_u64().unwrap() - 1;
    assert_eq!(failure["details"]["step"], last);
    assert_eq!(failure["details"]["got"], digest);
    assert!(failure["details"]["outputs"].is_array());
}

/// Replaces the first occurrence of a text in a journal by another of the same length, and updates
/// the record's checksum.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let place = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    let mut at = 12;
    loop {
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if place < at + 16 + length {
            let mut hash = Sha256::new();
            hash.update((at as u64).to_le_bytes());
            hash.update([bytes[at + 4]]);
            hash.update(&bytes[at + 16..at + 16 + length]);
            let check = hash.finalize();
            bytes[at + 8..at + 16].copy_from_slice(&check[..8]);
            return bytes;
        }
        at += 16 + length;
    }
}

#[test]
fn journals_of_other_versions_are_named_as_such() {
    let home = TempDir::new();
    let bytes = fs::read(committed("client")).unwrap();
    let file = home.join("other");
    let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    let older = version.replace(|c: char| c.is_ascii_digit(), "9");
    let other = replaced(&bytes, &version, &older);
    fs::write(&file, &other).unwrap();
    // A journal of another version replays if the behaviour is the same.
    let report = replay(&home, &file, 0);
    assert_eq!(report["version"], "9.9.9");
    let digest = report["digest"].as_str().unwrap();
    let turned: String = digest.chars().rev().collect();
    fs::write(&file, replaced(&other, digest, &turned)).unwrap();
    let failure = replay(&home, &file, 1);
    let hint = failure["hint"].as_str().unwrap();
    assert!(
        hint.contains("recorded by skydht-core 9.9.9") && hint.contains("with the version"),
        "{hint}"
    );
    fs::write(&file, replaced(&bytes, "\"format\":1", "\"format\":7")).unwrap();
    let failure = replay(&home, &file, 1);
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("journal format 7, recorded by skydht-core "),
        "{message}"
    );
    let mut container = bytes;
    container[8] = 9;
    fs::write(&file, container).unwrap();
    let failure = replay(&home, &file, 1);
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("container version 9"), "{message}");
}

#[test]
fn a_killed_run_replays_and_the_next_one_keeps_it() {
    let home = TempDir::new();
    let a = Node::start(&home, "a", &[]);
    let (mut b, journal) = recorded(&home, "b", &[&a], &[]);
    b.knows(1);
    b.run(&home, &["put", "hello"]).exits(0);
    b.kill();
    let killed = replay(&home, &journal, 0);
    assert!(killed["steps"].as_u64().unwrap() > 10, "{killed}");
    assert!(["open", "torn"].contains(&killed["ending"].as_str().unwrap()));
    let (b, _) = recorded(&home, "b", &[&a], &[]);
    assert_eq!(b.about["journal"], journal.as_str());
    stop(b);
    let next = replay(&home, &journal, 0);
    assert_eq!(next["ending"], "stopped");
    assert_eq!(next["key"], killed["key"]);
    assert_eq!(replay(&home, &format!("{journal}.1"), 0), {
        let mut earlier = killed;
        earlier["file"] = format!("{journal}.1").into();
        earlier
    });

    // A file that is not a journal is not touched.
    let other = home.join("thesis");
    fs::write(&other, "my thesis").unwrap();
    let args = ["run", "--journal", &other, "--state-dir", &home.join("x")];
    let ran = run(&home, &args).exits(6);
    assert!(ran.stderr.contains("is no journal"), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(&other).unwrap(), "my thesis");
}

#[test]
fn at_the_limit_and_on_a_full_disk_the_node_keeps_running() {
    let home = TempDir::new();
    let (mut a, journal) = recorded(&home, "a", &[], &["--journal-limit", "64K"]);
    let (mut b, other) = {
        // The limit of 20 KiB for the process's files has the effect of a full disk.
        let journal = home.join("full.journal");
        let dir = home.join("full");
        let mut command = Command::new("sh");
        let skydht = env!("CARGO_BIN_EXE_skydht");
        command.args([
            "-c",
            "trap '' XFSZ; ulimit -f 40; exec \"$@\"",
            "sh",
            skydht,
        ]);
        command.args([
            "run",
            "--listen",
            "127.0.0.1:0",
            "--api-listen",
            "127.0.0.1:0",
        ]);
        command.args(["--bootstrap", &a.address(), "--journal", &journal]);
        command.args(["--json", "--log", "info,skydht=debug", "--state-dir", &dir]);
        (Node::spawn(command, "full", dir), journal)
    };
    b.knows(1);
    a.knows(1);
    let owner = b.text("key").to_owned();
    let end = std::time::Instant::now() + DEADLINE;
    let mut puts = 0;
    while fs::metadata(&journal).unwrap().len() < 60 * 1024 {
        assert!(std::time::Instant::now() < end, "{puts} puts");
        puts += 1;
        let value = "x".repeat(1_000);
        b.run(&home, &["put", &value]).exits(0);
    }
    a.wait_for("as long as --journal-limit allows");
    b.wait_for("cannot be written: File too large");
    assert_eq!(
        a.run(&home, &["get", &owner]).exits(0).text(),
        "x".repeat(1_000)
    );
    for (journal, most) in [(&journal, 65_536), (&other, 20_480)] {
        assert!(fs::metadata(journal).unwrap().len() <= most);
    }
    assert_eq!(replay(&home, &journal, 0)["ending"], "limit");
    let full = replay(&home, &other, 0);
    assert!(full["steps"].as_u64().unwrap() > 0);
    assert!(["open", "torn"].contains(&full["ending"].as_str().unwrap()));
    stop(a);
    stop(b);
    let ran = run(
        &home,
        &["run", "--journal", &journal, "--journal-limit", "1K"],
    )
    .exits(2);
    assert!(ran.stderr.contains("65536"), "{}", ran.stderr);
    let environment = program(&home).args(["replay"]).output().unwrap();
    assert_eq!(environment.status.code(), Some(2));
}

#[test]
fn the_journals_of_the_repository_replay() {
    let home = TempDir::new();
    for name in ["node", "client"] {
        let journal = committed(name);
        let report = replay(&home, &journal, 0);
        assert_eq!(report["ending"], "stopped", "{report}");
    }
}

#[test]
fn the_trace_of_each_operation_is_shown_and_drawn() {
    let home = TempDir::new();
    let journal = committed("node");
    let operations = replay(&home, &journal, 0)["operations"].as_u64().unwrap();
    let mut wanted = Vec::new();
    for op in 1..=operations {
        let (op, svg) = (op.to_string(), home.join("op.svg"));
        let args = ["replay", &journal, "--trace-op", &op, "--svg", &svg];
        let text = run(&home, &args).exits(0);
        let trace = run(&home, &[&args[..], &["--json"]].concat())
            .exits(0)
            .json();
        let drawn = fs::read_to_string(&svg).unwrap();
        assert_eq!(trace["schema"], "skydht.trace/1");
        let finished = trace["finished_ms"].as_f64().unwrap();
        let calls = trace["calls"].as_array().unwrap();
        let ended: Vec<&Value> = calls.iter().filter(|c| !c["end_ms"].is_null()).collect();
        for call in &ended {
            let (at, end) = (&call["at_ms"], &call["end_ms"]);
            assert!(at.as_f64() <= end.as_f64(), "{call}");
            assert!(end.as_f64().unwrap() <= finished, "{call}");
            let row = &call["answer"].as_str().unwrap();
            assert!(text.text().contains(row), "{call} in {}", text.text());
        }
        assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
        // The background, and one bar per call.
        assert_eq!(drawn.matches("<rect ").count(), 1 + calls.len(), "{drawn}");

        // The node's own counts must match the trace.
        let outcome = &trace["outcome"];
        let (kind, result) = match outcome.as_object() {
            Some(fields) => fields.iter().next().map(|(k, v)| (k.as_str(), Some(v))),
            None => outcome.as_str().map(|kind| (kind, None)),
        }
        .unwrap();
        wanted.push(kind.to_owned());
        let Some(stats) = result
            .and_then(|result| result.as_object()?.values().next()?.get("stats"))
            .filter(|stats| stats["answered"].is_u64())
        else {
            continue;
        };
        let sound = ended.iter().filter(|call| call["failed"] == false);
        assert_eq!(stats["answered"], sound.count(), "{trace}");
        if kind == "put" {
            let stored = |call: &&Value| call["what"] == "store" && call["answer"] == "stored";
            assert_eq!(calls.iter().filter(stored).count(), ended.len(), "{trace}");
        }
    }
    for kind in ["put", "get", "find_node", "ping", "shutdown"] {
        assert!(wanted.iter().any(|wanted| wanted == kind), "{kind}");
    }
    let beyond = (operations + 1).to_string();
    let ran = run(&home, &["replay", &journal, "--trace-op", &beyond]).exits(2);
    let expected = format!("it holds operations 1 to {operations}");
    assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
}

/// Returns the path of a journal in the repository.
fn committed(name: &str) -> String {
    format!(
        "{}/../tests/journals/{name}.journal",
        env!("CARGO_MANIFEST_DIR")
    )
}
