//! Writing JSON as Go does.

use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use data_encoding::{BASE64, HEXLOWER};

/// Writes to a buffer. [`Writer::field`] and [`Writer::array`] write the commas.
pub(in crate::wire) struct Writer(Vec<u8>);

/// `0,` to `255,`, with the number of bytes used.
#[allow(clippy::cast_possible_truncation, reason = "single digits")]
static DECIMALS: [([u8; 4], u8); 256] = {
    let mut table = [([0; 4], 0); 256];
    let mut i = 0;
    while i < 256 {
        let (a, b, c) = (
            b'0' + (i / 100) as u8,
            b'0' + (i / 10 % 10) as u8,
            b'0' + (i % 10) as u8,
        );
        table[i] = if i >= 100 {
            ([a, b, c, b','], 4)
        } else if i >= 10 {
            ([b, c, b',', 0], 3)
        } else {
            ([c, b',', 0, 0], 2)
        };
        i += 1;
    }
    table
};

impl Writer {
    /// Creates a writer that appends to `buffer`.
    pub(in crate::wire) const fn new(buffer: Vec<u8>) -> Self {
        Self(buffer)
    }

    /// The buffer.
    pub(in crate::wire) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Number of bytes in the buffer.
    pub(in crate::wire) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps the first `len` bytes.
    pub(in crate::wire) fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Appends `bytes` unchanged.
    pub(in crate::wire) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Appends `text` unchanged.
    pub(in crate::wire) fn raw(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Starts a field of an object: a comma unless it is the first, then `"name":`. The name must
    /// need no escapes.
    pub(in crate::wire) fn field(&mut self, name: &str) -> &mut Self {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.raw("\"");
        self.raw(name);
        self.raw("\":");
        self
    }

    /// Writes an array; `write` writes each element.
    pub(in crate::wire) fn array<T>(
        &mut self,
        elements: &[T],
        mut write: impl FnMut(&mut Self, &T),
    ) {
        self.raw("[");
        for (i, element) in elements.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            write(self, element);
        }
        self.raw("]");
    }

    /// Writes Go's `[32]byte`: an array of 32 numbers.
    pub(in crate::wire) fn array32(&mut self, bytes: &[u8; 32]) {
        let mut out = [0; 1 + 4 * 32];
        out[0] = b'[';
        let mut end = 1;
        for byte in bytes {
            let (digits, len) = DECIMALS[usize::from(*byte)];
            out[end..end + 4].copy_from_slice(&digits);
            end += usize::from(len);
        }
        out[end - 1] = b']';
        self.bytes(&out[..end]);
    }

    /// Length in bytes of what [`Writer::array32`] writes.
    pub(in crate::wire) fn array32_len(bytes: &[u8; 32]) -> usize {
        let digits = |byte: &u8| usize::from(DECIMALS[usize::from(*byte)].1);
        1 + bytes.iter().map(digits).sum::<usize>()
    }

    /// Writes lower-case hexadecimal text.
    pub(in crate::wire) fn hex(&mut self, bytes: &[u8]) {
        self.quoted(2 * bytes.len(), |out| HEXLOWER.encode_mut(bytes, out));
    }

    /// Writes standard base64 text with padding.
    pub(in crate::wire) fn base64(&mut self, bytes: &[u8]) {
        self.quoted(BASE64.encode_len(bytes.len()), |out| {
            BASE64.encode_mut(bytes, out);
        });
    }

    /// Length in bytes of what [`Writer::base64`] writes.
    pub(in crate::wire) fn base64_len(bytes: &[u8]) -> usize {
        2 + BASE64.encode_len(bytes.len())
    }

    fn quoted(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        self.0.push(b'"');
        let start = self.0.len();
        self.0.resize(start + len, 0);
        fill(&mut self.0[start..]);
        self.0.push(b'"');
    }

    /// Writes a number, or anything else whose text needs no quotes.
    pub(in crate::wire) fn display(&mut self, value: impl fmt::Display) {
        // Writing into memory cannot fail.
        let _ = write!(self, "{value}");
    }

    /// Writes anything whose text needs quotes but no escapes.
    pub(in crate::wire) fn quote(&mut self, value: impl fmt::Display) {
        self.0.push(b'"');
        self.display(value);
        self.0.push(b'"');
    }

    /// Writes text, escaped as in Go, including `<`, `>`, `&`, U+2028 and U+2029.
    pub(in crate::wire) fn string(&mut self, text: &str) {
        self.0.push(b'"');
        for c in text.chars() {
            match c {
                '"' => self.raw("\\\""),
                '\\' => self.raw("\\\\"),
                '\u{8}' => self.raw("\\b"),
                '\u{c}' => self.raw("\\f"),
                '\n' => self.raw("\\n"),
                '\r' => self.raw("\\r"),
                '\t' => self.raw("\\t"),
                '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    self.display(format_args!("\\u{:04x}", u32::from(c)));
                }
                _ => self.raw(c.encode_utf8(&mut [0; 4])),
            }
        }
        self.0.push(b'"');
    }
}

impl fmt::Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.raw(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
