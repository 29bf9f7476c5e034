//! Tests of reconciliation.

use std::time::Duration;

use skydht_core::item::Seq;

use super::{item, key, node};
use crate::testbed::Testbed;
use crate::upstream::UpstreamConfig;

fn pair() -> Testbed {
    let config = |other: usize| UpstreamConfig {
        bootstrap: vec![key(other)],
        full_node: true,
        republish: None,
        ..UpstreamConfig::default()
    };
    Testbed::new(vec![node(0, config(1)), node(1, config(0))])
}

fn seq_at(network: &Testbed, n: usize, signer: usize) -> Option<Seq> {
    let target = item(signer, 0, b"").target();
    let mut held = network.upstream(n).store().iter();
    held.find(|(it, _)| **it == target)
        .map(|(_, item)| item.seq)
}

#[test]
fn two_full_nodes_give_each_other_what_they_lack() {
    let mut network = pair();
    let now = network.now().mono;
    for signer in 10..14 {
        let item = item(signer, signer as u64, b"v").into();
        let n = signer % 2;
        network.upstream_mut(n).store_mut().put(now, &item).unwrap();
    }
    // A mirror keeps its target, because the target is sent with it.
    let place = item(99, 0, b"").target();
    let mirror = item(20, 5, b"mirror").into();
    assert!(
        network
            .upstream_mut(0)
            .store_mut()
            .put_mirror(now, place, &mirror)
    );
    network.run(Duration::from_secs(60));
    for signer in 10..14 {
        assert_eq!(seq_at(&network, 0, signer), Some(Seq(signer as u64)));
        assert_eq!(seq_at(&network, 1, signer), Some(Seq(signer as u64)));
    }
    assert_eq!(seq_at(&network, 1, 99), Some(Seq(5)));
    assert!(network.upstream(1).counters().pulled > 0);
}

#[test]
fn a_newer_version_of_what_was_seen_is_not_pushed() {
    let full = UpstreamConfig {
        bootstrap: vec![key(0)],
        full_node: true,
        ..UpstreamConfig::default()
    };
    let nodes = vec![node(0, UpstreamConfig::default()), node(1, full)];
    let mut network = Testbed::new(nodes);
    let now = network.now().mono;
    for (n, signer, seq) in [(1, 10, 9), (0, 10, 8), (1, 11, 1)] {
        let item = item(signer, seq, b"v").into();
        network.upstream_mut(n).store_mut().put(now, &item).unwrap();
    }
    network.run(Duration::from_secs(60));
    assert_eq!(seq_at(&network, 0, 10), Some(Seq(8)));
    assert_eq!(seq_at(&network, 0, 11), Some(Seq(1)));
}

#[test]
fn announcements_bring_other_full_nodes_with_any_signer() {
    let mut network = pair();
    let third = node(
        2,
        UpstreamConfig {
            republish: None,
            ..UpstreamConfig::default()
        },
    );
    network.add(third);
    network.run(Duration::from_secs(30));
    // Node 9 signs an announcement that node 2 is a full node.
    let now = network.now();
    let value = format!(
        r#"{{"pk":"{}","stored_items":1,"full_node":true,"ts":{}}}"#,
        key(2),
        now.unix.0 + 3_000_000_000_000
    );
    let advert = skydht_core::item::Item::sign(
        &super::secret(9),
        Seq(1),
        skydht_core::item::Value::new(value.as_bytes()),
        "fullnode".into(),
    );
    network
        .upstream_mut(0)
        .store_mut()
        .put(now.mono, &advert.into())
        .unwrap();
    let only_there = item(11, 3, b"v").into();
    network
        .upstream_mut(2)
        .store_mut()
        .put(now.mono, &only_there)
        .unwrap();
    network.run(Duration::from_secs(3_600));
    assert_eq!(seq_at(&network, 0, 11), Some(Seq(3)));
}

#[test]
fn announcements_start_at_one() {
    let mut network = pair();
    network.run(Duration::from_secs(6));
    let advert = |n: usize| {
        let held = network.upstream(1).store();
        let mut held = held.iter().map(|(_, item)| item);
        let found = held.find(|it| it.salt.as_bytes() == b"fullnode" && it.key == key(n));
        found.map(|it| it.seq)
    };
    assert_eq!(advert(0), Some(Seq(1)));
}
