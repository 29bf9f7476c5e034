//! `skydht config get`, `set` and `unset`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::absolute;
use crate::cli::Common;
use crate::commands::{configuration, sources};
use crate::config::{
    Kind, SyntaxError, canonical, kind_of, load, no_path, value_of_text, with_key, without_key,
};
use crate::failure::{Code, Failure, Result};
use crate::path_text::shown;
use crate::{output, private_file};

/// Largest configuration file, in bytes.
const MOST_BYTES: u64 = 1 << 20;

/// Shows the effective value of one key.
pub(super) fn get(common: &Common, key: &str) -> Result<()> {
    kind_of(key)?;
    let loaded = configuration(common, [])?;
    let name = canonical(key);
    let setting = loaded.effective.iter().find(|setting| setting.key == name);
    let setting =
        setting.ok_or_else(|| Failure::new(Code::Local, format_args!("`{name}` is not shown")))?;
    if common.json {
        return output::json(&json!({
            "schema": "skydht.config-get/1",
            "key": setting.key,
            "value": setting.value,
            "source": setting.source,
        }));
    }
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match &setting.value {
        // One value per line.
        Value::Array(list) => list.iter().try_for_each(|value| output::line(text(value))),
        value => output::line(text(value)),
    }
}

/// Sets one key in the configuration file.
pub(super) fn set(common: &Common, key: &str, text: &str) -> Result<()> {
    let kind = kind_of(key)?;
    if text.is_empty() && kind != Kind::List {
        return Err(
            Failure::new(Code::Usage, format_args!("there is no value for `{key}`")).hint(
                format_args!("to have the default again: skydht config unset {key}"),
            ),
        );
    }
    let value = match kind {
        _ if text == "null" => Value::Null,
        // The path is made absolute, because the node may be started from another directory.
        Kind::Path => json!(super::as_text(&absolute(text.as_ref())?)?),
        kind => value_of_text(kind, text),
    };
    let file = ConfigFile::read(common)?;
    let new = with_key(&file.text, key, &value).map_err(|error| file.wrong(&error))?;
    file.replace(common, new)?;
    if common.json {
        return output::json(&json!({
            "schema": "skydht.config-set/1",
            "path": shown(&file.path),
            "key": key,
            "value": value,
        }));
    }
    output::line(format_args!("{}: {key} is {value}", file.path.display()))?;
    output::talk("a running node takes it at its next start");
    Ok(())
}

/// Removes one key from the configuration file, which restores its default.
pub(super) fn unset(common: &Common, key: &str) -> Result<()> {
    kind_of(key)?;
    let file = ConfigFile::read(common)?;
    let new = match file.text.trim() {
        "" => None,
        _ => without_key(&file.text, key).map_err(|error| file.wrong(&error))?,
    };
    let was_set = new.is_some();
    if let Some(new) = new {
        file.replace(common, new)?;
    }
    if common.json {
        return output::json(&json!({
            "schema": "skydht.config-unset/1",
            "path": shown(&file.path),
            "key": key,
            "was_set": was_set,
        }));
    }
    let path = file.path.display();
    match was_set {
        true => output::talk("a running node takes it at its next start"),
        false => return output::line(format_args!("{path}: {key} is not set there")),
    }
    output::line(format_args!("{path}: {key} is no longer set"))
}

/// The configuration file that is edited.
struct ConfigFile {
    path: PathBuf,
    /// Empty if the file does not exist.
    text: String,
}

impl ConfigFile {
    fn read(common: &Common) -> Result<Self> {
        let path = absolute(&sources(common, []).path().ok_or_else(no_path)?)?;
        let bytes = match path.exists() {
            true => private_file::read_public(&path, MOST_BYTES)?,
            false => Vec::new(),
        };
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::new(Code::Config, format_args!("{} is no UTF-8", path.display()))
                .hint("save it as UTF-8 first")
        })?;
        Ok(Self { path, text })
    }

    fn wrong(&self, error: &SyntaxError) -> Box<Failure> {
        Failure::new(
            Code::Config,
            format_args!("{}:{}: {}", self.path.display(), error.line, error.message),
        )
        .hint("mend the file by hand first")
    }

    /// Writes the new text, unless `run` would reject it.
    fn replace(&self, common: &Common, text: String) -> Result<()> {
        let mut sources = sources(common, []);
        sources.file = Some(self.path.clone());
        sources.text = Some(text.clone());
        load(&sources)?;
        if let Some(dir) = self.path.parent() {
            private_file::make_dirs(dir)?;
        }
        private_file::replace(&self.path, text.as_bytes())
    }
}
