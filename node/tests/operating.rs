//! The page for operators: its transcripts are run on a terminal and compared, and it must explain
//! every cause of a verdict.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use support::terminal::OnTerminal;
use support::{DEADLINE, TempDir};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operating.md");
    fs::read_to_string(path).unwrap()
}

/// A command, and the lines of output shown on the page.
#[derive(Debug)]
struct Typed {
    command: String,
    shows: Vec<String>,
}

/// Returns all transcripts of the page, in order.
fn transcripts() -> Vec<Typed> {
    let mut all: Vec<Typed> = Vec::new();
    let mut inside = false;
    for line in page().lines() {
        match line.strip_prefix("```") {
            Some(kind) => inside = kind == "console",
            None if !inside => {}
            None => match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => all.push(Typed {
                    command: command.to_owned(),
                    shows: Vec::new(),
                }),
                (None, Some(typed)) => typed.shows.push(line.to_owned()),
                (None, None) => panic!("{line:?} follows no command"),
            },
        }
    }
    all
}

/// Returns whether a line matches the page's, where `…` stands for any text.
fn line_is(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pattern
        .split('…')
        .next_back()
        .filter(|_| pattern.contains('…'))
    else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    line.len() >= first.len() + last.len() && line.ends_with(last)
}

/// Returns whether lines match the page's, where a line `…` stands for any lines.
fn lines_are(patterns: &[String], lines: &[&str]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((any, patterns)), _) if any == "…" => {
            (0..=lines.len()).any(|skipped| lines_are(patterns, &lines[skipped..]))
        }
        (Some((pattern, patterns)), Some((line, lines))) => {
            line_is(pattern, line) && lines_are(patterns, lines)
        }
        (Some(_), None) => false,
    }
}

/// Returns the final screen, without the log and without the progress bar.
fn shown(screen: &str) -> Vec<&str> {
    let lines = screen.lines().map(|line| {
        let line = line.trim_end_matches('\r');
        let Some((_, moved)) = line.rsplit_once("\u{1b}[") else {
            return line;
        };
        let end = moved.find(|c: char| c.is_ascii_alphabetic());
        end.map_or(moved, |end| &moved[end + 1..])
    });
    lines
        .filter(|line| !(line.starts_with("20") && line.contains("Z ")))
        .collect()
}

/// Returns the first node's key and address from its output.
fn address(lines: &[&str]) -> String {
    let of = |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap().split_whitespace().next().unwrap()
    };
    format!("{}@{}", of("key "), of("listening "))
}

fn shell(home: &TempDir, first: &str, command: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_skydht")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("bash");
    shell
        .args(["--norc", "-c", command])
        .env_clear()
        .env("PATH", format!("{}:{path}", program.display()))
        .env("HOME", home.path())
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .env("A", first)
        // Free ports, because other tests run concurrently.
        .env("SKYDHT_LISTEN", "127.0.0.1:0")
        .env("SKYDHT_API_LISTEN", "127.0.0.1:0")
        .current_dir(home.path());
    shell
}

#[test]
fn the_transcripts_for_operators_are_what_the_program_shows() {
    let home = TempDir::new();
    let typed = transcripts();
    assert!(typed.len() > 20, "{typed:#?}");
    let mut first = String::new();
    let mut services = Vec::new();
    for Typed { command, shows } in &typed {
        let is_service = command.contains(" run");
        // Commands that show a state are repeated until it is reached, as a user would do.
        let is_look = ["status", "peers", "ls", "get"]
            .iter()
            .any(|word| command.split(' ').any(|each| each == *word));
        let end = Instant::now() + DEADLINE;
        if is_service {
            // With exec, signals and the exit status are the program's.
            let exec = command.replacen("skydht", "exec skydht", 1);
            let mut service = OnTerminal::start(&mut shell(&home, &first, &exec));
            let what = format!("{command}: {shows:#?}");
            service.wait_until(&what, |screen| {
                screen.ends_with('\n') && lines_are(shows, &shown(screen))
            });
            if first.is_empty() {
                first = address(&shown(&service.screen));
            }
            services.push(service);
            continue;
        }
        loop {
            let (_, screen) = OnTerminal::start(&mut shell(&home, &first, command)).finish();
            let lines = shown(&screen);
            if lines_are(shows, &lines) {
                break;
            }
            assert!(
                is_look && Instant::now() < end,
                "$ {command}\n{lines:#?}\nis not\n{shows:#?}"
            );
        }
    }
    // Each service was stopped in a transcript.
    assert!(services.len() >= 4);
    for service in services {
        let (code, screen) = service.finish();
        let is_refused = screen.contains("error: ");
        assert_eq!(code == Some(0), !is_refused, "{code:?}: {screen}");
    }
    assert!(fs::metadata(home.join("items.jsonl")).unwrap().len() > 100);
}

#[test]
fn every_cause_of_a_verdict_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/verdict.rs");
    let (source, page) = (fs::read_to_string(path).unwrap(), page());
    let source = source.split("#[cfg(test)]").next().unwrap();
    // The first text in the construction of a reason is its cause.
    let mut causes = Vec::new();
    for call in ["yellow(", "red(", "red_unless_new("] {
        for (at, _) in source.match_indices(call) {
            let rest = &source[at + call.len()..];
            // The check precedes the cause.
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix("Check::") {
                Some(rest) => rest.split_once(',').unwrap().1.trim_start(),
                None => rest,
            };
            let arguments = rest.trim_start_matches("format!(");
            if let Some(text) = arguments.strip_prefix('"') {
                causes.push(text.split('"').next().unwrap());
            }
        }
    }
    assert!(causes.len() >= 14, "{causes:?}");
    for cause in causes {
        // Names in braces vary.
        let mut parts = cause.split(['{', '}']).step_by(2);
        let pattern = parts.next().unwrap().to_owned()
            + &parts.map(|part| format!("…{part}")).collect::<String>();
        assert!(
            page.contains(&format!("| `{pattern}` |")),
            "docs/operating.md does not explain {pattern:?}"
        );
    }
}

#[test]
fn patterns_match_what_they_mean() {
    for (pattern, line, is) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a…", "ab", true),
        ("…b", "ab", true),
        ("a…c…", "abcd", true),
        ("a…c", "abcd", false),
        ("ab…b", "ab", false),
        ("…", "", true),
    ] {
        assert_eq!(line_is(pattern, line), is, "{pattern:?} {line:?}");
    }
    let patterns = ["a".to_owned(), "…".to_owned(), "c".to_owned()];
    for (lines, is) in [
        (&["a", "c"][..], true),
        (&["a", "b", "b", "c"], true),
        (&["a", "b"], false),
        (&["b", "c"], false),
    ] {
        assert_eq!(lines_are(&patterns, lines), is, "{lines:?}");
    }
}
