//! Watching an item.

use std::time::Duration;

use clap::Args;

use super::items::{Owner, Reach};
use crate::config::parse_timeout;

/// Show each newer version of an item as soon as it is published.
///
/// Values go to stdout, one a line, details to stderr; with --json one object a line. A version
/// that is replaced before this node sees it is skipped. Stop it with Ctrl-C.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht watch 02ab…c1 dmsg
  skydht watch self greeting --count 1 --timeout 60
  skydht watch 02ab…c1 dmsg --after 1777000000000000000 --json | jq -r .text

A watch that was interrupted goes on without a gap and without repeating with --after and the
sequence number that it saw last. Exit status 7 means that nothing newer came within --timeout.")]
pub(crate) struct Watch {
    /// A public key, `self`, or a target.
    #[arg(value_name = "PK")]
    pub(crate) owner: Owner,
    /// Which of the key's items.
    #[arg(value_name = "SALT", conflicts_with = "salt")]
    pub(crate) salt_word: Option<String>,
    /// Which of the key's items [default: the one without salt].
    #[arg(long, value_name = "SALT", help_heading = "The item")]
    pub(crate) salt: Option<String>,
    /// Only versions with a higher sequence number [default: the current one, too].
    #[arg(long, value_name = "SEQ", help_heading = "The item")]
    pub(crate) after: Option<u64>,
    /// Stop after this many versions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "When to stop")]
    pub(crate) count: Option<u64>,
    /// Return mirrors of keys that are not configured, too.
    #[arg(long, help_heading = "The item")]
    pub(crate) unknown_mirrors: bool,
    /// Stop after this time without a newer version: 10s, 5min, or seconds [default: never].
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, help_heading = "When to stop")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
