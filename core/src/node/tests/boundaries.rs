//! Each bound at its edge: the last allowed value, and the first that is refused.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use super::net::{addr, secret};
use crate::Seed;
use crate::cap::Cap;
use crate::key::PublicKey;
use crate::node::rpc::callers::{Callers, Waste};
use crate::node::rpc::fair_queue::Lane;
use crate::node::*;
use crate::record::StoredRecord;
use crate::routing::PeerUpdate;
use crate::time::{Mono, Time, Unix};
use crate::wire::{Method, Request, WirePeer};

const TICK: Duration = Duration::from_nanos(1);

#[test]
fn a_clock_that_goes_back_is_counted_and_stands_and_one_that_stands_is_not() {
    let mut hand = Hand::new(|_| {});
    let start = hand.now;
    hand.input(Input::TimerFired);
    assert_eq!(hand.counter(Counter::ClockWentBack), 0);
    hand.now = start.minus(TICK);
    hand.input(Input::TimerFired);
    assert_eq!(hand.counter(Counter::ClockWentBack), 1);
    assert_eq!(hand.node.base.cx.now.mono, start);
}

#[test]
fn a_clock_jumps_when_it_is_more_than_a_minute_late() {
    for (late, jumps) in [(Duration::ZERO, 0), (TICK, 1)] {
        let mut hand = Hand::new(|_| {});
        let due = hand.node.next_deadline().expect("maintenance").at;
        hand.now = due.plus(Duration::from_secs(60) + late);
        hand.input(Input::TimerFired);
        assert_eq!(hand.counter(Counter::ClockJumped), jumps);
    }
}

#[test]
fn each_field_of_the_configuration_is_checked_at_its_limits() {
    type Set = fn(&mut Config, u64);
    type SetKey = fn(&mut Config, PublicKey);
    let fields: [(&str, Set, u64, u64); 7] = [
        ("k", |config, n| config.k = n as usize, 1, 64),
        ("alpha", |config, n| config.alpha = n as usize, 1, 16),
        (
            "disjoint_paths",
            |config, n| config.disjoint_paths = n as usize,
            1,
            8,
        ),
        (
            "item_ttl",
            |config, n| config.item_ttl = Duration::from_secs(n),
            1,
            2_592_000,
        ),
        (
            "hard_deadline",
            |config, n| config.hard_deadline = Duration::from_millis(n),
            100,
            3_600_000,
        ),
        (
            "operation_timeout",
            |config, n| config.operation_timeout = Duration::from_millis(n),
            100,
            3_600_000,
        ),
        (
            "limits.streams",
            |config, n| config.limits.streams = n as usize,
            8,
            1_000_000,
        ),
    ];
    for (name, set, low, high) in fields {
        for (n, ok) in [
            (low - 1, false),
            (low, true),
            (high, true),
            (high + 1, false),
        ] {
            let mut config = Config::default();
            set(&mut config, n);
            match config.validate() {
                Ok(()) => assert!(ok, "{name} {n}"),
                Err(ConfigError::OutOfRange { field, got, .. }) => {
                    assert_eq!((field, got, ok), (name, n, false));
                }
                Err(other) => panic!("{name} {n}: {other}"),
            }
        }
    }
    let mut bytes = [0xff; 33];
    bytes[0] = 2;
    let impossible = PublicKey::from_bytes(&bytes).unwrap();
    let keys: [(&str, SetKey); 5] = [
        ("whitelisted", |config, key| config.whitelisted = vec![key]),
        ("trusted", |config, key| config.trusted = vec![key]),
        ("mirrors", |config, key| config.mirrors = vec![key]),
        ("mirror_relays", |config, key| {
            config.mirror_relays = vec![key]
        }),
        ("bootstrap", |config, key| {
            config.bootstrap = vec![BootstrapPeer { key, addrs: vec![] }];
        }),
    ];
    for (field, set) in keys {
        let mut config = Config::default();
        set(&mut config, key(1));
        assert_eq!(config.validate(), Ok(()));
        set(&mut config, impossible);
        let key = impossible;
        let error = ConfigError::Key { field, key };
        assert_eq!(config.validate(), Err(error.clone()));
        let (identity, seed) = (Identity::Keyed(secret(0)), Seed::from_number(0));
        let node = Node::new(config, identity, seed, Time::default());
        assert_eq!(node.err(), Some(error));
    }
}

#[test]
fn an_answer_has_room_up_to_its_peers_limit() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    hand.request(stream, 1, None, Request::Ping);
    let out = hand.node.in_flight().answer_bytes;
    assert!(out > 0);
    let limit = Config::default().limits.answer_bytes_per_peer;
    for (bytes, room) in [(limit - out, "Free"), (limit - out + 1, "PeerFull")] {
        let node = &hand.node;
        let found = node.inbound.room_for_answer(&node.base, &key(1), bytes);
        assert_eq!(format!("{found:?}"), room);
    }
}

/// The lane of peer 1 after one of its `streams` brought too many bytes.
fn after_too_many_bytes(streams: usize, known: bool) -> Lane {
    let mut hand = Hand::new(|config| config.limits.request_bytes_per_peer = 600_000);
    if known {
        hand.ask(1, None, Request::Ping);
    }
    let streams: vec::Vec<_> = (0..streams).map(|_| hand.accept(1)).collect();
    let mut large = 4_000_001_u32.to_be_bytes().to_vec();
    large.push(Method::PutBatch.as_byte());
    large.resize(700_000, b' ');
    hand.bytes(streams[0], &large);
    assert_eq!(hand.closed(streams[0]), Some(CloseReason::Evicted));
    hand.node.base.lane(&key(1))
}

#[test]
fn a_known_peer_is_charged_for_requests_that_had_to_go_when_it_has_more_than_two_streams() {
    assert_eq!(after_too_many_bytes(1, false), Lane::Penalised);
    assert_eq!(after_too_many_bytes(1, true), Lane::Known);
    assert_eq!(after_too_many_bytes(2, true), Lane::Known);
    assert_eq!(after_too_many_bytes(3, true), Lane::Penalised);
}

#[test]
fn a_caller_is_slowed_and_cut_off_above_its_allowance() {
    let waste = |bytes| Callers::new(16, 0).note_waste(&key(1), bytes, Mono(1));
    assert!(waste(256 << 10) == Waste::Tolerated);
    assert!(waste((256 << 10) + 1) == Waste::Slowed);
    assert!(waste(8 << 20) == Waste::Slowed);
    assert!(matches!(waste((8 << 20) + 1), Waste::Refused { .. }));
}

#[test]
fn a_peer_that_took_an_answer_or_is_in_the_table_waits_among_the_known() {
    let mut hand = Hand::new(|_| {});
    hand.ask(1, None, Request::Ping);
    let (peer, addr) = (key(2), Some(addr(2)));
    hand.wanted();
    hand.command(Command::Ping { peer, addr });
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Relayed);
    hand.pong(stream, 2);
    assert_eq!(hand.node.peers().len(), 1);
    let lanes = [1, 2, 3].map(|peer| hand.node.base.lane(&key(peer)));
    assert_eq!(lanes, [Lane::Known, Lane::Known, Lane::New]);
}

#[test]
fn a_batch_has_its_whole_share_checked_while_no_request_waits_for_its_slot() {
    let mut hand = Hand::new(|config| config.limits.items_per_publisher = Cap::UNLIMITED);
    let items = (0..40).map(|n| item(1, &format!("{n}"), 5, "v").into());
    let (items, targets) = (items.collect(), vec![]);
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), Request::PutBatch { items, targets });
    for _ in 0..8 {
        assert_eq!(hand.jobs_out(), 32);
        let is_job = |output: &Output| matches!(output, Output::Verify { .. });
        let at = hand.outputs.iter().position(is_job).unwrap();
        if let Output::Verify { job, work } = hand.outputs.remove(at) {
            let verdict = work.run();
            hand.input(Input::Verified { job, verdict });
        }
    }
    assert_eq!(hand.jobs_out(), 32);
}

/// These requests cost almost nothing: their item is already stored when their turn comes.
#[test]
fn no_more_than_32_waiting_requests_are_taken_up_in_one_handle() {
    let mut hand = Hand::new(|config| config.limits.serving = 1);
    let it = item(500, "x", 5, "v");
    for peer in 1..=100 {
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, put(&it));
    }
    assert_eq!(hand.node.in_flight().waiting_requests, 99);
    let is_job = |output: &Output| matches!(output, Output::Verify { .. });
    let at = hand.outputs.iter().position(is_job).unwrap();
    if let Output::Verify { job, work } = hand.outputs.remove(at) {
        let verdict = work.run();
        hand.try_input(Input::Verified { job, verdict }).unwrap();
    }
    for left in [67, 35, 3, 0] {
        hand.try_input(Input::TimerFired).unwrap();
        assert_eq!(hand.node.in_flight().waiting_requests, left);
    }
}

#[test]
fn expiry_is_held_until_its_moment_and_no_longer() {
    let ttl = Duration::from_secs(100);
    let mut hand = Hand::new(|config| {
        config.item_ttl = ttl;
        config.storage = true;
    });
    let it = item(1, "x", 5, "v");
    assert!(hand.ask(1, ours(), put(&it)).is_some());
    let until = hand.now.plus(ttl + Duration::from_secs(10));
    hand.node.base.items.suspend_expiry(until);
    hand.pass(ttl + Duration::from_secs(10) - TICK);
    let expired = |hand: &Hand| {
        let items = hand.node.store().fill().items;
        (hand.counter(Counter::ItemsExpired), items)
    };
    assert_eq!(expired(&hand), (0, 1));
    hand.now = until;
    hand.try_input(Input::TimerFired).unwrap();
    assert_eq!(expired(&hand), (1, 0));
    let target = it.target();
    let is_persisted = |output: &Output| matches!(output, Output::Persist { what: StoreChange::Forget(it), .. } if *it == target);
    assert!(
        hand.outputs.iter().any(is_persisted),
        "storage gets the change"
    );
}

#[test]
fn a_stream_that_ends_in_order_is_finished_and_any_other_is_reset() {
    let reasons = [
        (CloseReason::Done, true),
        (CloseReason::Idle, true),
        (CloseReason::Overloaded, true),
        (CloseReason::Shutdown, true),
        (CloseReason::Protocol, false),
        (CloseReason::Timeout, false),
        (CloseReason::Cancelled, false),
        (CloseReason::Evicted, false),
    ];
    for (reason, graceful) in reasons {
        assert_eq!(reason.is_graceful(), graceful, "{reason:?}");
    }
}

/// The caller of a snapshot may pass an older clock reading than the node has.
#[test]
fn the_peers_clock_in_a_snapshot_goes_by_the_later_of_two_clock_readings() {
    let mut hand = Hand::new(|_| {});
    let time = hand.time();
    for peer in 1..=3 {
        let seen = time.unix.into();
        let contacts = vec![WirePeer::new(&key(9), seen, None)].into();
        hand.node.base.peers.clocks.note(key(peer), &contacts, time);
    }
    let mono = Mono(0);
    let earlier = hand.node.snapshot_at(Time { mono, ..time });
    assert_eq!(earlier.peers_clock.map(|clock| clock.offset), Some(0));
    assert_eq!(earlier.peers_clock, hand.node.snapshot_at(time).peers_clock);
}

#[test]
fn records_of_storage_beyond_the_jobs_are_left_unless_storage_proves_them() {
    let mut hand = Hand::new(|config| {
        config.storage = true;
        config.limits.verify_jobs = 1;
    });
    let load = |hand: &mut Hand, salt, proven| {
        let it = item(1, salt, 5, "v");
        let hour = Duration::from_secs(3600);
        let record = Box::new(StoredRecord {
            target: it.target(),
            item: (*it).clone(),
            vouched: Unix(1_790_000_000_000_000_000),
            expires: Some(hand.time().unix.plus(hour)),
            bound: None,
        });
        hand.input(Input::Loaded { record, proven });
        it.target()
    };
    load(&mut hand, "a", false);
    load(&mut hand, "b", false);
    assert_eq!((hand.jobs_out(), hand.hits(Limit::verify_jobs)), (1, 1));
    let proven = load(&mut hand, "c", true);
    assert!(hand.held(&proven).is_some());
    assert_eq!(hand.hits(Limit::verify_jobs), 1);
}

#[test]
fn peers_nearer_than_this_node_are_counted_up_to_k() {
    let mut hand = Hand::new(|config| config.k = 3);
    let time = hand.time();
    for peer in 1..=12 {
        let update = PeerUpdate {
            key: key(peer),
            addr: None,
            reachable: true,
        };
        hand.node.base.peers.table.insert_or_update(&update, time);
    }
    let mut found = [0; 4];
    for n in 100..160 {
        let target = key(n).id().into();
        let own = key(0).id();
        let distance = crate::id::Target::distance(&target, &own);
        let nearer = hand.node.peers();
        let nearer = nearer
            .iter()
            .filter(|it| target.distance(&it.key.id()) < distance);
        let expected = nearer.count().min(3);
        assert_eq!(hand.node.base.nearer(&target), expected);
        found[expected] += 1;
    }
    assert!(found[0] > 0 && found[3] > 0, "{found:?}");
}
