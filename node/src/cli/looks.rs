//! Looking at a node and its peers.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use skydht_core::key::PublicKey;

use crate::config::parse_timeout;
use crate::keys::parse_public;

use super::items::Reach;

/// List the peers that a node knows, or judge its buckets.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht peers
  skydht peers --buckets
  skydht peers --json --api http://127.0.0.1:7471 --token-file api.token")]
pub(crate) struct Peers {
    /// How full each bucket is, against what the network's size lets expect.
    #[arg(long)]
    pub(crate) buckets: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Say how a node is: the verdict first, with its reasons.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht status
  skydht status --limits
  skydht status --tasks
  skydht status --watch --every 5s
  skydht status --json | jq .verdict")]
pub(crate) struct Status {
    /// Show every limit: used, allowed, how often it was hit.
    #[arg(long)]
    pub(crate) limits: bool,
    /// Show what the node does by itself: when it last succeeded, when it comes again.
    #[arg(long)]
    pub(crate) tasks: bool,
    /// Go on: redraw on a terminal, else a line of JSON each time.
    #[arg(long)]
    pub(crate) watch: bool,
    /// How often, with --watch.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "2s")]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Show a node as it goes on: what the status page shows, in a terminal.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht top
  skydht top --every 5s
  ssh HOST skydht top --once")]
pub(crate) struct Top {
    /// How often it is drawn.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "2s")]
    pub(crate) every: Duration,
    /// Draw it once.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Say what keeps a node from its work: cause, evidence, and the command to run.
///
/// A node that runs is asked. Without one, what `skydht run` would need is tried: configuration, key
/// file, state directory, ports, open files, discovery, bootstrap peers, the clock. Exit status: 0
/// GREEN, 1 YELLOW, 2 RED.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht doctor
  skydht doctor --state-dir /var/lib/skydht
  skydht doctor --json | jq -r '.reasons[] | .cause + \": \" + .remedy'")]
pub(crate) struct Doctor {
    /// How long each peer is waited for.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "3s")]
    pub(crate) timeout: Duration,
}

/// A peer as a user names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whom {
    /// The node that has the configured key.
    Myself,
    /// The peer with this key.
    Key(PublicKey),
}

impl std::str::FromStr for Whom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "self" => Ok(Self::Myself),
            key => parse_public(key).map(Self::Key),
        }
    }
}

/// Ask one peer for a sign of life, and say which way it took.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht ping 02ab…c1
  skydht ping 02ab…c1 --addr 192.0.2.7:7470
  skydht ping self --bootstrap 03cd…e2@192.0.2.7:7470     whether others reach this node")]
pub(crate) struct Ping {
    /// Whom: a public key, or `self` for the one of the key file (with --bootstrap).
    #[arg(value_name = "PK")]
    pub(crate) peer: Whom,
    /// Where to dial, if there is no connection.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) addr: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
