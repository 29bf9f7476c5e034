//! What the store holds, in pages in the order of targets, for people and their scripts.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::item::{Item, Origin, Salt};
use crate::key::PublicKey;
use crate::store::Store;
use crate::sync::Prefix;
use crate::time::Time;

/// Items looked at for one page, whether they are in it or not.
const LOOKED_AT: usize = 4_096;
/// Bytes of values and salts after which a page ends.
const PAGE_BYTES: usize = 1 << 20;

/// Which items are listed; by default all.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// Only those under this salt.
    pub salt: Option<Salt>,
    /// Only those signed by this key.
    pub signer: Option<PublicKey>,
    /// Only those whose targets begin so.
    pub prefix: Prefix,
}

/// An item held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Where.
    pub target: Target,
    /// What.
    pub item: Arc<Item>,
    /// Owner or mirror.
    pub origin: Origin,
    /// Since its signer last vouched for it, as far as known.
    pub age: Option<Duration>,
    /// Until it expires; none: it does not.
    pub left: Option<Duration>,
}

/// A page.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ListPage {
    /// In the order of their targets; perhaps none, although there are more.
    pub items: Vec<Listed>,
    /// Where the next page begins; none after the last.
    pub next: Option<Target>,
}

impl Store {
    /// The living items from a target on that pass `filter`, at most `most` of them. Looks at a
    /// bounded number: a page may be empty and not the last.
    #[must_use]
    pub fn list(&self, now: Time, filter: &Filter, from: Target, most: usize) -> ListPage {
        let mut page = ListPage::default();
        let mut bytes = 0;
        let from = from.max(filter.prefix.first());
        for (looked, (target, stored)) in self.range(from).enumerate() {
            if !filter.prefix.contains(target) {
                break;
            }
            if looked >= LOOKED_AT || page.items.len() >= most || bytes >= PAGE_BYTES {
                page.next = Some(*target);
                break;
            }
            let item = stored.item();
            let passes = stored.is_live(now)
                && filter.salt.as_ref().is_none_or(|salt| *salt == item.salt)
                && filter.signer.is_none_or(|signer| signer == item.key);
            if passes {
                bytes += item.value.as_bytes().len() + item.salt.as_bytes().len();
                page.items.push(Listed {
                    target: *target,
                    item: item.clone(),
                    origin: stored.origin(),
                    age: stored.age(now),
                    left: stored.remaining(now),
                });
            }
        }
        page
    }
}
