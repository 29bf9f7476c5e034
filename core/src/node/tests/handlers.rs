//! The answers to requests, and what happens to their items.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::key::{PublicKey, Signature};
use crate::node::rpc::fair_queue::Lane;
use crate::node::*;
use crate::store::{Candidate, Via};
use crate::sync::{RequestPart, SyncRequest};
use crate::wire::{
    Life, Request, RequestExt, RequestMessage, Response, Sender, Want, encode_request,
};

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

#[test]
fn a_get_is_answered_with_what_it_wants_and_with_peers_where_that_is_not_held() {
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
fn a_put_answer_says_that_its_item_came_meanwhile() {
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
fn an_item_of_a_batch_without_a_target_of_its_own_goes_to_its_owners() {
    let mut hand = Hand::new(|_| {});
    let [plain, own, elsewhere] = ["a", "b", "c"].map(|salt| item(1, salt, 5, "v"));
    let targets = vec![
        Target::default(),
        own.target(),
        item(2, "d", 5, "v").target(),
    ];
    let items = [plain, own, elsewhere].iter().map(Into::into).collect();
    let answer = hand.ask(1, ours(), Request::PutBatch { items, targets });
    let Response::PutBatch { stored, .. } = answer.unwrap().response else {
        panic!("another answer");
    };
    assert_eq!(stored, [true, true, false]);
}

#[test]
fn what_is_given_by_reconciliation_lives_as_long_as_was_said() {
    let mut hand = Hand::new(|config| config.full_node = true);
    let lives = [100, 200].map(|seconds| Life {
        age: Duration::from_secs(50),
        left: Duration::from_secs(seconds),
    });
    let items = ["a", "b"].map(|salt| item(1, salt, 5, "v"));
    let given = items.iter().cloned().zip(lives);
    let parts = given.map(RequestPart::Give).collect();
    let salt = [0; 8];
    let message = SyncRequest { salt, parts }.encode();
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
    // One kilobyte each in addition to its bytes, and 256 in all.
    assert_eq!(junk(200 * 1024), (1, Lane::New));
    assert_eq!(junk(54 * 1024), (2, Lane::New));
    assert_eq!(junk(1), (3, Lane::Penalised));
}

/// An item of its own publisher, whose signature is not checked.
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
