//! `skydht man`: manual pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_mangen::roff::{Roff, bold, roman};
use serde_json::json;

use crate::cli::{Cli, Common, Man};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::path_text::shown;
use crate::{output, private_file};

/// Prints the program's page, or writes the pages of all commands to a directory.
pub(crate) fn run(common: &Common, args: &Man) -> Result<Exit> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let Some(dir) = &args.dir else {
        let page = rendered(&command)?;
        if common.json {
            let page = String::from_utf8_lossy(&page);
            output::json(&json!({"schema": "skydht.man/1", "page": page}))?;
        } else {
            output::data(&page)?;
        }
        return Ok(Exit::Ok);
    };
    fs::create_dir_all(dir)
        .map_err(|error| private_file::failed("create the directory", dir, &error))?;
    let mut files = Vec::new();
    write(&command, dir, &mut files)?;
    if common.json {
        let files: Vec<String> = files.iter().map(|file| shown(file).to_string()).collect();
        output::json(&json!({"schema": "skydht.man/1", "files": files}))?;
    } else {
        output::talk(format_args!(
            "{} pages written to {}",
            files.len(),
            shown(dir)
        ));
    }
    Ok(Exit::Ok)
}

/// Writes the pages of a command and its subcommands.
fn write(command: &Command, dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let file = dir.join(format!("{}.1", name(command)));
    private_file::replace_public(&file, &rendered(command)?)?;
    files.push(file);
    let below = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set());
    below
        .into_iter()
        .try_for_each(|below| write(below, dir, files))
}

/// Returns a page's name: the command's words joined with hyphens.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn rendered(command: &Command) -> Result<Vec<u8>> {
    page(command).map_err(|error| Failure::new(Code::Local, format_args!("a page: {error}")))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone())
        .source(concat!("skydht ", env!("CARGO_PKG_VERSION")))
        .manual("skydht");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::default();
    if let Some(text) = command.get_after_help() {
        examples(&mut rest, &text.to_string());
    }
    if let Some((above, _)) = name(command).rsplit_once('-').filter(|_| is_below(command)) {
        rest.control("SH", ["SEE ALSO"]);
        rest.text([bold(above), roman("(1)")]);
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

/// Returns whether the command is a subcommand.
fn is_below(command: &Command) -> bool {
    command
        .get_bin_name()
        .is_some_and(|words| words.contains(' '))
}

/// Adds the text below a command's options, with its line breaks, since it contains commands to
/// type.
fn examples(page: &mut Roff, text: &str) {
    let (heading, lines) = match text.split_once(":\n") {
        Some((heading, lines)) if !heading.contains('\n') => (heading.to_uppercase(), lines),
        _ => ("NOTES".to_owned(), text),
    };
    page.control("SH", [heading.as_str()]);
    page.control("nf", []);
    for line in lines.lines() {
        match line.is_empty() {
            // An empty text line would start a new paragraph, with its own spacing.
            true => page.control("sp", []),
            false => page.text([roman(line)]),
        };
    }
    page.control("fi", []);
}
