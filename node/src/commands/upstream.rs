//! Suggestions for unknown commands, among them upstream's.

use std::ffi::OsString;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::config::nearest;
use crate::failure::{Code, Failure};

/// Suggests a command instead of `words`, which stand below the command `below`.
pub(crate) fn answer(words: &[OsString], below: Option<&str>) -> Box<Failure> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let word = words.next().unwrap_or_default();
    let command = Cli::command();
    let below = below.and_then(|below| command.find_subcommand(below));
    let all = below.unwrap_or(&command).get_subcommands();
    let is_command = |command: &clap::Command| !command.is_hide_set() && command.get_name() == word;
    if below.is_some() && command.get_subcommands().any(is_command) {
        return Failure::new(
            Code::Usage,
            format_args!("`{word}` is no command of upstream's"),
        )
        .hint(format_args!("it stands alone here: `skydht {word}`"));
    }
    let names = all.filter(|command| !command.is_hide_set());
    let names: Vec<&str> = names.map(|command| command.get_name()).collect();
    let begun = names.iter().copied().find(|name| name.starts_with(&*word));
    let meant = nearest(&word, names.iter().copied()).or(begun.filter(|_| word.len() > 1));
    let failure = Failure::new(Code::Usage, format_args!("there is no command `{word}`"));
    match meant {
        Some(meant) => failure.hint(format_args!("did you mean `skydht {meant}`?")),
        None => failure.hint("`skydht --help` lists the commands"),
    }
}
