//! Storage that is read slowly at the start: whatever needs an item requests it and waits.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::base::Base;
use crate::node::loading::LoadStatus;
use crate::node::*;
use crate::record::StoredRecord;
use crate::sync::{SyncRequest, SyncResponse};
use crate::wire::{Request, RequestExt, Response, ResponseMessage, Want};

const HOUR: Duration = Duration::from_secs(3600);

/// A node whose storage has records that it has not passed yet.
fn loading(limits: impl Fn(&mut Limits)) -> Hand {
    let mut hand = Hand::new(|config| {
        config.storage = true;
        config.full_node = true;
        limits(&mut config.limits);
    });
    let next = Some(Target::default());
    hand.input(Input::LoadedUpTo { next });
    hand
}

fn record(hand: &Hand, item: &Item) -> Box<StoredRecord> {
    Box::new(StoredRecord {
        target: item.target(),
        item: item.clone(),
        vouched: hand.time().unix.minus(Duration::from_secs(60)),
        expires: Some(hand.time().unix.plus(HOUR)),
        bound: None,
    })
}

/// The targets requested from storage since the last call.
fn asked(hand: &mut Hand) -> Vec<Target> {
    let mut asked = Vec::new();
    hand.outputs.retain(|output| match output {
        Output::LoadTarget { target } => {
            asked.push(*target);
            false
        }
        _ => true,
    });
    asked
}

/// Storage answers for a target, with its record if there is one.
fn answer(hand: &mut Hand, target: Target, has: Option<&Item>, proven: bool) {
    if let Some(has) = has {
        let record = record(hand, has);
        hand.input(Input::Loaded { record, proven });
    }
    let read = true;
    hand.input(Input::TargetLoaded { target, read });
}

fn value_in(answer: Option<ResponseMessage>) -> Option<Value> {
    match answer?.response {
        Response::GetValue { item, .. } => Some(item?.item()?.value.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_request_that_needs_an_item_asks_storage_for_it_and_is_answered_with_what_lies_there() {
    let stored = item(1, "s", 5, "stored");
    let target = stored.target();
    let content_hash = stored.content_hash();
    let renew = Request::Renew {
        target,
        seq: stored.seq,
        signature: stored.signature,
        content_hash,
    };
    let older = put(&item(1, "s", 4, "older"));
    let mirror = Request::PutValue {
        item: (&item(2, "s", 9, "mirror")).into(),
        mirror_target: Some(target),
    };
    for proven in [true, false] {
        for request in [
            Request::GetValue { target },
            renew.clone(),
            older.clone(),
            mirror.clone(),
        ] {
            let mut hand = loading(|_| {});
            let stream = hand.accept(1);
            hand.request(stream, 1, ours(), request.clone());
            hand.run_jobs();
            assert_eq!(asked(&mut hand), [target], "{request:?}");
            assert!(hand.answer_on(stream).is_none() && hand.closed(stream).is_none());
            answer(&mut hand, target, Some(&stored), proven);
            hand.run_jobs();
            let answer = hand.answer_on(stream).expect("an answer");
            match answer.response {
                Response::GetValue { item, .. } => {
                    assert_eq!(item.unwrap().item().unwrap().seq, Seq(5));
                }
                Response::Renew { stored, .. } => assert!(stored),
                Response::PutValue { stored, .. } => assert!(!stored, "{request:?}"),
                other => panic!("{other:?}"),
            }
            assert_eq!(hand.held(&target).unwrap().seq, Seq(5));
            // It is loaded now, and not requested again.
            assert!(value_in(hand.ask(2, ours(), Request::GetValue { target })).is_some());
            assert_eq!(
                (asked(&mut hand).len(), hand.counter(Counter::Loads)),
                (0, 1)
            );
            hand.assert_quiet();
        }
    }
}

#[test]
fn an_expired_record_is_never_served_and_a_target_without_a_record_is_known_as_that() {
    let stored = item(1, "s", 5, "stored");
    let target = stored.target();
    let mut hand = loading(|_| {});
    let get = Request::GetValue { target };
    let stream = hand.accept(2);
    hand.request(stream, 2, ours(), get.clone());
    let mut over = record(&hand, &stored);
    over.expires = Some(hand.time().unix.minus(HOUR));
    let proven = true;
    hand.input(Input::Loaded {
        record: over,
        proven,
    });
    answer(&mut hand, target, None, true);
    assert!(value_in(hand.answer_on(stream)).is_none());
    assert!(value_in(hand.ask(3, ours(), get)).is_none());
    assert_eq!(hand.counter(Counter::Loads), 1);
}

#[test]
fn what_needs_everything_waits_for_everything_or_for_four_seconds() {
    let stored = item(1, "s", 5, "stored");
    let batch = Request::PutBatch {
        items: [(&item(1, "s", 4, "older")).into()].into(),
        targets: [stored.target()].into(),
    };
    let page = Request::GetItems {
        salt: Default::default(),
        since_seq: Seq(0),
        limit: 10,
    };
    let reconcile = Request::Reconcile {
        message: SyncRequest::default().encode(),
    };
    for late in [false, true] {
        let mut hand = loading(|_| {});
        let requests = [batch.clone(), page.clone(), reconcile.clone()];
        let streams: Vec<StreamId> = requests.iter().map(|_| hand.accept(1)).collect();
        for (stream, request) in streams.iter().zip(requests) {
            hand.request(*stream, 1, ours(), request);
        }
        hand.run_jobs();
        assert!(streams.iter().all(|id| hand.answer_on(*id).is_none()));
        assert_eq!(hand.node.in_flight().waiting_requests, 3);
        if late {
            hand.pass(Duration::from_millis(4_001));
        } else {
            let record = record(&hand, &stored);
            hand.input(Input::Loaded {
                record,
                proven: false,
            });
            hand.input(Input::LoadedUpTo { next: None });
            assert_eq!(
                hand.node.in_flight().waiting_requests,
                3,
                "it is being checked"
            );
        }
        hand.run_jobs();
        for stream in &streams {
            match hand.answer_on(*stream).expect("an answer").response {
                Response::PutBatch { stored, .. } => assert_eq!(stored, [late]),
                Response::GetItems { items, .. } => assert_eq!(items.len(), usize::from(!late)),
                Response::Reconcile { message } => {
                    SyncResponse::decode(&message).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(hand.counter(Counter::LoadsLate), if late { 3 } else { 0 });
        hand.assert_quiet();
    }
}

#[test]
fn storage_that_does_not_answer_or_cannot_be_read_delays_no_request_for_longer() {
    let target = item(1, "s", 5, "").target();
    let get = Request::GetValue { target };
    let mut hand = loading(|_| {});
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), get.clone());
    hand.pass(Duration::from_millis(4_001));
    assert!(hand.answer_on(stream).is_some());
    assert_eq!(hand.counter(Counter::LoadsLate), 1);
    // A late answer without a record; then storage becomes unreadable.
    let read = false;
    hand.input(Input::TargetLoaded { target, read });
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), get);
    assert_eq!(asked(&mut hand).len(), 2);
    hand.input(Input::TargetLoaded { target, read });
    assert!(hand.answer_on(stream).is_some());
    assert_eq!(hand.counter(Counter::LoadsFailed), 2);
    // No request needed it.
    hand.input(Input::TargetLoaded { target, read });
    assert_eq!(hand.counter(Counter::LateEvents), 1);
    // A stream that is closed meanwhile leaves nothing behind.
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), Request::GetValue { target });
    let end = StreamEnd::Reset;
    hand.input(Input::StreamClosed { stream, end });
    hand.assert_quiet();
}

#[test]
fn no_more_targets_are_asked_for_than_the_limit_and_those_beyond_wait_for_everything() {
    let mut hand = loading(|limits| limits.loads = 2);
    let items: Vec<_> = ["a", "b", "c"].map(|salt| item(1, salt, 5, salt)).into();
    let mut streams = Vec::new();
    for item in &items {
        let stream = hand.accept(1);
        let target = item.target();
        hand.request(stream, 1, ours(), Request::GetValue { target });
        streams.push(stream);
    }
    assert_eq!((asked(&mut hand).len(), hand.hits(Limit::loads)), (2, 1));
    for item in &items {
        let record = record(&hand, item);
        hand.input(Input::Loaded {
            record,
            proven: true,
        });
    }
    assert!(streams.iter().all(|id| hand.answer_on(*id).is_none()));
    hand.input(Input::LoadedUpTo { next: None });
    for (stream, item) in streams.iter().zip(&items) {
        let value = value_in(hand.answer_on(*stream));
        assert_eq!(value.as_ref(), Some(&item.value).filter(|_| true));
        assert!(value.is_some());
        let (target, read) = (item.target(), true);
        hand.input(Input::TargetLoaded { target, read });
    }
    hand.assert_quiet();
}

#[test]
fn at_most_64_targets_are_asked_for_at_a_time() {
    let mut hand = loading(|limits| limits.streams_per_peer = 1_000);
    for n in 0..100 {
        let stream = hand.accept(1);
        let target = item(1, &alloc::format!("{n}"), 1, "").target();
        hand.request(stream, 1, ours(), Request::GetValue { target });
    }
    let first = asked(&mut hand);
    assert_eq!(first.len(), 64);
    for (n, target) in first.into_iter().enumerate() {
        answer(&mut hand, target, None, true);
        assert_eq!(asked(&mut hand).len(), usize::from(n < 36));
    }
}

/// The node's own commands: a read finds the stored item, a put uses a sequence above it.
#[test]
fn operations_wait_for_what_lies_at_their_target() {
    let far = Seq(1_790_000_000_000_000_000 + 10 * 3_600_000_000_000);
    let stored = Item::sign(
        &super::net::secret(0),
        far,
        Value::new(b"stored"),
        Salt::from("s"),
    );
    let target = stored.target();
    let get = || Command::Get(GetRequest::of(key(0), Salt::from("s"), ReadPolicy::Local));
    let put = || Command::Put {
        salt: Salt::from("s"),
        value: Value::new(b"new"),
        options: PutOptions {
            local_only: true,
            ..PutOptions::default()
        },
    };
    let mut hand = loading(|_| {});
    let ops = [
        hand.command(get()),
        hand.command(put()),
        hand.command(get()),
    ];
    assert!(ops.iter().all(|op| hand.finished(*op).is_none()));
    assert_eq!(asked(&mut hand), [target]);
    answer(&mut hand, target, Some(&stored), true);
    let values: Vec<_> = ops
        .iter()
        .map(|op| match hand.finished(*op) {
            Some(Outcome::Get(Ok(found))) => found.item.seq,
            Some(Outcome::Put(Ok(put))) => put.seq,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values, [far, Seq(far.0 + 1), Seq(far.0 + 1)]);
    // Cancelled, or after four seconds: each ends once.
    let mut hand = loading(|_| {});
    let cancelled = hand.command(get());
    hand.input(Input::Cancel { op: cancelled });
    let late = hand.command(get());
    hand.pass(Duration::from_millis(4_001));
    for op in [cancelled, late] {
        assert!(matches!(hand.finished(op), Some(Outcome::Get(Err(_)))));
    }
    assert_eq!(hand.counter(Counter::LoadsLate), 1);
    assert!(hand.node.operations.is_idle());
}

#[test]
fn a_target_has_been_loaded_when_all_below_the_next_one_has_and_it_lies_there() {
    let stored = item(1, "s", 5, "stored");
    let target = stored.target();
    let mut above = *target.as_bytes();
    above[31] = above[31].wrapping_add(1);
    assert_ne!(above[31], 0);
    for (next, waits) in [(target, true), (Target::from_bytes(above), false)] {
        let mut hand = loading(|_| {});
        let next = Some(next);
        hand.input(Input::LoadedUpTo { next });
        let stream = hand.accept(1);
        hand.request(stream, 1, ours(), Request::GetValue { target });
        assert_eq!(asked(&mut hand).len(), usize::from(waits));
        assert_eq!(hand.used(Limit::loads), usize::from(waits));
        assert_eq!(hand.answer_on(stream).is_none(), waits);
        if !waits {
            continue;
        }
        answer(&mut hand, target, Some(&stored), true);
        assert_eq!(hand.used(Limit::loads), 0);
        // It was loaded out of order; its turn is still to come.
        for next in [next, Some(Target::from_bytes(above))] {
            hand.input(Input::LoadedUpTo { next });
            assert!(value_in(hand.ask(1, ours(), Request::GetValue { target })).is_some());
        }
        assert_eq!(hand.counter(Counter::Loads), 1);
    }
}

#[test]
fn what_was_loaded_before_its_turn_is_remembered_up_to_a_limit_and_forgotten_at_its_turn() {
    const MOST: u64 = 65_536;
    let numbered = |n: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Target::from_bytes(bytes)
    };
    let mut hand = loading(|_| {});
    let Base { cx, loading, .. } = &mut hand.node.base;
    for n in 0..=MOST {
        if n == MOST {
            assert_eq!(loading.request(cx, numbered(n - 1)), LoadStatus::Loaded);
        }
        assert_eq!(loading.request(cx, numbered(n)), LoadStatus::Requested);
        loading.answered(cx, numbered(n), true);
    }
    // The highest target is forgotten.
    assert_eq!(loading.request(cx, numbered(MOST - 1)), LoadStatus::Loaded);
    assert_eq!(loading.request(cx, numbered(MOST)), LoadStatus::Requested);
    loading.answered(cx, numbered(MOST), true);
    loading.advance(cx, Some(numbered(MOST - 1)));
    // There is room again.
    for n in MOST..MOST + 9 {
        loading.request(cx, numbered(n));
        loading.answered(cx, numbered(n), true);
        assert_eq!(loading.request(cx, numbered(n)), LoadStatus::Loaded);
    }
}

#[test]
fn a_target_is_loaded_when_all_records_that_came_for_it_are_checked() {
    let mut hand = loading(|_| {});
    let [older, newer] = [4, 5].map(|seq| item(1, "s", seq, "v"));
    let target = newer.target();
    let stream = hand.accept(2);
    hand.request(stream, 2, ours(), Request::GetValue { target });
    for it in [&older, &newer] {
        let record = record(&hand, it);
        let proven = false;
        hand.input(Input::Loaded { record, proven });
    }
    let read = true;
    hand.input(Input::TargetLoaded { target, read });
    for answered in [false, true] {
        let is_job = |output: &Output| matches!(output, Output::Verify { .. });
        let at = hand.outputs.iter().position(is_job).unwrap();
        if let Output::Verify { job, work } = hand.outputs.remove(at) {
            let verdict = work.run();
            hand.input(Input::Verified { job, verdict });
        }
        let value = value_in(hand.answer_on(stream));
        assert_eq!(value.is_some(), answered);
    }
}

#[test]
fn a_record_that_cannot_be_checked_now_holds_nothing_up() {
    let mut hand = loading(|limits| limits.verify_jobs = 1);
    let [first, second] = [1, 2].map(|owner| item(owner, "s", 5, "v"));
    let streams = [&first, &second].map(|it| {
        let stream = hand.accept(3);
        let target = it.target();
        hand.request(stream, 3, ours(), Request::GetValue { target });
        stream
    });
    for it in [&first, &second] {
        let record = record(&hand, it);
        let proven = false;
        hand.input(Input::Loaded { record, proven });
    }
    assert!(hand.answer_on(streams[0]).is_none());
    let answer = hand.answer_on(streams[1]).expect("served from memory");
    assert!(value_in(Some(answer)).is_none());
    assert_eq!(hand.counter(Counter::LoadsFailed), 1);
    assert_eq!(hand.hits(Limit::verify_jobs), 1);
}

#[test]
fn after_a_minute_no_request_waits_for_all_of_storage_but_for_its_own_target() {
    let tick = Duration::from_nanos(1);
    let minute = Duration::from_secs(60);
    let target = item(1, "s", 5, "v").target();
    let page = Request::GetItems {
        salt: Default::default(),
        since_seq: Seq(0),
        limit: 10,
    };
    for (after, waits) in [(minute - tick, true), (minute, false)] {
        let mut hand = loading(|_| {});
        hand.now = hand.now.plus(after);
        let streams = [page.clone(), Request::GetValue { target }].map(|request| {
            let stream = hand.accept(1);
            hand.request(stream, 1, ours(), request);
            stream
        });
        let answered = streams.map(|stream| hand.answer_on(stream).is_some());
        assert_eq!(answered, [!waits, false]);
        assert_eq!(asked(&mut hand), [target]);
    }
}

#[test]
fn a_request_for_peers_only_does_not_wait_for_storage() {
    let target = item(1, "s", 5, "v").target();
    for (want, waits) in [(Want::Peers, false), (Want::Item, true), (Want::All, true)] {
        let mut hand = loading(|_| {});
        let stream = hand.accept(1);
        let ext = Some(RequestExt {
            want,
            ..RequestExt::default()
        });
        hand.request(stream, 1, ext, Request::GetValue { target });
        assert_eq!(hand.answer_on(stream).is_none(), waits, "{want:?}");
        assert_eq!(asked(&mut hand).len(), usize::from(waits));
    }
}

#[test]
fn what_a_request_brings_is_counted_while_it_waits_for_storage() {
    let [first, second] = ["a", "bcd"].map(|salt| item(1, salt, 5, "a value"));
    let cost = |it: &Item| 256 + it.salt.as_bytes().len() + it.value.as_bytes().len();
    let message = SyncRequest::default().encode();
    let targets = alloc::vec![first.target()];
    let items = [&first, &second].map(Into::into).into();
    let batch = cost(&first) + cost(&second) + size_of::<Target>();
    let target = first.target();
    for (request, bytes) in [
        (put(&first), cost(&first)),
        (Request::PutBatch { items, targets }, batch),
        (
            Request::Reconcile {
                message: message.clone(),
            },
            message.len(),
        ),
        (Request::GetValue { target }, 0),
    ] {
        let mut hand = loading(|_| {});
        let stream = hand.accept(1);
        hand.request(stream, 1, ours(), request.clone());
        assert_eq!(hand.node.in_flight().waiting_requests, 1);
        assert_eq!(hand.node.in_flight().request_bytes, bytes, "{request:?}");
    }
}

#[test]
fn an_operation_goes_on_when_its_own_target_is_loaded_and_not_before() {
    let get = |n: usize| {
        let policy = ReadPolicy::Local;
        Command::Get(GetRequest::of(key(n), Salt::from("s"), policy))
    };
    let mut hand = loading(|_| {});
    let ops = [1, 2].map(|n| hand.command(get(n)));
    let target = item(2, "s", 5, "v").target();
    answer(&mut hand, target, None, true);
    let finished = ops.map(|op| hand.finished(op).is_some());
    assert_eq!(finished, [false, true]);
}
