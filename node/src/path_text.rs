//! Paths in JSON. A path need not be text; what is none is shown as U+FFFD.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// A path as text for people and JSON.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// For `#[serde(serialize_with)]`.
pub(crate) fn serialize<S: Serializer>(path: impl AsRef<Path>, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&path.as_ref().display())
}

/// For `#[serde(serialize_with)]` where there may be none.
pub(crate) fn optional<S: Serializer>(path: &Option<PathBuf>, s: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serialize(path, s),
        None => s.serialize_none(),
    }
}
