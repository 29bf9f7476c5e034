//! Commands that inspect a node and its peers.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use skydht_core::key::PublicKey;

use crate::config::parse_timeout;
use crate::keys::parse_public;

use super::items::Reach;

/// List the peers that a node knows, or how full its buckets are.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht peers
  skydht peers --buckets
  skydht peers --json --api http://127.0.0.1:7471 --token-file api.token")]
pub(crate) struct Peers {
    /// How full each bucket is, compared with what is expected for the network's size.
    #[arg(long)]
    pub(crate) buckets: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Show the status of a node: the verdict with its reasons.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht status
  skydht status --limits
  skydht status --tasks
  skydht status --watch --every 5s
  skydht status --json | jq .verdict")]
pub(crate) struct Status {
    /// Show every limit: use, maximum, and how often it was exceeded.
    #[arg(long)]
    pub(crate) limits: bool,
    /// Show the periodic tasks: last success and next run.
    #[arg(long)]
    pub(crate) tasks: bool,
    /// Repeat: redraw on a terminal, else print a line of JSON each time.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Interval of updates, with --watch.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "2s")]
    pub(crate) every: Duration,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Show a node continuously: what the status page shows, in a terminal.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht top
  skydht top --every 5s
  ssh HOST skydht top --once")]
pub(crate) struct Top {
    /// Interval of updates.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "2s")]
    pub(crate) every: Duration,
    /// Draw it once.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Show what prevents a node from working: cause, evidence, and the command to run.
///
/// A running node is asked. Without one, the prerequisites of `skydht run` are checked:
/// configuration, key file, state directory, ports, open files, discovery, bootstrap peers, the
/// clock. Exit status: 0 GREEN, 1 YELLOW, 2 RED.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht doctor
  skydht doctor --state-dir /var/lib/skydht
  skydht doctor --json | jq -r '.reasons[] | .cause + \": \" + .remedy'")]
pub(crate) struct Doctor {
    /// Longest wait for each peer.
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, default_value = "3s")]
    pub(crate) timeout: Duration,
}

/// The peer that a user names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PingTarget {
    /// The node that has the configured key.
    Myself,
    /// The peer with this key.
    Key(PublicKey),
}

impl std::str::FromStr for PingTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "self" => Ok(Self::Myself),
            key => parse_public(key).map(Self::Key),
        }
    }
}

/// Ping a peer, and show the path that was used.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht ping 02ab…c1
  skydht ping 02ab…c1 --addr 192.0.2.7:7470
  skydht ping self --bootstrap 03cd…e2@192.0.2.7:7470     whether others reach this node")]
pub(crate) struct Ping {
    /// The peer: a public key, or `self` for the key file's key (with --bootstrap).
    #[arg(value_name = "PK")]
    pub(crate) peer: PingTarget,
    /// Address to dial, if there is no session.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) addr: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
