//! A wall clock that was wrong and is corrected: its owner's items can be published, read and
//! deleted as before, without intervention.

use core::time::Duration;

use super::net::{Net, config, secret};
use crate::id::Target;
use crate::node::*;

const DAY: i64 = 24 * 3600;

/// Six nodes, of which node 1 publishes while its clock is wrong by `skew`.
fn skewed(skew: i64) -> Net {
    let mut net = Net::settled(6, |_, _| {});
    net.skew.insert(1, skew);
    net.put(1, "x", b"wrong").unwrap();
    net
}

fn is_read(net: &mut Net, value: &[u8]) {
    for reader in 0..6 {
        let read = net.get(reader, 1, "x", ReadPolicy::Freshest).unwrap();
        assert_eq!(read.item.value.as_bytes(), value, "node {reader}");
        assert!(read.agree >= 3 || reader == 1, "node {reader}: {read:?}");
    }
}

#[test]
fn an_item_published_by_a_wrong_clock_is_published_again_once_it_is_right() {
    for skew in [-400 * DAY, -3 * DAY, -3_600, 3_600, 3 * DAY, 400 * DAY] {
        for restart in [false, true] {
            let mut net = skewed(skew);
            is_read(&mut net, b"wrong");
            net.skew.clear();
            if restart {
                net.restart(1, super::net::addr(1), config(1));
                net.run_for(Duration::from_secs(20));
            }
            net.put(1, "x", b"right")
                .unwrap_or_else(|error| panic!("{skew} {restart}: {error}"));
            is_read(&mut net, b"right");
            // Its lifetime is renewed like any other: it outlasts the first TTL.
            net.run_for(Duration::from_secs(3 * 3600));
            is_read(&mut net, b"right");
        }
    }
}

#[test]
fn an_item_deleted_by_a_wrong_clock_is_published_again_once_it_is_right() {
    for skew in [-3 * DAY, 3 * DAY] {
        for expired in [false, true] {
            let mut net = skewed(skew);
            net.put(1, "x", b"").unwrap();
            net.skew.clear();
            // After a restart it does not know the sequence, and after the tombstone has expired no
            // peer can provide it.
            net.restart(1, super::net::addr(1), config(1));
            let pause = if expired { 3 * 3600 } else { 20 };
            net.run_for(Duration::from_secs(pause));
            net.put(1, "x", b"again")
                .unwrap_or_else(|error| panic!("{skew} {expired}: {error}"));
            is_read(&mut net, b"again");
        }
    }
}

#[test]
fn few_who_lie_about_what_was_deleted_raise_no_sequence() {
    let mut net = skewed(3 * DAY);
    let deleted = net.put(1, "x", b"").unwrap().seq;
    net.skew.clear();
    net.restart(1, super::net::addr(1), config(1));
    net.run_for(Duration::from_secs(3 * 3600));
    // One of five claims that everything is deleted.
    let target = Target::of(&secret(1).public(), b"x");
    let time = net.time();
    net.nodes[2]
        .base
        .items
        .store
        .add_tombstone(time, target, u64::MAX - 1);
    let again = net.put(1, "x", b"again").unwrap();
    assert_eq!(again.seq.0, deleted.0 + 1);
}

#[test]
fn a_sequence_that_the_caller_gives_far_ahead_still_needs_force() {
    let mut net = Net::settled(3, |_, _| {});
    let ahead = crate::item::Seq(net.time().unix.0 + 2 * DAY as u64 * 1_000_000_000);
    let given = PutOptions {
        seq: Some(ahead),
        ..PutOptions::default()
    };
    let refused = net.put_with(1, "x", b"v", given.clone());
    assert_eq!(refused, Err(PutError::SequenceAhead(ahead)));
    let force = true;
    let forced = PutOptions { force, ..given };
    assert!(net.put_with(1, "x", b"v", forced).is_ok());
    assert!(
        net.put(1, "x", b"w").is_ok(),
        "the next one is not a mistake"
    );
}
