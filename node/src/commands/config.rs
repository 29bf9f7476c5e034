//! `skydht config`: creates, checks, shows and changes the configuration.

mod edit;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use skydht_driver::storage::StorageError;

use crate::cli::{Common, ConfigCommand};
use crate::clock::Clock;
use crate::config::{
    KEYS, Kind, LIMITS, Loaded, PeerAddress, Setting, StorageLocation, UNSUPPORTED, no_path,
    variable_of,
};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::path_text::{self, shown};
use crate::{dmsg, keys, output, private_file};

/// The effective configuration, with the source of each setting.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ConfigReport {
    pub(crate) schema: String,
    /// The configuration file; `None` if there is none.
    #[serde(serialize_with = "path_text::optional")]
    pub(crate) path: Option<PathBuf>,
    pub(crate) settings: Vec<Setting>,
}

impl ConfigReport {
    /// Name and version of this JSON schema.
    pub(crate) const SCHEMA: &'static str = "skydht.config/1";

    /// Collects all effective settings. None of them is secret.
    pub(crate) fn new(loaded: &Loaded) -> Self {
        Self {
            schema: Self::SCHEMA.into(),
            path: loaded.path.clone(),
            settings: loaded.effective.clone(),
        }
    }
}

/// Runs a subcommand of `skydht config`.
pub(crate) async fn run(common: &Common, command: ConfigCommand) -> Result<Exit> {
    match command {
        ConfigCommand::Init {
            full_node,
            bootstrap,
        } => init(common, full_node, &bootstrap),
        ConfigCommand::Check => check(common).await,
        ConfigCommand::Show { effective } => show(common, effective),
        ConfigCommand::Get { key } => edit::get(common, &key),
        ConfigCommand::Set { key, value } => edit::set(common, &key, &value),
        ConfigCommand::Unset { key } => edit::unset(common, &key),
        ConfigCommand::Keys => list_keys(common),
    }?;
    Ok(Exit::Ok)
}

fn init(common: &Common, full_node: bool, bootstrap: &[PeerAddress]) -> Result<()> {
    let mut sources = super::sources(common, []);
    let path = absolute(&sources.path().ok_or_else(no_path)?)?;
    if path.symlink_metadata().is_ok() {
        return Err(Failure::new(
            Code::Exists,
            format_args!("{} exists already and is left as it is", path.display()),
        )
        .hint("edit it, move it away first, or name another file with --config"));
    }
    // The loader supplies the defaults. It must read neither the file to be created, which does not
    // exist yet, nor another node's, whose key and directory this node would share.
    sources.text = Some("{}".into());
    let settings = crate::config::load(&sources)?.settings;
    // The paths are absolute, because the node may be started from another directory.
    let key_file = absolute(&settings.key_file()?)?;
    let state_dir = absolute(settings.state()?.path())?;
    let peers: Vec<String> = bootstrap.iter().map(ToString::to_string).collect();
    let contents = json!({
        "bootstrap": peers,
        "full_node": full_node,
        "key_file": as_text(&key_file)?,
        "listen": settings.listen.to_string(),
        "state_dir": as_text(&state_dir)?,
    });
    let mut text = format!("{contents:#}");
    text.push('\n');
    private_file::create_dir(&state_dir)?;
    let (secret, made) = keys::load_or_create(&key_file)?;
    let key = secret.public();
    let written = path
        .parent()
        .map_or(Ok(()), private_file::make_dirs)
        .and_then(|()| private_file::create(&path, text.as_bytes()));
    if let Err(failure) = written {
        if made {
            // The key was created above, so that no other process uses it.
            let _ = std::fs::remove_file(&key_file);
        }
        return Err(failure);
    }
    let next = format!("skydht run --config {}", private_file::quoted(&path));
    if common.json {
        return output::json(&json!({
            "schema": "skydht.config-init/1",
            "path": shown(&path),
            "key": key,
            "key_file": shown(&key_file),
            "key_made": made,
            "next": [next],
        }));
    }
    let whether = if made { "made" } else { "found" };
    output::line(format_args!(
        "configuration  {}\nkey            {key}\nkey file       {} ({whether}, mode 0600)\nnext           {next}",
        path.display(),
        key_file.display()
    ))
}

/// Makes a path absolute.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| private_file::failed("find", path, &error))
}

/// Returns the path as text, as a configuration file stores it.
fn as_text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        Failure::new(
            Code::Config,
            format_args!("a configuration file cannot hold {path:?}: it is no UTF-8"),
        )
        .hint("choose another path, or give it with --state-dir or --key-file at each start")
    })
}

async fn check(common: &Common) -> Result<()> {
    let loaded = super::configuration(common, [])?;
    let settings = &loaded.settings;
    let key_file = settings.key_file()?;
    let key = match keys::from_environment()? {
        Some(secret) => Some((secret.public(), keys::SECRET_KEY_VARIABLE.to_owned())),
        None if key_file.exists() => Some((
            keys::load(&key_file)?.public(),
            format!("{} 0600", key_file.display()),
        )),
        // The default key file is created at the first start; one that is configured must exist.
        None if settings.key_file.is_none() => None,
        None => {
            return Err(keys::load(&key_file).err().unwrap_or_else(|| {
                Failure::new(
                    Code::Config,
                    format_args!("{} just appeared; check again", key_file.display()),
                )
            }));
        }
    };
    let mut warnings = loaded.warnings;
    let dmsg = match settings.dmsg.is_on() {
        true => Some(dmsg::Reachable::look(&settings.dmsg, Clock::default()).await),
        false => None,
    };
    warnings.extend(dmsg.as_ref().and_then(dmsg::Reachable::warning));
    let redis = match &settings.storage.location {
        StorageLocation::Redis(url) => match crate::storage::redis(settings, url).1 {
            Ok(()) => Some("ok"),
            Err(error @ StorageError::Unsuitable(_)) => {
                return Err(Failure::new(Code::Config, error));
            }
            Err(error) => {
                warnings.push(error.to_string());
                Some("not usable now")
            }
        },
        _ => None,
    };
    for warning in &warnings {
        output::warn(warning);
    }
    let set = loaded.effective.iter().filter(|it| it.source != "default");
    let used: Vec<&str> = set.map(|setting| setting.key.as_str()).collect();
    if !loaded.ignored.is_empty() && !common.json {
        output::talk(format_args!("used: {}", used.join(", ")));
        output::talk(format_args!("not used: {}", loaded.ignored.join(", ")));
    }
    if common.json {
        return output::json(&json!({
            "schema": "skydht.config-check/1",
            "ok": true,
            "path": loaded.path.as_deref().map(shown),
            "key": key.as_ref().map(|(key, _)| key),
            "bootstrap": settings.bootstrap_pks.len() + settings.bootstrap.len(),
            "dmsg": dmsg,
            "redis": redis,
            "used": used,
            "ignored": loaded.ignored,
            "warnings": warnings,
        }));
    }
    let path = match &loaded.path {
        Some(path) => path.display().to_string(),
        None => "no configuration file, all defaults".into(),
    };
    let key = match key {
        Some((key, place)) => format!("key {key} ({place})"),
        None => "key file not made yet".into(),
    };
    let dmsg = dmsg.map_or_else(String::new, |dmsg| format!("; {dmsg}"));
    let redis = redis.map_or_else(String::new, |redis| format!("; redis {redis}"));
    output::line(format_args!(
        "ok: {path}; {key}; {} bootstrap peers{dmsg}{redis}",
        settings.bootstrap_pks.len() + settings.bootstrap.len()
    ))
}

fn show(common: &Common, effective: bool) -> Result<()> {
    let mut report = ConfigReport::new(&super::configuration(common, [])?);
    if !effective {
        report
            .settings
            .retain(|setting| setting.source != "default");
    }
    if common.json {
        return output::json(&report);
    }
    let path = report.path.as_ref().map(|path| path.display().to_string());
    output::talk(format_args!("file: {}", path.as_deref().unwrap_or("none")));
    let rows: Vec<Vec<String>> = report
        .settings
        .iter()
        .map(|setting| {
            vec![
                setting.key.clone(),
                setting.source.clone(),
                setting.value.to_string(),
            ]
        })
        .collect();
    output::line(output::table(&["KEY", "SET BY", "VALUE"], &rows))
}

fn list_keys(common: &Common) -> Result<()> {
    let kind = |kind| match kind {
        Kind::Flag => "true or false",
        Kind::Count => "number",
        Kind::Duration => "duration",
        Kind::Text => "text",
        Kind::Path => "path",
        Kind::List => "list of texts",
    };
    let limits = skydht_core::node::Limit::ALL.iter().map(|limit| {
        let default = limit.of(&skydht_core::node::Limits::default());
        let unlimited = match limit.is_optional() {
            true => "; 0 means unlimited",
            false => "",
        };
        let doc = format!(
            "{}{unlimited}; {} (default {})",
            limit.meaning().trim_end_matches('.'),
            limit.allowed().replace('_', ""),
            default.unwrap_or_default(),
        );
        (format!("{LIMITS}.{}", limit.name()), "number", doc)
    });
    let rows: Vec<(String, &str, String)> = KEYS
        .iter()
        .map(|key| (key.name.to_owned(), kind(key.kind), key.doc.to_owned()))
        .chain(limits)
        .collect();
    if common.json {
        let keys: Vec<Value> = rows
            .iter()
            .map(|(name, kind, doc)| {
                json!({"key": name, "variable": variable_of(name), "kind": kind, "meaning": doc})
            })
            .collect();
        let refused: Vec<Value> = UNSUPPORTED
            .iter()
            .map(|(name, instead)| json!({"key": name, "instead": instead}))
            .collect();
        return output::json(&json!({
            "schema": "skydht.config-keys/1",
            "keys": keys,
            "refused": refused,
        }));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, kind, doc)| {
            let variable = variable_of(&name);
            vec![name, kind.to_owned(), variable, doc]
        })
        .collect();
    output::line(output::table(
        &["KEY", "KIND", "VARIABLE", "MEANING"],
        &rows,
    ))
}
