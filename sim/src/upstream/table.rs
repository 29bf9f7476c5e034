//! Upstream's routing table: 256 lists of 20 peers, which are never replaced.
//!
//! A full list names its longest unseen peer as a candidate for eviction, but every caller ignores
//! the candidate: the new peer is dropped, and dead peers stay for ever (defect 1). Entries are
//! what a caller claims: an id need not be the hash of its key (defect 3).

use std::collections::BTreeMap;

use skydht_core::id::{Distance, NodeId, Target};
use skydht_core::key::PublicKey;
use skydht_core::time::Unix;

/// Number of peers in a list, of peers in an answer, and of holders of an item.
pub const K: usize = 20;

/// A peer as upstream knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Contact {
    /// The claimed id. With methods 5 and 6 it may be an id that is not the hash of any key.
    pub id: NodeId,
    /// Go's zero key, which cannot be dialled, is `None`.
    pub key: Option<PublicKey>,
    /// Time of the last contact.
    pub last_seen: Unix,
}

impl Contact {
    /// The correct contact for `key`.
    #[must_use]
    pub fn of(key: &PublicKey, last_seen: Unix) -> Self {
        Self {
            id: key.id(),
            key: Some(*key),
            last_seen,
        }
    }
}

/// Result of adding a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// The node itself, which is never added.
    Own,
    /// Already known. It becomes the one seen last.
    Known,
    /// Added; there was room.
    Added,
    /// Dropped, because its list is full.
    Full {
        /// The peer of that list that has not been seen for longest.
        candidate: Contact,
    },
}

/// The routing table.
#[derive(Clone, Debug)]
pub struct Table {
    own: NodeId,
    /// By length of the common prefix, where 256 counts as 255. The longest unseen peer is first.
    buckets: BTreeMap<u16, Vec<Contact>>,
}

impl Table {
    /// An empty table for the node with the id `own`.
    #[must_use]
    pub const fn new(own: NodeId) -> Self {
        Self {
            own,
            buckets: BTreeMap::new(),
        }
    }

    /// Adds or updates a peer. A peer with a known id counts as known, whatever its key.
    pub fn update(&mut self, contact: Contact) -> Update {
        if contact.id == self.own {
            return Update::Own;
        }
        let index = self.own.distance(&contact.id).common_prefix().min(255);
        let bucket = self.buckets.entry(index).or_default();
        if let Some(at) = bucket.iter().position(|known| known.id == contact.id) {
            let mut known = bucket.remove(at);
            known.last_seen = contact.last_seen;
            bucket.push(known);
            return Update::Known;
        }
        if bucket.len() == K {
            let candidate = bucket[0];
            return Update::Full { candidate };
        }
        bucket.push(contact);
        Update::Added
    }

    /// The `count` peers nearest to `target`, nearest first.
    #[must_use]
    pub fn closest(&self, target: &Target, count: usize) -> Vec<Contact> {
        let mut all: Vec<(Distance, &Contact)> = self
            .iter()
            .map(|contact| (target.distance(&contact.id), contact))
            .collect();
        if count == 0 {
            return Vec::new();
        }
        if all.len() > count {
            all.select_nth_unstable_by_key(count - 1, |(distance, _)| *distance);
            all.truncate(count);
        }
        all.sort_unstable_by_key(|(distance, _)| *distance);
        all.into_iter().map(|(_, contact)| *contact).collect()
    }

    /// All peers, the farthest list first.
    pub fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.buckets.values().flatten()
    }

    /// Number of peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.values().map(Vec::len).sum()
    }

    /// Whether the table is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(first: u8, last: u8) -> Contact {
        let mut id = [0; 32];
        (id[0], id[31]) = (first, last);
        Contact {
            id: NodeId::from_bytes(id),
            key: None,
            last_seen: Unix(u64::from(last)),
        }
    }

    #[test]
    fn a_full_list_names_a_candidate_and_drops_the_newcomer() {
        let mut table = Table::new(NodeId::default());
        for last in 0..20 {
            assert_eq!(table.update(contact(0x80, last)), Update::Added);
        }
        // The first peer is seen again, so the second is the longest unseen.
        assert_eq!(table.update(contact(0x80, 0)), Update::Known);
        let candidate = contact(0x80, 1);
        assert_eq!(table.update(contact(0x80, 20)), Update::Full { candidate });
        assert_eq!(table.len(), 20);
        assert!(table.iter().all(|known| known.id != contact(0x80, 20).id));
        assert_eq!(table.update(contact(0x40, 0)), Update::Added);
    }

    #[test]
    fn the_node_itself_is_never_kept() {
        let mut table = Table::new(NodeId::default());
        assert_eq!(table.update(contact(0, 0)), Update::Own);
        assert!(table.is_empty());
    }

    #[test]
    fn the_closest_come_nearest_first() {
        let mut table = Table::new(NodeId::default());
        for first in [1, 2, 4, 0x80] {
            table.update(contact(first, 0));
        }
        let target = Target::from_bytes(*contact(5, 0).id.as_bytes());
        let firsts = |n| {
            let closest = table.closest(&target, n);
            closest
                .iter()
                .map(|it| it.id.as_bytes()[0])
                .collect::<Vec<_>>()
        };
        assert_eq!(firsts(9), [4, 1, 2, 0x80]);
        assert_eq!(firsts(2), [4, 1]);
        assert!(firsts(0).is_empty());
    }
}
