use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use quickcheck::quickcheck;

use super::{any_id, at, filled, flipped, keys, random, update};
use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::routing::{
    Blame, Candidacy, FAILURES_KEPT, FAILURES_KEPT_ALONE, Failed, InsertResult, PeerUpdate, Table,
};

const K: usize = 3;
const WAITING: usize = 2;

/// `n` keys that fall into bucket 0 of the first id.
fn one_bucket(seed: u64, n: usize) -> (NodeId, Vec<PublicKey>) {
    let mut random = random(seed);
    let local = any_id(&mut random);
    let far = |key: &PublicKey| key.id().distance(&local).common_prefix() == 0;
    let keys: Vec<_> = keys(&mut random, 4 * n + 40)
        .into_iter()
        .filter(far)
        .take(n)
        .collect();
    assert_eq!(keys.len(), n);
    (local, keys)
}

/// A table whose bucket 0 is full with the first [`K`] keys, seen at 0, 1, 2 … seconds.
fn full(seed: u64, n: usize) -> (Table, Vec<PublicKey>) {
    let (local, keys) = one_bucket(seed, n);
    let mut table = Table::new(local, K, WAITING);
    for (second, key) in (0..).zip(&keys[..K]) {
        assert_eq!(
            table.insert_or_update(&update(*key), at(second)),
            InsertResult::Added
        );
    }
    (table, keys)
}

fn order(table: &Table) -> Vec<NodeId> {
    table.iter().map(|peer| peer.id).collect()
}

fn ids(keys: &[PublicKey]) -> Vec<NodeId> {
    keys.iter().map(PublicKey::id).collect()
}

#[test]
fn the_local_node_never_enters() {
    let key = keys(&mut random(1), 1)[0];
    let mut table = Table::new(key.id(), K, WAITING);
    assert_eq!(
        table.insert_or_update(&update(key), at(0)),
        InsertResult::Itself
    );
    assert!(table.is_empty() && table.iter().next().is_none());
}

#[test]
fn a_known_peer_moves_to_the_tail_and_its_failures_are_forgotten() {
    let (mut table, keys) = full(2, 3);
    let first = keys[0].id();
    assert_eq!(
        table.failed(&first, Blame::Peer),
        Failed::Kept { failures: 1 }
    );
    assert!(!table.get(&first).unwrap().is_live());
    assert_eq!(
        table.insert_or_update(&update(keys[0]), at(9)),
        InsertResult::Refreshed
    );
    assert_eq!(order(&table), ids(&[keys[1], keys[2], keys[0]]));
    let contact = table.get(&first).unwrap();
    assert!(contact.is_live());
    assert_eq!(contact.last_seen, at(9));
}

#[test]
fn an_inbound_contact_neither_hides_nor_proves_reachability() {
    let key = keys(&mut random(3), 1)[0];
    let mut table = Table::new(any_id(&mut random(4)), K, WAITING);
    let addr = Some("192.0.2.1:100".parse().unwrap());
    let inbound = PeerUpdate {
        key,
        addr: None,
        reachable: false,
    };
    let dialled = PeerUpdate {
        key,
        addr,
        reachable: true,
    };
    table.insert_or_update(&inbound, at(0));
    assert!(!table.get(&key.id()).unwrap().reachable);
    table.insert_or_update(&dialled, at(1));
    table.insert_or_update(&inbound, at(2));
    let contact = *table.get(&key.id()).unwrap();
    assert_eq!((contact.reachable, contact.addr), (true, addr));
    assert!(table.set_reach(&key.id(), None, false));
    let contact = *table.get(&key.id()).unwrap();
    assert_eq!((contact.reachable, contact.addr), (false, None));
}

#[test]
fn a_full_bucket_asks_for_one_ping_of_its_oldest() {
    let (mut table, keys) = full(5, 5);
    let oldest = keys[0].id();
    let first = table.insert_or_update(&update(keys[3]), at(400));
    assert_eq!(first, InsertResult::Full { oldest, ping: true });
    let second = table.insert_or_update(&update(keys[4]), at(401));
    assert_eq!(
        second,
        InsertResult::Full {
            oldest,
            ping: false
        }
    );
    assert_eq!(table.len(), K);
    assert!(
        table.get(&keys[3].id()).is_none(),
        "waiting is not being in"
    );
}

#[test]
fn a_peer_that_answered_lately_is_not_pinged() {
    let (mut table, keys) = full(6, 4);
    let oldest = keys[0].id();
    for (second, ping) in [(299, false), (300, true)] {
        let result = table.insert_or_update(&update(keys[3]), at(second));
        assert_eq!(result, InsertResult::Full { oldest, ping }, "at {second} s");
    }
}

#[test]
fn a_pinged_peer_that_answers_stays_and_the_next_oldest_is_pinged_next() {
    let (mut table, keys) = full(7, 4);
    table.insert_or_update(&update(keys[3]), at(400));
    assert!(table.ping_answered(&keys[0].id(), at(401)));
    assert_eq!(order(&table), ids(&[keys[1], keys[2], keys[0]]));
    let result = table.insert_or_update(&update(keys[3]), at(402));
    let oldest = keys[1].id();
    assert_eq!(result, InsertResult::Full { oldest, ping: true });
}

#[test]
fn a_pinged_peer_that_fails_is_replaced_immediately_by_the_newest() {
    let (mut table, keys) = full(8, 5);
    table.insert_or_update(&update(keys[3]), at(400));
    table.insert_or_update(&update(keys[4]), at(401));
    let failed = table.failed(&keys[0].id(), Blame::Peer);
    let replacement = Some(keys[4].id());
    assert_eq!(failed, Failed::Removed { replacement });
    assert_eq!(order(&table), ids(&[keys[1], keys[2], keys[4]]));
}

#[test]
fn a_replacement_takes_the_rank_of_its_age() {
    let (mut table, keys) = full(9, 4);
    table.insert_or_update(&update(keys[3]), at(400));
    table.ping_answered(&keys[1].id(), at(500));
    table.failed(&keys[0].id(), Blame::Peer);
    assert_eq!(order(&table), ids(&[keys[2], keys[3], keys[1]]));
}

#[test]
fn when_the_fault_may_be_ours_no_peer_leaves_and_the_ping_may_be_repeated() {
    let (mut table, keys) = full(10, 4);
    let oldest = keys[0].id();
    table.insert_or_update(&update(keys[3]), at(400));
    for _ in 0..20 {
        for key in &keys[..K] {
            let kept = Failed::Kept { failures: 0 };
            assert_eq!(table.failed(&key.id(), Blame::Unclear), kept);
        }
        assert_eq!(table.failed(&keys[3].id(), Blame::Unclear), Failed::Unknown);
    }
    let result = table.insert_or_update(&update(keys[3]), at(401));
    assert_eq!(result, InsertResult::Full { oldest, ping: true });
}

#[test]
fn dead_peers_leave_after_three_failures_when_a_replacement_waits() {
    let (mut table, keys) = full(11, 4);
    table.insert_or_update(&update(keys[3]), at(10));
    let dead = keys[1].id();
    for failures in 1..FAILURES_KEPT {
        assert_eq!(table.failed(&dead, Blame::Peer), Failed::Kept { failures });
    }
    let replacement = Some(keys[3].id());
    assert_eq!(
        table.failed(&dead, Blame::Peer),
        Failed::Removed { replacement }
    );
    assert_eq!(table.len(), K);
}

#[test]
fn dead_peers_leave_after_five_failures_when_no_replacement_waits() {
    let (mut table, keys) = full(12, 4);
    let dead = keys[1].id();
    for failures in 1..FAILURES_KEPT_ALONE {
        assert_eq!(table.failed(&dead, Blame::Peer), Failed::Kept { failures });
    }
    let replacement = None;
    assert_eq!(
        table.failed(&dead, Blame::Peer),
        Failed::Removed { replacement }
    );
    assert_eq!(table.failed(&dead, Blame::Peer), Failed::Unknown);
    assert_eq!(
        table.insert_or_update(&update(keys[3]), at(20)),
        InsertResult::Added
    );
}

#[test]
fn a_new_peer_replaces_one_that_failed_three_times_already() {
    let (mut table, keys) = full(13, 5);
    for _ in 0..FAILURES_KEPT {
        table.failed(&keys[1].id(), Blame::Peer);
        table.failed(&keys[2].id(), Blame::Peer);
    }
    // Among equals the one seen longest ago is removed first.
    for (newcomer, gone) in [(3, 1), (4, 2)] {
        let removed = keys[gone].id();
        let result = table.insert_or_update(&update(keys[newcomer]), at(10));
        assert_eq!(result, InsertResult::Replaced { removed });
    }
    assert_eq!(order(&table), ids(&[keys[0], keys[3], keys[4]]));
}

#[test]
fn the_least_recent_replacement_goes_first_and_failing_ones_are_forgotten() {
    let (mut table, keys) = full(14, 6);
    for (second, key) in (10..).zip(&keys[K..]) {
        table.insert_or_update(&update(*key), at(second));
    }
    assert_eq!(table.buckets().collect::<Vec<_>>(), [(0, K, WAITING)]);
    let newest = keys[5].id();
    assert_eq!(table.failed(&newest, Blame::Peer), Failed::Forgotten);
    let replacement = Some(keys[4].id());
    assert_eq!(
        table.remove(&keys[0].id()),
        Failed::Removed { replacement },
        "keys[3] was the least recent of three"
    );
    let replacement = None;
    assert_eq!(table.remove(&keys[1].id()), Failed::Removed { replacement });
}

#[test]
fn without_a_replacement_cache_a_pinged_peer_is_counted_like_any_other() {
    let (local, keys) = one_bucket(15, 4);
    let mut table = Table::new(local, K, 0);
    for key in &keys[..K] {
        table.insert_or_update(&update(*key), at(0));
    }
    let oldest = keys[0].id();
    let result = table.insert_or_update(&update(keys[3]), at(400));
    assert_eq!(result, InsertResult::Full { oldest, ping: true });
    assert_eq!(
        table.failed(&oldest, Blame::Peer),
        Failed::Kept { failures: 1 }
    );
}

#[test]
fn a_new_peer_is_a_candidate_until_bucket_and_replacements_are_full_of_live_peers() {
    let (local, keys) = one_bucket(18, K + 3);
    // A longer list of replacements is filled by lookups, not by pinging unknown callers.
    let mut table = Table::new(local, K, 8);
    let last = keys[K + 2].id();
    for key in &keys[..K + 2] {
        assert_eq!(table.candidacy_of(&last, at(0).mono), Candidacy::Member);
        table.insert_or_update(&update(*key), at(0));
    }
    assert_eq!(table.candidacy_of(&last, at(299).mono), Candidacy::None);
    assert_eq!(table.candidacy_of(&local, at(300).mono), Candidacy::None);
    // It is a reason to ping the oldest, once.
    let oldest = keys[0].id();
    let reminder = Candidacy::Reminder { oldest };
    assert_eq!(table.candidacy_of(&last, at(300).mono), reminder);
    assert_eq!(table.candidacy_of(&last, at(300).mono), Candidacy::None);
    table.failed(&oldest, Blame::Unclear);
    assert_eq!(table.candidacy_of(&last, at(300).mono), reminder);
    assert!(table.ping_answered(&oldest, at(300)));
    let oldest = keys[1].id();
    let reminder = Candidacy::Reminder { oldest };
    assert_eq!(table.candidacy_of(&last, at(300).mono), reminder);
    // Elsewhere there is room, and here after a failure.
    let elsewhere = flipped(local, 200);
    assert_eq!(
        table.candidacy_of(&elsewhere, at(1).mono),
        Candidacy::Member
    );
    table.failed(&keys[2].id(), Blame::Peer);
    assert_eq!(table.candidacy_of(&last, at(1).mono), Candidacy::Member);
}

#[test]
fn stale_are_the_ranges_up_to_the_deepest_peer_that_no_lookup_went_through() {
    let deepest = keys(&mut random(16), 1)[0];
    let mut table = filled(flipped(deepest.id(), 4), K, &[deepest]);
    let hour = Duration::from_secs(3600);
    let stale =
        |table: &Table, second| -> Vec<u8> { table.stale_buckets(at(second).mono, hour).collect() };
    assert_eq!(stale(&table, 3599), [0u8; 0]);
    assert_eq!(stale(&table, 3600), [0, 1, 2, 3, 4]);
    table.refreshed(1, at(10).mono);
    table.refreshed(3, at(20).mono);
    table.refreshed(200, at(20).mono);
    assert_eq!(stale(&table, 3609), [0, 2, 4]);
    assert_eq!(stale(&table, 3610), [0, 1, 2, 4]);
    assert_eq!(table.sparse_buckets(1).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(table.sparse_buckets(2).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    table.remove(&deepest.id());
    assert_eq!(stale(&table, 9999), [0u8; 0]);
    assert_eq!(table.sparse_buckets(2).count(), 0);
}

#[test]
fn a_random_target_lies_in_the_range_it_was_asked_for() {
    let mut random = random(17);
    let table = Table::new(any_id(&mut random), K, WAITING);
    for index in 0..=u8::MAX {
        let bytes = random.bytes();
        let target = table.random_target_in(index, bytes);
        assert_eq!(table.bucket_of(&target), Some(index));
        // All bits after the prefix are the random ones.
        let given = NodeId::from_bytes(bytes);
        let difference = target.distance(&given);
        let same_tail = (u16::from(index) + 1..256).all(|bit| !difference.bit(bit as u8));
        assert!(same_tail, "bucket {index}");
    }
    assert_eq!(table.bucket_of(&Target::from(table.local)), None);
}

/// Checks the invariants of a table.
fn check(table: &Table) {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for (index, bucket) in table.buckets.iter().enumerate() {
        assert!(bucket.peers.len() <= K && bucket.replacements.len() <= WAITING);
        assert!(bucket.replacements.is_empty() || bucket.peers.len() == K);
        for list in [&bucket.peers, &bucket.replacements] {
            assert!(list.is_sorted_by_key(|peer| peer.last_seen.mono));
            for peer in list {
                assert_eq!(peer.id, peer.key.id());
                let prefix = peer.id.distance(&table.local).common_prefix();
                assert_eq!(usize::from(prefix), index);
                assert!(seen.insert(peer.id), "twice");
            }
        }
        let worst = bucket.peers.iter().map(|peer| peer.failures).max();
        assert!(worst < Some(FAILURES_KEPT_ALONE));
        assert!(worst < Some(FAILURES_KEPT) || bucket.replacements.is_empty());
        assert!(bucket.replacements.iter().all(|peer| peer.is_live()));
        let pinging = bucket.pinging;
        assert!(pinging.is_none_or(|id| bucket.position(&id).is_some()));
        count += bucket.peers.len();
    }
    assert_eq!(table.len(), count);
    assert_eq!(table.iter().count(), count);
    assert!(
        table
            .buckets
            .last()
            .is_none_or(|last| !last.peers.is_empty())
    );
}

quickcheck! {
    fn any_history_leaves_the_table_in_order(seed: u64, deep: u8, steps: Vec<(u8, u8)>) -> bool {
        let mut random = random(seed);
        let keys = keys(&mut random, 48);
        // A local id very near to one of the peers, so that deep buckets occur as well.
        let mut table = Table::new(flipped(keys[0].id(), deep.into()), K, WAITING);
        let mut second = 0;
        for (action, which) in steps {
            second += u64::from(action / 8);
            let key = keys[usize::from(which) % keys.len()];
            let id = key.id();
            let known = table.get(&id).copied();
            let before = table.len();
            match action % 8 {
                0..=3 => {
                    let result = table.insert_or_update(&update(key), at(second));
                    assert_eq!(result == InsertResult::Refreshed, known.is_some());
                    assert_eq!(result == InsertResult::Added, table.len() == before + 1);
                    assert_eq!(matches!(result, InsertResult::Full { .. }), table.get(&id).is_none());
                }
                4 => assert_eq!(table.ping_answered(&id, at(second)), known.is_some()),
                5 => match table.failed(&id, Blame::Unclear) {
                    Failed::Kept { failures } => assert_eq!(Some(failures), known.map(|it| it.failures)),
                    failed => assert_eq!((failed, known), (Failed::Unknown, None)),
                },
                6 => match table.failed(&id, Blame::Peer) {
                    Failed::Kept { failures } => {
                        assert_eq!(Some(failures), known.map(|it| it.failures + 1));
                    }
                    Failed::Removed { replacement } => {
                        assert!(known.is_some() && table.get(&id).is_none());
                        assert_eq!(table.len() == before, replacement.is_some());
                    }
                    Failed::Forgotten | Failed::Unknown => assert_eq!(known, None),
                },
                _ => match table.remove(&id) {
                    Failed::Removed { .. } => assert!(known.is_some()),
                    Failed::Forgotten | Failed::Unknown => assert_eq!(known, None),
                    Failed::Kept { .. } => panic!("removed means removed"),
                },
            }
            check(&table);
        }
        true
    }
}

#[test]
fn without_replacements_a_new_peer_is_a_candidate_until_the_bucket_is_full() {
    let (local, keys) = one_bucket(19, K + 1);
    let mut table = Table::new(local, K, 0);
    let last = keys[K].id();
    for key in &keys[..K] {
        assert_eq!(table.candidacy_of(&last, at(0).mono), Candidacy::Member);
        table.insert_or_update(&update(*key), at(0));
    }
    assert_eq!(table.candidacy_of(&last, at(0).mono), Candidacy::None);
}
