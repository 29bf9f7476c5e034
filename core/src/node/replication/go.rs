//! One pass with an upstream full node, in both directions, as plain state: pages of everything that
//! it holds by GetItems, then batches of what it lacks or has in an older version by PutBatch.
//!
//! Upstream sends pages in order of (sequence, target), and never splits those of one sequence. Where
//! such a page is longer than a message may be, it sends nothing; then fewer items are asked for,
//! and if that does not help what is left is pushed all the same.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, Seq};
use crate::sync::{Lead, Source};
use crate::wire::{Request, Response, WireItem, encoded_item_len, encoded_target_len};

/// Items asked for at first; halved when no answer comes.
const PAGE_ITEMS: i64 = 256;
/// Encoded bytes of a batch: upstream takes 4 MiB, and checks a batch within its caller's deadline.
const BATCH_BYTES: usize = 1024 * 1024;
/// Items in a batch.
const BATCH_ITEMS: usize = 256;
/// Items of the peer that are remembered, to see which it lacks.
const MAX_SEEN: usize = 1 << 18;
/// Entries looked at in one step.
const LOOKED_AT: usize = 4_096;
/// Pages of one pass.
const MAX_PAGES: u32 = 16_384;

/// Where a pass is.
enum Phase {
    /// Pages of sequences above this come.
    Pull {
        since: Seq,
        limit: i64,
    },
    /// What the peer lacks goes out, from this target on.
    Push(Target),
    Done,
}

/// What a pass wants next.
pub(super) enum Step {
    /// Send this request.
    Ask(Request),
    /// More entries have to be looked at: come again.
    Again,
    Done,
}

/// A pass.
pub(super) struct GoPass {
    phase: Phase,
    /// The sequence of each of the peer's items that stands at its owner's target.
    seen: BTreeMap<Lead, Seq>,
    pages: u32,
    /// Requests made.
    pub(super) requests: u32,
    /// Items pushed.
    pub(super) given: u64,
    /// Of owners whose item is older than this nothing is pushed: upstream gives it a whole new life.
    most_age: Duration,
}

impl GoPass {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            phase: Phase::Pull {
                since: Seq(0),
                limit: PAGE_ITEMS,
            },
            seen: BTreeMap::new(),
            pages: 0,
            requests: 0,
            given: 0,
            most_age: ttl / 2,
        }
    }

    /// What is to be done next.
    pub(super) fn next(&mut self, source: &impl Source) -> Step {
        let step = match self.phase {
            Phase::Pull { since, limit } => Step::Ask(Request::GetItems {
                salt: alloc::string::String::new(),
                since_seq: since,
                limit,
            }),
            Phase::Push(from) => self.push(source, from),
            Phase::Done => Step::Done,
        };
        self.requests += u32::from(matches!(step, Step::Ask(_)));
        step
    }

    /// Takes an answer; returns the owners' items that came, none where it is no answer to what was
    /// asked.
    pub(super) fn answered(&mut self, response: Response) -> Option<VecDeque<Arc<Item>>> {
        match (&self.phase, response) {
            (
                Phase::Pull { since, limit },
                Response::GetItems {
                    items,
                    targets,
                    has_more,
                },
            ) => {
                let (since, limit) = (*since, *limit);
                Some(self.page((since, limit), items, &targets, has_more))
            }
            (Phase::Push(_) | Phase::Done, Response::PutBatch { .. }) => Some(VecDeque::new()),
            _ => None,
        }
    }

    /// No answer came. Returns whether there is something else to try.
    pub(super) fn failed(&mut self) -> bool {
        match &mut self.phase {
            Phase::Pull { limit, .. } if *limit > 1 => {
                *limit /= 2;
                true
            }
            _ => false,
        }
    }

    fn page(
        &mut self,
        (since, limit): (Seq, i64),
        items: Vec<WireItem>,
        targets: &[Target],
        has_more: bool,
    ) -> VecDeque<Arc<Item>> {
        let mut taken = VecDeque::new();
        let mut highest = since;
        for (place, item) in items.into_iter().enumerate() {
            let Some(item) = item.into_item() else {
                continue;
            };
            highest = highest.max(item.seq);
            let own = item.target();
            // Whose mirrors are taken is a matter of configuration; none come this way.
            if targets.get(place).is_none_or(|target| *target == own) {
                if self.seen.len() < MAX_SEEN {
                    let seq = self.seen.entry(Lead::of(&own)).or_default();
                    *seq = item.seq.max(*seq);
                }
                taken.push_back(item);
            }
        }
        self.pages += 1;
        let goes_on = has_more && highest > since && self.pages < MAX_PAGES;
        self.phase = match goes_on {
            true => Phase::Pull {
                since: highest,
                limit,
            },
            false => Phase::Push(Target::default()),
        };
        taken
    }

    /// The next batch.
    fn push(&mut self, source: &impl Source, from: Target) -> Step {
        let (mut items, mut targets, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = None;
        for (looked, (target, version)) in source.entries(from).enumerate() {
            let full = items.len() >= BATCH_ITEMS || bytes >= BATCH_BYTES;
            if full || looked >= LOOKED_AT {
                next = Some(target);
                break;
            }
            let seen = self.seen.get(&Lead::of(&target));
            if seen.is_some_and(|seen| *seen >= version.seq) {
                continue;
            }
            let Some((item, life)) = source.item(&target) else {
                continue;
            };
            if life.age > self.most_age {
                continue;
            }
            bytes += 2 + encoded_item_len(&item) + encoded_target_len(&target);
            items.push(WireItem::from(&item));
            targets.push(target);
        }
        self.phase = match next {
            Some(target) => Phase::Push(target),
            None => Phase::Done,
        };
        if items.is_empty() {
            return match self.phase {
                Phase::Done => Step::Done,
                _ => Step::Again,
            };
        }
        self.given += items.len() as u64;
        Step::Ask(Request::PutBatch { items, targets })
    }
}
