//! `skydht bench`: benchmarks.

mod abuse;
mod gateway;
mod network;
mod process;
mod provenance;
mod serve;
mod sockets;
mod store;
mod sync;
mod usage;

use crate::cli::{Bench, Common};
use crate::exit::Exit;
use crate::failure::Result;

/// Runs a benchmark.
pub(crate) async fn run(common: &Common, bench: Bench) -> Result<Exit> {
    match bench {
        Bench::Network(args) => network::run(common, args).await,
        Bench::Serve(args) => serve::run(common, args).await,
        Bench::Abuse(args) => abuse::run(common, &args).await,
        Bench::Store(args) => store::run(common, &args),
        Bench::Gateway(args) => gateway::run(common, &args).await,
        Bench::Sync(args) => sync::run(common, &args).await,
        Bench::Attacker(args) => abuse::attack(&args).await,
    }
}
