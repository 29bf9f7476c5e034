//! Comparison of two runs.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::quantity::Quantity;
use super::report::RunFile;

/// One result in both runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// The column, as in `summary.csv`.
    pub name: String,
    /// The value in the first run; `None` if it has none.
    pub a: Option<Quantity>,
    /// The value in the second run; `None` if it has none.
    pub b: Option<Quantity>,
}

/// The differences between two runs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Comparison {
    /// Name and version of the JSON schema.
    pub schema: &'static str,
    /// Parameters that differ: name, value in the first run, value in the second.
    pub parameters: Vec<(String, String, String)>,
    /// Whether exactly the same happened in both runs.
    pub same_digest: bool,
    /// Every result, by name.
    pub results: Vec<Change>,
}

impl Change {
    /// Relative change from the first to the second, as a fraction; `None` if the values cannot be
    /// compared.
    #[must_use]
    pub fn relative(&self) -> Option<f64> {
        let (a, b) = (self.a?, self.b?);
        if a.unit != b.unit || a.value == 0 {
            return None;
        }
        Some(b.value as f64 / a.value as f64 - 1.0)
    }
}

impl Comparison {
    /// Compares `a` with `b`.
    #[must_use]
    pub fn of(a: &RunFile, b: &RunFile) -> Self {
        let asked = |run: &RunFile| {
            let mut asked = run.parameters.clone();
            asked.insert("scenario".into(), run.scenario.clone());
            asked.insert("seed".into(), run.seed.clone());
            asked.insert("nodes".into(), run.nodes.to_string());
            asked
        };
        let (asked_a, asked_b) = (asked(a), asked(b));
        let keys: BTreeSet<&String> = asked_a.keys().chain(asked_b.keys()).collect();
        let value = |of: &std::collections::BTreeMap<String, String>, key: &str| {
            of.get(key).cloned().unwrap_or_else(|| "-".into())
        };
        let parameters = keys
            .into_iter()
            .filter(|key| asked_a.get(*key) != asked_b.get(*key))
            .map(|key| (key.clone(), value(&asked_a, key), value(&asked_b, key)))
            .collect();
        let (found_a, found_b) = (a.columns(), b.columns());
        let names: BTreeSet<&String> = found_a.keys().chain(found_b.keys()).collect();
        let results = names
            .into_iter()
            .map(|name| Change {
                name: name.clone(),
                a: found_a.get(name).copied(),
                b: found_b.get(name).copied(),
            })
            .collect();
        Self {
            schema: "skydht.sim_compare/1",
            parameters,
            same_digest: a.digest == b.digest,
            results,
        }
    }

    /// One row per result: name, first, second, change.
    #[must_use]
    pub fn rows(&self) -> Vec<[String; 4]> {
        let text = |quantity: Option<Quantity>| {
            quantity.map_or_else(|| "-".into(), |quantity| quantity.to_string())
        };
        let change = |change: &Change| match change.relative() {
            Some(_) if change.a == change.b => "=".into(),
            Some(relative) => format!("{:+.1} %", relative * 100.0),
            None if change.a == change.b => "=".into(),
            None => "-".into(),
        };
        self.results
            .iter()
            .map(|row| [row.name.clone(), text(row.a), text(row.b), change(row)])
            .collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, a, b) in &self.parameters {
            writeln!(f, "{name}: {a} | {b}")?;
        }
        write!(
            f,
            "{}",
            if self.same_digest {
                "the same happened in both: equal digests"
            } else {
                "different runs: different digests"
            }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::report::tests::report;

    #[test]
    fn differences_are_relative_to_the_first() {
        let (a, b) = (report("0", "ours", 1), report("0", "upstream", 1));
        let comparison = Comparison::of(&a.to_file(), &b.to_file());
        assert!(comparison.same_digest);
        assert_eq!(
            comparison.parameters,
            [("model".into(), "ours".into(), "upstream".into())]
        );
        let row = |name: &str| {
            let rows = comparison.rows();
            rows.into_iter().find(|row| row[0] == name).unwrap()
        };
        assert_eq!(row("first_value_p50_ms")[3], "+200.0 %");
        assert_eq!(row("messages")[3], "=");
        assert!(comparison.to_string().contains("model: ours | upstream"));
    }

    #[test]
    fn what_only_one_has_is_shown_without_a_change() {
        let (a, mut b) = (report("0", "ours", 1), report("0", "ours", 2));
        b.figures.insert("new".into(), Quantity::count(4));
        b.figures.insert("messages".into(), Quantity::bytes(4));
        b.samples.clear();
        let comparison = Comparison::of(&a.to_file(), &b.to_file());
        assert!(!comparison.same_digest);
        let rows = comparison.rows();
        let row = |name: &str| rows.iter().find(|row| row[0] == name).unwrap();
        assert_eq!(row("new")[1..], ["-", "4", "-"]);
        assert_eq!(row("first_value_p50_ms")[2..], ["-", "-"]);
        assert_eq!(row("messages_bytes")[1..], ["-", "4 B", "-"]);
        let zero = Change {
            name: "x".into(),
            a: Some(Quantity::count(0)),
            b: Some(Quantity::count(3)),
        };
        assert_eq!(zero.relative(), None);
    }
}
