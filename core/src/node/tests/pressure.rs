//! What many peers together cannot do to the node: recursion, memory, long steps, unfair waits.
//! Work is counted in outputs, bytes and inputs, since time is the driver's.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::cap::Cap;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::wire::{KeylessItem, Method, Request, Response, WireItem};

/// A batch that needs a slot and no signature check.
fn idle_batch() -> Request {
    Request::PutBatch {
        items: vec![WireItem::Keyless(KeylessItem::default())],
        targets: Vec::new(),
    }
}

/// A header that announces a body of `len` bytes.
fn header(method: Method, len: u32) -> Vec<u8> {
    let mut bytes = (len + 1).to_be_bytes().to_vec();
    bytes.push(method.as_byte());
    bytes
}

fn large_item(owner: usize, n: u64) -> Arc<Item> {
    let salt = Salt::from(alloc::format!("{n}").as_str());
    let value = Value::new(&vec![7; 60_000]);
    Arc::new(Item::sign(
        &super::net::secret(owner),
        Seq(n + 1),
        value,
        salt,
    ))
}

/// A node that has `n` items of 60 kB.
fn filled(n: u64, configure: impl Fn(&mut Config)) -> Hand {
    let mut hand = Hand::new(|config| {
        config.limits.items_per_publisher = Cap::UNLIMITED;
        configure(config);
    });
    for n in 0..n {
        assert!(hand.ask(200, None, put(&large_item(200, n))).is_some());
    }
    hand.outputs.clear();
    hand.assert_quiet();
    hand
}

fn pages() -> Request {
    Request::GetItems {
        salt: alloc::string::String::new(),
        since_seq: Seq(0),
        limit: 0,
    }
}

fn drain_waiting_batches() {
    const WAITING: usize = 1_500;
    let mut hand = Hand::new(|config| config.limits.streams = 4_096);
    for n in 0..128 {
        let stream = hand.accept(1 + n / 16);
        let salt = alloc::format!("{n}");
        hand.request(
            stream,
            1 + n / 16,
            None,
            put(&item(1 + n / 16, &salt, 5, "v")),
        );
    }
    assert_eq!(hand.node.in_flight().slots, 128);
    let mut streams = Vec::new();
    for n in 0..WAITING {
        let peer = 10 + n / 32;
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, idle_batch());
        streams.push(stream);
    }
    assert_eq!(hand.node.in_flight().waiting_requests, WAITING);
    let served = hand.counter(Counter::RequestsServed);
    assert_eq!(served as usize, 128 + WAITING, "each is counted once");
    assert_eq!(
        hand.node
            .next_deadline()
            .map(|due| due.why == WakeReason::Requests),
        Some(false)
    );
    let first = hand.outputs.iter().find_map(|output| match output {
        Output::Verify { job, .. } => Some(*job),
        _ => None,
    });
    let (job, verdict) = (first.unwrap(), Ok(()));
    hand.outputs.clear();
    let time = hand.time();
    hand.node
        .handle(time, Input::Verified { job, verdict })
        .unwrap();
    let mut answers = 0;
    for _ in 0..10 * WAITING {
        let (mut outputs, before) = (0, answers);
        while let Some(output) = hand.node.poll_output() {
            outputs += 1;
            answers += usize::from(matches!(output, Output::Send { .. }));
        }
        let taken_up = answers - before;
        assert!(taken_up <= 32, "{taken_up} of one handle");
        assert!(outputs <= 4 * 32, "{outputs} outputs of one handle");
        match hand.node.next_deadline() {
            Some(due) if due.why == WakeReason::Requests => assert!(due.at <= time.mono),
            _ => break,
        }
        hand.node.handle(time, Input::TimerFired).unwrap();
    }
    assert_eq!(answers, 1 + WAITING, "the put and every batch");
    assert_eq!(
        hand.counter(Counter::RequestsServed),
        served,
        "counted once"
    );
    assert_eq!(hand.node.in_flight().waiting_requests, 0);
}

#[test]
fn waiting_requests_need_no_stack_and_are_answered_a_few_a_handle() {
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(drain_waiting_batches)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn incomplete_requests_of_many_peers_leave_room_for_others() {
    for sent in [&[][..], &[0], &header(Method::PutBatch, 1_000_000)] {
        let mut hand = Hand::new(|_| {});
        // A peer that was served before, in the middle of a request.
        hand.ask(500, None, Request::Ping);
        let known = hand.accept(500);
        hand.bytes(known, &[0]);
        for n in 0..64 * 32 {
            let stream = hand.accept(1 + n / 32);
            hand.bytes(stream, sent);
            if n % 16 == 0 {
                let peer = 1_000 + n;
                assert!(
                    hand.ask(peer, None, Request::Ping).is_some(),
                    "newcomer {n}"
                );
            }
        }
        assert_eq!(hand.closed(known), None, "a known peer keeps its share");
        assert!(hand.hits(Limit::streams) > 0 && hand.counter(Counter::StreamsEvicted) > 0);
        let accepted = hand.node.inbound.accepted();
        assert!(accepted <= 2_048 * 3 / 4, "{accepted}");
        hand.pass(Duration::from_secs(11));
        hand.assert_quiet();
    }
}

#[test]
fn a_request_that_does_not_move_on_ends_and_a_long_one_that_does_is_awaited() {
    let mut hand = Hand::new(|_| {});
    let (drip, upload) = (hand.accept(1), hand.accept(2));
    hand.bytes(drip, &header(Method::PutBatch, 1_000_000));
    hand.bytes(upload, &header(Method::PutBatch, 1_000_000));
    for _ in 0..15 {
        hand.bytes(drip, b" ");
        hand.bytes(upload, &[b' '; 64 * 1024]);
        hand.pass(Duration::from_secs(1));
    }
    assert_eq!(hand.closed(drip), Some(CloseReason::Timeout));
    assert_eq!(hand.closed(upload), None);
    hand.pass(Duration::from_secs(10));
    assert_eq!(hand.closed(upload), Some(CloseReason::Timeout));
    assert_eq!(hand.counter(Counter::SlowRequests), 2);
    hand.assert_quiet();
}

#[test]
fn bytes_of_requests_are_bounded_in_all_and_by_peer_and_small_ones_always_fit() {
    let mut hand = Hand::new(|config| {
        config.limits.request_bytes = 1 << 20;
        config.limits.request_bytes_per_peer = 256 << 10;
    });
    for n in 0..40 {
        let stream = hand.accept(1 + n / 2);
        hand.bytes(stream, &header(Method::PutBatch, 1_000_000));
        for _ in 0..4 {
            hand.bytes(stream, &[b' '; 48 << 10]);
        }
        let in_flight = hand.node.in_flight();
        assert!(in_flight.request_bytes <= 1 << 20, "{in_flight:?}");
        let peer = 1_000 + n;
        let small = put(&item(peer, "s", 1, "v"));
        assert!(hand.ask(peer, None, small).is_some(), "{n}");
    }
    assert!(hand.hits(Limit::request_bytes) > 0);
    assert!(hand.hits(Limit::request_bytes_per_peer) > 0);
    hand.pass(Duration::from_secs(11));
    hand.assert_quiet();
}

#[test]
fn a_crowd_that_never_reads_is_bounded_goes_first_and_gives_everything_back() {
    let mut hand = filled(60, |_| {});
    let mut streams = Vec::new();
    for n in 0..16 * 32 {
        let peer = 1 + n / 32;
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, pages());
        streams.push(stream);
        let in_flight = hand.node.in_flight();
        assert!(in_flight.answer_bytes <= 24 << 20, "{in_flight:?}");
    }
    assert!(hand.hits(Limit::answer_bytes) > 0);
    assert!(hand.hits(Limit::answer_bytes_per_peer) > 0);
    // Small answers still fit, and so does a large one once slow readers are cut.
    assert!(hand.ask(300, None, Request::Ping).is_some());
    let reader = hand.accept(301);
    hand.request(reader, 301, None, pages());
    assert!(hand.answer_on(reader).is_none());
    hand.pass(Duration::from_secs(13));
    let answer = hand.answer_on(reader).map(|message| message.response);
    assert!(
        matches!(answer, Some(Response::GetItems { .. })),
        "it goes first"
    );
    hand.pass(Duration::from_secs(400));
    assert!(hand.counter(Counter::SlowReaders) > 0);
    hand.assert_quiet();
}

#[test]
fn unread_values_are_bounded_like_pages() {
    let mut hand = filled(2, |config| config.limits.answer_bytes = 1 << 20);
    let target = large_item(200, 0).target();
    for n in 0..100 {
        let stream = hand.accept(1 + n);
        hand.request(stream, 1 + n, None, Request::GetValue { target });
        let in_flight = hand.node.in_flight();
        assert!(in_flight.answer_bytes <= 1 << 20, "{in_flight:?}");
    }
    assert!(hand.node.in_flight().waiting_requests > 0);
    hand.pass(Duration::from_secs(400));
    hand.assert_quiet();
}

#[test]
fn pages_are_made_in_pieces_behind_cheap_requests() {
    let mut hand = filled(60, |_| {});
    let streams: Vec<_> = (1..=8).map(|peer| hand.accept(peer)).collect();
    let ping = hand.accept(300);
    let mut fired = 0;
    let frame = |hand: &mut Hand, stream, peer| {
        // Without firing the timer.
        let sender = crate::wire::Sender::of(&key(peer));
        let request = crate::wire::RequestMessage {
            sender,
            ext: None,
            request: pages(),
        };
        let bytes = crate::wire::encode_request(&request).unwrap();
        let bytes = bytes.as_slice().into();
        hand.try_input(Input::Bytes { stream, bytes }).unwrap();
    };
    for (peer, stream) in (1..=8).zip(&streams) {
        frame(&mut hand, *stream, peer);
    }
    assert!(
        hand.outputs
            .iter()
            .all(|output| !matches!(output, Output::Send { .. }))
    );
    let due = hand.node.next_deadline().unwrap();
    assert_eq!((due.why, due.at), (WakeReason::Requests, hand.now));
    let is_sent = |hand: &Hand, stream| {
        let sends =
            |output: &Output| matches!(output, Output::Send { stream: s, .. } if *s == stream);
        hand.outputs.iter().any(sends)
    };
    let bytes = [0, 0, 0, 1, 1];
    let bytes = bytes.as_slice().into();
    hand.try_input(Input::Bytes {
        stream: ping,
        bytes,
    })
    .unwrap();
    assert!(is_sent(&hand, ping), "a ping is answered immediately");
    while hand
        .node
        .next_deadline()
        .is_some_and(|due| due.why == WakeReason::Requests)
    {
        hand.try_input(Input::TimerFired).unwrap();
        fired += 1;
        assert!(fired < 10_000);
    }
    // Eight peers, pages of 3 MiB, 128 KiB per step; the last ones wait for room.
    assert!(fired > 5 * 24, "{fired}");
    assert!(streams[..5].iter().all(|stream| is_sent(&hand, *stream)));
}

#[test]
fn what_does_not_decode_is_charged_slowed_and_cut() {
    let mut hand = Hand::new(|_| {});
    let mut junk = header(Method::PutBatch, 4_000_000);
    junk.extend(core::iter::repeat_n(b' ', 4_000_000));
    let honest = large_item(2, 1);
    for n in 1..=3 {
        let stream = hand.accept(1);
        let bytes = junk.as_slice().into();
        hand.try_input(Input::Bytes { stream, bytes }).unwrap();
        let other = hand.accept(2);
        hand.request(other, 2, None, put(&honest));
        hand.run_requests();
        hand.run_jobs();
        assert!(hand.answer_on(other).is_some(), "others are served");
        assert_eq!(hand.closed(stream), Some(CloseReason::Protocol));
        assert_eq!(hand.counter(Counter::Undecodable), n);
        let lane = hand.node.base.lane(&key(1));
        assert_eq!(lane == rpc::fair_queue::Lane::Penalised, n < 3, "junk {n}");
    }
    assert_eq!(hand.counter(Counter::CallersCut), 1);
    let again = hand.accept(1);
    assert_eq!(hand.closed(again), Some(CloseReason::Overloaded));
    hand.pass(Duration::from_secs(61));
    assert!(hand.ask(1, None, Request::Ping).is_some(), "not for ever");
    hand.assert_quiet();
}

#[test]
fn a_peer_always_cut_before_its_requests_are_whole_is_finally_refused() {
    let mut hand = Hand::new(|config| config.limits.request_bytes = 1 << 20);
    let mut rounds = 0;
    let half = vec![b' '; 200 << 10];
    while hand.counter(Counter::CallersCut) < 4 {
        for peer in 1..=4 {
            for _ in 0..4 {
                let stream = hand.accept(peer);
                hand.bytes(stream, &header(Method::PutBatch, 4_000_000));
                hand.bytes(stream, &half);
            }
        }
        rounds += 1;
        assert!(rounds < 40, "64 rounds of 800 kB each are 32 MB a peer");
    }
    assert_eq!(hand.counter(Counter::Undecodable), 0);
    let refused = hand.outputs.iter().filter_map(|output| match output {
        Output::Event(Event::PeerRefused { peer, until }) => Some((*peer, *until > hand.now)),
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|(_, later)| *later));
    // A known peer with a single request that was cut is not charged.
    let honest = 9;
    assert!(hand.ask(honest, None, Request::Ping).is_some());
    for _ in 0..100 {
        let stream = hand.accept(honest);
        hand.bytes(stream, &header(Method::PutBatch, 4_000_000));
        for _ in 0..8 {
            hand.bytes(stream, &half);
        }
    }
    assert_eq!(hand.counter(Counter::CallersCut), 4);
    hand.pass(Duration::from_secs(70));
    hand.assert_quiet();
}

#[test]
fn a_large_batch_is_decoded_in_pieces() {
    let mut hand = Hand::new(|_| {});
    let body = alloc::format!(r#"{{"items":[{}]}}"#, vec!["{}"; 18_000].join(",  \n"));
    let mut bytes = header(Method::PutBatch, body.len() as u32);
    bytes.extend_from_slice(body.as_bytes());
    bytes.extend(core::iter::repeat_n(b' ', 0));
    let stream = hand.accept(1);
    hand.try_input(Input::Bytes {
        stream,
        bytes: bytes.as_slice().into(),
    })
    .unwrap();
    let mut fired = 0;
    while hand
        .node
        .next_deadline()
        .is_some_and(|due| due.why == WakeReason::Requests)
    {
        hand.try_input(Input::TimerFired).unwrap();
        fired += 1;
    }
    assert!(fired > 10, "{fired}");
    let answer = hand.answer_on(stream).map(|message| message.response);
    assert!(matches!(answer, Some(Response::PutBatch { stored, .. }) if stored.len() == 18_000));
    hand.assert_quiet();
}

#[test]
fn a_put_is_checked_after_a_few_of_a_crowds_thousand_and_never_refused_for_them() {
    let mut hand = Hand::new(|config| config.limits.items_per_publisher = Cap::UNLIMITED);
    for n in 0..8 * 16 {
        let peer = 1 + n / 16;
        let items = (0..30).map(|m| item(peer, &alloc::format!("{n} {m}"), 5, "v").into());
        let batch = Request::PutBatch {
            items: items.collect(),
            targets: Vec::new(),
        };
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, batch);
    }
    let jobs = hand.node.in_flight().verify_jobs;
    assert!(jobs > 500, "{jobs}");
    let mine = item(100, "mine", 5, "v");
    let stream = hand.accept(100);
    hand.request(stream, 100, None, put(&mine));
    let mut verdicts = 0;
    while hand.held(&mine.target()).is_none() {
        let next = hand
            .outputs
            .iter()
            .position(|it| matches!(it, Output::Verify { .. }));
        let Output::Verify { job, work } = hand.outputs.remove(next.expect("a job")) else {
            unreachable!()
        };
        hand.input(Input::Verified {
            job,
            verdict: work.run(),
        });
        verdicts += 1;
        assert!(verdicts <= 256, "{verdicts} before a single put");
        let out = hand.node.snapshot().limits;
        let out = out
            .iter()
            .find(|it| it.limit == Limit::verify_window)
            .unwrap();
        assert!(Some(out.used) <= out.max);
    }
    hand.run_jobs();
    assert_eq!(hand.counter(Counter::ItemsRefused), 0, "nothing is refused");
    assert_eq!(hand.counter(Counter::ItemsStored), 8 * 16 * 30 + 1);
    assert!(hand.hits(Limit::verify_window) > 0);
    assert!(hand.answer_on(stream).is_some());
}

#[test]
fn forged_batches_are_charged_to_their_peer() {
    let mut hand = Hand::new(|_| {});
    let mut cut = 0;
    for n in 0..100 {
        let items = (0..8).map(|m| {
            let mut forged = (*item(1, &alloc::format!("{n} {m}"), 5, "v")).clone();
            forged.seq = Seq(6);
            forged.into()
        });
        let request = Request::PutBatch {
            items: items.collect(),
            targets: Vec::new(),
        };
        let stream = hand.accept(1);
        if hand.closed(stream).is_none() {
            hand.request(stream, 1, None, request);
            hand.run_jobs();
        } else {
            cut += 1;
        }
    }
    assert!(cut > 50, "{cut}");
    assert_eq!(hand.counter(Counter::CallersCut), 1);
    hand.assert_quiet();
}

/// Slots, jobs, reserved quota and queued bytes are released however a request ends.
#[test]
fn every_count_of_use_is_zero_however_requests_end() {
    let mut forged = (*item(1, "f", 5, "v")).clone();
    forged.seq = Seq(6);
    let forged: Arc<Item> = forged.into();
    let items = |n: u64| (0..n).map(|n| item(2, &alloc::format!("{n}"), 5, "v").into());
    let requests: [(&str, Request); 5] = [
        ("a put", put(&item(1, "x", 5, "v"))),
        ("a forgery", put(&forged)),
        (
            "a batch",
            Request::PutBatch {
                items: items(100).collect(),
                targets: Vec::new(),
            },
        ),
        (
            "a batch with forgeries",
            Request::PutBatch {
                items: core::iter::repeat_n(WireItem::from(&forged), 40).collect(),
                targets: Vec::new(),
            },
        ),
        ("a page", pages()),
    ];
    for serving in [1, 128] {
        for (name, request) in &requests {
            for closed_after in 0..4 {
                let mut hand = Hand::new(|config| config.limits.serving = serving);
                let streams = [1, 2, 3].map(|peer| hand.accept(peer));
                for (peer, stream) in (1..).zip(streams) {
                    hand.request(stream, peer, ours(), request.clone());
                }
                // Some verdicts arrive before the streams close, the rest after.
                for _ in 0..closed_after * 20 {
                    let at = hand
                        .outputs
                        .iter()
                        .position(|it| matches!(it, Output::Verify { .. }));
                    let Some(at) = at else { break };
                    if let Output::Verify { job, work } = hand.outputs.remove(at) {
                        hand.input(Input::Verified {
                            job,
                            verdict: work.run(),
                        });
                    }
                }
                for stream in streams {
                    let end = StreamEnd::Reset;
                    hand.input(Input::StreamClosed { stream, end });
                }
                hand.run_jobs();
                let in_flight = hand.node.in_flight();
                let what = alloc::format!("{name}, closed after {closed_after}, {serving} slots");
                assert_eq!(in_flight, InFlight::default(), "{what}");
            }
        }
    }
}
