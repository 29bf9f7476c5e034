//! Collects comparisons of this implementation's results with Go's, and reconciles them with the
//! stated differences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::differences::Expected;

/// Maximum number of failures and mismatches printed in full.
const SHOWN: usize = 20;
/// Maximum number of characters printed of a value.
const SHOWN_CHARS: usize = 300;

/// Identifies a comparison: the case's name, the operation within a trace, and the field.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct At {
    /// `section/name`, or another name chosen by the runner.
    pub(crate) case: String,
    /// Index of the operation in a trace.
    pub(crate) op: Option<usize>,
    /// Name of the compared field.
    pub(crate) field: String,
}

impl Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.case)?;
        if let Some(op) = self.op {
            write!(f, " op {op}")?;
        }
        write!(f, ": {}", self.field)
    }
}

struct Mismatch {
    ours: Value,
    theirs: Value,
    /// The result that `differences.toml` must state.
    stated: Value,
}

/// Results of the runners of one file.
#[derive(Default)]
pub(crate) struct Report {
    cases: BTreeSet<(String, Option<usize>)>,
    checks: usize,
    mismatches: BTreeMap<At, Mismatch>,
    failures: Vec<String>,
}

impl Report {
    /// Starts a case. Names are unique within a file, so start them with the section.
    pub(crate) fn case(&mut self, name: impl Display) -> Case<'_> {
        self.start(name.to_string(), None)
    }

    /// Starts an operation of a trace.
    pub(crate) fn op(&mut self, trace: impl Display, op: usize) -> Case<'_> {
        self.start(trace.to_string(), Some(op))
    }

    fn start(&mut self, name: String, op: Option<usize>) -> Case<'_> {
        if !self.cases.insert((name.clone(), op)) {
            self.fail(&name, format!("a second case of this name (op {op:?})"));
        }
        Case {
            report: self,
            name,
            op,
            checks: 0,
        }
    }

    /// Deserializes a section. Its type needs `#[serde(deny_unknown_fields)]`, so that no part of a
    /// vector is ignored. An error is a failure, and returns `None`.
    pub(crate) fn section<T: DeserializeOwned>(&mut self, file: &Value, name: &str) -> Option<T> {
        match serde_json::from_value(file[name].clone()) {
            Ok(section) => Some(section),
            Err(error) => {
                self.fail(name, format!("cannot be read: {error}"));
                None
            }
        }
    }

    /// Adds a failure that no stated difference can excuse.
    pub(crate) fn fail(&mut self, place: &str, why: impl Display) {
        self.failures.push(format!("{place}: {why}"));
    }

    /// Compares the mismatches with the stated differences.
    pub(crate) fn reconcile(mut self, stated: Vec<Expected>) -> Reconciled {
        let mut differences = 0;
        for Expected { at, ours, source } in stated {
            match self.mismatches.remove(&at) {
                Some(found) if found.stated == ours => differences += 1,
                Some(found) => self.failures.push(format!(
                    "{at}: differs otherwise than stated ({source})\n    stated: {}\n    found:  {}",
                    cut(&ours),
                    cut(&found.stated)
                )),
                None => self.failures.push(format!(
                    "{at}: stated as a difference ({source}), but it does not occur"
                )),
            }
        }
        for (at, found) in self.mismatches {
            let mut text = format!(
                "{at}\n    ours:   {}\n    theirs: {}",
                cut(&found.ours),
                cut(&found.theirs)
            );
            if found.stated != found.ours {
                text += &format!("\n    would be stated as: {}", cut(&found.stated));
            }
            self.failures.push(text);
        }
        if self.checks == 0 && self.failures.is_empty() && !self.cases.is_empty() {
            self.failures.push("nothing was compared".to_owned());
        }
        Reconciled {
            cases: self.cases.len(),
            checks: self.checks,
            differences,
            failures: self.failures,
        }
    }
}

/// A case being compared.
pub(crate) struct Case<'r> {
    report: &'r mut Report,
    name: String,
    op: Option<usize>,
    checks: usize,
}

impl Case<'_> {
    /// Compares one field, both sides as JSON. Returns whether they are equal.
    pub(crate) fn check(
        &mut self,
        field: &str,
        ours: impl Serialize,
        theirs: impl Serialize,
    ) -> bool {
        let stated = to_value(&ours);
        self.check_stated(field, ours, theirs, stated)
    }

    /// Compares a field whose value depends on concrete keys. A difference is stated in
    /// `differences.toml` as `stated`, a description that holds for any keys.
    pub(crate) fn check_stated(
        &mut self,
        field: &str,
        ours: impl Serialize,
        theirs: impl Serialize,
        stated: impl Serialize,
    ) -> bool {
        self.checks += 1;
        self.report.checks += 1;
        let (ours, theirs) = (to_value(&ours), to_value(&theirs));
        let equal = ours == theirs;
        if !equal {
            let at = At {
                case: self.name.clone(),
                op: self.op,
                field: field.to_owned(),
            };
            let mismatch = Mismatch {
                ours,
                theirs,
                stated: to_value(&stated),
            };
            if let Some(before) = self.report.mismatches.insert(at, mismatch) {
                let why = format!("{field} compared twice, and {} differed", before.ours);
                self.fail(why);
            }
        }
        equal
    }

    /// Adds a failure that no stated difference can excuse.
    pub(crate) fn fail(&mut self, why: impl Display) {
        let op = self.op.map_or(String::new(), |op| format!(" op {op}"));
        self.report.fail(&format!("{}{op}", self.name), why);
    }
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if self.checks == 0 && !std::thread::panicking() {
            self.fail("nothing was compared");
        }
    }
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("results are plain data")
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// Results after reconciliation.
pub(crate) struct Reconciled {
    cases: usize,
    checks: usize,
    differences: usize,
    failures: Vec<String>,
}

impl Reconciled {
    /// Returns whether everything is as stated.
    pub(crate) fn is_ok(&self) -> bool {
        self.failures.is_empty()
    }

    /// Formats the counts in one line.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} cases, {} comparisons, {} stated differences, {} failures",
            self.cases,
            self.checks,
            self.differences,
            self.failures.len()
        )
    }
}

impl Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        for failure in self.failures.iter().take(SHOWN) {
            writeln!(f, "  {failure}")?;
        }
        if self.failures.len() > SHOWN {
            writeln!(f, "  … and {} more", self.failures.len() - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(case: &str, field: &str, ours: impl Serialize) -> Expected {
        Expected {
            at: At {
                case: case.to_owned(),
                op: None,
                field: field.to_owned(),
            },
            ours: to_value(&ours),
            source: "row 1".into(),
        }
    }

    fn report() -> Report {
        let mut report = Report::default();
        let mut case = report.case("one");
        assert!(case.check("equal", 5, 5));
        assert!(!case.check("different", "ours", "theirs"));
        drop(case);
        report
    }

    #[test]
    fn an_unlisted_difference_fails_and_shows_both_sides() {
        let outcome = report().reconcile(Vec::new());
        assert!(!outcome.is_ok());
        let text = outcome.to_string();
        assert!(
            text.contains("one: different") && text.contains("\"theirs\""),
            "{text}"
        );
    }

    #[test]
    fn a_listed_difference_passes_only_with_its_stated_result() {
        let right = report().reconcile(vec![expected("one", "different", "ours")]);
        assert!(right.is_ok() && right.differences == 1, "{right}");
        let wrong = report().reconcile(vec![expected("one", "different", "else")]);
        assert!(wrong.to_string().contains("differs otherwise"), "{wrong}");
    }

    #[test]
    fn a_listed_difference_that_does_not_occur_fails() {
        let outcome = report().reconcile(vec![
            expected("one", "different", "ours"),
            expected("one", "equal", 6),
        ]);
        assert!(outcome.to_string().contains("does not occur"), "{outcome}");
    }

    #[test]
    fn key_dependent_results_are_stated_in_other_words() {
        let mut report = Report::default();
        report
            .case("one")
            .check_stated("state", "ab12", "cd34", "third item only");
        let outcome = report.reconcile(vec![expected("one", "state", "third item only")]);
        assert!(outcome.is_ok(), "{outcome}");
    }

    #[test]
    fn operations_of_a_trace_are_apart() {
        let mut report = Report::default();
        report.op("trace", 1).check("len", 1, 1);
        report.op("trace", 2).check("len", 1, 2);
        let mut stated = expected("trace", "len", 1);
        stated.at.op = Some(2);
        let outcome = report.reconcile(vec![stated]);
        assert!(outcome.is_ok(), "{outcome}");
    }

    #[test]
    fn cases_without_comparison_and_twins_fail() {
        let mut report = Report::default();
        drop(report.case("idle"));
        report.case("twin").check("x", 1, 1);
        report.case("twin").check("x", 1, 1);
        let text = report.reconcile(Vec::new()).to_string();
        assert!(text.contains("idle: nothing was compared"), "{text}");
        assert!(text.contains("twin: a second case"), "{text}");
    }
}
