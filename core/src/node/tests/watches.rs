//! Watches: the next version of an item from a distant node, immediately; and the bounds of a
//! server.

use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key, ours, put};
use super::net::{Net, secret};
use crate::id::Target;
use crate::item::{Salt, Seq};
use crate::key::PublicKey;
use crate::node::timers::Timer;
use crate::node::*;
use crate::wire::{LongPoll, Request, RequestExt, Response, ResponseExt, ResponseMessage, Want};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn watch(owner: usize, after: Option<Seq>, timeout: Duration) -> Command {
    let salt = Salt::from("news");
    let mut request = GetRequest::of(secret(owner).public(), salt, ReadPolicy::Freshest);
    request.timeout = Some(timeout);
    Command::Watch { request, after }
}

fn seen(outcome: Outcome) -> GetOutcome {
    match outcome {
        Outcome::Watch(Ok(seen)) => seen,
        other => panic!("{other:?}"),
    }
}

/// A network in which node 1 does not store what node 2 publishes.
fn far(full: bool) -> (Net, usize) {
    let net = Net::settled(40, |n, config| {
        config.k = 6;
        config.full_node = full && n == 3;
    });
    let target = Target::of(&secret(2).public(), b"news");
    let mut by_distance: Vec<usize> = (0..40).collect();
    by_distance.sort_by_key(|n| target.distance(&secret(*n).public().id()));
    (net, by_distance[39])
}

#[test]
fn each_newer_version_is_reported_once_and_soon_to_a_node_that_does_not_store_it() {
    for full in [false, true] {
        let (mut net, watcher) = far(full);
        net.put(2, "news", b"0").unwrap();
        assert!(!net.holders(2, "news").contains(&watcher));
        let mut after = None;
        for n in 0..4_u8 {
            let op = net.start(watcher, watch(2, after, 10 * MINUTE));
            net.run_for(Duration::from_secs(47));
            if n > 0 {
                assert!(!net.finished.contains_key(&op), "nothing is new");
                let value = [b'0' + n];
                net.put(2, "news", if n == 3 { b"" } else { &value })
                    .unwrap();
                net.run_for(SECOND);
            }
            let seen = seen(
                net.finished
                    .remove(&op)
                    .expect("the watch answers within a second"),
            );
            assert!(Some(seen.item.seq) > after);
            assert_eq!(seen.item.reads_as_deleted(), n == 3);
            assert!(n == 3 || seen.item.value.as_bytes() == [b'0' + n]);
            after = Some(seen.item.seq);
        }
    }
}

#[test]
fn a_watch_that_waits_costs_little_and_spoils_no_estimate() {
    let (mut net, watcher) = far(false);
    net.put(2, "news", b"0").unwrap();
    let first = seen(net.command(watcher, watch(2, None, MINUTE)));
    let before = net.counter(watcher, Counter::CallsStarted);
    let op = net.start(watcher, watch(2, Some(first.item.seq), 20 * MINUTE));
    net.run_for(10 * MINUTE);
    let calls = net.counter(watcher, Counter::CallsStarted) - before;
    // Two polls every five seconds, and one read per minute.
    assert!((200..480).contains(&calls), "{calls} calls in ten minutes");
    let slow = net.nodes[watcher].peers_at(net.now);
    let slow = slow.iter().filter(|peer| peer.rtt > Some(SECOND));
    assert_eq!(
        slow.count(),
        0,
        "the time that a server waits is no round trip"
    );
    net.input(watcher, Input::Cancel { op });
    net.run_for(SECOND);
    assert!(matches!(
        net.finished.get(&op),
        Some(Outcome::Watch(Err(GetError::Operation(
            OperationError::Cancelled
        ))))
    ));
    net.run_for(10 * SECOND);
    let polls = (0..40).map(|node| net.nodes[node].inbound.watches());
    assert_eq!(polls.sum::<usize>(), 0);
}

#[test]
fn a_watch_sees_what_its_own_node_stores_and_ends_at_its_deadline() {
    let mut net = Net::settled(8, |n, config| config.full_node = n == 3);
    let op = net.start(3, watch(2, None, 20 * SECOND));
    net.run_for(3 * SECOND);
    assert!(!net.finished.contains_key(&op), "there is no such item");
    net.put(2, "news", b"0").unwrap();
    net.run_for(SECOND);
    let first = seen(net.finished.remove(&op).unwrap());
    let began = net.now;
    let late = net.command(3, watch(2, Some(first.item.seq), 20 * SECOND));
    assert!(matches!(
        late,
        Outcome::Watch(Err(GetError::Operation(OperationError::Timeout)))
    ));
    assert_eq!(net.now.since(began), 20 * SECOND);
    let mut wrong = GetRequest::of(key(1), Salt::from("a"), ReadPolicy::Freshest);
    wrong.target = Target::of(&key(1), b"b");
    let wrong = Command::Watch {
        request: wrong,
        after: None,
    };
    let wrong = net.command(3, wrong);
    assert!(matches!(wrong, Outcome::Watch(Err(GetError::WrongTarget))));
}

#[test]
fn holders_that_die_are_replaced_and_a_node_without_peers_waits_for_some() {
    let (mut net, watcher) = far(false);
    net.put(2, "news", b"0").unwrap();
    let first = seen(net.command(watcher, watch(2, None, MINUTE)));
    let op = net.start(watcher, watch(2, Some(first.item.seq), 60 * MINUTE));
    net.run_for(2 * SECOND);
    for holder in net.holders(2, "news") {
        net.kill(holder);
    }
    net.run_for(3 * MINUTE);
    net.put(2, "news", b"1").unwrap();
    net.run_for(2 * SECOND);
    assert_eq!(
        seen(net.finished.remove(&op).unwrap())
            .item
            .value
            .as_bytes(),
        b"1"
    );
}

/// The extension of a poll, by a caller that is not pinged back.
fn poll(after: Option<Seq>, seconds: u64) -> Option<RequestExt> {
    let time = Duration::from_secs(seconds);
    Some(RequestExt {
        poll: Some(LongPoll { time, after }),
        serves: false,
        ..ours().unwrap()
    })
}

fn asks(target: Target) -> Request {
    Request::GetValue { target }
}

/// The sequence in an answer.
fn answered(hand: &mut Hand, stream: StreamId) -> Option<Option<Seq>> {
    hand.run_requests();
    let answer = hand.answer_on(stream)?;
    let Response::GetValue { item, .. } = answer.response else {
        panic!("{answer:?}");
    };
    Some(item.and_then(|item| item.item().map(|item| item.seq)))
}

#[test]
fn a_server_answers_a_poll_when_something_newer_comes_or_its_time_is_over() {
    let mut hand = Hand::new(|_| {});
    let (old, new) = (item(1, "a", 5, "old"), item(1, "a", 6, "new"));
    let target = old.target();
    let nothing = hand.accept(2);
    hand.request(nothing, 2, poll(None, 25), asks(target));
    let far_off = hand.accept(3);
    hand.request(far_off, 3, poll(None, 4_000), asks(target));
    assert_eq!(answered(&mut hand, nothing), None);
    hand.ask(1, ours(), put(&old));
    assert_eq!(answered(&mut hand, nothing), Some(Some(Seq(5))));
    assert_eq!(answered(&mut hand, far_off), Some(Some(Seq(5))));
    for (after, due) in [
        (None, true),
        (Some(4), true),
        (Some(5), false),
        (Some(9), false),
    ] {
        let stream = hand.accept(2);
        hand.request(stream, 2, poll(after.map(Seq), 4_000), asks(target));
        assert_eq!(answered(&mut hand, stream).is_some(), due, "{after:?}");
        hand.input(Input::StreamClosed {
            stream,
            end: StreamEnd::Reset,
        });
    }
    let waits = hand.accept(2);
    hand.request(waits, 2, poll(Some(Seq(5)), 25), asks(target));
    let elsewhere = item(1, "b", 7, "elsewhere");
    hand.ask(1, ours(), put(&elsewhere));
    assert_eq!(answered(&mut hand, waits), None);
    hand.pass(Duration::from_secs(24));
    assert_eq!(answered(&mut hand, waits), None);
    hand.pass(Duration::from_secs(2));
    assert_eq!(
        answered(&mut hand, waits),
        Some(Some(Seq(5))),
        "its time is over"
    );
    // The stream is kept, and the next poll on it waits again, at most 30 seconds.
    hand.request(waits, 2, poll(Some(Seq(5)), 4_000), asks(target));
    assert_eq!(answered(&mut hand, waits), None);
    hand.ask(1, ours(), put(&new));
    assert_eq!(answered(&mut hand, waits), Some(Some(Seq(6))));
    hand.request(waits, 2, poll(Some(Seq(6)), 4_000), asks(target));
    hand.pass(Duration::from_secs(31));
    assert_eq!(answered(&mut hand, waits), Some(Some(Seq(6))));
    assert_eq!(hand.node.inbound.watches(), 0);
}

#[test]
fn polls_above_the_limit_are_answered_immediately_and_ended_ones_free_their_slot() {
    let mut hand = Hand::new(|config| config.limits.watches = 3);
    let target = item(1, "a", 5, "old").target();
    let streams: Vec<StreamId> = (0..5)
        .map(|peer| {
            let stream = hand.accept(10 + peer);
            hand.request(stream, 10 + peer, poll(None, 20), asks(target));
            stream
        })
        .collect();
    let waiting = streams
        .iter()
        .filter(|it| answered(&mut hand, **it).is_none());
    assert_eq!(waiting.count(), 3);
    assert_eq!(hand.hits(Limit::watches), 2);
    assert_eq!(hand.node.inbound.watches(), 3);
    // A peer closes its stream, and another is answered.
    hand.input(Input::StreamClosed {
        stream: streams[0],
        end: StreamEnd::Finished,
    });
    assert_eq!(hand.node.inbound.watches(), 2);
    hand.pass(Duration::from_secs(21));
    hand.run_requests();
    assert_eq!(hand.node.inbound.watches(), 0);
}

#[test]
fn polls_make_room_for_streams_of_others() {
    let mut hand = Hand::new(|config| config.limits.streams = 16);
    let target = item(1, "a", 5, "old").target();
    let polls: Vec<StreamId> = (0..12)
        .map(|peer| {
            let stream = hand.accept(10 + peer);
            hand.request(stream, 10 + peer, poll(None, 30), asks(target));
            stream
        })
        .collect();
    let newcomer = hand.accept(40);
    assert_eq!(hand.closed(newcomer), None);
    let closed = polls.iter().filter(|it| hand.closed(**it).is_some());
    assert_eq!(closed.count(), 1);
    assert_eq!(hand.node.inbound.watches(), 11);
}

/// Answers pending reads with nothing, with peer 24 as a full node, and leaves the polls. Returns
/// the number of reads, and the polls.
fn asked(hand: &mut Hand) -> (usize, Vec<(StreamId, PublicKey, RequestExt)>) {
    let (mut reads, mut polls) = (0, Vec::new());
    while let Some((stream, peer, ..)) = hand.wanted_first() {
        let asked = hand.open(stream, Reach::Relayed);
        let Request::GetValue { .. } = asked.request else {
            continue;
        };
        let ext = asked.ext.unwrap();
        if ext.poll.is_some() {
            polls.push((stream, peer, ext));
            continue;
        }
        reads += 1;
        let (item, closest) = (None, Default::default());
        let response = Response::GetValue { item, closest };
        let ext = Some(ResponseExt {
            full_node: peer == key(24),
            ..ResponseExt::default()
        });
        hand.reply(stream, ResponseMessage { ext, response });
    }
    (reads, polls)
}

fn reads(hand: &mut Hand) -> usize {
    asked(hand).0
}

fn with_holders(holders: core::ops::RangeInclusive<usize>) -> Hand {
    let mut hand = Hand::new(|_| {});
    for peer in holders {
        hand.introduce(peer, Reach::Relayed, true);
    }
    reads(&mut hand);
    hand.node.base.cx.timers.clear();
    hand
}

#[test]
fn full_nodes_are_polled_first_and_for_the_item_alone() {
    let mut hand = with_holders(20..=24);
    hand.command(watch(1, None, 10 * MINUTE));
    let (_, polls) = asked(&mut hand);
    assert_eq!(polls.len(), 2);
    assert_eq!(polls[0].1, key(24));
    assert!(polls.iter().all(|(.., ext)| ext.want == Want::Item));
}

#[test]
fn what_came_while_others_were_asked_is_read_a_second_later_if_it_is_newer() {
    for (after, answered) in [
        (None, true),
        (Some(4), true),
        (Some(5), false),
        (Some(6), false),
    ] {
        let mut hand = with_holders(20..=20);
        let op = hand.command(watch(1, after.map(Seq), 10 * MINUTE));
        let it = item(1, "news", 5, "v");
        hand.ask(1, Some(RequestExt::default()), put(&it));
        assert_eq!(reads(&mut hand), 1, "{after:?}");
        hand.pass(SECOND);
        reads(&mut hand);
        assert_eq!(hand.finished(op).is_some(), answered, "{after:?}");
        if !answered {
            hand.pass(10 * SECOND);
            assert_eq!(reads(&mut hand), 0, "{after:?}");
        }
    }
}

#[test]
fn a_poll_that_fails_is_followed_by_a_read_after_a_pause() {
    let mut hand = with_holders(20..=20);
    hand.command(watch(1, None, 10 * MINUTE));
    let (_, polls) = asked(&mut hand);
    let (stream, end) = (polls[0].0, StreamEnd::Reset);
    // Once more over another stream.
    hand.input(Input::StreamClosed { stream, end });
    let (_, again) = asked(&mut hand);
    for (stream, ..) in again {
        hand.input(Input::StreamClosed { stream, end });
    }
    hand.pass(4 * SECOND);
    assert_eq!(reads(&mut hand), 0);
    hand.pass(2 * SECOND);
    assert_eq!(reads(&mut hand), 1);
}

#[test]
fn a_change_wakes_the_watches_of_its_target_and_no_others() {
    let mut hand = with_holders(20..=20);
    let start = |hand: &mut Hand, owner| {
        let op = hand.command(watch(owner, None, 10 * MINUTE));
        assert_eq!(reads(hand), 1);
        op
    };
    let [first, second] = [1, 1].map(|owner| start(&mut hand, owner));
    let other = start(&mut hand, 2);
    hand.input(Input::Cancel { op: first });
    let it = item(1, "news", 5, "v");
    hand.ask(1, Some(RequestExt::default()), put(&it));
    // The store is read first, so the remaining watch ends without asking peers.
    hand.pass(Duration::from_secs(2));
    reads(&mut hand);
    let answered = |op| matches!(hand.finished(op), Some(Outcome::Watch(Ok(_))));
    assert_eq!([first, second, other].map(answered), [false, true, false]);
}

#[test]
fn a_target_must_be_its_owners_in_a_read_and_in_a_watch() {
    let mut request = GetRequest::of(key(1), Salt::from("a"), ReadPolicy::Freshest);
    request.target = item(1, "b", 1, "v").target();
    let (get, after) = (Command::Get(request.clone()), None);
    let watch = Command::Watch { request, after };
    let mut hand = Hand::new(|_| {});
    let op = hand.command(get);
    let refused = Some(&Outcome::Get(Err(GetError::WrongTarget)));
    assert_eq!(hand.finished(op), refused);
    let op = hand.command(watch);
    let refused = Some(&Outcome::Watch(Err(GetError::WrongTarget)));
    assert_eq!(hand.finished(op), refused);
}

#[test]
fn a_watch_that_ends_cancels_its_polls() {
    let mut hand = with_holders(20..=20);
    let op = hand.command(watch(1, None, 10 * MINUTE));
    let (_, polls) = asked(&mut hand);
    hand.input(Input::Cancel { op });
    assert_eq!(hand.closed(polls[0].0), Some(CloseReason::Cancelled));
    assert_eq!(hand.used(Limit::calls), 0);
    assert_eq!(hand.node.base.cx.timers.due_at(Timer::Watch(op)), None);
}
