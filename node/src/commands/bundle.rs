//! `skydht bundle`: collects the data for a bug report into one archive.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::access::{Access, Purpose};
use crate::cli::{Bundle, Common, Reach};
use crate::commands::config::ConfigReport;
use crate::commands::configuration;
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::tar::Tar;
use crate::{doctor, keys, output, path_text, private_file};

/// Longest wait for one peer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Number of bytes kept of a log, from its end.
const LOG_TAIL: u64 = 1 << 20;
/// Replacement for a secret.
const REDACTED: &[u8] = b"<redacted>";

/// Collects the parts and writes the archive.
pub(crate) async fn run(common: &Common, args: Bundle) -> Result<Exit> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let unix = now.unwrap_or_default().as_secs();
    let out = match &args.out {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("skydht-bundle-{unix}.tar")),
    };
    let mut parts = Parts::new(common);
    parts.json(
        "version.json",
        &json!({"version": env!("CARGO_PKG_VERSION")}),
    )?;
    parts.machine()?;
    parts.json("doctor.json", &doctor::examine(common, PATIENCE).await)?;
    if let Ok(loaded) = configuration(common, []) {
        parts.json("config.json", &ConfigReport::new(&loaded))?;
    }
    match Access::open(common, &Reach::from(args.running.clone()), Purpose::Look).await {
        Ok(access) => parts.node(&access).await?,
        Err(failure) => parts.json("no-node.json", &failure)?,
    }
    if let Some(log) = &args.log_file {
        parts.log(log)?;
    }
    let mut tar = Tar::default();
    for (name, contents) in &parts.files {
        tar.add(name, contents, unix);
    }
    private_file::create(&out, &tar.finish())?;
    report(common, &out, &parts)?;
    Ok(Exit::Ok)
}

fn report(common: &Common, out: &Path, parts: &Parts) -> Result<()> {
    let names: Vec<&str> = parts.files.iter().map(|(name, _)| name.as_str()).collect();
    if common.json {
        return output::json(&json!({
            "schema": "skydht.bundle/1",
            "path": path_text::shown(out),
            "files": names,
        }));
    }
    for (name, contents) in &parts.files {
        output::line(format_args!(
            "{:>9}  {name}",
            output::count(contents.len() as u64)
        ))?;
    }
    output::talk(format_args!(
        "{}: no secret is in it, but addresses and keys of peers are; look before you pass it on: tar xOf {}",
        out.display(),
        private_file::quoted(out)
    ));
    Ok(())
}

/// The collected files.
struct Parts {
    files: Vec<(String, Vec<u8>)>,
    /// Secrets to remove from every file.
    secrets: Vec<Zeroizing<Vec<u8>>>,
}

impl Parts {
    fn new(common: &Common) -> Self {
        let mut secrets: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        let mut keep = |secret: &[u8]| {
            // Shorter strings occur in ordinary text, too.
            if secret.len() >= 4 {
                secrets.push(Zeroizing::new(secret.to_vec()));
            }
        };
        // A variable of this program may contain a URL with a password.
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let value = Zeroizing::new(value.into_encoded_bytes());
            if name == keys::SECRET_KEY_VARIABLE {
                keep(value.trim_ascii());
            }
            let text = String::from_utf8_lossy(&value);
            if let Some(password) = password_of(&text).filter(|_| name.starts_with("SKYDHT_")) {
                keep(password.as_bytes());
            }
        }
        if let Ok(loaded) = configuration(common, []) {
            let settings = &loaded.settings;
            let token = settings.state().and_then(|state| state.token());
            if let Ok(token) = token {
                keep(token.as_bytes());
            }
            if let Ok(secret) = settings.key_file().and_then(|file| keys::load(&file)) {
                keep(HEXLOWER.encode(&*secret.to_bytes()).as_bytes());
            }
        }
        Self {
            files: Vec::new(),
            secrets,
        }
    }

    /// Adds a file, with secrets replaced.
    fn add(&mut self, name: &str, contents: Vec<u8>) {
        let secrets = self.secrets.iter();
        let clean = secrets.fold(contents, |text, secret| without(&text, secret));
        self.files.push((name.into(), clean));
    }

    fn json(&mut self, name: &str, report: &impl Serialize) -> Result<()> {
        let mut text =
            serde_json::to_vec_pretty(report).map_err(|error| Failure::new(Code::Local, error))?;
        text.push(b'\n');
        self.add(name, text);
        Ok(())
    }

    /// Adds a description of this machine.
    fn machine(&mut self) -> Result<()> {
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = json!({
            "system": text(uname.sysname()),
            "release": text(uname.release()),
            "machine": text(uname.machine()),
            "processors": processors,
            "open_files": crate::descriptors::raise(),
        });
        self.json("machine.json", &machine)
    }

    /// Adds the reports of a running node. A report that fails does not prevent the others.
    async fn node(&mut self, access: &Access) -> Result<()> {
        match access.status().await {
            Ok(report) => self.json("status.json", &report)?,
            Err(failure) => return self.json("no-node.json", &failure),
        }
        match access.peers().await {
            Ok(report) => self.json("peers.json", &report)?,
            Err(failure) => self.json("peers-failed.json", &failure)?,
        }
        match access.items().await {
            Ok(report) => self.json("items.json", &report)?,
            Err(failure) => self.json("items-failed.json", &failure)?,
        }
        match access.metrics().await {
            Ok(text) => self.add("metrics.txt", text.into_bytes()),
            Err(failure) => self.json("metrics-failed.json", &failure)?,
        }
        Ok(())
    }

    /// Adds the end of a log.
    fn log(&mut self, path: &Path) -> Result<()> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let failed = |error: std::io::Error| private_file::failed("read", path, &error);
        let mut file = private_file::open_regular(path)?;
        let len = file.metadata().map_err(failed)?.len();
        let from = len.saturating_sub(LOG_TAIL);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut text = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut text).map_err(failed)?;
        self.add("log.txt", text);
        Ok(())
    }
}

/// Returns the password in a URL.
fn password_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    let (_, password) = user.split_once(':')?;
    Some(password)
}

/// Replaces every occurrence of a secret.
fn without(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(REDACTED);
        rest = &rest[at + secret.len()..];
    }
    clean.extend_from_slice(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found_wherever_they_stand() {
        assert_eq!(
            without(b"a secret, secret", b"secret"),
            b"a <redacted>, <redacted>"
        );
        assert_eq!(without(b"", b"secret"), b"");
        for (url, password) in [
            ("redis://:hunter2@h:1", Some("hunter2")),
            ("redis://user:p@ss@h:1", Some("p@ss")),
            ("redis://h:6379", None),
            ("file", None),
        ] {
            assert_eq!(password_of(url), password, "{url}");
        }
    }
}
