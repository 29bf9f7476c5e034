//! A JSON object with the line number of each key and value, in the file's order and with
//! duplicates.
//!
//! `serde_json` provides line numbers only for its own errors. A raw value borrows from the text,
//! so that its offset determines its line, even if it is nested, and if its name occurs elsewhere,
//! too.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// One key with its value.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// The key, unescaped.
    pub(crate) key: String,
    /// Line number, from 1.
    pub(crate) line: usize,
    /// The value's JSON text.
    raw: &'a str,
}

/// A configuration file's text.
pub(crate) struct Document<'a>(&'a str);

/// An error for text that is not a JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// Line number, from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) message: String,
}

impl SyntaxError {
    /// Converts a parser error to a message that says what to change, for common mistakes.
    fn new(text: &str, error: &serde_json::Error) -> Self {
        let said = error.to_string();
        // The line number is shown separately.
        let said = said.split(" at line ").next().unwrap_or_default();
        let line = error.line().max(1);
        let start: usize = text
            .split_inclusive('\n')
            .take(line - 1)
            .map(str::len)
            .sum();
        let here = start + error.column().saturating_sub(1);
        let after = text.get(here..).unwrap_or_default();
        // The last significant text before the error.
        let before = text.get(..here).unwrap_or_default().trim_end();
        let line_before = 1 + before.matches('\n').count();
        let (line, why) = match (said, after.chars().next()) {
            _ if text.trim().is_empty() => (
                1,
                "the file is empty: write {}, or let `skydht config init` make one".into(),
            ),
            _ if text.starts_with('\u{feff}') => (
                1,
                "the file begins with a byte order mark: save it as UTF-8 without one".into(),
            ),
            (_, Some('/' | '#')) => (line, "JSON has no comments: remove this one".into()),
            (_, Some('\'' | '“' | '”')) => {
                (line, "texts stand in double quotes: \"…\"".into())
            }
            (_, Some('}' | ']')) if before.ends_with(',') => (
                line_before,
                "nothing follows this comma: remove it".into(),
            ),
            ("expected value", Some(c)) if c.is_alphabetic() => (
                line,
                "a text stands in double quotes; without there are only numbers, true, false and null"
                    .into(),
            ),
            ("key must be a string", _) => (line, "a key stands in double quotes".into()),
            (said, Some(_)) if said.starts_with("expected `,` or") => (
                line_before,
                format!("{said} after this: is a comma or a quote missing?"),
            ),
            (said, _) if said.starts_with("EOF") => (
                line,
                "the file ends too early: is a \", a } or a ] missing?".into(),
            ),
            ("trailing characters", _) => (
                line,
                "something follows the } that ends the file: is there a } too many?".into(),
            ),
            (said, _) => (line, said.to_owned()),
        };
        Self {
            line,
            message: format!("no valid JSON: {why}"),
        }
    }
}

impl<'a> Document<'a> {
    /// Parses the entries of the top-level object.
    pub(crate) fn parse(text: &'a str) -> Result<(Self, Vec<Entry<'a>>), SyntaxError> {
        let document = Self(text);
        // The whole text is parsed first, so that errors within values have correct line numbers.
        let raw: &'a RawValue =
            serde_json::from_str(text).map_err(|error| SyntaxError::new(text, &error))?;
        let entries = document.object(raw.get()).ok_or_else(|| SyntaxError {
            line: document.line_of(raw.get()),
            message: "the file must be one JSON object: {\"key\": value, …}".into(),
        })?;
        Ok((document, entries))
    }

    /// Returns the entries of a value that is an object.
    pub(crate) fn entries(&self, entry: &Entry<'a>) -> Option<Vec<Entry<'a>>> {
        self.object(entry.raw)
    }

    /// Returns the elements of a value that is a list, with empty keys.
    pub(crate) fn elements(&self, entry: &Entry<'a>) -> Option<Vec<Entry<'a>>> {
        let values: Vec<&'a RawValue> = serde_json::from_str(entry.raw).ok()?;
        let element = |value: &'a RawValue| Entry {
            key: String::new(),
            line: self.line_of(value.get()),
            raw: value.get(),
        };
        Some(values.into_iter().map(element).collect())
    }

    fn object(&self, raw: &'a str) -> Option<Vec<Entry<'a>>> {
        let Pairs(pairs) = serde_json::from_str(raw).ok()?;
        let entry = |(Key(key, place), value): (Key<'a>, &'a RawValue)| Entry {
            key,
            line: self.line_of(place.unwrap_or(value.get())),
            raw: value.get(),
        };
        Some(pairs.into_iter().map(entry).collect())
    }

    /// Returns the line number of `part`, a slice of the text.
    fn line_of(&self, part: &str) -> usize {
        let offset = (part.as_ptr() as usize).saturating_sub(self.0.as_ptr() as usize);
        let before = &self.0.as_bytes()[..offset.min(self.0.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }
}

impl<'a> Entry<'a> {
    /// Returns the value's JSON text, a slice of the file's text.
    pub(crate) fn raw(&self) -> &'a str {
        self.raw
    }

    /// Returns the parsed value.
    pub(crate) fn value(&self) -> Result<Value, String> {
        serde_json::from_str(self.raw).map_err(|error| error.to_string())
    }
}

/// A key and its slice of the text; `None` if the key contains escapes.
struct Key<'a>(String, Option<&'a str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(text.into(), Some(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(text.into(), None))
            }
        }
        d.deserialize_str(Text)
    }
}

struct Pairs<'a>(Vec<(Key<'a>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        d.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(entries: &[Entry<'_>]) -> Vec<(String, usize)> {
        entries.iter().map(|e| (e.key.clone(), e.line)).collect()
    }

    #[test]
    fn lines_are_those_of_the_keys_themselves() {
        // "b" occurs as a value, as a nested key, twice as a key, and once with escapes.
        let text = "{\n \"a\": \"b\",\n \"n\": {\n  \"b\":\n   1 },\n \"b\": 2,\n\n \"b\": 3, \"\\u0062\": 4\n}";
        let (document, entries) = Document::parse(text).unwrap();
        assert_eq!(
            lines(&entries),
            [("a", 2), ("n", 3), ("b", 6), ("b", 8), ("b", 8)].map(|(k, l)| (k.to_owned(), l))
        );
        let nested = document.entries(&entries[1]).unwrap();
        assert_eq!(lines(&nested), [("b".to_owned(), 4)]);
        assert_eq!(nested[0].value(), Ok(1.into()));
        assert!(document.entries(&entries[0]).is_none());
    }

    #[test]
    fn syntax_errors_name_their_line() {
        for (text, line, why) in [
            ("{\n \"a\": 1,\n \"b\": }\n", 3, "expected value"),
            ("{}\n\n{}", 3, "} too many"),
            ("\n[1]", 2, "one JSON object"),
            ("", 1, "is empty"),
            (" \n\n", 1, "is empty"),
            ("\u{feff}{}", 1, "byte order mark"),
            ("{\n\"a\": 1,\n}", 2, "comma: remove it"),
            ("{\n\"a\": [1,\n\n]}", 2, "comma: remove it"),
            ("{\n\"a\": 1\n\"b\": 2}", 2, "comma or a quote missing"),
            ("{\n\"a\": \"x\"y\n}", 2, "comma or a quote missing"),
            ("{\n\"a\": 1", 2, "ends too early"),
            ("{\n\"a\": \"x\n}\n", 2, "control character"),
            ("{\n// why\n\"a\": 1}", 2, "no comments"),
            ("{\"a\": 1,\n# why\n\"b\": 1}", 2, "no comments"),
            ("{\n'a': 1}", 2, "double quotes"),
            ("{\"b\":\n'a'}", 2, "double quotes"),
            ("{\"b\":\n\n True}", 3, "double quotes"),
            ("{\na: 1}", 2, "double quotes"),
        ] {
            let error = Document::parse(text).err().unwrap();
            assert_eq!(error.line, line, "{text:?}: {error:?}");
            assert!(error.message.contains(why), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        match Document::parse(&text) {
            Ok((_, entries)) => assert!(entries[0].value().is_err()),
            Err(error) => assert_eq!(error.line, 1),
        }
    }
}
