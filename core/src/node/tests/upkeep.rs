//! Self-lookups and bootstrap peers: how many are asked, and when.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, key};
use super::net::{Net, addr, secret};
use crate::id::{NodeId, Target};
use crate::node::base::Base;
use crate::node::ids::{CallTag, StopReason};
use crate::node::query::{Ended, Query, QueryKind};
use crate::node::timers::Timer;
use crate::node::upkeep::fill::BucketFiller;
use crate::node::*;
use crate::routing::PeerUpdate;
use crate::wire::{Request, Response, ResponseExt, ResponseMessage, Timestamp, WirePeer};

/// Number of calls that a self-lookup of node 5 makes.
fn calls_of_a_self_lookup(net: &mut Net) -> u64 {
    let before = net.counter(5, Counter::CallsStarted);
    net.input(5, Input::TimerFired);
    look_up_self(&mut net.nodes[5]);
    net.input(5, Input::TimerFired);
    net.run_for(Duration::from_secs(1));
    net.counter(5, Counter::CallsStarted) - before
}

#[test]
fn a_later_self_lookup_asks_the_nearest_eight_unless_they_name_a_stranger_among_the_k() {
    let mut net = Net::new(60, |_, _| {});
    net.run_for(Duration::from_secs(200));
    assert_eq!(calls_of_a_self_lookup(&mut net), 8);
    let own = Target::from(net.nodes[5].base.cx.id);
    let nearest: Vec<NodeId> = net.nodes[5]
        .base
        .peers
        .table
        .closest(&own, 20)
        .map(|contact| contact.id)
        .collect();
    net.nodes[5].base.peers.table.remove(&nearest[15]);
    let calls = calls_of_a_self_lookup(&mut net);
    assert!(calls >= 20, "{calls}");
    assert!(net.nodes[5].base.peers.table.get(&nearest[15]).is_some());
    assert_eq!(calls_of_a_self_lookup(&mut net), 8);
}

fn look_up_self(node: &mut Node) {
    node.upkeep.look_up_self(&mut node.base, &mut node.queries);
}

fn clock_jumped(node: &mut Node) {
    node.upkeep.clock_jumped(&mut node.base);
}

fn collect_candidates(node: &mut Node, named: &[WirePeer]) {
    node.upkeep.filler.collect_candidates(&node.base, named);
}

fn fill_buckets(node: &mut Node) -> bool {
    node.upkeep.filler.fill(&mut node.base, &mut node.queries)
}

/// The bootstrap peers that node 5 pings when its timer fires.
fn pinged(net: &mut Net) -> Vec<usize> {
    net.input(5, Input::TimerFired);
    let pings = net.nodes[5].base.calls.tagged(CallTag::Bootstrap);
    let peer = |key| (0..5).find(|n| secret(*n).public() == key).unwrap();
    let asked = pings.map(peer).collect();
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
    // A machine that was suspended may have lost all of them.
    clock_jumped(&mut net.nodes[5]);
    assert_eq!(pinged(&mut net), [0, 1, 2, 3, 4]);
    assert_eq!(bootstrap(&mut net), [0, 1, 2]);
}

/// Six settled nodes, the last of which is joining again, and one of its sparse buckets.
fn joining() -> (Net, u8) {
    let mut net = Net::settled(6, |_, _| {});
    net.input(5, Input::TimerFired);
    net.nodes[5].upkeep.filler = BucketFiller::default();
    let sparse = net.nodes[5].base.peers.table.sparse_buckets(3).next();
    let sparse = sparse.expect("five peers are few");
    (net, sparse)
}

/// Non-existent peers for a bucket of node 5, from the `skip`th on.
fn strangers(net: &Net, bucket: u8, skip: usize) -> Vec<WirePeer> {
    let table = &net.nodes[5].base.peers.table;
    let keys = (1000..).map(|n| secret(n).public());
    let of_bucket = keys.filter(|key| table.bucket_of(&Target::from(key.id())) == Some(bucket));
    let peers = of_bucket.map(|key| WirePeer {
        id: key.id(),
        key: Some(key),
        addr: Some(addr(9)),
        ..WirePeer::default()
    });
    peers.skip(skip).take(20).collect()
}

/// Number of candidates that node 5 pings once its neighbourhood is known.
fn fills(net: &mut Net) -> usize {
    net.nodes[5].upkeep.filler.begin();
    assert!(fill_buckets(&mut net.nodes[5]));
    net.nodes[5].base.calls.tagged(CallTag::Fill).count()
}

#[test]
fn of_a_sparse_bucket_two_peers_an_answer_and_four_in_all_are_remembered_and_pinged() {
    for (answers, pinged) in [(0, 0), (1, 2), (2, 4), (3, 4)] {
        let (mut net, bucket) = joining();
        for answer in 0..answers {
            let named = strangers(&net, bucket, 20 * answer);
            collect_candidates(&mut net.nodes[5], &named);
        }
        assert_eq!(fills(&mut net), pinged, "{answers} answers");
    }
}

#[test]
fn a_lie_or_a_known_peer_is_no_candidate_and_after_joining_no_peer_is() {
    let (mut net, bucket) = joining();
    let strangers = strangers(&net, bucket, 0);
    let lie = WirePeer {
        key: strangers[1].key,
        ..strangers[0]
    };
    let known = net.nodes[5]
        .base
        .peers
        .table
        .iter()
        .map(|contact| WirePeer {
            id: contact.id,
            key: Some(contact.key),
            ..WirePeer::default()
        });
    let mut named: Vec<_> = known.collect();
    named.push(lie);
    collect_candidates(&mut net.nodes[5], &named);
    assert_eq!(fills(&mut net), 0);
    collect_candidates(&mut net.nodes[5], &strangers);
    assert!(fill_buckets(&mut net.nodes[5]));
    assert_eq!(fills(&mut net), 0);
}

#[test]
fn a_candidate_that_answers_spares_a_lookup() {
    for hears in [true, false] {
        let mut net = Net::settled(80, |_, _| {});
        net.run_for(Duration::from_secs(120));
        net.input(5, Input::TimerFired);
        let node = &mut net.nodes[5];
        node.upkeep.filler = BucketFiller::default();
        let far: Vec<_> = node.base.peers.table.iter().copied().collect();
        let far = far
            .iter()
            .filter(|it| it.id.as_bytes()[0] >> 7 != node.base.cx.id.as_bytes()[0] >> 7);
        let named = far.map(|contact| WirePeer {
            id: contact.id,
            key: Some(contact.key),
            addr: contact.addr,
            ..WirePeer::default()
        });
        let named: Vec<_> = named.collect();
        while node.base.peers.table.peers_in(0) > 0 {
            let id = node.base.peers.table.iter().last().unwrap().id; // the farthest
            node.base.peers.table.remove(&id);
        }
        if hears {
            named
                .chunks(2)
                .for_each(|named| collect_candidates(node, named));
        }
        node.upkeep.filler.begin();
        assert!(fill_buckets(node));
        net.input(5, Input::TimerFired);
        net.run_for(Duration::from_millis(500));
        assert_eq!(
            net.nodes[5].base.peers.table.peers_in(0),
            if hears { 4 } else { 0 }
        );
        let before = net.counter(5, Counter::Lookups);
        assert!(fill_buckets(&mut net.nodes[5]));
        let lookups = net.counter(5, Counter::Lookups) - before;
        assert_eq!(lookups, u64::from(!hears));
    }
}

#[test]
fn a_caller_without_room_causes_a_ping_of_the_oldest_and_is_not_pinged_itself() {
    let mut net = Net::settled(80, |_, _| {});
    net.run_for(Duration::from_secs(600));
    let is_full = |n: &usize| {
        let mut buckets = net.nodes[*n].table().buckets();
        buckets.any(|it| it.0 == 0 && it.1 == 20 && it.2 >= 2)
    };
    let full = (0..80)
        .find(is_full)
        .expect("half are in the farthest bucket");
    let counts = |net: &Net| {
        let count = |counter| net.counter(full, counter);
        (count(Counter::PingBacks), count(Counter::EvictionPings))
    };
    let (ping_backs, evictions) = counts(&net);
    // The last sign of life of every peer is now too old.
    net.now = net.now.plus(crate::routing::PING_AGE);
    let table = &net.nodes[full].base.peers.table;
    let mut keys = (1000..).map(|n| secret(n).public());
    let caller = keys.find(|key| table.bucket_of(&Target::from(key.id())) == Some(0));
    net.input(full, Input::TimerFired);
    let Base {
        cx, calls, peers, ..
    } = &mut net.nodes[full].base;
    peers.note_caller(cx, calls, caller.unwrap(), None, None);
    assert_eq!(counts(&net), (ping_backs, evictions + 1));
}

/// Whether a pause is one of `expected` seconds, apart from jitter.
fn is_about(pause: Duration, expected: u64) -> bool {
    let expected = Duration::from_secs(expected);
    (expected * 3 / 4..=expected * 5 / 4).contains(&pause)
}

fn bootstrap_peers(config: &mut Config) {
    let peer = |n| BootstrapPeer {
        key: key(n),
        addrs: vec![addr(n)],
    };
    config.bootstrap = (1..=3).map(peer).collect();
}

#[test]
fn dead_bootstrap_peers_are_asked_again_once_all_have_failed_and_ever_less_often() {
    let mut hand = Hand::new(bootstrap_peers);
    for seconds in [1, 2, 4, 8, 16, 30, 30] {
        let due = |hand: &Hand| hand.node.base.cx.timers.due_at(Timer::Bootstrap);
        let wanted = hand.wanted();
        assert_eq!(wanted.len(), 3);
        for (stream, ..) in wanted {
            assert_eq!(due(&hand), None, "some are still being asked");
            let reason = OpenFailure::Unreachable;
            hand.input(Input::StreamFailed { stream, reason });
        }
        let pause = due(&hand).expect("a next time").since(hand.now);
        assert!(is_about(pause, seconds), "{pause:?} for {seconds} s");
        hand.pass(pause);
    }
}

#[test]
fn a_node_that_others_found_looks_itself_up_when_its_bootstrap_peers_have_failed() {
    let mut hand = Hand::new(bootstrap_peers);
    let bootstrap = hand.wanted();
    hand.introduce(9, Reach::Relayed, true);
    for (stream, ..) in bootstrap {
        assert!(hand.wanted().is_empty());
        let reason = OpenFailure::Unreachable;
        hand.input(Input::StreamFailed { stream, reason });
    }
    let (stream, peer, ..) = hand.wanted().remove(0);
    assert_eq!(peer, key(9));
    let target = key(0).id().into();
    let asked = hand.open(stream, Reach::Relayed).request;
    assert_eq!(asked, Request::FindNode { target });
}

#[test]
fn self_lookups_that_bring_no_neighbour_become_ever_rarer() {
    let mut net = Net::settled(4, |_, _| {});
    let due = |net: &Net| {
        let timers = &net.nodes[3].base.cx.timers;
        timers.due_at(Timer::SelfLookup)
    };
    let mut last = due(&net);
    for seconds in [600, 1_200, 1_800, 1_800] {
        while due(&net).is_none_or(|at| Some(at) == last) {
            net.run_for(Duration::from_millis(500));
        }
        last = due(&net);
        let pause = last.unwrap().since(net.now) + Duration::from_millis(500);
        assert!(is_about(pause, seconds), "{pause:?} for {seconds} s");
    }
}

#[test]
fn a_lookup_of_the_own_id_is_known_from_that_of_a_user() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let target = key(0).id().into();
    let timeout = None;
    hand.command(Command::FindNode { target, timeout });
    look_up_self(&mut hand.node);
    let queries = &hand.node.queries;
    let own: Vec<_> = queries
        .ids()
        .into_iter()
        .map(|id| queries.is_self_lookup(id))
        .collect();
    assert_eq!(own, [false, true]);
}

#[test]
fn sparse_buckets_are_filled_as_far_as_the_nearest_peers_and_all_of_them_where_these_are_few() {
    for k in [1, 2, 20] {
        let mut hand = Hand::new(|config| config.k = k);
        let time = hand.time();
        let own = key(0).id();
        let bucket = |n: &usize| own.distance(&key(*n).id()).common_prefix();
        for index in [0, 2, 4, 6] {
            let n = (1..).find(|n| bucket(n) == index).unwrap();
            let update = PeerUpdate {
                key: key(n),
                addr: None,
                reachable: true,
            };
            hand.node.base.peers.table.insert_or_update(&update, time);
        }
        let edge = [6, 4].get(k - 1).copied().unwrap_or(u8::MAX);
        let sparse = hand.node.base.peers.table.sparse_buckets(3);
        let expected = sparse.filter(|index| *index <= edge).count();
        let before = hand.counter(Counter::Lookups);
        hand.node.upkeep.filler.begin();
        while fill_buckets(&mut hand.node) {}
        let lookups = hand.counter(Counter::Lookups) - before;
        assert_eq!(lookups, expected as u64, "k {k}");
        assert!(expected > 2);
    }
}

/// Otherwise lookups that find all peers with few calls hide it. The wrong implementation never
/// ends.
#[test]
fn a_self_lookup_whose_calls_are_used_up_ends_although_strangers_are_left() {
    let mut hand = Hand::new(|config| config.limits.lookup_candidates = 20);
    hand.introduce(1, Reach::Relayed, true);
    hand.node.base.cx.timers.clear();
    let own = key(0).id();
    let mut strangers: Vec<_> = (100..500).map(key).collect();
    strangers.sort_by_cached_key(|key| own.distance(&key.id()));
    hand.wanted();
    look_up_self(&mut hand.node);
    hand.input(Input::TimerFired);
    let mut calls = 0;
    loop {
        let wanted = hand.wanted();
        if wanted.is_empty() {
            break;
        }
        for (stream, ..) in wanted {
            calls += 1;
            if calls % 8 != 1 {
                let reason = OpenFailure::Unreachable;
                hand.input(Input::StreamFailed { stream, reason });
                continue;
            }
            // Ever nearer peers.
            let named = strangers.split_off(strangers.len() - 20);
            let named = named
                .iter()
                .map(|key| WirePeer::new(key, Timestamp::default(), None));
            let closest = named.collect::<Vec<_>>().into();
            hand.open(stream, Reach::Relayed);
            let ext = Some(ResponseExt::default());
            let response = Response::FindNode { closest };
            hand.reply(stream, ResponseMessage { ext, response });
        }
    }
    assert_eq!(calls, 4 * 20, "four for each candidate that it may keep");
    assert_eq!(hand.counter(Counter::LookupsUnconverged), 1);
}

#[test]
fn a_self_lookup_is_under_way_once_and_is_tried_again_soon_where_the_table_is_empty() {
    let mut hand = Hand::new(bootstrap_peers);
    hand.node.base.cx.timers.clear();
    look_up_self(&mut hand.node);
    assert_eq!(hand.node.queries.ids().len(), 0);
    let due = hand.node.base.cx.timers.due_at(Timer::SelfLookup);
    let pause = due.expect("another try").since(hand.now);
    assert!(is_about(pause, 8), "{pause:?}");
    hand.introduce(9, Reach::Relayed, true);
    for _ in 0..3 {
        look_up_self(&mut hand.node);
        assert_eq!(hand.node.queries.ids().len(), 1);
    }
}

/// Ends a self-lookup that found no new peer. Returns the pause until the next.
fn end_self_lookup(hand: &mut Hand) -> Duration {
    let Node { base, upkeep, .. } = &mut hand.node;
    let target = Target::from(base.cx.id);
    let (op, started) = (OperationId(1), base.cx.now.mono);
    let query = Query::idle(&base.cx, QueryKind::Nodes, op, target, started);
    let reason = StopReason::Done;
    base.cx.timers.cancel(Timer::SelfLookup);
    upkeep.self_lookup_ended(base, &Ended { query, reason });
    let due = base
        .cx
        .timers
        .due_at(Timer::SelfLookup)
        .expect("a next one");
    due.since(base.cx.now.mono)
}

#[test]
fn self_lookups_that_bring_neighbours_follow_each_other_and_become_rarer() {
    let mut hand = Hand::new(bootstrap_peers);
    hand.introduce(9, Reach::Relayed, true);
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 150, 150] {
        let pause = end_self_lookup(&mut hand);
        assert!(is_about(pause, seconds), "{pause:?} for {seconds} s");
    }
    // No peer has answered yet.
    assert!(!hand.node.snapshot().ready);
    // After two without a new peer the neighbourhood counts as known.
    let mut hand = Hand::new(bootstrap_peers);
    for seconds in [1, 300, 600, 1_200, 1_800, 1_800] {
        let pause = end_self_lookup(&mut hand);
        assert!(is_about(pause, seconds), "{pause:?} for {seconds} s");
    }
}

#[test]
fn the_first_self_lookups_ask_all_of_the_nearest_and_later_ones_eight() {
    let asks = |hand: &mut Hand| {
        hand.wanted();
        let before = hand.counter(Counter::CallsStarted);
        look_up_self(&mut hand.node);
        hand.input(Input::TimerFired);
        while let Some((stream, ..)) = hand.wanted_first() {
            hand.open(stream, Reach::Relayed);
            let closest = Default::default();
            let response = Response::FindNode { closest };
            let ext = Some(ResponseExt::default());
            hand.reply(stream, ResponseMessage { ext, response });
        }
        hand.counter(Counter::CallsStarted) - before
    };
    let mut hand = Hand::new(bootstrap_peers);
    hand.know(10..70);
    hand.node.base.cx.timers.clear();
    let first = asks(&mut hand);
    assert!((20..=24).contains(&first), "{first}");
    hand.node.base.cx.timers.clear();
    let later = asks(&mut hand);
    assert!((8..=12).contains(&later), "{later}");
}

#[test]
fn many_stale_buckets_are_looked_up_a_few_at_a_time_and_soon_after_each_other() {
    let mut hand = Hand::new(bootstrap_peers);
    let time = hand.time();
    for n in 10..100 {
        let update = PeerUpdate {
            key: key(n),
            addr: None,
            reachable: true,
        };
        hand.node.base.peers.table.insert_or_update(&update, time);
    }
    let buckets = hand.node.table().buckets().count();
    assert!((5..8).contains(&buckets), "{buckets}");
    hand.now = hand.now.plus(Duration::from_secs(3_601));
    hand.node.base.cx.now = hand.time();
    let mut refresh = || {
        let before = hand.counter(Counter::Lookups);
        let Node {
            base,
            queries,
            upkeep,
            ..
        } = &mut hand.node;
        base.cx.timers.clear();
        upkeep.refresh(base, queries);
        let due = base.cx.timers.due_at(Timer::Refresh).unwrap();
        let pause = due.since(base.cx.now.mono);
        (hand.counter(Counter::Lookups) - before, pause)
    };
    let (lookups, pause) = refresh();
    assert!(lookups == 4 && is_about(pause, 30), "{lookups} {pause:?}");
    let (lookups, pause) = refresh();
    assert!(lookups < 4 && is_about(pause, 300), "{lookups} {pause:?}");
}

#[test]
fn a_peer_that_is_known_or_failed_lately_is_not_pinged_to_fill_a_bucket() {
    for (known, failed, expected) in [(false, false, 2), (true, false, 1), (false, true, 1)] {
        let (mut net, bucket) = joining();
        let named = strangers(&net, bucket, 0);
        collect_candidates(&mut net.nodes[5], &named);
        let time = net.time();
        let peers = &mut net.nodes[5].base.peers;
        let key = named[0].key.unwrap();
        if known {
            let update = PeerUpdate {
                key,
                addr: None,
                reachable: true,
            };
            peers.table.insert_or_update(&update, time);
        }
        if failed {
            peers.store.unreachable(&key, &[], time.mono);
        }
        assert_eq!(fills(&mut net), expected, "{known} {failed}");
    }
}
