//! `differences.toml`: where our results differ from Go's on purpose, and what ours are.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::report::At;

/// Rows of the table of upstream's defects, specification §14.
const ROWS: std::ops::RangeInclusive<u8> = 1..=38;

/// The whole list.
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
    /// The cases, by name.
    cases: Vec<String>,
    /// For traces: operations by index, each `7` or `7-12` (both ends included).
    #[serde(default)]
    ops: Vec<Ops>,
    /// What differs.
    field: String,
    /// Row of specification §14 that explains it.
    row: u8,
    /// Our result, the same for all cases and operations of this entry …
    ours: Option<Value>,
    /// … or one for each, in order.
    ours_each: Option<Vec<Value>>,
    /// Why, in a few words.
    #[allow(dead_code, reason = "for people who read the file; must be there")]
    why: String,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum Ops {
    One(usize),
    Range(String),
}

/// One difference that must occur.
#[derive(Debug, PartialEq)]
pub(crate) struct Expected {
    /// Where.
    pub(crate) at: At,
    /// Our result there.
    pub(crate) ours: Value,
    /// The row that explains it.
    pub(crate) row: u8,
}

impl Differences {
    /// Reads `differences.toml` and checks that it makes sense.
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

    /// The differences stated for one file.
    pub(crate) fn of(&self, file: &str) -> Vec<Expected> {
        let entries = self.0.iter().filter(|entry| entry.file == file);
        entries
            .flat_map(|entry| entry.expand().expect("checked by parse"))
            .collect()
    }

    /// The files named.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.file.as_str())
    }
}

impl Entry {
    fn expand(&self) -> Result<Vec<Expected>, String> {
        let context = |why: &str| format!("{} {:?} {}: {why}", self.file, self.cases, self.field);
        if !ROWS.contains(&self.row) {
            return Err(context("no such row in the specification's table"));
        }
        let mut ops = Vec::new();
        for op in &self.ops {
            ops.extend(op.expand().ok_or_else(|| context("bad operation range"))?);
        }
        let mut places: Vec<At> = Vec::new();
        for case in &self.cases {
            let at = |op| At {
                case: case.clone(),
                op,
                field: self.field.clone(),
            };
            match ops.is_empty() {
                true => places.push(at(None)),
                false => places.extend(ops.iter().map(|op| at(Some(*op)))),
            }
        }
        let results = match (&self.ours, &self.ours_each) {
            (Some(ours), None) => vec![ours.clone(); places.len()],
            (None, Some(each)) if each.len() == places.len() => each.clone(),
            (None, Some(_)) => return Err(context("ours_each has another length")),
            _ => return Err(context("either ours or ours_each")),
        };
        let row = self.row;
        Ok(places
            .into_iter()
            .zip(results)
            .map(|(at, ours)| Expected { at, ours, row })
            .collect())
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
    fn nonsense_is_refused() {
        for (text, why) in [
            ("row = 0\ncases = [\"t\"]\nours = 1", "no such row"),
            ("row = 39\ncases = [\"t\"]\nours = 1", "no such row"),
            ("row = 1\ncases = [\"t\"]", "either ours"),
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
