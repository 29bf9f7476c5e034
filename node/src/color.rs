//! Colours of terminal output.

use std::env;
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::io::IsTerminal;
use std::sync::OnceLock;

use clap::ValueEnum;

/// When output is coloured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is "dumb".
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// Finds `--color` in a command line that the parser rejected.
pub(crate) fn wanted_by(words: impl Iterator<Item = OsString>) -> Color {
    let mut words = words.map(|word| word.to_string_lossy().into_owned());
    let mut wanted = None;
    while let Some(word) = words.next() {
        match word.strip_prefix("--color") {
            Some("") => wanted = words.next(),
            Some(rest) => wanted = rest.strip_prefix('=').map(str::to_owned),
            None => {}
        }
    }
    let wanted = wanted.and_then(|word| Color::from_str(&word, false).ok());
    wanted.unwrap_or_default()
}

static CHOSEN: OnceLock<Color> = OnceLock::new();

/// Sets the user's choice, once; until then it is [`Color::Auto`].
pub(crate) fn choose(color: Color) {
    let _ = CHOSEN.set(color);
}

/// Returns whether text written to `stream` is coloured.
pub(crate) fn is_on(stream: &impl IsTerminal) -> bool {
    match CHOSEN.get().copied().unwrap_or_default() {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            let off = |name, off: fn(&[u8]) -> bool| {
                env::var_os(name).is_some_and(|text| off(text.as_encoded_bytes()))
            };
            stream.is_terminal()
                && !off("NO_COLOR", |text| !text.is_empty())
                && !off("TERM", |text| text == b"dumb")
        }
    }
}

/// Meaning of a coloured word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Tone {
    Good,
    Warning,
    Bad,
}

/// A text that is displayed in its tone's colour if `on`.
pub(crate) struct Painted<T> {
    pub(crate) text: T,
    pub(crate) tone: Tone,
    pub(crate) on: bool,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.on {
            return self.text.fmt(f);
        }
        let color = match self.tone {
            Tone::Good => 32,
            Tone::Warning => 33,
            Tone::Bad => 31,
        };
        write!(f, "\x1b[1;{color}m{}\x1b[0m", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_painted_words_are_coloured() {
        let painted = |on| {
            let tone = Tone::Bad;
            Painted {
                text: "RED",
                tone,
                on,
            }
        };
        assert_eq!(painted(false).to_string(), "RED");
        assert_eq!(painted(true).to_string(), "\x1b[1;31mRED\x1b[0m");
    }
}
