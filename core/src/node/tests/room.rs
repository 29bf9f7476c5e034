//! Who goes when room is short, and how much a peer may bring and leave: each rule alone.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::item::{Item, Salt, Seq, Value};
use crate::key::{PublicKey, Signature};
use crate::node::*;
use crate::store::{Candidate, Via};
use crate::wire::{Method, Request, RequestExt, RequestMessage, Sender, encode_request};

/// Where room is for six accepted streams.
fn six() -> Hand {
    Hand::new(|config| config.limits.streams = 8)
}

/// The first bytes of a large request on a new stream.
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
    // Peers with their addresses, in the order of their streams; whose turn it is to go.
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
        // It had brought nothing yet, so that nothing is held against its peer.
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
    // One that is alone has itself to blame.
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
    // While another one of its streams stays.
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

#[test]
fn the_sender_of_a_request_is_its_peer_or_none() {
    let mut bytes = [0xff; 33];
    bytes[0] = 2;
    let impossible = PublicKey::from_bytes(&bytes).unwrap();
    let senders = [
        (Sender::default(), [0, 0]),
        (Sender::of(&key(1)), [0, 0]),
        (Sender::of(&key(2)), [1, 0]),
        (Sender::of(&impossible), [0, 1]),
    ];
    for (sender, counted) in senders {
        let mut hand = Hand::new(|_| {});
        let stream = hand.accept(1);
        let message = RequestMessage {
            sender,
            ext: None,
            request: Request::Ping,
        };
        hand.bytes(stream, &encode_request(&message).unwrap());
        let counters = [Counter::ForgedSenders, Counter::InvalidKeys];
        assert_eq!(counters.map(|counter| hand.counter(counter)), counted);
        let reason = (counted[1] > 0).then_some(CloseReason::Protocol);
        assert_eq!(hand.closed(stream), reason);
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
        config.limits.items_per_publisher = 0;
    });
    let [first, batched, last] = [1, 2, 3].map(|peer| hand.accept(peer));
    hand.request(first, 1, None, put(&item(1, "x", 5, "v")));
    hand.request(batched, 2, ours(), batch(2, 40, 1));
    hand.request(last, 3, None, put(&item(3, "x", 5, "v")));
    let is_job = |output: &Output| matches!(output, Output::Verify { .. });
    let at = hand.outputs.iter().position(is_job).unwrap();
    if let Output::Verify { job, work } = hand.outputs.remove(at) {
        let verdict = work.run();
        hand.input(Input::Verified { job, verdict });
    }
    assert_eq!(hand.jobs_out(), 8);

    let mut hand = Hand::new(|config| config.limits.items_per_publisher = 0);
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), batch(1, 10, 60_000));
    // The third one crosses 128 KiB.
    assert_eq!(hand.jobs_out(), 3);
    hand.run_jobs();
    assert!(hand.answer_on(stream).is_some());
}

/// An item of a publisher of its own, whose signature nobody checks.
fn unsigned(number: usize, len: usize) -> Arc<Item> {
    let mut key = [2; 33];
    key[25..].copy_from_slice(&number.to_be_bytes());
    Arc::new(Item {
        key: PublicKey::from_bytes(&key).unwrap(),
        seq: Seq(5),
        signature: Signature::default(),
        value: Value::new(&vec![7; len]),
        salt: Salt::from("s"),
    })
}

#[test]
fn a_page_of_items_is_three_mebibytes_as_encoded() {
    const PAGE: usize = 3 * 1024 * 1024;
    let mut hand = Hand::new(|config| config.full_node = true);
    for number in 0..4_000 {
        let item = unsigned(number, 600);
        let via = Via::Signer(item.key);
        let base = &mut hand.node.base;
        let candidate = Candidate::of_owner(item, via);
        base.items.admit(&mut base.cx, candidate, 0).unwrap();
    }
    let stream = hand.accept(1);
    let request = Request::GetItems {
        salt: Default::default(),
        since_seq: Seq(0),
        limit: 0,
    };
    hand.request(stream, 1, None, request);
    let sent = hand.outputs.iter().filter_map(|output| match output {
        Output::Send { stream: s, bytes } if *s == stream => Some(bytes.len()),
        _ => None,
    });
    let sent: Vec<usize> = sent.collect();
    let [len] = sent[..] else {
        panic!("{sent:?}");
    };
    assert!((PAGE - 4096..PAGE + 4096).contains(&len), "{len}");
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
        config.limits.items_per_publisher = 0;
    });
    // What they bring is held already.
    hand.ask(2, ours(), batch(2, 3, 1));
    let first = hand.accept(1);
    hand.request(first, 1, None, put(&item(1, "x", 5, "v")));
    for peer in 10..22 {
        let stream = hand.accept(peer);
        hand.request(stream, peer, ours(), batch(2, 3, 1));
    }
    assert_eq!(hand.node.in_flight().waiting_requests, 12);
    let is_job = |output: &Output| matches!(output, Output::Verify { .. });
    let at = hand.outputs.iter().position(is_job).unwrap();
    if let Output::Verify { job, work } = hand.outputs.remove(at) {
        let verdict = work.run();
        hand.try_input(Input::Verified { job, verdict }).unwrap();
    }
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
        // The room of a stream that is gone is free, too.
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

/// Peers bring so much junk that their requests wait behind those of others.
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
    // In the queue for slots, and in that of signatures to be checked.
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

#[test]
fn an_undecodable_reconciliation_is_charged_like_any_other_junk() {
    let mut hand = Hand::new(|_| {});
    let mut junk = |bytes: usize| {
        let stream = hand.accept(1);
        let message = vec![0xff; bytes];
        hand.request(stream, 1, ours(), Request::Reconcile { message });
        assert_eq!(hand.closed(stream), Some(CloseReason::Protocol));
        (
            hand.counter(Counter::Undecodable),
            hand.node.base.lane(&key(1)),
        )
    };
    use crate::node::rpc::fair_queue::Lane;
    // A kilobyte each beside its bytes, and 256 in all.
    assert_eq!(junk(200 * 1024), (1, Lane::New));
    assert_eq!(junk(54 * 1024), (2, Lane::New));
    assert_eq!(junk(1), (3, Lane::Penalised));
}

#[test]
fn a_get_is_answered_with_what_it_wants_and_with_peers_where_that_is_not_held() {
    use crate::wire::{Response, Want};
    for (holds, want, value, peers) in [
        (true, Want::All, true, true),
        (true, Want::Item, true, false),
        (true, Want::Peers, false, true),
        (false, Want::Item, false, true),
        (false, Want::All, false, true),
    ] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Dialled, true);
        let it = item(2, "x", 5, "v");
        if holds {
            hand.ask(2, None, put(&it));
        }
        let target = it.target();
        let ext = Some(RequestExt {
            want,
            ..RequestExt::default()
        });
        let answer = hand.ask(3, ext, Request::GetValue { target }).unwrap();
        let Response::GetValue { item, closest } = answer.response else {
            panic!("{:?}", answer.response);
        };
        let found = (item.is_some(), !closest.peers.is_empty());
        assert_eq!(found, (value, peers), "{holds} {want:?}");
    }
}

#[test]
fn an_item_of_a_batch_without_a_target_of_its_own_goes_to_its_owners() {
    let mut hand = Hand::new(|_| {});
    let [plain, own, elsewhere] = ["a", "b", "c"].map(|salt| item(1, salt, 5, "v"));
    let targets = vec![
        crate::id::Target::default(),
        own.target(),
        item(2, "d", 5, "v").target(),
    ];
    let items = [plain, own, elsewhere].iter().map(Into::into).collect();
    let answer = hand.ask(1, ours(), Request::PutBatch { items, targets });
    let crate::wire::Response::PutBatch { stored, .. } = answer.unwrap().response else {
        panic!("another answer");
    };
    assert_eq!(stored, [true, true, false]);
}

#[test]
fn a_put_is_told_that_its_item_came_meanwhile() {
    let mut hand = Hand::new(|_| {});
    let it = item(1, "x", 5, "v");
    let streams = [2, 3].map(|peer| {
        let stream = hand.accept(peer);
        hand.request(stream, peer, ours(), put(&it));
        stream
    });
    assert_eq!(hand.jobs_out(), 2);
    hand.run_jobs();
    let held = streams.map(|stream| hand.answer_on(stream).unwrap().ext.unwrap().held);
    assert_eq!(held, [None, Some(Seq(5))]);
}

#[test]
fn what_is_given_by_reconciliation_lives_as_long_as_was_said() {
    let mut hand = Hand::new(|config| config.full_node = true);
    let lives = [100, 200].map(|seconds| crate::wire::Life {
        age: Duration::from_secs(50),
        left: Duration::from_secs(seconds),
    });
    let items = ["a", "b"].map(|salt| item(1, salt, 5, "v"));
    let given = items.iter().cloned().zip(lives);
    let parts = given.map(crate::sync::RequestPart::Give).collect();
    let salt = [0; 8];
    let message = crate::sync::SyncRequest { salt, parts }.encode();
    assert!(
        hand.ask(2, ours(), Request::Reconcile { message })
            .is_some()
    );
    for (item, life) in items.iter().zip(lives) {
        let store = &hand.node.base.items.store;
        let held = store.get(hand.time(), &item.target()).unwrap();
        assert_eq!(held.expires(), Some(hand.now.plus(life.left)));
    }
}

#[test]
fn a_snapshot_names_the_limits_of_a_regular_node_and_none_of_items_on_a_full_one() {
    for full_node in [false, true] {
        let hand = Hand::new(|config| config.full_node = full_node);
        let snapshot = hand.node.snapshot();
        for limit in [Limit::store_items, Limit::public_items] {
            let shown = snapshot.limits.iter().find(|it| it.limit == limit).unwrap();
            assert_eq!(shown.max == 0, full_node);
        }
        assert_eq!(*hand.node.counters(), snapshot.counters);
    }
}
