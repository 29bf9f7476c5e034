//! Checks the documents at the root and in `docs/`: every file and path that they mention must
//! exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for dir in [root(), root().join("docs")] {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                let text = fs::read_to_string(&path).unwrap();
                all.push((path, text));
            }
        }
    }
    assert!(all.len() >= 14, "{all:?}");
    all
}

/// Returns the anchor of a heading in links.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_there_are() {
    for (path, text) in documents() {
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", path.display());
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let headings = text.lines().filter(|line| line.starts_with('#'));
                let anchors: BTreeSet<String> = headings.map(anchor).collect();
                assert!(
                    anchors.contains(heading),
                    "{}: {link}: {anchors:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn paths_in_backquotes_are_there() {
    let crates: BTreeSet<String> = fs::read_dir(root())
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let (mut found, mut missing) = (0, Vec::new());
    for (path, text) in documents() {
        // Code blocks contain commands, whose paths may not exist yet.
        for text in text.split("```").step_by(2) {
            for word in text.split('`').skip(1).step_by(2) {
                let Some((first, _)) = word.split_once('/') else {
                    continue;
                };
                let is_path = crates.contains(first) && first != "target";
                if !is_path || word.contains(['*', ' ', '<', '…']) || word.contains("NAME") {
                    continue;
                }
                found += 1;
                if !root().join(word).exists() {
                    missing.push(format!("{}: {word}", path.display()));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(found > 100, "{found}");
}

#[test]
fn every_library_and_document_is_reached_from_the_readme() {
    let all = documents();
    let mut reached = BTreeSet::from([root().join("README.md").canonicalize().unwrap()]);
    loop {
        let before = reached.len();
        for (path, text) in &all {
            if !reached.contains(&path.canonicalize().unwrap()) {
                continue;
            }
            for link in text.split("](").skip(1) {
                let file = link.split(['#', ')']).next().unwrap();
                if let Ok(target) = path.parent().unwrap().join(file).canonicalize() {
                    reached.insert(target);
                }
            }
        }
        if reached.len() == before {
            break;
        }
    }
    for (path, _) in &all {
        let path = path.canonicalize().unwrap();
        assert!(reached.contains(&path), "no link to {}", path.display());
    }
}
