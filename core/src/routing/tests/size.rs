//! Tests on random networks with fixed seeds.

use alloc::vec::Vec;

use super::{any_id, any_target, filled, keys, random};
use crate::id::{Distance, NodeId, Target};
use crate::random::Random;
use crate::routing::{Blame, Table};

const K: usize = 20;

/// A node's table in a network of `nodes`, itself included, and the ids of all others.
fn network(random: &mut Random, nodes: usize) -> (Table, Vec<NodeId>) {
    let keys = keys(random, nodes - 1);
    let table = filled(any_id(random), K, &keys);
    (table, keys.iter().map(|key| key.id()).collect())
}

fn nth(ids: &[NodeId], target: &Target, n: usize) -> Distance {
    let mut distances: Vec<_> = ids.iter().map(|id| target.distance(id)).collect();
    distances.sort();
    distances[n - 1]
}

#[test]
fn a_small_network_is_counted() {
    let mut random = random(1);
    for nodes in 1..=K + 1 {
        let (table, _) = network(&mut random, nodes);
        assert_eq!(table.network_size(), nodes as u64);
        assert_eq!(
            table.expected_radius(nodes),
            u128::MAX - u128::MAX % nodes as u128
        );
    }
}

#[test]
fn a_large_network_is_estimated() {
    let mut random = random(2);
    for nodes in [50, 300, 3000] {
        let mut estimates: Vec<u64> = (0..101)
            .map(|_| network(&mut random, nodes).0.network_size())
            .collect();
        estimates.sort_unstable();
        let percent = |estimate: u64| estimate * 100 / nodes as u64;
        let (low, median, high) = (estimates[0], estimates[50], estimates[100]);
        assert!((90..=110).contains(&percent(median)), "{nodes}: {median}");
        assert!(
            percent(low) >= 50 && percent(high) <= 200,
            "{nodes}: {low} to {high}"
        );
    }
}

/// The k nearest of n are as dense as k - 1 within the distance of the last: the smaller k, the
/// more this matters.
#[test]
fn estimates_are_right_on_average() {
    let mut random = random(9);
    let (nodes, runs) = (500, 400);
    let estimates = (0..runs).map(|_| {
        let keys = keys(&mut random, nodes - 1);
        filled(any_id(&mut random), 8, &keys).network_size()
    });
    let average = estimates.sum::<u64>() / runs;
    assert!((470..=530).contains(&average), "{average}");
}

#[test]
fn dead_peers_do_not_count() {
    let mut random = random(3);
    let (mut table, ids) = network(&mut random, 2000);
    let before = table.network_size();
    for id in ids.iter().step_by(2) {
        table.failed(id, Blame::Peer);
    }
    let after = table.network_size();
    assert!(after * 10 < before * 8, "{before} then {after}");
}

#[test]
fn ids_next_to_the_local_one_do_not_overflow() {
    let mut random = random(4);
    let (mut table, _) = network(&mut random, 100);
    let local = table.local;
    for bucket in &mut table.buckets {
        for peer in &mut bucket.peers {
            peer.id = local;
        }
    }
    assert_eq!(table.network_size(), u64::MAX);
    let one_in_the_upper_half = u128::MAX / u128::from(u64::MAX);
    assert_eq!(table.expected_radius(K), K as u128 * one_in_the_upper_half);
    assert!(!table.denser_than_expected(K, &Distance::MAX));
}

#[test]
fn the_expected_radius_holds_as_many_as_it_says() {
    let mut random = random(5);
    let mut found = 0;
    let runs = 200;
    for _ in 0..runs {
        let (table, ids) = network(&mut random, 1000);
        let radius = table.expected_radius(K);
        let target = any_target(&mut random);
        found += ids
            .iter()
            .filter(|id| target.distance(id).high() <= radius)
            .count();
    }
    let average = found / runs;
    assert!((K - 2..=K + 3).contains(&average), "{average}");
}

#[test]
fn honest_neighbourhoods_raise_no_alarm() {
    let mut random = random(6);
    let mut alarms = 0;
    for _ in 0..100 {
        let (table, ids) = network(&mut random, 600);
        for _ in 0..20 {
            let target = any_target(&mut random);
            for n in [5, K] {
                alarms += u32::from(table.denser_than_expected(n, &nth(&ids, &target, n)));
            }
        }
    }
    assert!(alarms <= 4, "{alarms} of 4000");
}

#[test]
fn an_eclipse_raises_the_alarm() {
    let mut random = random(7);
    let mut missed = 0;
    for _ in 0..300 {
        let (table, ids) = network(&mut random, 600);
        let target = any_target(&mut random);
        // The cheapest eclipse: twenty keys, the farthest just nearer than any honest node.
        let farthest_liar = nth(&ids, &target, 1);
        missed += u32::from(!table.denser_than_expected(K, &farthest_liar));
    }
    assert!(missed <= 3, "{missed} of 300");
}

#[test]
fn without_an_estimate_there_is_no_alarm() {
    let mut random = random(8);
    let (table, _) = network(&mut random, K + 1);
    assert!(!table.denser_than_expected(K, &Distance::default()));
    let (table, _) = network(&mut random, K + 2);
    assert!(table.denser_than_expected(K, &Distance::default()));
}
