//! The file that keeps a node's items across restarts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Work on the items that a stopped node keeps on disk: count, check, export, import, compact.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  skydht store stats
  skydht store check                            every signature, every record
  skydht store export > items.jsonl
  skydht store import --file items.jsonl
  skydht store compact

The file is the state directory's items.redb, and no node may run on it meanwhile.")]
pub(crate) enum Store {
    /// Count the items, and how many of them are expired or damaged.
    #[command(after_help = "\
Examples:
  skydht store stats
  skydht store stats --json | jq .items")]
    Stats,
    /// Read every record and check every signature. Exit status 1 if anything is wrong.
    #[command(after_help = "\
Examples:
  skydht store check
  skydht --state-dir /var/lib/skydht store check")]
    Check,
    Export(Export),
    Import(Import),
    /// Return unused space of the file to the disk.
    #[command(after_help = "\
Examples:
  skydht store compact
  skydht store compact --json | jq .after")]
    Compact,
}

/// Write all items as lines of JSON, each with its target and lifetime.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht store export > items.jsonl
  skydht store export --file items.jsonl")]
pub(crate) struct Export {
    /// The file to write [default: stdout].
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Read items from lines of JSON, and keep those that are valid and not older than the stored ones.
///
/// Lines of `skydht store export`; items as upstream has them in its database:
/// `{"k":…,"seq":…,"sig":…,"v":…,"salt":…}`; or such an item after its key in Redis, `dht:…`, on
/// the same line or on the next. Items of upstream have no expiry: their lives start at the time
/// that their sequence number gives, else they get half a life. A line that is none of these is
/// counted and named.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht store import < items.jsonl
  skydht store import --file items.jsonl --json | jq .imported
  redis-cli --scan --pattern 'dht:*' |
    while read -r key; do echo \"$key $(redis-cli --raw get $key)\"; done |
    skydht store import")]
pub(crate) struct Import {
    /// The file to read [default: stdin].
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}
