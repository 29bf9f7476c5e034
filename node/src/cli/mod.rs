//! The command line. Every command's help ends in examples.

mod diff;
mod dmsg;
mod found;
mod full;
mod gateway;
mod items;
mod looks;
mod mirror;
mod mix;
mod node;
mod own;
mod reference;
mod register;
mod store;
mod trials;
mod upstream;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::color::Color;
pub(crate) use diff::{DiffArgs, DiffSalt};
pub(crate) use dmsg::{DmsgDiscoveryArgs, DmsgServerArgs};
pub(crate) use found::{ServicesArgs, TransportsArgs};
pub(crate) use full::{FullNode, List, Switch, Sync, parse_prefix};
pub(crate) use gateway::GatewayArgs;
pub(crate) use items::{Get, Owner, Put, Reach, parse_policy};
pub(crate) use looks::{Doctor, Peers, Ping, PingTarget, Status, Top};
pub(crate) use mirror::MirrorArgs;
pub(crate) use mix::{Ask, Mix};
pub(crate) use node::{ConfigCommand, Keygen, Run};
pub(crate) use own::{Bundle, Delete, Ls, Stop, Ui, Verify};
pub(crate) use reference::{Completions, Man};
pub(crate) use register::RegisterArgs;
pub(crate) use store::Store;
pub(crate) use trials::{
    Bench, BenchAbuse, BenchAttacker, BenchGateway, BenchNetwork, BenchServe, BenchStore,
    BenchSync, Demo, DemoTransport, LoadTransport, Replay, Sim, StoreBackend,
};
pub(crate) use upstream::{Dht, SkywireCli, Visor};
pub(crate) use watch::Watch;

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
    /// Returns whether stdout gets JSON. The flag may also stand among the words of an unknown or
    /// an upstream command.
    pub(crate) fn wants_json(&self) -> bool {
        self.common.json
            || match &self.command {
                Command::Other(words)
                | Command::Dht(Dht::Other(words))
                | Command::Visor(Visor::Dht(Dht::Other(words)))
                | Command::Cli(SkywireCli::Visor(Visor::Dht(Dht::Other(words)))) => {
                    words.iter().any(|word| word == "--json")
                }
                _ => false,
            }
    }
}

/// Options of every command.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Of every command")]
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
    /// Where to use colours; auto: on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: Color,
}

/// A command of the program.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Keygen(Keygen),
    Run(Run),
    Stop(Stop),
    Put(Put),
    Get(Get),
    Watch(Watch),
    Ls(Ls),
    Verify(Verify),
    Delete(Delete),
    List(List),
    Register(RegisterArgs),
    Diff(DiffArgs),
    Services(ServicesArgs),
    Transports(TransportsArgs),
    FullNode(FullNode),
    Sync(Sync),
    Peers(Peers),
    Status(Status),
    Doctor(Doctor),
    Top(Top),
    Ui(Ui),
    Bundle(Bundle),
    Ping(Ping),
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(subcommand)]
    Store(Store),
    Gateway(GatewayArgs),
    Mirror(MirrorArgs),
    DmsgServer(DmsgServerArgs),
    DmsgDiscovery(DmsgDiscoveryArgs),
    Demo(Demo),
    #[command(subcommand)]
    Bench(Bench),
    Replay(Replay),
    Sim(Sim),
    Completions(Completions),
    Man(Man),
    /// Print the program's version.
    #[command(after_help = "\
Examples:
  skydht version
  skydht version --json | jq -r .version")]
    Version,
    /// Upstream's `skywire cli visor dht …`, in short.
    #[command(subcommand, hide = true)]
    Dht(Dht),
    /// Upstream's `skywire cli visor …`.
    #[command(subcommand, hide = true)]
    Visor(Visor),
    /// Upstream's `skywire cli …`.
    #[command(subcommand, hide = true)]
    Cli(SkywireCli),
    /// A word that is not a command.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}
