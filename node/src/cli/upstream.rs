//! Commands in the spelling of `skywire cli visor dht`.

use std::ffi::OsString;

use clap::Subcommand;

use super::full::{FullNode, List, Sync};
use super::items::{Get, Put};
use super::looks::{Peers, Status};

/// The commands of `skywire cli` that concern the DHT.
#[derive(Subcommand, Debug)]
pub(crate) enum SkywireCli {
    /// A visor's commands.
    #[command(subcommand)]
    Visor(Visor),
}

/// The commands of `skywire cli visor` that concern the DHT.
#[derive(Subcommand, Debug)]
pub(crate) enum Visor {
    /// The DHT's commands.
    #[command(subcommand)]
    Dht(Dht),
}

/// The commands of `skywire cli visor dht`.
#[derive(Subcommand, Debug)]
pub(crate) enum Dht {
    Status(Status),
    Get(Get),
    Put(Put),
    Peers(Peers),
    List(List),
    FullNode(FullNode),
    Sync(Sync),
    /// An unknown command, or one that is spelled differently here.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}
