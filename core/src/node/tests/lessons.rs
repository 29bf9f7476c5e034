//! The faults for which upstream's DHT was removed, as far as they concern full nodes: R7, R11,
//! R13.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, addr, config, secret};
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::store::{Candidate, Via};

const MINUTE: Duration = Duration::from_secs(60);

/// Stores an item on a node as if it had been there for long, so that nothing is announced.
fn keep(net: &mut Net, node: usize, item: Item) {
    let time = net.time();
    let base = &mut net.nodes[node].base;
    base.cx.now = time;
    let kept = Candidate::of_owner(Arc::new(item), Via::Pulled(secret(0).public()));
    base.items.admit(&mut base.cx, kept, 0).unwrap();
}

fn full(config: &Config) -> Config {
    Config {
        full_node: true,
        ..config.clone()
    }
}

/// Whether a node has the item, and it is not a tombstone.
fn holds(net: &Net, node: usize, target: &Target) -> bool {
    let held = net.nodes[node].base.items.store.get(net.time(), target);
    net.up[node] && held.is_some_and(|held| !held.is_tombstone())
}

#[test]
fn r7_what_its_owner_left_is_gone_within_a_life_although_full_nodes_reconcile_and_restart() {
    let mut net = Net::settled(6, |n, config| config.full_node = (1..4).contains(&n));
    net.put(5, "left", b"behind").unwrap();
    net.run_for(Duration::from_secs(5));
    let target = Target::of(&secret(5).public(), b"left");
    assert!((1..4).all(|node| holds(&net, node, &target)));
    net.kill(5);
    // Each restarts empty occasionally, and gets the item from the others again.
    for round in 0..25 {
        let node = 1 + round % 3;
        net.restart(node, addr(node), full(&config(node)));
        net.run_for(5 * MINUTE);
        if round == 20 {
            let held = (0..5).filter(|node| holds(&net, *node, &target));
            assert!(held.count() >= 3, "it did not live as long as it may");
        }
    }
    let held: Vec<usize> = (0..5).filter(|node| holds(&net, *node, &target)).collect();
    assert_eq!(held, [0; 0], "still there after two hours and five minutes");
}

#[test]
fn r11_a_fresh_full_node_has_99_of_100_of_5300_items_within_a_minute() {
    let mut net = Net::new(3, |n, config| config.full_node = n > 0);
    net.up[2] = false;
    net.run_for(MINUTE);
    let unix = net.time().unix.0;
    for number in 0..5_300 {
        let (value, salt) = (Value::new(&[7; 300]), Salt::from("tp"));
        let item = Item::sign(&secret(1_000 + number), Seq(unix), value, salt);
        keep(&mut net, 1, item);
    }
    net.begin(2);
    net.run_for(MINUTE);
    let has = net.nodes[2].snapshot().store.items;
    assert!(has * 100 >= 5_300 * 99, "{has} after a minute");
    // Later changes arrive immediately; two minutes suffice.
    net.put(0, "later", b"v").unwrap();
    net.run_for(Duration::from_secs(1));
    let later = Target::of(&secret(0).public(), b"later");
    assert!(holds(&net, 1, &later) && holds(&net, 2, &later));
}

#[test]
fn r13_two_contents_of_one_sequence_become_one_after_the_next_session() {
    for swapped in [false, true] {
        let mut net = Net::settled(3, |n, config| config.full_node = n > 0);
        let seq = Seq(net.time().unix.0);
        let sign =
            |value: &[u8]| Item::sign(&secret(77), seq, Value::new(value), Salt::from("both"));
        let [first, second] = match swapped {
            false => [sign(b"one"), sign(b"another")],
            true => [sign(b"another"), sign(b"one")],
        };
        let smaller = first.content_hash().min(second.content_hash());
        let target = first.target();
        keep(&mut net, 1, first);
        keep(&mut net, 2, second);
        net.run_for(3 * MINUTE);
        for node in [1, 2] {
            let held = net.nodes[node].base.items.store.get(net.time(), &target);
            assert_eq!(held.unwrap().item().content_hash(), smaller, "{node}");
        }
        // Signing it again gives the same item, so nothing is transferred.
        let given = net.counter(1, Counter::SyncGiven) + net.counter(2, Counter::SyncGiven);
        net.run_for(3 * MINUTE);
        let later = net.counter(1, Counter::SyncGiven) + net.counter(2, Counter::SyncGiven);
        let adverts = 4;
        assert!(later - given <= adverts, "{given}, then {later}");
    }
}
