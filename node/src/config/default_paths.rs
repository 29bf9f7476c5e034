//! Default locations of configuration and state: the XDG base directories.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::failure::{Code, Failure};

/// The environment: names and values may not be UTF-8.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Returns the default configuration file; `None` without a home directory.
pub(crate) fn default_path(environment: &Environment) -> Option<PathBuf> {
    base(environment, "XDG_CONFIG_HOME", ".config").map(|base| base.join("config.json"))
}

/// Returns the default state directory; `None` without a home directory.
pub(super) fn default_state_dir(environment: &Environment) -> Option<PathBuf> {
    base(environment, "XDG_STATE_HOME", ".local/state")
}

/// Returns `$variable/skydht`, else `$HOME/<below>/skydht`, as the XDG base directory specification
/// says: relative paths count as unset. There is no further default, because a path that others can
/// guess, such as one in a directory for temporary files, may contain another user's key.
fn base(environment: &Environment, variable: &str, below: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = environment.get(OsStr::new(name)).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below)))
        .map(|base| base.join("skydht"))
}

/// Returns the failure for a missing state directory.
pub(crate) fn no_state_dir() -> Box<Failure> {
    Failure::new(
        Code::Config,
        "no state directory is known: neither HOME nor XDG_STATE_HOME is an absolute path",
    )
    .hint("name one with --state-dir DIR, SKYDHT_STATE_DIR or `state_dir` in the configuration")
}

/// Returns the failure for a missing configuration path.
pub(crate) fn no_path() -> Box<Failure> {
    Failure::new(
        Code::Config,
        "no configuration file is known: neither HOME nor XDG_CONFIG_HOME is an absolute path",
    )
    .hint("name one with --config FILE or SKYDHT_CONFIG")
}
