//! The messages of a session, in binary. Integers are big-endian; `docs/protocol.md`, section 13,
//! is the specification.
//!
//! A request is `version` (1) ‖ `salt` (8) ‖ parts, a response `version` (1) ‖ `answered` (2) ‖
//! parts. A part is one byte for its kind, followed by the fields given at [`RequestPart`] and
//! [`ResponsePart`].

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, Life, Origin, Seq};
use crate::sync::bytes::{Fault, MessageError, Reader};
use crate::sync::entry::{Lead, Stamp};
use crate::sync::item_bytes::{read_item, write_item};
use crate::sync::prefix::Prefix;

const VERSION: u8 = 1;
/// Maximum length of a message, request or response.
pub const MAX_SYNC_MESSAGE: usize = 512 * 1024;
/// Maximum number of entries in one part.
pub const MAX_IDS: usize = 64;
/// Maximum number of bits by which one part splits a range.
pub(super) const MAX_STEP: u8 = 10;

/// The short fingerprint of a range.
pub(super) type Short = [u8; 4];

/// An item with its lifetime, as transmitted.
pub type FetchedItem = (Arc<Item>, Life);

/// A part of a request: what the initiator asks or gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RequestPart {
    /// 1: fingerprint (16) of all entries.
    Whole([u8; 16]),
    /// 2: prefix ‖ step (1) ‖ 2^step fingerprints (4) of the subranges of a range.
    Split(Prefix, u8, Vec<Short>),
    /// 3: prefix ‖ number (1) ‖ that many names (4) of the entries of a range.
    Ids(Prefix, Vec<Short>),
    /// 4: number (1) ‖ that many leads (8): send these items.
    Want(Vec<Lead>),
    /// 5: prefix ‖ target (32): send the items of a range from this target on.
    Pull(Prefix, Target),
    /// 6: an item that the other side lacks.
    Give(FetchedItem),
    /// 7: number (1) ‖ that many of lead (8) ‖ origin (1) ‖ sequence (8): versions that are new on
    /// this side.
    Offer(Vec<Stamp>),
}

/// A part of a response: what the responder answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ResponsePart {
    /// 1: both sides have the same entries.
    Same,
    /// 2: as in a request: the subranges of a range that differs.
    Split(Prefix, u8, Vec<Short>),
    /// 3: prefix: a range that differs has few entries on this side; name yours.
    Leaf(Prefix),
    /// 4: prefix: a range that differs has no entries on this side.
    Empty(Prefix),
    /// 5: prefix ‖ unknown (8), one bit per name of the request from the lowest on ‖ number (1) ‖
    /// that many of lead (8) ‖ origin (1) ‖ sequence (8): the unknown names, and the entries on
    /// this side that were not named.
    Entries(Prefix, u64, Vec<Stamp>),
    /// 6: a requested item.
    Item(FetchedItem),
    /// 7: prefix ‖ target (32): the items of a pull before this target were sent.
    More(Prefix, Target),
    /// 8: one bit (8 bytes) per entry of an offer, from the lowest on: give this one.
    Wanted(u64),
}

/// A message of the initiator.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncRequest {
    /// Salt of all fingerprints and names in the session.
    pub salt: [u8; 8],
    /// The parts.
    pub parts: Vec<RequestPart>,
}

/// A message of the responder.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SyncResponse {
    /// Number of request parts that are answered; the others must be sent again.
    pub answered: u16,
    /// The parts.
    pub parts: Vec<ResponsePart>,
}

impl SyncRequest {
    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        out.extend_from_slice(&self.salt);
        for part in &self.parts {
            part.write(&mut out);
        }
        out
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// The offset of the first invalid part, and what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut salt = [0; 8];
        let parts = read_message(
            bytes,
            |from| {
                salt = *from.array()?;
                Ok(())
            },
            RequestPart::read,
        )?;
        Ok(Self { salt, parts })
    }
}

impl SyncResponse {
    /// Encodes the message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.push(VERSION);
        out.extend_from_slice(&self.answered.to_be_bytes());
        for part in &self.parts {
            part.write(&mut out);
        }
        out
    }

    /// Decodes a message.
    ///
    /// # Errors
    /// The offset of the first invalid part, and what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let mut answered = 0;
        let parts = read_message(
            bytes,
            |from| {
                answered = u16::from_be_bytes(*from.array()?);
                Ok(())
            },
            ResponsePart::read,
        )?;
        Ok(Self { answered, parts })
    }
}

/// Reads the version, the head and the parts of a message.
fn read_message<T>(
    bytes: &[u8],
    head: impl FnOnce(&mut Reader<'_>) -> Result<(), Fault>,
    part: impl Fn(&mut Reader<'_>) -> Result<T, Fault>,
) -> Result<Vec<T>, MessageError> {
    let at = |offset| move |fault| MessageError { offset, fault };
    if bytes.len() > MAX_SYNC_MESSAGE {
        return Err(at(MAX_SYNC_MESSAGE)(Fault::TooLong));
    }
    let mut from = Reader::new(bytes);
    match from.small(1).map_err(at(0))? {
        1 => {}
        version => {
            return Err(at(0)(Fault::Version(
                u8::try_from(version).unwrap_or(u8::MAX),
            )));
        }
    }
    head(&mut from).map_err(at(1))?;
    let mut parts = Vec::new();
    while !from.is_empty() {
        let offset = from.offset();
        parts.push(part(&mut from).map_err(at(offset))?);
    }
    Ok(parts)
}

impl RequestPart {
    /// Appends the encoded part.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(fingerprint) => {
                out.push(1);
                out.extend_from_slice(fingerprint);
            }
            Self::Split(prefix, step, parts) => write_split(out, prefix, *step, parts),
            Self::Ids(prefix, ids) => {
                out.push(3);
                write_prefix(out, prefix);
                write_len(out, ids.len());
                out.extend(ids.as_flattened());
            }
            Self::Want(leads) => {
                out.push(4);
                write_len(out, leads.len());
                out.extend(leads.iter().flat_map(|lead| lead.0.to_be_bytes()));
            }
            Self::Pull(prefix, target) => {
                out.push(5);
                write_prefix(out, prefix);
                out.extend_from_slice(target.as_bytes());
            }
            Self::Give((item, life)) => {
                out.push(6);
                write_item(out, item, *life);
            }
            Self::Offer(stamps) => {
                out.push(7);
                write_stamps(out, stamps);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(match from.small(1)? {
            1 => Self::Whole(*from.array()?),
            2 => {
                let (prefix, step, parts) = read_split(from)?;
                Self::Split(prefix, step, parts)
            }
            3 => {
                let prefix = read_prefix(from)?;
                let len = read_len(from)?;
                Self::Ids(prefix, shorts(from.take(4 * len)?))
            }
            4 => {
                let len = read_len(from)?;
                let leads = from.take(8 * len)?.as_chunks::<8>().0.iter();
                Self::Want(leads.map(|lead| Lead(u64::from_be_bytes(*lead))).collect())
            }
            5 => Self::Pull(read_prefix(from)?, Target::from_bytes(*from.array()?)),
            6 => Self::Give(read_item(from)?),
            7 => Self::Offer(read_stamps(from)?),
            other => return Err(unknown(other)),
        })
    }
}

impl ResponsePart {
    /// Appends the encoded part.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Same => out.push(1),
            Self::Split(prefix, step, parts) => write_split(out, prefix, *step, parts),
            Self::Leaf(prefix) => {
                out.push(3);
                write_prefix(out, prefix);
            }
            Self::Empty(prefix) => {
                out.push(4);
                write_prefix(out, prefix);
            }
            Self::Entries(prefix, unknown, stamps) => {
                out.push(5);
                write_prefix(out, prefix);
                out.extend_from_slice(&unknown.to_be_bytes());
                write_stamps(out, stamps);
            }
            Self::Item((item, life)) => {
                out.push(6);
                write_item(out, item, *life);
            }
            Self::More(prefix, target) => {
                out.push(7);
                write_prefix(out, prefix);
                out.extend_from_slice(target.as_bytes());
            }
            Self::Wanted(places) => {
                out.push(8);
                out.extend_from_slice(&places.to_be_bytes());
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(match from.small(1)? {
            1 => Self::Same,
            2 => {
                let (prefix, step, parts) = read_split(from)?;
                Self::Split(prefix, step, parts)
            }
            3 => Self::Leaf(read_prefix(from)?),
            4 => Self::Empty(read_prefix(from)?),
            5 => {
                let prefix = read_prefix(from)?;
                let unknown = from.number(8)?;
                let stamps = read_stamps(from)?;
                Self::Entries(prefix, unknown, stamps)
            }
            6 => Self::Item(read_item(from)?),
            7 => Self::More(read_prefix(from)?, Target::from_bytes(*from.array()?)),
            8 => Self::Wanted(from.number(8)?),
            other => return Err(unknown(other)),
        })
    }
}

fn write_stamps(out: &mut Vec<u8>, stamps: &[Stamp]) {
    write_len(out, stamps.len());
    for stamp in stamps {
        out.extend_from_slice(&stamp.lead.0.to_be_bytes());
        out.push(u8::from(stamp.origin == Origin::Owner));
        out.extend_from_slice(&stamp.seq.0.to_be_bytes());
    }
}

fn read_stamps(from: &mut Reader<'_>) -> Result<Vec<Stamp>, Fault> {
    let mut stamps = Vec::new();
    for _ in 0..read_len(from)? {
        stamps.push(Stamp {
            lead: Lead(from.number(8)?),
            origin: match from.small(1)? {
                0 => Origin::Mirror,
                1 => Origin::Owner,
                _ => return Err(Fault::Origin),
            },
            seq: Seq(from.number(8)?),
        });
    }
    Ok(stamps)
}

fn unknown(part: usize) -> Fault {
    Fault::Part(u8::try_from(part).unwrap_or(u8::MAX))
}

/// Length in bits (1) ‖ the bytes that contain the bits.
fn write_prefix(out: &mut Vec<u8>, prefix: &Prefix) {
    out.push(prefix.bits());
    out.extend_from_slice(prefix.bytes());
}

fn read_prefix(from: &mut Reader<'_>) -> Result<Prefix, Fault> {
    let bits = u8::try_from(from.small(1)?).map_err(|_| Fault::Prefix)?;
    let bytes = from.take(usize::from(bits.div_ceil(8)))?;
    Prefix::from_bytes(bits, bytes).ok_or(Fault::Prefix)
}

fn write_split(out: &mut Vec<u8>, prefix: &Prefix, step: u8, parts: &[Short]) {
    out.push(2);
    write_prefix(out, prefix);
    out.push(step);
    out.extend(parts.as_flattened());
}

fn read_split(from: &mut Reader<'_>) -> Result<(Prefix, u8, Vec<Short>), Fault> {
    let prefix = read_prefix(from)?;
    let step = u8::try_from(from.small(1)?).map_err(|_| Fault::Step)?;
    if !(1..=MAX_STEP).contains(&step) || prefix.child(step, 0).is_none() {
        return Err(Fault::Step);
    }
    let parts = shorts(from.take(4 << step)?);
    Ok((prefix, step, parts))
}

fn shorts(bytes: &[u8]) -> Vec<Short> {
    bytes.as_chunks::<4>().0.to_vec()
}

/// Appends a length, at most [`MAX_IDS`].
fn write_len(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len <= MAX_IDS);
    out.push(u8::try_from(len).unwrap_or(u8::MAX));
}

fn read_len(from: &mut Reader<'_>) -> Result<usize, Fault> {
    let len = from.small(1)?;
    if len > MAX_IDS {
        Err(Fault::Length)
    } else {
        Ok(len)
    }
}
