//! Pages of items by sequence, for GetItems.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, Salt, Seq};
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

/// How far the reading of a page is. The page may be read in pieces; what changes meanwhile
/// behind the place that was reached is in the next page or the next round.
#[derive(Clone, Debug)]
pub struct PageReader {
    salt: Option<Salt>,
    /// Read up to and with this.
    after: (Seq, Target),
    limit: usize,
    byte_budget: usize,
    items: usize,
    bytes: usize,
    /// Where the last run of equal sequences begins, and its sequence.
    run: usize,
    last: Option<Seq>,
}

/// A page is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageEnd {
    /// How many of the items read are in it; those behind begin a run that did not fit.
    pub items: usize,
    /// Whether more follows.
    pub has_more: bool,
}

impl PageReader {
    /// A page of the items with sequences above `since`, of one salt or of all. `limit` below 1
    /// means [`DEFAULT_PAGE`]; `byte_budget` bounds the sum of encoded lengths.
    #[must_use]
    pub fn new(salt: Option<&[u8]>, since: Seq, limit: i64, byte_budget: usize) -> Self {
        let limit = match usize::try_from(limit) {
            Ok(0) | Err(_) => DEFAULT_PAGE,
            Ok(limit) => limit,
        };
        Self {
            salt: salt.map(Salt::new),
            after: (since, Target::from_bytes([0xff; 32])),
            limit,
            byte_budget,
            items: 0,
            bytes: 0,
            run: 0,
            last: None,
        }
    }

    fn end(&self, items: usize, has_more: bool) -> Option<PageEnd> {
        Some(PageEnd { items, has_more })
    }
}

impl Store {
    /// Reads on in a page: at most `(items, bytes)` more, and one item at least. Gives each item
    /// to `each` as it comes; none means that more is to be read.
    ///
    /// The peer asks again from the highest sequence it got, so a run of equal sequences is
    /// never split, limit or not, unless it alone exceeds the budget. Then as much as fits is
    /// sent, one item at least. O(items + log n).
    pub fn read_page(
        &self,
        now: Time,
        reader: &mut PageReader,
        (items, bytes): (usize, usize),
        encoded_len: impl Fn(&Target, &Item) -> usize,
        mut each: impl FnMut(&Target, &Arc<Item>),
    ) -> Option<PageEnd> {
        let most = reader.bytes.saturating_add(bytes);
        let (salt, after) = (reader.salt.clone(), reader.after);
        let mut stored = self.index.after(salt.as_ref(), after);
        for _ in 0..items.max(1) {
            let Some((target, stored)) = stored.next() else {
                return reader.end(reader.items, false);
            };
            reader.after = (stored.item.seq, *target);
            if !stored.is_live(now) {
                continue;
            }
            let seq = stored.item.seq;
            if reader.last.is_some_and(|last| last != seq) {
                reader.run = reader.items;
                if reader.run >= reader.limit {
                    return reader.end(reader.items, true);
                }
            }
            reader.last = Some(seq);
            reader.bytes = reader
                .bytes
                .saturating_add(encoded_len(target, &stored.item));
            if reader.bytes > reader.byte_budget && reader.items > 0 {
                let kept = if reader.run > 0 {
                    reader.run
                } else {
                    reader.items
                };
                return reader.end(kept, true);
            }
            each(target, &stored.item);
            reader.items += 1;
            if reader.bytes >= most {
                break;
            }
        }
        None
    }

    /// A whole page, see [`Store::read_page`] and [`PageReader::new`].
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
        let mut reader = PageReader::new(salt, since, limit, byte_budget);
        let mut page = Page::default();
        let len = |_: &Target, item: &Item| encoded_len(item);
        let step = (usize::MAX, usize::MAX);
        let end = self.read_page(now, &mut reader, step, len, |target, item| {
            page.items.push((*target, item.clone()));
        });
        if let Some(end) = end {
            page.items.truncate(end.items);
            page.has_more = end.has_more;
        }
        page
    }
}
