//! `skydht completions`.

use clap::{Command, CommandFactory as _};
use serde_json::json;

use crate::cli::{Cli, Common, Completions};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Prints the completion script of a shell.
pub(crate) fn run(common: &Common, args: &Completions) -> Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut shown(&Cli::command()),
        "skydht",
        &mut script,
    );
    if common.json {
        output::json(&json!({
            "schema": "skydht.completions/1",
            "shell": args.shell.to_string(),
            "script": String::from_utf8_lossy(&script),
        }))?;
    } else {
        output::data(&script)?;
    }
    Ok(Exit::Ok)
}

/// Returns the command without its hidden parts: upstream's commands are accepted, but not
/// completed.
fn shown(command: &Command) -> Command {
    let mut all = Command::new(command.get_name().to_owned())
        .args(
            command
                .get_arguments()
                .filter(|arg| !arg.is_hide_set())
                .cloned(),
        )
        .subcommands(
            command
                .get_subcommands()
                .filter(|below| !below.is_hide_set())
                .map(shown),
        );
    for alias in command.get_visible_aliases() {
        all = all.visible_alias(alias.to_owned());
    }
    if let Some(about) = command.get_about() {
        all = all.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        all = all.version(version.to_owned());
    }
    all
}
