//! Reading JSON by Go's rules.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::{BASE64, BASE64_MIME_PERMISSIVE};
use smallvec::SmallVec;

use crate::wire::error::WireError;

/// Result of reading.
pub(in crate::wire) type Result<T, E = WireError> = core::result::Result<T, E>;

/// Maximum nesting depth that Go allows.
const MAX_DEPTH: usize = 10_000;

/// A cursor over a JSON text. It never recurses by the content of the text.
pub(in crate::wire) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// The text between two quotes, checked for syntax.
struct Quoted<'a> {
    at: usize,
    bytes: &'a [u8],
    escaped: bool,
}

impl<'a> Reader<'a> {
    /// Creates a reader at the start of `bytes`.
    pub(in crate::wire) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            depth: 0,
        }
    }

    /// Creates a reader at the position of an earlier one, `depth` levels deep.
    pub(in crate::wire) const fn resume(bytes: &'a [u8], at: usize, depth: usize) -> Self {
        Self { bytes, at, depth }
    }

    /// The position for [`Reader::resume`].
    pub(in crate::wire) const fn place(&self) -> usize {
        self.at
    }

    /// Skips white space and returns the offset of the next value.
    pub(in crate::wire) fn position(&mut self) -> usize {
        self.space();
        self.at
    }

    /// Checks that only white space follows.
    pub(in crate::wire) fn end(&mut self) -> Result<()> {
        if self.position() < self.bytes.len() {
            return Err(self.syntax());
        }
        Ok(())
    }

    /// Consumes a value in its usual form if `parse` recognises it. `parse` also returns the number
    /// of bytes.
    pub(in crate::wire) fn plain<T>(
        &mut self,
        parse: impl FnOnce(&'a [u8]) -> Option<(T, usize)>,
    ) -> Option<T> {
        self.space();
        let (value, len) = parse(&self.bytes[self.at..])?;
        self.at += len;
        Some(value)
    }

    /// Consumes a `null` if there is one.
    pub(in crate::wire) fn null(&mut self) -> Result<bool> {
        let is_null = self.peek()? == b'n';
        if is_null {
            self.literal(b"null")?;
        }
        Ok(is_null)
    }

    /// Calls `field` with each key in lower case; it must consume the value. A `null` has no keys.
    pub(in crate::wire) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &str) -> Result<()>,
    ) -> Result<()> {
        if self.null()? {
            return Ok(());
        }
        self.open(b'{')?;
        let mut first = true;
        while self.more(b'}', &mut first)? {
            let name = self.field_name()?;
            field(self, &name)?;
        }
        Ok(())
    }

    /// Calls `element` for each element; it must consume it. A `null` has no elements.
    pub(in crate::wire) fn array(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if self.null()? {
            return Ok(());
        }
        self.open(b'[')?;
        let mut first = true;
        while self.more(b']', &mut first)? {
            element(self)?;
        }
        Ok(())
    }

    /// Reads Go's `[32]byte`: missing elements become 0, excess ones are ignored, and a `null`, in
    /// the array or in its place, leaves the previous value.
    pub(in crate::wire) fn array32(&mut self, into: &mut [u8; 32]) -> Result<()> {
        if self.null()? {
            return Ok(());
        }
        if let Some((bytes, len)) = plain_array32(&self.bytes[self.at..]) {
            *into = bytes;
            self.at += len;
            return Ok(());
        }
        let mut slots = into.iter_mut();
        self.array(|reader| match slots.next() {
            Some(slot) => {
                if let Some(byte) = reader.byte()? {
                    *slot = byte;
                }
                Ok(())
            }
            None => reader.skip(),
        })?;
        slots.for_each(|slot| *slot = 0);
        Ok(())
    }

    /// Reads Go's `[]byte`: base64 with padding, with CR and LF anywhere in it and stray bits at
    /// its end; or an array of numbers. `None` for `null`.
    pub(in crate::wire) fn blob(&mut self) -> Result<Option<Vec<u8>>> {
        match self.peek()? {
            b'n' => self.literal(b"null").map(|()| None),
            b'[' => {
                let mut out = Vec::new();
                self.array(|reader| {
                    out.push(reader.byte()?.unwrap_or_default());
                    Ok(())
                })?;
                Ok(Some(out))
            }
            _ => {
                let text = self.quoted()?;
                let error = WireError::Value { at: text.at };
                base64(text.unescaped().as_bytes()).map(Some).ok_or(error)
            }
        }
    }

    /// Reads text; invalid UTF-8 and lone surrogates become U+FFFD. `None` for `null`.
    pub(in crate::wire) fn string(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.null()? {
            return Ok(None);
        }
        Ok(Some(self.quoted()?.unescaped()))
    }

    /// Reads the text between two quotes without resolving escapes. `None` for `null`.
    pub(in crate::wire) fn raw_string(&mut self) -> Result<Option<&'a [u8]>> {
        if self.null()? {
            return Ok(None);
        }
        Ok(Some(self.quoted()?.bytes))
    }

    /// Reads a boolean; `None` for `null`.
    pub(in crate::wire) fn boolean(&mut self) -> Result<Option<bool>> {
        match self.peek()? {
            b't' => self.literal(b"true").map(|()| Some(true)),
            b'f' => self.literal(b"false").map(|()| Some(false)),
            b'n' => self.literal(b"null").map(|()| None),
            _ => Err(self.mismatch()),
        }
    }

    /// Reads Go's `uint64`: plain digits. `None` for `null`.
    pub(in crate::wire) fn unsigned(&mut self) -> Result<Option<u64>> {
        self.integer()
    }

    /// Reads Go's `int`: plain digits, optionally after a minus sign. `None` for `null`.
    pub(in crate::wire) fn signed(&mut self) -> Result<Option<i64>> {
        self.integer()
    }

    /// Skips any value.
    pub(in crate::wire) fn skip(&mut self) -> Result<()> {
        let mut closers = SmallVec::<[u8; 32]>::new();
        loop {
            let mut first = false;
            match self.peek()? {
                open @ (b'{' | b'[') => {
                    self.open(open)?;
                    closers.push(if open == b'{' { b'}' } else { b']' });
                    first = true;
                }
                b'"' => self.quoted().map(drop)?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                _ => self.number().map(drop)?,
            }
            loop {
                let Some(close) = closers.last() else {
                    return Ok(());
                };
                if self.more(*close, &mut first)? {
                    if *close == b'}' {
                        self.key()?;
                    }
                    break;
                }
                closers.pop();
            }
        }
    }

    /// Reads the text of any value.
    pub(in crate::wire) fn raw_value(&mut self) -> Result<&'a [u8]> {
        let start = self.position();
        self.skip()?;
        Ok(&self.bytes[start..self.at])
    }

    fn byte(&mut self) -> Result<Option<u8>> {
        let start = self.position();
        let mut value = 0u16;
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            value = value * 10 + u16::from(digit - b'0');
            self.at += 1;
            if self.at - start == 3 {
                break;
            }
        }
        let rest = &self.bytes[self.at..];
        let plain = self.at > start
            && !matches!(rest.first(), Some(b'0'..=b'9' | b'.' | b'e' | b'E'))
            && (self.bytes[start] != b'0' || self.at == start + 1);
        match u8::try_from(value) {
            Ok(byte) if plain => Ok(Some(byte)),
            _ if self.at > start => Err(WireError::Value { at: start }),
            _ if self.null()? => Ok(None),
            _ => Err(self.mismatch()),
        }
    }

    fn integer<T: core::str::FromStr>(&mut self) -> Result<Option<T>> {
        match self.peek()? {
            b'n' => self.literal(b"null").map(|()| None),
            b'-' | b'0'..=b'9' => {
                let at = self.at;
                // A JSON number has no plus sign, the only thing that Rust would accept in
                // addition.
                let digits = core::str::from_utf8(self.number()?).ok();
                let value = digits.and_then(|digits| digits.parse().ok());
                value.map(Some).ok_or(WireError::Value { at })
            }
            _ => Err(self.mismatch()),
        }
    }

    fn number(&mut self) -> Result<&'a [u8]> {
        self.space();
        let start = self.at;
        self.accept(b"-");
        if !self.accept(b"0") {
            self.digits()?;
        }
        if self.accept(b".") {
            self.digits()?;
        }
        if self.accept(b"eE") {
            self.accept(b"+-");
            self.digits()?;
        }
        Ok(&self.bytes[start..self.at])
    }

    fn digits(&mut self) -> Result<()> {
        if !self.accept(b"0123456789") {
            return Err(self.syntax());
        }
        while self.accept(b"0123456789") {}
        Ok(())
    }

    fn accept(&mut self, any: &[u8]) -> bool {
        let found = self.bytes.get(self.at).is_some_and(|b| any.contains(b));
        self.at += usize::from(found);
        found
    }

    fn literal(&mut self, word: &[u8]) -> Result<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.syntax());
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a key, in lower case, and its colon.
    pub(in crate::wire) fn field_name(&mut self) -> Result<Cow<'a, str>> {
        self.key().map(fold)
    }

    fn key(&mut self) -> Result<Cow<'a, str>> {
        let key = self.quoted()?.unescaped();
        if self.peek()? != b':' {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(key)
    }

    fn quoted(&mut self) -> Result<Quoted<'a>> {
        if self.peek()? != b'"' {
            return Err(self.mismatch());
        }
        let at = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_prefix(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                    if self.accept(b"u") {
                        for _ in 0..4 {
                            if !self.accept(b"0123456789abcdefABCDEF") {
                                return Err(self.syntax());
                            }
                        }
                    } else if !self.accept(b"\"\\/bfnrt") {
                        return Err(self.syntax());
                    }
                }
                _ => return Err(self.syntax()),
            }
        }
        self.at += 1;
        Ok(Quoted {
            at,
            bytes: &self.bytes[at + 1..self.at - 1],
            escaped,
        })
    }

    /// Enters an object or array.
    pub(in crate::wire) fn open(&mut self, open: u8) -> Result<()> {
        if self.peek()? != open {
            return Err(self.mismatch());
        }
        if self.depth == MAX_DEPTH {
            return Err(WireError::Depth { at: self.at });
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Whether another element follows; otherwise leaves the object or array.
    pub(in crate::wire) fn more(&mut self, close: u8, first: &mut bool) -> Result<bool> {
        let byte = self.peek()?;
        if byte == close {
            self.at += 1;
            self.depth -= 1;
            *first = false;
            return Ok(false);
        }
        if core::mem::take(first) {
            return Ok(true);
        }
        if byte != b',' {
            return Err(self.syntax());
        }
        self.at += 1;
        // A comma before the end is not allowed in JSON.
        if self.peek()? == close {
            return Err(self.syntax());
        }
        Ok(true)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Result<u8> {
        self.space();
        let byte = self.bytes.get(self.at).copied();
        byte.ok_or_else(|| self.syntax())
    }

    const fn syntax(&self) -> WireError {
        WireError::Syntax { at: self.at }
    }

    /// The error for a value of another kind, or for no value.
    fn mismatch(&self) -> WireError {
        match self.bytes.get(self.at) {
            Some(b'{' | b'[' | b'"' | b't' | b'f' | b'n' | b'-' | b'0'..=b'9') => {
                WireError::Value { at: self.at }
            }
            _ => self.syntax(),
        }
    }
}

impl<'a> Quoted<'a> {
    fn unescaped(&self) -> Cow<'a, str> {
        if !self.escaped
            && let Ok(text) = core::str::from_utf8(self.bytes)
        {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(self.bytes.len());
        let mut rest = self.bytes;
        while !rest.is_empty() {
            let run = rest.iter().position(|b| *b == b'\\').unwrap_or(rest.len());
            let (plain, escape) = rest.split_at(run);
            for chunk in plain.utf8_chunks() {
                out.push_str(chunk.valid());
                // Like Go, one per byte rather than one per invalid sequence.
                out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            let [b'\\', kind, after @ ..] = escape else {
                break;
            };
            rest = after;
            out.push(match kind {
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                b'u' => {
                    let (c, len) = utf16(after);
                    rest = &after[len..];
                    c
                }
                other => char::from(*other),
            });
        }
        Cow::Owned(out)
    }
}

/// Returns the character at the digits of a `\u` escape and its length in bytes, including the
/// second half of a surrogate pair.
fn utf16(after: &[u8]) -> (char, usize) {
    let unit = |bytes: &[u8]| {
        let digits = core::str::from_utf8(bytes.get(..4)?).ok()?;
        u16::from_str_radix(digits, 16).ok()
    };
    let high = unit(after);
    let low = after
        .get(4..)
        .and_then(|rest| rest.strip_prefix(b"\\u"))
        .and_then(unit);
    let mut chars = char::decode_utf16(high.into_iter().chain(low));
    match chars.next() {
        Some(Ok(c)) => (c, if c.len_utf16() == 2 { 10 } else { 4 }),
        _ => (char::REPLACEMENT_CHARACTER, after.len().min(4)),
    }
}

/// Reads 32 numbers without white space, as Go prints them, and returns them with their length.
/// `None` is not an error yet.
pub(in crate::wire) fn plain_array32(text: &[u8]) -> Option<([u8; 32], usize)> {
    let mut out = [0; 32];
    let mut rest = text.strip_prefix(b"[")?;
    for (i, slot) in out.iter_mut().enumerate() {
        let end = if i == 31 { b']' } else { b',' };
        let (value, digits) = plain_byte(rest.first_chunk()?)?;
        *slot = value;
        let (last, after) = rest[digits..].split_first()?;
        if *last != end {
            return None;
        }
        rest = after;
    }
    Some((out, text.len() - rest.len()))
}

/// Reads a number below 256 of up to three digits followed by something else, and returns it with
/// the number of digits. Without branches, since that number is unpredictable: an answer has 640 of
/// these.
fn plain_byte(text: &[u8; 4]) -> Option<(u8, usize)> {
    const HIGH: u32 = 0x8080_8080;
    // A digit becomes its value, any other byte 10 or more.
    let values = u32::from_le_bytes(*text) ^ 0x3030_3030;
    let others = (values.wrapping_add(0x7676_7676) | values) & HIGH;
    let digits = others.trailing_zeros() / 8;
    if !(1..=3).contains(&digits) {
        return None;
    }
    let [_, hundreds, tens, ones] = (values << (32 - 8 * digits)).to_le_bytes();
    let value = u16::from(hundreds) * 100 + u16::from(tens) * 10 + u16::from(ones);
    let leading_zero = digits > 1 && text[0] == b'0';
    let value = u8::try_from(value).ok().filter(|_| !leading_zero)?;
    Some((value, digits as usize))
}

/// Number of bytes before the first that ends a string, starts an escape or is not allowed in a
/// string.
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    // Eight bytes at a time, since most of what arrives is base64.
    let (words, _) = bytes.as_chunks::<8>();
    let plain_words = words.iter().take_while(|word| {
        let word = u64::from_le_bytes(**word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        below(word, 0x20) | quote | backslash == 0
    });
    let start = plain_words.count() * 8;
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = bytes[start..].iter().position(special);
    rest.map_or(bytes.len(), |rest| start + rest)
}

/// Keys match in any case, by Go's folding: U+017F is an s, U+212A a k.
fn fold(key: Cow<'_, str>) -> Cow<'_, str> {
    if key.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return key;
    }
    let lower = |c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    Cow::Owned(key.chars().map(lower).collect())
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if let Ok(bytes) = BASE64.decode(text)
        && !padded_inside(text)
    {
        return Some(bytes);
    }
    let mut text = text.to_vec();
    text.retain(|b| !matches!(b, b'\r' | b'\n'));
    if padded_inside(&text) {
        return None;
    }
    BASE64_MIME_PERMISSIVE.decode(&text).ok()
}

/// Whether there is padding before the last four characters: two base64 texts in one, which Go
/// refuses.
fn padded_inside(text: &[u8]) -> bool {
    text[..text.len().saturating_sub(4)].contains(&b'=')
}

#[cfg(test)]
mod tests;
