//! Reading a journal.

use std::io::{self, Read};

use serde::Deserialize;
use skydht_core::journal::{FORMAT, Header, Step};

use super::format::{
    CONTAINER, Damage, End, Ending, HEAD, Head, JournalError, Kind, MAGIC, PREAMBLE, PREAMBLE_LEN,
};

/// The members that the header of every format version has.
#[derive(Deserialize)]
struct Versions {
    format: u32,
    version: String,
}

/// Reads a journal step by step, with one record in memory at a time.
pub struct Reader<R> {
    from: R,
    offset: u64,
    header: Header,
    payload: Vec<u8>,
    ending: Option<Ending>,
}

/// The next part of a file.
enum Next {
    /// A record; its JSON was written to the payload buffer.
    Record { offset: u64, kind: Kind },
    /// The end of the file, perhaps within a record.
    End(Ending),
}

impl Reader<&[u8]> {
    /// Returns whether a file that begins with these bytes is a journal, intact or not. Eight bytes
    /// suffice.
    #[must_use]
    pub fn is_journal(begin: &[u8]) -> bool {
        let magic = MAGIC.len().min(begin.len());
        magic > 0 && begin[..magic] == MAGIC[..magic]
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header. `from` should be buffered.
    ///
    /// # Errors
    /// If it is another kind of file or version, is damaged, or ends within the header.
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

    /// Returns the state that the run started from.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Returns the next step; `None` at the end.
    ///
    /// # Errors
    /// If a record is damaged, or this version cannot parse the step. No more steps can be read
    /// then.
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
                // The end record must be the last one.
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

    /// Returns how the journal ends; `None` until [`Reader::step`] has returned `None`.
    #[must_use]
    pub const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    #[cfg(test)]
    pub(super) fn payload_capacity(&self) -> usize {
        self.payload.capacity()
    }

    /// Returns the number of bytes read, up to the end of the last complete record.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }
}

fn damaged(offset: u64, what: Damage) -> JournalError {
    JournalError::Damaged { offset, what }
}

fn header(offset: u64, payload: &[u8]) -> Result<Header, JournalError> {
    // Check the versions first: the rest of another version may look different.
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

/// Reads one record, and advances `at` to its end.
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
    // `read_to_end` allocates as data arrives, not by the length in the head.
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

/// Reads until `buffer` is full or the source ends. Returns the number of bytes read.
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
