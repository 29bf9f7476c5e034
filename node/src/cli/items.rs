//! Items: reaching a node, publishing, reading.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::ReadPolicy;

use crate::config::PeerAddress;
use crate::config::parse_timeout;
use crate::keys::parse_public;

/// How a command reaches the network.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Reach {
    /// The control API of a running node [default: the one that runs on the state directory].
    #[arg(long, value_name = "URL", help_heading = "Through a running node")]
    pub(crate) api: Option<String>,
    /// The file with that API's token [default: api.token in the state directory].
    #[arg(long, value_name = "FILE", help_heading = "Through a running node")]
    pub(crate) token_file: Option<PathBuf>,
    /// Join the network for this operation only, without serving requests; may be repeated.
    #[arg(
        long,
        value_name = "PK@HOST:PORT",
        conflicts_with_all = ["api", "token_file"],
        help_heading = "Without a running node"
    )]
    pub(crate) bootstrap: Vec<PeerAddress>,
    /// Join over DMSG for this operation only, with the servers of the discovery at this URL.
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["api", "token_file", "bootstrap"],
        help_heading = "Without a running node"
    )]
    pub(crate) discovery: Option<String>,
    /// The key file to use, with --bootstrap or --discovery [default: node.key in the state
    /// directory].
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["api", "token_file"],
        help_heading = "Without a running node"
    )]
    pub(crate) key_file: Option<PathBuf>,
}

/// Sign a value and publish it.
///
/// The value is the argument, a file, or stdin. The sequence number is chosen automatically. A
/// value above the 65,536 bytes of an item is published in chunks, up to 16 MiB, and replaced as a
/// whole.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht put hello --salt greeting
  date | skydht put - --salt clock --min-replicas 10
  skydht put --file entry.json --salt dmsg --expect 1767225600000000000
  skydht put --file film.mp4 --salt film
  skydht put --list --file transports.json --salt tp
  skydht put --delete --salt greeting
  skydht put hello --bootstrap 02ab…c1@192.0.2.7:7470 --key-file alice.key")]
pub(crate) struct Put {
    /// The value; - reads stdin.
    #[arg(required_unless_present_any = ["file", "delete"], conflicts_with_all = ["file", "delete"])]
    pub(crate) value: Option<String>,
    /// Salt of the item (upstream's order of arguments).
    #[arg(value_name = "SALT", conflicts_with = "salt")]
    pub(crate) salt_word: Option<String>,
    /// Salt of the item [default: empty].
    #[arg(long, value_name = "SALT", help_heading = "The item")]
    pub(crate) salt: Option<String>,
    /// Read the value from a file.
    #[arg(long, value_name = "FILE", help_heading = "The item")]
    pub(crate) file: Option<PathBuf>,
    /// The value is a JSON array: publish it in upstream's format, 200 elements per chunk under
    /// SALT, SALT:1, SALT:2 and so on.
    #[arg(long, conflicts_with_all = ["delete"], help_heading = "The item")]
    pub(crate) list: bool,
    /// Delete the item: publish a signed empty value.
    #[arg(long, conflicts_with = "file", help_heading = "The item")]
    pub(crate) delete: bool,
    /// Use this sequence number instead of the next one.
    #[arg(long, value_name = "N", help_heading = "Its version")]
    pub(crate) seq: Option<u64>,
    /// Publish only if this sequence number is the current one; 0: only if there is no item. Puts
    /// through one node take turns: of several that expect the same version, one succeeds and the
    /// others fail. With several nodes of one key, most of the asked holders must have this
    /// version; two nodes that publish in the same moment may both succeed, and then the higher
    /// sequence number wins.
    #[arg(long, value_name = "N", help_heading = "Its version")]
    pub(crate) expect: Option<u64>,
    /// Fail with status 5 if fewer peers store it.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "Publishing it"
    )]
    pub(crate) min_replicas: u16,
    /// Allow a sequence number more than a day ahead of the clock.
    #[arg(long, help_heading = "Its version")]
    pub(crate) force: bool,
    /// Do not renew it: it expires at the end of its lifetime.
    #[arg(long, help_heading = "Publishing it")]
    pub(crate) once: bool,
    /// Upper bound of the duration: 10s, 500ms, or seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, help_heading = "Publishing it")]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Owner of the item to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The node itself.
    Myself,
    /// The owner of this key.
    Key(PublicKey),
    /// The item at this target of any owner.
    Target(Target),
}

impl std::str::FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "self" {
            return Ok(Self::Myself);
        }
        text.parse().map(Self::Target).or_else(|_| {
            parse_public(text).map(Self::Key).map_err(|error| {
                format!("{error}; `self` and a target (64 digits) are understood, too")
            })
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Myself => f.write_str("self"),
            Self::Key(key) => key.fmt(f),
            Self::Target(target) => target.fmt(f),
        }
    }
}

/// Parses "freshest", "quorum:N", "first" or "local".
pub(crate) fn parse_policy(text: &str) -> Result<ReadPolicy, String> {
    let quorum = || {
        text.strip_prefix("quorum:")?
            .parse()
            .ok()
            .filter(|n| *n > 0)
    };
    match text {
        "freshest" => Ok(ReadPolicy::Freshest),
        "first" => Ok(ReadPolicy::FirstValid),
        "local" => Ok(ReadPolicy::Local),
        _ => quorum()
            .map(ReadPolicy::Quorum)
            .ok_or_else(|| format!("{text:?} is no policy: freshest, quorum:N, first, local")),
    }
}

fn policy_text(text: &str) -> Result<String, String> {
    parse_policy(text).map(|_| text.to_owned())
}

/// Read an item: its value on stdout, its origin on stderr.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht get self --salt greeting
  skydht get 02ab…c1 dmsg
  skydht get 02ab…c1 film --file film.mp4
  skydht get 02ab…c1 tp --list
  skydht get 02ab…c1 --policy quorum:5 --json
  skydht get 02ab…c1 --bootstrap 03cd…e2@192.0.2.7:7470 --policy first
  skydht get 02ab…c1 dmsg --discovery http://127.0.0.1:9090
  skydht get 02ab…c1 dmsg --trace --svg course.svg

Policies: freshest asks the 20 nearest peers; quorum:N stops when N agree on the newest;
first takes the first valid value; local asks no peer.")]
pub(crate) struct Get {
    /// A public key, `self`, or a target.
    #[arg(value_name = "PK")]
    pub(crate) owner: Owner,
    /// Salt of the item (upstream's order of arguments).
    #[arg(value_name = "SALT", conflicts_with = "salt")]
    pub(crate) salt_word: Option<String>,
    /// Salt of the item [default: empty].
    #[arg(long, value_name = "SALT", help_heading = "The item")]
    pub(crate) salt: Option<String>,
    /// When to stop reading: freshest, quorum:N, first, local.
    #[arg(long, value_parser = policy_text, default_value = "freshest", help_heading = "Reading it")]
    pub(crate) policy: String,
    /// Return mirrored items of publishers that are not configured, too.
    #[arg(long, help_heading = "Reading it")]
    pub(crate) unknown_mirrors: bool,
    /// Write the value to a file, which appears when it is complete.
    #[arg(long, value_name = "FILE", help_heading = "The item")]
    pub(crate) file: Option<PathBuf>,
    /// Read a list in upstream's format, in chunks under SALT, SALT:1, SALT:2 and so on; the whole
    /// array goes to stdout.
    #[arg(long, conflicts_with_all = ["file", "policy", "unknown_mirrors"], help_heading = "The item")]
    pub(crate) list: bool,
    /// Upper bound of the duration: 10s, 500ms, or seconds.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, help_heading = "Reading it")]
    pub(crate) timeout: Option<Duration>,
    /// Show each step: time, peer, proximity, and result.
    #[arg(long, conflicts_with = "list", help_heading = "Reading it")]
    pub(crate) trace: bool,
    /// Draw the steps into a file, which is overwritten.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "list",
        help_heading = "Reading it"
    )]
    pub(crate) svg: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
