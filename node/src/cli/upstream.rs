//! Commands as users of `skywire cli visor dht` type them.

use std::ffi::OsString;

use clap::Subcommand;

use super::full::{FullNode, List, Sync};
use super::items::{Get, Put};
use super::looks::{Peers, Status};

/// What `skywire cli` has, as far as it is about the DHT.
#[derive(Subcommand, Debug)]
pub(crate) enum SkywireCli {
    /// A visor's commands.
    #[command(subcommand)]
    Visor(Visor),
}

/// What `skywire cli visor` has, as far as it is about the DHT.
#[derive(Subcommand, Debug)]
pub(crate) enum Visor {
    /// The DHT's commands.
    #[command(subcommand)]
    Dht(Dht),
}

/// What `skywire cli visor dht` has.
#[derive(Subcommand, Debug)]
pub(crate) enum Dht {
    Status(Status),
    Get(Get),
    Put(Put),
    Peers(Peers),
    List(List),
    FullNode(FullNode),
    Sync(Sync),
    /// A word that has another command here, or none yet.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}
