//! Words that are no command here: upstream's are answered with what replaces them, others with
//! the command that may have been meant.

use std::ffi::OsString;

use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::config::nearest;
use crate::failure::{Code, Failure};

/// Upstream's words below `skywire cli visor dht` that have no command here.
const UPSTREAM: &[(&str, &str)] = &[
    (
        "full-node",
        "whether a node is a full node is decided at its start: `skydht run --full-node`, or `skydht config set full_node true`",
    ),
    (
        "sync",
        "copying a full node's items is not in this version; `skydht get PK SALT` reads single ones",
    ),
    (
        "list",
        "listing all items under a salt is not in this version; `skydht ls` lists the node's own, `skydht get PK SALT` reads single ones",
    ),
    (
        "reconcile",
        "reconciling with a full node is not in this version; owners renew their items by themselves",
    ),
];

/// What to do instead of the command `words`, which stands below the command `below`.
pub(crate) fn answer(words: &[OsString], below: Option<&str>) -> Box<Failure> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    let word = words.next().unwrap_or_default();
    if let Some((name, hint)) = UPSTREAM.iter().find(|(name, _)| *name == word) {
        let is_question = *name == "full-node" && words.next().is_some_and(|word| word == "status");
        let (name, hint) = if is_question {
            (
                "full-node status",
                "`skydht status` says in its first line whether the node is a full node",
            )
        } else {
            (*name, *hint)
        };
        return Failure::new(
            Code::Unsupported,
            format_args!("`{name}` is upstream's word and no command of skydht"),
        )
        .hint(hint);
    }
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
