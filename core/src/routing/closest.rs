//! The nearest peers to a target, in one walk over the buckets.
//!
//! For a peer of bucket `i`, the distance to a target agrees with d = local XOR target in
//! the bits before `i` and differs from it in bit `i`. So every peer of a bucket whose bit
//! in d is 1 is nearer than the local node, in ascending order of buckets, and every peer
//! of the others is farther, in descending order. Only peers of one bucket need sorting,
//! and a walk stops after the buckets it needs.

use smallvec::SmallVec;

use crate::id::{Distance, Target};
use crate::routing::contact::Contact;
use crate::routing::table::Table;

/// Number of peers of one bucket that fit on the stack: Kademlia's usual k.
const INLINE: usize = 20;

impl Table {
    /// The `n` nearest peers to `target`, nearest first.
    pub fn closest<'a>(
        &'a self,
        target: &Target,
        n: usize,
    ) -> impl Iterator<Item = &'a Contact> + use<'a> {
        self.closest_where(target, n, |_| true)
    }

    /// The `n` nearest peers to `target` that satisfy `keep`, nearest first.
    pub fn closest_where<'a, F>(
        &'a self,
        target: &Target,
        n: usize,
        keep: F,
    ) -> impl Iterator<Item = &'a Contact> + use<'a, F>
    where
        F: Fn(&Contact) -> bool + 'a,
    {
        let target = *target;
        let buckets = self.buckets.as_slice();
        bucket_order(target.distance(&self.local), buckets.len())
            .flat_map(move |index| sorted(&buckets[index].peers, &target, &keep))
            .take(n)
    }

    /// Number of live peers nearer to `target` than the local node, counted up to `limit`.
    #[must_use]
    pub fn nearer_than_local(&self, target: &Target, limit: usize) -> usize {
        let path = target.distance(&self.local);
        (0u8..=u8::MAX)
            .zip(&self.buckets)
            .filter(|(index, _)| path.bit(*index))
            .flat_map(|(_, bucket)| &bucket.peers)
            .filter(|peer| peer.is_live())
            .take(limit)
            .count()
    }
}

/// The indexes below `len`, in the order of distance from a target at distance `path` from the
/// local id.
pub(super) fn bucket_order(path: Distance, len: usize) -> impl Iterator<Item = usize> {
    let nearer = move |index: &usize| u8::try_from(*index).is_ok_and(|index| path.bit(index));
    (0..len)
        .filter(nearer)
        .chain((0..len).rev().filter(move |index| !nearer(index)))
}

fn sorted<'a, F: Fn(&Contact) -> bool>(
    peers: &'a [Contact],
    target: &Target,
    keep: &F,
) -> impl Iterator<Item = &'a Contact> + use<'a, F> {
    let mut near: SmallVec<[(u128, &Contact); INLINE]> = peers
        .iter()
        .filter(|peer| keep(peer))
        .map(|peer| (target.distance(&peer.id).high(), peer))
        .collect();
    // The upper halves decide except for ground ids, which are compared completely.
    near.sort_unstable_by(|(a, peer), (b, other)| {
        a.cmp(b)
            .then_with(|| target.distance(&peer.id).cmp(&target.distance(&other.id)))
    });
    near.into_iter().map(|(_, peer)| peer)
}
