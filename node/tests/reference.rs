//! Completions and manual pages: generated from the parser, complete, and usable by their readers.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::commands::{Described, commands};
use support::{TempDir, run};

/// Words that are accepted but not offered.
const HIDDEN: [&str; 2] = ["attacker", "with-target"];

fn is_there(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(tool).is_file())
}

#[test]
fn completions_offer_every_command_and_option_and_nothing_hidden() {
    let home = TempDir::new();
    let described = commands(&home);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&home, &["completions", shell]).exits(0);
        let script = ran.text();
        for Described { words, options, .. } in &described {
            let word = words.last().unwrap();
            assert!(script.contains(word.as_str()), "{shell}: no {words:?}");
            for (option, _) in options {
                let name = option.trim_start_matches('-');
                assert!(script.contains(name), "{shell}: {words:?}: no {option}");
            }
        }
        for hidden in HIDDEN {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
    let ran = run(&home, &["completions", "bash", "--json"])
        .exits(0)
        .json();
    assert_eq!(ran["schema"], "skydht.completions/1");
    let script = run(&home, &["completions", "bash"]).exits(0);
    assert_eq!(ran["script"].as_str(), Some(script.text()));
    run(&home, &["completions", "tcsh"]).exits(2);
    run(&home, &["completions"]).exits(2);
}

#[test]
fn bash_completes_words_with_the_script() {
    if !is_there("bash") {
        return;
    }
    let home = TempDir::new();
    let script = home.join("skydht.bash");
    let made = run(&home, &["completions", "bash"]).exits(0);
    fs::write(&script, made.stdout).unwrap();
    let complete = |words: &[&str]| {
        let program = "source \"$1\"; shift; COMP_WORDS=(skydht \"$@\"); COMP_CWORD=$#; \
            _skydht skydht \"${@: -1}\" \"${@: -2:1}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let ran = Command::new("bash")
            .args(["--norc", "-c", program, "bash", &script])
            .args(words)
            .output()
            .unwrap();
        let said = String::from_utf8(ran.stderr).unwrap();
        assert!(said.is_empty(), "{words:?}: {said}");
        String::from_utf8(ran.stdout).unwrap()
    };
    assert_eq!(complete(&["pu"]), "put\n");
    assert_eq!(complete(&["config", "che"]), "check\n");
    assert_eq!(complete(&["run", "--journal-"]), "--journal-limit\n");
    assert_eq!(complete(&["full-node", "st"]), "status\n");
    assert_eq!(complete(&["vis"]), "\n", "upstream's words are not offered");
}

#[test]
fn each_command_has_a_manual_page_with_its_options_and_examples() {
    let home = TempDir::new();
    let dir = home.join("share/man1");
    let made = run(&home, &["man", &dir, "--json"]).exits(0).json();
    let described = commands(&home);
    let page = |name: &str| {
        let path = Path::new(&dir).join(format!("{name}.1"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    for Described { words, options, .. } in &described {
        let text = page(&format!("skydht-{}", words.join("-")));
        for (option, value) in options {
            let option = option.replace('-', "\\-");
            assert!(text.contains(&option), "{words:?}: no {option} <{value}>");
        }
        assert!(text.contains(".SH EXAMPLES"), "{words:?}");
        assert!(text.contains("skydht"), "{words:?}");
    }
    let program = page("skydht");
    for part in [
        ".TH skydht 1",
        "FIRST STEPS",
        "Exit status: 0 ok",
        "skydht\\-put(1)",
    ] {
        assert!(program.contains(part), "no {part:?} in {program}");
    }
    assert!(page("skydht-config-set").contains("\\fBskydht\\-config\\fR(1)"));
    // The parents of commands are `config`, `store`, `bench` and the program itself.
    let files = made["files"].as_array().unwrap();
    assert_eq!(files.len(), described.len() + 4, "{files:?}");
    let listed = fs::read_dir(&dir).unwrap().count();
    assert_eq!(listed, files.len());
    for hidden in ["visor", "dht", "cli", "bench-attacker", "help"] {
        assert!(
            !Path::new(&dir).join(format!("skydht-{hidden}.1")).exists(),
            "{hidden}"
        );
    }
    assert_eq!(run(&home, &["man"]).exits(0).text(), program);
    // A second run replaces the pages.
    run(&home, &["man", &dir]).exits(0);
    let file = home.join("file");
    fs::write(&file, "").unwrap();
    run(&home, &["man", &file]).exits(1);
}

#[test]
fn the_manual_pages_are_set_without_complaint() {
    if !is_there("groff") && !is_there("man") {
        return;
    }
    let home = TempDir::new();
    let dir = home.join("man1");
    run(&home, &["man", &dir]).exits(0);
    for entry in fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        let mut command = match is_there("groff") {
            true => Command::new("groff"),
            false => Command::new("man"),
        };
        match is_there("groff") {
            true => command.args(["-man", "-Tutf8", "-Kutf8", "-ww"]),
            false => command
                .args(["--warnings=w", "-E", "UTF-8", "-l"])
                .env("MANWIDTH", "100"),
        };
        let ran = command
            .arg(&path)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        let bad: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("break"))
            .collect();
        assert!(
            ran.status.success() && bad.is_empty(),
            "{}: {said}",
            path.display()
        );
        assert!(ran.stdout.len() > 500, "{}: {said}", path.display());
    }
}

#[test]
fn no_command_shows_many_options_under_one_heading() {
    let home = TempDir::new();
    for Described { words, .. } in commands(&home) {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("-h");
        let help = run(&home, &args).exits(0);
        let (mut heading, mut below) = ("", 0);
        for line in help.text().lines() {
            if let Some(title) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
                (heading, below) = (title, 0);
            } else if line.trim_start().starts_with('-') {
                below += 1;
            }
            assert!(
                below <= 11,
                "{words:?}: more than 11 options under {heading:?}"
            );
        }
    }
}
