//! Measurements by kind, at a node that is driven by hand.

use super::hand::{Hand, item, key, put};
use super::net::addr;
use crate::node::*;
use crate::store::Refusal;
use crate::wire::{Method, Request};
use core::time::Duration;

#[test]
fn a_request_is_counted_once_under_its_method_and_what_became_of_it() {
    let mut hand = Hand::new(|_| {});
    hand.ask(1, None, Request::Ping);
    let snapshot = hand.node.snapshot();
    let measured = &snapshot.measured;
    let served = |method, outcome| *measured.served.of((method, outcome));
    assert_eq!(served(Method::Ping, ServedOutcome::Answered), 1);
    assert_eq!(measured.served_time.of(Method::Ping).count(), 1);
    let all: u64 = Method::ALL
        .iter()
        .flat_map(|m| ServedOutcome::ALL.iter().map(move |o| (*m, *o)))
        .map(|key| *measured.served.of(key))
        .sum();
    assert_eq!(all, snapshot.counters.get(Counter::RequestsServed));
    for direction in [Direction::Received, Direction::Sent] {
        assert!(*measured.message_bytes.of((direction, Method::Ping)) > 5);
    }
    assert_eq!(snapshot.requests_in_flight, 0);
}

#[test]
fn a_request_whose_peer_leaves_is_in_flight_until_then() {
    let mut hand = Hand::new(|_| {});
    let stream = hand.accept(1);
    // The verification of its item is pending.
    hand.request(stream, 1, None, put(&item(1, "x", 5, "v")));
    assert_eq!(hand.node.snapshot().requests_in_flight, 1);
    hand.input(Input::StreamClosed {
        stream,
        end: StreamEnd::Reset,
    });
    let snapshot = hand.node.snapshot();
    assert_eq!(snapshot.requests_in_flight, 0);
    let left = (Method::PutValue, ServedOutcome::PeerLeft);
    assert_eq!(*snapshot.measured.served.of(left), 1);
    hand.run_jobs();
    let measured = hand.node.snapshot().measured;
    assert_eq!(*measured.verified.of(VerifyOutcome::Valid), 1);
    assert_eq!(measured.verify_time.count(), 1);
}

#[test]
fn a_call_and_its_operation_end_under_the_same_name() {
    let mut hand = Hand::new(|_| {});
    for (answers, outcome, call) in [
        (true, OperationOutcome::Ok, CallOutcome::Answered),
        (false, OperationOutcome::NoAnswer, CallOutcome::Unreachable),
    ] {
        let (peer, addr) = (key(3), Some(addr(3)));
        hand.command(Command::Ping { peer, addr });
        assert_eq!(hand.node.snapshot().calls_in_flight, 1);
        let (stream, ..) = hand.wanted()[0];
        if answers {
            hand.pass(Duration::from_millis(30));
            hand.open(stream, Reach::Dialled);
            hand.pong(stream, 3);
        } else {
            hand.input(Input::StreamFailed {
                stream,
                reason: OpenFailure::Unreachable,
            });
        }
        let measured = hand.node.snapshot().measured;
        let operations = &measured.operations;
        assert_eq!(*operations.of((OperationKind::Ping, outcome)), 1);
        assert_eq!(*measured.calls.of((Method::Ping, call)), 1);
        // Only answered calls have a time.
        assert_eq!(measured.call_time.of(Method::Ping).count(), 1);
        assert!(measured.call_time.of(Method::Ping).sum() >= 30_000_000);
    }
}

#[test]
fn refusals_are_counted_by_side_and_reason() {
    let mut hand = Hand::new(|_| {});
    hand.ask(1, None, put(&item(1, "x", 5, "v")));
    hand.ask(2, None, put(&item(1, "x", 4, "v")));
    let measured = hand.node.snapshot().measured;
    let refused = |side, reason| *measured.refusals.of((side, reason));
    assert_eq!(refused(Side::Inbound, Refusal::Older), 1);
    assert_eq!(refused(Side::Outbound, Refusal::Older), 0);
    let all = Refusal::ALL.iter().map(|it| refused(Side::Inbound, *it));
    assert_eq!(all.sum::<u64>(), hand.counter(Counter::ItemsRefused));
}

#[test]
fn tasks_say_when_they_ran_and_when_they_run_again() {
    let bootstrap = BootstrapPeer {
        key: key(3),
        addrs: alloc::vec![addr(3)],
    };
    let mut hand = Hand::new(|config| config.bootstrap = alloc::vec![bootstrap.clone()]);
    let task = |hand: &Hand, task: Task| {
        let tasks = hand.node.snapshot().tasks;
        tasks.into_iter().find(|it| it.task == task).unwrap()
    };
    hand.pass(Duration::from_secs(1));
    let begun = task(&hand, Task::Bootstrap);
    assert_eq!((begun.runs, begun.last_ok), (1, None));
    let (stream, ..) = hand.wanted()[0];
    hand.open(stream, Reach::Dialled);
    hand.pong(stream, 3);
    let done = task(&hand, Task::Bootstrap);
    assert_eq!(done.last_ok, Some(Duration::ZERO));
    // The neighbourhood is looked up now, and the bootstrap peer pinged again later.
    assert!(done.next.is_some_and(|next| next > Duration::from_secs(60)));
    assert_eq!(task(&hand, Task::SelfLookup).runs, 1);
    assert_eq!(task(&hand, Task::Renewal).next, None);
    assert!(task(&hand, Task::Refresh).next.is_some());
}
