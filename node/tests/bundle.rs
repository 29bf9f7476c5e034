//! `skydht bundle`: the content of a bug report, which must not contain secrets.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::{Node, TempDir, finish, program};

/// Returns the names in an archive, as tar lists them, and their contents.
fn read(path: &str) -> (Vec<String>, String) {
    let tar = |option: &str| {
        let ran = Command::new("tar").args([option, path]).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    let names = tar("tf").lines().map(str::to_owned).collect();
    (names, tar("xOf"))
}

#[test]
fn a_bundle_of_a_node_has_its_state_and_no_secret() {
    let home = TempDir::new();
    let node = Node::start(&home, "a", &[]);
    node.run(&home, &["put", "v", "--salt", "my-record"])
        .exits(5);
    let log = home.join("log");
    let secret = fs::read_to_string(format!("{}/node.key", node.dir)).unwrap();
    let secret = secret.trim();
    let other = "7".repeat(64);
    let token = node.token();
    fs::write(
        &log,
        format!("a line with {token} and {other} and hunter2hunter2\n"),
    )
    .unwrap();
    let out = home.join("b.tar");
    let mut command = program(&home);
    command
        .args(["bundle", "--json", "--state-dir", &node.dir, "--out", &out])
        .args(["--log-file", &log])
        .env("SKYDHT_SECRET_KEY", &other)
        .env("SKYDHT_STORAGE", "redis://:hunter2hunter2@127.0.0.1:1");
    let ran = finish(&mut command, b"").exits(0).json();
    let (names, contents) = read(&out);
    assert_eq!(serde_json::json!(names), ran["files"]);
    for name in [
        "version.json",
        "machine.json",
        "doctor.json",
        "config.json",
        "status.json",
        "peers.json",
        "items.json",
        "metrics.txt",
        "log.txt",
    ] {
        assert!(names.iter().any(|it| it == name), "{name}: {names:?}");
    }
    for there in [
        node.text("key"),
        "my-record",
        "skydht_build_info",
        "a line with",
    ] {
        assert!(contents.contains(there), "{there}");
    }
    for hidden in [secret, &other, &token, "hunter2"] {
        assert!(!contents.contains(hidden), "{hidden}: {contents}");
    }
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Existing files are not overwritten.
    finish(&mut command, b"").exits(6);
}

#[test]
fn a_bundle_without_a_node_says_what_the_doctor_found() {
    let home = TempDir::new();
    let mut command = program(&home);
    command.args(["bundle", "--state-dir", &home.join("s")]);
    let ran = finish(&mut command, b"").exits(0);
    assert!(ran.text().contains("doctor.json"), "{ran:?}");
    let found = fs::read_dir(home.path()).unwrap();
    let mut names = found.map(|it| it.unwrap().file_name().into_string().unwrap());
    let tar = names.find(|name| name.ends_with(".tar")).unwrap();
    let (names, contents) = read(&home.join(&tar));
    assert!(names.contains(&"no-node.json".to_owned()), "{names:?}");
    assert!(contents.contains("no node runs"), "{contents}");
}
