//! `pending.toml`: vectors that no code covers yet.

use std::collections::BTreeSet;

use serde::Deserialize;

/// The whole list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pending {
    #[serde(default)]
    pending: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The vector file.
    file: String,
    /// Its sections; absent: all of them.
    sections: Option<BTreeSet<String>>,
    /// The part of the project that will cover it.
    owed_by: String,
}

impl Pending {
    /// Parses `pending.toml`.
    pub(crate) fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Returns whether a section is pending.
    pub(crate) fn owes(&self, file: &str, section: &str) -> bool {
        self.pending.iter().any(|entry| {
            let sections = entry.sections.as_ref();
            entry.file == file && sections.is_none_or(|known| known.contains(section))
        })
    }

    /// Describes what is pending in a file, and in which part of the project.
    pub(crate) fn owed(&self, file: &str) -> Vec<String> {
        let entries = self.pending.iter().filter(|entry| entry.file == file);
        entries
            .map(|entry| {
                let sections = entry.sections.as_ref();
                let what = sections.map_or("all".to_owned(), |s| {
                    s.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
                });
                format!("{what} ({})", entry.owed_by)
            })
            .collect()
    }

    /// Returns the files that are mentioned.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.pending.iter().map(|entry| entry.file.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_or_some_of_its_sections_may_be_owed() {
        let pending = Pending::parse(
            "[[pending]]\nfile = \"a.json\"\nowed_by = \"x\"\n\
             [[pending]]\nfile = \"b.json\"\nsections = [\"one\"]\nowed_by = \"y\"\n",
        )
        .unwrap();
        assert!(pending.owes("a.json", "any") && pending.owes("b.json", "one"));
        assert!(!pending.owes("b.json", "two") && !pending.owes("c.json", "one"));
        assert_eq!(pending.owed("b.json"), ["one (y)"]);
    }
}
