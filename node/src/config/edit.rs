//! Edits one key in a configuration file's text, and preserves order, white space and line ends of
//! the rest.

use serde_json::{Value, json};

use super::file::{Document, Entry, SyntaxError};
use super::schema::SECTIONS;

/// Returns `text` with `key` set to `value`.
pub(crate) fn with_key(text: &str, key: &str, value: &Value) -> Result<String, SyntaxError> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let (document, entries) = Document::parse(text)?;
    let Some((section, name)) = in_section(key) else {
        return Ok(set_in(text, text, &entries, key, value));
    };
    let there = entries.iter().find(|entry| entry.key == section);
    match there.and_then(|entry| Some((entry.raw(), document.entries(entry)?))) {
        Some((object, inner)) => Ok(set_in(text, object, &inner, name, value)),
        None => Ok(set_in(
            text,
            text,
            &entries,
            section,
            &json!({ name: value }),
        )),
    }
}

/// Returns `text` without `key`; `None` if the key is absent.
pub(crate) fn without_key(text: &str, key: &str) -> Result<Option<String>, SyntaxError> {
    let (document, entries) = Document::parse(text)?;
    let Some((section, name)) = in_section(key) else {
        return Ok(remove_in(text, text, &entries, key));
    };
    let there = entries.iter().find(|entry| entry.key == section);
    let inner = there.and_then(|entry| Some((entry.raw(), document.entries(entry)?)));
    Ok(inner.and_then(|(object, inner)| remove_in(text, object, &inner, name)))
}

/// Splits a key into its section and its name there; `None` for a top-level key.
fn in_section(key: &str) -> Option<(&'static str, &str)> {
    SECTIONS
        .into_iter()
        .find_map(|section| Some((section, key.strip_prefix(section)?.strip_prefix('.')?)))
}

/// Removes `name` from `object`, a part of `text` with these `entries`, together with a comma.
fn remove_in(text: &str, object: &str, entries: &[Entry<'_>], name: &str) -> Option<String> {
    let offset = |part: &str| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let end_of = |entry: &Entry<'_>| offset(entry.raw()) + entry.raw().len();
    let index = entries.iter().position(|entry| entry.key == name)?;
    let end = end_of(&entries[index]);
    let begin = offset(object) + object.find('{').map_or(0, |at| at + 1);
    Some(match index.checked_sub(1) {
        Some(before) => splice(text, end_of(&entries[before]), end, ""),
        // Between a value and the next key there are only white space and the comma.
        None if entries.len() > 1 => {
            let comma = text[end..].find(',').map_or(end, |at| end + at + 1);
            splice(text, begin, comma, "")
        }
        None => splice(text, begin, offset(object) + object.rfind('}')?, ""),
    })
}

/// Sets `name` in `object`, a part of `text` with these `entries`.
fn set_in(text: &str, object: &str, entries: &[Entry<'_>], name: &str, value: &Value) -> String {
    let offset = |part: &str| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    if let Some(entry) = entries.iter().find(|entry| entry.key == name) {
        let start = offset(entry.raw());
        return splice(text, start, start + entry.raw().len(), &value.to_string());
    }
    let new = format!("{}: {value}", json!(name));
    let Some(last) = entries.last() else {
        // Between the braces there is only white space.
        let start = offset(object) + object.find('{').map_or(0, |at| at + 1);
        let end = offset(object) + object.rfind('}').unwrap_or(object.len());
        return splice(text, start, end, &format!("\n  {new}\n"));
    };
    let end = offset(last.raw()) + last.raw().len();
    // The new entry gets a line of its own, indented as the entry before, if that has one.
    let line = text[..offset(last.raw())]
        .rsplit('\n')
        .next()
        .unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    let has_own_line = line.trim_start().starts_with('"') && text[..end].contains('\n');
    let before = if has_own_line {
        format!(",\n{}", &line[..indent])
    } else {
        ", ".to_owned()
    };
    splice(text, end, end, &format!("{before}{new}"))
}

fn splice(text: &str, start: usize, end: usize, new: &str) -> String {
    format!("{}{new}{}", &text[..start], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_changes_and_nothing_else() {
        for (text, key, value, after) in [
            ("", "log", json!("warn"), "{\n  \"log\": \"warn\"\n}\n"),
            ("{}", "log", json!("warn"), "{\n  \"log\": \"warn\"\n}"),
            (
                "{\n    \"log\" :  \"info\",\n\n    \"full_node\": true\n}\n",
                "log",
                json!("warn"),
                "{\n    \"log\" :  \"warn\",\n\n    \"full_node\": true\n}\n",
            ),
            (
                "{\n    \"log\": \"info\"\n}\n",
                "full_node",
                json!(true),
                "{\n    \"log\": \"info\",\n    \"full_node\": true\n}\n",
            ),
            (
                "{\"log\": \"info\"}",
                "bootstrap",
                json!(["a", "b"]),
                "{\"log\": \"info\", \"bootstrap\": [\"a\",\"b\"]}",
            ),
            (
                "{\"log\": \"info\"}",
                "limits.calls",
                json!(7),
                "{\"log\": \"info\", \"limits\": {\"calls\":7}}",
            ),
            (
                "{\n  \"limits\": {\n    \"streams\": 9\n  },\n  \"log\": \"info\"\n}",
                "limits.calls",
                json!(7),
                "{\n  \"limits\": {\n    \"streams\": 9,\n    \"calls\": 7\n  },\n  \"log\": \"info\"\n}",
            ),
            (
                "{\"dmsg\": {}}",
                "dmsg.sessions_count",
                json!(1),
                "{\"dmsg\": {\n  \"sessions_count\": 1\n}}",
            ),
            (
                "{\"limits\": {\"calls\": 1}, \"calls\": 2}",
                "limits.calls",
                json!(7),
                "{\"limits\": {\"calls\": 7}, \"calls\": 2}",
            ),
        ] {
            let new = with_key(text, key, &value).unwrap();
            assert_eq!(new, after, "{text:?}");
            serde_json::from_str::<Value>(&new).unwrap();
        }
        assert!(with_key("{", "log", &json!("warn")).is_err());
    }

    #[test]
    fn one_key_goes_and_nothing_else() {
        for (text, key, after) in [
            ("{\n  \"log\": \"warn\"\n}\n", "log", Some("{}\n")),
            (
                "{\n  \"log\": \"a,b\",\n  \"full_node\": true\n}\n",
                "log",
                Some("{\n  \"full_node\": true\n}\n"),
            ),
            (
                "{\n  \"log\": \"x\",\n  \"full_node\" : true\n}\n",
                "full_node",
                Some("{\n  \"log\": \"x\"\n}\n"),
            ),
            (
                "{\"a\": [1, 2], \"log\": null, \"b\": {}}",
                "log",
                Some("{\"a\": [1, 2], \"b\": {}}"),
            ),
            (
                "{\"limits\": {\"calls\": 1, \"streams\": 2}, \"calls\": 2}",
                "limits.calls",
                Some("{\"limits\": { \"streams\": 2}, \"calls\": 2}"),
            ),
            ("{\"calls\": 2, \"limits\": 3}", "limits.calls", None),
            ("{}", "log", None),
        ] {
            assert_eq!(without_key(text, key).unwrap().as_deref(), after, "{text}");
        }
        assert!(without_key("{", "log").is_err());
    }
}
