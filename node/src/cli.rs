//! The command line. Every command's help ends in examples.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::ReadPolicy;
use skydht_sim::figures::Sweep;

use crate::config::{PeerAddress, parse_duration};
use crate::journal::{LIMIT, parse_size};
use crate::keys::parse_public;

/// Run, use and measure a node of Skywire's DHT.
#[derive(Parser, Debug)]
#[command(
    name = "skydht",
    version,
    after_help = "\
First steps:
  skydht demo                  a network of 60 nodes in this process, tried out and judged
  skydht run                   a node of your own, with a key made for it
  skydht put 'hello' --salt greeting
  skydht get self --salt greeting

Exit status: 0 ok, 1 this machine failed, 2 usage, 3 unreachable, 4 not found or deleted,
5 partial, 6 refused or conflict, 7 timeout. Data goes to stdout, talk to stderr. With
--json stdout gets JSON with a `schema` field, for failures too.

Every configuration key can be set in the environment: SKYDHT_LISTEN, SKYDHT_LIMITS_STREAMS…
(`skydht config keys` lists them). SKYDHT_CONFIG names the file, SKYDHT_SECRET_KEY may hold
the secret key. Options win over the environment, the environment over the file."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Whether stdout gets JSON. Upstream's words take any words after them, this one, too.
    pub(crate) fn wants_json(&self) -> bool {
        self.common.json
            || match &self.command {
                Command::FullNode(rest)
                | Command::Sync(rest)
                | Command::List(rest)
                | Command::Reconcile(rest) => rest.words.iter().any(|word| word == "--json"),
                _ => false,
            }
    }
}

/// Options of every command.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Common {
    /// Print JSON on stdout, for failures too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Configuration file [default: $XDG_CONFIG_HOME/skydht/config.json, if there].
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory with key, API token and known peers [default: $XDG_STATE_HOME/skydht].
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// What to log on stderr: off, error, warn, info, debug, trace, or target=level,…
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Keygen(Keygen),
    Run(Run),
    Put(Put),
    Get(Get),
    Peers(Peers),
    Status(Status),
    Ping(Ping),
    #[command(subcommand)]
    Config(ConfigCommand),
    Demo(Demo),
    #[command(subcommand)]
    Bench(Bench),
    Replay(Replay),
    Sim(Sim),
    /// Upstream's word; says what replaces it.
    #[command(hide = true)]
    FullNode(Upstream),
    /// Upstream's word; says what replaces it.
    #[command(hide = true)]
    Sync(Upstream),
    /// Upstream's word; says what replaces it.
    #[command(hide = true)]
    List(Upstream),
    /// Upstream's word; says what replaces it.
    #[command(hide = true)]
    Reconcile(Upstream),
}

/// Anything, for words that are answered with a message.
#[derive(Args, Debug)]
pub(crate) struct Upstream {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    pub(crate) words: Vec<String>,
}

/// Make a key and print its public half.
///
/// The secret half goes to a new file with mode 0600 and nowhere else. An existing file is
/// never overwritten.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht keygen                      the key that `skydht run` will use
  skydht keygen alice.key            another one
  skydht get --key-file alice.key self --salt greeting")]
pub(crate) struct Keygen {
    /// Where to write the secret key [default: node.key in the state directory].
    pub(crate) file: Option<PathBuf>,
}

/// Run a node until it is told to stop.
///
/// It needs no configuration: a key is made, and peers that were met before are met again. The
/// first SIGINT or SIGTERM, or `POST /shutdown`, ends it cleanly; a second signal at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht run
  skydht run --listen 127.0.0.1:0 --api-listen 127.0.0.1:0 --state-dir /tmp/a
  skydht run --bootstrap 02ab…c1@192.0.2.7:7470 --full-node
  skydht run --journal run.journal --journal-limit 1GiB
  skydht --config /etc/skydht.json run --log info,skydht=debug")]
pub(crate) struct Run {
    /// The address that peers dial, IP:PORT; port 0 takes any free one [default: 0.0.0.0:7470].
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) listen: Option<SocketAddr>,
    /// What peers are told to dial: auto, none, or IP:PORT [default: auto].
    #[arg(long, value_name = "WHAT")]
    pub(crate) advertise: Option<String>,
    /// A peer to start from, besides those configured; may be repeated.
    #[arg(long, value_name = "PK@HOST:PORT")]
    pub(crate) bootstrap: Vec<PeerAddress>,
    /// The file with the secret key [default: node.key in the state directory].
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Store every item, whatever its distance.
    #[arg(long)]
    pub(crate) full_node: bool,
    /// The control API's address, or "off" [default: 127.0.0.1:7471].
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) api_listen: Option<String>,
    /// Record everything that happens to the node, for `skydht replay`.
    ///
    /// The file holds no secret key, but all that peers sent and all addresses. The two runs
    /// before this one are kept as FILE.1 and FILE.2.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Record the first SIZE of each run: a journal replays from its node's start only.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = LIMIT, requires = "journal")]
    pub(crate) journal_limit: u64,
}

/// Repeat a recorded run, step by step, and compare each with what was recorded.
///
/// Exit status 0 means that every step was the same to the last bit; 1 names the first that was
/// not, or where the file is damaged.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht replay run.journal
  skydht replay run.journal --until 1200 --explain
  skydht replay run.journal --trace-op 3 --svg op3.svg
  skydht replay run.journal --json | jq .digest")]
pub(crate) struct Replay {
    /// The journal.
    pub(crate) file: PathBuf,
    /// Stop after step N; the first is 0.
    #[arg(long, value_name = "N")]
    pub(crate) until: Option<u64>,
    /// Show that step's input, outputs and deadline, and the node's state after it.
    #[arg(long, requires = "until")]
    pub(crate) explain: bool,
    /// Show the course of one operation: who was asked, who answered what, and when.
    #[arg(long, value_name = "N", conflicts_with = "until")]
    pub(crate) trace_op: Option<u64>,
    /// Draw it, too.
    #[arg(long, value_name = "FILE", requires = "trace_op")]
    pub(crate) svg: Option<PathBuf>,
}

/// How a command reaches the network.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Reach {
    /// The control API of a running node [default: the one that runs on the state directory].
    #[arg(long, value_name = "URL", help_heading = "Through a running node")]
    pub(crate) api: Option<String>,
    /// The file with that API's token [default: api.token in the state directory].
    #[arg(long, value_name = "FILE", help_heading = "Through a running node")]
    pub(crate) token_file: Option<PathBuf>,
    /// Join here for this one operation, serving nothing, and leave; may be repeated.
    #[arg(
        long,
        value_name = "PK@HOST:PORT",
        conflicts_with_all = ["api", "token_file"],
        help_heading = "Without a running node"
    )]
    pub(crate) bootstrap: Vec<PeerAddress>,
    /// Whose key to use, with --bootstrap [default: node.key in the state directory].
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
/// The value is the argument, a file, or stdin. The sequence number takes care of itself.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht put hello --salt greeting
  date | skydht put - --salt clock --min-replicas 10
  skydht put --file entry.json --salt dmsg --expect 1767225600000000000
  skydht put --delete --salt greeting
  skydht put hello --bootstrap 02ab…c1@192.0.2.7:7470 --key-file alice.key")]
pub(crate) struct Put {
    /// The value; - reads stdin.
    #[arg(required_unless_present_any = ["file", "delete"], conflicts_with_all = ["file", "delete"])]
    pub(crate) value: Option<String>,
    /// Which of the key's items (upstream's order of words).
    #[arg(value_name = "SALT", conflicts_with = "salt")]
    pub(crate) salt_word: Option<String>,
    /// Which of the key's items [default: the one without salt].
    #[arg(long, value_name = "SALT")]
    pub(crate) salt: Option<String>,
    /// Read the value from a file.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Delete the item: publish a signed empty value.
    #[arg(long, conflicts_with = "file")]
    pub(crate) delete: bool,
    /// This sequence number rather than the next one.
    #[arg(long, value_name = "N")]
    pub(crate) seq: Option<u64>,
    /// Only if this sequence is the one held; 0: only if nothing is held.
    #[arg(long, value_name = "N")]
    pub(crate) expect: Option<u64>,
    /// Fail with status 5 if fewer peers take it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) min_replicas: u16,
    /// Allow a sequence number more than a day ahead of the clock.
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not renew it: it dies when its life ends.
    #[arg(long)]
    pub(crate) once: bool,
    /// How long it may take, such as 10s.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Whose item to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// The node's own.
    Myself,
    /// This key's.
    Key(PublicKey),
    /// Whoever's item lies there.
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

/// Reads "freshest", "quorum:N", "first" or "local".
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

/// Read an item: its value on stdout, where it came from on stderr.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht get self --salt greeting
  skydht get 02ab…c1 dmsg
  skydht get 02ab…c1 --policy quorum:5 --json
  skydht get 02ab…c1 --bootstrap 03cd…e2@192.0.2.7:7470 --policy first

Policies: freshest asks the 20 nearest peers; quorum:N stops when N agree on the newest;
first takes the first valid value; local asks nobody.")]
pub(crate) struct Get {
    /// A public key, `self`, or a target.
    #[arg(value_name = "PK")]
    pub(crate) owner: Owner,
    /// Which of the key's items (upstream's order of words).
    #[arg(value_name = "SALT", conflicts_with = "salt")]
    pub(crate) salt_word: Option<String>,
    /// Which of the key's items [default: the one without salt].
    #[arg(long, value_name = "SALT")]
    pub(crate) salt: Option<String>,
    /// When to be content: freshest, quorum:N, first, local.
    #[arg(long, value_parser = policy_text, default_value = "freshest")]
    pub(crate) policy: String,
    /// Return mirrors of keys that are not configured, too.
    #[arg(long)]
    pub(crate) unknown_mirrors: bool,
    /// How long it may take, such as 10s.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

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
  skydht status --json | jq .verdict")]
pub(crate) struct Status {
    /// Show every limit: used, allowed, how often it was hit.
    #[arg(long)]
    pub(crate) limits: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Ask one peer for a sign of life, and say which way it took.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht ping 02ab…c1
  skydht ping 02ab…c1 --addr 192.0.2.7:7470")]
pub(crate) struct Ping {
    /// Whom.
    #[arg(value_name = "PK", value_parser = parse_public)]
    pub(crate) peer: PublicKey,
    /// Where to dial, if there is no connection.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) addr: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Make, check or show the configuration.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  skydht config init --full-node
  skydht config check
  skydht config show --effective
  skydht config keys")]
pub(crate) enum ConfigCommand {
    /// Write a configuration file and a key, and say what comes next.
    #[command(after_help = "\
Examples:
  skydht config init
  skydht config init --full-node --bootstrap 02ab…c1@192.0.2.7:7470 --config ./skydht.json")]
    Init {
        /// Store every item, whatever its distance.
        #[arg(long)]
        full_node: bool,
        /// A peer to start from; may be repeated.
        #[arg(long, value_name = "PK@HOST:PORT")]
        bootstrap: Vec<PeerAddress>,
    },
    /// Read the configuration as `run` would, and say what is wrong with it.
    #[command(after_help = "\
Examples:
  skydht config check
  skydht config check --config ./skydht.json && systemctl restart skydht")]
    Check,
    /// Show what is set, or everything that is in force.
    #[command(after_help = "\
Examples:
  skydht config show
  skydht config show --effective
  skydht config show --effective --json | jq '.settings[] | select(.source != \"default\")'")]
    Show {
        /// Defaults too.
        #[arg(long)]
        effective: bool,
    },
    /// List every key, its variable and what it means.
    #[command(after_help = "\
Examples:
  skydht config keys
  skydht config keys --json | jq -r '.keys[].variable'")]
    Keys,
}

/// A whole network in this process: publish, read, update, delete, lose a quarter, read again.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht demo
  skydht demo --nodes 200 --json
  skydht demo --stay               keep it up, to try the other commands on it

It uses real TCP connections on this machine's loopback address and touches nothing else.
Exit status 0 means that nothing was lost.")]
pub(crate) struct Demo {
    /// How many nodes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(3..=2000))]
    pub(crate) nodes: u16,
    /// How many items.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) items: u16,
    /// Keep the network up afterwards, with a control API on its first node.
    #[arg(long)]
    pub(crate) stay: bool,
    /// The control API's address, with --stay; port 0 takes any free one.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:0",
        requires = "stay"
    )]
    pub(crate) api_listen: SocketAddr,
}

/// Simulate networks of hundreds or thousands of nodes in virtual time, and judge them.
///
/// A run is a function of the scenario and the seed: the same digest on every machine. Exit
/// status 0 means that every invariant held and every figure was as the scenario wants it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht sim --list
  skydht sim --scenario swarm --seed 7
  skydht sim --scenario my.toml --nodes 1000 --set chaos.dead=0.2 --out results/
  skydht sim --scenario swarm --seeds 100 --coverage
  skydht sim --scenario swarm --sweep dead=0,0.1,0.2 --model ours,upstream --seeds 8 --out results/
  skydht sim --compare results/a results/b

--set, --sweep: a setting of the scenario's file, such as population.nodes, or its last word.
--out writes run.json or runs.json, summary.csv, drawings as SVG with their numbers as CSV, and
repro.sh.")]
pub(crate) struct Sim {
    /// Say which scenarios there are.
    #[arg(long, conflicts_with_all = ["scenario", "compare"])]
    pub(crate) list: bool,
    /// One of the list, or a file.
    #[arg(long, value_name = "NAME|FILE", required_unless_present_any = ["list", "compare"])]
    pub(crate) scenario: Option<String>,
    /// Where all randomness comes from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Run with so many seeds, one after the other from --seed on.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: u64,
    /// How many nodes, rather than what the scenario says.
    #[arg(long, value_name = "N")]
    pub(crate) nodes: Option<u32>,
    /// Change a setting; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Run with each of these values; may be repeated, for all combinations.
    #[arg(long, value_name = "KEY=A,B,C")]
    pub(crate) sweep: Vec<Sweep>,
    /// Run with these nodes: ours, upstream (a model of the Go ones), mixed.
    #[arg(long, value_name = "A,B")]
    pub(crate) model: Option<String>,
    /// Write results and drawings into this directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Runs at the same time [default: one a core].
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Fail unless what the scenario wants to have happened did, over all runs together.
    #[arg(long)]
    pub(crate) coverage: bool,
    /// Show how two results of --out differ.
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with = "scenario")]
    pub(crate) compare: Vec<PathBuf>,
}

/// Measure.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  skydht bench network --nodes 100 --ops 300 --concurrency 16 --json")]
pub(crate) enum Bench {
    Network(BenchNetwork),
}

/// Puts and gets over a network of nodes in this process, on loopback TCP.
///
/// Each operation starts at the next node in turn; values have 500 bytes.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  skydht bench network
  skydht bench network --nodes 100 --ops 300 --concurrency 1 --json")]
pub(crate) struct BenchNetwork {
    /// How many nodes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=2000))]
    pub(crate) nodes: u16,
    /// How many operations of each kind.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) ops: u32,
    /// How many at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) concurrency: u16,
    /// Bytes in a value.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) value_bytes: u32,
    /// What keys and values are made from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}
