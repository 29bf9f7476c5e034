//! Finds the vector files, passes their sections to the runners, and prints the results.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::differences::Differences;
use crate::pending::Pending;
use crate::report::Report;

/// Code that checks some sections of a file.
pub(crate) struct Runner {
    /// The vector file.
    pub(crate) file: &'static str,
    /// Top-level keys that this runner reads; all must be present.
    pub(crate) sections: &'static [&'static str],
    /// Compares; gets the whole file.
    pub(crate) run: fn(&Value, &mut Report),
}

/// Key that names the set of a file; no runner reads it.
const SET: &str = "set";

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the directory of the vectors, and whether it is the repository's own.
fn directory() -> (PathBuf, bool) {
    match std::env::var_os("SKYDHT_VECTORS") {
        Some(other) => (repository().join(other), false),
        None => (repository().join("tests/vectors"), true),
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

fn listed() -> (Differences, Pending) {
    let own = repository().join("tests/vectors");
    let differences = Differences::parse(&read(&own.join("differences.toml")));
    let pending = Pending::parse(&read(&own.join("pending.toml")));
    (
        differences.unwrap_or_else(|e| panic!("differences.toml: {e}")),
        pending.unwrap_or_else(|e| panic!("pending.toml: {e}")),
    )
}

/// Prints a line even if the test passes; the test harness captures `println!`.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs the vectors of one file.
///
/// # Panics
/// Panics if a result is not as stated.
pub(crate) fn check(file: &str, runners: &[Runner]) {
    let (directory, own) = directory();
    let path = directory.join(file);
    if !own && !path.exists() {
        say(&format!(
            "conformance {file}: not in {}",
            directory.display()
        ));
        return;
    }
    let content: Value = serde_json::from_str(&read(&path))
        .unwrap_or_else(|e| panic!("{} is not JSON: {e}", path.display()));
    let (differences, pending) = listed();
    let report = run(file, &content, runners, &pending);
    let outcome = report.reconcile(differences.of(file));
    let owed = pending.owed(file);
    let owed = match owed.is_empty() {
        true => String::new(),
        false => format!("; not covered yet: {}", owed.join(", ")),
    };
    say(&format!("conformance {file}: {}{owed}", outcome.summary()));
    assert!(outcome.is_ok(), "\n{file}: {outcome}");
}

/// Runs all runners of one file, and reports unknown sections.
fn run(file: &str, content: &Value, runners: &[Runner], pending: &Pending) -> Report {
    let mut report = Report::default();
    let Some(content_map) = content.as_object() else {
        report.fail("", "not a JSON object");
        return report;
    };
    let runners = || runners.iter().filter(|runner| runner.file == file);
    let covered: BTreeSet<&str> = runners().flat_map(|r| r.sections).copied().collect();
    for section in content_map.keys().filter(|section| *section != SET) {
        match (
            covered.contains(section.as_str()),
            pending.owes(file, section),
        ) {
            (true, true) => report.fail(section, "covered, and yet listed in pending.toml"),
            (false, false) => report.fail(section, "no runner checks this section"),
            _ => {}
        }
    }
    for runner in runners() {
        for section in runner.sections {
            match &content_map.get(*section) {
                None => report.fail(section, "the section is missing"),
                Some(Value::Array(cases)) if cases.is_empty() => {
                    report.fail(section, "the section is empty");
                }
                Some(_) => {}
            }
        }
        let run = AssertUnwindSafe(|| (runner.run)(content, &mut report));
        if let Err(panic) = catch_unwind(run) {
            let said = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            report.fail("", format!("panicked: {}", said.unwrap_or("?")));
        }
    }
    report
}

/// Checks that every file is known, and that the lists mention only existing ones.
///
/// # Panics
/// Panics otherwise.
pub(crate) fn check_directory(known: &[&str], runners: &[Runner]) {
    let (directory, own) = directory();
    let found: BTreeSet<String> = std::fs::read_dir(&directory)
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", directory.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert!(!found.is_empty(), "no vectors in {}", directory.display());
    for name in &found {
        assert!(known.contains(&name.as_str()), "{name}: unknown file");
    }
    let (differences, pending) = listed();
    for name in known {
        assert!(!own || found.contains(*name), "{name} is missing");
        let ran = runners.iter().any(|runner| runner.file == *name);
        assert!(
            ran || !pending.owed(name).is_empty(),
            "{name}: no runner checks it and pending.toml does not say who owes it"
        );
    }
    for name in differences.files().chain(pending.files()) {
        assert!(known.contains(&name), "{name}: listed, but unknown");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn runner(run: fn(&Value, &mut Report)) -> Runner {
        Runner {
            file: "a.json",
            sections: &["cases"],
            run,
        }
    }

    fn failures(content: &Value, run_it: fn(&Value, &mut Report)) -> String {
        let pending = Pending::parse("").unwrap();
        let report = run("a.json", content, &[runner(run_it)], &pending);
        report.reconcile(Vec::new()).to_string()
    }

    #[test]
    fn unknown_missing_and_empty_sections_fail() {
        let unknown = failures(&json!({"cases": [1], "new": []}), |_, _| {});
        assert!(
            unknown.contains("new: no runner checks this section"),
            "{unknown}"
        );
        let missing = failures(&json!({"set": "x"}), |_, _| {});
        assert!(
            missing.contains("cases: the section is missing"),
            "{missing}"
        );
        let empty = failures(&json!({"cases": []}), |_, _| {});
        assert!(empty.contains("cases: the section is empty"), "{empty}");
    }

    #[test]
    fn a_panic_in_a_runner_is_a_failure() {
        let text = failures(&json!({"cases": [1]}), |_, _| panic!("ouch"));
        assert!(text.contains("panicked: ouch"), "{text}");
    }

    #[test]
    fn what_is_covered_cannot_be_pending() {
        let pending = Pending::parse(
            "[[pending]]\nfile = \"a.json\"\nsections = [\"cases\"]\nowed_by = \"x\"\n",
        )
        .unwrap();
        let content = json!({"cases": [1]});
        let report = run("a.json", &content, &[runner(|_, _| {})], &pending);
        let text = report.reconcile(Vec::new()).to_string();
        assert!(text.contains("listed in pending.toml"), "{text}");
    }
}
