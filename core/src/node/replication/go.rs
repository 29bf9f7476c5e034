//! One pass with an upstream full node, in both directions, as plain state: fetches pages of all
//! its items by GetItems, then pushes what it lacks or has in an older version in batches by
//! PutBatch.
//!
//! Upstream sends pages in the order of (sequence, target) and never splits the items of one
//! sequence. If such a page exceeds the size of a message, upstream sends nothing; then the pass
//! asks for fewer items, and if that does not help, it pushes what is left nevertheless.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, Seq};
use crate::sync::{Lead, Source};
use crate::wire::{Request, Response, WireItem, encoded_item_len, encoded_target_len};

/// Initial number of items per page; halved if no answer comes.
const PAGE_ITEMS: i64 = 256;
/// Maximum encoded size of a batch: upstream accepts 4 MiB, and checks a batch within its caller's
/// deadline.
const BATCH_BYTES: usize = 1024 * 1024;
/// Maximum number of items in a batch.
const BATCH_ITEMS: usize = 256;
/// Maximum number of the peer's items that are remembered to see which it lacks.
const MAX_SEEN: usize = 1 << 18;
/// Maximum number of entries visited in one step.
const LOOKED_AT: usize = 4_096;
/// Maximum number of pages of one pass.
const MAX_PAGES: u32 = 16_384;

/// Phase of a pass.
enum PassPhase {
    /// Fetching pages of sequences above `since`.
    Pull {
        since: Seq,
        limit: i64,
    },
    /// Pushing what the peer lacks, from this target on.
    Push(Target),
    Done,
}

/// The next action of a pass.
pub(super) enum PassStep {
    /// Send this request.
    Ask(Request),
    /// More entries have to be visited: call again.
    Again,
    Done,
}

/// State of a pass.
pub(super) struct GoPass {
    phase: PassPhase,
    /// Sequences of the peer's items that are at their owner's target.
    seen: BTreeMap<Lead, Seq>,
    pages: u32,
    /// Number of requests made.
    pub(super) requests: u32,
    /// Number of items pushed.
    pub(super) given: u64,
    /// Maximum age of an item to push: upstream gives it a complete new lifetime.
    most_age: Duration,
}

impl GoPass {
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            phase: PassPhase::Pull {
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

    /// Returns the next action.
    pub(super) fn next(&mut self, source: &impl Source) -> PassStep {
        let step = match self.phase {
            PassPhase::Pull { since, limit } => PassStep::Ask(Request::GetItems {
                salt: alloc::string::String::new(),
                since_seq: since,
                limit,
            }),
            PassPhase::Push(from) => self.push(source, from),
            PassPhase::Done => PassStep::Done,
        };
        self.requests += u32::from(matches!(step, PassStep::Ask(_)));
        step
    }

    /// Takes an answer. Returns the owners' items in it; `None` if it does not match the request.
    pub(super) fn answered(&mut self, response: Response) -> Option<VecDeque<Arc<Item>>> {
        match (&self.phase, response) {
            (
                PassPhase::Pull { since, limit },
                Response::GetItems {
                    items,
                    targets,
                    has_more,
                },
            ) => {
                let (since, limit) = (*since, *limit);
                Some(self.page((since, limit), items, &targets, has_more))
            }
            (PassPhase::Push(_) | PassPhase::Done, Response::PutBatch { .. }) => {
                Some(VecDeque::new())
            }
            _ => None,
        }
    }

    /// Records that no answer came. Returns whether there is something else to try.
    pub(super) fn failed(&mut self) -> bool {
        match &mut self.phase {
            PassPhase::Pull { limit, .. } if *limit > 1 => {
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
            // Only items of owners are accepted from a pass; accepting mirrors depends on
            // configuration.
            if targets.get(place).is_none_or(|target| *target == own) {
                if self.seen.len() < MAX_SEEN {
                    let seq = self.seen.entry(Lead::of(&own)).or_default();
                    *seq = item.seq.max(*seq);
                }
                taken.push_back(item);
            }
        }
        self.pages += 1;
        let continues = has_more && highest > since && self.pages < MAX_PAGES;
        self.phase = match continues {
            true => PassPhase::Pull {
                since: highest,
                limit,
            },
            false => PassPhase::Push(Target::default()),
        };
        taken
    }

    /// Builds the next batch.
    fn push(&mut self, source: &impl Source, from: Target) -> PassStep {
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
            Some(target) => PassPhase::Push(target),
            None => PassPhase::Done,
        };
        if items.is_empty() {
            return match self.phase {
                PassPhase::Done => PassStep::Done,
                _ => PassStep::Again,
            };
        }
        self.given += items.len() as u64;
        PassStep::Ask(Request::PutBatch { items, targets })
    }
}
