//! The program's commands, one module each.

pub(crate) mod bench;
pub(crate) mod bundle;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod delete;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod dmsg_discovery;
pub(crate) mod dmsg_server;
pub(crate) mod doctor;
pub(crate) mod found;
pub(crate) mod full_node;
pub(crate) mod gateway;
pub(crate) mod get;
pub(crate) mod keygen;
mod large;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod mirror;
pub(crate) mod peers;
pub(crate) mod put;
pub(crate) mod register;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod store;
pub(crate) mod sync;
pub(crate) mod top;
pub(crate) mod ui;
pub(crate) mod upstream;
pub(crate) mod verify;
pub(crate) mod version;
pub(crate) mod watch;

use serde_json::json;

use crate::cli::Common;
use crate::config::{Loaded, SourceValue, Sources, load};
use crate::failure::Result;

/// A configuration key that an option sets: the option, the key, and the value.
pub(crate) type Flag = (&'static str, &'static str, SourceValue);

/// Loads the configuration from the file, the environment and these options, in this order.
pub(crate) fn configuration(
    common: &Common,
    flags: impl IntoIterator<Item = Flag>,
) -> Result<Loaded> {
    load(&sources(common, flags))
}

/// Returns the sources of a command's configuration.
fn sources(common: &Common, flags: impl IntoIterator<Item = Flag>) -> Sources {
    let mut flags: Vec<_> = flags.into_iter().collect();
    if let Some(dir) = &common.state_dir {
        flags.push(("--state-dir", "state_dir", dir.clone().into()));
    }
    if let Some(filter) = &common.log {
        flags.push(("--log", "log", json!(filter).into()));
    }
    Sources {
        file: common.config.clone(),
        text: None,
        environment: std::env::vars_os().collect(),
        flags,
    }
}

/// Returns the duration in whole milliseconds, at least one, as requests carry timeouts.
fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}
