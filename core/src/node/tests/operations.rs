//! Joining, putting, getting, deleting.

use core::time::Duration;

use super::hand::{Hand, item, key, ours};
use super::net::{Net, secret};
use crate::id::Target;
use crate::item::{Origin, Seq};
use crate::node::*;
use crate::wire::{Request, Response, ResponseMessage, Sender};

#[test]
fn upstreams_network_test_five_nodes_put_get_update_get() {
    let mut net = Net::settled(5, |_, _| {});
    for node in 0..5 {
        assert_eq!(
            net.nodes[node].peers().len(),
            4,
            "node {node} knows everybody"
        );
    }
    let put = net.put(1, "greeting", b"hello").unwrap();
    assert_eq!((put.replicas.stored, put.replicas.attempted()), (4, 4));
    for node in 0..5 {
        let got = net.get(node, 1, "greeting", ReadPolicy::Freshest).unwrap();
        assert_eq!(got.item.value.as_bytes(), b"hello");
        assert_eq!(got.origin, Origin::Owner);
        assert!(got.stats.converged);
    }
    let update = net.put(1, "greeting", b"world").unwrap();
    assert!(update.seq > put.seq);
    let got = net.get(4, 1, "greeting", ReadPolicy::Freshest).unwrap();
    assert_eq!(
        (got.item.value.as_bytes(), got.item.seq),
        (b"world".as_slice(), update.seq)
    );
}

#[test]
fn sixty_nodes_find_each_other_and_the_k_nearest_store() {
    let mut net = Net::settled(60, |_, _| {});
    let put = net.put(7, "a", b"value").unwrap();
    assert_eq!(put.replicas.acknowledged(), 20);
    let target = put.target;
    let mut nearest: alloc::vec::Vec<usize> = (0..60).filter(|n| *n != 7).collect();
    nearest.sort_by_key(|n| target.distance(&secret(*n).public().id()));
    let holders = net.holders(7, "a");
    for node in &nearest[..20] {
        assert!(
            holders.contains(node),
            "node {node} is among the 20 nearest"
        );
    }
    let reader = nearest[50];
    let got = net.get(reader, 7, "a", ReadPolicy::Freshest).unwrap();
    assert_eq!(
        (got.item.value.as_bytes(), got.agree),
        (b"value".as_slice(), 20)
    );
    let first = net.get(reader, 7, "a", ReadPolicy::FirstValid).unwrap();
    assert!(
        first.stats.requests <= 4,
        "{} requests for the first value",
        first.stats.requests
    );
}

#[test]
fn a_quarter_of_the_nodes_may_stop_and_nothing_is_lost() {
    let mut net = Net::settled(40, |_, _| {});
    for owner in 0..10 {
        net.put(owner, "x", &[owner as u8]).unwrap();
    }
    for node in 30..40 {
        net.kill(node);
    }
    for owner in 0..10 {
        let got = net
            .get(29 - owner, owner, "x", ReadPolicy::Freshest)
            .unwrap();
        assert_eq!(got.item.value.as_bytes(), [owner as u8]);
    }
}

#[test]
fn deleted_not_found_and_no_peers_are_three_answers() {
    let mut net = Net::settled(5, |_, _| {});
    net.put(1, "x", b"v").unwrap();
    let tombstone = net.put(1, "x", b"").unwrap();
    match net.get(2, 1, "x", ReadPolicy::Freshest) {
        Err(GetError::Deleted { seq, .. }) => assert_eq!(seq, tombstone.seq),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        net.get(2, 1, "never", ReadPolicy::Freshest),
        Err(GetError::NotFound { .. })
    ));
    let mut alone = Net::settled(1, |_, _| {});
    assert_eq!(
        alone.get(0, 0, "x", ReadPolicy::Freshest),
        Err(OperationError::NoPeers.into())
    );
    assert_eq!(alone.put(0, "x", b"v"), Err(OperationError::NoPeers.into()));
}

#[test]
fn a_command_waits_for_bootstrap_peers_that_are_being_asked() {
    let mut net = Net::new(3, |_, _| {});
    net.input(2, Input::TimerFired);
    let op = net.start(
        2,
        Command::FindNode {
            target: Default::default(),
            timeout: None,
        },
    );
    assert!(matches!(net.wait(op), Outcome::FindNode(Ok(_))));
}

#[test]
fn a_command_waits_for_a_caller_that_is_being_pinged_back() {
    for answers in [true, false] {
        // Without bootstrap peers the first caller is the only known peer.
        let mut hand = Hand::new(|_| {});
        hand.ask(1, ours(), Request::Ping);
        let (ping, ..) = hand.wanted()[0];
        let op = hand.command(Command::FindNode {
            target: Target::default(),
            timeout: None,
        });
        assert_eq!(hand.finished(op), None);
        if !answers {
            hand.input(Input::StreamFailed {
                stream: ping,
                reason: OpenFailure::Unreachable,
            });
            let no_peers = Outcome::FindNode(Err(OperationError::NoPeers));
            assert_eq!(hand.finished(op), Some(&no_peers));
            continue;
        }
        hand.open(ping, Reach::Relayed);
        let responder = Sender::of(&key(1));
        let (ext, response) = (None, Response::Ping { responder });
        hand.reply(ping, ResponseMessage { ext, response });
        let (_, asked, ..) = hand.wanted()[0];
        assert_eq!((asked, hand.finished(op)), (key(1), None));
    }
}

#[test]
fn sequences_rise_past_what_others_hold() {
    let mut net = Net::settled(5, |_, _| {});
    let ahead = Seq(net.time().unix.0 + 3_600_000_000_000);
    let options = PutOptions {
        seq: Some(ahead),
        ..PutOptions::default()
    };
    net.put_with(1, "x", b"ahead", options).unwrap();
    // The same key on another machine, which does not know that sequence.
    net.nodes[1].base.items.own = crate::node::items::own::OwnItems::new(10);
    let (time, target) = (net.time(), Target::of(&secret(1).public(), b"x"));
    net.nodes[1].base.items.store.remove_local(time, &target);
    let next = net.put(1, "x", b"next").unwrap();
    assert!(next.seq > ahead);
    let too_far = Seq(net.time().unix.0 + 3 * 86_400_000_000_000);
    let options = PutOptions {
        seq: Some(too_far),
        ..PutOptions::default()
    };
    let refused = net.put_with(1, "x", b"far", options.clone());
    assert_eq!(refused, Err(PutError::SequenceAhead(too_far)));
    let forced = PutOptions {
        force: true,
        ..options
    };
    assert!(net.put_with(1, "x", b"far", forced).is_ok());
}

#[test]
fn every_operation_finishes_once_also_on_shutdown() {
    let mut net = Net::settled(10, |_, _| {});
    let mut ops = alloc::vec::Vec::new();
    for n in 0..20u8 {
        let request = GetRequest::of(
            secret(3).public(),
            crate::item::Salt::new(&[n]),
            ReadPolicy::Freshest,
        );
        ops.push(net.start(2, Command::Get(request)));
    }
    let shutdown = net.start(2, Command::Shutdown);
    assert_eq!(net.finished.get(&shutdown), Some(&Outcome::Shutdown));
    for op in ops {
        let outcome = net.finished.get(&op);
        assert_eq!(
            outcome,
            Some(&Outcome::Get(Err(OperationError::ShuttingDown.into()))),
            "{op}"
        );
    }
    net.run_for(Duration::from_secs(60));
    let late = net.command(
        2,
        Command::FindNode {
            target: Default::default(),
            timeout: None,
        },
    );
    assert_eq!(late, Outcome::FindNode(Err(OperationError::ShuttingDown)));
    assert_eq!(net.nodes[2].next_deadline(), None);
}

#[test]
fn a_cancelled_operation_finishes_as_cancelled() {
    let mut net = Net::settled(5, |_, _| {});
    let op = net.start(
        1,
        Command::FindNode {
            target: Default::default(),
            timeout: None,
        },
    );
    net.input(1, Input::Cancel { op });
    net.input(1, Input::Cancel { op });
    assert_eq!(
        net.finished.get(&op),
        Some(&Outcome::FindNode(Err(OperationError::Cancelled)))
    );
}

#[test]
fn kept_streams_spare_opening_new_ones() {
    let mut net = Net::settled(5, |_, _| {});
    net.put(1, "x", b"v").unwrap();
    let before = net.opened[1];
    for _ in 0..10 {
        net.get(1, 1, "x", ReadPolicy::Freshest).unwrap();
    }
    assert_eq!(net.opened[1], before, "all calls went over kept streams");
}

#[test]
fn an_operation_ends_at_its_deadline_although_a_peer_may_still_answer() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let item = item(2, "salt", 1, "value");
    let mut request = GetRequest::of(item.key, item.salt.clone(), ReadPolicy::Freshest);
    request.timeout = Some(Duration::from_secs(5));
    let op = hand.command(Command::Get(request));
    hand.pass(Duration::from_millis(4_900));
    assert!(hand.finished(op).is_none());
    hand.pass(Duration::from_millis(200));
    assert!(matches!(
        hand.finished(op),
        Some(Outcome::Get(Err(GetError::Timeout { best: None, .. })))
    ));
}
