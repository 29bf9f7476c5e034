//! Calls and the streams kept for them, and what the end of a call says about its peer.

use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, key, ours};
use super::net::addr;
use crate::key::PublicKey;
use crate::node::timers::Timer;
use crate::node::*;
use crate::routing::Contact;
use crate::wire::{
    Advertised, Method, Request, Response, ResponseExt, ResponseMessage, Sender, encode_response,
};

/// Starts a user's ping.
fn ping(hand: &mut Hand, peer: PublicKey) -> OperationId {
    hand.wanted();
    hand.command(Command::Ping { peer, addr: None })
}

/// Starts a user's ping over a newly opened stream.
fn opened(hand: &mut Hand, peer: usize) -> (OperationId, StreamId) {
    let op = ping(hand, key(peer));
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Dialled);
    (op, stream)
}

fn pong(peer: usize, ext: ResponseExt) -> ResponseMessage {
    let responder = Sender::of(&key(peer));
    ResponseMessage {
        ext: Some(ext),
        response: Response::Ping { responder },
    }
}

fn kept(peer: usize) -> ResponseMessage {
    let keep = true;
    pong(
        peer,
        ResponseExt {
            keep,
            ..ResponseExt::default()
        },
    )
}

fn fails(hand: &mut Hand, peer: usize, reason: OpenFailure) {
    ping(hand, key(peer));
    let (stream, ..) = hand.wanted()[0];
    hand.input(Input::StreamFailed { stream, reason });
}

fn contact(hand: &Hand, peer: usize) -> Option<&Contact> {
    hand.node.table().get(&key(peer).id())
}

#[test]
fn streams_are_kept_up_to_the_limits_and_counted_as_they_come_and_go() {
    let mut hand = Hand::new(|config| config.limits.idle_streams = 2);
    hand.node.base.cx.timers.clear();
    let streams = [1, 2, 3].map(|peer| {
        let (_, stream) = opened(&mut hand, peer);
        hand.reply(stream, kept(peer));
        stream
    });
    let closed = streams.map(|stream| hand.closed(stream));
    assert_eq!(closed, [None, None, Some(CloseReason::Done)]);
    assert_eq!(hand.used(Limit::idle_streams), 2);
    // One is used, and kept again.
    ping(&mut hand, key(1));
    assert_eq!(hand.used(Limit::idle_streams), 1);
    assert!(hand.request_on(streams[0]).is_some());
    hand.reply(streams[0], kept(1));
    assert_eq!(hand.used(Limit::idle_streams), 2);
    let (stream, end) = (streams[1], StreamEnd::Finished);
    hand.input(Input::StreamClosed { stream, end });
    assert_eq!(hand.used(Limit::idle_streams), 1);

    // At most sixteen per peer.
    let mut hand = Hand::new(|_| {});
    hand.node.base.cx.timers.clear();
    let streams: Vec<_> = (0..17).map(|_| opened(&mut hand, 1).1).collect();
    for stream in &streams {
        hand.reply(*stream, kept(1));
    }
    assert_eq!(hand.used(Limit::idle_streams), 16);
    assert_eq!(hand.closed(streams[16]), Some(CloseReason::Done));
}

#[test]
fn a_call_whose_stream_ends_is_made_again_where_its_request_was_probably_lost() {
    // How the stream ends, whether it was a kept one, whether a part of an answer had arrived.
    let cases = [
        (StreamEnd::Finished, false, false, true),
        (StreamEnd::Reset, false, false, false),
        (StreamEnd::Lost, false, false, true),
        (StreamEnd::Finished, true, false, true),
        (StreamEnd::Reset, true, false, true),
        (StreamEnd::Finished, false, true, false),
        (StreamEnd::Reset, true, true, false),
    ];
    for (end, on_kept, mid_frame, again) in cases {
        let mut hand = Hand::new(|_| {});
        hand.node.base.cx.timers.clear();
        let (_, stream) = opened(&mut hand, 1);
        let mut op = OperationId(1);
        if on_kept {
            hand.reply(stream, kept(1));
            op = ping(&mut hand, key(1));
            assert!(hand.request_on(stream).is_some());
        }
        if mid_frame {
            hand.bytes(stream, &[0, 0]);
        }
        hand.input(Input::StreamClosed { stream, end });
        assert_eq!(hand.wanted().len(), usize::from(again), "{end:?} {on_kept}");
        assert_eq!(hand.finished(op).is_none(), again, "{end:?} {on_kept}");
        assert_eq!(hand.counter(Counter::CallsRetried), u64::from(again));
        assert_eq!(hand.counter(Counter::FrameTruncated), u64::from(mid_frame));
    }
}

#[test]
fn a_call_that_is_made_again_dials_where_it_may_dial() {
    for may_dial in [true, false] {
        let mut hand = Hand::new(|_| {});
        let now = hand.now;
        hand.node.base.peers.store.claims(&key(1), addr(5), now);
        if may_dial {
            ping(&mut hand, key(1));
        } else {
            // A caller is pinged back on its own session.
            hand.ask(1, ours(), Request::Ping);
        }
        for _ in 0..2 {
            let (stream, _, addrs, _) = hand.wanted().remove(0);
            let expected: &[_] = if may_dial { &[addr(5)] } else { &[] };
            assert_eq!(addrs.as_slice(), expected);
            hand.open(stream, Reach::Accepted);
            let end = StreamEnd::Lost;
            hand.input(Input::StreamClosed { stream, end });
        }
    }
}

#[test]
fn an_answer_that_is_none_ends_its_call_and_its_stream_immediately() {
    let response = Response::FindNode {
        closest: Default::default(),
    };
    let other = encode_response(&ResponseMessage {
        ext: None,
        response,
    })
    .unwrap();
    let answers: [&[u8]; 3] = [
        &[0, 0, 0, 0],
        &[0, 0, 0, 3, Method::Ping.as_byte(), b'{', b'x'],
        &other,
    ];
    for answer in answers {
        let mut hand = Hand::new(|_| {});
        let (op, stream) = opened(&mut hand, 1);
        hand.bytes(stream, answer);
        assert_eq!(hand.closed(stream), Some(CloseReason::Protocol));
        assert!(hand.finished(op).is_some(), "{answer:?}");
        assert_eq!(hand.used(Limit::calls), 0);
    }
}

#[test]
fn a_key_that_cannot_be_is_counted_where_no_peer_was_dialled() {
    let mut bytes = [0xff; 33];
    bytes[0] = 2;
    let impossible = PublicKey::from_bytes(&bytes).unwrap();
    for (peer, reason, counted) in [
        (key(1), OpenFailure::NoAddress, 0),
        (impossible, OpenFailure::NoAddress, 1),
        (key(1), OpenFailure::InvalidKey, 1),
        (key(1), OpenFailure::Unreachable, 0),
    ] {
        let mut hand = Hand::new(|_| {});
        ping(&mut hand, peer);
        let (stream, ..) = hand.wanted()[0];
        hand.input(Input::StreamFailed { stream, reason });
        assert_eq!(hand.counter(Counter::InvalidKeys), counted, "{reason:?}");
    }
}

#[test]
fn no_call_is_left_when_the_node_has_shut_down() {
    let mut hand = Hand::new(|_| {});
    hand.ask(1, ours(), Request::Ping);
    assert_eq!(hand.used(Limit::calls), 1, "the ping back");
    hand.command(Command::Shutdown);
    assert_eq!(hand.used(Limit::calls), 0);
    // Nothing changes after shutdown.
    hand.input(Input::SetFullNode { full_node: true });
    assert!(!hand.node.snapshot().full_node);
}

#[test]
fn operations_are_numbered_upwards() {
    let mut hand = Hand::new(|_| {});
    for (number, fresh) in [(5, true), (5, false), (4, false), (6, true)] {
        let (peer, addr) = (key(1), None);
        let command = Command::Ping { peer, addr };
        let op = OperationId(number);
        let taken = hand.try_input(Input::Command { op, command });
        let expected = if fresh {
            Ok(())
        } else {
            Err(Misuse::OperationNumber(op))
        };
        assert_eq!(taken, expected);
    }
}

#[test]
fn a_failure_is_held_against_a_peer_of_the_table_when_it_is_the_peers() {
    for (reason, blamed) in [
        (OpenFailure::Unreachable, 1),
        (OpenFailure::NoAddress, 1),
        (OpenFailure::Overloaded, 0),
        (OpenFailure::Closing, 0),
    ] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Relayed, true);
        fails(&mut hand, 1, reason);
        assert_eq!(contact(&hand, 1).unwrap().failures, blamed, "{reason:?}");
    }
    // A ping-back may use only the session of the caller, which may have ended.
    for (reason, blamed) in [(OpenFailure::Unreachable, 2), (OpenFailure::NoAddress, 1)] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Relayed, true);
        fails(&mut hand, 1, OpenFailure::Unreachable);
        hand.ask(1, ours(), Request::Ping);
        let (stream, .., session) = hand.wanted()[0];
        assert_eq!(session, SessionUse::ReuseOnly);
        hand.input(Input::StreamFailed { stream, reason });
        assert_eq!(contact(&hand, 1).unwrap().failures, blamed, "{reason:?}");
    }
    // Nor does it mean that the peer cannot be dialled.
    let mut hand = Hand::new(|_| {});
    hand.ask(1, ours(), Request::Ping);
    let (stream, ..) = hand.wanted()[0];
    let reason = OpenFailure::Unreachable;
    hand.input(Input::StreamFailed { stream, reason });
    assert!(!hand.node.base.peers.store.is_paused(&key(1), hand.now));
}

#[test]
fn after_sixteen_failures_in_a_row_no_peer_is_blamed() {
    for (others, blamed) in [(15, 1), (16, 0), (17, 0), (40, 0)] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Relayed, true);
        for peer in 2..2 + others {
            fails(&mut hand, peer, OpenFailure::Unreachable);
        }
        fails(&mut hand, 1, OpenFailure::Unreachable);
        assert_eq!(contact(&hand, 1).unwrap().failures, blamed, "{others}");
    }
}

#[test]
fn a_peer_that_leaves_the_table_is_counted_and_reported_once() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let mut fails_until_gone = 0;
    while contact(&hand, 1).is_some() {
        fails(&mut hand, 1, OpenFailure::Unreachable);
        fails_until_gone += 1;
    }
    assert_eq!(fails_until_gone, crate::routing::FAILURES_KEPT_ALONE);
    let id = key(1).id();
    let removed = |output: &&Output| matches!(output, Output::Event(Event::PeerRemoved { id: of }) if *of == id);
    assert_eq!(hand.outputs.iter().filter(removed).count(), 1);
    assert_eq!(hand.counter(Counter::PeersRemoved), 1);
    assert_eq!(
        hand.counter(Counter::PingEvictions),
        0,
        "no bucket was full"
    );
}

#[test]
fn the_oldest_of_a_full_bucket_that_could_not_even_be_pinged_may_be_pinged_again() {
    let mut hand = Hand::new(|config| {
        config.k = 1;
        config.limits.calls = 1;
        config.limits.replacements = 0;
    });
    // Two peers of the farthest bucket.
    let own = key(0).id().as_bytes()[0];
    let mut far = (1..100).filter(|n| (own ^ key(*n).id().as_bytes()[0]) >> 7 == 1);
    let (oldest, newcomer) = (far.next().unwrap(), far.next().unwrap());
    hand.introduce(oldest, Reach::Relayed, true);
    hand.node.base.cx.timers.clear();
    hand.now = hand.now.plus(crate::routing::PING_AGE);
    // Every call is in use.
    let op = ping(&mut hand, key(200));
    let calls = |hand: &mut Hand| {
        hand.ask(newcomer, ours(), Request::Ping);
        hand.counter(Counter::EvictionPings)
    };
    assert_eq!(calls(&mut hand), 0);
    hand.input(Input::Cancel { op });
    assert_eq!(calls(&mut hand), 1);
    // While one ping is in progress, there is no second one.
    assert_eq!(calls(&mut hand), 1);
}

#[test]
fn a_peer_that_is_not_handed_out_where_it_says_is_probed_there_at_its_next_answer() {
    // On a different host than its session comes from, and on the same one.
    for said in [8, 1] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Dialled, true);
        hand.node.base.cx.timers.clear();
        if said == 1 {
            // It has not been reached before.
            hand.node
                .base
                .peers
                .table
                .set_reach(&key(1).id(), Some(addr(1)), false);
        }
        let answers = |hand: &mut Hand, at: Option<usize>| {
            let op = ping(hand, key(1));
            let (stream, ..) = hand.wanted()[0];
            let path = Path {
                reach: Reach::Accepted,
                remote: Some(addr(1)),
            };
            hand.input(Input::StreamOpened { stream, path });
            let addr = at.map(|at| Advertised::At(addr(at)));
            hand.reply(
                stream,
                pong(
                    1,
                    ResponseExt {
                        addr,
                        ..ResponseExt::default()
                    },
                ),
            );
            assert!(hand.finished(op).is_some());
            hand.counter(Counter::Probes)
        };
        if said == 1 {
            hand.node
                .base
                .peers
                .store
                .claims(&key(1), addr(1), hand.now);
            assert_eq!(answers(&mut hand, None), 1);
        } else {
            assert_eq!(answers(&mut hand, Some(said)), 1);
        }
        let probe = hand.outputs.iter().find_map(|output| match output {
            Output::Probe { probe, .. } => Some(*probe),
            _ => None,
        });
        let result = Err(OpenFailure::Overloaded);
        let probe = probe.unwrap();
        hand.input(Input::Probed { probe, result });
        assert_eq!(answers(&mut hand, None), 2, "{said}");
    }
}

#[test]
fn many_silent_peers_are_asked_sixteen_at_a_time_a_second_apart_and_few_less_often() {
    for (peers, seconds) in [(15, 15), (16, 6), (40, 6)] {
        let mut hand = Hand::new(|_| {});
        hand.know(1..=peers);
        let asked = hand.node.peers().len();
        let silence = hand.node.base.peers.proven_within();
        hand.now = hand.now.plus(silence);
        hand.node.base.cx.timers.clear();
        hand.node.base.cx.now = hand.time();
        hand.node.base.prove_peers();
        assert_eq!(hand.counter(Counter::ProofPings), asked.min(16) as u64);
        let due = hand.node.base.cx.timers.due_at(Timer::Prove).unwrap();
        let pause = due.since(hand.now).as_secs_f64();
        assert!(
            (pause - f64::from(seconds)).abs() < 1.5,
            "{pause} for {peers}"
        );
    }
}

#[test]
fn peers_whose_silence_is_longer_than_the_bound_are_not_handed_out() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Dialled, true);
    hand.node.base.cx.timers.clear();
    let named = |hand: &mut Hand| {
        let target = key(5).id().into();
        let answer = hand.ask(2, None, Request::FindNode { target }).unwrap();
        answer.response.closest().unwrap().peers.len()
    };
    assert_eq!(named(&mut hand), 1);
    let bound = hand.node.base.peers.proven_within();
    let since = hand.node.base.peers.proven_since(hand.now.plus(bound));
    assert_eq!(since, hand.now);
    hand.now = hand.now.plus(bound + Duration::from_nanos(1));
    assert_eq!(named(&mut hand), 0);
}

#[test]
fn an_address_that_the_user_gives_comes_before_the_one_that_was_known() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    hand.node
        .base
        .peers
        .store
        .claims(&key(1), addr(5), hand.now);
    hand.wanted();
    let (peer, given) = (key(1), Some(addr(6)));
    hand.command(Command::Ping { peer, addr: given });
    let (_, _, addrs, _) = hand.wanted().remove(0);
    assert_eq!(addrs.as_slice(), [addr(6), addr(5)]);
}
