//! Redis' protocol RESP 2, with limits on replies.

use std::io::{self, BufRead, Read};

/// Maximum length of a line in a reply, such as an error or a number.
const MAX_LINE: u64 = 8 << 10;
/// Maximum length of a value; longer ones are skipped. The longest item takes about 90,000 bytes.
pub(super) const MAX_BULK: usize = 128 << 10;
/// Maximum bytes of all values in one reply.
const MAX_REPLY: usize = 32 << 20;
/// Maximum number of parts of one reply.
const MAX_PARTS: usize = 1 << 17;
/// Maximum nesting of lists.
const MAX_DEPTH: usize = 8;

/// An encoded command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Command {
    pub(super) bytes: Vec<u8>,
    /// Slot of its key in a cluster; `None` if any server will do.
    pub(super) slot: Option<u16>,
}

impl Command {
    /// Encodes a command without a key.
    pub(super) fn new(words: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(16 + words.iter().map(|w| w.len() + 16).sum::<usize>());
        bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        Self { bytes, slot: None }
    }

    /// Encodes a command on `key`, which is also one of `words`.
    pub(super) fn on(key: &[u8], words: &[&[u8]]) -> Self {
        Self {
            slot: Some(slot_of(key)),
            ..Self::new(words)
        }
    }
}

/// Returns the slot of a key in a cluster: CRC-16 (XMODEM) of the part in braces, or of the whole
/// key.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let open = key.iter().position(|byte| *byte == b'{');
    let tag = open.and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let crc = tag.unwrap_or(key).iter().fold(0u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    });
    crc % 16_384
}

/// A reply in Redis' protocol RESP 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// A status such as `OK`.
    Status(String),
    /// An error; the first word is its code.
    Error(String),
    /// A number.
    Number(i64),
    /// A value.
    Bulk(Vec<u8>),
    /// The length of a value of more than 128 KiB, which was skipped.
    Oversized(u64),
    /// No value.
    Nil,
    /// Several replies.
    List(Vec<Self>),
}

impl Reply {
    /// Returns the bytes of a value, or the text of a status.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Status(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn list(&self) -> Option<&[Reply]> {
        match self {
            Self::List(parts) => Some(parts),
            _ => None,
        }
    }

    /// Reads one reply, of at most 32 MiB of values and 131,072 parts, with lists nested up to 8
    /// levels.
    ///
    /// # Errors
    /// Errors of the connection; [`io::ErrorKind::InvalidData`] if it is not a reply, or exceeds a
    /// limit.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut budget = Budget {
            bytes: MAX_REPLY,
            parts: MAX_PARTS,
        };
        Self::read_part(from, &mut budget, MAX_DEPTH)
    }

    fn read_part(from: &mut impl BufRead, budget: &mut Budget, depth: usize) -> io::Result<Self> {
        budget.parts = budget
            .parts
            .checked_sub(1)
            .ok_or_else(|| invalid("a reply of too many parts"))?;
        let line = read_line(from)?;
        let (kind, rest) = line
            .split_first()
            .ok_or_else(|| invalid("an empty line where a reply begins"))?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        let number = || {
            let text = std::str::from_utf8(rest).ok();
            text.and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| invalid("no number where one belongs"))
        };
        Ok(match kind {
            b'+' => Self::Status(text()),
            b'-' => Self::Error(text()),
            b':' => Self::Number(number()?),
            b'$' => match u64::try_from(number()?) {
                Err(_) => Self::Nil,
                Ok(length) => read_bulk(from, budget, length)?,
            },
            b'*' => match usize::try_from(number()?) {
                Err(_) => Self::Nil,
                Ok(_) if depth == 0 => return Err(invalid("lists within lists too deep")),
                Ok(length) => {
                    let mut parts = Vec::new();
                    for _ in 0..length {
                        parts.push(Self::read_part(from, budget, depth - 1)?);
                    }
                    Self::List(parts)
                }
            },
            _ => return Err(invalid("this is not Redis' protocol")),
        })
    }
}

struct Budget {
    bytes: usize,
    parts: usize,
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn read_line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(content) => {
            let length = content.len();
            line.truncate(length);
            Ok(line)
        }
        None if line.len() as u64 == MAX_LINE => Err(invalid("a line without an end")),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn read_bulk(from: &mut impl BufRead, budget: &mut Budget, length: u64) -> io::Result<Reply> {
    let is_small = length <= MAX_BULK as u64;
    let reply = if is_small {
        let length = usize::try_from(length).unwrap_or(MAX_BULK);
        budget.bytes = budget
            .bytes
            .checked_sub(length)
            .ok_or_else(|| invalid("a reply of too many bytes"))?;
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        Reply::Bulk(bytes)
    } else {
        let skipped = io::copy(&mut from.by_ref().take(length), &mut io::sink())?;
        if skipped < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Reply::Oversized(length)
    };
    let mut end = [0; 2];
    from.read_exact(&mut end)?;
    match &end {
        b"\r\n" => Ok(reply),
        _ => Err(invalid("a value without an end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> io::Result<Reply> {
        Reply::read(&mut &text[..])
    }

    #[test]
    fn replies_of_every_kind_are_read() {
        assert_eq!(read(b"+OK\r\n").unwrap(), Reply::Status("OK".into()));
        assert_eq!(read(b"-ERR no\r\n").unwrap(), Reply::Error("ERR no".into()));
        assert_eq!(read(b":-7\r\n").unwrap(), Reply::Number(-7));
        assert_eq!(read(b"$2\r\na\n\r\n").unwrap(), Reply::Bulk(b"a\n".into()));
        assert_eq!(read(b"$-1\r\n").unwrap(), Reply::Nil);
        assert_eq!(read(b"*-1\r\n").unwrap(), Reply::Nil);
        let list = Reply::List(vec![Reply::Number(1), Reply::List(vec![Reply::Nil])]);
        assert_eq!(read(b"*2\r\n:1\r\n*1\r\n$-1\r\n").unwrap(), list);
        let long = MAX_BULK + 1;
        let text = [
            format!("${long}\r\n").into_bytes(),
            vec![b'x'; long],
            b"\r\n".into(),
        ]
        .concat();
        assert_eq!(read(&text).unwrap(), Reply::Oversized(long as u64));
    }

    #[test]
    fn a_reply_beyond_a_bound_or_cut_off_is_an_error_and_sizes_no_allocation() {
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
        let many = b"*1000000000\r\n:1\r\n".to_vec();
        let endless = [b"+".as_slice(), &vec![b'x'; 20_000]].concat();
        for text in [
            &b""[..],
            b"\r\n",
            b"+OK",
            b":x\r\n",
            b"$3\r\nab",
            b"$2\r\nabcd",
            b"$99999999999999\r\nab",
            b"HTTP/1.1 200 OK\r\n",
            b"*2\r\n:1\r\n",
            &deep,
            &many,
            &endless,
        ] {
            assert!(
                read(text).is_err(),
                "{}",
                text[..text.len().min(40)].escape_ascii()
            );
        }
        let parts = [b"*200000\r\n".to_vec(), b":1\r\n".repeat(200_000)].concat();
        assert_eq!(read(&parts).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), slot_of(b"foo{}{bar}"));
        assert_ne!(slot_of(b"foo{}{bar}"), slot_of(b"bar"));
    }
}
