//! Files and directories with unusual properties: names that are not UTF-8, foreign owners, wrong
//! types, a full disk, damage.

mod support;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::commands::{Described, commands};
use support::{Node, Ran, TempDir, finish, http, program, request, run, signal};

const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn odd(home: &TempDir, name: &str) -> PathBuf {
    home.path()
        .join(OsStr::from_bytes(&[name.as_bytes(), b"-\xff\xfe"].concat()))
}

/// Returns arguments with which a command does something and ends soon.
fn words(described: &Described) -> Vec<&str> {
    let mut words: Vec<&str> = described.words.iter().map(String::as_str).collect();
    words.extend_from_slice(match described.words.join(" ").as_str() {
        "put" => &["v", "--timeout", "1"],
        "get" | "delete" => &["self"],
        "ping" => &[KEY],
        "config get" => &["listen"],
        "config set" => &["log", "warn"],
        // Not an address of this machine.
        "run" | "dmsg-server" => &["--listen", "192.0.2.1:1", "--api-listen", "off"],
        "dmsg-discovery" => &["--addr", "192.0.2.1:1"],
        "gateway" => &["--addr", "192.0.2.1:1", "--api-listen", "off"],
        "mirror" => &[
            "--dmsg-discovery",
            "http://127.0.0.1:1",
            "--listen",
            "192.0.2.1:1",
            "--api-listen",
            "off",
        ],
        "services" => &["vpn"],
        "transports" => &[KEY],
        "diff" => &["--http", "http://127.0.0.1:1"],
        "bench gateway" => &["--registrations", "5", "--seconds", "1", "--visors", "5"],
        "demo" => &["--nodes", "3", "--items", "1"],
        "bench network" => &["--nodes", "2", "--ops", "1"],
        "bench serve" => &[
            "--mix",
            "ping",
            "--duration",
            "1ms",
            "--warm-up",
            "1ms",
            "--items",
            "1",
        ],
        "replay" => &["/nonexistent"],
        "sim" | "bench abuse" => &["--list"],
        _ => &[],
    });
    words
}

#[track_caller]
fn is_no_panic(what: &dyn std::fmt::Debug, ran: &Ran) {
    assert!(
        ran.code.is_some_and(|code| code < 100) && !ran.stderr.contains("panicked"),
        "{what:?}: {ran:?}"
    );
}

#[test]
fn no_option_variable_or_word_need_be_text() {
    let home = TempDir::new();
    let all = commands(&home);
    let mut options = 0;
    let odd_word = OsStr::from_bytes(b"\xff");
    for described in &all {
        let words = words(described);
        for json in [&["--json"][..], &[]] {
            for (option, _) in &described.options {
                options += 1;
                let mut command = program(&home);
                command.args(&words).args(json);
                command.arg(option).arg(odd(&home, "x"));
                // A repeated option is a usage error.
                let ran = finish(&mut command, b"");
                is_no_panic(&command, &ran);
            }
            for at in 0..=words.len() {
                let mut command = program(&home);
                command.args(&words[..at]).arg(odd_word);
                command.args(&words[at..]).args(json);
                let ran = finish(&mut command, b"");
                is_no_panic(&command, &ran);
            }
        }
    }
    assert!(options > 200, "{options}");

    let keys = run(&home, &["config", "keys", "--json"]).exits(0).json();
    let keys = keys["keys"].as_array().unwrap();
    let named = keys.iter().map(|key| key["variable"].as_str().unwrap());
    let others = [
        "HOME",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "TMPDIR",
        "NO_COLOR",
        "TERM",
        "PATH",
        "SKYDHT_CONFIG",
        "SKYDHT_SECRET_KEY",
        "SKYDHT_NOTHING",
    ];
    let places = [
        "SKYDHT_KEY_FILE",
        "SKYDHT_STATE_DIR",
        "SKYDHT_CONFIG",
        "SKYDHT_SECRET_KEY",
    ];
    for variable in named.chain(others) {
        for args in [
            &["config", "show"][..],
            &["put", "v"],
            &["keygen", "--json"],
        ] {
            let mut command = program(&home);
            command.args(args).env(variable, odd(&home, "v"));
            let ran = finish(&mut command, b"");
            is_no_panic(&command, &ran);
            let is_key = variable.starts_with("SKYDHT_") && !places.contains(&variable);
            if is_key && variable != "SKYDHT_NOTHING" {
                assert!(
                    ran.code == Some(2) && ran.stderr.contains(variable) || args[0] == "keygen",
                    "{command:?}: {ran:?}"
                );
            }
        }
    }
    // Variables whose names are unknown, or not UTF-8.
    for name in [&b"SKYDHT_\xff"[..], b"\xff"] {
        let mut command = program(&home);
        command
            .args(["config", "show"])
            .env(OsStr::from_bytes(name), "x");
        finish(&mut command, b"").exits(0);
    }
}

#[test]
fn a_node_lives_in_a_directory_whose_name_is_no_text() {
    let home = TempDir::new();
    let (state, config, key) = (odd(&home, "state"), odd(&home, "c.json"), odd(&home, "k"));
    let (file, journal) = (odd(&home, "value"), odd(&home, "journal"));
    fs::write(&config, "{\"log\": \"info,skydht=debug\"}").unwrap();
    fs::write(&file, "from a file").unwrap();
    let skydht = |args: &[&dyn AsRef<OsStr>]| {
        let mut command = program(&home);
        for arg in args {
            command.arg(arg);
        }
        finish(&mut command, b"")
    };
    for json in [&["--json"][..], &[]] {
        let mut command = program(&home);
        command.arg("keygen").arg(&key).args(json);
        finish(&mut command, b"").exits(0);
        fs::remove_file(&key).unwrap();
    }
    skydht(&[&"keygen", &key]).exits(0);
    let mut command = program(&home);
    command.args([
        "run",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
    ]);
    command
        .arg("--state-dir")
        .arg(&state)
        .arg("--config")
        .arg(&config);
    command.arg("--journal").arg(&journal);
    let node = Node::spawn(command, "odd", String::new());
    assert!(node.text("state_dir").contains('\u{fffd}'));
    let at = OsString::from("--state-dir");
    skydht(&[&"status", &"--json", &at, &state]).exits(0);
    skydht(&[&"put", &"--file", &file, &at, &state]).exits(5);
    let api = node.text("api").to_owned();
    let token = state.join("api.token");
    skydht(&[
        &"get",
        &"self",
        &"--policy",
        &"local",
        &"--api",
        &api,
        &"--token-file",
        &token,
    ])
    .exits(0);
    for json in ["--json", "--color=never"] {
        skydht(&[&"config", &"show", &"--effective", &json, &at, &state]).exits(0);
    }
    let bearer = format!("Bearer {}", fs::read_to_string(&token).unwrap().trim());
    let headers = [("Host", node.api()), ("Authorization", bearer.as_str())];
    let shown = http(node.api(), &request("GET", "/config", &headers, ""));
    assert_eq!(shown.status, 200, "{shown:?}");
    skydht(&[&"stop", &at, &state]).exits(0);
    assert_eq!(node.wait(), Some(0));
    for json in ["--json", "--color=never"] {
        skydht(&[&"replay", &journal, &json]).exits(0);
    }
    // A JSON file cannot contain the path; that is reported, and no key is left behind.
    let (new, elsewhere) = (odd(&home, "new.json"), odd(&home, "elsewhere"));
    let ran = skydht(&[&"config", &"init", &"--config", &new, &at, &elsewhere]).exits(2);
    assert!(ran.stderr.contains("no UTF-8"), "{ran:?}");
    assert!(!new.exists() && !elsewhere.exists());
    for json in ["--json", "--color=never"] {
        skydht(&[&"config", &"init", &"--config", &new, &json]).exits(0);
        fs::remove_file(&new).unwrap();
    }
}

#[test]
fn without_a_home_nothing_is_taken_from_where_others_may_write() {
    let home = TempDir::new();
    for args in [
        &[
            "run",
            "--listen",
            "127.0.0.1:0",
            "--api-listen",
            "127.0.0.1:0",
        ][..],
        &["put", "v"],
        &["get", "self"],
        &["status"],
        &["stop"],
        &["keygen"],
        &["put", "v", "--bootstrap", &format!("{KEY}@127.0.0.1:1")],
    ] {
        let mut command = program(&home);
        command.env_remove("HOME").args(args);
        let ran = finish(&mut command, b"").exits(2);
        assert!(ran.stderr.contains("--state-dir"), "{args:?}: {ran:?}");
    }
    let mut command = program(&home);
    command.env_remove("HOME").args(["config", "init"]);
    let ran = finish(&mut command, b"").exits(2);
    assert!(ran.stderr.contains("--config"), "{ran:?}");
    assert!(!Path::new("/tmp/skydht").exists());
    // Commands that need no state work.
    for args in [
        &["config", "keys"][..],
        &["config", "show"],
        &["version"],
        &["sim", "--list"],
    ] {
        let mut command = program(&home);
        finish(command.env_remove("HOME").args(args), b"").exits(0);
    }
}

#[test]
fn what_others_own_or_may_change_is_refused() {
    let home = TempDir::new();
    let dir = home.join("state");
    let key = format!("{dir}/node.key");
    run(&home, &["keygen", "--state-dir", &dir]).exits(0);
    let commands: [&[&str]; 4] = [
        &["run", "--listen", "127.0.0.1:0", "--api-listen", "off"],
        &["put", "v", "--bootstrap", &format!("{KEY}@127.0.0.1:1")],
        &["config", "init", "--config", &home.join("c.json")],
        &["keygen"],
    ];
    let refused = |args: &[&str], part: &str| {
        let ran = run(&home, &[args, &["--state-dir", &dir]].concat());
        let code = ran.code;
        assert!(
            code == Some(2) && ran.stderr.contains(part),
            "{args:?}: {ran:?}"
        );
    };
    for mode in [0o777, 0o1777, 0o770] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        for args in commands {
            refused(args, "run: chmod 700");
        }
    }
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    // Only root can change the owner of files.
    let other_user = 65_534;
    if std::os::unix::fs::chown(&key, Some(other_user), None).is_err() {
        return;
    }
    refused(commands[0], "belongs to another user");
    std::os::unix::fs::chown(&key, Some(0), None).unwrap();
    std::os::unix::fs::chown(&dir, Some(other_user), None).unwrap();
    for args in commands {
        refused(args, "belongs to another user");
    }
    fs::write(format!("{dir}/api.json"), "{}").unwrap();
    refused(&["status"], "belongs to another user");
}

/// Runs the program where files cannot grow, as on a full disk.
fn on_full_disk(home: &TempDir, args: &[&str]) -> Command {
    let program = program(home);
    let mut command = Command::new("/bin/sh");
    command.env_clear().env("HOME", home.path());
    let script = "ulimit -f 0; exec \"$@\"";
    command
        .args(["-c", script, "sh"])
        .arg(program.get_program());
    command
        .args(args)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    command
}

/// Returns all files in a directory tree, except the lock.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false if path.file_name() == Some(OsStr::new("lock")) => {}
                false => found.push(path),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_full_disk_leaves_nothing_that_blocks_later_starts() {
    let home = TempDir::new();
    let dir = home.join("state");
    let scenario = home.join("small.toml");
    fs::write(&scenario, "[population]\nnodes = 4\n[work]\nitems = 1\n[phases]\njoin = \"5s\"\nsettle = \"5s\"\npublish = \"5s\"\nverify = \"5s\"\n").unwrap();
    let before = files(home.path());
    let (config, out) = (home.join("c.json"), home.join("out"));
    let start = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--json",
    ];
    let start = [&start[..], &["--state-dir", &dir]].concat();
    for args in [
        &["keygen", "--state-dir", &dir][..],
        &start,
        &["config", "init", "--config", &config],
        &["config", "set", "log", "warn", "--config", &config],
        &["sim", "--scenario", &scenario, "--out", &out],
        &[
            "sim",
            "--scenario",
            &scenario,
            "--seeds",
            "2",
            "--out",
            &out,
        ],
    ] {
        let ran = finish(&mut on_full_disk(&home, args), b"").exits(1);
        assert!(
            ran.stderr.contains("make room")
                || ran.json()["hint"].to_string().contains("make room"),
            "{args:?}: {ran:?}"
        );
        assert_eq!(files(home.path()), before, "{args:?}");
    }
    // With an existing key, the node works without the other files, and creates them later.
    run(&home, &["keygen", "--state-dir", &dir]).exits(0);
    let key = fs::read(format!("{dir}/node.key")).unwrap();
    let journal = home.join("journal");
    let recorded = [&start[..], &["--journal", &journal]].concat();
    let mut node = Node::spawn(on_full_disk(&home, &recorded), "full", dir.clone());
    node.wait_for("its token is not on disk");
    let live = http(
        node.api(),
        &request("GET", "/livez", &[("Host", node.api())], ""),
    );
    assert_eq!(live.status, 200);
    signal(node.pid(), "TERM");
    assert_eq!(node.wait(), Some(0));
    let empty_journal = fs::metadata(&journal).map_or(0, |journal| journal.len());
    assert_eq!(empty_journal, 0);
    assert_eq!(files(Path::new(&dir)).len(), 1);
    let mut command = program(&home);
    command.args(&recorded);
    let node = Node::spawn(command, "later", dir.clone());
    node.run(&home, &["status"]).exits(0);
    node.run(&home, &["stop"]).exits(0);
    assert_eq!(node.wait(), Some(0));
    assert_eq!(fs::read(format!("{dir}/node.key")).unwrap(), key);
    // The same applies to its drawing.
    let svg = home.join("op.svg");
    let args = ["replay", &journal, "--trace-op", "1", "--svg", &svg];
    let ran = finish(&mut on_full_disk(&home, &args), b"");
    assert!(!Path::new(&svg).exists(), "{ran:?}");
    // An existing configuration is unchanged.
    run(
        &home,
        &["config", "init", "--config", &config, "--state-dir", &dir],
    )
    .exits(0);
    let text = fs::read(&config).unwrap();
    let set = ["config", "set", "log", "warn", "--config", &config];
    finish(&mut on_full_disk(&home, &set), b"").exits(1);
    assert_eq!(fs::read(&config).unwrap(), text);
}

#[test]
fn what_is_damaged_is_made_again_or_named() {
    let home = TempDir::new();
    let dir = home.join("state");
    run(&home, &["keygen", "--state-dir", &dir]).exits(0);
    let at = |name: &str| format!("{dir}/{name}");
    let start = [
        "run",
        "--listen",
        "127.0.0.1:0",
        "--api-listen",
        "127.0.0.1:0",
        "--json",
    ];
    for damage in ["", "{", "\0\0\0\0"] {
        for name in ["api.token", "api.json", "peers.json"] {
            fs::write(at(name), damage).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut command = program(&home);
        command.args(start).args(["--state-dir", &dir]);
        let mut node = Node::spawn(command, "damaged", dir.clone());
        node.wait_for("gets a new token");
        node.run(&home, &["status"]).exits(0);
        node.run(&home, &["stop"]).exits(0);
        assert_eq!(node.wait(), Some(0));
    }
    // Only the key cannot be replaced; but an empty file contains no key.
    fs::write(at("node.key"), "").unwrap();
    let mut command = program(&home);
    command.args(start).args(["--state-dir", &dir]);
    let node = Node::spawn(command, "new key", dir.clone());
    node.run(&home, &["stop"]).exits(0);
    assert_eq!(node.wait(), Some(0));
    fs::write(at("node.key"), "not a key").unwrap();
    let ran = run(&home, &[&start[..], &["--state-dir", &dir]].concat()).exits(2);
    assert!(
        ran.json()["message"]
            .as_str()
            .unwrap()
            .contains("no secret key")
    );
    assert_eq!(fs::read(at("node.key")).unwrap(), b"not a key");
}

#[test]
fn what_is_in_the_way_is_named_with_what_to_do() {
    let home = TempDir::new();
    let (file, dir) = (home.join("file"), home.join("dir"));
    fs::write(&file, "x").unwrap();
    fs::create_dir(&dir).unwrap();
    let below = format!("{file}/below");
    let absent = home.join("none/key");
    for (args, part) in [
        (
            &["run", "--state-dir", &file][..],
            "is a file, where a directory is wanted",
        ),
        (
            &["run", "--state-dir", &below],
            "is a file, where a directory is wanted",
        ),
        (
            &["keygen", "--state-dir", &file],
            "is a file, where a directory is wanted",
        ),
        (
            &["run", "--key-file", &dir],
            "is a directory, where a file is wanted",
        ),
        (
            &["run", "--key-file", "/dev/null"],
            "where a file is wanted",
        ),
        (
            &["config", "check", "--config", &dir],
            "is a directory, where a file is wanted",
        ),
        (
            &["put", "--file", &dir],
            "is a directory, where a file is wanted",
        ),
        (&["put", "--file", &absent], "there is no directory"),
        (&["keygen", &absent], "there is no directory"),
        (
            &["run", "--state-dir", "/proc/skydht"],
            "choose another place",
        ),
    ] {
        let ran = run(&home, args);
        assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(part), "{args:?}: {ran:?}");
        assert!(
            ran.stderr.trim_end().lines().count() > 1,
            "no next step: {ran:?}"
        );
    }
}

#[test]
fn no_file_that_is_named_makes_a_command_wait_for_a_pipes_other_end() {
    let home = TempDir::new();
    let (dir, pipe) = (home.join("state"), home.join("pipe"));
    run(&home, &["keygen", "--state-dir", &dir]).exits(0);
    let make = |path: &str| {
        let made = Command::new("mkfifo").args(["-m", "600", path]).status();
        assert!(made.unwrap().success());
    };
    make(&pipe);
    let start = ["run", "--listen", "127.0.0.1:0", "--api-listen", "off"];
    let start = [&start[..], &["--state-dir", &dir]].concat();
    let api = ["status", "--api", "http://127.0.0.1:1", "--token-file"];
    for args in [
        [&start[..], &["--key-file", &pipe]].concat(),
        [&start[..], &["--config", &pipe]].concat(),
        [&api[..], &[&pipe]].concat(),
        vec!["config", "check", "--config", &pipe],
        vec!["config", "set", "log", "warn", "--config", &pipe],
        vec!["replay", &pipe],
        vec!["sim", "--scenario", &pipe],
    ] {
        let ran = run(&home, &args);
        assert!(matches!(ran.code, Some(1 | 2)), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains("where a file is"), "{args:?}: {ran:?}");
    }
    // Files that the node creates are replaced where possible, or named.
    for name in ["lock", "node.key"] {
        let path = format!("{dir}/{name}");
        let _ = fs::remove_file(&path);
        make(&path);
        let ran = run(&home, &start);
        assert!(matches!(ran.code, Some(1 | 2)), "{name}: {ran:?}");
        assert!(ran.stderr.contains("where a file is"), "{name}: {ran:?}");
        fs::remove_file(&path).unwrap();
    }
    for name in ["api.token", "api.json", "peers.json", "own_items.json"] {
        make(&format!("{dir}/{name}"));
    }
    let node = Node::start_with(&home, "state", &["run", "--listen", "127.0.0.1:0"]);
    node.run(&home, &["status"]).exits(0);
    // Input data may come from a pipe.
    let pipe = std::path::PathBuf::from(pipe);
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "data")
    });
    let put = ["put", "--file", pipe.to_str().unwrap(), "--json"];
    assert_eq!(node.run(&home, &put).exits(5).json()["code"], "kept");
    writer.join().unwrap().unwrap();
    signal(node.pid(), "TERM");
    assert_eq!(node.wait(), Some(0));
}
