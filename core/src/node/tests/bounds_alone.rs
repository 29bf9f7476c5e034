//! Bounds whose violation another bound would hide: each is tested alone, with the other out of
//! reach.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::cap::Cap;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::wire::{Method, Request, encode_request};

/// Delivers the verdict on the first pending job. Returns the item's hash.
fn one_verdict(hand: &mut Hand) -> Option<[u8; 32]> {
    let at = hand
        .outputs
        .iter()
        .position(|output| matches!(output, Output::Verify { .. }))?;
    let Output::Verify { job, work } = hand.outputs.remove(at) else {
        return None;
    };
    let verdict = work.run();
    hand.input(Input::Verified { job, verdict });
    Some(work.digest())
}

fn batch(owner: usize, n: u64) -> Request {
    let items = (0..n).map(|n| item(owner, &format!("{n}"), 5, "v").into());
    Request::PutBatch {
        items: items.collect(),
        targets: Vec::new(),
    }
}

/// Otherwise the bound of verification jobs hides it.
#[test]
fn one_peer_has_no_more_slots_than_its_share() {
    let mut hand = Hand::new(|_| {});
    for n in 0..20 {
        let stream = hand.accept(1);
        hand.request(stream, 1, None, put(&item(1, &format!("{n}"), 5, "v")));
    }
    let in_flight = hand.node.in_flight();
    assert_eq!((in_flight.slots, in_flight.waiting_requests), (16, 4));
    hand.run_jobs();
    assert_eq!(hand.node.store().fill().items, 20, "everybody goes on");
}

/// Otherwise a later verdict hides it.
#[test]
fn a_slot_that_a_closed_stream_had_goes_to_the_next_of_its_peer() {
    let mut hand = Hand::new(|config| config.limits.serving_per_peer = 1);
    let streams = [1, 2].map(|n| {
        let stream = hand.accept(1);
        hand.request(stream, 1, ours(), batch(n, 1));
        stream
    });
    assert_eq!(hand.node.in_flight().waiting_requests, 1);
    hand.input(Input::StreamClosed {
        stream: streams[0],
        end: StreamEnd::Reset,
    });
    assert_eq!(hand.node.in_flight().waiting_requests, 0);
    hand.run_jobs();
    assert!(hand.answer_on(streams[1]).is_some());
}

/// Otherwise the end of a batch hides it, since that frees its slot.
#[test]
fn a_batch_lets_a_put_go_first_that_waits_for_its_peers_jobs() {
    let mut hand = Hand::new(|config| config.limits.verify_jobs_per_peer = 1);
    let (batched, single) = (hand.accept(1), hand.accept(1));
    hand.request(batched, 1, ours(), batch(1, 5));
    let other = item(2, "x", 5, "v");
    hand.request(single, 1, ours(), put(&other));
    let order: Vec<_> = core::iter::from_fn(|| one_verdict(&mut hand)).collect();
    let digest = VerifyJob::new(other, None).digest();
    assert_eq!(order.iter().position(|it| *it == digest), Some(1));
    assert_eq!(order.len(), 6);
}

/// The same for another peer, with a single slot.
#[test]
fn a_long_batch_lets_another_peer_go_first_after_its_share() {
    let mut hand = Hand::new(|config| {
        config.limits.serving = 1;
        config.limits.items_per_publisher = Cap::UNLIMITED;
    });
    let (batched, single) = (hand.accept(1), hand.accept(2));
    hand.request(batched, 1, ours(), batch(1, 200));
    let other = item(2, "x", 5, "v");
    hand.request(single, 2, ours(), put(&other));
    let order: Vec<_> = core::iter::from_fn(|| one_verdict(&mut hand)).collect();
    let digest = VerifyJob::new(other, None).digest();
    let at = order.iter().position(|it| *it == digest);
    assert!(at <= Some(40), "{at:?} of {}", order.len());
    assert_eq!(order.len(), 201);
}

/// Otherwise read answers hide it: what a page does not need is free as soon as it is complete.
#[test]
fn the_room_of_a_page_is_taken_while_it_is_made_and_free_before_it_is_read() {
    let mut hand = Hand::new(|config| config.limits.answer_bytes_per_peer = 4 << 20);
    for n in 0..20 {
        assert!(
            hand.ask(2, None, put(&item(2, &format!("{n}"), 5, "v")))
                .is_some()
        );
    }
    hand.outputs.clear();
    let streams = [(); 2].map(|()| hand.accept(1));
    for stream in streams {
        let request = crate::wire::RequestMessage {
            sender: crate::wire::Sender::of(&key(1)),
            ext: None,
            request: Request::GetItems {
                salt: Default::default(),
                since_seq: Seq(0),
                limit: 0,
            },
        };
        let bytes = encode_request(&request).unwrap();
        let bytes = bytes.as_slice().into();
        // Without firing the timer.
        hand.try_input(Input::Bytes { stream, bytes }).unwrap();
    }
    assert!(hand.node.in_flight().answer_bytes >= 3 << 20);
    assert_eq!(hand.hits(Limit::answer_bytes_per_peer), 1);
    hand.run_requests();
    for stream in streams {
        let is_sent =
            |output: &Output| matches!(output, Output::Send { stream: s, .. } if *s == stream);
        assert!(hand.outputs.iter().any(is_sent));
    }
}

/// Otherwise tests without elapsed time hide it.
#[test]
fn wasted_work_is_forgiven_and_an_answer_is_forgotten_some_time() {
    let mut hand = Hand::new(|_| {});
    let mut junk = 4_000_001_u32.to_be_bytes().to_vec();
    junk.push(Method::PutBatch.as_byte());
    junk.extend(core::iter::repeat_n(b' ', 4_000_000));
    for _ in 0..3 {
        for _ in 0..2 {
            let stream = hand.accept(1);
            hand.bytes(stream, &junk);
        }
        hand.pass(Duration::from_secs(130));
    }
    assert_eq!(hand.counter(Counter::CallersCut), 0);
    assert!(hand.ask(1, None, Request::Ping).is_some());
    assert!(hand.node.base.is_known(&key(1)));
    hand.pass(Duration::from_secs(10 * 60));
    assert!(!hand.node.base.is_known(&key(1)));
}

/// Otherwise cutting the streams of peers that read nothing hides it.
#[test]
fn an_answer_that_was_taken_makes_room_for_the_next_of_its_peer() {
    let mut hand = Hand::new(|config| config.limits.answer_bytes_per_peer = 100_000);
    let value = Value::new(&[7; 60_000]);
    let large = Item::sign(&super::net::secret(2), Seq(1), value, Salt::from("x"));
    let target = large.target();
    assert!(hand.ask(2, None, put(&large.into())).is_some());
    for ext in [None, ours()] {
        let streams = [(); 2].map(|()| hand.accept(1));
        for stream in streams {
            hand.request(stream, 1, ext.clone(), Request::GetValue { target });
        }
        assert_eq!(hand.node.in_flight().waiting_requests, 1);
        assert!(hand.answer_on(streams[0]).is_some());
        assert_eq!(hand.node.in_flight().waiting_requests, 0);
        assert!(hand.answer_on(streams[1]).is_some());
    }
}

/// Otherwise tests that fire the timer after each input hide it.
#[test]
fn a_large_request_waits_for_its_turn_to_be_decoded() {
    let mut hand = Hand::new(|_| {});
    let value = Value::new(&[7; 60_000]);
    let large = Item::sign(&super::net::secret(1), Seq(1), value, Salt::from("x"));
    let request = crate::wire::RequestMessage {
        sender: crate::wire::Sender::of(&key(1)),
        ext: None,
        request: put(&large.into()),
    };
    let bytes = encode_request(&request).unwrap();
    let stream = hand.accept(1);
    let bytes = bytes.as_slice().into();
    hand.try_input(Input::Bytes { stream, bytes }).unwrap();
    assert_eq!(hand.node.in_flight().waiting_requests, 1);
    hand.run_requests();
    hand.run_jobs();
    assert!(hand.answer_on(stream).is_some());
}
