//! The node's secret key: read from a private file or the environment, never from the command line,
//! and never printed.

use std::path::Path;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use skydht_core::key::{PublicKey, SecretKey};
use zeroize::Zeroizing;

use crate::failure::{Code, Failure, Result};
use crate::private_file;

/// Environment variable for the secret key, as 64 hexadecimal digits.
pub(crate) const SECRET_KEY_VARIABLE: &str = "SKYDHT_SECRET_KEY";

/// Largest key file, in bytes; 64 digits and a line end are shorter.
const MOST_BYTES: u64 = 256;

/// Generates a key from the system's randomness.
pub(crate) fn generate() -> Result<SecretKey> {
    let entropy = Zeroizing::new(crate::random_bytes()?);
    Ok(SecretKey::from_entropy(&entropy))
}

/// Generates a key and writes it to a private file, which must not exist or be empty. A full disk
/// or a crash can leave an empty file.
pub(crate) fn create(path: &Path) -> Result<SecretKey> {
    let secret = generate()?;
    let text = text_of(&secret);
    if is_empty(path) {
        private_file::replace(path, text.as_bytes())?;
    } else {
        private_file::create(path, text.as_bytes())?;
    }
    Ok(secret)
}

/// Reads a key file; creates it if it is absent or empty. Also returns whether it was created.
pub(crate) fn load_or_create(path: &Path) -> Result<(SecretKey, bool)> {
    if !is_to_be_made(path) {
        return Ok((load(path)?, false));
    }
    Ok((create(path)?, true))
}

/// Returns whether [`load_or_create`] would create the file.
pub(crate) fn is_to_be_made(path: &Path) -> bool {
    !path.exists() || is_empty(path)
}

fn is_empty(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

/// Reads a key file.
pub(crate) fn load(path: &Path) -> Result<SecretKey> {
    if !path.exists() {
        return Err(Failure::new(
            Code::Config,
            format_args!("there is no key file {}", path.display()),
        )
        .hint(format_args!("run: {}", make_command(path))));
    }
    let contents = Zeroizing::new(private_file::read(path, MOST_BYTES)?);
    if contents.is_empty() {
        return Err(Failure::new(
            Code::Config,
            format_args!("the key file {} is empty", path.display()),
        )
        .hint(format_args!(
            "put the key back, or remove the file and make a new one: {}",
            make_command(path)
        )));
    }
    parse(&contents).ok_or_else(|| {
        Failure::new(
            Code::Config,
            format_args!(
                "{} holds no secret key: 64 hexadecimal digits are wanted, not zero and below the group order",
                path.display()
            ),
        )
    })
}

/// Returns a command that creates the key file.
fn make_command(path: &Path) -> String {
    let keygen = format!("skydht keygen {}", private_file::quoted(path));
    match path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        Some(dir) if !dir.exists() => {
            format!("mkdir -m 700 -p {} && {keygen}", private_file::quoted(dir))
        }
        _ => keygen,
    }
}

/// Generates a key and writes it to a file that does not exist yet, not even empty.
pub(crate) fn create_new(path: &Path) -> Result<SecretKey> {
    let secret = generate()?;
    private_file::create(path, text_of(&secret).as_bytes())?;
    Ok(secret)
}

fn text_of(secret: &SecretKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(HEXLOWER.encode(&*secret.to_bytes()));
    text.push('\n');
    text
}

/// Returns the key in the environment, if it is set.
pub(crate) fn from_environment() -> Result<Option<SecretKey>> {
    let Some(text) = std::env::var_os(SECRET_KEY_VARIABLE) else {
        return Ok(None);
    };
    let text = Zeroizing::new(text.into_encoded_bytes());
    parse(&text).map(Some).ok_or_else(|| {
        Failure::new(
            Code::Config,
            format_args!(
                "{SECRET_KEY_VARIABLE} holds no secret key: 64 hexadecimal digits are wanted, not zero and below the group order"
            ),
        )
    })
}

fn parse(text: &[u8]) -> Option<SecretKey> {
    let text = text.trim_ascii();
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() != 64 {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode_mut(text, &mut *bytes).ok()?;
    SecretKey::from_bytes(&*bytes).ok()
}

/// Parses a public key: 66 hexadecimal digits.
pub(crate) fn parse_public(text: &str) -> std::result::Result<PublicKey, String> {
    text.parse().map_err(|error| {
        format!(
            "{text:?} is no public key (66 hexadecimal digits, beginning with 02 or 03): {error}"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private_file::tests::TempDir;

    #[test]
    fn a_key_file_gives_back_the_key_that_was_made() {
        let dir = TempDir::new("keys");
        let path = dir.0.join("node.key");
        let made = create(&path).unwrap();
        assert_eq!(load(&path).unwrap().public(), made.public());
        assert_eq!(create(&path).unwrap_err().code, Code::Exists);
    }

    #[test]
    fn an_empty_file_is_no_key_and_makes_room_for_one() {
        let dir = TempDir::new("emptykey");
        let path = dir.0.join("node.key");
        let (made, is_new) = load_or_create(&path).unwrap();
        assert!(is_new);
        let (read, is_new) = load_or_create(&path).unwrap();
        assert_eq!((read.public(), is_new), (made.public(), false));
        std::fs::write(&path, "").unwrap();
        assert!(load(&path).unwrap_err().message.contains("is empty"));
        assert!(load_or_create(&path).unwrap().1);
        std::fs::write(&path, "").unwrap();
        create(&path).unwrap();
    }

    #[test]
    fn damaged_keys_are_refused_without_showing_them() {
        let dir = TempDir::new("badkeys");
        let path = dir.0.join("node.key");
        let text = "5555".repeat(15);
        private_file::create(&path, text.as_bytes()).unwrap();
        assert!(!load(&path).unwrap_err().message.contains("5555"));
        assert!(parse(&[b'0'; 64]).is_none(), "zero is no key");
    }

    #[test]
    fn a_missing_key_file_names_the_command_that_makes_one() {
        let dir = TempDir::new("nokey");
        let here = dir.0.join("node.key");
        let keygen = |path: &Path| format!("skydht keygen {}", path.display());
        let hint = |path| load(path).unwrap_err().hint.unwrap();
        assert_eq!(hint(&here), format!("run: {}", keygen(&here)));
        // The suggested command works even if the directory is missing.
        let below = dir.0.join("a/b/node.key");
        let first = format!("mkdir -m 700 -p {}/a/b", dir.0.display());
        assert_eq!(hint(&below), format!("run: {first} && {}", keygen(&below)));
        std::fs::write(&here, "").unwrap();
        assert_eq!(create_new(&here).unwrap_err().code, Code::Exists);
    }
}
