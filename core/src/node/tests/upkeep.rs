//! Self-lookups and bootstrap peers: how many are asked, and when.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, addr, secret};
use crate::id::{NodeId, Target};
use crate::node::calls::Purpose;
use crate::node::*;

/// Calls that a self-lookup of node 5 makes.
fn calls_to_look_around(net: &mut Net) -> u64 {
    let before = net.counter(5, Counter::CallsStarted);
    net.input(5, Input::TimerFired);
    net.nodes[5].look_around();
    net.input(5, Input::TimerFired);
    net.run_for(Duration::from_secs(1));
    net.counter(5, Counter::CallsStarted) - before
}

#[test]
fn a_later_self_lookup_asks_the_nearest_eight_unless_they_name_a_stranger_among_the_k() {
    let mut net = Net::new(60, |_, _| {});
    net.run_for(Duration::from_secs(200));
    assert_eq!(calls_to_look_around(&mut net), 8);
    let own = Target::from(net.nodes[5].id);
    let nearest: Vec<NodeId> = net.nodes[5]
        .table
        .closest(&own, 20)
        .map(|contact| contact.id)
        .collect();
    net.nodes[5].table.remove(&nearest[15]);
    let calls = calls_to_look_around(&mut net);
    assert!(calls >= 20, "{calls}");
    assert!(net.nodes[5].table.get(&nearest[15]).is_some());
    assert_eq!(calls_to_look_around(&mut net), 8);
}

/// Whom node 5 pings as bootstrap peers, once it was told to.
fn pinged(net: &mut Net) -> Vec<usize> {
    net.input(5, Input::TimerFired);
    let calls = net.nodes[5].calls.values();
    let pings = calls.filter(|call| call.purpose == Purpose::Bootstrap);
    let peer = |key| (0..5).find(|n| secret(*n).public() == key).unwrap();
    let asked = pings.map(|call| peer(call.peer.key)).collect();
    net.run_for(Duration::from_secs(1));
    asked
}

fn bootstrap(net: &mut Net) -> Vec<usize> {
    net.input(5, Input::TimerFired);
    net.nodes[5].bootstrap();
    pinged(net)
}

#[test]
fn bootstrap_peers_are_asked_a_few_at_a_time_in_turn_once_all_were_asked() {
    let mut net = Net::settled(6, |n, config| {
        let peer = |n| BootstrapPeer {
            key: secret(n).public(),
            addrs: vec![addr(n)],
        };
        if n == 5 {
            config.bootstrap = (0..5).map(peer).collect();
        }
    });
    let reachable = net.nodes[5].snapshot().bootstrap_reachable;
    assert_eq!(reachable, 5, "all were asked at the start");
    assert_eq!(bootstrap(&mut net), [0, 1, 2]);
    assert_eq!(bootstrap(&mut net), [3, 4, 0]);
    // A machine that slept may have lost all of them.
    net.nodes[5].clock_jumped();
    assert_eq!(pinged(&mut net), [0, 1, 2, 3, 4]);
    assert_eq!(bootstrap(&mut net), [0, 1, 2]);
}
