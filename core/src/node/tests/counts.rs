//! Counts and names are exact while the node is active, not only zero when it is quiet.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::hand::{Hand, item, key, ours, put};
use super::net::addr;
use crate::node::rpc::fair_queue::Lane;
use crate::node::*;
use crate::store::item_cost;
use crate::wire::{
    Advertised, Method, Request, RequestMessage, Response, ResponseExt, ResponseMessage, Sender,
    encode_request,
};

fn assert_used(hand: &Hand, expected: &[(Limit, usize)]) {
    for (limit, n) in expected {
        assert_eq!(hand.used(*limit), *n, "{limit:?}");
    }
}

fn pong(peer: usize, ext: ResponseExt) -> ResponseMessage {
    let responder = Sender::of(&key(peer));
    ResponseMessage {
        ext: Some(ext),
        response: Response::Ping { responder },
    }
}

#[test]
fn the_use_of_each_limit_is_exact_while_it_is_in_use() {
    let mut hand = Hand::new(|config| config.limits.verify_window = 2);
    for peer in 1..=3 {
        assert!(hand.ask(peer, ours(), Request::Ping).is_some());
    }
    assert_used(
        &hand,
        &[
            (Limit::callers, 3),
            (Limit::ping_backs, 3),
            (Limit::calls, 3),
            (Limit::known_peers, 3),
            (Limit::streams, 6),
            (Limit::probes, 0),
        ],
    );
    for (stream, peer, ..) in hand.wanted() {
        let peer = (1..=3).find(|n| key(*n) == peer).unwrap();
        hand.open(stream, Reach::Accepted);
        let ext = ResponseExt {
            keep: true,
            addr: Some(Advertised::At(addr(peer))),
            ..ResponseExt::default()
        };
        hand.reply(stream, pong(peer, ext));
    }
    assert_used(
        &hand,
        &[
            (Limit::ping_backs, 0),
            (Limit::calls, 0),
            (Limit::idle_streams, 3),
            (Limit::probes, 3),
        ],
    );
    let probes: Vec<ProbeId> = hand.outputs.iter().filter_map(probe).collect();
    hand.input(Input::Probed {
        probe: probes[0],
        result: Ok(()),
    });
    assert_used(&hand, &[(Limit::probes, 2)]);

    let items = ["a", "bb", "ccc"].map(|salt| item(4, salt, 5, "v"));
    let streams = items.clone().map(|item| {
        let stream = hand.accept(4);
        hand.request(stream, 4, None, put(&item));
        stream
    });
    assert_used(
        &hand,
        &[
            (Limit::serving, 3),
            (Limit::verify_jobs, 3),
            (Limit::verify_window, 2),
            (Limit::store_items, 0),
        ],
    );
    hand.run_jobs();
    let sent = hand.outputs.iter().filter_map(|output| match output {
        Output::Send { stream, bytes } if streams.contains(stream) => Some(bytes.len()),
        _ => None,
    });
    assert_used(
        &hand,
        &[
            (Limit::serving, 0),
            (Limit::verify_jobs, 0),
            (Limit::store_items, 3),
            (Limit::public_items, 3),
            (
                Limit::store_bytes,
                items.iter().map(|it| item_cost(it)).sum(),
            ),
            (Limit::answer_bytes, sent.sum()),
        ],
    );
    for peer in [8, 9] {
        let (peer, addr) = (key(peer), None);
        hand.command(Command::Ping { peer, addr });
    }
    assert_used(&hand, &[(Limit::operations, 2), (Limit::calls, 3)]);

    let (op, time) = (OperationId(99), hand.time());
    let (peer, addr) = (key(10), None);
    let command = Command::Ping { peer, addr };
    hand.node
        .handle(time, Input::Command { op, command })
        .unwrap();
    let waiting = hand.used(Limit::outputs);
    assert_eq!(
        core::iter::from_fn(|| hand.node.poll_output()).count(),
        waiting
    );
    assert!(waiting > 0);
}

fn probe(output: &Output) -> Option<ProbeId> {
    match output {
        Output::Probe { probe, .. } => Some(*probe),
        _ => None,
    }
}

#[test]
fn the_bytes_of_a_request_are_counted_where_it_waits_and_behind_it() {
    let mut hand = Hand::new(|config| config.limits.serving = 1);
    let (first, second) = (item(1, "a", 5, "v"), item(2, "b", 5, "value"));
    let (checked, waiting) = (hand.accept(1), hand.accept(2));
    hand.request(checked, 1, None, put(&first));
    assert_eq!(
        hand.node.in_flight().request_bytes,
        0,
        "the job has the item"
    );
    hand.request(waiting, 2, None, put(&second));
    let cost = item_cost(&second);
    assert_eq!(hand.node.in_flight().request_bytes, cost);
    hand.bytes(checked, &[0; 10]);
    assert_eq!(hand.node.in_flight().request_bytes, cost + 10);
    hand.bytes(checked, &[0; 20]);
    assert_eq!(hand.node.in_flight().request_bytes, cost + 30);
    hand.bytes(waiting, &[0; 5]);
    assert_eq!(hand.node.in_flight().request_bytes, cost + 35);
}

/// The counts for a stream that brings these bytes and is reset for them.
fn counts_of_junk(bytes: &[u8]) -> [u64; 4] {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    hand.bytes(stream, bytes);
    assert_eq!(hand.closed(stream), Some(CloseReason::Protocol));
    [
        Counter::FrameLength,
        Counter::UnknownMethod,
        Counter::InvalidKeys,
        Counter::Undecodable,
    ]
    .map(|counter| hand.counter(counter))
}

#[test]
fn what_is_wrong_with_a_request_is_counted_by_its_kind() {
    assert_eq!(counts_of_junk(&[0, 0, 0, 0]), [1, 0, 0, 0]);
    assert_eq!(counts_of_junk(&[0, 0, 0, 1, 0xee]), [0, 1, 0, 0]);
    let request = RequestMessage {
        sender: Sender::of(&key(1)),
        ext: None,
        request: put(&item(2, "x", 5, "v")),
    };
    let mut frame = encode_request(&request).unwrap().to_vec();
    let owner = key(2).to_string();
    let found = frame.windows(66).position(|it| it == owner.as_bytes());
    frame[found.expect("the owner's key in hexadecimal digits") + 1] = b'5';
    assert_eq!(counts_of_junk(&frame), [0, 0, 1, 0]);
    assert_eq!(counts_of_junk(&junk()), [0, 0, 0, 1]);
}

/// A request whose body of two bytes does not decode.
fn junk() -> [u8; 7] {
    [0, 0, 0, 3, Method::FindNode.as_byte(), b'{', b'x']
}

#[test]
fn a_request_that_does_not_decode_costs_its_bytes_and_a_kilobyte() {
    let mut hand = Hand::new(|_| {});
    let mut junk_comes = |times| {
        for _ in 0..times {
            let stream = hand.accept(1);
            hand.bytes(stream, &junk());
        }
        hand.node.base.lane(&key(1))
    };
    // Slowed down above 256 KiB.
    let most = 256 * 1024 / (1024 + 2);
    assert_eq!(junk_comes(most), Lane::New);
    assert_eq!(junk_comes(1), Lane::Penalised);
}

#[test]
fn an_item_refused_as_deleted_is_counted_as_such() {
    let mut hand = Hand::new(|_| {});
    hand.ask(1, None, put(&item(1, "x", 5, "")));
    hand.ask(2, None, put(&item(1, "x", 4, "v")));
    assert_eq!(hand.counter(Counter::ItemsRefused), 1);
    assert_eq!(hand.counter(Counter::DeletedRefused), 1);
}

#[test]
fn requests_and_answers_name_this_node() {
    let mut hand = Hand::new(|_| {});
    let answer = hand.ask(1, None, Request::Ping).unwrap();
    let responder = Sender::of(&key(0));
    assert_eq!(answer.response, Response::Ping { responder });
    let (stream, ..) = hand.wanted()[0];
    assert_eq!(hand.open(stream, Reach::Accepted).sender, responder);
}

#[test]
fn shutdown_closes_the_streams_of_peers_and_those_kept_for_the_next_call() {
    let mut hand = Hand::new(|_| {});
    let accepted = [1, 2].map(|peer| hand.accept(peer));
    let (peer, addr) = (key(3), Some(addr(3)));
    hand.command(Command::Ping { peer, addr });
    let (kept, ..) = hand.wanted()[0];
    hand.open(kept, Reach::Dialled);
    let ext = ResponseExt {
        keep: true,
        ..ResponseExt::default()
    };
    hand.reply(kept, pong(3, ext));
    assert_eq!(hand.used(Limit::idle_streams), 1);
    hand.command(Command::Shutdown);
    for stream in [accepted[0], accepted[1], kept] {
        assert_eq!(hand.closed(stream), Some(CloseReason::Shutdown), "{stream}");
    }
    assert_eq!(hand.used(Limit::streams), 0);
}

#[test]
fn a_snapshot_names_the_limits_of_a_regular_node_and_none_of_items_on_a_full_one() {
    for full_node in [false, true] {
        let mut hand = Hand::new(|config| config.full_node = full_node);
        hand.ask(1, None, Request::Ping);
        let snapshot = hand.node.snapshot();
        assert_eq!(snapshot.counters.get(Counter::RequestsServed), 1);
        for limit in [Limit::store_items, Limit::public_items] {
            let shown = snapshot.limits.iter().find(|it| it.limit == limit).unwrap();
            assert_eq!(shown.max.is_none(), full_node);
        }
        assert_eq!(*hand.node.counters(), snapshot.counters);
    }
}
