//! `skydht store`: works on the file with a stopped node's items.

mod lines;

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::Serialize;
use skydht_core::id::Target;
use skydht_core::item::Item;
use skydht_core::key::SecretKey;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::store::merge::{Judgement, Rank, judge};
use skydht_core::time::Unix;
use skydht_driver::storage::{FileError, FileStorage, Kept, Storage as _, StorageError};

use self::lines::{Line, LineFault, Lines};
use super::configuration;
use crate::cli::{Common, Store};
use crate::config::{Settings, StorageLocation};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output::{self, count};
use crate::path_text::shown;
use crate::progress::Progress;
use crate::{keys, private_file};

/// Number of records read or written in one step.
const PAGE: usize = 1_024;
/// Maximum number of faulty lines that are described individually.
const MOST_NAMED: usize = 10;

/// Runs a subcommand of `skydht store`.
pub(crate) fn run(common: &Common, command: Store) -> Result<Exit> {
    let settings = configuration(common, [])?.settings;
    let mut storage = open(&settings)?;
    match command {
        Store::Stats => look(common, &mut storage, "skydht.store-stats/1", false),
        Store::Check => look(common, &mut storage, "skydht.store-check/1", true),
        Store::Export(args) => export(common, &mut storage, args.file.as_deref()),
        Store::Import(args) => import(common, &settings, &mut storage, args.file.as_deref()),
        Store::Compact => compact(common, &settings, &mut storage),
    }
}

/// Opens an existing file.
fn open(settings: &Settings) -> Result<FileStorage> {
    if let StorageLocation::Redis(url) = &settings.storage.location {
        return Err(Failure::new(
            Code::Local,
            format_args!("items are kept in {url}, not in a file"),
        )
        .hint("`redis-cli` looks into it; with --storage file a node keeps its own file"));
    }
    let state = settings.state()?;
    let path = state.items_file();
    if !path.exists() {
        return Err(
            Failure::new(Code::NotFound, format_args!("there is no {}", shown(&path)))
                .hint("it is made by `skydht run`; --state-dir names another directory"),
        );
    }
    let secret = match keys::from_environment()? {
        Some(secret) => secret,
        None => key_of(&path, &settings.key_file()?)?,
    };
    FileStorage::open(&path, &secret).map_err(|error| not_opened(&error))
}

/// Loads the key with which the items' file was written; a new key could not read it.
fn key_of(items: &Path, file: &Path) -> Result<SecretKey> {
    let is_missing = !file.exists() || file.metadata().is_ok_and(|file| file.len() == 0);
    keys::load(file).map_err(|failure| match is_missing {
        true => failure.hint(format_args!(
            "only the key that {} was written with reads it: put it back there, name its file as `key_file` in the configuration, or give it in {}",
            shown(items),
            keys::SECRET_KEY_VARIABLE
        )),
        false => failure,
    })
}

/// Converts an error of opening the file.
fn not_opened(error: &FileError) -> Box<Failure> {
    let hint = match error {
        FileError::InUse { .. } => {
            "while a node runs, its file is its own: `skydht stop` first".to_owned()
        }
        FileError::OtherKey { .. } => format!(
            "name the file of the key it was written with as `key_file` in the configuration, or give the key in {}",
            keys::SECRET_KEY_VARIABLE
        ),
        FileError::Damaged { .. } => {
            "`skydht run` puts it aside and begins a new one: what peers hold comes back from them"
                .to_owned()
        }
        FileError::Format { .. } => "use the version that wrote it".to_owned(),
        _ => "may this user read and write it, and is there room on its disk?".to_owned(),
    };
    Failure::new(Code::Local, error).hint(hint)
}

fn failed(error: StorageError) -> Box<Failure> {
    Failure::new(Code::Local, error)
}

fn now() -> Unix {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Unix(skydht_core::time::nanos(since.unwrap_or_default()))
}

/// Calls `each` for every record.
fn every(
    storage: &mut FileStorage,
    what: &str,
    mut each: impl FnMut(Kept) -> Result<()>,
) -> Result<u64> {
    let progress = Progress::timed();
    progress.begin(
        what,
        usize::try_from(storage.len().map_err(failed)?).unwrap_or(usize::MAX),
    );
    let (mut from, mut damaged, mut read) = (Some(Target::default()), 0, 0);
    while let Some(target) = from {
        let page = storage.page(target, PAGE).map_err(failed)?;
        read += page.kept.len() + page.damaged;
        damaged += page.damaged as u64;
        for kept in page.kept {
            each(kept)?;
        }
        progress.at(read);
        from = page.next;
    }
    progress.clear();
    Ok(damaged)
}

/// Counts of the records in a file.
#[derive(Default, Serialize)]
struct Report {
    schema: &'static str,
    items: u64,
    bytes: u64,
    tombstones: u64,
    expired: u64,
    /// Records without a valid authentication code, whose signatures are checked at the next start.
    unproven: u64,
    /// Values that do not decode as records.
    damaged: u64,
    /// Records with an invalid signature; `None` unless signatures were checked.
    invalid: Option<u64>,
}

fn look(
    common: &Common,
    storage: &mut FileStorage,
    schema: &'static str,
    signatures: bool,
) -> Result<Exit> {
    let mut report = Report {
        schema,
        invalid: signatures.then_some(0),
        ..Report::default()
    };
    let now = now();
    let damaged = every(storage, "reading", |Kept { record, proven }| {
        report.items += 1;
        report.bytes += record.encode().len() as u64;
        report.tombstones += u64::from(record.item.is_tombstone());
        report.expired += u64::from(record.expires.is_some_and(|at| at <= now));
        report.unproven += u64::from(!proven);
        if let Some(invalid) = &mut report.invalid {
            *invalid += u64::from(record.item.check().is_err());
        }
        Ok(())
    })?;
    report.damaged = damaged;
    let wrong = report.damaged + report.invalid.unwrap_or_default();
    if common.json {
        output::json(&report)?;
    } else {
        let invalid = report
            .invalid
            .map(|n| format!(" · {} with wrong signatures", count(n)));
        output::line(format_args!(
            "{} items, {} bytes · {} deletions · {} expired · {} unproven · {} damaged{}",
            count(report.items),
            count(report.bytes),
            count(report.tombstones),
            count(report.expired),
            count(report.unproven),
            count(report.damaged),
            invalid.unwrap_or_default()
        ))?;
    }
    Ok(match signatures && wrong > 0 {
        true => Exit::Local,
        false => Exit::Ok,
    })
}

fn named(path: &Path) -> impl Fn(io::Error) -> Box<Failure> {
    move |error| Failure::new(Code::Local, format_args!("{}: {error}", shown(path)))
}

fn export(common: &Common, storage: &mut FileStorage, file: Option<&Path>) -> Result<Exit> {
    let path = file.unwrap_or(Path::new("stdout"));
    let mut out: Box<dyn Write> = match file {
        Some(file) => Box::new(BufWriter::new(private_file::open_output(file)?)),
        None => Box::new(BufWriter::new(io::stdout())),
    };
    let mut exported = 0;
    let damaged = every(storage, "exporting", |kept| {
        serde_json::to_writer(&mut out, &kept.record)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(named(path))?;
        exported += 1;
        Ok(())
    })?;
    out.flush().map_err(named(path))?;
    if file.is_some() && common.json {
        output::json(&serde_json::json!({
            "schema": "skydht.store-export/1", "exported": exported, "damaged": damaged,
        }))?;
    } else {
        output::talk(format_args!(
            "{} items exported, {} damaged",
            count(exported),
            count(damaged)
        ));
    }
    Ok(Exit::Ok)
}

/// Report of an import.
#[derive(Default, Serialize)]
struct Imported {
    schema: &'static str,
    lines: u64,
    imported: u64,
    /// Lines with a record that is not newer than the stored one.
    held: u64,
    expired: u64,
    /// Lines that are not items, or have an invalid signature.
    refused: u64,
    /// The first refused lines.
    faults: Vec<Fault>,
}

/// A refused line.
#[derive(Serialize)]
struct Fault {
    line: u64,
    fault: LineFault,
    message: String,
}

fn import(
    common: &Common,
    settings: &Settings,
    storage: &mut FileStorage,
    file: Option<&Path>,
) -> Result<Exit> {
    let path = file.unwrap_or(Path::new("stdin"));
    let lines: Box<dyn BufRead> = match file {
        Some(file) => Box::new(BufReader::new(private_file::open_regular(file)?)),
        None => Box::new(io::stdin().lock()),
    };
    let mut report = Imported {
        schema: "skydht.store-import/1",
        ..Imported::default()
    };
    let now = now();
    let mut lines = Lines::new(lines, settings, now);
    let mut batch: Vec<StoreChange> = Vec::new();
    while let Some(Line { number, item }) = lines.next().map_err(named(path))? {
        report.lines += 1;
        match item {
            Err(fault) => {
                report.refused += 1;
                if report.faults.len() < MOST_NAMED {
                    output::warn(format_args!("line {number} is left out: {fault}"));
                    let (line, message) = (number, fault.to_string());
                    report.faults.push(Fault {
                        line,
                        fault,
                        message,
                    });
                }
            }
            Ok(record) if record.expires.is_some_and(|at| at <= now) => report.expired += 1,
            Ok(mut record) => {
                // An imported expiry is limited to one full lifetime from now.
                record.vouched = record.vouched.min(now);
                let longest = now.plus(settings.node.item_ttl);
                record.expires = record.expires.map(|at| at.min(longest));
                if batch.len() == PAGE || batch.iter().any(|it| is_at(it, &record.target)) {
                    storage.write(&batch, true).map_err(failed)?;
                    batch.clear();
                }
                if is_newer(storage, &record)? {
                    report.imported += 1;
                    batch.push(StoreChange::Keep(Box::new(record)));
                } else {
                    report.held += 1;
                }
            }
        }
    }
    storage.write(&batch, true).map_err(failed)?;
    if common.json {
        output::json(&report)?;
    } else {
        output::line(format_args!(
            "{} lines: {} imported, {} held already, {} expired, {} refused",
            count(report.lines),
            count(report.imported),
            count(report.held),
            count(report.expired),
            count(report.refused)
        ))?;
    }
    Ok(match report.refused {
        0 => Exit::Ok,
        _ => Exit::Partial,
    })
}

fn is_at(change: &StoreChange, target: &Target) -> bool {
    matches!(change, StoreChange::Keep(record) if record.target == *target)
}

/// Returns whether a record wins over the one stored at its target.
fn is_newer(storage: &mut FileStorage, record: &StoredRecord) -> Result<bool> {
    let held = storage.get(&record.target).map_err(failed)?;
    let rank = |item: &Item| Rank::of(&record.target, item);
    Ok(held.is_none_or(|held| {
        let judged = judge(&rank(&held.record.item), &rank(&record.item));
        matches!(judged, Judgement::Newer { .. })
    }))
}

fn compact(common: &Common, settings: &Settings, storage: &mut FileStorage) -> Result<Exit> {
    let path = settings.state()?.items_file();
    let size = || {
        std::fs::metadata(&path)
            .map(|it| it.len())
            .unwrap_or_default()
    };
    let before = size();
    output::talk("compacting");
    storage.compact().map_err(failed)?;
    let after = size();
    if common.json {
        output::json(&serde_json::json!({
            "schema": "skydht.store-compact/1", "before": before, "after": after,
        }))?;
    } else {
        output::line(format_args!(
            "{} bytes, {} before",
            count(after),
            count(before)
        ))?;
    }
    Ok(Exit::Ok)
}
