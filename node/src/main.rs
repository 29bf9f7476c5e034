//! The skydht program: run, use and measure a node of Skywire's DHT.

#![allow(
    dead_code,
    clippy::large_enum_variant,
    reason = "the commands that use the rest come next"
)]

mod cli;
mod commands;
mod config;
mod exit;
mod failure;
mod keys;
mod logging;
mod output;
mod private_file;
mod report;
mod verdict;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use cli::{Cli, Command, Upstream};
use commands::upstream::Word;
use exit::Exit;
use failure::{Code, Failure};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error).into(),
    };
    let json = cli.common.json;
    match dispatch(cli) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => report(&failure, json).into(),
    }
}

fn dispatch(cli: Cli) -> failure::Result<()> {
    let common = &cli.common;
    let upstream = |word, Upstream { words }| Err(commands::upstream::answer(word, &words));
    match cli.command {
        Command::Keygen(args) => commands::keygen::run(common, args),
        Command::Config(command) => commands::config::run(common, command),
        Command::FullNode(rest) => upstream(Word::FullNode, rest),
        Command::Sync(rest) => upstream(Word::Sync, rest),
        Command::List(rest) => upstream(Word::List, rest),
        Command::Reconcile(rest) => upstream(Word::Reconcile, rest),
    }
}

/// Help and versions go to stdout, wrong command lines are a failure like any other.
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
    // The command line could not be read, so that this flag must be looked for by hand.
    if std::env::args_os().skip(1).any(|word| word == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        return report(
            &Failure::new(Code::Usage, message).hint("see `skydht --help`"),
            true,
        );
    }
    output::talk(error.to_string().trim_end());
    Exit::Usage
}

fn report(failure: &Failure, json: bool) -> Exit {
    if json {
        // When stdout is gone, only the exit status is left to tell.
        let _ = output::json(failure);
    } else {
        output::talk(format_args!("error: {failure}"));
    }
    failure.code.exit()
}
