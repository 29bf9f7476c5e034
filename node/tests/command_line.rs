//! Command-line usage, keys and configuration: exit statuses, and the text on each stream.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use support::commands::commands;
use support::{TempDir, finish, program, run};

const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

#[test]
fn every_command_explains_itself_with_examples() {
    let home = TempDir::new();
    let described = commands(&home);
    let mut all: Vec<Vec<&str>> = vec![vec!["config"], vec!["bench"]];
    all.extend(
        described
            .iter()
            .map(|command| command.words.iter().map(String::as_str).collect()),
    );
    for command in &all {
        let mut args = command.clone();
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
fn upstreams_words_do_what_they_do_here() {
    let home = TempDir::new();
    for words in [
        &["status"][..],
        &["get", KEY],
        &["get", KEY, "dmsg"],
        &["put", "v", "dmsg", "--seq", "1"],
        &["peers", "--json"],
        &["full-node", "status"],
        &["full-node", "on"],
        &["sync", KEY, "--salt", "dmsg"],
        &["reconcile", KEY],
        &["list", "--salt", "dmsg", "--with-target"],
    ] {
        let plain = run(&home, words).exits(3);
        for before in [&["dht"][..], &["visor", "dht"], &["cli", "visor", "dht"]] {
            let ran = run(&home, &[before, words].concat()).exits(3);
            assert_eq!(
                (ran.stdout, ran.stderr),
                (plain.stdout.clone(), plain.stderr.clone())
            );
        }
    }
}

#[test]
fn unknown_words_suggest_only_commands_that_there_are() {
    let home = TempDir::new();
    let described = commands(&home);
    let known = |word: &str| described.iter().any(|command| command.words[0] == word);
    for (typed, meant) in [
        ("stat", Some("status")),
        ("lst", Some("list")),
        ("del", Some("delete")),
        ("delet", Some("delete")),
        ("pt", Some("put")),
        ("cl", None),
        ("confg", Some("config")),
        ("lists", None),
        ("frobnicate", None),
        // A rejected word is suggested only where it is a command.
        ("ls", None),
    ] {
        if typed == "ls" {
            let ran = run(&home, &["dht", typed]).exits(2);
            assert!(ran.stderr.contains("`skydht ls`"), "{ran:?}");
            continue;
        }
        for before in [&[][..], &["dht"]] {
            let ran = run(&home, &[before, &[typed][..]].concat()).exits(2);
            let said = ran.stderr.split('`').nth(3).unwrap();
            let suggested = said.strip_prefix("skydht ").unwrap();
            assert!(
                suggested == "--help" || known(suggested) || !before.is_empty(),
                "{ran:?}"
            );
            if let (Some(meant), true) = (meant, before.is_empty()) {
                assert_eq!(suggested, meant);
            }
        }
    }
}

#[test]
fn every_option_that_is_a_time_reads_alike() {
    let home = TempDir::new();
    let mut seen = 0;
    for command in commands(&home) {
        for (option, _) in command.options.iter().filter(|(_, value)| value == "TIME") {
            seen += 1;
            let positional: &[&str] = match command.words.last().unwrap().as_str() {
                "put" => &["v"],
                "get" | "delete" | "watch" => &["self"],
                "ping" => &[KEY],
                _ => &[],
            };
            let with = |time: &str| {
                let words = command.words.iter().map(String::as_str);
                let mut args: Vec<&str> = words.chain(positional.iter().copied()).collect();
                let option = format!("{option}={time}");
                args.push(&option);
                run(&home, &args)
            };
            // A benchmark needs no node: with a valid duration it would run for that long.
            let taken: &[&str] = match command.words[0].as_str() {
                // Without a node, the doctor checks the surroundings.
                "bench" | "doctor" => &[],
                _ => &["5", "5s", "1.5s", "250ms", "10m", "600", "1m30s"],
            };
            // No node answers, but the option itself is valid.
            for time in taken {
                with(time).exits(3);
            }
            for time in [
                "0", "0s", "5ns", "11m", "601", "-1", "", "soon", "5000000", "1.5",
            ] {
                let ran = with(time).exits(2);
                let spelled = ran.stderr.contains("\"90s\"") || ran.stderr.contains("1ms to 10m");
                assert!(spelled || time.is_empty(), "{time}: {ran:?}");
            }
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn config_set_changes_one_key_and_writes_nothing_that_run_refuses() {
    let home = TempDir::new();
    let file = home.join("c.json");
    let config = |args: &[&str]| run(&home, &[&["config"], args, &["--config", &file]].concat());
    config(&["set", "item_ttl", "3600"]).exits(0);
    assert_eq!(config(&["get", "item_ttl"]).exits(0).text(), "1h\n");
    config(&["set", "limits.calls", "77"]).exits(0);
    let peer = format!("{KEY}@node.example:1,{KEY}@node.example:2");
    config(&["set", "bootstrap", &peer]).exits(0);
    let peers = config(&["get", "bootstrap"]).exits(0);
    assert_eq!(peers.text(), peer.replace(',', "\n") + "\n");
    config(&["set", "dmsg.servers", ""]).exits(0);
    let before = fs::read_to_string(&file).unwrap();
    for (key, value, why) in [
        ("item_ttl", "0", "zero"),
        ("item_ttl", "", "no value"),
        ("log", "blah", "no level"),
        ("limits.calls", "-1", "whole number"),
        ("limits.calls", "0", "1 to 1_000_000"),
        ("full_node", "perhaps", "true or false"),
        ("max_items", "1", ""),
        ("lisetn", "x", "did you mean `listen`?"),
        ("redis_addr", "x", "set `storage`"),
        ("limits.cals", "1", "did you mean `limits.calls`?"),
    ] {
        if why.is_empty() {
            continue;
        }
        let ran = config(&["set", key, value]).exits(2);
        assert!(ran.stderr.contains(why), "{key} {value}: {ran:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
    // An empty value may be set, and a key may be removed.
    config(&["set", "full_node", "null"]).exits(0);
    config(&["set", "full_node", "true"]).exits(0);
    for was_set in [true, false] {
        let ran = config(&["unset", "full_node", "--json"]).exits(0);
        assert_eq!(ran.json()["was_set"], was_set, "{ran:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    // An alias and its key may not both be set.
    config(&["set", "limits.store_items", "5"]).exits(0);
    let ran = config(&["set", "max_items", "6"]).exits(2);
    assert!(ran.stderr.contains("already set"), "{ran:?}");
    assert_eq!(config(&["get", "max_items"]).exits(0).text(), "5\n");
    let state = config(&["set", "state_dir", "here"]).exits(0);
    let shown = config(&["get", "state_dir"]).exits(0);
    assert!(shown.text().starts_with('/'), "{shown:?} {state:?}");
    fs::write(&file, "{\n  \"log\": \"info\",\n}").unwrap();
    let ran = config(&["set", "log", "warn"]).exits(2);
    assert!(
        ran.stderr.contains(":2: ") && ran.stderr.contains("comma"),
        "{ran:?}"
    );
}

#[test]
fn config_init_names_places_from_the_root_and_leaves_nothing_when_it_fails() {
    let home = TempDir::new();
    let mut command = program(&home);
    command.current_dir(home.path());
    command.args([
        "config",
        "init",
        "--config",
        "c.json",
        "--state-dir",
        "state",
        "--json",
    ]);
    let made = finish(&mut command, b"").exits(0).json();
    let text = fs::read_to_string(home.join("c.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    for place in [
        &made["path"],
        &made["key_file"],
        &config["key_file"],
        &config["state_dir"],
    ] {
        let path = place.as_str().unwrap();
        assert!(path.starts_with(home.path().to_str().unwrap()), "{path}");
    }
    // The file cannot be created, because there is a file in place of its directory.
    fs::write(home.join("file"), "").unwrap();
    let (state, file) = (home.join("other"), home.join("file/c.json"));
    run(
        &home,
        &["config", "init", "--config", &file, "--state-dir", &state],
    )
    .exits(1);
    assert!(!home.path().join("other/node.key").exists());
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

    // A node with its own configuration file is separate from one at the default path.
    let first = run(&home, &["config", "init", "--json"]).exits(0).json();
    let (file, state) = (home.join("beside.json"), home.join("beside"));
    let args = [
        "config",
        "init",
        "--json",
        "--config",
        &file,
        "--state-dir",
        &state,
    ];
    let beside = run(&home, &args).exits(0).json();
    assert_ne!(beside["key"], first["key"]);
    assert_eq!(beside["key_file"], format!("{state}/node.key"));
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
