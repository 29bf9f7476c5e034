//! Which peers the node asks, and at which address: peers that failed or do not answer, and
//! addresses where a peer was reached.

use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, key};
use super::net::addr;
use crate::key::PublicKey;
use crate::node::*;
use crate::wire::{Request, Response, ResponseExt, ResponseMessage};

/// A node with these peers and no maintenance of its own.
fn node(peers: core::ops::RangeInclusive<usize>, alpha: usize) -> Hand {
    let mut hand = Hand::new(|config| config.alpha = alpha);
    for peer in peers {
        hand.introduce(peer, Reach::Relayed, true);
    }
    hand.node.base.cx.timers.clear();
    hand
}

/// Starts a ping. Returns the stream that it requests.
fn ping(hand: &mut Hand, peer: usize, at: Option<usize>) -> (OperationId, StreamId, Addrs) {
    let (peer, addr) = (key(peer), at.map(addr));
    hand.wanted();
    let op = hand.command(Command::Ping { peer, addr });
    let (stream, _, addrs, _) = hand.wanted().remove(0);
    (op, stream, addrs)
}

fn opened(hand: &mut Hand, stream: StreamId, remote: usize) {
    let path = Path {
        reach: Reach::Dialled,
        remote: Some(addr(remote)),
    };
    hand.input(Input::StreamOpened { stream, path });
}

fn fails(hand: &mut Hand, peer: usize) {
    let (_, stream, _) = ping(hand, peer, None);
    let reason = OpenFailure::Unreachable;
    hand.input(Input::StreamFailed { stream, reason });
}

/// Looks up the id of `peer`. Returns the peers asked immediately, with their streams.
fn look_for(hand: &mut Hand, peer: usize) -> (OperationId, Vec<(StreamId, PublicKey)>) {
    hand.wanted();
    let target = key(peer).id().into();
    let timeout = None;
    let op = hand.command(Command::FindNode { target, timeout });
    let mut asked: Vec<_> = hand.wanted().iter().map(|it| (it.0, it.1)).collect();
    asked.sort_unstable_by_key(|it| (1..9).position(|n| key(n) == it.1));
    (op, asked)
}

fn keys(asked: &[(StreamId, PublicKey)]) -> Vec<PublicKey> {
    asked.iter().map(|it| it.1).collect()
}

#[test]
fn a_peer_that_could_not_be_reached_lately_is_no_step_of_a_lookup() {
    let mut hand = node(1..=2, 3);
    fails(&mut hand, 2);
    assert_eq!(keys(&look_for(&mut hand, 2).1), [key(1)]);
    hand.pass(Duration::from_secs(2));
    assert_eq!(keys(&look_for(&mut hand, 2).1), [key(1), key(2)]);
}

#[test]
fn a_lookup_starts_with_peers_that_failed_only_where_fewer_than_alpha_live() {
    for (alpha, asks_it) in [(2, false), (3, true)] {
        let mut hand = node(1..=3, alpha);
        fails(&mut hand, 3);
        hand.pass(Duration::from_secs(2));
        let (op, mut asked) = look_for(&mut hand, 3);
        for peer in [1, 2] {
            let (stream, asked) = asked.remove(0);
            assert_eq!(asked, key(peer));
            hand.open(stream, Reach::Relayed);
            let ext = Some(ResponseExt::default());
            let closest = Default::default();
            let response = Response::FindNode { closest };
            hand.reply(stream, ResponseMessage { ext, response });
        }
        let asks = hand.wanted().len() + asked.len();
        assert_eq!(asks, usize::from(asks_it), "alpha {alpha}");
        assert!(hand.finished(op).is_some(), "the operation has ended");
    }
}

#[test]
fn a_silent_peer_that_owes_sixteen_answers_is_not_asked_for_another() {
    for (owed, asked) in [(15, &[1, 2][..]), (16, &[2][..])] {
        let mut hand = node(1..=2, 3);
        for _ in 0..owed {
            ping(&mut hand, 1, None);
        }
        hand.pass(Duration::from_secs(5));
        let asked: Vec<_> = asked.iter().map(|n| key(*n)).collect();
        assert_eq!(keys(&look_for(&mut hand, 1).1), asked, "{owed}");
    }
}

#[test]
fn a_peer_is_known_to_be_asked_while_a_call_to_it_is_out() {
    let mut hand = node(1..=1, 3);
    let has_call = |hand: &Hand| hand.node.base.peers.store.has_call(&key(1));
    assert!(!has_call(&hand));
    let (_, stream, _) = ping(&mut hand, 1, None);
    assert!(has_call(&hand));
    hand.open(stream, Reach::Relayed);
    assert!(has_call(&hand));
    hand.pong(stream, 1);
    assert!(!has_call(&hand));
}

#[test]
fn where_a_peer_was_dialled_is_remembered_although_it_did_not_answer() {
    let mut hand = Hand::new(|_| {});
    let (op, stream, addrs) = ping(&mut hand, 1, Some(5));
    assert_eq!(addrs.as_slice(), [addr(5)]);
    // The address where it is reached is not the advertised one.
    opened(&mut hand, stream, 6);
    let end = StreamEnd::Reset;
    hand.input(Input::StreamClosed { stream, end });
    assert!(hand.finished(op).is_some());
    let (_, _, addrs) = ping(&mut hand, 1, None);
    assert_eq!(addrs.as_slice(), [addr(6)]);
}

#[test]
fn a_peer_that_moved_is_handed_out_where_it_answered_last() {
    let mut hand = Hand::new(|_| {});
    for at in [5, 6, 7] {
        let (_, stream, _) = ping(&mut hand, 1, Some(at));
        opened(&mut hand, stream, at);
        hand.pong(stream, 1);
        assert_eq!(hand.node.peers()[0].addr, Some(addr(at)));
    }
}

#[test]
fn only_a_failure_of_the_peer_is_held_against_it_and_its_address() {
    let reasons = [
        (OpenFailure::Overloaded, false),
        (OpenFailure::Closing, false),
        (OpenFailure::Unreachable, true),
        (OpenFailure::Timeout, true),
        (OpenFailure::Handshake, true),
    ];
    for (reason, paused) in reasons {
        let mut hand = Hand::new(|_| {});
        let (_, stream, _) = ping(&mut hand, 1, Some(5));
        hand.input(Input::StreamFailed { stream, reason });
        assert_eq!(is_paused(&hand, 5), (paused, paused), "{reason:?}");
    }
}

/// Whether peer 1, and whether this address, is in back-off.
fn is_paused(hand: &Hand, at: usize) -> (bool, bool) {
    let store = &hand.node.base.peers.store;
    let peer = store.is_paused(&key(1), hand.now);
    (peer, store.address_paused(&addr(at), hand.now))
}

#[test]
fn an_address_without_an_answer_until_the_caller_gave_up_is_paused() {
    for is_met in [false, true] {
        let mut hand = Hand::new(|_| {});
        let (_, stream, _) = ping(&mut hand, 1, Some(5));
        opened(&mut hand, stream, 5);
        hand.pong(stream, 1);
        hand.node.base.cx.timers.clear();
        let (op, asked) = look_for(&mut hand, 1);
        if is_met {
            opened(&mut hand, asked[0].0, 5);
            let asked = hand.request_on(asked[0].0).unwrap();
            assert!(matches!(asked.request, Request::FindNode { .. }));
        }
        // Longer than operations wait for it, and shorter than the hard deadline.
        let owed = hand.node.base.peers.store.patience(&key(1));
        hand.now = hand.now.plus(owed);
        hand.try_input(Input::Cancel { op }).unwrap();
        assert_eq!(is_paused(&hand, 5), (true, !is_met));
    }
}
