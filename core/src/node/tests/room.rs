//! Which streams are closed when room is short, and how much a peer may send and leave unread: each
//! rule alone.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::cap::Cap;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::wire::{Method, Request, RequestExt};

/// A node with room for six accepted streams.
fn six() -> Hand {
    Hand::new(|config| config.limits.streams = 8)
}

/// Sends the first bytes of a large request on a new stream.
fn half_sent(hand: &mut Hand, peer: usize, host: usize, bytes: usize) -> StreamId {
    let stream = hand.accept_from(peer, host);
    more(hand, stream, bytes);
    stream
}

fn more(hand: &mut Hand, stream: StreamId, bytes: usize) {
    let mut large = 4_000_001_u32.to_be_bytes().to_vec();
    large.push(Method::PutBatch.as_byte());
    large.resize(bytes, b' ');
    hand.bytes(stream, &large);
}

#[test]
fn of_streams_without_a_whole_request_goes_the_oldest_of_the_largest_crowd_of_strangers() {
    // Peers with their addresses, in the order of their streams; index of the one that is closed.
    let cases: [([(usize, usize); 6], usize); 4] = [
        ([(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6)], 0),
        ([(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 5)], 1),
        ([(1, 1), (2, 1), (3, 1), (4, 2), (4, 3), (5, 4)], 3),
        ([(90, 1), (90, 1), (90, 1), (1, 2), (2, 3), (3, 3)], 4),
    ];
    for (streams, goes) in cases {
        let mut hand = six();
        let known = usize::from(streams[0].0 == 90);
        if known > 0 {
            hand.ask(90, None, Request::Ping);
        }
        let streams = streams.map(|(peer, host)| hand.accept_from(peer, host));
        hand.accept(7);
        let closed = streams.map(|stream| hand.closed(stream).is_some());
        let mut expected = [false; 6];
        expected[goes] = true;
        assert_eq!(closed, expected);
        assert_eq!(hand.counter(Counter::StreamsEvicted), 1);
        // It had sent nothing yet, so its peer is not charged.
        assert_eq!(hand.used(Limit::callers), known);
    }
}

#[test]
fn an_idle_stream_goes_before_a_lone_request_and_after_a_crowd() {
    for (peers, idle_goes) in [([1, 2, 3, 4, 5], true), ([1, 2, 2, 4, 5], false)] {
        let mut hand = six();
        let idle = hand.accept(9);
        hand.request(idle, 9, Some(RequestExt::default()), Request::Ping);
        assert!(hand.answer_on(idle).is_some());
        let streams = peers.map(|peer| hand.accept(peer));
        hand.accept(7);
        let reason = idle_goes.then_some(CloseReason::Idle);
        assert_eq!(hand.closed(idle), reason);
        let reason = (!idle_goes).then_some(CloseReason::Evicted);
        assert_eq!(hand.closed(streams[1]), reason);
        assert_eq!(hand.counter(Counter::StreamsEvicted), 1);
    }
}

#[test]
fn bytes_of_requests_beyond_the_limit_cost_a_crowd_its_oldest_or_the_peer_its_own() {
    let mut hand = Hand::new(|_| {});
    half_sent(&mut hand, 1, 50, 200_000);
    let one = hand.node.in_flight().request_bytes;
    let mut hand = Hand::new(|config| config.limits.request_bytes = one * 9 / 2);
    let streams = [1, 2, 3, 4].map(|peer| half_sent(&mut hand, peer, 50, 200_000));
    let closed = streams.map(|stream| hand.closed(stream));
    assert_eq!(closed, [Some(CloseReason::Evicted), None, None, None]);
    assert_eq!(hand.counter(Counter::RequestsOverloaded), 0);
    assert_eq!(hand.counter(Counter::StreamsEvicted), 1);
    // A single peer is responsible for itself.
    let mut hand = Hand::new(|config| config.limits.request_bytes = one * 3 / 2);
    let alone = half_sent(&mut hand, 1, 50, 200_000);
    assert_eq!(hand.closed(alone), Some(CloseReason::Evicted));
    assert_eq!(hand.counter(Counter::RequestsOverloaded), 1);
    assert_eq!(hand.counter(Counter::StreamsEvicted), 0);
}

#[test]
fn what_a_closed_stream_had_brought_or_was_owed_is_free_for_the_next_of_its_peer() {
    let mut hand = Hand::new(|config| config.limits.request_bytes_per_peer = 600_000);
    // Less than one answer.
    hand.node.base.cx.config.limits.answer_bytes_per_peer = 10;
    // While another of its streams stays open.
    hand.accept(1);
    for _ in 0..4 {
        let stream = half_sent(&mut hand, 1, 1, 400_000);
        assert_eq!(hand.closed(stream), None);
        let end = StreamEnd::Reset;
        hand.input(Input::StreamClosed { stream, end });
        assert_eq!(hand.node.in_flight().request_bytes, 0);
        let stream = hand.accept(1);
        hand.request(stream, 1, None, Request::Ping);
        assert!(hand.node.in_flight().answer_bytes > 0, "it is answered");
        hand.input(Input::StreamClosed { stream, end });
        assert_eq!(hand.node.in_flight().answer_bytes, 0);
    }
    assert_eq!(hand.counter(Counter::FrameTruncated), 4);
}

#[test]
fn a_peer_may_send_128_kilobytes_ahead_and_no_more() {
    const MOST: usize = 128 * 1024;
    let cases: [(&[usize], bool); 5] = [
        (&[MOST], true),
        (&[MOST + 1], false),
        (&[MOST + 2], false),
        (&[MOST - 1, 1], true),
        (&[MOST - 1, 2], false),
    ];
    for (pieces, allowed) in cases {
        let mut hand = Hand::new(|_| {});
        let stream = hand.accept(1);
        hand.request(stream, 1, None, put(&item(1, "x", 5, "v")));
        for bytes in pieces {
            hand.bytes(stream, &vec![0; *bytes]);
        }
        let reason = (!allowed).then_some(CloseReason::Protocol);
        assert_eq!(hand.closed(stream), reason, "{pieces:?}");
        let overloaded = u64::from(!allowed);
        assert_eq!(hand.counter(Counter::RequestsOverloaded), overloaded);
    }
}

#[test]
fn a_stream_is_given_up_for_what_its_peer_leaves_undone() {
    let mut hand = Hand::new(|_| {});
    let [unused, slow, unread] = [1, 2, 3].map(|peer| hand.accept(peer));
    more(&mut hand, slow, 1000);
    hand.request(unread, 3, None, Request::Ping);
    hand.pass(Duration::from_secs(29));
    assert_eq!(hand.closed(unused), Some(CloseReason::Idle));
    assert_eq!(hand.closed(slow), Some(CloseReason::Timeout));
    assert_eq!(hand.closed(unread), None);
    hand.pass(Duration::from_secs(1));
    assert_eq!(hand.closed(unread), Some(CloseReason::Timeout));
    assert_eq!(hand.counter(Counter::SlowRequests), 1);
    assert_eq!(hand.counter(Counter::SlowReaders), 1);
}

#[test]
fn numbers_of_accepted_streams_are_odd_and_rise() {
    let mut hand = Hand::new(|_| {});
    for (id, fresh) in [
        (2, false),
        (3, true),
        (3, false),
        (1, false),
        (6, false),
        (5, true),
    ] {
        let (stream, peer) = (StreamId(id), key(1));
        let path = Path {
            reach: Reach::Accepted,
            remote: None,
        };
        let accepted = hand.try_input(Input::StreamAccepted { stream, peer, path });
        assert_eq!(accepted.is_ok(), fresh, "{id}: {accepted:?}");
    }
}

fn batch(owner: usize, n: usize, len: usize) -> Request {
    let items = (0..n).map(|n| {
        let (value, salt) = (Value::new(&vec![7; len]), Salt::from(&*format!("{n}")));
        let item = Item::sign(&super::net::secret(owner), Seq(5), value, salt);
        (&Arc::new(item)).into()
    });
    Request::PutBatch {
        items: items.collect(),
        targets: vec![],
    }
}

#[test]
fn a_batch_has_fewer_items_checked_at_a_time_while_others_wait_and_where_they_are_large() {
    let mut hand = Hand::new(|config| {
        config.limits.serving = 1;
        config.limits.items_per_publisher = Cap::UNLIMITED;
    });
    let [first, batched, last] = [1, 2, 3].map(|peer| hand.accept(peer));
    hand.request(first, 1, None, put(&item(1, "x", 5, "v")));
    hand.request(batched, 2, ours(), batch(2, 40, 1));
    hand.request(last, 3, None, put(&item(3, "x", 5, "v")));
    verdict(&mut hand);
    hand.run_requests();
    assert_eq!(hand.jobs_out(), 8);

    let mut hand = Hand::new(|config| config.limits.items_per_publisher = Cap::UNLIMITED);
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), batch(1, 10, 60_000));
    // The third one crosses 128 KiB.
    assert_eq!(hand.jobs_out(), 3);
    hand.run_jobs();
    assert!(hand.answer_on(stream).is_some());
    // Two reach it, with salts of one byte.
    let stream = hand.accept(2);
    hand.request(stream, 2, ours(), batch(2, 10, 65_535));
    assert_eq!(hand.jobs_out(), 2);
}

/// Delivers the verdict on one job without firing a timer.
fn verdict(hand: &mut Hand) {
    let is_job = |output: &Output| matches!(output, Output::Verify { .. });
    let at = hand.outputs.iter().position(is_job).unwrap();
    if let Output::Verify { job, work } = hand.outputs.remove(at) {
        let verdict = work.run();
        hand.try_input(Input::Verified { job, verdict }).unwrap();
    }
}

#[test]
fn a_batch_goes_on_and_ends_with_its_verdicts_and_waits_for_no_slot_of_others() {
    // If no other request waits for its slot, the next item follows.
    let mut hand = Hand::new(|config| config.limits.verify_jobs_per_peer = 1);
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), batch(1, 3, 1));
    for left in [1, 1, 0] {
        assert_eq!(hand.node.in_flight().slots, 1);
        verdict(&mut hand);
        assert_eq!(hand.jobs_out(), left);
    }
    assert!(hand.answer_on(stream).is_some());
    // If others wait, it is answered before them.
    let mut hand = Hand::new(|config| config.limits.serving = 1);
    let [batched, other] = [1, 2].map(|peer| hand.accept(peer));
    hand.request(batched, 1, ours(), batch(1, 2, 1));
    hand.request(other, 2, None, put(&item(2, "x", 5, "v")));
    verdict(&mut hand);
    assert!(hand.answer_on(batched).is_none());
    verdict(&mut hand);
    assert!(hand.answer_on(batched).is_some());
}

#[test]
fn a_node_that_serves_no_peer_or_stops_takes_no_stream() {
    for (serve, stops) in [(true, false), (false, false), (true, true), (false, true)] {
        let mut hand = Hand::new(|config| config.serve = serve);
        if stops {
            hand.command(Command::Shutdown);
        }
        let stream = hand.accept(1);
        let reason = (stops || !serve).then_some(CloseReason::Overloaded);
        assert_eq!(hand.closed(stream), reason, "{serve} {stops}");
    }
}

#[test]
fn a_request_must_move_on_by_64_kilobytes_within_ten_seconds() {
    for (bytes, lives) in [(10_000, false), (70_000, true)] {
        let mut hand = Hand::new(|_| {});
        let stream = half_sent(&mut hand, 1, 1, bytes);
        for _ in 0..5 {
            hand.pass(Duration::from_secs(9));
            hand.bytes(stream, &vec![b' '; bytes]);
        }
        let reason = (!lives).then_some(CloseReason::Timeout);
        assert_eq!(hand.closed(stream), reason, "{bytes} bytes in nine seconds");
    }
}

#[test]
fn the_bytes_of_a_peers_requests_may_reach_its_limit() {
    for (less, cut) in [(0, false), (1, true)] {
        let mut hand = Hand::new(|_| {});
        let stream = hand.accept(1);
        hand.request(stream, 1, None, put(&item(1, "x", 5, "v")));
        hand.node.base.cx.config.limits.request_bytes_per_peer = 1000 - less;
        hand.bytes(stream, &[0; 1000]);
        let reason = cut.then_some(CloseReason::Evicted);
        assert_eq!(hand.closed(stream), reason);
    }
}

#[test]
fn large_answers_leave_a_quarter_of_all_room_to_small_ones() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(9);
    hand.request(stream, 9, None, Request::Ping);
    let out = hand.node.in_flight().answer_bytes;
    let (large, small) = (100_000, 10_000);
    for (limit, bytes, room) in [
        ((out + large) * 4 / 3 + 2, large, "Free"),
        ((out + large) * 4 / 3 - 2, large, "Full"),
        (out + small, small, "Free"),
        (out + small - 1, small, "Full"),
    ] {
        hand.node.base.cx.config.limits.answer_bytes = limit;
        let found = hand
            .node
            .inbound
            .room_for_answer(&hand.node.base, &key(1), bytes);
        assert_eq!(format!("{found:?}"), room, "{bytes} of {limit}");
    }
}

#[test]
fn a_peer_without_an_answer_to_take_may_have_one_of_any_length() {
    let mut hand = Hand::new(|_| {});
    hand.node.base.cx.config.limits.answer_bytes_per_peer = 10;
    let node = &hand.node;
    let found = node.inbound.room_for_answer(&node.base, &key(1), 100_000);
    assert_eq!(format!("{found:?}"), "Free");
}

#[test]
fn four_waiting_batches_are_taken_up_in_one_handle() {
    let mut hand = Hand::new(|config| {
        config.limits.serving = 1;
        config.limits.items_per_publisher = Cap::UNLIMITED;
    });
    // Their items are already stored.
    hand.ask(2, ours(), batch(2, 3, 1));
    let first = hand.accept(1);
    hand.request(first, 1, None, put(&item(1, "x", 5, "v")));
    for peer in 10..22 {
        let stream = hand.accept(peer);
        hand.request(stream, peer, ours(), batch(2, 3, 1));
    }
    assert_eq!(hand.node.in_flight().waiting_requests, 12);
    verdict(&mut hand);
    for left in [8, 4, 0] {
        hand.try_input(Input::TimerFired).unwrap();
        assert_eq!(hand.node.in_flight().waiting_requests, left);
    }
}

#[test]
fn requests_for_much_wait_where_their_peer_leaves_an_answer_and_others_do_not() {
    let empty = crate::sync::SyncRequest::default().encode();
    let page = Request::GetItems {
        salt: Default::default(),
        since_seq: Seq(0),
        limit: 0,
    };
    let target = item(1, "x", 5, "v").target();
    let cases = [
        (Request::Ping, false),
        (Request::FindNode { target }, false),
        (Request::GetValue { target }, false),
        (page, true),
        (Request::Reconcile { message: empty }, true),
    ];
    for (request, waits) in cases {
        let mut hand = Hand::new(|config| config.limits.answer_bytes_per_peer = 300_000);
        let streams = [(); 2].map(|()| hand.accept(1));
        hand.request(streams[0], 1, None, Request::Ping);
        hand.request(streams[1], 1, None, request.clone());
        let waiting = hand.node.in_flight().waiting_requests;
        assert_eq!(waiting, usize::from(waits), "{request:?}");
        // The room of a closed stream is free, too.
        let (stream, end) = (streams[0], StreamEnd::Reset);
        hand.input(Input::StreamClosed { stream, end });
        assert!(hand.answer_on(streams[1]).is_some(), "{request:?}");
    }
}

#[test]
fn some_jobs_are_kept_from_peers_for_the_nodes_own() {
    let mut hand = Hand::new(|config| config.limits.verify_jobs = 16);
    for peer in 1..=16 {
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, put(&item(peer, "x", 5, "v")));
    }
    let in_flight = hand.node.in_flight();
    assert_eq!((in_flight.slots, in_flight.waiting_requests), (14, 2));
}

/// Sends so much junk as a peer that its requests wait behind those of others.
fn wastes(hand: &mut Hand, peer: usize) {
    for _ in 0..300 {
        let stream = hand.accept(peer);
        hand.bytes(
            stream,
            &[0, 0, 0, 3, Method::FindNode.as_byte(), b'{', b'x'],
        );
    }
}

#[test]
fn what_waits_already_falls_behind_when_its_peer_wastes_work() {
    // In the queue for slots, and in that for verification jobs.
    let limits: [fn(&mut Limits); 2] = [
        |limits| limits.serving = 1,
        |limits| limits.verify_window = 1,
    ];
    for limit in limits {
        let mut hand = Hand::new(|config| limit(&mut config.limits));
        for peer in [9, 1, 2] {
            let stream = hand.accept(peer);
            hand.request(stream, peer, None, put(&item(peer, "x", 5, "v")));
        }
        wastes(&mut hand, 1);
        let mut order = Vec::new();
        while hand.jobs_out() > 0 {
            assert_eq!(hand.jobs_out(), 1);
            let before: Vec<_> = (0..10).filter(|n| held(&hand, *n)).collect();
            let is_job = |output: &Output| matches!(output, Output::Verify { .. });
            let at = hand.outputs.iter().position(is_job).unwrap();
            if let Output::Verify { job, work } = hand.outputs.remove(at) {
                let verdict = work.run();
                hand.input(Input::Verified { job, verdict });
            }
            order.extend((0..10).filter(|n| held(&hand, *n) && !before.contains(n)));
        }
        assert_eq!(order, [9, 2, 1]);
    }
}

fn held(hand: &Hand, owner: usize) -> bool {
    hand.held(&item(owner, "x", 5, "v").target()).is_some()
}

#[test]
fn a_verdict_is_for_a_job_that_is_out_and_waiting_ones_hit_the_window() {
    let mut hand = Hand::new(|config| config.limits.verify_window = 1);
    for (peer, hits) in [(1, 0), (2, 1)] {
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, put(&item(peer, "x", 5, "v")));
        assert_eq!(hand.hits(Limit::verify_window), hits);
    }
    for job in [JobId(2), JobId(3)] {
        let verdict = Ok(());
        let refused = hand.try_input(Input::Verified { job, verdict });
        assert_eq!(refused, Err(Misuse::UnknownJob(job)));
    }
}
