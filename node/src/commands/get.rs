//! `skydht get`: reads an item, a list or a large value.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::large::Manifest;
use skydht_core::node::ReadPolicy;

use super::large;
use crate::access::{Access, Purpose};
use crate::api::schema::GetBody;
use crate::cli::{Common, Get, Owner, Reach, parse_policy};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::report::{GetReport, HopReport};
use crate::{output, private_file};

/// Reads an item and prints its value.
pub(crate) async fn run(common: &Common, args: Get) -> Result<Exit> {
    let salt = args.salt.clone().or_else(|| args.salt_word.clone());
    let salt = salt.unwrap_or_default();
    if args.list {
        return list(common, &args.reach, args.owner, &salt, args.timeout).await;
    }
    let body = GetBody {
        owner: args.owner.to_string(),
        salt: salt.clone(),
        policy: Some(args.policy.to_string()),
        unknown_mirrors: args.unknown_mirrors,
        timeout_ms: args.timeout.map(super::millis),
        trace: args.trace || args.svg.is_some(),
    };
    let access = Access::open(common, &args.reach, Purpose::Read).await?;
    let mut result = access.get(body).await;
    show_trace(common, &args, &salt, &result)?;
    if let Ok(report) = &result
        && let Some(manifest) =
            Manifest::decode(&report.bytes()).map_err(|error| Failure::new(Code::Partial, error))?
    {
        let salt = match args.owner {
            // With a target, only the answer tells the salt.
            Owner::Target(_) => report.salt.clone(),
            Owner::Myself | Owner::Key(_) => salt,
        };
        let of = (report.key, salt.as_str());
        let timeout = args.timeout.map(super::millis);
        let read = read_large(common, &access, of, timeout, manifest, args.file.as_deref()).await;
        match read {
            Ok(()) => {
                access.close().await;
                return Ok(Exit::Ok);
            }
            Err(failure) => result = Err(failure),
        }
    }
    access.close().await;
    let report = match result {
        Ok(report) => report,
        Err(failure) => {
            // The value arrived, but its policy was not met in time; it is shown together with the
            // failure.
            if let Some(best) = late_value(&failure).filter(|_| !common.json) {
                show(&best)?;
            }
            return Err(failure);
        }
    };
    if let Some(file) = &args.file {
        write_file(file, |out| out.write_all(&report.bytes()))?;
    }
    if common.json {
        output::json(&report)?;
    } else if args.file.is_some() {
        output::talk(&report);
    } else {
        show(&report)?;
    }
    match parse_policy(&args.policy) {
        Ok(ReadPolicy::Quorum(wanted)) if usize::from(report.agree) < usize::from(wanted) => {
            output::warn(format_args!(
                "{} peers agree, fewer than the {wanted} asked for, and no more hold it",
                report.agree
            ));
            Ok(Exit::Partial)
        }
        _ => Ok(Exit::Ok),
    }
}

/// Prints and draws the steps, as far as requested.
fn show_trace(common: &Common, args: &Get, salt: &str, result: &Result<GetReport>) -> Result<()> {
    let hops: Vec<HopReport> = match result {
        Ok(report) => report.trace.clone(),
        Err(failure) => {
            let details = failure.details.as_ref();
            let hops = details.and_then(|details| details.get("trace")).cloned();
            hops.and_then(|hops| serde_json::from_value(hops).ok())
                .unwrap_or_default()
        }
    };
    if args.trace && !common.json {
        for hop in &hops {
            output::talk(hop);
        }
    }
    if let Some(file) = &args.svg {
        let title = format!("get {} {salt}", args.owner);
        let drawn = crate::read_trace::draw(title.trim_end(), &hops);
        private_file::replace_public(file, drawn.as_bytes())?;
    }
    Ok(())
}

/// Reads a list in upstream's chunks and prints it.
async fn list(
    common: &Common,
    reach: &Reach,
    owner: Owner,
    salt: &str,
    timeout: Option<Duration>,
) -> Result<Exit> {
    let access = Access::open(common, reach, Purpose::Read).await?;
    let owner = match owner {
        Owner::Myself => access.own_key().await?,
        Owner::Key(key) => key,
        Owner::Target(_) => {
            return Err(Failure::new(
                Code::Usage,
                "a list has many targets: give key and salt",
            ));
        }
    };
    let timeout = timeout.map(super::millis);
    let list = large::read_list(&access, (owner, salt), timeout).await;
    access.close().await;
    output::value(&list?)?;
    Ok(Exit::Ok)
}

/// Reads a large value to a file, which appears when it is complete, or to stdout chunk by chunk.
async fn read_large(
    common: &Common,
    access: &Access,
    of: (PublicKey, &str),
    timeout: Option<u64>,
    manifest: Manifest,
    file: Option<&Path>,
) -> Result<()> {
    let read = match file {
        Some(file) => {
            let (partial, mut out) = partial_file(file)?;
            let sink = |bytes: &[u8]| out.write_all(bytes);
            let read = large::read(access, of, timeout, manifest, sink).await;
            finish_file(&partial, file, read.is_ok())?;
            read?
        }
        None if common.json => {
            return Err(Failure::new(
                Code::Usage,
                format_args!(
                    "the value has {} bytes, which JSON would not hold",
                    manifest.length()
                ),
            )
            .hint("write it to a file: --file FILE"));
        }
        None => {
            let sink = |bytes: &[u8]| {
                let shown = output::value(bytes);
                shown.map_err(|failure| std::io::Error::other(failure.message))
            };
            large::read(access, of, timeout, manifest, sink).await?
        }
    };
    let report = serde_json::json!({
        "schema": "skydht.get-large/1",
        "key": of.0,
        "salt": of.1,
        "generation": read.generation().to_string(),
        "length": read.length(),
        "chunks": read.chunks(),
    });
    if common.json {
        return output::json(&report);
    }
    output::talk(format_args!(
        "{} bytes in {} chunks, version {}",
        output::count(read.length()),
        read.chunks(),
        read.generation()
    ));
    Ok(())
}

/// Creates a temporary file beside `path`.
fn partial_file(path: &Path) -> Result<(PathBuf, File)> {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let file = File::create(&partial);
    let file = file.map_err(|error| private_file::failed("write", &partial, &error))?;
    Ok((partial, file))
}

/// Renames a complete temporary file to `path`, or removes an incomplete one.
fn finish_file(partial: &Path, path: &Path, whole: bool) -> Result<()> {
    let done = match whole {
        true => std::fs::rename(partial, path),
        false => std::fs::remove_file(partial),
    };
    done.map_err(|error| private_file::failed("write", path, &error))
}

fn write_file(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let (partial, mut file) = partial_file(path)?;
    let written = write(&mut file);
    finish_file(&partial, path, written.is_ok())?;
    written.map_err(|error| private_file::failed("write", path, &error))
}

fn show(report: &GetReport) -> Result<()> {
    let bytes = report.bytes();
    output::value(&bytes)?;
    if std::io::stdout().is_terminal() && !bytes.ends_with(b"\n") {
        // This line break goes to stderr: stdout gets only the value.
        output::talk("");
    }
    output::talk(report);
    Ok(())
}

fn late_value(failure: &Failure) -> Option<GetReport> {
    let details = failure
        .details
        .clone()
        .filter(|_| failure.code == Code::Partial)?;
    serde_json::from_value(details).ok()
}
