//! Full nodes: being one, and what one holds.

use std::time::Duration;

use clap::{Args, ValueEnum};
use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::sync::Prefix;

use super::own::Running;
use crate::config::parse_timeout;
use crate::keys::parse_public;

/// Full-node mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Switch {
    /// Store every item from now on.
    On,
    /// Store items close to its id, as regular nodes do.
    Off,
    /// Print the current mode.
    Status,
}

/// Switch full-node mode of a running node on or off, or print it.
///
/// It lasts until the node stops: `skydht config set full_node true` decides how it starts.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht full-node
  skydht full-node on
  skydht full-node off --json

A full node stores every item, holds what the other full nodes hold, and says so to all. One that
is none any more lets go of what is far, as far as the limits ask for it; never of its own items.")]
pub(crate) struct FullNode {
    /// The mode to set [default: status].
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) switch: Option<Switch>,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// Reconcile a running full node with another one, or with all that it knows.
///
/// Full nodes do so by themselves every minute, and send each other new items immediately.
#[derive(Args, Debug)]
#[command(
    visible_alias = "reconcile",
    after_help = "\
Examples:
  skydht sync
  skydht sync 02ab…c1 --timeout 60
  skydht sync --json | jq '.peers[] | {key, fetched, given, bytes}'

Exit status 0 means that it holds the same as each of them, 5 that some failed, 7 that the time
was over."
)]
pub(crate) struct Sync {
    /// The full node [default: all known ones].
    #[arg(value_name = "PK", value_parser = parse_public)]
    pub(crate) peer: Option<PublicKey>,
    /// Upstream's option; a reconciliation always covers all salts.
    #[arg(long, hide = true, value_name = "SALT")]
    pub(crate) salt: Option<String>,
    /// Upper bound of the duration: 10s, 500ms, or seconds [default: 10 minutes].
    #[arg(long, value_name = "TIME", value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// List the items that a running node stores: all of them, or by salt, owner or target.
///
/// In the order of the targets, one line each; with --json one object a line.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht list --limit 20
  skydht list --salt dmsg
  skydht list --owner 02ab…c1 --values --json | jq -r '.value | @base64d'
  skydht list --prefix 3f

A full node holds everything, a regular one what is near it.")]
pub(crate) struct List {
    /// Only items under this salt.
    #[arg(long, value_name = "SALT")]
    pub(crate) salt: Option<String>,
    /// Only items that this key signed.
    #[arg(long, value_name = "PK", value_parser = parse_public)]
    pub(crate) owner: Option<PublicKey>,
    /// Only items whose targets begin with these digits.
    #[arg(long, value_name = "HEX", value_parser = prefix_text)]
    pub(crate) prefix: Option<String>,
    /// Maximum number of items [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Include the values (--json: in base64).
    #[arg(long)]
    pub(crate) values: bool,
    /// Upstream's option; targets are always shown.
    #[arg(long, hide = true)]
    pub(crate) with_target: bool,
    #[command(flatten)]
    pub(crate) running: Running,
}

fn prefix_text(text: &str) -> Result<String, String> {
    parse_prefix(text).map(|_| text.to_owned())
}

/// Parses the first digits of a target; all 64 digits also match targets that differ in the last
/// bit.
pub(crate) fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("{text:?} is no beginning of a target: up to 64 hexadecimal digits");
    if text.len() > 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let target: Target = format!("{text:0<64}").parse().map_err(|_| wrong())?;
    let bits = u8::try_from(4 * text.len()).unwrap_or(u8::MAX);
    Ok(Prefix::of(&target, bits))
}
