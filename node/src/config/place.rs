//! Where configuration and state are where neither option nor variable says: the XDG base
//! directories.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::failure::{Code, Failure};

/// The environment: names and values need not be text.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Where the configuration file is looked for when no file is named; none: there is no home.
pub(crate) fn default_path(environment: &Environment) -> Option<PathBuf> {
    base(environment, "XDG_CONFIG_HOME", ".config").map(|base| base.join("config.json"))
}

/// Where a node's state is when no directory is named; none: there is no home.
pub(super) fn default_state_dir(environment: &Environment) -> Option<PathBuf> {
    base(environment, "XDG_STATE_HOME", ".local/state")
}

/// `$variable/skydht`, else `$HOME/<below>/skydht`, as the XDG base directories are defined
/// (relative paths count as unset). There is no other place: one that others can guess, such
/// as a directory for temporary files, may hold another user's key.
fn base(environment: &Environment, variable: &str, below: &str) -> Option<PathBuf> {
    let absolute = |name: &str| {
        let path = environment.get(OsStr::new(name)).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    absolute(variable)
        .or_else(|| absolute("HOME").map(|home| home.join(below)))
        .map(|base| base.join("skydht"))
}

/// Nothing says where the state is.
pub(crate) fn no_state_dir() -> Box<Failure> {
    Failure::new(
        Code::Config,
        "no state directory is known: neither HOME nor XDG_STATE_HOME is an absolute path",
    )
    .hint("name one with --state-dir DIR, SKYDHT_STATE_DIR or `state_dir` in the configuration")
}

/// Nothing says where the configuration file is.
pub(crate) fn no_path() -> Box<Failure> {
    Failure::new(
        Code::Config,
        "no configuration file is known: neither HOME nor XDG_CONFIG_HOME is an absolute path",
    )
    .hint("name one with --config FILE or SKYDHT_CONFIG")
}
