//! Pages of items by sequence, for GetItems.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, Seq};
use crate::store::Store;
use crate::time::Time;

/// Items of a page when the caller names no limit (Go's number).
pub const DEFAULT_PAGE: usize = 1000;

/// A page of items, ordered by (sequence, target).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// Targets and what lies there.
    pub items: Vec<(Target, Arc<Item>)>,
    /// Whether more follows after the last sequence of this page, or within it.
    pub has_more: bool,
}

impl Store {
    /// The living items with sequences above `since`, of one salt or of all, by (sequence,
    /// target). `limit` below 1 means [`DEFAULT_PAGE`]. `encoded_len` says how many bytes an
    /// item takes in the answer; `byte_budget` bounds their sum.
    ///
    /// The reader asks again from the highest sequence it got, so a run of equal sequences is
    /// never split, `limit` or not, unless it alone exceeds the budget. Then as much as fits is
    /// sent, one item at least. O(page + log n).
    #[must_use]
    pub fn page(
        &self,
        now: Time,
        salt: Option<&[u8]>,
        since: Seq,
        limit: i64,
        byte_budget: usize,
        encoded_len: impl Fn(&Item) -> usize,
    ) -> Page {
        let limit = match usize::try_from(limit) {
            Ok(0) | Err(_) => DEFAULT_PAGE,
            Ok(limit) => limit,
        };
        let mut page = Page::default();
        let mut bytes = 0usize;
        // Where the last run begins.
        let mut run = 0;
        let living = self
            .index
            .since(salt, since)
            .filter(|(_, held)| held.is_live(now));
        for (target, held) in living {
            let seq = held.item.seq;
            if page.items.last().is_some_and(|(_, last)| last.seq != seq) {
                run = page.items.len();
                if run >= limit {
                    page.has_more = true;
                    break;
                }
            }
            bytes = bytes.saturating_add(encoded_len(&held.item));
            if bytes > byte_budget && !page.items.is_empty() {
                if run > 0 {
                    page.items.truncate(run);
                }
                page.has_more = true;
                break;
            }
            page.items.push((*target, held.item.clone()));
        }
        page
    }
}
