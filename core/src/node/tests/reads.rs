//! What a read accepts, reports and counts.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::id::Target;
use crate::item::{Item, Origin, Seq};
use crate::node::*;
use crate::wire::{
    Life, PeerList, Request, Response, ResponseExt, ResponseMessage, encode_response,
};

/// A node with three peers.
fn reader(configure: impl Fn(&mut Config)) -> Hand {
    let mut hand = Hand::new(configure);
    for peer in 1..=3 {
        hand.introduce(peer, Reach::Dialled, true);
    }
    hand
}

fn of(item: &Item, policy: ReadPolicy) -> GetRequest {
    GetRequest::of(item.key, item.salt.clone(), policy)
}

/// Starts a read. Returns the streams on which the three peers are asked.
fn read(hand: &mut Hand, request: GetRequest) -> (OperationId, Vec<StreamId>) {
    hand.wanted();
    let op = hand.command(Command::Get(request));
    let streams: Vec<_> = hand.wanted().iter().map(|want| want.0).collect();
    for stream in &streams {
        let asked = hand.open(*stream, Reach::Dialled).request;
        assert!(matches!(asked, Request::GetValue { .. }), "{asked:?}");
    }
    assert_eq!(streams.len(), 3);
    (op, streams)
}

/// Answers with an item whose signature is not checked yet.
fn answer(hand: &mut Hand, stream: StreamId, item: Option<&Arc<Item>>, life: Option<Life>) {
    let response = Response::GetValue {
        item: item.map(Into::into),
        closest: PeerList::default(),
    };
    let ext = Some(ResponseExt {
        life,
        ..ResponseExt::default()
    });
    let frame = encode_response(&ResponseMessage { ext, response }).unwrap();
    hand.bytes(stream, &frame);
}

fn jobs(hand: &Hand) -> usize {
    let job = |output: &&Output| matches!(output, Output::Verify { .. });
    hand.outputs.iter().filter(job).count()
}

fn first_values(hand: &Hand, op: OperationId) -> usize {
    let first = |output: &&Output| matches!(output, Output::Event(Event::FirstValue { op: of, .. }) if *of == op);
    hand.outputs.iter().filter(first).count()
}

fn got(hand: &Hand, op: OperationId) -> &GetOutcome {
    match hand.finished(op) {
        Some(Outcome::Get(Ok(got))) => got,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_copy_is_verified_and_shown_once_and_all_who_hold_it_are_counted() {
    for together in [true, false] {
        let mut hand = reader(|_| {});
        let it = item(9, "s", 5, "v");
        let (op, streams) = read(&mut hand, of(&it, ReadPolicy::Freshest));
        answer(&mut hand, streams[0], None, None);
        answer(&mut hand, streams[1], Some(&it), None);
        assert_eq!(jobs(&hand), 1);
        if !together {
            hand.run_jobs();
        }
        answer(&mut hand, streams[2], Some(&it), None);
        assert_eq!(jobs(&hand), usize::from(together));
        hand.run_jobs();
        assert_eq!(first_values(&hand, op), 1);
        let got = got(&hand, op);
        assert_eq!((got.asked, got.agree), (3, 2), "together: {together}");
    }
}

#[test]
fn the_first_value_costs_one_request_and_a_forged_one_no_more_than_its_verdict() {
    for forged in [false, true] {
        let mut hand = reader(|_| {});
        let mut it = item(9, "s", 5, "v");
        if forged {
            let other = item(9, "s", 6, "w");
            Arc::make_mut(&mut it).signature = other.signature;
        }
        hand.wanted();
        let op = hand.command(Command::Get(of(&it, ReadPolicy::FirstValid)));
        let [(stream, ..)] = hand.wanted()[..] else {
            panic!("the nearest alone is asked");
        };
        hand.open(stream, Reach::Dialled);
        answer(&mut hand, stream, Some(&it), None);
        assert_eq!(jobs(&hand), 1);
        assert!(
            hand.wanted().is_empty(),
            "no other peer is asked before the verdict"
        );
        hand.run_jobs();
        if forged {
            assert_eq!(hand.wanted().len(), 2);
        } else {
            assert_eq!(got(&hand, op).stats.requests, 1);
        }
    }
}

#[test]
fn two_versions_are_both_verified_and_the_newer_is_returned() {
    let mut hand = reader(|_| {});
    let (old, new) = (item(9, "s", 5, "v"), item(9, "s", 6, "w"));
    let (op, streams) = read(&mut hand, of(&old, ReadPolicy::Freshest));
    for (stream, it) in streams.iter().zip([&new, &old, &new]) {
        answer(&mut hand, *stream, Some(it), None);
    }
    assert_eq!(jobs(&hand), 2);
    hand.run_jobs();
    assert_eq!((&got(&hand, op).item, got(&hand, op).agree), (&new, 2));
}

#[test]
fn a_deleted_item_is_reported_as_deleted_and_not_as_a_first_value() {
    let mut hand = reader(|_| {});
    let it = item(9, "s", 5, "");
    let (op, streams) = read(&mut hand, of(&it, ReadPolicy::Freshest));
    for stream in streams {
        answer(&mut hand, stream, Some(&it), None);
    }
    hand.run_jobs();
    assert_eq!(first_values(&hand, op), 0);
    match hand.finished(op) {
        Some(Outcome::Get(Err(GetError::Deleted { seq, .. }))) => assert_eq!(*seq, Seq(5)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mirror_is_read_when_it_was_asked_for_or_is_configured() {
    let target = Target::of(&key(9), b"s");
    let mirrored = item(8, "m", 5, "v");
    for (unknown_mirrors, configured) in [(false, false), (true, false), (false, true)] {
        let mut hand = reader(|config| {
            if configured {
                config.mirrors.push(key(8));
            }
        });
        let request = GetRequest {
            target,
            policy: ReadPolicy::Freshest,
            owner: None,
            unknown_mirrors,
            timeout: None,
        };
        let (op, streams) = read(&mut hand, request);
        answer(&mut hand, streams[0], Some(&mirrored), None);
        answer(&mut hand, streams[1], None, None);
        answer(&mut hand, streams[2], None, None);
        hand.run_jobs();
        if unknown_mirrors || configured {
            let got = got(&hand, op);
            assert_eq!((&got.item, got.origin), (&mirrored, Origin::Mirror));
        } else {
            let outcome = hand.finished(op);
            let expected = matches!(outcome, Some(Outcome::Get(Err(GetError::NotFound { .. }))));
            assert!(expected, "{outcome:?}");
            assert_eq!(hand.counter(Counter::WrongItems), 1);
        }
    }
}

#[test]
fn of_two_claims_the_shorter_life_counts_whichever_comes_first() {
    let claim = |age, left| {
        Some(Life {
            age: Duration::from_secs(age),
            left: Duration::from_secs(left),
        })
    };
    let claims = [claim(10, 7_000), claim(100, 60)];
    for (first, second) in [(0, 1), (1, 0)] {
        let mut hand = reader(|_| {});
        let it = item(9, "s", 5, "v");
        let (op, streams) = read(&mut hand, of(&it, ReadPolicy::Freshest));
        answer(&mut hand, streams[0], Some(&it), claims[first]);
        hand.run_jobs();
        answer(&mut hand, streams[1], Some(&it), claims[second]);
        answer(&mut hand, streams[2], None, None);
        assert_eq!(got(&hand, op).age, Some(Duration::from_secs(100)));
    }
}

#[test]
fn an_item_stored_here_is_read_without_asking_peers_where_that_suffices() {
    let mut hand = reader(|_| {});
    let (it, missing) = (item(9, "s", 5, "v"), item(9, "missing", 5, "v"));
    hand.ask(9, ours(), put(&it)).expect("an answer");
    for policy in [ReadPolicy::Local, ReadPolicy::FirstValid] {
        hand.wanted();
        let op = hand.command(Command::Get(of(&it, policy)));
        let got = got(&hand, op);
        assert_eq!((&got.item, got.source, got.asked), (&it, Source::Store, 0));
    }
    let op = hand.command(Command::Get(of(&missing, ReadPolicy::Local)));
    let outcome = hand.finished(op);
    let expected = matches!(outcome, Some(Outcome::Get(Err(GetError::NotFound { .. }))));
    assert!(expected, "{outcome:?}");
    assert!(hand.wanted().is_empty());
}

#[test]
fn a_cancelled_read_cancels_its_calls() {
    let mut hand = reader(|_| {});
    let it = item(9, "s", 5, "v");
    let (op, streams) = read(&mut hand, of(&it, ReadPolicy::Freshest));
    hand.input(Input::Cancel { op });
    for stream in streams {
        assert_eq!(hand.closed(stream), Some(CloseReason::Cancelled));
    }
}

#[test]
fn a_quorum_is_met_by_as_many_holders_as_were_asked_for_and_not_by_fewer() {
    for quorum in 1..=3 {
        let mut hand = reader(|_| {});
        let it = item(9, "s", 5, "v");
        let (op, streams) = read(&mut hand, of(&it, ReadPolicy::Quorum(quorum)));
        for (n, stream) in (1..).zip(streams) {
            if n <= quorum {
                answer(&mut hand, stream, Some(&it), None);
                hand.run_jobs();
                let met = hand.finished(op).is_some();
                assert_eq!(met, n == quorum, "{n} of {quorum}");
            }
        }
        assert_eq!(got(&hand, op).agree, u16::from(quorum));
    }
}

#[test]
fn a_read_that_times_out_gives_the_best_value_that_it_has_unless_that_is_deleted() {
    for value in ["v", ""] {
        let mut hand = reader(|_| {});
        let it = item(9, "s", 5, value);
        let timeout = Some(Duration::from_millis(150));
        let request = GetRequest {
            timeout,
            ..of(&it, ReadPolicy::Freshest)
        };
        let (op, streams) = read(&mut hand, request);
        answer(&mut hand, streams[0], Some(&it), None);
        hand.run_jobs();
        hand.pass(Duration::from_millis(150));
        let Some(Outcome::Get(Err(GetError::Timeout { best, .. }))) = hand.finished(op) else {
            panic!("{:?}", hand.finished(op));
        };
        let best = best.as_ref().map(|best| &best.item);
        assert_eq!(best, (!value.is_empty()).then_some(&it));
    }
}

#[test]
fn a_reader_among_the_nearest_stores_what_it_read_unless_it_serves_no_requests() {
    for serve in [true, false] {
        let mut hand = reader(|_| {});
        hand.node.base.cx.config.serve = serve;
        let it = item(9, "s", 5, "v");
        let (op, streams) = read(&mut hand, of(&it, ReadPolicy::Freshest));
        for stream in streams {
            answer(&mut hand, stream, Some(&it), None);
        }
        hand.run_jobs();
        assert_eq!(got(&hand, op).agree, 3);
        assert_eq!(hand.held(&it.target()).is_some(), serve);
    }
}

#[test]
fn an_item_in_the_second_half_of_its_life_is_repaired_at_no_go_node() {
    let half = Config::default().item_ttl / 2;
    let second = Duration::from_secs(1);
    for (left, repairs) in [(half + second, 1), (half, 1), (half - second, 0)] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Dialled, true);
        hand.introduce(2, Reach::Dialled, false);
        hand.introduce(3, Reach::Dialled, true);
        let it = item(9, "s", 5, "v");
        hand.wanted();
        let op = hand.command(Command::Get(of(&it, ReadPolicy::Freshest)));
        for (stream, peer, ..) in hand.wanted() {
            hand.open(stream, Reach::Dialled);
            if peer != key(2) {
                let age = Duration::ZERO;
                answer(&mut hand, stream, Some(&it), Some(Life { age, left }));
                hand.run_jobs();
                continue;
            }
            let (ext, closest) = (None, PeerList::default());
            let response = Response::GetValue {
                item: None,
                closest,
            };
            hand.reply(stream, ResponseMessage { ext, response });
        }
        assert_eq!(got(&hand, op).agree, 2);
        assert_eq!(hand.counter(Counter::Repairs), repairs, "{left:?} left");
    }
}
