//! The side that answers. It keeps nothing between two messages: everything that it needs stands in
//! the request, so a peer that asks again and again costs one bounded answer each time.

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

/// Hashes and steps after which an answer ends; the part that went beyond is left out, unless it
/// is the first.
pub const MAX_RESPOND_WORK: usize = 20_000;
/// Bytes of fingerprints, names and leads after which a message ends.
pub(super) const MAX_RANGE_BYTES: usize = 64 * 1024;
/// Bytes of items after which a message ends.
pub(super) const MAX_PAGE_BYTES: usize = 192 * 1024;
/// A range with so few entries is not split: they are named.
pub(super) const FEW: u32 = 16;
/// What an item takes in the message beside its own bytes.
pub(super) const PART_BYTES: usize = 1;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// What to send.
    pub response: SyncResponse,
    /// Items that came with the request, for the intake.
    pub given: Vec<FetchedItem>,
    /// Hashes and steps that it took.
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
    let mut full = Full::default();
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

/// How full the answer is.
#[derive(Default)]
struct Full {
    range_bytes: usize,
    page_bytes: usize,
}

impl Full {
    /// Sends the items that are wanted; returns whether all went.
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

    /// Sends the items of a range; returns whether there was room for any.
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

/// Which of these versions would be taken, by their places.
fn wanted(source: &impl Source, stamps: &[Stamp], work: &mut usize) -> u64 {
    let mut places = 0;
    for (place, stamp) in stamps.iter().enumerate().take(MAX_IDS) {
        *work += 2;
        let held = source.entries(stamp.lead.first()).next();
        let held = held.filter(|(target, _)| Lead::of(target) == stamp.lead);
        let want = match held {
            // Of one sequence with two contents the next session decides.
            Some((_, version)) => (stamp.origin, stamp.seq) > (version.origin, version.seq),
            None => source.wants(stamp),
        };
        places |= u64::from(want) << place;
    }
    places
}

/// The target held that begins with `lead`.
fn held_by_lead(source: &impl Entries, lead: Lead) -> Option<Target> {
    let (target, _) = source.entries(lead.first()).next()?;
    (Lead::of(&target) == lead).then_some(target)
}

/// Compares ranges.
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

/// The answer about a range that differs and has `count` entries here.
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

/// The answer to the other side's names in a range.
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
            // Too many to be named: split the range instead.
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

/// How an entry is named in a session: four bytes of SHA-256(salt ‖ digest).
pub(super) fn name(salt: &[u8; 8], digest: &[u8; 32]) -> Short {
    let mut bytes = [0; 40];
    bytes[..8].copy_from_slice(salt);
    bytes[8..].copy_from_slice(digest);
    let hash = <sha2::Sha256 as sha2::Digest>::digest(bytes);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// The parts of a range with `count` entries here; none when it cannot be split further.
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

/// By how many bits a range is split. Everything: by many, to save round trips. Below, so that the
/// parts end with some six entries.
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

/// Bytes of an answer about ranges, roughly.
fn size(part: &ResponsePart) -> usize {
    match part {
        ResponsePart::Split(_, _, parts) => 35 + 4 * parts.len(),
        ResponsePart::Entries(_, _, stamps) => 43 + 17 * stamps.len(),
        _ => 34,
    }
}
