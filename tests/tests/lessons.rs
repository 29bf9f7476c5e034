//! Answers to the reasons why upstream's DHT was removed: `docs/why-this-one-stays.md` names a test
//! for each, and all of these tests must exist and run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the page's sections by number.
fn sections(page: &str) -> Vec<(u32, &str)> {
    let parts = page.split("\n## R").skip(1);
    let numbered = parts.map(|part| {
        let (number, text) = part.split_once(". ").unwrap();
        let text = text.split("\n## ").next().unwrap();
        (number.parse().unwrap(), text)
    });
    numbered.collect()
}

/// Returns the tests that are named as `name` (`path.rs`).
fn named(text: &str) -> Vec<(&str, &str)> {
    let words: Vec<&str> = text.split('`').collect();
    let triples = words.windows(3).filter(|triple| triple[2].ends_with(".rs"));
    let tests = triples.filter(|triple| triple[1].trim() == "(" && triple[1].starts_with(' '));
    tests.map(|triple| (triple[0], triple[2])).collect()
}

/// Returns the scenarios that are named as scenario `name`.
fn scenarios(text: &str) -> Vec<&str> {
    let words: Vec<&str> = text.split('`').collect();
    let pairs = words
        .windows(2)
        .filter(|pair| pair[0].ends_with("scenario "));
    pairs.map(|pair| pair[1]).collect()
}

/// Returns why a test with this name does not run; `None` if it does.
fn missing(source: &str, name: &str) -> Option<&'static str> {
    let Some(at) = source.find(&format!("fn {name}(")) else {
        return Some("there is no such function");
    };
    // Attributes of the function are between the previous item and the function.
    let above = &source[..at];
    let begin = above.rfind("}\n").map_or(0, |end| end + 2);
    let attributes = &above[begin..];
    if attributes.contains("#[ignore") {
        return Some("it is ignored");
    }
    let is_test = attributes.contains("#[test]") || attributes.contains("::test");
    (!is_test).then_some("it is no test")
}

#[test]
fn every_lesson_has_an_answer_with_tests_that_run_or_says_that_it_stands_open() {
    let page = read("docs/why-this-one-stays.md");
    let sections = sections(&page);
    let numbers: Vec<u32> = sections.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    for (number, text) in sections {
        let proofs = named(text).len() + scenarios(text).len();
        let is_open = text.contains("**Open");
        assert!(
            proofs > 0 || is_open,
            "R{number} has neither a test nor says so"
        );
    }
    let all = named(&page);
    assert!(all.len() > 40, "{}", all.len());
    for (name, path) in all {
        let why = missing(&read(path), name);
        assert_eq!(why, None, "{name} in {path}");
    }
}

#[test]
fn the_scenarios_of_the_lessons_are_named_and_played() {
    let page = read("docs/why-this-one-stays.md");
    let named: BTreeSet<String> = scenarios(&page).into_iter().map(str::to_owned).collect();
    // The names by which `the_lessons_of_upstream_hold` finds the scenarios.
    let files = fs::read_dir(root().join("tests/scenarios")).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let played: BTreeSet<String> = names
        .filter_map(|name| Some(name.strip_suffix(".toml")?.to_owned()))
        .filter(|name| name.starts_with('r'))
        .collect();
    assert_eq!(named, played);
}

#[test]
fn every_test_that_is_called_after_a_lesson_is_named() {
    fn look(dir: &Path, into: &mut Vec<(String, PathBuf)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                look(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                for line in source.lines() {
                    let line = line.trim_start();
                    let function = line.strip_prefix("async ").unwrap_or(line);
                    let Some(name) = function.strip_prefix("fn r") else {
                        continue;
                    };
                    let Some((number, _)) = name.split_once('_') else {
                        continue;
                    };
                    if number.parse::<u8>().is_ok() {
                        let name = name.split('(').next().unwrap();
                        into.push((format!("r{name}"), path.clone()));
                    }
                }
            }
        }
    }
    let page = read("docs/why-this-one-stays.md");
    let mut found = Vec::new();
    for dir in [
        "core",
        "discovery",
        "dmsg",
        "driver",
        "node",
        "sim",
        "tests",
    ] {
        for below in ["src", "tests"] {
            let dir = root().join(dir).join(below);
            if dir.is_dir() {
                look(&dir, &mut found);
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    for (name, path) in found {
        assert!(
            page.contains(&format!("`{name}`")),
            "{name} ({})",
            path.display()
        );
    }
}

#[test]
fn a_name_without_its_test_is_found() {
    let source =
        "}\n\n/// Words.\n#[test]\nfn a() {\n}\n\nfn b() {}\n#[test]\n#[ignore]\nfn c() {\n}\n";
    assert_eq!(missing(source, "a"), None);
    assert_eq!(missing(source, "b"), Some("it is no test"));
    assert_eq!(missing(source, "c"), Some("it is ignored"));
    assert_eq!(missing(source, "d"), Some("there is no such function"));
    assert_eq!(named("- `a` (`x/y.rs`), `b`\n(see `c`)"), [("a", "x/y.rs")]);
    assert_eq!(scenarios("scenario `r2-x`, `y`"), ["r2-x"]);
}
