//! `skydht config get` and `skydht config set`.

use serde_json::{Value, json};

use super::absolute;
use crate::cli::Common;
use crate::commands::{configuration, sources};
use crate::config::{Kind, canonical, kind_of, load, no_path, value_of_text, with_key};
use crate::failure::{Code, Failure, Result};
use crate::path_text::shown;
use crate::{output, private_file};

/// A configuration file is no longer than this.
const MOST_BYTES: u64 = 1 << 20;

/// Shows one key as it is in force.
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
        // One a line.
        Value::Array(list) => list.iter().try_for_each(|value| output::line(text(value))),
        value => output::line(text(value)),
    }
}

/// Sets one key in the file.
pub(super) fn set(common: &Common, key: &str, text: &str) -> Result<()> {
    let kind = kind_of(key)?;
    if text.is_empty() && kind != Kind::List {
        return Err(
            Failure::new(Code::Usage, format_args!("there is no value for `{key}`"))
                .hint("to have the default again, remove the key from the file"),
        );
    }
    let mut sources = sources(common, []);
    let path = absolute(&sources.path().ok_or_else(no_path)?)?;
    let value = match kind {
        // The node may be started from another directory.
        Kind::Path => json!(super::as_text(&absolute(text.as_ref())?)?),
        kind => value_of_text(kind, text),
    };
    let old = match path.exists() {
        true => private_file::read_public(&path, MOST_BYTES)?,
        false => Vec::new(),
    };
    let old = String::from_utf8(old).map_err(|_| {
        Failure::new(Code::Config, format_args!("{} is no UTF-8", path.display()))
            .hint("save it as UTF-8 first")
    })?;
    let new = with_key(&old, key, &value).map_err(|error| {
        Failure::new(
            Code::Config,
            format_args!("{}:{}: {}", path.display(), error.line, error.message),
        )
        .hint("mend the file by hand first")
    })?;
    // What `run` would refuse is not written.
    sources.file = Some(path.clone());
    sources.text = Some(new.clone());
    load(&sources)?;
    if let Some(dir) = path.parent() {
        private_file::make_dirs(dir)?;
    }
    private_file::replace(&path, new.as_bytes())?;
    if common.json {
        return output::json(&json!({
            "schema": "skydht.config-set/1",
            "path": shown(&path),
            "key": key,
            "value": value,
        }));
    }
    output::line(format_args!("{}: {key} is {value}", path.display()))?;
    output::talk("a running node takes it at its next start");
    Ok(())
}
