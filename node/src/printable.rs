//! Bytes of others, as a terminal may show them: nothing in them moves its cursor, changes its title
//! or the order of what stands around.

/// Text as it is, line ends and tabs, too; what is no text, or steers a terminal, escaped.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' | '\t' => shown.push(c),
                c if c.is_ascii_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if steers(c) => shown.extend(c.escape_unicode()),
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

/// JSON in which what steers a terminal is escaped. Below U+0020 it is anyway.
pub(crate) fn json_escaped(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => shown.push(c),
            c if steers(c) => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown
}

/// A name on a line of its own, such as a salt: what is no text, or does not print, escaped, and the
/// backslash, too, so that two names are never shown alike.
pub(crate) fn printable_name(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for part in bytes.split_inclusive(|byte| b"\\\n\t".contains(byte)) {
        let end = part.len()
            - usize::from(part.ends_with(b"\\") || part.ends_with(b"\n") || part.ends_with(b"\t"));
        shown.push_str(&printable(&part[..end]));
        shown.push_str(&part[end..].escape_ascii().to_string());
    }
    shown
}

/// Control characters beyond ASCII, and those that change the direction of writing.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}'
        )
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_what_steers_a_terminal_does_not() {
        for (bytes, shown) in [
            (&b"a\tb\nc"[..], "a\tb\nc"),
            ("é – 日本 🦀".as_bytes(), "é – 日本 🦀"),
            (b"\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            (b"\x1b[2J\r\x08\x7f", "\\x1b[2J\\x0d\\x08\\x7f"),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"\xc3\xa9\xff\xc3", "é\\xff\\xc3"),
        ] {
            assert_eq!(printable(bytes), shown);
        }
    }

    #[test]
    fn names_stay_on_their_line_and_are_told_apart() {
        for (name, shown) in [
            ("caf\u{e9}", "caf\u{e9}"),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\\x1b", "\\\\x1b"),
            ("\x1b", "\\x1b"),
        ] {
            assert_eq!(printable_name(name.as_bytes()), shown);
        }
    }
}
