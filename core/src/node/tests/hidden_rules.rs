//! Rules whose violation another rule would hide in a larger run: each is tested alone, where the
//! hiding rule does not apply.

use core::time::Duration;

use super::hand::{Hand, item, key};
use crate::item::Salt;
use crate::node::*;
use crate::wire::{Life, Request, Response, ResponseExt, ResponseMessage, Sender};

/// Pings peer 1 over the kept stream, or over a new one that is opened. Returns the stream.
fn ping(hand: &mut Hand, kept: Option<StreamId>) -> (OperationId, StreamId) {
    let op = hand.command(Command::Ping {
        peer: key(1),
        addr: None,
    });
    if let Some(kept) = kept {
        assert!(hand.request_on(kept).is_some(), "over the kept stream");
        return (op, kept);
    }
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Relayed);
    (op, stream)
}

fn pong(hand: &mut Hand, stream: StreamId) {
    let ext = Some(ResponseExt {
        keep: true,
        ..ResponseExt::default()
    });
    let responder = Sender::of(&key(1));
    let response = Response::Ping { responder };
    hand.reply(stream, ResponseMessage { ext, response });
}

/// Otherwise calls that are answered before a kept stream is closed hide it.
#[test]
fn a_stream_kept_again_and_again_is_not_given_up_under_a_call() {
    let mut hand = Hand::new(|_| {});
    let (op, stream) = ping(&mut hand, None);
    pong(&mut hand, stream);
    assert!(hand.finished(op).is_some());
    // Maintenance must not use the stream in between.
    hand.node.base.cx.timers.clear();
    // Every call begins just before the stream would be closed, and ends well after.
    for round in 0..5 {
        hand.pass(Duration::from_secs(29));
        let (op, _) = ping(&mut hand, Some(stream));
        hand.pass(Duration::from_millis(9_900));
        assert_eq!(hand.closed(stream), None, "round {round}");
        assert!(hand.finished(op).is_none(), "round {round}");
        pong(&mut hand, stream);
        let Some(Outcome::Ping(Ok(_))) = hand.finished(op) else {
            panic!("round {round}");
        };
    }
    // Unused, it is closed in the end.
    hand.pass(Duration::from_secs(40));
    assert_eq!(hand.closed(stream), Some(CloseReason::Idle));
}

/// Otherwise sequences that state a time hide it, since holders derive the same lifetime from them.
#[test]
fn a_repair_carries_the_remaining_life() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    hand.introduce(2, Reach::Relayed, true);
    let it = item(5, "x", 3, "v");
    let life = Life {
        age: Duration::from_secs(600),
        left: Duration::from_secs(6_600),
    };
    let op = hand.command(Command::Get(GetRequest::of(
        key(5),
        Salt::from("x"),
        ReadPolicy::Freshest,
    )));
    let mut repaired = 0;
    for _ in 0..4 {
        for (stream, peer, ..) in hand.wanted() {
            let request = hand.open(stream, Reach::Relayed);
            let mut ext = ResponseExt::default();
            let response = match request.request {
                Request::GetValue { .. } => {
                    let has = peer == key(1);
                    ext.life = has.then_some(life);
                    Response::GetValue {
                        item: has.then(|| (&it).into()),
                        closest: Default::default(),
                    }
                }
                Request::PutValue { .. } => {
                    assert_eq!(peer, key(2));
                    assert_eq!(request.ext.unwrap().life, Some(life));
                    repaired += 1;
                    Response::PutValue {
                        stored: true,
                        error: Default::default(),
                    }
                }
                _ => continue,
            };
            let ext = Some(ext);
            hand.reply(stream, ResponseMessage { ext, response });
        }
    }
    assert!(hand.finished(op).is_some());
    assert_eq!(repaired, 1);
}

/// The same for an item of another owner that a user publishes.
#[test]
fn publishing_an_item_of_another_owner_carries_the_life_that_is_held() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let it = item(5, "x", 3, "v");
    hand.ask(5, super::hand::ours(), super::hand::put(&it));
    hand.wanted();
    hand.pass(Duration::from_secs(5));
    hand.wanted();
    hand.command(Command::PutSigned {
        item: crate::item::Item::clone(&it).into(),
        options: PutOptions::default(),
    });
    hand.run_jobs();
    let mut lives = alloc::vec::Vec::new();
    for _ in 0..3 {
        for (stream, ..) in hand.wanted() {
            let request = hand.open(stream, Reach::Relayed);
            if let Request::PutValue { .. } = request.request {
                lives.extend(request.ext.unwrap().life);
            }
        }
        hand.pass(Duration::from_millis(10));
    }
    let [life] = lives[..] else {
        panic!("{lives:?}")
    };
    assert_eq!(life.age, Duration::from_secs(5));
    assert_eq!(life.left, Config::default().item_ttl - life.age);
}
