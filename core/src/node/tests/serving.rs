//! What peers may do to a node: rules 2, 3, 13, and invalid input.

use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use crate::item::{Seq, Value};
use crate::key::Signature;
use crate::node::*;
use crate::wire::{PeerList, Request, RequestExt, Response, ResponseExt, ResponseMessage};

fn stored(
    hand: &mut Hand,
    peer: usize,
    ext: Option<RequestExt>,
    request: Request,
) -> (bool, alloc::string::String) {
    match hand.ask(peer, ext, request).map(|message| message.response) {
        Some(Response::PutValue { stored, error } | Response::Renew { stored, error }) => {
            (stored, error)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn go_gets_one_answer_and_a_closed_stream_ours_keep_it() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    hand.request(stream, 1, None, Request::Ping);
    let answer = hand.answer_on(stream).unwrap();
    assert!(answer.ext.is_none(), "extensions are invisible to Go");
    assert_eq!(hand.closed(stream), Some(CloseReason::Done));
    let stream = hand.accept(2);
    for _ in 0..3 {
        hand.request(stream, 2, ours(), Request::Ping);
        assert!(hand.answer_on(stream).unwrap().ext.unwrap().keep);
    }
    assert_eq!(hand.closed(stream), None);
    hand.pass(Duration::from_secs(61));
    assert_eq!(hand.closed(stream), Some(CloseReason::Idle));
}

#[test]
fn a_second_request_waits_for_the_first_answer_to_leave() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    let value = item(1, "x", 5, "v");
    hand.request(stream, 1, ours(), put(&value));
    hand.request(stream, 1, ours(), Request::Ping);
    assert!(hand.outputs.contains(&Output::PauseReading { stream }));
    hand.run_jobs();
    let first = hand.answer_on(stream).unwrap();
    assert!(matches!(
        first.response,
        Response::PutValue { stored: true, .. }
    ));
    assert!(hand.outputs.contains(&Output::ResumeReading { stream }));
    let second = hand.answer_on(stream).unwrap();
    assert!(matches!(second.response, Response::Ping { .. }));
}

#[test]
fn equal_items_renew_over_the_signers_stream_and_cost_no_signature() {
    let mut hand = Hand::new(|_| {});
    let value = item(1, "x", 5, "v");
    assert!(stored(&mut hand, 1, None, put(&value)).0);
    let jobs = hand.counter(Counter::VerifyJobs);
    hand.pass(Duration::from_secs(3600));
    let renew = Request::Renew {
        target: value.target(),
        seq: value.seq,
        signature: value.signature,
        content_hash: value.content_hash(),
    };
    assert!(stored(&mut hand, 1, ours(), renew.clone()).0);
    hand.pass(Duration::from_secs(3600 + 1800));
    assert!(
        hand.held(&value.target()).is_some(),
        "renewed after one hour"
    );
    assert!(stored(&mut hand, 1, None, put(&value)).0);
    assert_eq!(hand.counter(Counter::VerifyJobs), jobs);
    let by_another = stored(&mut hand, 2, ours(), renew);
    assert_eq!(by_another, (false, "dht: item not found".into()));
    hand.pass(Duration::from_secs(2 * 3600 + 1));
    assert!(
        hand.held(&value.target()).is_none(),
        "no holder confirmed it any longer"
    );
}

#[test]
fn no_other_peer_can_extend_a_lifetime() {
    let mut hand = Hand::new(|_| {});
    let value = item(1, "x", 5, "v");
    assert!(stored(&mut hand, 2, None, put(&value)).0);
    hand.pass(Duration::from_secs(1800));
    assert!(stored(&mut hand, 2, None, put(&value)).0);
    hand.pass(Duration::from_secs(1801));
    assert!(
        hand.held(&value.target()).is_none(),
        "half a TTL after it came"
    );
}

#[test]
fn forgeries_are_refused_and_the_third_cuts_the_stream() {
    let mut hand = Hand::new(|_| {});
    let mut forged = (*item(1, "x", 5, "v")).clone();
    forged.value = Value::new(b"w");
    let forged = alloc::sync::Arc::new(forged);
    let stream = hand.accept(2);
    for n in 1..=3 {
        hand.request(stream, 2, ours(), put(&forged));
        hand.run_jobs();
        let answer = hand.answer_on(stream);
        assert_eq!(answer.is_some(), n < 3, "forgery {n}");
    }
    assert_eq!(hand.closed(stream), Some(CloseReason::Protocol));
    assert_eq!(hand.counter(Counter::ForgedItems), 3);
    assert_eq!(hand.counter(Counter::ForgersCut), 1);
    assert!(hand.held(&forged.target()).is_none());
    assert!(
        hand.ask(3, None, Request::Ping).is_some(),
        "others are served"
    );
}

#[test]
fn an_item_with_an_impossible_key_is_closed_without_an_answer() {
    let mut hand = Hand::new(|_| {});
    let mut bytes = [0xff; 33];
    bytes[0] = 2;
    let mut impossible = (*item(1, "x", 5, "v")).clone();
    impossible.key = crate::key::PublicKey::from_bytes(&bytes).unwrap();
    let stream = hand.accept(2);
    hand.request(stream, 2, None, put(&alloc::sync::Arc::new(impossible)));
    hand.run_jobs();
    assert!(hand.answer_on(stream).is_none());
    assert_eq!(hand.closed(stream), Some(CloseReason::Protocol));
    assert_eq!(hand.counter(Counter::InvalidKeys), 1);
}

#[test]
fn mirrors_are_taken_from_configured_keys_alone_and_never_over_a_living_owner() {
    let owners = item(1, "dmsg", 5, "owner");
    let target = owners.target();
    let mirror = |n, seq| Request::PutValue {
        item: item(n, "dmsg", seq, "mirror").into(),
        mirror_target: Some(target),
    };
    let mut hand = Hand::new(|config| config.mirrors.push(key(9)));
    let (taken, error) = stored(&mut hand, 8, None, mirror(8, 1));
    assert!(!taken && error.contains("mirror"), "{error}");
    assert!(stored(&mut hand, 9, None, mirror(9, u64::MAX)).0);
    assert!(
        !stored(&mut hand, 8, None, mirror(9, 3)).0,
        "not over the stream of another peer"
    );
    assert!(
        stored(&mut hand, 1, None, put(&owners)).0,
        "the owner wins whatever the sequence"
    );
    assert!(!stored(&mut hand, 9, None, mirror(9, u64::MAX)).0);
    assert_eq!(hand.held(&target).unwrap().seq, Seq(5));
    assert_eq!(hand.counter(Counter::OwnerTakeovers), 1);
    assert!(hand.counter(Counter::MirrorsRefused) >= 2);
}

#[test]
fn a_bound_mirror_may_come_from_any_peer_if_the_binding_is_for_this_target() {
    let target = item(1, "dmsg", 5, "owner").target();
    let mirrored = item(9, "dmsg", 7, "mirror");
    let bind = |target| super::net::secret(9).sign(&mirrored.bind_digest(&target));
    let request = Request::PutValue {
        item: (&mirrored).into(),
        mirror_target: Some(target),
    };
    let ext = |bind: Signature| {
        Some(RequestExt {
            bind: Some(bind),
            ..RequestExt::default()
        })
    };
    let mut hand = Hand::new(|config| config.mirrors.push(key(9)));
    let elsewhere = bind(crate::id::Target::default());
    assert!(!stored(&mut hand, 8, ext(elsewhere), request.clone()).0);
    assert!(stored(&mut hand, 8, ext(bind(target)), request).0);
}

#[test]
fn slow_senders_are_cut_and_idle_streams_occupy_no_slot() {
    let mut hand = Hand::new(|config| config.limits.serving = 1);
    let slow = hand.accept(1);
    hand.bytes(slow, &[0, 0, 0]);
    let idle = hand.accept(2);
    assert!(hand.ask(3, None, Request::Ping).is_some());
    hand.pass(Duration::from_secs(11));
    assert_eq!(hand.closed(slow), Some(CloseReason::Timeout));
    assert_eq!(hand.closed(idle), Some(CloseReason::Idle));
    assert_eq!(hand.counter(Counter::SlowRequests), 1);
}

#[test]
fn without_free_slots_requests_wait_and_are_not_lost() {
    let mut hand = Hand::new(|config| config.limits.serving = 1);
    let (first, second) = (hand.accept(1), hand.accept(2));
    hand.request(first, 1, None, put(&item(1, "x", 5, "v")));
    hand.request(second, 2, None, put(&item(2, "x", 5, "v")));
    assert!(hand.hits(Limit::serving) > 0);
    assert!(hand.answer_on(second).is_none());
    hand.run_jobs();
    assert!(hand.answer_on(first).is_some() && hand.answer_on(second).is_some());
}

#[test]
fn streams_of_one_peer_are_limited_and_others_get_in() {
    let mut hand = Hand::new(|config| config.limits.streams_per_peer = 2);
    let streams = [hand.accept(1), hand.accept(1), hand.accept(1)];
    assert_eq!(
        streams.map(|s| hand.closed(s)),
        [None, None, Some(CloseReason::Overloaded)]
    );
    assert_eq!(hand.hits(Limit::streams_per_peer), 1);
    assert!(hand.ask(2, None, Request::Ping).is_some());
}

#[test]
fn at_the_limit_the_longest_idle_stream_makes_room_and_our_own_calls_keep_a_quarter() {
    let mut hand = Hand::new(|config| config.limits.streams = 8);
    let idle: Vec<_> = (1..=6)
        .map(|peer| {
            let stream = hand.accept(peer);
            hand.request(stream, peer, ours(), Request::Ping);
            hand.answer_on(stream);
            stream
        })
        .collect();
    hand.wanted();
    let newcomer = hand.accept(7);
    assert_eq!(hand.closed(newcomer), None);
    assert_eq!(hand.closed(idle[0]), Some(CloseReason::Idle));
    let mut hand = Hand::new(|config| config.limits.streams = 8);
    for peer in 1..=6 {
        let busy = hand.accept(peer);
        hand.bytes(busy, &[0]);
    }
    let newcomer = hand.accept(7);
    assert_eq!(hand.closed(newcomer), None, "half-sent requests make room");
    assert_eq!(hand.counter(Counter::StreamsEvicted), 1);
    hand.command(Command::Ping {
        peer: key(9),
        addr: None,
    });
    assert_eq!(hand.wanted().len(), 1, "our own call has its stream");
}

#[test]
fn verification_is_limited_by_peer_and_in_all() {
    let mut hand = Hand::new(|config| {
        config.limits.verify_jobs = 3;
        config.limits.verify_jobs_per_peer = 2;
    });
    let mut answers = Vec::new();
    for (peer, salt) in [(1, "a"), (1, "b"), (1, "c"), (2, "a"), (3, "a")] {
        let stream = hand.accept(peer);
        hand.request(stream, peer, None, put(&item(peer, salt, 5, "v")));
        answers.push(hand.answer_on(stream).map(|message| message.response));
    }
    // The third of peer 1 and the last one wait: none is refused because of another's load.
    assert!(answers.iter().all(Option::is_none), "{answers:?}");
    assert_eq!(hand.node.in_flight().waiting_requests, 2);
    assert!(hand.hits(Limit::verify_jobs) > 0 && hand.hits(Limit::verify_jobs_per_peer) > 0);
    hand.run_jobs();
    assert_eq!(hand.counter(Counter::ItemsStored), 5);
    assert_eq!(hand.node.in_flight().verify_jobs, 0);
}

#[test]
fn an_item_is_kept_although_its_stream_closed_meanwhile() {
    let mut hand = Hand::new(|_| {});
    let value = item(1, "x", 5, "v");
    let stream = hand.accept(1);
    hand.request(stream, 1, None, put(&value));
    hand.input(Input::StreamClosed {
        stream,
        end: StreamEnd::Reset,
    });
    hand.run_jobs();
    assert!(hand.held(&value.target()).is_some());
    assert_eq!(
        hand.node.snapshot().limits[2].used,
        0,
        "its place is free again"
    );
}

#[test]
fn all_orders_of_two_puts_on_one_target_end_alike() {
    let (a, b) = (item(1, "x", 7, "a"), item(1, "x", 7, "b"));
    let mut ends = Vec::new();
    for (first, second) in [(&a, &b), (&b, &a)] {
        for reverse_verdicts in [false, true] {
            let mut hand = Hand::new(|_| {});
            for one in [first, second] {
                let stream = hand.accept(2);
                hand.request(stream, 2, None, put(one));
            }
            if reverse_verdicts {
                hand.outputs.reverse();
            }
            hand.run_jobs();
            ends.push(hand.held(&a.target()).unwrap());
            assert_eq!(hand.counter(Counter::Conflicts), 1);
        }
    }
    assert!(ends.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_batch_is_judged_item_by_item_and_answered_once() {
    let mut hand = Hand::new(|_| {});
    let mut forged = (*item(3, "x", 5, "v")).clone();
    forged.value = Value::new(b"w");
    let mut items: Vec<_> = (0..40)
        .map(|n| item(2, &alloc::format!("s{n}"), 5, "v").into())
        .collect();
    items.insert(1, forged.into());
    let answer = hand.ask(
        1,
        None,
        Request::PutBatch {
            items,
            targets: Vec::new(),
        },
    );
    let Some(Response::PutBatch { stored, errors }) = answer.map(|message| message.response) else {
        panic!("no answer")
    };
    assert_eq!(stored.len(), 41);
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 40);
    assert!(
        !stored[1] && errors[1].contains("invalid signature"),
        "{errors:?}"
    );
    assert_eq!(hand.node.inbound.slots(), 0);
}

#[test]
fn senders_named_in_json_count_for_nothing() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    hand.request(stream, 2, ours(), Request::Ping);
    assert_eq!(hand.counter(Counter::ForgedSenders), 1);
    let pinged: Vec<_> = hand.wanted().into_iter().map(|want| want.1).collect();
    assert_eq!(
        pinged,
        [key(1)],
        "the proven key is pinged back, not the named one"
    );
}

#[test]
fn undrained_outputs_stop_the_node_from_taking_inputs() {
    let mut hand = Hand::new(|config| config.limits.outputs = 64);
    let time = hand.time();
    let mut refused = None;
    for n in 0..200 {
        let stream = StreamId(n * 2 + 1);
        let path = Path {
            reach: Reach::Accepted,
            remote: None,
        };
        let accepted = Input::StreamAccepted {
            stream,
            peer: key(1),
            path,
        };
        if let Err(misuse) = hand.node.handle(time, accepted) {
            refused = Some(misuse);
            break;
        }
        let bytes = [0, 0, 0, 1, 1];
        hand.node
            .handle(
                time,
                Input::Bytes {
                    stream,
                    bytes: bytes.as_slice().into(),
                },
            )
            .ok();
    }
    assert!(matches!(refused, Some(Misuse::OutputNotDrained(n)) if n >= 64));
    while hand.node.poll_output().is_some() {}
    assert_eq!(hand.node.handle(time, Input::TimerFired), Ok(()));
}

#[test]
fn a_snapshot_of_a_full_node_shows_no_limit_of_items() {
    let hand = Hand::new(|config| config.full_node = true);
    let limits = hand.node.snapshot().limits;
    let max = |limit| limits.iter().find(|used| used.limit == limit).unwrap().max;
    assert_eq!(
        (max(Limit::store_items), max(Limit::public_items)),
        (None, None)
    );
    assert!(max(Limit::store_bytes).is_some());
}

#[test]
fn a_verdict_after_the_shutdown_stores_and_schedules_nothing() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    hand.request(stream, 1, ours(), put(&item(1, "s", 5, "v")));
    hand.command(Command::Shutdown);
    assert_eq!(hand.node.next_deadline(), None);
    hand.run_jobs();
    assert_eq!(hand.counter(Counter::ItemsStored), 1);
    assert_eq!(hand.node.next_deadline(), None);
}

#[test]
fn a_read_trusts_the_copy_it_verified_not_one_with_another_signature() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Dialled, true);
    let good = item(2, "s", 5, "v");
    let owner = Some((good.key, good.salt.clone()));
    let request = GetRequest {
        owner,
        ..GetRequest::of(good.key, good.salt.clone(), ReadPolicy::Freshest)
    };
    let op = hand.command(Command::Get(request));
    let (stream, ..) = *hand.wanted().first().expect("a peer is asked");
    hand.open(stream, Reach::Dialled);
    // Meanwhile the item arrives and is verified; then the peer's copy arrives with a forged
    // signature.
    assert!(stored(&mut hand, 2, ours(), put(&good)).0);
    let mut forged = (*good).clone();
    forged.signature = Signature::from_bytes([7; 65]);
    let response = Response::GetValue {
        item: Some(forged.into()),
        closest: PeerList::default(),
    };
    let ext = Some(ResponseExt::default());
    hand.reply(stream, ResponseMessage { ext, response });
    match hand.finished(op) {
        Some(Outcome::Get(Ok(got))) => assert_eq!(got.item, good),
        other => panic!("{other:?}"),
    }
    assert_eq!(hand.counter(Counter::VerifySpared), 1);
}

#[test]
fn a_peer_that_hangs_up_while_waiting_for_a_slot_leaves_the_queue() {
    let mut hand = Hand::new(|config| config.limits.serving = 1);
    let first = hand.accept(1);
    hand.request(first, 1, ours(), put(&item(1, "s", 5, "v")));
    for n in 0..20 {
        let stream = hand.accept(2);
        hand.request(stream, 2, ours(), put(&item(2, "s", n, "v")));
        assert_eq!(hand.node.in_flight().waiting_requests, 1);
        let end = StreamEnd::Reset;
        hand.input(Input::StreamClosed { stream, end });
        assert_eq!(hand.node.in_flight().waiting_requests, 0, "after {n}");
    }
}

#[test]
fn peers_are_listed_compactly_for_callers_that_can_read_it() {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Dialled, true);
    let target = item(9, "s", 1, "v").target();
    let version = |version| RequestExt {
        version,
        ..RequestExt::default()
    };
    for (ext, compact) in [
        (None, None),
        (Some(1), Some(false)),
        (Some(2), Some(true)),
        (Some(9), Some(true)),
    ] {
        for request in [Request::FindNode { target }, Request::GetValue { target }] {
            let stream = hand.accept(2);
            hand.request(stream, 2, ext.map(version), request);
            let answer = hand.answer_on(stream).unwrap();
            assert_eq!(
                answer.ext.as_ref().map(|ext| ext.compact),
                compact,
                "{ext:?}"
            );
            assert_eq!(answer.response.closest().unwrap().peers.len(), 1, "{ext:?}");
        }
    }
    let ext = RequestExt {
        want: crate::wire::Want::Peers,
        ..version(2)
    };
    let answer = hand.ask(2, Some(ext), put(&item(2, "s", 1, "v"))).unwrap();
    let ext = answer.ext.unwrap();
    assert_eq!((ext.compact, ext.closest.peers.len()), (true, 1));
    // An empty list is sent in neither form.
    let answer = hand.ask(2, Some(version(2)), Request::Ping).unwrap();
    assert!(!answer.ext.unwrap().compact);
}
