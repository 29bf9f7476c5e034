//! `differences.toml`: intended differences from Go's results.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::report::At;

/// Rows of the table of upstream's defects in specification §14.
const ROWS: std::ops::RangeInclusive<u8> = 1..=38;

/// All intended differences.
#[derive(Debug)]
pub(crate) struct Differences(Vec<Entry>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    difference: Vec<Entry>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The vector file.
    file: String,
    /// Names of the cases.
    cases: Vec<String>,
    /// For traces: indices of operations, each as `7` or `7-12` (inclusive).
    #[serde(default)]
    ops: Vec<Ops>,
    /// The field that differs …
    field: Option<String>,
    /// … or all fields that differ, with this implementation's results.
    fields: Option<BTreeMap<String, Value>>,
    /// Row of specification §14 that explains the difference …
    row: Option<u8>,
    /// … or the section of another specification.
    section: Option<String>,
    /// This implementation's result in `field`, if it is the same for all cases and operations …
    ours: Option<Value>,
    /// … or one result for each, in order.
    ours_each: Option<Vec<Value>>,
    /// Short explanation.
    #[allow(dead_code, reason = "for people who read the file; must be there")]
    why: String,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Ops {
    One(usize),
    Range(String),
}

/// A difference that must occur.
#[derive(Debug, PartialEq)]
pub(crate) struct Expected {
    /// File and case of the vector.
    pub(crate) at: At,
    /// This implementation's result.
    pub(crate) ours: Value,
    /// Reference to the specification that explains it.
    pub(crate) source: String,
}

impl Differences {
    /// Parses `differences.toml` and validates it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document: Document = toml::from_str(text).map_err(|e| e.to_string())?;
        let list = Self(document.difference);
        let mut seen = BTreeSet::new();
        for entry in &list.0 {
            for expected in entry.expand()? {
                if !seen.insert((entry.file.clone(), expected.at.clone())) {
                    return Err(format!("{} {} is listed twice", entry.file, expected.at));
                }
            }
        }
        Ok(list)
    }

    /// Returns the differences of one file.
    pub(crate) fn of(&self, file: &str) -> Vec<Expected> {
        let entries = self.0.iter().filter(|entry| entry.file == file);
        entries
            .flat_map(|entry| entry.expand().expect("checked by parse"))
            .collect()
    }

    /// Returns the files that are mentioned.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.file.as_str())
    }
}

impl Entry {
    fn expand(&self) -> Result<Vec<Expected>, String> {
        let context = |why: &str| format!("{} {:?}: {why}", self.file, self.cases);
        let source = match (self.row, &self.section) {
            (Some(row), None) if ROWS.contains(&row) => format!("row {row}"),
            (Some(_), None) => return Err(context("no such row in the specification's table")),
            (None, Some(section)) => section.clone(),
            _ => return Err(context("needs row or section")),
        };
        let mut ops = Vec::new();
        for op in &self.ops {
            ops.extend(op.expand().ok_or_else(|| context("bad operation range"))?);
        }
        let mut places = Vec::new();
        for case in &self.cases {
            match ops.is_empty() {
                true => places.push((case, None)),
                false => places.extend(ops.iter().map(|op| (case, Some(*op)))),
            }
        }
        let expected = |(case, op): (&String, _), field: &str, ours: &Value| Expected {
            at: At {
                case: case.clone(),
                op,
                field: field.to_owned(),
            },
            ours: ours.clone(),
            source: source.clone(),
        };
        let places = places.into_iter();
        Ok(
            match (&self.field, &self.fields, &self.ours, &self.ours_each) {
                (Some(field), None, Some(ours), None) => {
                    places.map(|place| expected(place, field, ours)).collect()
                }
                (Some(field), None, None, Some(each)) if each.len() == places.len() => places
                    .zip(each)
                    .map(|(place, ours)| expected(place, field, ours))
                    .collect(),
                (Some(_), None, None, Some(_)) => {
                    return Err(context("ours_each has another length"));
                }
                (None, Some(fields), None, None) => places
                    .flat_map(|place| fields.iter().map(move |(f, ours)| expected(place, f, ours)))
                    .collect(),
                _ => {
                    return Err(context(
                        "needs field and ours, field and ours_each, or fields",
                    ));
                }
            },
        )
    }
}

impl Ops {
    fn expand(&self) -> Option<std::ops::RangeInclusive<usize>> {
        match self {
            Self::One(op) => Some(*op..=*op),
            Self::Range(text) => {
                let (first, last) = text.split_once('-')?;
                let range = first.parse().ok()?..=last.parse().ok()?;
                (!range.is_empty()).then_some(range)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(rest: &str) -> Result<Differences, String> {
        Differences::parse(&format!(
            "[[difference]]\nfile = \"a.json\"\nfield = \"f\"\nwhy = \"w\"\n{rest}"
        ))
    }

    #[test]
    fn ranges_and_lists_expand_in_order() {
        let list = parse("row = 9\ncases = [\"t\"]\nops = [1, \"3-4\"]\nours_each = [1, 2, \"x\"]")
            .unwrap();
        let found: Vec<_> = list
            .of("a.json")
            .into_iter()
            .map(|e| (e.at.op, e.ours))
            .collect();
        assert_eq!(
            found,
            [
                (Some(1), json!(1)),
                (Some(3), json!(2)),
                (Some(4), json!("x"))
            ]
        );
        assert!(list.of("b.json").is_empty());
    }

    #[test]
    fn several_fields_may_stand_together() {
        let text = "[[difference]]\nfile = \"a.json\"\ncases = [\"c\"]\nrow = 1\nwhy = \"w\"\n\
                    fields = { x = 1, y = false }";
        let list = Differences::parse(text).unwrap().of("a.json");
        let found: Vec<_> = list
            .iter()
            .map(|e| (e.at.field.as_str(), &e.ours))
            .collect();
        assert_eq!(found, [("x", &json!(1)), ("y", &json!(false))]);
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, why) in [
            ("row = 0\ncases = [\"t\"]\nours = 1", "no such row"),
            ("cases = [\"t\"]\nours = 1", "needs row or section"),
            ("row = 39\ncases = [\"t\"]\nours = 1", "no such row"),
            ("row = 1\ncases = [\"t\"]", "needs field"),
            (
                "row = 1\ncases = [\"t\"]\nours_each = [1, 2]",
                "another length",
            ),
            ("row = 1\ncases = [\"t\", \"t\"]\nours = 1", "listed twice"),
            (
                "row = 1\ncases = [\"t\"]\nops = [\"5-4\"]\nours = 1",
                "range",
            ),
            (
                "row = 1\ncases = [\"t\"]\nours = 1\nother = 1",
                "unknown field",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
