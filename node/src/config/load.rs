//! Reads all sources in order of precedence, and collects the problems with their locations.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use skydht_core::node::{Config, ConfigError, Limit};
use skydht_tokio::TcpOptions;

use super::default_paths::{Environment, default_path, default_state_dir};
use super::file::{Document, Entry};
use super::schema::{self, KEYS, Kind, SECTIONS};
use super::settings::{
    API_LISTEN, Advertising, DmsgSettings, LISTEN, MirrorSettings, RegisterSettings, Settings,
    StorageSettings,
};
use super::unknown::{dotted, example_of, is_section, meant};
use super::unsupported::{instead_of, is_unset};
use crate::failure::{Code, Failure, Result};
use crate::path_text::shown;
use crate::private_file;

/// Largest configuration file, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// Prefix of environment variables.
const PREFIX: &str = "SKYDHT_";
/// Environment variables of this program that are not configuration keys.
const OTHER_VARIABLES: &[&str] = &["SKYDHT_CONFIG", crate::keys::SECRET_KEY_VARIABLE];

/// A value from an option or a variable.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum SourceValue {
    /// A JSON value, as in the file.
    Json(Value),
    /// A path, which may not be UTF-8.
    Path(PathBuf),
}

impl From<Value> for SourceValue {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

impl From<PathBuf> for SourceValue {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

/// The sources of the configuration.
#[derive(Default)]
pub(crate) struct Sources {
    /// The file named on the command line.
    pub(crate) file: Option<PathBuf>,
    /// Used instead of the file's content, to validate a text before it is written.
    pub(crate) text: Option<String>,
    /// The environment.
    pub(crate) environment: Environment,
    /// Keys set by options: the option, the key, and the value.
    pub(crate) flags: Vec<(&'static str, &'static str, SourceValue)>,
}

impl Sources {
    /// Returns the file named by an option or by `SKYDHT_CONFIG`.
    pub(crate) fn named_file(&self) -> Option<PathBuf> {
        let variable = || self.environment.get(OsStr::new("SKYDHT_CONFIG"));
        let named = || variable().filter(|path| !path.is_empty());
        self.file.clone().or_else(|| named().map(PathBuf::from))
    }

    /// Returns the named file, or else the default one.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.named_file()
            .or_else(|| default_path(&self.environment))
    }
}

/// The effective value of one key.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// The key; limits as `limits.<name>`.
    pub(crate) key: String,
    /// The value, as in the file.
    pub(crate) value: Value,
    /// Source of the value: "default", "line 3", a variable, or an option.
    pub(crate) source: String,
}

/// A problem in one of the sources.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Problem {
    /// Line number in the file; `None` for other sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// The variable or option; `None` for the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Description of the problem.
    message: String,
    /// A known key that was probably meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    did_you_mean: Option<String>,
}

/// Result of loading.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// The file that was read; `None` if there is none.
    pub(crate) path: Option<PathBuf>,
    /// Effective values of all keys, in the order of [`schema::KEYS`].
    pub(crate) effective: Vec<Setting>,
    /// Descriptions of settings that are valid but suspicious.
    pub(crate) warnings: Vec<String>,
    /// Keys of a visor's configuration that this program does not use.
    pub(crate) ignored: Vec<String>,
}

/// Source of one key; displayed in [`Setting::source`] and in problems.
#[derive(Clone, PartialEq, Eq)]
enum Source {
    Line(usize),
    Named(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

struct Loader {
    settings: Settings,
    /// Source of each key that is set.
    set_at: BTreeMap<String, Source>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
    ignored: Vec<String>,
}

/// Loads the configuration, or returns a failure with all problems.
pub(crate) fn load(sources: &Sources) -> Result<Loaded> {
    let is_named = sources.named_file().is_some();
    let path = sources.path().filter(|path| is_named || path.exists());
    let mut loader = Loader {
        settings: Settings {
            node: Config::default(),
            bootstrap_pks: Vec::new(),
            bootstrap: Vec::new(),
            listen: LISTEN,
            max_connections: TcpOptions::default().max_sessions,
            advertise: Advertising::Auto,
            mirror: MirrorSettings::default(),
            register: RegisterSettings::default(),
            dmsg: DmsgSettings::default(),
            key_file: None,
            state_dir: default_state_dir(&sources.environment),
            api_listen: Some(API_LISTEN),
            storage: StorageSettings::default(),
            api_hosts: Vec::new(),
            log: "info".into(),
        },
        set_at: BTreeMap::new(),
        problems: Vec::new(),
        warnings: Vec::new(),
        ignored: Vec::new(),
    };
    if let Some(path) = &path {
        match &sources.text {
            Some(text) => loader.text(path, text)?,
            None => loader.file(path)?,
        }
    }
    loader.environment(&sources.environment);
    loader.flags(&sources.flags);
    loader.check();
    if !loader.problems.is_empty() {
        return Err(failure(path.as_deref(), &loader.problems));
    }
    Ok(Loaded {
        effective: loader.effective(),
        settings: loader.settings,
        path,
        warnings: loader.warnings,
        ignored: loader.ignored,
    })
}

impl Loader {
    fn file(&mut self, path: &Path) -> Result<()> {
        if !path.exists() {
            return Err(Failure::new(
                Code::Config,
                format_args!("there is no configuration file {}", path.display()),
            )
            .hint(format_args!(
                "run: skydht config init --config {}",
                private_file::quoted(path)
            )));
        }
        let bytes = private_file::read_public(path, MOST_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            failure(Some(path), &[Problem::at(line, "not UTF-8".into())])
        })?;
        self.text(path, &text)
    }

    fn text(&mut self, path: &Path, text: &str) -> Result<()> {
        let (document, entries) = Document::parse(text)
            .map_err(|error| failure(Some(path), &[Problem::at(error.line, error.message)]))?;
        if visor::is_a_visors(&entries) {
            self.visor(&document, &entries);
        } else {
            self.entries(&document, &entries, &mut BTreeMap::new());
        }
        Ok(())
    }

    /// Reads the entries of a configuration file of this program.
    fn entries(
        &mut self,
        document: &Document<'_>,
        entries: &[Entry<'_>],
        seen: &mut BTreeMap<String, (String, usize)>,
    ) {
        for entry in entries {
            if !SECTIONS.contains(&entry.key.as_str()) {
                let means = schema::key(&entry.key).and_then(|key| key.means);
                let name = means.map_or_else(|| entry.key.clone(), dotted);
                self.entry(seen, name, entry, None, &entry.key);
            } else if let Some(inner) = document.entries(entry) {
                for one in &inner {
                    let name = format!("{}.{}", entry.key, one.key);
                    self.entry(seen, name, one, Some(&entry.key), &one.key);
                }
            } else if !entry.value().is_ok_and(|value| leaves_unset(&value)) {
                self.problem(entry, entry.key.clone(), "expected an object".into(), None);
            }
        }
    }

    /// Reads one entry. `name` is its key with aliases resolved; `key` is the key that it sets.
    fn entry(
        &mut self,
        seen: &mut BTreeMap<String, (String, usize)>,
        name: String,
        entry: &Entry<'_>,
        within: Option<&str>,
        key: &str,
    ) {
        let written = within.map_or_else(|| key.to_owned(), |_| name.clone());
        if let Some((as_what, line)) = seen.get(&name) {
            let message = if *as_what == written {
                format!("already set on line {line}")
            } else {
                format!("already set on line {line}, as `{as_what}`")
            };
            return self.problem(entry, written, message, None);
        }
        seen.insert(name.clone(), (written.clone(), entry.line));
        let value = entry.value().map_err(SetError::Value);
        let result = value.and_then(|value| self.set(&written, &value));
        match result {
            Ok(SetResult::Value) => drop(self.set_at.insert(name, Source::Line(entry.line))),
            Ok(SetResult::Nothing) => {}
            Err(SetError::Unknown(meant)) => {
                self.problem(entry, written, "unknown key".into(), meant);
            }
            Err(SetError::Value(message)) => self.problem(entry, written, message, None),
        }
    }

    fn environment(&mut self, environment: &Environment) {
        for (name, value) in environment {
            // Other programs may use the prefix, too. Keys are UTF-8, so that a lossy conversion
            // suffices.
            let variable = name.to_string_lossy();
            let Some(rest) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            if OTHER_VARIABLES.contains(&&*variable) {
                continue;
            }
            let key = schema::name_of_variable(&rest.to_ascii_lowercase());
            let kind = schema::key(&key).map_or(Kind::Count, |key| key.kind);
            let given = match value.to_str() {
                // An empty variable counts as unset, except for keys that may be empty texts.
                Some("") if kind != Kind::Text => continue,
                Some(text) => SourceValue::Json(schema::value_of_text(kind, text)),
                None => SourceValue::Path(value.into()),
            };
            match self.set_given(&key, given) {
                Ok(SetResult::Value) => {
                    let source = Source::Named(variable.into_owned());
                    self.set_at.insert(canonical(&key), source);
                }
                Ok(SetResult::Nothing) => {}
                Err(SetError::Value(message)) => self.named_problem(&variable, &key, message),
                Err(SetError::Unknown(_)) if is_section(&key) => self.warnings.push(format!(
                    "{variable} is ignored: `{key}` has keys of its own, such as {}",
                    variable_of(&example_of(&key))
                )),
                Err(SetError::Unknown(meant)) => self.warnings.push(match meant {
                    Some(meant) => format!(
                        "{variable} is no variable of skydht and is ignored; did you mean {}?",
                        variable_of(&meant)
                    ),
                    None => format!("{variable} is no variable of skydht and is ignored"),
                }),
            }
        }
    }

    fn flags(&mut self, flags: &[(&'static str, &'static str, SourceValue)]) {
        for (flag, name, given) in flags {
            match self.set_given(name, given.clone()) {
                Ok(SetResult::Value) => drop(
                    self.set_at
                        .insert(canonical(name), Source::Named((*flag).into())),
                ),
                // A file may contain empty values; an option with an empty value is an error.
                Ok(SetResult::Nothing) => self.named_problem(flag, name, "it is empty".into()),
                Err(SetError::Value(message)) => self.named_problem(flag, name, message),
                Err(SetError::Unknown(_)) => self.named_problem(flag, name, "unknown key".into()),
            }
        }
    }

    fn set_given(
        &mut self,
        name: &str,
        given: SourceValue,
    ) -> std::result::Result<SetResult, SetError> {
        match given {
            SourceValue::Json(value) => self.set(name, &value),
            SourceValue::Path(path)
                if schema::key(name).is_some_and(|key| key.kind == Kind::Path) =>
            {
                schema::set_path(&mut self.settings, name, path)?;
                Ok(SetResult::Value)
            }
            // The key is not a path: the value is wrong, if the key exists.
            SourceValue::Path(path) => match self.set(name, &Value::Null)? {
                _ if instead_of(name).is_some() => self.set(name, &Value::Bool(true)),
                _ => Err(SetError::Value(format!("{path:?} is no UTF-8"))),
            },
        }
    }

    fn set(&mut self, name: &str, value: &Value) -> std::result::Result<SetResult, SetError> {
        if let Some(limit) = name.strip_prefix("limits.") {
            let limit =
                schema::limit(limit).ok_or_else(|| SetError::Unknown(meant(limit, true)))?;
            if leaves_unset(value) {
                return Ok(SetResult::Nothing);
            }
            schema::set_limit(&mut self.settings.node.limits, limit, value)?;
            return Ok(SetResult::Value);
        }
        if let Some(instead) = instead_of(name) {
            return if is_unset(value) {
                Ok(SetResult::Nothing)
            } else {
                Err(SetError::Value(format!("not supported: {instead}")))
            };
        }
        let key = schema::key(name).ok_or_else(|| SetError::Unknown(meant(name, false)))?;
        // An empty text can be a value.
        let is_text = key.kind == Kind::Text && !value.is_null();
        if leaves_unset(value) && !is_text {
            return Ok(SetResult::Nothing);
        }
        match (key.set)(&mut self.settings, value) {
            Ok(()) => Ok(SetResult::Value),
            Err(_) if leaves_unset(value) => Ok(SetResult::Nothing),
            Err(message) => Err(SetError::Value(message)),
        }
    }

    /// Validates settings that depend on each other.
    fn check(&mut self) {
        let missing: Vec<_> =
            schema::without_address(&self.settings.bootstrap_pks, &self.settings.bootstrap)
                .copied()
                .collect();
        // DMSG finds peers by their keys.
        let missing = missing.into_iter().filter(|_| !self.settings.dmsg.is_on());
        for key in missing.collect::<Vec<_>>() {
            self.problem_with_key(
                "bootstrap_pks",
                format!("{key} has no address, and direct TCP finds none by key: add \"{key}@HOST:PORT\" to `bootstrap`, or set `dmsg.discovery`"),
            );
        }
        let error = match self.settings.node.validate() {
            Ok(()) => return,
            Err(error) => error,
        };
        let field = match &error {
            ConfigError::OutOfRange { field, .. } | ConfigError::Key { field, .. } => *field,
            _ => "",
        };
        let name = match field {
            "whitelisted" => "whitelisted_pks",
            "trusted" => "trusted_pks",
            "mirrors" => "mirror_pks",
            other => other,
        };
        let message = match (&error, schema::key(name)) {
            // The core uses nanoseconds, while the configuration uses durations with units.
            (ConfigError::OutOfRange { allowed, .. }, Some(key)) if key.kind == Kind::Duration => {
                let value = (key.show)(&self.settings);
                format!(
                    "must be {allowed}, not {}",
                    value.as_str().unwrap_or_default()
                )
            }
            _ => error.to_string(),
        };
        self.problem_with_key(name, message);
    }

    /// Adds a problem with a key that was read before.
    fn problem_with_key(&mut self, name: &str, message: String) {
        let (line, from) = match self.set_at.get(name) {
            Some(Source::Line(line)) => (Some(*line), None),
            Some(Source::Named(name)) => (None, Some(name.clone())),
            None => (None, None),
        };
        self.problems.push(Problem {
            line,
            from,
            key: Some(name.into()),
            message,
            did_you_mean: None,
        });
    }

    fn problem(&mut self, entry: &Entry<'_>, key: String, message: String, meant: Option<String>) {
        self.problems.push(Problem {
            line: Some(entry.line),
            from: None,
            key: Some(key),
            message,
            did_you_mean: meant,
        });
    }

    fn named_problem(&mut self, from: &str, key: &str, message: String) {
        self.problems.push(Problem {
            line: None,
            from: Some(from.into()),
            key: Some(key.into()),
            message,
            did_you_mean: None,
        });
    }

    fn effective(&self) -> Vec<Setting> {
        let source = |name: &str| {
            self.set_at
                .get(name)
                .map_or_else(|| "default".into(), ToString::to_string)
        };
        let keys = KEYS
            .iter()
            .filter(|key| key.means.is_none())
            .map(|key| Setting {
                key: key.name.into(),
                value: (key.show)(&self.settings),
                source: source(key.name),
            });
        let limits = Limit::ALL.iter().map(|limit| {
            let key = dotted(*limit);
            Setting {
                value: limit.of(&self.settings.node.limits).into(),
                source: source(&key),
                key,
            }
        });
        keys.chain(limits).collect()
    }
}

/// Returns whether a value leaves its key unset. Go's programs write unset lists as null, and unset
/// texts as "".
fn leaves_unset(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

/// Result of setting a key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SetResult {
    Value,
    /// The value leaves the key unset.
    Nothing,
}

/// Why a key could not be set.
enum SetError {
    /// The key is unknown; contains a similar key, if there is one.
    Unknown(Option<String>),
    /// The value is invalid; contains a description.
    Value(String),
}

impl From<String> for SetError {
    fn from(message: String) -> Self {
        Self::Value(message)
    }
}

/// Resolves the alias of a visor's key.
pub(crate) fn canonical(name: &str) -> String {
    schema::key(name)
        .and_then(|key| key.means)
        .map_or_else(|| name.into(), dotted)
}

/// Returns the environment variable of a key.
pub(crate) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

impl Problem {
    fn at(line: usize, message: String) -> Self {
        Self {
            line: Some(line),
            from: None,
            key: None,
            message,
            did_you_mean: None,
        }
    }

    fn describe(&self, path: Option<&Path>) -> String {
        let place = match (&self.line, &self.from, path) {
            (Some(line), _, Some(path)) => format!("{}:{line}: ", path.display()),
            (_, Some(from), _) => format!("{from}: "),
            _ => String::new(),
        };
        let key = match &self.key {
            Some(key) => format!("`{key}`: "),
            None => String::new(),
        };
        let meant = match &self.did_you_mean {
            Some(meant) => format!("; did you mean `{meant}`?"),
            None => String::new(),
        };
        format!("{place}{key}{}{meant}", self.message)
    }
}

fn failure(path: Option<&Path>, problems: &[Problem]) -> Box<Failure> {
    #[derive(Serialize)]
    struct Details<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        problems: &'a [Problem],
    }
    let lines: Vec<String> = problems
        .iter()
        .map(|problem| problem.describe(path))
        .collect();
    Failure::new(Code::Config, lines.join("\n")).details(&Details {
        path: path.map(shown),
        problems,
    })
}

mod visor;

#[cfg(test)]
mod tests;
