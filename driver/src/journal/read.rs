//! Reading a journal.

use std::io::{self, Read};

use serde::Deserialize;
use skydht_core::journal::{FORMAT, Header, Step};

use super::format::{
    CONTAINER, Damage, End, Ending, HEAD, Head, JournalError, Kind, MAGIC, PREAMBLE, PREAMBLE_LEN,
};

/// The part of a header that every format has.
#[derive(Deserialize)]
struct Versions {
    format: u32,
    version: String,
}

/// Reads a journal step by step. Memory is that of one record.
pub struct Reader<R> {
    from: R,
    offset: u64,
    header: Header,
    payload: Vec<u8>,
    ending: Option<Ending>,
}

/// What comes next in a file.
enum Next {
    /// A record; its JSON is in the buffer.
    Record { offset: u64, kind: Kind },
    /// Nothing, or part of a record.
    End(Ending),
}

impl Reader<&[u8]> {
    /// Whether a file that begins with these bytes is a journal, sound or not; eight decide.
    #[must_use]
    pub fn is_journal(begin: &[u8]) -> bool {
        let magic = MAGIC.len().min(begin.len());
        magic > 0 && begin[..magic] == MAGIC[..magic]
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header. Give it a buffered reader.
    ///
    /// # Errors
    /// Another kind of file, another version, damage, or less than a header.
    pub fn new(mut from: R) -> Result<Self, JournalError> {
        let mut preamble = [0; PREAMBLE_LEN];
        let got = fill(&mut from, &mut preamble)?;
        if !Reader::is_journal(&preamble[..got]) {
            return Err(JournalError::Magic);
        }
        if got < preamble.len() {
            return Err(JournalError::NoHeader { offset: got as u64 });
        }
        let version = [preamble[8], preamble[9], preamble[10], preamble[11]];
        let version = u32::from_le_bytes(version);
        if version != CONTAINER {
            return Err(JournalError::Container { got: version });
        }
        let (mut offset, mut payload) = (PREAMBLE, Vec::new());
        let header = match next(&mut from, &mut offset, &mut payload)? {
            Next::Record {
                offset,
                kind: Kind::Header,
            } => header(offset, &payload)?,
            Next::Record { offset, .. } => return Err(damaged(offset, Damage::Order)),
            Next::End(Ending::Torn { bytes, offset }) => {
                let offset = offset + bytes;
                return Err(JournalError::NoHeader { offset });
            }
            Next::End(_) => return Err(JournalError::NoHeader { offset }),
        };
        Ok(Self {
            from,
            offset,
            header,
            payload,
            ending: None,
        })
    }

    /// What the run started from.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The next step; none at the end.
    ///
    /// # Errors
    /// Damage, or a step that this version does not understand. Reading on is not possible.
    pub fn step(&mut self) -> Result<Option<Step<'_>>, JournalError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        match next(&mut self.from, &mut self.offset, &mut self.payload)? {
            Next::Record {
                offset,
                kind: Kind::Step,
            } => parse(offset, &self.payload).map(Some),
            Next::Record {
                offset,
                kind: Kind::End,
            } => {
                let end: End = parse(offset, &self.payload)?;
                self.ending = Some(Ending::Closed(end));
                // Nothing may follow.
                if fill(&mut self.from, &mut [0])? > 0 {
                    return Err(damaged(self.offset, Damage::Order));
                }
                Ok(None)
            }
            Next::Record {
                offset,
                kind: Kind::Header,
            } => Err(damaged(offset, Damage::Order)),
            Next::End(ending) => {
                self.ending = Some(ending);
                Ok(None)
            }
        }
    }

    /// How the journal ends; none until [`Reader::step`] said that there is no more.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    #[cfg(test)]
    pub(super) fn payload_capacity(&self) -> usize {
        self.payload.capacity()
    }

    /// Bytes read, up to the end of the last whole record.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

fn damaged(offset: u64, what: Damage) -> JournalError {
    JournalError::Damaged { offset, what }
}

fn header(offset: u64, payload: &[u8]) -> Result<Header, JournalError> {
    // The versions first: in another one, the rest may look different.
    let Versions { format, version } = parse(offset, payload)?;
    if format != FORMAT {
        return Err(JournalError::Format {
            got: format,
            version,
        });
    }
    parse(offset, payload)
}

fn parse<'a, T: Deserialize<'a>>(offset: u64, payload: &'a [u8]) -> Result<T, JournalError> {
    serde_json::from_slice(payload).map_err(|error| JournalError::Content { offset, error })
}

/// Reads one record, and moves `at` behind it.
fn next(from: &mut impl Read, at: &mut u64, payload: &mut Vec<u8>) -> Result<Next, JournalError> {
    let offset = *at;
    let mut head = [0; HEAD];
    let got = fill(from, &mut head)?;
    if got == 0 {
        return Ok(Next::End(Ending::Open));
    }
    let torn = |bytes: usize| {
        Ok(Next::End(Ending::Torn {
            offset,
            bytes: bytes as u64,
        }))
    };
    if got < HEAD {
        return torn(got);
    }
    let head = Head::read(offset, &head).map_err(|what| damaged(offset, what))?;
    payload.clear();
    // Grows with what is there, not with what the head says.
    from.take(head.length.into()).read_to_end(payload)?;
    if payload.len() < head.length as usize {
        return torn(HEAD + payload.len());
    }
    head.check(offset, payload)
        .map_err(|what| damaged(offset, what))?;
    *at += HEAD as u64 + u64::from(head.length);
    let kind = head.kind;
    Ok(Next::Record { offset, kind })
}

/// Reads until `buffer` is full or nothing is left; says how much was read.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
