//! Serializes paths as JSON strings. Bytes that are not UTF-8 become U+FFFD.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// Returns a path as text.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Serializes a path, for `#[serde(serialize_with)]`.
pub(crate) fn serialize<S: Serializer>(path: impl AsRef<Path>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&path.as_ref().display())
}

/// Serializes an optional path, for `#[serde(serialize_with)]`.
pub(crate) fn optional<S: Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serialize(path, s),
        None => s.serialize_none(),
    }
}
