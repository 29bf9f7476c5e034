//! Full nodes hold what the others hold (§3.16).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, secret};
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::store::{Candidate, Via};
use crate::sync::{Entries, Source};

const SECOND: Duration = Duration::from_secs(1);

/// Gives a node an item as if a peer had brought it long ago: nothing is announced.
fn keep(net: &mut Net, node: usize, item: &Arc<Item>) {
    let via = Via::Pulled(secret(0).public());
    let base = &mut net.nodes[node].base;
    base.cx.now = crate::time::Time {
        mono: net.now,
        unix: crate::time::Unix(1_790_000_000_000_000_000).plus(net.now.since(Default::default())),
    };
    base.items
        .admit(&mut base.cx, Candidate::of_owner(item.clone(), via), 0)
        .unwrap();
}

/// An item of its own publisher, with a sequence that is a time.
fn item(number: usize, later: u64, value: &[u8]) -> Arc<Item> {
    let seq = Seq(1_790_000_000_000_000_000 + later);
    let (value, salt) = (Value::new(value), Salt::from("r"));
    Arc::new(Item::sign(&secret(1000 + number), seq, value, salt))
}

/// What a node holds, adverts apart.
fn versions(net: &Net, node: usize) -> Vec<(Target, Seq)> {
    let adverts = (0..10).map(|node| Target::of(&secret(node).public(), b"fullnode"));
    let adverts: BTreeSet<Target> = adverts.collect();
    let view = net.nodes[node].base.items.store.sync_view(net.time());
    view.entries(Target::default())
        .filter(|(target, _)| !adverts.contains(target))
        .map(|(target, version)| (target, version.seq))
        .collect()
}

fn equal(net: &Net, a: usize, b: usize) -> bool {
    let view = |node: usize| net.nodes[node].base.items.store.sync_view(net.time());
    view(a).tree() == view(b).tree()
}

fn full(nodes: core::ops::Range<usize>) -> impl Fn(usize, &mut Config) {
    move |n, config| config.full_node = nodes.contains(&n)
}

#[test]
fn full_nodes_that_met_hold_the_same_and_regular_nodes_are_left_alone() {
    let mut net = Net::new(4, full(1..4));
    for number in 0..120 {
        let later = u64::from(number % 3 == 0);
        keep(&mut net, 1 + number % 2, &item(number, 0, b"first"));
        if later > 0 {
            keep(&mut net, 2 - number % 2, &item(number, 1, b"second"));
        }
    }
    net.run_for(120 * SECOND);
    assert!(equal(&net, 1, 2) && equal(&net, 2, 3));
    let held = versions(&net, 1);
    assert_eq!(held.len(), 120);
    let newer = held.iter().filter(|(_, seq)| seq.0 % 10 == 1).count();
    assert_eq!(newer, 40);
    assert_eq!(net.counter(0, Counter::SyncsStarted), 0);
    assert_eq!(net.counter(0, Counter::SyncsServed), 0);
    let failed: u64 = (0..4).map(|n| net.counter(n, Counter::SyncsFailed)).sum();
    assert_eq!(failed, 0);
}

#[test]
fn what_comes_to_one_full_node_is_at_the_others_within_a_second() {
    let mut net = Net::settled(6, full(1..6));
    let sum = |net: &Net, counter| (1..6).map(|n| net.counter(n, counter)).sum::<u64>();
    let (bytes, given) = (sum(&net, Counter::BytesOut), sum(&net, Counter::SyncGiven));
    // Over the publisher's own stream to one full node; no other node hears of it.
    let item = Arc::new(Item::sign(
        &secret(0),
        Seq(1_790_000_000_000_000_000),
        Value::new(b"news"),
        Salt::from("r"),
    ));
    let via = Via::Signer(secret(0).public());
    let time = net.time();
    let base = &mut net.nodes[1].base;
    base.cx.now = time;
    base.items
        .admit(&mut base.cx, Candidate::of_owner(item.clone(), via), 0)
        .unwrap();
    net.input(1, Input::TimerFired);
    net.run_for(SECOND);
    let target = item.target();
    for node in 2..6 {
        let held = versions(&net, node).iter().any(|(at, _)| *at == target);
        assert!(held, "{node} does not hold it");
    }
    assert_eq!(sum(&net, Counter::SyncGiven) - given, 4, "each once");
    let bytes = sum(&net, Counter::BytesOut) - bytes;
    assert!(bytes < 4 * 1500, "{bytes} bytes");
}

/// The lesson R18: a full node that was away with a deleted item does not bring it back.
#[test]
fn r18_a_full_node_that_comes_back_resurrects_nothing() {
    let mut net = Net::settled(4, full(1..4));
    net.put(0, "r", b"value").unwrap();
    net.run_for(5 * SECOND);
    let target = Target::of(&secret(0).public(), b"r");
    assert!(versions(&net, 3).iter().any(|(at, _)| *at == target));
    net.kill(3);
    net.run_for(SECOND);
    net.put(0, "r", b"").unwrap();
    net.run_for(5 * SECOND);
    net.begin(3);
    net.run_for(15 * 60 * SECOND);
    let time = net.time();
    let deleted: Vec<bool> = (1..4)
        .map(|node| {
            let held = net.nodes[node].base.items.store.get(time, &target);
            held.is_none_or(|held| held.is_tombstone())
        })
        .collect();
    assert_eq!(deleted, [true; 3]);
}

#[test]
fn what_a_session_brings_is_verified_and_three_forgeries_end_it() {
    let mut net = Net::new(3, full(1..3));
    for number in 0..40 {
        let mut forged = Item::clone(&item(number, 0, b"forged"));
        forged.value = Value::new(b"changed");
        keep(&mut net, 1, &Arc::new(forged));
    }
    net.run_for(30 * SECOND);
    assert_eq!(versions(&net, 2), []);
    assert!(net.counter(2, Counter::ForgedItems) >= 3);
    assert!(net.counter(2, Counter::SyncsFailed) >= 1);
    // It is left alone for a while, longer each time.
    let sessions = net.counter(2, Counter::SyncsStarted);
    net.run_for(600 * SECOND);
    let more = net.counter(2, Counter::SyncsStarted) - sessions;
    assert!((1..=5).contains(&more), "{more} sessions in ten minutes");
}

#[test]
fn limits_of_replication_are_kept_and_counted() {
    let mut net = Net::new(8, |n, config| {
        config.full_node = n > 0;
        config.limits.full_nodes = 2;
        config.limits.sync_sessions = 1;
        config.limits.offers = 3;
    });
    net.run_for(60 * SECOND);
    for node in 1..8 {
        assert!(net.nodes[node].base.peers.store.full_nodes().len() <= 2);
    }
    // Ten changes in one moment: three are offered to each, the others wait for a session.
    let time = net.time();
    let base = &mut net.nodes[1].base;
    base.cx.now = time;
    let items: Vec<Arc<Item>> = (0..10).map(|number| item(number, 0, b"many")).collect();
    for item in &items {
        let via = Via::Signer(item.key);
        base.items
            .admit(&mut base.cx, Candidate::of_owner(item.clone(), via), 0)
            .unwrap();
    }
    let offers = net.counter(1, Counter::Offers);
    net.input(1, Input::TimerFired);
    let known = net.nodes[1].base.peers.store.full_nodes().clone();
    let hits = net.nodes[1].base.cx.hits[Limit::offers as usize];
    assert!(hits > 0 && !known.is_empty());
    net.run_for(SECOND);
    assert!(net.counter(1, Counter::Offers) - offers <= 3 * 2);
    net.run_for(900 * SECOND);
    let all: BTreeSet<Target> = items.iter().map(|item| item.target()).collect();
    let reached = (2..8).filter(|node| {
        let held: BTreeSet<Target> = versions(&net, *node).iter().map(|(at, _)| *at).collect();
        all.is_subset(&held)
    });
    assert!(reached.count() >= 1);
}

#[test]
fn full_nodes_advertise_themselves_and_regular_nodes_do_not() {
    let mut net = Net::settled(4, full(1..3));
    net.run_for(10 * 60 * SECOND);
    for node in 0..4 {
        let target = Target::of(&secret(node).public(), b"fullnode");
        let held = net.nodes[1]
            .base
            .items
            .store
            .get(net.time(), &target)
            .is_some();
        assert_eq!(held, (1..3).contains(&node), "{node}");
    }
    // A restart is seen: the sequence is the clock's.
    let target = Target::of(&secret(2).public(), b"fullnode");
    let seq = |net: &Net| {
        net.nodes[1]
            .base
            .items
            .store
            .get(net.time(), &target)
            .unwrap()
            .item()
            .seq
    };
    let before = seq(&net);
    let config = Config {
        full_node: true,
        ..super::net::config(2)
    };
    net.kill(2);
    net.restart(2, super::net::addr(2), config);
    net.run_for(30 * SECOND);
    assert!(seq(&net) > before);
}

/// An advert names its signer; one by a node that answers no reconciliation changes nothing.
#[test]
fn adverts_by_nodes_that_are_not_full_are_noticed_and_dropped() {
    let mut net = Net::settled(4, full(1..3));
    let value = alloc::format!(
        r#"{{"pk":"{}","stored_items":9,"full_node":true,"ts":{}}}"#,
        secret(2).public(),
        net.time().unix.0
    );
    net.put(3, "fullnode", value.as_bytes()).unwrap();
    net.run_for(20 * 60 * SECOND);
    // One of ours that says in its answers that it is none: asked, and left alone for longer each time.
    let failed = net.counter(1, Counter::SyncsFailed);
    assert!((1..=6).contains(&failed), "{failed} failed sessions");
    let known = net.nodes[1].base.peers.store.full_nodes();
    assert!(!known.contains(&secret(3).public()));
    assert!(equal(&net, 1, 2));
}
