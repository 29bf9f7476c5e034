//! Files that only their owner may read: keys, the API token, the remembered peers.
//!
//! Files are never written in part. The content goes to a new file in the same directory, is
//! synced, and then gets its name atomically; the directory is synced, too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::{Pid, test_kill_process};

use crate::failure::{Code, Failure, Result};

/// Mode of a private file.
const MODE: u32 = 0o600;
/// Mode of a file that others may read, before the process's mask.
const PUBLIC_MODE: u32 = 0o666;

/// Creates a private file; fails if `path` exists. `contents` is never readable by others.
pub(crate) fn create(path: &Path, contents: &[u8]) -> Result<()> {
    let exists = || {
        Failure::new(
            Code::Exists,
            format_args!("{} exists already and is left as it is", path.display()),
        )
        .hint("choose another name, or move the old file away first")
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    write_beside(path, MODE, contents, name_new).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => failed("write", path, &error),
    })
}

/// Replaces `path` atomically: readers, and the next start after a crash, see either the old or the
/// new contents.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    replace_with(path, MODE, contents)
}

/// Does as [`replace`], for a file that others may read.
pub(crate) fn replace_public(path: &Path, contents: &[u8]) -> Result<()> {
    replace_with(path, PUBLIC_MODE, contents)
}

fn replace_with(path: &Path, mode: u32, contents: &[u8]) -> Result<()> {
    // If `path` is a symbolic link, the file that it refers to is replaced.
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    write_beside(&real, mode, contents, |aside, path| fs::rename(aside, path))
        .map_err(|error| failed("write", path, &error))
}

/// Writes a new file beside `path`, and calls `name` to move it there.
fn write_beside(
    path: &Path,
    mode: u32,
    contents: &[u8],
    name: impl Fn(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let aside = aside(path);
    let written = (|| {
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = open_with(&aside, mode)?;
        file.write_all(contents)?;
        file.sync_all()?;
        name(&aside, path)
    })();
    if written.is_err() {
        // An error here has no further remedy.
        let _ = fs::remove_file(&aside);
        return written;
    }
    sync_directory_of(path)
}

/// Moves a file to a name that must not exist.
fn name_new(aside: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(aside, path) {
        Ok(()) => fs::remove_file(aside),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        // Some file systems have no hard links; there, another process may create the file between
        // check and rename.
        Err(_) if path.symlink_metadata().is_err() => fs::rename(aside, path),
        Err(_) => Err(io::ErrorKind::AlreadyExists.into()),
    }
}

/// After a crash, a new name exists only if its directory was synced.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    match File::open(parent.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all()) {
        // Not every file system can, and not every directory can be opened for it.
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Reads a file of at most `most` bytes that belongs to this user, and that no other user may read.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    read_of(effective_user(), path, most)
}

/// Does as [`read`], for a file that belongs to `user`: see [`service_user`].
pub(crate) fn read_of(user: u32, path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = open_regular(path)?;
    let metadata = file
        .metadata()
        .map_err(|error| failed("read", path, &error))?;
    check_owner(path, &metadata, user)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            Code::Config,
            format_args!(
                "{} may be read or written by others (mode {mode:04o}, wanted {MODE:04o})",
                path.display()
            ),
        )
        .hint(format_args!("run: chmod 600 {}", quoted(path))));
    }
    read_at_most(&file, path, most)
}

/// Reads a file of at most `most` bytes, even if other users may read it.
pub(crate) fn read_public(path: &Path, most: u64) -> Result<Vec<u8>> {
    read_at_most(&open_regular(path)?, path, most)
}

/// Opens an input file that the user named, which may be a pipe.
pub(crate) fn open_data(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|error| {
        let mut failure = failed("read", path, &error);
        if error.kind() == io::ErrorKind::NotFound {
            // As for a directory, the name is wrong, rather than this machine.
            (failure.code, failure.exit) = (Code::Usage, Code::Usage.exit() as u8);
            failure.fault = Code::Usage.fault();
        }
        failure
    })?;
    if let Ok(metadata) = file.metadata()
        && metadata.is_dir()
    {
        return Err(no_file(path, &metadata));
    }
    Ok(file)
}

/// Opens a regular file for reading. Directories are rejected, and so are pipes and devices, which
/// may block for ever.
pub(crate) fn open_regular(path: &Path) -> Result<File> {
    open_as(path, OpenOptions::new().read(true), "read")
}

/// Opens a file that is only locked; creates it if it is absent.
pub(crate) fn open_lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(MODE);
    // A file on a full or read-only disk can be locked if it is open for reading.
    open_as(path, &mut options, "create").or_else(|failure| match path.symlink_metadata() {
        Ok(metadata) if metadata.is_file() => open_regular(path).map_err(|_| failure),
        _ => Err(failure),
    })
}

/// Opens a regular file for writing; creates or truncates it. Pipes and devices are rejected,
/// because they may have no reader.
pub(crate) fn open_output(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    open_as(path, &mut options, "write")
}

fn open_as(path: &Path, options: &mut OpenOptions, verb: &str) -> Result<File> {
    // Opening a pipe would otherwise block until its other end is opened.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let opened = options.custom_flags(flags).open(path);
    let file = opened.map_err(|error| match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => no_file(path, &metadata),
        _ => failed(verb, path, &error),
    })?;
    let metadata = file.metadata();
    let metadata = metadata.map_err(|error| failed(verb, path, &error))?;
    match metadata.is_file() {
        true => Ok(file),
        false => Err(no_file(path, &metadata)),
    }
}

/// Removes temporary files left in a directory by processes that have ended.
pub(crate) fn remove_abandoned(dir: &Path) {
    let is_abandoned = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_suffix(".new")?;
        let pid: i32 = name.rsplit_once('.')?.1.parse().ok()?;
        let is_own = u32::try_from(pid) == Ok(std::process::id());
        let is_dead = test_kill_process(Pid::from_raw(pid)?) == Err(rustix::io::Errno::SRCH);
        (is_own || is_dead).then_some(())
    };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_abandoned(&entry.path()).is_some() {
            // A file that cannot be removed is harmless.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn read_at_most(file: &File, path: &Path, most: u64) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    file.take(most + 1)
        .read_to_end(&mut contents)
        .map_err(|error| failed("read", path, &error))?;
    if contents.len() as u64 > most {
        return Err(Failure::new(
            Code::Config,
            format_args!(
                "{} is longer than the {most} bytes it may have",
                path.display()
            ),
        ));
    }
    Ok(contents)
}

fn no_file(path: &Path, metadata: &fs::Metadata) -> Box<Failure> {
    let what = if metadata.is_dir() {
        "a directory"
    } else {
        "a device or a pipe"
    };
    Failure::new(
        Code::Config,
        format_args!("{} is {what}, where a file is wanted", path.display()),
    )
    .hint("name the file itself")
}

/// Creates a directory and its parents, private to this user. An existing one must belong to this
/// user, and must not be writable by others.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    make_dirs(path)?;
    check_dir(path)
}

/// Creates a directory and its parents; an existing one may belong to another user.
pub(crate) fn make_dirs(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("create the directory", path, &error))
}

/// Returns the user who must own the files by which a command reaches the node in a state
/// directory: this user. Root also reaches services, which run as other users; for root it is the
/// owner of the directory, so that a link of that user cannot make root read other files.
pub(crate) fn service_user(dir: &Path) -> u32 {
    let own = effective_user();
    match fs::metadata(dir) {
        Ok(metadata) if own == 0 => metadata.uid(),
        _ => own,
    }
}

/// Checks an existing directory.
fn check_dir(path: &Path) -> Result<()> {
    check_dir_of(effective_user(), path)
}

/// Checks an existing directory that must belong to `user`.
pub(crate) fn check_dir_of(user: u32, path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|error| failed("read", path, &error))?;
    if !metadata.is_dir() {
        return Err(failed("read", path, &io::ErrorKind::NotADirectory.into()));
    }
    check_owner(path, &metadata, user)?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Code::Config,
        format_args!(
            "others may put files into {} (mode {mode:04o}, wanted 0700)",
            path.display()
        ),
    )
    .hint(format_args!(
        "run: chmod 700 {}, or choose a directory of your own with --state-dir",
        quoted(path)
    )))
}

/// Checks the owner: another user who created a key or a token knows it.
fn check_owner(path: &Path, metadata: &fs::Metadata, user: u32) -> Result<()> {
    let owner = metadata.uid();
    if owner == user {
        return Ok(());
    }
    Err(Failure::new(
        Code::Config,
        format_args!(
            "{} belongs to another user (id {owner}, this one is {user})",
            path.display()
        ),
    )
    .hint(format_args!(
        "name one of your own, or run this as its owner; to take it over: chown {user} {}",
        quoted(path)
    )))
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Quotes a path for a shell.
pub(crate) fn quoted(path: &Path) -> String {
    skydht_sim::figures::quote(&path.display().to_string())
}

/// Converts an I/O error to a failure with advice.
pub(crate) fn failed(verb: &str, path: &Path, error: &io::Error) -> Box<Failure> {
    let failure = Failure::new(
        Code::Local,
        format_args!("cannot {verb} {}: {error}", path.display()),
    );
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => {
            failure.hint("the disk is mounted read-only: choose a place that can be written to")
        }
        kind if is_full(kind) => {
            failure.hint("the disk or a limit is full: make room there, or choose another place")
        }
        io::ErrorKind::PermissionDenied => failure.hint(format_args!(
            "this user (id {}) may not: choose another place, or have its owner allow it",
            effective_user()
        )),
        // `mkdir` fails with this error if a file has the directory's name.
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            let in_the_way = path.ancestors().find(|above| above.is_file());
            failure.hint(format_args!(
                "{} is a file, where a directory is wanted: move it away, or choose another place",
                in_the_way.unwrap_or(path).display()
            ))
        }
        io::ErrorKind::IsADirectory => {
            failure.hint("it is a directory, where a file is wanted: name the file itself")
        }
        io::ErrorKind::NotFound => match parent.filter(|parent| !parent.exists()) {
            Some(parent) => failure.hint(format_args!(
                "there is no directory {}: make it first, or choose another place",
                parent.display()
            )),
            None if verb == "read" => failure.hint("there is no such file: is its name right?"),
            None => failure.hint("nothing can be made there: choose another place"),
        },
        _ => failure,
    }
}

/// Returns whether an error means that there is no space left.
pub(crate) fn is_full(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Creates a new file for writing, with mode 0600 from the start.
pub(crate) fn open_new(path: &Path) -> io::Result<File> {
    open_with(path, MODE)
}

fn open_with(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A directory for one test, removed when this is dropped.
    pub(crate) struct TempDir(pub(crate) PathBuf);

    impl TempDir {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("skydht-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn created_files_are_private_and_never_overwritten() {
        let dir = TempDir::new("create");
        let path = dir.0.join("key");
        create(&path, b"one").unwrap();
        assert_eq!(mode(&path), 0o600);
        assert_eq!(create(&path, b"two").unwrap_err().code, Code::Exists);
        assert_eq!(read(&path, 10).unwrap(), b"one");
    }

    #[test]
    fn looser_permissions_are_refused_with_the_command_to_run() {
        let dir = TempDir::new("loose");
        let path = dir.0.join("key");
        create(&path, b"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let failure = read(&path, 10).unwrap_err();
        assert_eq!(
            failure.hint.unwrap(),
            format!("run: chmod 600 {}", path.display())
        );
        assert_eq!(read_public(&path, 10).unwrap(), b"x");
    }

    #[test]
    fn replacing_is_private_and_leaves_nothing_behind() {
        let dir = TempDir::new("replace");
        let path = dir.0.join("peers");
        fs::write(&path, "old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(
            (mode(&path), read(&path, 3).unwrap()),
            (0o600, b"new".to_vec())
        );
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
    }

    #[test]
    fn what_belongs_to_another_user_is_not_used() {
        let dir = TempDir::new("owner");
        let path = dir.0.join("key");
        create(&path, b"x").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let me = metadata.uid();
        assert!(check_owner(&path, &metadata, me).is_ok());
        let failure = check_owner(&path, &metadata, me + 1).unwrap_err();
        assert!(failure.message.contains("another user"), "{failure}");
        // If this user may change the owner of files, the check is tested with a real file.
        if std::os::unix::fs::chown(&path, Some(me + 1), None).is_ok() {
            assert!(read(&path, 10).is_err());
        }
    }

    #[test]
    fn directories_into_which_others_may_write_are_refused() {
        let dir = TempDir::new("open-dir");
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            fs::set_permissions(&dir.0, fs::Permissions::from_mode(mode)).unwrap();
            let failure = create_dir(&dir.0).unwrap_err();
            assert!(failure.hint.unwrap().contains("chmod 700"), "{mode:o}");
        }
        fs::set_permissions(&dir.0, fs::Permissions::from_mode(0o755)).unwrap();
        create_dir(&dir.0).unwrap();
    }

    #[test]
    fn each_failure_says_what_is_in_the_way() {
        let dir = TempDir::new("in-the-way");
        let file = dir.0.join("file");
        fs::write(&file, "x").unwrap();
        for (failure, part) in [
            (create_dir(&file), "is a file, where a directory"),
            (create_dir(&file.join("a/b")), "file is a file, where"),
            (
                create(&file.join("key"), b""),
                "is a file, where a directory",
            ),
            (replace(&dir.0, b""), "it is a directory"),
            (read(&dir.0, 1).map(drop), "name the file itself"),
            (read_public(&dir.0, 1).map(drop), "name the file itself"),
            (create(&dir.0.join("no/key"), b""), "there is no directory"),
            (
                read(&dir.0.join("no"), 1).map(drop),
                "there is no such file",
            ),
        ] {
            let failure = failure.unwrap_err();
            let hint = failure.hint.clone().unwrap_or_default();
            assert!(hint.contains(part), "{failure}");
        }
        assert_eq!(fs::read_dir(&dir.0).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_kept_and_what_it_names_replaced() {
        let dir = TempDir::new("link");
        let (file, link) = (dir.0.join("file"), dir.0.join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }

    #[test]
    fn no_file_that_is_opened_by_its_name_blocks() {
        use rustix::fs::{CWD, FileType, mknodat};

        let dir = TempDir::new("pipe");
        let pipe = dir.0.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, MODE.into(), 0).unwrap();
        for path in [&pipe, Path::new("/dev/null"), &dir.0] {
            for failure in [
                read(path, 9).map(drop),
                read_public(path, 9).map(drop),
                open_regular(path).map(drop),
                open_lock(path).map(drop),
                open_output(path).map(drop),
            ] {
                let failure = failure.unwrap_err();
                assert!(failure.message.contains("where a file is"), "{failure}");
            }
        }
        // A pipe is accepted as input.
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "data")
        });
        let mut data = Vec::new();
        let mut file = open_data(&pipe).unwrap();
        file.read_to_end(&mut data).unwrap();
        assert_eq!(data, b"data");
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn longer_files_than_allowed_are_refused() {
        let dir = TempDir::new("long");
        let path = dir.0.join("f");
        create(&path, b"1234").unwrap();
        assert!(read(&path, 4).is_ok());
        assert!(read(&path, 3).is_err());
    }
}
