//! Escapes untrusted bytes for a terminal, so that they cannot move its cursor, change its title,
//! or reorder the text around them.

/// Returns text with line ends and tabs; control characters, and bytes that are not UTF-8, are
/// escaped.
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

/// Escapes characters that control a terminal within JSON. Serializers escape those below U+0020
/// anyway.
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

/// Escapes a name, such as a salt, for a single line. The backslash is escaped, too, so that
/// different names are always displayed differently.
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

/// Returns whether `c` is a control character beyond ASCII, or changes the direction of writing.
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
    fn names_stay_on_their_line_and_are_distinct() {
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
