//! Commands that concern a running node's own items, its status page and its end.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::items::{Owner, Reach};
use crate::config::parse_timeout;

/// Selects a running node by its control API.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Running {
    /// The control API of a running node [default: the one that runs on the state directory].
    #[arg(long, value_name = "URL", help_heading = "Through a running node")]
    pub(crate) api: Option<String>,
    /// The file with that API's token [default: api.token in the state directory].
    #[arg(long, value_name = "FILE", help_heading = "Through a running node")]
    pub(crate) token_file: Option<PathBuf>,
}

impl From<Running> for Reach {
    fn from(running: Running) -> Self {
        Self {
            api: running.api,
            token_file: running.token_file,
            ..Self::default()
        }
    }
}

/// List the items that a node renews: holders, age, next renewal.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht ls
  skydht ls --json | jq '.items[] | select(.holders == 0)'

AGE is the time since peers last took the item or renewed its life; what reached no peer yet
has none and is tried again once a minute.")]
pub(crate) struct Ls {
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Check that the node's own items can be found.
///
/// Each item is read back from the closest peers, and the peers that have this version are counted.
/// Exit status 5 unless at least half of those that answered have it, for every item. The node's
/// verdict includes the result for an hour.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht verify                      the 20 items with the fewest holders
  skydht verify --all
  skydht verify dmsg tp
  skydht verify --all --json | jq '.items[] | select(.outcome != \"held\")'")]
pub(crate) struct Verify {
    /// Salts of the items; "" is the item without salt.
    #[arg(value_name = "SALT", conflicts_with = "all")]
    pub(crate) salts: Vec<String>,
    /// Check all items that the node renews.
    #[arg(long)]
    pub(crate) all: bool,
    /// Longest read of one item [default: 20s].
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Print a link to the status page of a running node.
///
/// It opens the page once, within a minute; after that the browser has read access for 12 hours.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht ui
  xdg-open \"$(skydht ui)\"
  ssh -L 7471:127.0.0.1:7471 HOST skydht ui     the page of a node elsewhere")]
pub(crate) struct Ui {
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Collect the data for a bug report into one file.
///
/// Doctor, machine, configuration, status, peers, own items and metrics, as a tar archive that only
/// its owner can read; its contents are listed. Keys, tokens and passwords are removed everywhere.
/// Addresses and public keys of peers are included.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht bundle
  skydht bundle --out report.tar --log-file /var/log/skydht.log
  journalctl -u skydht > log && skydht bundle --log-file log")]
pub(crate) struct Bundle {
    /// The archive [default: skydht-bundle-TIME.tar here]; an existing file is not replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// A log whose last MiB is included.
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Stop a running node, and wait until it has stopped.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht stop
  skydht --state-dir /var/lib/skydht stop
  skydht stop --api http://127.0.0.1:7471 --token-file api.token")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Delete an item: publish a signed empty value in its place.
///
/// Only its owner can do so: the node with its key, or a command with that key.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht delete self greeting
  skydht delete 02ab…c1 dmsg --min-replicas 10
  skydht delete self --salt greeting --bootstrap 02ab…c1@192.0.2.7:7470 --key-file alice.key")]
pub(crate) struct Delete {
    /// The item's key, or `self`.
    #[arg(value_name = "PK")]
    pub(crate) owner: Owner,
    /// Salt of the item.
    #[arg(value_name = "SALT", conflicts_with = "salt")]
    pub(crate) salt_word: Option<String>,
    /// Salt of the item [default: empty].
    #[arg(long, value_name = "SALT", help_heading = "The item")]
    pub(crate) salt: Option<String>,
    /// Fail with status 5 if fewer peers accept it.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Publishing it"
    )]
    pub(crate) min_replicas: u16,
    /// Allow a sequence number more than a day ahead of the clock.
    #[arg(long, help_heading = "Publishing it")]
    pub(crate) force: bool,
    /// Upper bound of the duration: 10s, 500ms, or seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, help_heading = "Publishing it")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
