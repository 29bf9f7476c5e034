//! Every command once on a terminal: no errors, and colours only where wanted.

mod support;

use std::fs;

use support::commands::commands;
use support::terminal::OnTerminal;
use support::{Node, TempDir, program, run};

/// Returns whether the output has colours, as opposed to cursor movements.
fn is_colored(screen: &str) -> bool {
    screen.split("\x1b[").skip(1).any(|after| {
        let end = after.find(|c: char| c.is_ascii_alphabetic());
        end.is_some_and(|end| after.as_bytes()[end] == b'm')
    })
}

#[track_caller]
fn is_calm(what: &[&str], screen: &str) {
    for complaint in ["panicked", "RUST_BACKTRACE", "ansi", "tracing-subscriber"] {
        assert!(!screen.contains(complaint), "{what:?}: {screen}");
    }
}

#[test]
fn every_command_runs_on_a_terminal() {
    let home = TempDir::new();
    let journal = home.join("journal");
    let mut node = Node::start(&home, "node", &[]);
    let args = ["run", "--listen", "127.0.0.1:0", "--journal", &journal];
    let peer = node.address();
    let other = Node::start_with(
        &home,
        "other",
        &[&args[..], &["--bootstrap", &peer]].concat(),
    );
    node.knows(1);
    let key = other.text("key").to_owned();
    other.kill();
    let other = Node::start(&home, "other", &[&node]);
    let dir = node.dir.clone();
    let state = ["--state-dir", dir.as_str()];
    let own_state = home.join("own");
    let own = ["--state-dir", own_state.as_str()];
    let (file, config) = (home.join("a.key"), home.join("c.json"));
    let lines = home.join("items.jsonl");
    let pages = home.join("man1");
    let api = ["--api-listen", "127.0.0.1:0"];
    let anywhere = ["--listen", "127.0.0.1:0"];
    // Command, exit status, and the text after which it must be stopped.
    let mut cases: Vec<(Vec<&str>, i32, Option<&str>)> = vec![
        (vec!["keygen", &file], 0, None),
        (
            [&["put", "hello", "--salt", "s"], &state[..]].concat(),
            0,
            None,
        ),
        ([&["get", "self", "s"], &state[..]].concat(), 0, None),
        ([&["get", "self", "nothing"], &state[..]].concat(), 4, None),
        (
            [&["watch", "self", "s", "--count", "1"], &state[..]].concat(),
            0,
            None,
        ),
        (
            [&["watch", "self", "nothing", "--timeout", "1"], &state[..]].concat(),
            7,
            None,
        ),
        ([&["ls"], &state[..]].concat(), 0, None),
        ([&["delete", "self", "s"], &state[..]].concat(), 0, None),
        ([&["full-node"], &state[..]].concat(), 0, None),
        ([&["sync"], &state[..]].concat(), 6, None),
        ([&["full-node", "on"], &state[..]].concat(), 0, None),
        ([&["sync", &key], &state[..]].concat(), 5, None),
        ([&["list", "--values"], &state[..]].concat(), 0, None),
        ([&["full-node", "off"], &state[..]].concat(), 0, None),
        ([&["services", "vpn"], &state[..]].concat(), 4, None),
        ([&["transports", &key], &state[..]].concat(), 4, None),
        ([&["register"], &state[..]].concat(), 0, None),
        (
            [&["diff", "--http", "http://127.0.0.1:1"], &state[..]].concat(),
            3,
            None,
        ),
        ([&["peers"], &state[..]].concat(), 0, None),
        ([&["peers", "--buckets"], &state[..]].concat(), 0, None),
        (
            [&["status", "--limits", "--tasks"], &state[..]].concat(),
            0,
            None,
        ),
        ([&["ping", &key], &state[..]].concat(), 0, None),
        ([&["doctor"], &state[..]].concat(), 0, None),
        ([&["verify"], &state[..]].concat(), 0, None),
        ([&["ui"], &state[..]].concat(), 0, None),
        ([&["bundle"], &state[..]].concat(), 0, None),
        ([&["top", "--once"], &state[..]].concat(), 0, None),
        (
            vec!["get", &key, "--bootstrap", &peer, "--timeout", "5"],
            4,
            None,
        ),
        (vec!["config", "init", "--config", &config], 0, None),
        (vec!["config", "check", "--config", &config], 0, None),
        (vec!["config", "show", "--config", &config], 0, None),
        (
            vec!["config", "get", "listen", "--config", &config],
            0,
            None,
        ),
        (
            vec!["config", "set", "log", "warn", "--config", &config],
            0,
            None,
        ),
        (vec!["config", "unset", "log", "--config", &config], 0, None),
        (vec!["config", "keys"], 0, None),
        (vec!["version"], 0, None),
        (vec!["completions", "bash"], 0, None),
        (vec!["man", &pages], 0, None),
        (
            [&["run"], &anywhere[..], &api, &own].concat(),
            0,
            Some("next "),
        ),
        (
            vec!["dmsg-discovery", "--addr", "127.0.0.1:0"],
            0,
            Some("next "),
        ),
        (
            [
                &["dmsg-server", "--public-address", "127.0.0.1:1"],
                &anywhere[..],
                &api,
                &own,
            ]
            .concat(),
            0,
            Some("next "),
        ),
        (
            [
                &["mirror", "--dmsg-discovery", "http://127.0.0.1:1"],
                &anywhere[..],
                &api,
                &own,
            ]
            .concat(),
            0,
            Some("next "),
        ),
        (
            [
                &["gateway", "--addr", "127.0.0.1:0"],
                &anywhere[..],
                &api,
                &own,
            ]
            .concat(),
            0,
            Some("next "),
        ),
        ([&["store", "stats"], &own[..]].concat(), 0, None),
        ([&["store", "check"], &own[..]].concat(), 0, None),
        (
            [&["store", "export", "--file", &lines], &own[..]].concat(),
            0,
            None,
        ),
        (
            [&["store", "import", "--file", &lines], &own[..]].concat(),
            0,
            None,
        ),
        ([&["store", "compact"], &own[..]].concat(), 0, None),
        (vec!["demo", "--nodes", "4", "--items", "2"], 0, None),
        (
            vec!["bench", "network", "--nodes", "2", "--ops", "2"],
            0,
            None,
        ),
        (vec!["bench", "store", "--items", "10"], 0, None),
        (vec!["bench", "sync", "--items", "10"], 0, None),
        (vec!["bench", "abuse", "--list"], 0, None),
        (
            "bench gateway --registrations 5 --seconds 1 --visors 5"
                .split(' ')
                .collect(),
            0,
            None,
        ),
        (
            "bench serve --mix ping --duration 1ms --warm-up 1ms --items 1 --peers 1"
                .split(' ')
                .collect(),
            0,
            None,
        ),
        (vec!["replay", &journal], 0, None),
        (vec!["sim", "--list"], 0, None),
        (vec!["visor", "dht", "list"], 3, None),
        (vec!["stat"], 2, None),
    ];
    // The last command stops the node.
    cases.push(([&["stop"], &state[..]].concat(), 0, None));
    for (args, code, up) in &cases {
        let mut running = OnTerminal::start(program(&home).env("TERM", "xterm").args(args));
        if let Some(up) = up {
            running.wait_for(up);
            running.stop();
        }
        let (status, screen) = running.finish();
        assert_eq!(status, Some(*code), "{args:?}: {screen}");
        is_calm(args, &screen);
    }
    assert_eq!(node.wait(), Some(0));
    drop(other);
    for described in commands(&home) {
        let is_run = |case: &&(Vec<&str>, i32, Option<&str>)| {
            case.0.iter().zip(&described.words).all(|(a, b)| a == b)
        };
        let words = &described.words;
        assert!(
            cases.iter().any(|case| is_run(&case)),
            "{words:?} is not run"
        );
    }
}

#[test]
fn colors_are_for_terminals_and_for_those_who_want_them() {
    let home = TempDir::new();
    let node = Node::start(&home, "node", &[]);
    let mut lone = OnTerminal::start(
        program(&home)
            .args(["run", "--listen", "127.0.0.1:0", "--api-listen", "off"])
            .args(["--state-dir", &home.join("lone")]),
    );
    lone.wait_for("next ");
    lone.stop();
    assert!(is_colored(&lone.finish().1), "the log");
    let on_terminal = |args: &[&str], variables: &[(&str, &str)]| {
        let mut command = program(&home);
        command.args(args).args(["--state-dir", &node.dir]);
        command.envs(variables.iter().copied());
        let (_, screen) = OnTerminal::start(&mut command).finish();
        is_calm(args, &screen);
        is_colored(&screen)
    };
    // A verdict, a failure, and a usage error.
    let commands: [&[&str]; 3] = [&["status"], &["get", "self"], &["get", "02"]];
    for command in commands {
        let with = |more: &[&str], variables: &[(&str, &str)]| {
            on_terminal(&[command, more].concat(), variables)
        };
        assert!(with(&[], &[]), "{command:?}");
        assert!(with(&[], &[("NO_COLOR", "")]), "{command:?}: not set");
        assert!(!with(&[], &[("NO_COLOR", "1")]), "{command:?}");
        assert!(!with(&[], &[("TERM", "dumb")]), "{command:?}");
        assert!(!with(&["--color", "never"], &[]), "{command:?}");
        let always = with(&["--color", "always"], &[("NO_COLOR", "1")]);
        assert!(always, "{command:?}: the option is the later word");
    }
    let piped = node.run(&home, &["status"]).exits(0);
    assert!(!is_colored(piped.text()) && !is_colored(&piped.stderr));
    let asked = node.run(&home, &["status", "--color", "always"]).exits(0);
    assert!(is_colored(asked.text()));
    let json = node.run(&home, &["status", "--json", "--color", "always"]);
    assert!(!is_colored(json.exits(0).text()), "JSON is for programs");
    let made = fs::read_dir(home.path()).unwrap().count();
    assert!(made >= 1);
}

#[test]
fn what_others_wrote_does_not_steer_a_terminal() {
    let home = TempDir::new();
    let mut a = Node::start(&home, "a", &[]);
    let mut b = Node::start(&home, "b", &[&a]);
    a.knows(1);
    b.knows(1);
    let value = "caf\u{e9}\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\rX";
    let salt = "\u{e9}\u{1b}[31m";
    a.run(&home, &["put", value, "--salt", salt]).exits(0);
    let key = a.text("key").to_owned();
    let get = ["get", &key, "--salt", salt, "--state-dir", &b.dir];
    // In a pipe, the value is unchanged.
    assert_eq!(run(&home, &get).exits(0).stdout, value.as_bytes());
    let json = [&get[..], &["--json"]].concat();
    let ls = ["ls", "--state-dir", &a.dir];
    for args in [&get[..], &json, &ls] {
        let (code, screen) = OnTerminal::start(program(&home).args(args)).finish();
        assert_eq!(code, Some(0), "{screen:?}");
        for steers in ['\u{1b}', '\u{7}', '\u{9b}'] {
            assert!(!screen.contains(steers), "{args:?}: {screen:?}");
        }
        assert!(
            screen.contains('\u{e9}'),
            "text stays: {args:?}: {screen:?}"
        );
    }
}
