//! Parses commands and options from the program's own help.

use super::{TempDir, run};

/// A command as its help describes it.
#[derive(Debug)]
pub(crate) struct Described {
    /// Words after the program's name.
    pub(crate) words: Vec<String>,
    /// Options that take a value: name, and name of the value.
    pub(crate) options: Vec<(String, String)>,
    /// Usage line.
    pub(crate) usage: String,
}

/// Returns all commands without subcommands.
pub(crate) fn commands(home: &TempDir) -> Vec<Described> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(words) = open.pop() {
        let mut args: Vec<&str> = words.iter().map(String::as_str).collect();
        args.push("--help");
        let help = run(home, &args).exits(0);
        let help = help.text();
        let below = section(help, "Commands:");
        let names = below.filter_map(|line| {
            let name = line.strip_prefix("  ")?.split_whitespace().next()?;
            (line.starts_with("  ") && !line.starts_with("   ") && name != "help")
                .then(|| name.to_owned())
        });
        let names: Vec<String> = names.collect();
        for name in &names {
            open.push([words.clone(), vec![name.clone()]].concat());
        }
        if names.is_empty() {
            let usage = help.lines().find(|line| line.starts_with("Usage: "));
            found.push(Described {
                words,
                options: options(help),
                usage: usage.unwrap().to_owned(),
            });
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// Returns the lines below a heading, up to the next empty one.
fn section<'a>(help: &'a str, heading: &'a str) -> impl Iterator<Item = &'a str> {
    let below = help
        .lines()
        .skip_while(move |line| *line != heading)
        .skip(1);
    below.take_while(|line| !line.is_empty())
}

/// Returns options with a value, such as `--config <FILE>`.
fn options(help: &str) -> Vec<(String, String)> {
    let option = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix('-')?;
        let long = &line[line.find("--").map_or(0, |at| at + 1)..];
        let (name, rest) = long.split_once(" <")?;
        let (value, _) = rest.split_once('>')?;
        Some((format!("-{name}"), value.to_owned()))
    };
    help.lines().filter_map(option).collect()
}
