use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::{any_id, any_target, at, filled, flipped, keys, random};
use crate::id::{NodeId, Target};
use crate::routing::closest::bucket_order;
use crate::routing::{Blame, Contact, Table};

/// The expected result of the walk, by sorting all peers.
fn brute(table: &Table, target: &Target, keep: impl Fn(&Contact) -> bool) -> Vec<NodeId> {
    let mut all: Vec<NodeId> = table
        .iter()
        .filter(|peer| keep(peer))
        .map(|peer| peer.id)
        .collect();
    all.sort_by_key(|id| target.distance(id));
    all
}

/// A table with a very near peer, and targets of all kinds for it.
fn table_and_targets(seed: u64, n: usize, deep: usize) -> (Table, Vec<Target>) {
    let mut random = random(seed);
    let keys = keys(&mut random, n.max(1));
    let local = flipped(keys[0].id(), deep % 256);
    let table = filled(local, 5, &keys);
    let targets = [
        any_target(&mut random),
        Target::from(local),
        Target::from(keys[n / 2].id()),
        Target::from(flipped(local, 255)),
        table.random_target_in(3, random.bytes()),
    ];
    (table, targets.into())
}

#[test]
fn buckets_are_visited_in_the_order_of_their_distance() {
    let mut random = random(1);
    for _ in 0..100 {
        let local = any_id(&mut random);
        let target = any_target(&mut random);
        let path = target.distance(&local);
        let order: Vec<usize> = bucket_order(path, 40).collect();
        // The nearest id in each bucket's range: the target's own bits where they are free.
        let nearest_in = |index: &usize| {
            let mut id = flipped(local, *index);
            for bit in index + 1..256 {
                if id
                    .distance(&NodeId::from_bytes(*target.as_bytes()))
                    .bit(bit as u8)
                {
                    id = flipped(id, bit);
                }
            }
            target.distance(&id)
        };
        let mut expected: Vec<usize> = (0..40).collect();
        expected.sort_by_key(nearest_in);
        assert_eq!(order, expected);
    }
}

#[test]
fn ids_that_share_their_upper_half_are_still_distinguished() {
    // Keys cannot be ground to that degree, so the contacts are made up.
    let mut random = random(2);
    let peers = keys(&mut random, 1);
    let local = flipped(peers[0].id(), 0);
    let mut table = filled(local, 5, &peers);
    let first = table.buckets[0].peers[0];
    for bit in [250, 130, 200] {
        let mut twin = first;
        twin.id = flipped(first.id, bit);
        table.buckets[0].peers.push(twin);
    }
    let target = Target::from(first.id);
    let walked: Vec<NodeId> = table.closest(&target, 9).map(|peer| peer.id).collect();
    assert_eq!(walked, brute(&table, &target, |_| true));
    assert_eq!(walked[1], flipped(first.id, 250));
}

quickcheck! {
    fn the_walk_agrees_with_sorting_everything(seed: u64, size: u8, n: u8, deep: u8) -> bool {
        let (table, targets) = table_and_targets(seed, size.into(), deep.into());
        let n = usize::from(n) % 48;
        targets.iter().all(|target| {
            let walked: Vec<NodeId> = table.closest(target, n).map(|peer| peer.id).collect();
            let sorted = brute(&table, target, |_| true);
            walked == sorted[..n.min(sorted.len())]
        })
    }

    fn filtered_walks_agree_as_well(seed: u64, size: u8, n: u8) -> bool {
        let (table, targets) = table_and_targets(seed, size.into(), 7);
        let n = usize::from(n) % 48;
        let keep = |peer: &Contact| peer.id.as_bytes()[31].is_multiple_of(3);
        targets.iter().all(|target| {
            let walked: Vec<NodeId> = table.closest_where(target, n, keep).map(|peer| peer.id).collect();
            let sorted = brute(&table, target, keep);
            walked == sorted[..n.min(sorted.len())]
        })
    }

    fn nearer_than_local_counts_live_peers_up_to_the_limit(seed: u64, size: u8, limit: u8) -> bool {
        let (mut table, targets) = table_and_targets(seed, size.into(), 9);
        let every_third: Vec<NodeId> = table.iter().step_by(3).map(|peer| peer.id).collect();
        for id in &every_third {
            table.failed(id, Blame::Peer);
        }
        let limit = usize::from(limit) % 16;
        targets.iter().all(|target| {
            let own = target.distance(&table.local);
            let nearer = table
                .iter()
                .filter(|peer| peer.is_live() && target.distance(&peer.id) < own)
                .count();
            table.nearer_than_local(target, limit) == nearer.min(limit)
        })
    }
}

#[test]
fn a_peer_that_answers_again_counts_as_live_again() {
    let mut random = random(3);
    let keys = keys(&mut random, 1);
    let mut table = filled(any_id(&mut random), 5, &keys);
    let target = Target::from(keys[0].id());
    assert_eq!(table.nearer_than_local(&target, 9), 1);
    table.failed(&keys[0].id(), Blame::Peer);
    assert_eq!(table.nearer_than_local(&target, 9), 0);
    table.ping_answered(&keys[0].id(), at(1));
    assert_eq!(table.nearer_than_local(&target, 9), 1);
}
