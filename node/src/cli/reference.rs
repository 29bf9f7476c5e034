//! Generated from the command line's definition: shell completions and manual pages.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Print a script that completes this program's commands and options in a shell.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht completions bash > /etc/bash_completion.d/skydht
  skydht completions zsh > /usr/local/share/zsh/site-functions/_skydht
  skydht completions fish > ~/.config/fish/completions/skydht.fish
  source <(skydht completions bash)      for this shell alone")]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

/// Print the manual page, or write the pages of all commands into a directory.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht man | man -l -
  skydht man /usr/local/share/man/man1     skydht.1, skydht-put.1 and so on")]
pub(crate) struct Man {
    /// The directory for the pages, which is created if absent [default: one page on stdout].
    pub(crate) dir: Option<PathBuf>,
}
