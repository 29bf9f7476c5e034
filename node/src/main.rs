//! The skydht program: run, use and measure a node of Skywire's DHT.

mod access;
mod api;
mod bootstrap;
mod cli;
mod clock;
mod color;
mod commands;
mod condition;
mod config;
mod descriptors;
mod dmsg;
mod doctor;
mod exit;
mod failure;
mod http;
mod journal;
mod keys;
mod known_peers;
mod lapsed;
mod large_pages;
mod local;
mod logging;
mod measure;
mod metrics;
mod mirror;
mod names;
mod network;
mod operation_failure;
mod output;
mod path_text;
mod printable;
mod private_file;
mod progress;
mod read_trace;
mod recent;
mod record_index;
mod registering;
mod report;
mod resume;
mod signals;
mod start;
mod state_dir;
mod status;
mod storage;
mod supervisor;
mod tar;
mod tasks;
mod temporary_dir;
mod ui;
mod verdict;
mod verify;
mod watch;
mod window;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use cli::{Cli, Command, Common, Dht, SkywireCli, Visor};
use exit::Exit;
use failure::{Code, Failure};

#[cfg(all(feature = "jemalloc", not(feature = "count-allocations")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            color::choose(color::wanted_by(std::env::args_os().skip(1)));
            return refuse(&error).into();
        }
    };
    color::choose(cli.common.color);
    let json = cli.wants_json();
    match signals::survive_file_size_limit().and_then(|()| dispatch(cli)) {
        Ok(exit) => exit.into(),
        Err(failure) => report(&failure, json).into(),
    }
}

fn dispatch(cli: Cli) -> failure::Result<Exit> {
    let common = &cli.common;
    match cli.command {
        Command::Keygen(args) => commands::keygen::run(common, args),
        Command::Config(command) => wait_for(commands::config::run(common, command)),
        Command::Run(args) => wait_for(commands::run::run(common, args)),
        Command::Put(args) => wait_for(commands::put::run(common, args)),
        Command::Get(args) => wait_for(commands::get::run(common, args)),
        Command::Watch(args) => wait_for(commands::watch::run(common, args)),
        Command::Peers(args) => wait_for(commands::peers::run(common, args)),
        Command::Status(args) => wait_for(commands::status::run(common, args)),
        Command::Doctor(args) => wait_for(commands::doctor::run(common, &args)),
        Command::Ping(args) => wait_for(commands::status::ping(common, args)),
        Command::Register(args) => wait_for(commands::register::run(common, args)),
        Command::Diff(args) => wait_for(commands::diff::run(common, args)),
        Command::Services(args) => wait_for(commands::found::services(common, args)),
        Command::Transports(args) => wait_for(commands::found::transports(common, args)),
        Command::Gateway(args) => wait_for(commands::gateway::run(common, args)),
        Command::Mirror(args) => wait_for(commands::mirror::run(common, args)),
        Command::DmsgServer(args) => wait_for(commands::dmsg_server::run(common, args)),
        Command::DmsgDiscovery(args) => wait_for(commands::dmsg_discovery::run(common, args)),
        Command::Demo(args) => wait_for(commands::demo::run(common, args)),
        Command::Bench(args) => wait_for(commands::bench::run(common, args)),
        Command::Replay(args) => commands::replay::run(common, &args),
        Command::Sim(args) => commands::sim::run(common, &args),
        Command::Store(command) => commands::store::run(common, command),
        Command::Completions(args) => commands::completions::run(common, &args),
        Command::Man(args) => commands::man::run(common, &args),
        Command::Version => commands::version::run(common),
        Command::Stop(args) => wait_for(commands::stop::run(common, args)),
        Command::Ls(args) => wait_for(commands::ls::run(common, args)),
        Command::Bundle(args) => wait_for(commands::bundle::run(common, args)),
        Command::Top(args) => wait_for(commands::top::run(common, args)),
        Command::Ui(args) => wait_for(commands::ui::run(common, args)),
        Command::Verify(args) => wait_for(commands::verify::run(common, args)),
        Command::Delete(args) => wait_for(commands::delete::run(common, args)),
        Command::List(args) => wait_for(commands::list::run(common, args)),
        Command::FullNode(args) => wait_for(commands::full_node::run(common, args)),
        Command::Sync(args) => wait_for(commands::sync::run(common, args)),
        Command::Dht(words)
        | Command::Visor(Visor::Dht(words))
        | Command::Cli(SkywireCli::Visor(Visor::Dht(words))) => dispatch_dht(common, words),
        Command::Other(words) => Err(commands::upstream::answer(&words, None)),
    }
}

/// Runs a command in the spelling of `skywire cli visor dht`.
fn dispatch_dht(common: &Common, words: Dht) -> failure::Result<Exit> {
    match words {
        Dht::Status(args) => wait_for(commands::status::run(common, args)),
        Dht::Get(args) => wait_for(commands::get::run(common, args)),
        Dht::Put(args) => wait_for(commands::put::run(common, args)),
        Dht::Peers(args) => wait_for(commands::peers::run(common, args)),
        Dht::List(args) => wait_for(commands::list::run(common, args)),
        Dht::FullNode(args) => wait_for(commands::full_node::run(common, args)),
        Dht::Sync(args) => wait_for(commands::sync::run(common, args)),
        Dht::Other(words) => Err(commands::upstream::answer(&words, Some("dht"))),
    }
}

/// Runs a command on a tokio runtime.
fn wait_for(command: impl Future<Output = failure::Result<Exit>>) -> failure::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(Code::Local, format_args!("cannot start threads: {error}"))
        })?;
    let result = runtime.block_on(command);
    // A host name that is still being resolved must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// Prints help and versions to stdout; wrong command lines are reported as failures.
fn refuse(error: &clap::Error) -> Exit {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return match output::data(error.to_string().as_bytes()) {
            Ok(()) => Exit::Ok,
            Err(_) => Exit::Local,
        };
    }
    // The parser failed, so that this flag is searched for directly.
    if std::env::args_os().skip(1).any(|word| word == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        return report(
            &Failure::new(Code::Usage, message).hint("see `skydht --help`"),
            true,
        );
    }
    let text = error.to_string();
    let text = match negative(error) {
        // clap would suggest passing the number after `--`, which no command accepts.
        Some(number) => format!("error: unexpected {number}: nothing here takes a negative number"),
        None => text.trim_end().to_owned(),
    };
    match text.strip_prefix("error: ") {
        Some(message) => output::error(message),
        // The help of a command that lacks its subcommand.
        None => output::talk(text),
    }
    Exit::Usage
}

/// Returns the negative number that clap took for an unknown option.
fn negative(error: &clap::Error) -> Option<&str> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_number = error.kind() == ErrorKind::UnknownArgument && word.parse::<f64>().is_ok();
    is_number.then_some(word.as_str())
}

fn report(failure: &Failure, json: bool) -> Exit {
    if json {
        // If stdout is closed, only the exit status remains.
        let _ = output::json(failure);
    } else {
        output::error(failure);
    }
    failure.code.exit()
}

/// Returns 32 bytes of the system's randomness.
fn random_bytes() -> failure::Result<[u8; 32]> {
    skydht_tokio::entropy().map_err(|error| {
        Failure::new(
            Code::Local,
            format_args!("the system gives no randomness: {error}"),
        )
    })
}
