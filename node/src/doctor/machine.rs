//! Checks what a node needs of this machine: the state directory, ports, open files, storage.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::fs::{Access, access, statvfs};

use super::report::{Examination, Subject};
use crate::config::{Settings, StorageLocation};
use crate::report::{FilesReport, Verdict};
use crate::state_dir::StateDir;
use crate::{descriptors, private_file, start, verdict};

/// Free disk space below which the doctor warns.
const LITTLE_ROOM: u64 = 64 << 20;
/// Content of the file that tests whether the directory is writable.
const PROBE: &[u8] = &[0; 16 * 1024];

/// Checks that the directory is writable, and private to this user.
pub(super) fn state_dir(found: &mut Examination, state: &StateDir) {
    let path = state.path();
    let shown = path.display();
    if path.symlink_metadata().is_err() {
        return to_be_made(found, path);
    }
    if let Err(failure) = private_file::check_dir_of(private_file::service_user(path), path) {
        let cause = "the state directory cannot be used";
        let remedy = format!("chmod 700 {}", private_file::quoted(path));
        return found.failed(Subject::StateDir, cause, &failure, &remedy);
    }
    match write_probe(path) {
        Ok(()) => found.fine(Subject::StateDir, format_args!("{shown} can be written")),
        Err(error) if private_file::is_full(error.kind()) => {
            found.bad(
                Subject::Disk,
                Verdict::Red,
                "the disk of the state directory is full",
                format_args!("{shown}: {error}"),
                format_args!(
                    "make room (`df -h {}`, `ulimit -f`), or name another place with --state-dir",
                    private_file::quoted(path)
                ),
            );
        }
        Err(error) => {
            found.bad(
                Subject::StateDir,
                Verdict::Red,
                "the state directory cannot be written to",
                format_args!("{shown}: {error}"),
                format_args!("ls -ld {}; mount | grep ro", private_file::quoted(path)),
            );
        }
    }
    room(found, path);
}

fn to_be_made(found: &mut Examination, path: &Path) {
    let above = path
        .ancestors()
        .skip(1)
        .find(|it| it.symlink_metadata().is_ok());
    let above = above.unwrap_or(Path::new("/"));
    let may = access(above, Access::WRITE_OK | Access::EXEC_OK);
    if above.is_dir() && may.is_ok() {
        let shown = path.display();
        found.fine(
            Subject::StateDir,
            format_args!("{shown}: made at the first start"),
        );
        return room(found, above);
    }
    let why = match may {
        Err(error) if above.is_dir() => {
            format!("{} cannot be written to: {error}", above.display())
        }
        _ => format!("{} is no directory", above.display()),
    };
    found.bad(
        Subject::StateDir,
        Verdict::Red,
        "the state directory cannot be made",
        why,
        "skydht doctor --state-dir DIR, with a directory that this user may write to",
    );
}

fn write_probe(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".doctor-{}", std::process::id()));
    let written = private_file::open_new(&path).and_then(|mut file| {
        file.write_all(PROBE)?;
        file.sync_all()
    });
    // The file is removed even if it was written in part.
    let _ = std::fs::remove_file(&path);
    written
}

fn room(found: &mut Examination, dir: &Path) {
    let Ok(disk) = statvfs(dir) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let mebibytes = free >> 20;
    if free >= LITTLE_ROOM {
        return found.fine(Subject::Disk, format_args!("{mebibytes} MiB free"));
    }
    found.bad(
        Subject::Disk,
        Verdict::Yellow,
        "the disk of the state directory is nearly full",
        format_args!("{mebibytes} MiB free at {}", dir.display()),
        format_args!("df -h {}", private_file::quoted(dir)),
    );
}

/// Checks that the node's addresses are free.
pub(super) fn ports(found: &mut Examination, settings: &Settings) {
    if !settings.dmsg.is_on() {
        port(found, Subject::Listen, "peers", "listen", settings.listen);
    }
    if let Some(addr) = settings.api_listen {
        port(
            found,
            Subject::ApiListen,
            "the control API",
            "api_listen",
            addr,
        );
    }
}

fn port(found: &mut Examination, subject: Subject, whom: &str, key: &str, addr: SocketAddr) {
    let Err(error) = TcpListener::bind(addr) else {
        return found.fine(subject, format_args!("{addr} is free"));
    };
    let taken = error.kind() == std::io::ErrorKind::AddrInUse;
    let remedy = match taken {
        true => format!(
            "`ss -ltnp 'sport = :{}'` names the program; `skydht config set {key} IP:PORT` takes another port",
            addr.port()
        ),
        false => format!("skydht config set {key} IP:PORT"),
    };
    let failure = start::cannot_listen(Some(addr), whom, &error);
    let cause = match taken {
        true => format!("the port for {whom} is taken"),
        false => format!("the address for {whom} cannot be used"),
    };
    found.bad(subject, Verdict::Red, cause, &failure.message, remedy);
}

/// Checks that the limit of open files allows the configured connections.
pub(super) fn open_files(found: &mut Examination, settings: &Settings) {
    let files = descriptors::raise();
    let report = FilesReport {
        key: "max_connections".into(),
        wanted: settings.max_connections,
        room: descriptors::room_for_connections(files),
        open_files: files,
    };
    match verdict::files(&report).filter(|_| !settings.dmsg.is_on()) {
        Some(reason) => found.reason(reason),
        None => found.fine(Subject::OpenFiles, format_args!("{files} allowed")),
    }
}

/// Checks that a storage outside the state directory accepts items.
pub(super) fn storage(found: &mut Examination, settings: &Settings) {
    let StorageLocation::Redis(url) = &settings.storage.location else {
        return;
    };
    match crate::storage::redis(settings, url).1 {
        Ok(()) => found.fine(Subject::Storage, url),
        Err(error) => found.bad(
            Subject::Storage,
            Verdict::Yellow,
            "items are not written to storage",
            error,
            "skydht config get storage",
        ),
    }
}
