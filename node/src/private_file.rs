//! Files that only their owner may read: keys, the API token, the peers that are remembered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::{Code, Failure, Result};

/// Mode of a private file.
const MODE: u32 = 0o600;

/// Fails when `path` exists; `contents` never has a moment with looser permissions.
pub(crate) fn create(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = open_new(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::new(
            Code::Exists,
            format_args!("{} exists already and is left as it is", path.display()),
        )
        .hint("choose another name, or move the old file away first"),
        _ => failed("create", path, &error),
    })?;
    file.write_all(contents)
        .and_then(|()| file.sync_all())
        .map_err(|error| failed("write", path, &error))
}

/// Replaces `path` as one step: a reader, or the next start after a crash, sees the old or
/// the new contents whole.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    let aside = aside(path);
    let written = (|| {
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = open_new(&aside)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    written.map_err(|error| {
        // Nothing more can be done about a leftover.
        let _ = fs::remove_file(&aside);
        failed("write", path, &error)
    })
}

/// Reads a file of at most `most` bytes that nobody else may read.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| failed("read", path, &error))?;
    let metadata = file
        .metadata()
        .map_err(|error| failed("read", path, &error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Failure::new(
            Code::Config,
            format_args!(
                "{} may be read or written by others (mode {mode:04o}, wanted {MODE:04o})",
                path.display()
            ),
        )
        .hint(format_args!("run: chmod 600 {}", path.display())));
    }
    read_at_most(&file, path, most)
}

/// Reads a file of at most `most` bytes, whoever may read it.
pub(crate) fn read_public(path: &Path, most: u64) -> Result<Vec<u8>> {
    let file = File::open(path).map_err(|error| failed("read", path, &error))?;
    read_at_most(&file, path, most)
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

/// Makes a directory, and what is above it, that only its owner may enter.
pub(crate) fn create_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("create", path, &error))
}

/// A failed file operation.
pub(crate) fn failed(verb: &str, path: &Path, error: &io::Error) -> Box<Failure> {
    Failure::new(
        Code::Local,
        format_args!("cannot {verb} {}: {error}", path.display()),
    )
}

/// Opens a new file for writing; its mode is 0600 from the first moment.
pub(crate) fn open_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
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

    /// A directory of this test's own, removed with everything in it at the end.
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
    fn longer_files_than_allowed_are_refused() {
        let dir = TempDir::new("long");
        let path = dir.0.join("f");
        create(&path, b"1234").unwrap();
        assert!(read(&path, 4).is_ok());
        assert!(read(&path, 3).is_err());
    }
}
