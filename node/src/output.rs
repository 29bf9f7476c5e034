//! Output: data to stdout, messages to stderr, and formats for numbers.

use std::fmt::{self, Display};
use std::io::{self, IsTerminal, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::color::{self, Painted, Tone};
use crate::failure::{Code, Failure, Result};
use crate::printable::{json_escaped, printable};

/// Escapes control characters if the stream is a terminal, because text may come from peers.
fn shown_on(stream: &impl IsTerminal, text: String) -> String {
    match stream.is_terminal() {
        true => printable(text.as_bytes()),
        false => text,
    }
}

/// Writes one JSON document and a line end to stdout.
pub(crate) fn json(document: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_vec(document)
        .map_err(|error| Failure::new(Code::Local, format_args!("cannot write JSON: {error}")))?;
    text.push(b'\n');
    if io::stdout().is_terminal() {
        // Such characters occur only within strings, where JSON allows escapes.
        return data(json_escaped(&String::from_utf8_lossy(&text)).as_bytes());
    }
    data(&text)
}

/// Writes bytes to stdout.
pub(crate) fn data(bytes: &[u8]) -> Result<()> {
    data_wanted(bytes).map(drop)
}

/// Writes bytes to stdout; returns `false` if its reader has closed it.
pub(crate) fn data_wanted(bytes: &[u8]) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // A reader such as `head` has closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Code::Local,
            format_args!("cannot write to stdout: {error}"),
        )),
        Ok(()) => Ok(true),
    }
}

/// Replaces the text on a terminal by `text`; elsewhere appends it. Returns `false` if stdout's
/// reader has closed it.
pub(crate) fn redraw(text: &str) -> Result<bool> {
    if !io::stdout().is_terminal() {
        return data_wanted(format!("{text}\n").as_bytes());
    }
    // Lines are overwritten one by one, which does not flicker; then the rest is cleared.
    let mut picture = String::from("\x1b[H");
    for line in text.lines() {
        picture.push_str(&printable(line.as_bytes()));
        picture.push_str("\x1b[K\n");
    }
    picture.push_str("\x1b[J");
    data_wanted(picture.as_bytes())
}

/// Writes bytes to stdout; control characters are escaped on a terminal.
pub(crate) fn value(bytes: &[u8]) -> Result<()> {
    match io::stdout().is_terminal() {
        true => data(printable(bytes).as_bytes()),
        false => data(bytes),
    }
}

/// Writes a line to stdout.
pub(crate) fn line(text: impl Display) -> Result<()> {
    data(shown_on(&io::stdout(), format!("{text}\n")).as_bytes())
}

/// Writes a line to stdout that begins with a coloured word.
pub(crate) fn painted_line(word: &Painted<String>, rest: &str) -> Result<()> {
    let rest = shown_on(&io::stdout(), format!("{rest}\n"));
    data(format!("{word}{rest}").as_bytes())
}

/// Writes a line to stderr. Errors are ignored, as they cannot be reported.
pub(crate) fn talk(text: impl Display) {
    let text = shown_on(&io::stderr(), text.to_string());
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes an error message to stderr.
pub(crate) fn error(what: impl Display) {
    talk_marked("error:", Tone::Bad, what);
}

/// Writes a warning to stderr.
pub(crate) fn warn(what: impl Display) {
    talk_marked("warning:", Tone::Warning, what);
}

fn talk_marked(mark: &str, tone: Tone, what: impl Display) {
    let on = color::is_on(&io::stderr());
    let text = mark;
    let what = shown_on(&io::stderr(), what.to_string());
    let _ = writeln!(io::stderr().lock(), "{} {what}", Painted { text, tone, on });
}

/// Formats a table with aligned columns; the last one is not padded.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .chain([head[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    lines.join("\n")
}

/// Formats a number with separators: "1,900".
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number with a noun: "1 operation", "1,900 operations".
pub(crate) fn counted(n: u64, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {what}{s}", count(n))
}

/// Displays a duration in at most two units: "3m12s", "41 ms".
pub(crate) struct Human(pub(crate) Duration);

impl Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let millis = self.0.as_millis();
        let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3_600);
        let (minutes, rest) = (seconds % 3_600 / 60, seconds % 60);
        match () {
            () if days > 0 => write!(f, "{days}d{hours}h"),
            () if hours > 0 => write!(f, "{hours}h{minutes}m"),
            () if minutes > 0 => write!(f, "{minutes}m{rest}s"),
            () if seconds >= 10 => write!(f, "{seconds}s"),
            () if seconds > 0 => write!(f, "{seconds}.{}s", millis % 1_000 / 100),
            () => write!(f, "{millis} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 1, 2_000].map(|n| counted(n, "operation")),
            ["0 operations", "1 operation", "2,000 operations"]
        );
        for (millis, text) in [
            (41, "41 ms"),
            (1_500, "1.5s"),
            (12_345, "12s"),
            (192_000, "3m12s"),
            (7_260_000, "2h1m"),
            (90_000_000, "1d1h"),
        ] {
            assert_eq!(Human(Duration::from_millis(millis)).to_string(), text);
        }
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["a".into(), "1".into()],
            vec!["long".into(), "2".into()],
        ];
        assert_eq!(table(&["KEY", "N"], &rows), "KEY   N\na     1\nlong  2");
    }
}
