//! A full node driven by hand: what it offers, with which peers it reconciles, and how it announces
//! itself.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use super::net::{addr, secret};
use crate::item::{Item, Salt, Seq, Value};
use crate::node::replication::adverts;
use crate::node::timers::Timer;
use crate::node::*;
use crate::store::{Candidate, Via};
use crate::sync::{
    ItemSet, RequestPart, ResponsePart, SyncRequest, SyncResponse, item_bytes, respond,
};
use crate::wire::{
    Method, Request, RequestMessage, Response, ResponseExt, ResponseMessage, Sender,
    encode_response,
};

const MOMENT: Duration = Duration::from_millis(20);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn full() -> Hand {
    Hand::new(|config| config.full_node = true)
}

/// The extension of a peer's answer: `None` for an upstream node, otherwise whether it is a full
/// node.
pub(super) fn ext(full_node: Option<bool>) -> Option<ResponseExt> {
    let full_node = full_node?;
    Some(ResponseExt {
        full_node,
        ..ResponseExt::default()
    })
}

/// Lets the node meet a full node.
pub(super) fn meet(hand: &mut Hand, peer: usize) {
    hand.wanted();
    hand.ask(peer, ours(), Request::Ping);
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Relayed);
    let responder = Sender::of(&key(peer));
    let response = Response::Ping { responder };
    hand.reply(
        stream,
        ResponseMessage {
            ext: ext(Some(true)),
            response,
        },
    );
}

/// The requests sent to a peer now, with their streams.
pub(super) fn requests(hand: &mut Hand, peer: usize) -> Vec<(StreamId, RequestMessage)> {
    let streams: Vec<_> = hand.wanted();
    let to = streams.into_iter().filter(|want| want.1 == key(peer));
    to.map(|(stream, ..)| (stream, hand.open(stream, Reach::Dialled)))
        .collect()
}

pub(super) fn parts(request: &RequestMessage) -> Vec<RequestPart> {
    match &request.request {
        Request::Reconcile { message } => SyncRequest::decode(message).unwrap().parts,
        other => panic!("{other:?}"),
    }
}

pub(super) fn reconciled(hand: &mut Hand, stream: StreamId, parts: Vec<ResponsePart>) {
    let answered = u16::try_from(parts.len()).unwrap();
    let message = SyncResponse { answered, parts }.encode();
    let response = Response::Reconcile { message };
    hand.reply(
        stream,
        ResponseMessage {
            ext: ext(Some(true)),
            response,
        },
    );
}

/// A publisher puts a new item.
pub(super) fn publish(hand: &mut Hand, owner: usize, value: &[u8]) -> Arc<Item> {
    let (value, salt) = (Value::new(value), Salt::from("s"));
    let item = Arc::new(Item::sign(&secret(owner), Seq(1), value, salt));
    assert!(hand.ask(owner, None, put(&item)).is_some());
    item
}

/// The offer sent to peer 1: its stream, and the number of items.
fn offer(hand: &mut Hand) -> Option<(StreamId, usize)> {
    hand.pass(MOMENT);
    let (stream, request) = requests(hand, 1).pop()?;
    match &parts(&request)[..] {
        [RequestPart::Offer(stamps)] => Some((stream, stamps.len())),
        other => panic!("{other:?}"),
    }
}

/// Number of items given to peer 1.
fn given(hand: &mut Hand) -> usize {
    let Some((_, request)) = requests(hand, 1).pop() else {
        return 0;
    };
    let parts = parts(&request);
    let given = |part: &RequestPart| matches!(part, RequestPart::Give(_));
    assert!(parts.iter().all(given), "{parts:?}");
    parts.len()
}

#[test]
fn of_what_is_wanted_and_fills_more_than_one_message_as_much_as_fits_is_given() {
    // Three of these are one byte short of half a message, and a fourth would reach it.
    let len = 64 * 1024 - 1 - item_bytes(&item(1, "s", 1, ""));
    for (len, fitting) in [(len, 3), (len - 1, 4), (20_000, 8)] {
        let mut hand = full();
        meet(&mut hand, 1);
        let all: Vec<_> = (10..18)
            .map(|owner| publish(&mut hand, owner, &vec![7; len]))
            .collect();
        assert_eq!(hand.used(Limit::offers), 8);
        let (stream, offered) = offer(&mut hand).unwrap();
        assert_eq!((offered, hand.used(Limit::offers)), (8, 0));
        reconciled(&mut hand, stream, vec![ResponsePart::Wanted(0xff)]);
        assert_eq!(given(&mut hand), fitting, "of {len} bytes");
        assert_eq!(hand.counter(Counter::SyncGiven), fitting as u64);
        // The others are still stored, for the next session.
        assert!(all.iter().all(|item| hand.held(&item.target()).is_some()));
    }
}

#[test]
fn what_is_offered_came_from_outside_is_new_and_its_owners() {
    let other = item(2, "other", 5, "v");
    let at = |item: &Arc<Item>, via| Candidate::of_owner(item.clone(), via);
    let it = item(1, "x", 5, "v");
    let kept = Via::Storage {
        vouched: crate::time::Unix(1_790_000_000_000_000_000),
        expires: None,
    };
    for (full_node, via, again, changes) in [
        (true, Via::Signer(key(1)), false, 1),
        (true, Via::Peer(key(2)), false, 1),
        (true, Via::Local, false, 1),
        (false, Via::Signer(key(1)), false, 0),
        (true, Via::Pulled(key(2)), false, 0),
        (true, kept, false, 1),
        (true, Via::Signer(key(1)), true, 0),
    ] {
        let mut hand = Hand::new(|config| config.full_node = full_node);
        let base = &mut hand.node.base;
        for _ in 0..=usize::from(again) {
            base.items.take_changes();
            base.items.admit(&mut base.cx, at(&it, via), 0).unwrap();
        }
        assert_eq!(base.items.take_changes().len(), changes, "{via:?}");
    }
    let mut hand = Hand::new(|config| {
        config.full_node = true;
        config.mirrors = vec![key(1)];
    });
    let mirror = Candidate {
        target: other.target(),
        ..at(&it, Via::Signer(key(1)))
    };
    let base = &mut hand.node.base;
    base.items.admit(&mut base.cx, mirror, 0).unwrap();
    assert_eq!(base.items.take_changes().len(), 0, "a mirror");
}

#[test]
fn a_node_that_is_full_no_more_gives_what_was_wanted_and_offers_nothing_else() {
    let mut hand = full();
    meet(&mut hand, 1);
    publish(&mut hand, 10, b"v");
    let (stream, _) = offer(&mut hand).unwrap();
    publish(&mut hand, 11, b"v");
    assert!(offer(&mut hand).is_none(), "one at a time");
    assert_eq!(hand.used(Limit::offers), 1);
    hand.input(Input::SetFullNode { full_node: false });
    requests(&mut hand, 1);
    assert_eq!(hand.used(Limit::offers), 0);
    reconciled(&mut hand, stream, vec![ResponsePart::Wanted(1)]);
    assert_eq!(given(&mut hand), 1);
    assert!(offer(&mut hand).is_none());
}

#[test]
fn to_be_what_it_is_already_changes_nothing_at_a_node() {
    for full_node in [false, true] {
        let mut hand = Hand::new(|config| config.full_node = full_node);
        let timers = |hand: &Hand| {
            [Timer::Advert, Timer::Reconcile, Timer::Trim]
                .map(|timer| hand.node.base.cx.timers.due_at(timer))
        };
        let before = timers(&hand);
        hand.input(Input::SetFullNode { full_node });
        assert_eq!(timers(&hand), before);
    }
}

#[test]
fn full_nodes_plan_sessions_and_those_that_serve_say_that_they_are_full() {
    for (full_node, serve) in [(false, false), (false, true), (true, false), (true, true)] {
        let hand = Hand::new(|config| {
            config.full_node = full_node;
            config.serve = serve;
        });
        let due = |timer| hand.node.base.cx.timers.due_at(timer).is_some();
        assert_eq!(due(Timer::Advert), full_node && serve);
        assert_eq!(due(Timer::Reconcile), full_node);
    }
}

#[test]
fn adverts_are_believed_while_they_live_and_stand() {
    const MINUTE: Duration = Duration::from_secs(60);
    let mut hand = Hand::new(|config| config.item_ttl = 20 * MINUTE);
    let begin = hand.time();
    let advert = |owner: usize, seq: u64, value: &[u8]| {
        let salt = Salt::from("fullnode");
        Arc::new(Item::sign(
            &secret(owner),
            Seq(seq),
            Value::new(value),
            salt,
        ))
    };
    let now = begin.unix.0;
    let adverts = [
        advert(1, now, b"{}x"),
        advert(2, now, b""),
        advert(3, now - 31 * 60 * 1_000_000_000, b"x"),
        advert(4, now - 29 * 60 * 1_000_000_000, b"x"),
        advert(0, now, b"x"),
    ];
    // Many deleted adverts hide none of the others.
    let earlier = now - 28 * 60 * 1_000_000_000;
    let deleted = (10..30).map(|owner| advert(owner, earlier, b""));
    let late = advert(5, now - 1, b"x");
    let mut all: Vec<_> = adverts.iter().cloned().chain(deleted).collect();
    all.push(late);
    for it in &all {
        let base = &mut hand.node.base;
        let via = Via::Signer(it.key);
        base.items
            .admit(&mut base.cx, Candidate::of_owner(it.clone(), via), 0)
            .unwrap();
    }
    let signers = |hand: &Hand, max| {
        let found = adverts::signers(&hand.node.base, max);
        (0..30)
            .filter(|n| found.contains(&key(*n)))
            .collect::<Vec<_>>()
    };
    assert_eq!(signers(&hand, 9), [1, 4, 5]);
    assert_eq!(signers(&hand, 1).len(), 1);
    // Expired, but not swept yet.
    hand.now = begin.mono.plus(21 * MINUTE);
    hand.node.base.cx.now = hand.time();
    assert!(signers(&hand, 9).is_empty());
}

#[test]
fn sessions_begin_with_all_whose_turn_it_is_as_far_as_there_is_room() {
    for (room, running, hits) in [(4, 3, 0), (3, 3, 0), (2, 2, 1)] {
        let mut hand = Hand::new(|config| {
            config.full_node = true;
            config.limits.sync_sessions = room;
        });
        for peer in 1..=3 {
            meet(&mut hand, peer);
        }
        hand.pass(SECOND / 2);
        assert_eq!(hand.used(Limit::sync_sessions), running);
        assert_eq!(hand.hits(Limit::sync_sessions), hits);
        assert_eq!(hand.counter(Counter::SyncsStarted), running as u64);
    }
}

#[test]
fn a_session_begins_at_the_moment_it_is_due() {
    let mut hand = full();
    meet(&mut hand, 1);
    // Half a second after the node checked whether one was due.
    let mut soon = 0;
    for begun in 0..8 {
        // When the node woke for it, and the time before that.
        let (mut woke, mut before) = (hand.now, hand.now);
        while hand.counter(Counter::SyncsStarted) == begun {
            let due = hand.node.base.cx.timers.due_at(Timer::Reconcile).unwrap();
            // No other timer runs.
            hand.node.base.cx.timers.clear();
            hand.node.base.cx.timers.set(Timer::Reconcile, due);
            (before, woke) = (woke, due);
            hand.now = due;
            hand.input(Input::TimerFired);
        }
        soon += usize::from(woke.since(before) == Duration::from_millis(500));
        let (stream, asked) = requests(&mut hand, 1).remove(0);
        let Request::Reconcile { message } = asked.request else {
            panic!("{:?}", asked.request);
        };
        let asked = SyncRequest::decode(&message).unwrap();
        let message = respond(&ItemSet::default(), asked).response.encode();
        let response = Response::Reconcile { message };
        let ext = ext(Some(true));
        hand.reply(stream, ResponseMessage { ext, response });
        assert_eq!(hand.used(Limit::sync_sessions), 0);
    }
    // The first one, and those that become due just after a check.
    assert!(soon <= 4, "{soon} of 8");
}

fn sync(hand: &mut Hand, peer: usize) -> OperationId {
    hand.wanted();
    let peer = Some(key(peer));
    hand.command(Command::Sync {
        peer,
        timeout: None,
    })
}

fn ended(hand: &Hand, op: OperationId) -> PeerSync {
    match hand.finished(op) {
        Some(Outcome::Sync(Ok(outcome))) => outcome.peers[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_peer_is_asked_first_which_kind_of_node_it_is() {
    for (kind, then) in [
        (Some(true), Some(Method::Reconcile)),
        (Some(false), None),
        (None, Some(Method::GetItems)),
    ] {
        let mut hand = full();
        let op = sync(&mut hand, 1);
        let (stream, asked) = requests(&mut hand, 1).remove(0);
        assert_eq!(asked.request, Request::Ping);
        let responder = Sender::of(&key(1));
        let response = Response::Ping { responder };
        hand.reply(
            stream,
            ResponseMessage {
                ext: ext(kind),
                response,
            },
        );
        let next = requests(&mut hand, 1).pop();
        let next = next.map(|(_, message)| message.request.method());
        assert_eq!(next, then, "{kind:?}");
        if then.is_none() {
            assert_eq!(ended(&hand, op).result, Err(SyncFailure::NotFullNode));
        }
    }
}

/// A full node that knows an upstream one, and has an item that this one lacks.
fn with_upstream() -> Hand {
    let mut hand = Hand::new(|config| {
        config.full_node = true;
        config.bootstrap = vec![BootstrapPeer {
            key: key(1),
            addrs: vec![addr(1)],
        }];
    });
    let (stream, _) = requests(&mut hand, 1).remove(0);
    hand.pong(stream, 1);
    hand.node.base.cx.timers.clear();
    hand.wanted();
    publish(&mut hand, 9, b"ours");
    hand
}

fn page(items: &[&Arc<Item>]) -> Response {
    Response::GetItems {
        items: items.iter().map(|item| (*item).into()).collect(),
        targets: items.iter().map(|item| item.target()).collect(),
        has_more: false,
    }
}

#[test]
fn a_pass_with_an_upstream_node_brings_what_either_lacks_and_says_what_it_cost() {
    let mut hand = with_upstream();
    let op = sync(&mut hand, 1);
    let (stream, asked) = requests(&mut hand, 1).remove(0);
    assert_eq!(asked.request.method(), Method::GetItems);
    let theirs = [item(7, "a", 5, "theirs"), item(8, "b", 6, "theirs")];
    let response = page(&[&theirs[0], &theirs[1]]);
    hand.reply(
        stream,
        ResponseMessage {
            ext: None,
            response,
        },
    );
    assert!(
        theirs
            .iter()
            .all(|item| hand.held(&item.target()).is_some())
    );
    let (stream, asked) = requests(&mut hand, 1).remove(0);
    let Request::PutBatch { items, .. } = asked.request else {
        panic!("{:?}", asked.request);
    };
    assert_eq!(items.len(), 1);
    let [(peer, progress)] = hand.node.snapshot().syncs[..] else {
        panic!("one is under way");
    };
    let expected = SyncProgress {
        rounds: 2,
        fetched: 2,
        given: 1,
        ..SyncProgress::default()
    };
    assert_eq!((peer, progress), (key(1), expected));
    let response = Response::PutBatch {
        stored: vec![true],
        errors: vec![],
    };
    hand.reply(
        stream,
        ResponseMessage {
            ext: None,
            response,
        },
    );
    let ended = ended(&hand, op);
    assert_eq!((ended.result, ended.progress), (Ok(()), expected));
    assert_eq!(hand.counter(Counter::SyncFetched), 2);
    assert_eq!(hand.counter(Counter::SyncsFailed), 0);
    assert_eq!(hand.used(Limit::sync_sessions), 0);
}

#[test]
fn what_a_session_brings_is_checked_32_at_a_time_and_more_follow_when_half_are() {
    let mut hand = with_upstream();
    sync(&mut hand, 1);
    let (stream, _) = requests(&mut hand, 1).remove(0);
    let theirs: Vec<_> = (100..160).map(|owner| item(owner, "s", 5, "v")).collect();
    let response = page(&theirs.iter().collect::<Vec<_>>());
    let message = ResponseMessage {
        ext: None,
        response,
    };
    hand.bytes(stream, &encode_response(&message).unwrap());
    let mut out = Vec::new();
    while hand.jobs_out() > 0 {
        out.push(hand.jobs_out());
        let is_job = |output: &Output| matches!(output, Output::Verify { .. });
        let at = hand.outputs.iter().position(is_job).unwrap();
        if let Output::Verify { job, work } = hand.outputs.remove(at) {
            let verdict = work.run();
            hand.input(Input::Verified { job, verdict });
        }
    }
    // Half of them are judged, so as many more follow.
    let expected: Vec<_> = (16..=32).rev().chain((16..=32).rev()).collect();
    assert_eq!(out[..34], expected);
    assert_eq!(out.len(), 60);
    assert!(
        theirs
            .iter()
            .all(|item| hand.held(&item.target()).is_some())
    );
}

#[test]
fn a_pass_with_an_upstream_node_ends_when_that_is_none_or_does_not_answer() {
    let limit = |hand: &mut Hand| {
        let (stream, asked) = requests(hand, 1).remove(0);
        match asked.request {
            Request::GetItems { limit, .. } => (stream, limit),
            other => panic!("{other:?}"),
        }
    };
    // The peer has switched from upstream's implementation to this one.
    let mut hand = with_upstream();
    let op = sync(&mut hand, 1);
    let (stream, _) = limit(&mut hand);
    let response = page(&[]);
    hand.reply(
        stream,
        ResponseMessage {
            ext: ext(Some(true)),
            response,
        },
    );
    assert_eq!(ended(&hand, op).result, Err(SyncFailure::NotFullNode));
    // It never answers.
    let mut hand = with_upstream();
    let op = sync(&mut hand, 1);
    for expected in [256, 128, 64, 32, 16, 8, 4, 2, 1] {
        let (stream, limit) = limit(&mut hand);
        assert_eq!(limit, expected);
        let end = StreamEnd::Reset;
        hand.input(Input::StreamClosed { stream, end });
        assert_eq!(hand.finished(op).is_some(), expected == 1);
    }
    assert_eq!(ended(&hand, op).result, Err(SyncFailure::Broken));
    assert_eq!(hand.counter(Counter::SyncsFailed), 1);
    // It cannot be reached.
    let mut hand = with_upstream();
    let op = sync(&mut hand, 1);
    let (stream, ..) = hand.wanted().remove(0);
    let reason = OpenFailure::Unreachable;
    hand.input(Input::StreamFailed { stream, reason });
    assert_eq!(ended(&hand, op).result, Err(SyncFailure::Unreached));
}

/// The result of a session whose peer has no items, either as its answer says or with a junk
/// answer.
fn answered_with(full_node: bool, junk: bool) -> Result<(), SyncFailure> {
    let mut hand = full();
    meet(&mut hand, 1);
    let op = sync(&mut hand, 1);
    let (stream, asked) = requests(&mut hand, 1).remove(0);
    let Request::Reconcile { message } = asked.request else {
        panic!("{:?}", asked.request);
    };
    let asked = SyncRequest::decode(&message).unwrap();
    let message = match junk {
        true => vec![0xff; 9],
        false => respond(&ItemSet::default(), asked).response.encode(),
    };
    let response = Response::Reconcile { message };
    hand.reply(
        stream,
        ResponseMessage {
            ext: ext(Some(full_node)),
            response,
        },
    );
    ended(&hand, op).result
}

#[test]
fn a_session_ends_according_to_its_peers_answer() {
    assert_eq!(answered_with(true, false), Ok(()));
    assert_eq!(answered_with(false, false), Err(SyncFailure::NotFullNode));
    assert_eq!(answered_with(true, true), Err(SyncFailure::Broken));
}

#[test]
fn a_peer_that_breaks_the_rules_is_left_alone_for_twice_as_long_each_time() {
    let mut hand = full();
    meet(&mut hand, 1);
    for minutes in [1, 2, 4, 8] {
        let op = sync(&mut hand, 1);
        let (stream, _) = requests(&mut hand, 1).remove(0);
        let response = Response::Reconcile {
            message: vec![0xff; 9],
        };
        hand.reply(
            stream,
            ResponseMessage {
                ext: ext(Some(true)),
                response,
            },
        );
        assert!(hand.finished(op).is_some());
        let begun = hand.counter(Counter::SyncsStarted);
        hand.pass(Duration::from_secs(minutes * 60) * 3 / 4 - SECOND);
        assert_eq!(hand.counter(Counter::SyncsStarted), begun, "{minutes}");
        hand.pass(Duration::from_secs(minutes * 60) / 2 + 2 * SECOND);
        assert!(hand.counter(Counter::SyncsStarted) > begun, "{minutes}");
        for (stream, ..) in hand.wanted().into_iter().filter(|want| want.1 == key(1)) {
            let reason = OpenFailure::Overloaded;
            hand.input(Input::StreamFailed { stream, reason });
        }
    }
}

#[test]
fn an_advert_is_published_again_within_minutes_and_deleted_by_a_node_that_is_full_no_more() {
    let mut hand = full();
    let target = crate::id::Target::of(&key(0), b"fullnode");
    hand.pass(15 * SECOND);
    let first = hand.held(&target).expect("an advert").seq;
    hand.pass(7 * 60 * SECOND);
    let second = hand.held(&target).expect("an advert");
    assert!(second.seq > first && !second.is_tombstone());
    hand.input(Input::SetFullNode { full_node: false });
    assert!(hand.held(&target).is_none_or(|held| held.is_tombstone()));
}
