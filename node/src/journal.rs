//! Journals of `run --journal`: one file per run, with those of earlier runs beside it.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use skydht_driver::journal::{Closed, End, FileRecorder, MIN_LIMIT, Reader, Written};

use crate::failure::{Code, Failure, Result};
use crate::output;
use crate::private_file;

/// Default size limit of a journal.
pub(crate) const LIMIT: &str = "64MiB";
/// Number of earlier journals that are kept; FILE.1 is the latest of them.
const EARLIER: usize = 2;

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("G", 1 << 30),
    ("M", 1 << 20),
    ("K", 1 << 10),
    ("", 1),
];

/// Parses "64MiB", "64M", or a number of bytes.
pub(crate) fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write 64MiB, 500K, or bytes");
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .ok_or_else(wrong)?;
    let bytes = number
        .trim_end()
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(wrong)?;
    if bytes < MIN_LIMIT {
        return Err(format!("a journal needs {MIN_LIMIT} bytes or more"));
    }
    Ok(bytes)
}

/// Starts a journal at `path`. Returns `None` if the disk is full, which is no reason for a node to
/// stop.
///
/// # Errors
/// The file exists and is not a journal, or cannot be created.
pub(crate) fn begin(path: &Path, limit: u64) -> Result<Option<(FileRecorder, Written)>> {
    make_room(path)?;
    let file = match private_file::open_new(path) {
        Ok(file) => file,
        Err(error) if private_file::is_full(error.kind()) => {
            tracing::warn!(
                "nothing is recorded: cannot create {}: {error}",
                path.display()
            );
            return Ok(None);
        }
        Err(error) => return Err(private_file::failed("create", path, &error)),
    };
    let name = path.display().to_string();
    FileRecorder::start(file, limit, move |closed| tell(&name, closed))
        .map(Some)
        .map_err(|error| Failure::new(Code::Local, format_args!("cannot start a thread: {error}")))
}

fn tell(name: &str, closed: &Closed) {
    let steps = output::count(closed.steps);
    match &closed.end {
        Ok(End::Stopped) => tracing::info!("{name}: {steps} steps, digest {}", closed.digest),
        Ok(End::Limit) => tracing::warn!(
            "{name} is as long as --journal-limit allows: recording ends after {steps} steps, the node goes on"
        ),
        Ok(_) => tracing::warn!(
            "{name}: the disk is slower than the node: recording ends after {steps} steps, the node goes on"
        ),
        Err(error) => tracing::warn!(
            "{name} cannot be written: {error}: recording ends after {steps} steps, the node goes on"
        ),
    }
}

/// Renames the journals of earlier runs from FILE to FILE.1 and so on; the oldest is replaced.
fn make_room(path: &Path) -> Result<()> {
    let mut paths: Vec<PathBuf> = vec![path.to_owned()];
    for n in 1..=EARLIER {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{n}"));
        paths.push(name.into());
    }
    // Files that are not journals are never renamed or replaced.
    let there = paths
        .iter()
        .map(|path| is_journal(path))
        .collect::<Result<Vec<bool>>>()?;
    if !there[0] {
        return Ok(());
    }
    // Files move up to the first free name; if there is none, the last one is replaced.
    let end = there.iter().position(|there| !there).unwrap_or(EARLIER);
    for n in (0..end).rev() {
        fs::rename(&paths[n], &paths[n + 1])
            .map_err(|error| private_file::failed("move", &paths[n], &error))?;
    }
    Ok(())
}

/// Returns whether there is a journal at `path`; fails if there is another file.
fn is_journal(path: &Path) -> Result<bool> {
    let other = || {
        Failure::new(
            Code::Exists,
            format_args!(
                "{} exists and is no journal; it is left as it is",
                path.display()
            ),
        )
        .hint("choose another name for --journal")
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(private_file::failed("read", path, &error)),
        Ok(metadata) if !metadata.is_file() => return Err(other()),
        // A full disk, or a crash at the start, leaves an empty file.
        Ok(metadata) if metadata.len() == 0 => return Ok(true),
        Ok(_) => {}
    }
    let mut begin = Vec::new();
    File::open(path)
        .and_then(|file| file.take(8).read_to_end(&mut begin))
        .map_err(|error| private_file::failed("read", path, &error))?;
    if Reader::is_journal(&begin) {
        Ok(true)
    } else {
        Err(other())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;

    #[test]
    fn sizes_are_read_and_too_small_ones_refused() {
        for (text, bytes) in [("64MiB", 64 << 20), ("100K", 102_400), ("70000", 70_000)] {
            assert_eq!(parse_size(text), Ok(bytes));
        }
        for text in ["", "M", "-1", "1.5G", "64KB", "65535", "99999999999G"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        assert_eq!(parse_size(LIMIT), Ok(64 << 20));
    }

    #[test]
    fn earlier_runs_move_up_and_the_oldest_goes() {
        let dir = TempDir::new("journals");
        let path = dir.0.join("j");
        let numbered = |n: usize| dir.0.join(format!("j.{n}"));
        for run in 0..5 {
            make_room(&path).unwrap();
            assert!(!path.exists());
            fs::write(&path, format!("SKYDHTJ\n{run}")).unwrap();
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(text(&path), "SKYDHTJ\n4");
        assert_eq!(text(&numbered(1)), "SKYDHTJ\n3");
        assert_eq!(text(&numbered(2)), "SKYDHTJ\n2");
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 3);
    }

    #[test]
    fn nothing_but_journals_is_moved_or_replaced() {
        let dir = TempDir::new("not-journals");
        let path = dir.0.join("j");
        fs::write(&path, "my thesis").unwrap();
        assert_eq!(make_room(&path).unwrap_err().code, Code::Exists);
        fs::write(&path, "SKYDHTJ\n").unwrap();
        fs::write(dir.0.join("j.2"), "my thesis").unwrap();
        assert_eq!(make_room(&path).unwrap_err().code, Code::Exists);
        assert!(path.exists());
        assert_eq!(make_room(&dir.0).unwrap_err().code, Code::Exists);
    }
}
