//! Compares the golden vectors, made with upstream's Go program, with the model. The only accepted
//! difference: where Go's process ends, the model reports a crash.
//!
//! `SKYDHT_VECTORS` names another directory of vectors, relative to the repository, as for the
//! conformance tests of our own node. Files that it lacks are skipped and listed.

mod decoding;
mod distance;
mod frames;
mod store_trace;

use std::io::Write as _;
use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer};

/// Bytes, written as lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Hex(Vec<u8>);

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().expect("the right length")
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = HEXLOWER.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

/// A file of vectors; `None` if another directory lacks it.
fn vectors(file: &str) -> Option<serde_json::Value> {
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let other = std::env::var_os("SKYDHT_VECTORS");
    let directory = match &other {
        Some(other) => repository.join(other),
        None => repository.join("tests/vectors"),
    };
    let path = directory.join(file);
    if other.is_some() && !path.exists() {
        // Shown whether or not the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: {}", path.display());
        return None;
    }
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    let json = serde_json::from_str(&text);
    Some(json.unwrap_or_else(|e| panic!("{} is not JSON: {e}", path.display())))
}

/// A section of a file as typed cases. There is at least one.
fn section<T: serde::de::DeserializeOwned>(file: &serde_json::Value, name: &str) -> Vec<T> {
    let section = file[name].clone();
    let cases: Vec<T> =
        serde_json::from_value(section).unwrap_or_else(|e| panic!("section {name}: {e}"));
    assert!(!cases.is_empty(), "section {name} is empty");
    cases
}

/// Fails with a list of all differences.
fn assert_none(differences: &[String]) {
    let list = differences.join("\n  ");
    assert!(differences.is_empty(), "differs from Go:\n  {list}");
}
