//! The responder of a session. It is stateless: the request contains everything that it needs, so a
//! peer that repeats requests costs one bounded answer each.

use alloc::vec::Vec;

use crate::id::Target;
use crate::sync::entry::{Lead, Stamp};
use crate::sync::fingerprint::Sum;
use crate::sync::item_bytes::item_bytes;
use crate::sync::message::{
    FetchedItem, MAX_IDS, MAX_STEP, RequestPart, ResponsePart, Short, SyncRequest, SyncResponse,
};
use crate::sync::prefix::Prefix;
use crate::sync::source::{Entries, Source};

/// Number of hashes and steps after which an answer ends. The part that exceeded it is left out,
/// unless it is the first.
pub const MAX_RESPOND_WORK: usize = 20_000;
/// Number of bytes of fingerprints, names and leads after which a message ends.
pub(super) const MAX_RANGE_BYTES: usize = 64 * 1024;
/// Number of bytes of items after which a message ends.
pub(super) const MAX_PAGE_BYTES: usize = 192 * 1024;
/// Maximum number of entries of a range that is named rather than split.
pub(super) const FEW: u32 = 16;
/// Encoding overhead of an item in a message besides its own bytes.
pub(super) const PART_BYTES: usize = 1;

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The message to send.
    pub response: SyncResponse,
    /// Items that came with the request, for admission.
    pub given: Vec<FetchedItem>,
    /// Number of hashes and steps that it took.
    pub work: usize,
}

/// Answers a request.
#[must_use]
pub fn respond(source: &impl Source, request: SyncRequest) -> Reply {
    let mut reply = Reply {
        response: SyncResponse::default(),
        given: Vec::new(),
        work: 0,
    };
    let mut full = AnswerSize::default();
    for (index, part) in request.parts.into_iter().enumerate() {
        let before = reply.response.parts.len();
        let whole = match part {
            RequestPart::Give(item) => {
                reply.given.push(item);
                true
            }
            RequestPart::Want(leads) => full.wanted(source, &leads, &mut reply),
            RequestPart::Offer(stamps) => {
                let wanted = wanted(source, &stamps, &mut reply.work);
                reply.response.parts.push(ResponsePart::Wanted(wanted));
                true
            }
            RequestPart::Pull(prefix, from) => full.pulled(source, prefix, from, &mut reply),
            part => {
                let parts = ranges(source, &request.salt, &part, &mut reply.work);
                full.range_bytes += parts.iter().map(size).sum::<usize>();
                reply.response.parts.extend(parts);
                let over = full.range_bytes > MAX_RANGE_BYTES || reply.work > MAX_RESPOND_WORK;
                if over && index > 0 {
                    reply.response.parts.truncate(before);
                }
                !over || index == 0
            }
        };
        if !whole {
            break;
        }
        reply.response.answered = u16::try_from(index + 1).unwrap_or(u16::MAX);
    }
    reply
}

/// Size of the answer so far, in bytes.
#[derive(Default)]
struct AnswerSize {
    range_bytes: usize,
    page_bytes: usize,
}

impl AnswerSize {
    /// Adds the requested items. Returns whether all of them fitted.
    fn wanted(&mut self, source: &impl Source, leads: &[Lead], reply: &mut Reply) -> bool {
        for lead in leads {
            if self.page_bytes >= MAX_PAGE_BYTES {
                return false;
            }
            reply.work += 1;
            let Some(target) = held_by_lead(source, *lead) else {
                continue;
            };
            if let Some(item) = source.item(&target) {
                self.page_bytes += item_bytes(&item.0) + PART_BYTES;
                reply.response.parts.push(ResponsePart::Item(item));
            }
        }
        true
    }

    /// Adds the items of a range. Returns whether there was room for any.
    fn pulled(
        &mut self,
        source: &impl Source,
        prefix: Prefix,
        from: Target,
        reply: &mut Reply,
    ) -> bool {
        if self.page_bytes >= MAX_PAGE_BYTES || reply.work > MAX_RESPOND_WORK {
            return false;
        }
        for (target, _) in source.entries(from.max(prefix.first())) {
            if !prefix.contains(&target) {
                break;
            }
            if self.page_bytes >= MAX_PAGE_BYTES || reply.work > MAX_RESPOND_WORK {
                reply
                    .response
                    .parts
                    .push(ResponsePart::More(prefix, target));
                break;
            }
            reply.work += 1;
            if let Some(item) = source.item(&target) {
                self.page_bytes += item_bytes(&item.0) + PART_BYTES;
                reply.response.parts.push(ResponsePart::Item(item));
            }
        }
        true
    }
}

/// The versions that this side would accept, as bits by their index.
fn wanted(source: &impl Source, stamps: &[Stamp], work: &mut usize) -> u64 {
    let mut places = 0;
    for (place, stamp) in stamps.iter().enumerate().take(MAX_IDS) {
        *work += 2;
        let held = source.entries(stamp.lead.first()).next();
        let held = held.filter(|(target, _)| Lead::of(target) == stamp.lead);
        let want = match held {
            // If one sequence has two contents, the next session decides.
            Some((_, version)) => (stamp.origin, stamp.seq) > (version.origin, version.seq),
            None => source.wants(stamp),
        };
        places |= u64::from(want) << place;
    }
    places
}

/// The stored target that begins with `lead`.
fn held_by_lead(source: &impl Entries, lead: Lead) -> Option<Target> {
    let (target, _) = source.entries(lead.first()).next()?;
    (Lead::of(&target) == lead).then_some(target)
}

/// Answers a part about ranges.
fn ranges(
    source: &impl Source,
    salt: &[u8; 8],
    part: &RequestPart,
    work: &mut usize,
) -> Vec<ResponsePart> {
    match part {
        RequestPart::Whole(theirs) => {
            let sum = source.tree().total();
            *work += 1;
            let fingerprint = sum.fingerprint(salt);
            if fingerprint[..16] == theirs[..] {
                Vec::from([ResponsePart::Same])
            } else {
                Vec::from([differs(source, salt, &Prefix::ALL, sum.count(), work)])
            }
        }
        RequestPart::Split(prefix, step, theirs) => {
            let mut parts = Vec::new();
            for (index, theirs) in theirs.iter().enumerate() {
                let Some(child) = prefix.child(*step, index) else {
                    break;
                };
                let sum = sum(source, &child, work);
                if short(&sum, salt, work) != *theirs {
                    parts.push(differs(source, salt, &child, sum.count(), work));
                }
            }
            parts
        }
        RequestPart::Ids(prefix, theirs) => named(source, salt, prefix, theirs, work),
        RequestPart::Want(_)
        | RequestPart::Pull(..)
        | RequestPart::Give(_)
        | RequestPart::Offer(_) => Vec::new(),
    }
}

/// The answer for a range that differs and has `count` entries on this side.
fn differs(
    source: &impl Source,
    salt: &[u8; 8],
    prefix: &Prefix,
    count: u32,
    work: &mut usize,
) -> ResponsePart {
    if count == 0 {
        return ResponsePart::Empty(*prefix);
    }
    match split(source, salt, prefix, count, work) {
        Some((step, parts)) if count > FEW => ResponsePart::Split(*prefix, step, parts),
        _ => ResponsePart::Leaf(*prefix),
    }
}

/// The answer to the initiator's names in a range.
fn named(
    source: &impl Source,
    salt: &[u8; 8],
    prefix: &Prefix,
    theirs: &[Short],
    work: &mut usize,
) -> Vec<ResponsePart> {
    let spare = u32::try_from(MAX_IDS.saturating_sub(theirs.len())).unwrap_or(0);
    let mut unknown = u64::MAX.checked_shr(spare).unwrap_or(0);
    let mut stamps = Vec::new();
    for (target, version) in source.entries(prefix.first()) {
        if !prefix.contains(&target) {
            break;
        }
        *work += 4;
        let name = name(salt, &version.digest(&target));
        match theirs.iter().position(|theirs| *theirs == name) {
            Some(place) => unknown &= !(1 << place),
            None if stamps.len() < MAX_IDS => stamps.push(version.stamp(&target)),
            // Too many entries to name: split the range instead.
            None => {
                let count = sum(source, prefix, work).count();
                let split = split(source, salt, prefix, count, work);
                let split = split.map(|(step, parts)| ResponsePart::Split(*prefix, step, parts));
                return split.into_iter().collect();
            }
        }
    }
    if unknown == 0 && stamps.is_empty() {
        return Vec::new();
    }
    Vec::from([ResponsePart::Entries(*prefix, unknown, stamps)])
}

pub(super) fn sum(source: &impl Source, prefix: &Prefix, work: &mut usize) -> Sum {
    source.tree().sum(prefix, |from| source.entries(from), work)
}

fn short(sum: &Sum, salt: &[u8; 8], work: &mut usize) -> Short {
    *work += 1;
    let fingerprint = sum.fingerprint(salt);
    [
        fingerprint[0],
        fingerprint[1],
        fingerprint[2],
        fingerprint[3],
    ]
}

/// The name of an entry in a session: four bytes of SHA-256(salt ‖ digest).
pub(super) fn name(salt: &[u8; 8], digest: &[u8; 32]) -> Short {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(salt);
    bytes[8..].copy_from_slice(digest);
    let hash = <sha2::Sha256 as sha2::Digest>::digest(bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The fingerprints of the subranges of a range with `count` entries on this side; `None` if it
/// cannot be split further.
pub(super) fn split(
    source: &impl Source,
    salt: &[u8; 8],
    prefix: &Prefix,
    count: u32,
    work: &mut usize,
) -> Option<(u8, Vec<Short>)> {
    let step = step(prefix, count);
    let mut parts = Vec::with_capacity(1 << step);
    for index in 0..1 << step {
        let child = prefix.child(step, index)?;
        let sum = sum(source, &child, work);
        parts.push(short(&sum, salt, work));
    }
    Some((step, parts))
}

/// Number of bits by which a range is split. The range of all targets is split by many to save
/// round trips, others so that the subranges end up with some six entries.
fn step(prefix: &Prefix, count: u32) -> u8 {
    match (prefix.bits(), count) {
        (0, 0x4_0000..) => MAX_STEP,
        (0, 0x800..) => 8,
        (_, 513..) => 4,
        (_, 25..=512) => 3,
        (_, 13..=24) => 2,
        (_, 0..=12) => 1,
    }
}

/// Approximate encoded size of an answer about ranges, in bytes.
fn size(part: &ResponsePart) -> usize {
    match part {
        ResponsePart::Split(_, _, parts) => 35 + 4 * parts.len(),
        ResponsePart::Entries(_, _, stamps) => 43 + 17 * stamps.len(),
        _ => 34,
    }
}
