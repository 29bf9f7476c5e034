//! Networks of rust-libp2p's Kademlia and of mainline, measured as `skydht bench network` measures
//! ours: the same warm-up, the same order of operations, the same names in the JSON.

mod bench;
mod libp2p;
mod mainline;
mod measure;
mod report;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What went wrong, for the user.
type Result<T> = std::result::Result<T, String>;

/// Measures networks of other libraries as `skydht bench network` measures ours.
///
/// All nodes are in this process and on loopback. The exit status is 1 when an operation fails.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// rust-libp2p: Kademlia over TCP, Noise and yamux, with values that are not signed.
    Libp2p(Bench),
    /// mainline: BitTorrent's DHT over UDP, with mutable signed items (BEP 44).
    Mainline(Bench),
    /// Prints the medians of reports in JSON, `skydht bench network`'s first, as Markdown.
    Table {
        /// Files with one report each.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// What is measured; the names are those of `skydht bench network`.
#[derive(Args, Clone)]
struct Bench {
    /// How many nodes.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=2000))]
    nodes: u16,
    /// How many operations of each kind.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    ops: u32,
    /// How many concurrently.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// Bytes in a value.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1000))]
    value_bytes: u32,
    /// Operations of each kind that are done before and not measured.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    warm_up: u32,
    /// What keys and values are made from; mainline draws its nodes' ids itself.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many holders must acknowledge before a put of libp2p's returns.
    #[arg(long, default_value = "one")]
    quorum: Quorum,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Both store at the 20 nearest.
#[derive(Clone, Copy, ValueEnum)]
enum Quorum {
    /// The first; the others acknowledge later.
    One,
    /// All 20, or all others of a smaller network.
    All,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    match command {
        Command::Libp2p(args) => runtime.block_on(bench::run::<libp2p::Network>(args)),
        Command::Mainline(args) => runtime.block_on(bench::run::<mainline::Network>(args)),
        Command::Table { files } => {
            print!("{}", table::of_files(&files)?);
            Ok(())
        }
    }
}
