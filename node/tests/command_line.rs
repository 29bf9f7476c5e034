//! Usage, keys and configuration: exit statuses, and what is said where.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::{TempDir, finish, program, run};

const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

#[test]
fn every_command_explains_itself_with_examples() {
    let home = TempDir::new();
    let commands: &[&[&str]] = &[
        &["keygen"],
        &["run"],
        &["put"],
        &["get"],
        &["peers"],
        &["status"],
        &["ping"],
        &["config"],
        &["config", "init"],
        &["config", "check"],
        &["config", "show"],
        &["config", "keys"],
        &["dmsg-discovery"],
        &["dmsg-server"],
        &["demo"],
        &["bench"],
        &["bench", "network"],
        &["bench", "abuse"],
        &["replay"],
        &["sim"],
    ];
    for command in commands {
        let mut args = command.to_vec();
        args.push("--help");
        let ran = run(&home, &args).exits(0);
        assert!(
            ran.text().contains("Examples:\n  skydht "),
            "{command:?}: {}",
            ran.text()
        );
        assert!(ran.stderr.is_empty());
    }
    let ran = run(&home, &["--help"]).exits(0);
    assert!(ran.text().contains("Exit status: 0 ok"));
    assert!(
        run(&home, &["--version"])
            .exits(0)
            .text()
            .starts_with("skydht ")
    );
}

#[test]
fn wrong_command_lines_exit_with_2_and_leave_stdout_alone() {
    let home = TempDir::new();
    let commands: &[&[&str]] = &[
        &[],
        &["no-such-command"],
        &["put"],
        &["put", "value", "--delete"],
        &["put", "value", "--min-replicas", "many"],
        &["put", ""],
        &["get"],
        &["get", "02ab"],
        &["get", KEY, "--policy", "quorum:0"],
        &["get", KEY, "--bootstrap", KEY],
        &[
            "get",
            KEY,
            "--api",
            "http://127.0.0.1:1",
            "--bootstrap",
            "x",
        ],
        &["demo", "--nodes", "1"],
        &["put", "v", "--secret-key", KEY],
    ];
    for command in commands {
        let ran = run(&home, command).exits(2);
        assert!(ran.stdout.is_empty(), "{command:?}: {}", ran.text());
        assert!(!ran.stderr.is_empty());
    }
    let ran = run(&home, &["get", "02ab", "--json"]).exits(2);
    assert_eq!(ran.json()["code"], "usage");
    assert_eq!(ran.json()["schema"], "skydht.error/1");
}

#[test]
fn upstreams_words_are_answered_with_their_replacement() {
    let home = TempDir::new();
    for (words, replacement) in [
        (&["full-node", "status"][..], "skydht status"),
        (&["full-node", "on"], "skydht run --full-node"),
        (&["sync", KEY, "--salt", "dmsg"], "skydht get"),
        (&["list", "--salt", "dmsg"], "skydht get"),
        (&["reconcile", KEY], "renew"),
    ] {
        let ran = run(&home, words).exits(2);
        assert!(
            ran.stderr.contains(replacement),
            "{words:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn keys_are_made_once_privately_and_never_shown() {
    let home = TempDir::new();
    let file = home.join("alice.key");
    let ran = run(&home, &["keygen", &file]).exits(0);
    let key = ran.text().trim().to_owned();
    assert_eq!(key.len(), 66);
    let secret = fs::read_to_string(&file).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!ran.stderr.contains(secret.trim()));
    let again = run(&home, &["keygen", &file]).exits(6);
    assert!(again.stdout.is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), secret, "left as it is");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = run(&home, &["run", "--key-file", &file]).exits(2);
    assert!(
        ran.stderr.contains(&format!("chmod 600 {file}")),
        "{}",
        ran.stderr
    );

    let mut command = program(&home);
    command
        .args(["config", "check"])
        .env("SKYDHT_SECRET_KEY", "aa".repeat(31));
    let ran = finish(&mut command, b"").exits(2);
    assert!(
        ran.stderr.contains("SKYDHT_SECRET_KEY") && !ran.stderr.contains("aaaa"),
        "{}",
        ran.stderr
    );
}

#[test]
fn configuration_errors_name_line_and_suggestion_in_check_and_run_alike() {
    let home = TempDir::new();
    let file = home.join("c.json");
    fs::write(
        &file,
        "{\n  \"limits\": {\n    \"strems\": 9\n  },\n  \"redis_addr\": \"x\"\n}",
    )
    .unwrap();
    let check = run(&home, &["config", "check", "--config", &file]).exits(2);
    assert!(
        check.stderr.contains(&format!(
            "{file}:3: `limits.strems`: unknown key; did you mean `limits.streams`?"
        )),
        "{}",
        check.stderr
    );
    assert!(
        check
            .stderr
            .contains(&format!("{file}:5: `redis_addr`: not supported")),
        "{}",
        check.stderr
    );
    let run_ = run(&home, &["run", "--config", &file]).exits(2);
    assert_eq!(run_.stderr, check.stderr);

    let ran = run(&home, &["config", "check", "--json", "--config", &file]).exits(2);
    let problems = &ran.json()["details"]["problems"];
    assert_eq!(problems[0]["line"], 3);
    assert_eq!(problems[0]["did_you_mean"], "limits.streams");
    run(
        &home,
        &["config", "check", "--config", &home.join("none.json")],
    )
    .exits(2);
}

#[test]
fn config_init_makes_what_run_then_uses() {
    let home = TempDir::new();
    let file = home.join("skydht.json");
    let state = home.join("state");
    let peer = format!("{KEY}@node.example:7470");
    let args = [
        "config",
        "init",
        "--full-node",
        "--bootstrap",
        &peer,
        "--json",
        "--config",
        &file,
        "--state-dir",
        &state,
    ];
    let made = run(&home, &args).exits(0).json();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let next = made["next"][0].as_str().unwrap();
    assert_eq!(next, format!("skydht run --config {file}"));
    run(&home, &args).exits(6);

    let shown = run(
        &home,
        &["config", "show", "--effective", "--json", "--config", &file],
    )
    .exits(0)
    .json();
    let setting = |key: &str| {
        let all = shown["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["key"] == key).unwrap()["value"].clone()
    };
    assert_eq!(setting("full_node"), true);
    assert_eq!(setting("bootstrap")[0], peer.as_str());
    assert_eq!(setting("state_dir"), state.as_str());
    let check = run(&home, &["config", "check", "--json", "--config", &file])
        .exits(0)
        .json();
    assert_eq!(check["key"], made["key"]);
}

#[test]
fn the_environment_sets_keys_and_is_named_as_their_source() {
    let home = TempDir::new();
    let mut command = program(&home);
    command
        .args(["config", "show", "--json"])
        .env("SKYDHT_ITEM_TTL", "90m")
        .env("SKYDHT_LIMITS_CALLS", "77");
    let shown = finish(&mut command, b"").exits(0).json();
    let settings = shown["settings"].as_array().unwrap();
    assert_eq!(settings.len(), 2, "{settings:?}");
    assert_eq!(settings[0]["value"], "1h30m");
    assert_eq!(settings[0]["source"], "SKYDHT_ITEM_TTL");
    assert_eq!(settings[1]["value"], 77);
}

#[test]
fn without_a_node_commands_say_so_with_3() {
    let home = TempDir::new();
    for command in [
        &["put", "v"][..],
        &["get", "self"],
        &["peers"],
        &["status"],
        &["ping", KEY],
    ] {
        let ran = run(&home, command).exits(3);
        assert!(ran.stdout.is_empty());
        assert!(ran.stderr.contains("skydht run"), "{}", ran.stderr);
    }
}
