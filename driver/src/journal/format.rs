//! The format of records: a head with length, kind and two checksums, followed by JSON.

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version of the container format: magic bytes, records, checksums.
pub const CONTAINER: u32 = 1;
/// Maximum length of a record's JSON, in bytes.
pub const MAX_RECORD: usize = 16 << 20;

/// The first bytes of a journal; the container's version follows as four bytes, little-endian.
pub(super) const MAGIC: [u8; 8] = *b"SKYDHTJ\n";
/// Length of the magic bytes and the version.
pub(super) const PREAMBLE_LEN: usize = 12;
/// Offset of the first record.
pub(super) const PREAMBLE: u64 = PREAMBLE_LEN as u64;
/// Length of a record's head.
pub(super) const HEAD: usize = 16;

/// The type of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A [`skydht_core::journal::Header`]: the first record.
    Header,
    /// A [`skydht_core::journal::Step`].
    Step,
    /// An [`End`]: the last record, if it could be written.
    End,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::Step => b'S',
            Self::End => b'E',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        [Self::Header, Self::Step, Self::End]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Why recording ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// The node stopped: the journal contains the whole run.
    Stopped,
    /// The journal reached its limit.
    Limit,
    /// The disk was slower than the node, and the journal must not slow the node down.
    Overrun,
}

/// How a journal ends, known once everything before was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With an end record.
    Closed(End),
    /// After a complete record: the process was killed, or is still writing.
    Open,
    /// Within a record: the process or the machine crashed while it was written.
    Torn {
        /// Where the incomplete record begins.
        offset: u64,
        /// How many bytes of it are there.
        bytes: u64,
    },
}

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is another kind of file.
    #[error("not a journal: it does not begin with the bytes of one")]
    Magic,
    /// The container has another version.
    #[error("journal container version {got}; this program reads version {CONTAINER}")]
    Container {
        /// The version in the file.
        got: u32,
    },
    /// The run is recorded in another version of the format.
    #[error(
        "journal format {got}, recorded by skydht-core {version}; this program reads format {}",
        skydht_core::journal::FORMAT
    )]
    Format {
        /// The version in the file.
        got: u32,
        /// The version of `skydht-core` that wrote it.
        version: String,
    },
    /// Bytes were changed, removed or added.
    #[error("damaged at byte {offset}: {what}")]
    Damaged {
        /// Where the damaged record begins.
        offset: u64,
        /// What is wrong with the record.
        what: Damage,
    },
    /// An intact record has contents that this program cannot parse.
    #[error("the record at byte {offset} is sound, but not understood: {error}")]
    Content {
        /// Where the record begins.
        offset: u64,
        /// The parser's error.
        error: serde_json::Error,
    },
    /// The file ends within the header, so there is nothing to replay.
    #[error("the file ends at byte {offset}, before its header is complete")]
    NoHeader {
        /// The length of the file.
        offset: u64,
    },
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The checksum of the head, or of the record's offset, does not match.
    #[error("the record's head does not match its check")]
    Head,
    /// The checksum of the contents does not match.
    #[error("the record's contents do not match their check")]
    Payload,
    /// The length exceeds [`MAX_RECORD`].
    #[error("a record of {0} bytes")]
    Length(u32),
    /// The kind is unknown.
    #[error("a record of the unknown kind {0:#04x}")]
    Kind(u8),
    /// The record is intact, but at a wrong place.
    #[error("a record that does not belong there")]
    Order,
}

/// A record's head. Its checksums cover the offset in the file, so that records cannot be moved.
pub(super) struct Head {
    pub(super) length: u32,
    pub(super) kind: Kind,
    payload_check: [u8; 8],
}

impl Head {
    /// Encodes the head of a record at `offset`. `None` if the payload is too long.
    pub(super) fn write(offset: u64, kind: Kind, payload: &[u8]) -> Option<[u8; HEAD]> {
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|_| payload.len() <= MAX_RECORD)?;
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4] = kind.byte();
        let check = head_check(offset, &head);
        head[5..8].copy_from_slice(&check);
        head[8..].copy_from_slice(&payload_check(offset, kind, payload));
        Some(head)
    }

    pub(super) fn read(offset: u64, head: &[u8; HEAD]) -> Result<Self, Damage> {
        if head[5..8] != head_check(offset, head) {
            return Err(Damage::Head);
        }
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if length as usize > MAX_RECORD {
            return Err(Damage::Length(length));
        }
        let kind = Kind::of(head[4]).ok_or(Damage::Kind(head[4]))?;
        let mut payload_check = [0; 8];
        payload_check.copy_from_slice(&head[8..]);
        Ok(Self {
            length,
            kind,
            payload_check,
        })
    }

    pub(super) fn check(&self, offset: u64, payload: &[u8]) -> Result<(), Damage> {
        if self.payload_check == payload_check(offset, self.kind, payload) {
            Ok(())
        } else {
            Err(Damage::Payload)
        }
    }
}

fn head_check(offset: u64, head: &[u8; HEAD]) -> [u8; 3] {
    let mut hash = Sha256::new();
    hash.update(offset.to_le_bytes());
    hash.update(&head[..5]);
    first_bytes(hash)
}

fn payload_check(offset: u64, kind: Kind, payload: &[u8]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(offset.to_le_bytes());
    hash.update([kind.byte()]);
    hash.update(payload);
    first_bytes(hash)
}

fn first_bytes<const N: usize>(hash: Sha256) -> [u8; N] {
    let hash = hash.finalize();
    std::array::from_fn(|i| hash[i])
}
