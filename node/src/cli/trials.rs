//! Demonstration, benchmarks, simulation and replay.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use skydht_core::key::PublicKey;
use skydht_sim::figures::Sweep;

use super::mix::Mix;
use crate::config::parse_timeout;

/// Repeat a recorded run, step by step, and compare each step with the record.
///
/// Exit status 0 means that every step was identical; 1 names the first that differed, or the place
/// where the file is damaged.
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
    /// Show the calls of one operation: peers, answers, and times.
    #[arg(long, value_name = "N", conflicts_with = "until")]
    pub(crate) trace_op: Option<u64>,
    /// Draw it into this file.
    #[arg(long, value_name = "FILE", requires = "trace_op")]
    pub(crate) svg: Option<PathBuf>,
}

/// How the demo's nodes reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum DemoTransport {
    /// Over a discovery and two DMSG servers of its own; one of them is killed.
    Dmsg,
    /// Directly; a quarter of the nodes is stopped.
    Tcp,
}

/// A whole network in this process: publish, read, update, delete, kill a relay, read again.
///
/// A DMSG discovery, two DMSG servers that are full nodes of the DHT, and 60 nodes that reach each
/// other only through them.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht demo
  skydht demo --nodes 200 --json
  skydht demo --transport tcp      without DMSG; stops a quarter of the nodes instead
  skydht demo --stay               keep it up, to try the other commands on it

It uses real TCP connections on this machine's loopback address and touches nothing else.
Exit status 0 means that nothing was lost.")]
pub(crate) struct Demo {
    /// Number of nodes.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(3..=2000), help_heading = "The network")]
    pub(crate) nodes: u16,
    /// How they reach each other.
    #[arg(long, value_enum, default_value_t = DemoTransport::Dmsg, help_heading = "The network")]
    pub(crate) transport: DemoTransport,
    /// Number of items.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=10_000), help_heading = "The network")]
    pub(crate) items: u16,
    /// Keep the network up afterwards, with a control API on its first node.
    #[arg(long, help_heading = "Afterwards")]
    pub(crate) stay: bool,
    /// The control API's address, with --stay; port 0 takes any free one.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:0",
        requires = "stay",
        help_heading = "Afterwards"
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
    /// List the scenarios.
    #[arg(long, conflicts_with_all = ["scenario", "compare"], help_heading = "What to run")]
    pub(crate) list: bool,
    /// A name of the list, or a file.
    #[arg(long, value_name = "NAME|FILE", required_unless_present_any = ["list", "compare"], help_heading = "What to run")]
    pub(crate) scenario: Option<String>,
    /// Seed of all randomness.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "What to run"
    )]
    pub(crate) seed: u64,
    /// Number of seeds to run, from --seed upwards.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), help_heading = "What to run")]
    pub(crate) seeds: u64,
    /// Number of nodes, instead of the scenario's.
    #[arg(long, value_name = "N", help_heading = "What to run")]
    pub(crate) nodes: Option<u32>,
    /// Change a setting; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", help_heading = "What to run")]
    pub(crate) set: Vec<String>,
    /// Run with each of these values; may be repeated, for all combinations.
    #[arg(long, value_name = "KEY=A,B,C", help_heading = "What to run")]
    pub(crate) sweep: Vec<Sweep>,
    /// Models of the nodes to run: ours, upstream (a model of the Go ones), mixed.
    #[arg(long, value_name = "A,B", help_heading = "What to run")]
    pub(crate) model: Option<String>,
    /// Write results and drawings into this directory.
    #[arg(long, value_name = "DIR", help_heading = "What to make of it")]
    pub(crate) out: Option<PathBuf>,
    /// Concurrent runs [default: one per core].
    #[arg(long, value_name = "N", help_heading = "What to run")]
    pub(crate) jobs: Option<NonZero<usize>>,
    /// Measure the memory per node, too, one run after the other. This figure differs between
    /// machines.
    #[arg(long, conflicts_with = "jobs", help_heading = "What to make of it")]
    pub(crate) memory: bool,
    /// Fail unless what the scenario wants to have happened did, over all runs together.
    #[arg(long, help_heading = "What to make of it")]
    pub(crate) coverage: bool,
    /// Show how two results of --out differ.
    #[arg(long, value_names = ["A", "B"], num_args = 2, conflicts_with = "scenario", help_heading = "What to make of it")]
    pub(crate) compare: Vec<PathBuf>,
}

/// Run a benchmark.
#[derive(Subcommand, Debug)]
#[command(after_help = "\
Examples:
  skydht bench network --nodes 100 --ops 300 --concurrency 16 --json
  skydht bench serve --duration 5s --samples 3
  skydht bench abuse --attack half-sent --seconds 10")]
pub(crate) enum Bench {
    Network(BenchNetwork),
    Serve(BenchServe),
    Abuse(BenchAbuse),
    Store(BenchStore),
    Sync(BenchSync),
    Gateway(BenchGateway),
    /// The attacker's process of `bench abuse`.
    #[command(hide = true)]
    Attacker(BenchAttacker),
}

/// Let visors register at a gateway again and again, and measure how it keeps up.
///
/// The gateway and three nodes run in processes of their own. Each registration is signed, on a
/// connection of its own, at an even pace; its time runs from when it was due. Exit status 0 means
/// that all were taken, 5 that some were not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht bench gateway
  skydht bench gateway --registrations 50000 --seconds 90 --changed 1 --json")]
pub(crate) struct BenchGateway {
    /// Total number of registrations.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) registrations: u32,
    /// Duration over which they are spread, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=3_600))]
    pub(crate) seconds: u16,
    /// Share of registrations that change something.
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) changed: u8,
    /// Number of visors that register in turn.
    #[arg(long, value_name = "N", default_value_t = 1_400, value_parser = clap::value_parser!(u16).range(5..=10_000))]
    pub(crate) visors: u16,
    /// Seed of all randomness.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Attack a full node on loopback, and measure what a good client notices.
///
/// For each attack a node is started in a process of its own, a good client pings, puts and gets
/// at a steady rate before, during and after the attack, and the attacker runs in a third process.
/// Exit status 0 means that every goal was met, 5 that some were not.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht bench abuse
  skydht bench abuse --attack junk --seconds 5     every attack whose name begins so
  skydht bench abuse --list
  skydht bench abuse --json | jq '.attacks[] | {name, missed}'

It uses real TCP connections on this machine's loopback address and touches nothing else. All
three processes share the machine: figures mean something where it has cores to spare, and with a
release build only.")]
pub(crate) struct BenchAbuse {
    /// List the attacks.
    #[arg(long)]
    pub(crate) list: bool,
    /// An attack, a prefix of several names, or "all"; may be repeated.
    #[arg(long, value_name = "NAME", default_value = "all")]
    pub(crate) attack: Vec<String>,
    /// How long each attack lasts, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    pub(crate) seconds: u16,
}

/// Arguments of the attacker's process.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht bench abuse --attack half-sent     starts it")]
pub(crate) struct BenchAttacker {
    /// Name of the attack.
    pub(crate) attack: String,
    /// Key of the attacked node.
    pub(crate) key: PublicKey,
    /// Address at which the node listens for peers, on loopback.
    pub(crate) peers: SocketAddr,
    /// Address of its control API, on loopback.
    pub(crate) api: SocketAddr,
    /// Maximum duration, in seconds.
    pub(crate) seconds: u16,
}

/// Puts and gets over a network of nodes in this process, on loopback TCP.
///
/// Each operation starts at the next node in turn. Before anything is measured, all nodes have
/// sessions with each other where the number of open files allows it, and some operations are done.
/// Processor time is that of the whole process: of all nodes that take part in an operation.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  skydht bench network
  skydht bench network --nodes 100 --ops 300 --concurrency 1 --json
  skydht bench network --nodes 100 --ops 1000 --concurrency 16 --samples 3

Allocations are counted by a program built with --features count-allocations, and only there.")]
pub(crate) struct BenchNetwork {
    /// Number of nodes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=2000), help_heading = "The network")]
    pub(crate) nodes: u16,
    /// Number of operations of each kind.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "What is measured")]
    pub(crate) ops: u32,
    /// Maximum number of concurrent operations.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096), help_heading = "What is measured")]
    pub(crate) concurrency: u16,
    /// Size of a value, in bytes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "The network")]
    pub(crate) value_bytes: u32,
    /// Number of measurements in the same network, each with fresh items; medians are shown.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100), help_heading = "What is measured")]
    pub(crate) samples: u16,
    /// Number of operations of each kind that run before the measurement.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000), help_heading = "What is measured")]
    pub(crate) warm_up: u32,
    /// Seed of keys and values.
    #[arg(long, default_value_t = 1, help_heading = "The network")]
    pub(crate) seed: u64,
}

/// How the load reaches the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LoadTransport {
    /// Over TCP, directly.
    Tcp,
    /// Through a DMSG server, which is a third process.
    Dmsg,
}

/// Load one full node in a process of its own, and measure requests per second, latencies, and the
/// node's cost per request.
///
/// The load comes from this process, over connections with a key each. Each connection has a number
/// of requests in flight, every one on its own stream, and sends the next when an answer arrives.
/// The node knows some peers, which it can name in answers, and stores items to be read.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  skydht bench serve                                 every request alone, then a mix
  skydht bench serve --mix get-value --connections 16 --in-flight 16
  skydht bench serve --mix find-node=4,get-value=4,put-new=1,renew=1 --duration 10s --samples 3
  skydht bench serve --transport dmsg --json

Requests: ping, find-node, get-value, put-new (an item that the node does not hold), put-renewed
(one that it holds, sent again), renew (the short request for the same).

By default the node has one processor for itself and the load the others, where there are
others.")]
pub(crate) struct BenchServe {
    /// How requests reach the node.
    #[arg(long, value_enum, default_value_t = LoadTransport::Tcp, help_heading = "Load")]
    pub(crate) transport: LoadTransport,
    /// Number of connections, each with its own key.
    #[arg(long, value_name = "K", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000), help_heading = "Load")]
    pub(crate) connections: u16,
    /// Number of requests in flight on each connection.
    #[arg(long, value_name = "D", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=32), help_heading = "Load")]
    pub(crate) in_flight: u16,
    /// Kinds of requests with their weights; may be repeated [default: each kind alone, then
    /// find-node=4,get-value=4,put-new=1,renew=1].
    #[arg(long, value_name = "REQUEST[=N],…", help_heading = "Load")]
    pub(crate) mix: Vec<Mix>,
    /// Duration of a sample; one with put-new ends earlier if its items are used up.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_timeout, help_heading = "Load")]
    pub(crate) duration: Duration,
    /// Duration of the load before the measurement.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_timeout, help_heading = "Load")]
    pub(crate) warm_up: Duration,
    /// Number of measurements; medians are shown.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100), help_heading = "Load")]
    pub(crate) samples: u16,
    /// Number of items that the node stores and that are read.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "The node")]
    pub(crate) items: u32,
    /// Number of items for put-new in each sample, signed before.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Load")]
    pub(crate) new_items: u32,
    /// Size of a value, in bytes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=65_536), help_heading = "Load")]
    pub(crate) value_bytes: u32,
    /// Number of peers that the node knows; they run in this process.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(0..=500), help_heading = "The node")]
    pub(crate) peers: u16,
    /// Number of processors reserved for the node; 0: node and load share all.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "The node")]
    pub(crate) node_processors: usize,
    /// Seed of keys, values and random choices.
    #[arg(long, default_value_t = 1, help_heading = "Load")]
    pub(crate) seed: u64,
}

/// Storage of the items.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum StoreBackend {
    /// The core's store alone.
    Memory,
    /// A file, as `skydht run` uses it.
    Redb,
    /// The Redis at --url.
    Redis,
}

impl StoreBackend {
    /// Returns the name used on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redb => "redb",
            Self::Redis => "redis",
        }
    }
}

/// Measure how a store keeps, finds, expires and restores many items, without checking signatures.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht bench store --backend memory --items 1000000
  skydht bench store --backend redb --items 1000000 --json | jq .puts_per_s
  skydht bench store --backend redis --url redis://127.0.0.1:6379/9 --items 100000

The file is made in the temporary directory and removed. In Redis the items expire after ten minutes.")]
pub(crate) struct BenchStore {
    /// Storage of the items.
    #[arg(long, value_enum, default_value_t = StoreBackend::Memory)]
    pub(crate) backend: StoreBackend,
    /// The Redis, whose database must be empty.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Number of items.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) items: u32,
    /// Size of a value, in bytes.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) value_bytes: u32,
    /// Seed of random choices.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Reconcile two full nodes in this process, over TCP on loopback, and count bytes and round trips.
///
/// Half of the differences are items that one node lacks, half are newer versions. Bytes are those
/// on the sockets, with encryption and framing. Exit status 0 means that both nodes stored the same
/// items afterwards.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht bench sync
  skydht bench sync --items 100000 --differences 100 --json | jq '{beyond_bytes, round_trips}'
  skydht bench sync --items 1000000 --differences 10

A million items take some 3 GB.")]
pub(crate) struct BenchSync {
    /// Number of items that both nodes have.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) items: u32,
    /// Number of items in which they differ.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) differences: u32,
    /// Size of a value, in bytes.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) value_bytes: u32,
    /// Recorded with the figures; nothing is random.
    #[arg(long, default_value_t = 1, hide = true)]
    pub(crate) seed: u64,
}
