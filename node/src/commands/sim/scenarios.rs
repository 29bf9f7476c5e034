//! The scenarios, and how `--set` and `--sweep` name their settings.

use std::path::Path;

use serde_json::Value;
use skydht_sim::scenario::Scenario;

use crate::failure::{Code, Failure, Result};
use crate::private_file::read_public;

/// Names and texts of the built-in scenarios, sorted by name.
pub(super) const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

/// Largest scenario file, in bytes.
const MOST: u64 = 1 << 20;

/// A scenario's name and text.
pub(super) struct Source {
    pub(super) name: String,
    text: String,
}

impl Source {
    /// Finds a built-in scenario, or else reads a file.
    pub(super) fn find(wanted: &str) -> Result<Self> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == wanted) {
            return Ok(Self {
                name: (*name).into(),
                text: (*text).into(),
            });
        }
        let path = Path::new(wanted);
        if !path.exists() {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            return Err(Failure::new(
                Code::Usage,
                format_args!("{wanted:?} is no scenario and no file"),
            )
            .hint(format_args!(
                "there are {}; `skydht sim --list` says what they do",
                names.join(", ")
            )));
        }
        let bytes = read_public(path, MOST)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failure::new(Code::Usage, format_args!("{wanted} is no text")))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into(),
            text,
        })
    }

    /// Parses the scenario with these settings, which may be abbreviated.
    pub(super) fn with(&self, settings: &[(String, String)]) -> Result<Scenario> {
        let mut full = Vec::new();
        for (key, value) in settings {
            full.push(in_full(key, value)?);
        }
        Scenario::parse(&self.name, &self.text, &full)
            .map_err(|error| Failure::new(Code::Usage, error))
    }
}

/// Expands an abbreviated setting: `dead` to `chaos.dead`, `model` to the share of upstream's
/// nodes.
fn in_full(key: &str, value: &str) -> Result<(String, String)> {
    if key == "model" {
        let share = match value {
            "ours" => "0",
            "mixed" => "0.5",
            "upstream" => "1",
            _ => {
                return Err(Failure::new(
                    Code::Usage,
                    format_args!("{value:?} is no model: ours, upstream, mixed"),
                ));
            }
        };
        return Ok(("population.upstream".into(), share.into()));
    }
    if key.contains('.') || key == "about" {
        return Ok((key.into(), value.into()));
    }
    let places = places_of(key);
    match &places[..] {
        [place] => Ok((place.clone(), value.into())),
        [] => Err(Failure::new(
            Code::Usage,
            format_args!("no scenario has a setting {key:?}"),
        )
        .hint("write a path as in the file, such as population.nodes, or its last word")),
        several => Err(Failure::new(
            Code::Usage,
            format_args!("{key:?} may be {}", several.join(" or ")),
        )
        .hint("write the whole path")),
    }
}

/// Returns the paths of all settings named `word`.
fn places_of(word: &str) -> Vec<String> {
    let all = serde_json::to_value(Scenario::default()).unwrap_or(Value::Null);
    let sections = all.as_object().into_iter().flatten();
    sections
        .filter(|(_, fields)| fields.get(word).is_some())
        .map(|(section, _)| format!("{section}.{word}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_can_be_run() {
        assert!(BUILT_IN.iter().any(|(name, _)| *name == "swarm"));
        for (name, _) in BUILT_IN {
            let scenario = Source::find(name).unwrap().with(&[]).unwrap();
            assert!(!scenario.about.is_empty(), "{name} says what it is");
        }
        let failure = Source::find("no-such").err().unwrap();
        assert!(failure.hint.unwrap().contains("swarm"));
    }

    #[test]
    fn short_names_are_found_and_ambiguous_ones_refused() {
        let path =
            |key: &str, value: &str| in_full(key, value).map(|(path, value)| path + "=" + &value);
        assert_eq!(path("dead", "0.1").unwrap(), "chaos.dead=0.1");
        assert_eq!(path("nodes", "9").unwrap(), "population.nodes=9");
        assert_eq!(path("model", "upstream").unwrap(), "population.upstream=1");
        assert_eq!(path("a.b", "c").unwrap(), "a.b=c");
        for (key, value) in [("model", "other"), ("nods", "9")] {
            assert_eq!(path(key, value).unwrap_err().code, Code::Usage);
        }
        let failure = path("loss", "0.1").unwrap_err();
        assert!(
            failure.message.contains("chaos.loss or network.loss"),
            "{failure}"
        );
    }
}
