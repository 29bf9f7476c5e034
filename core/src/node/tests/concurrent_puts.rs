//! Several puts of one item at the same time: at one node they run one after another, each sees the
//! previous one, and one without options takes the next sequence until it succeeds.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key};
use super::net::Net;
use crate::item::{Salt, Seq, Value};
use crate::node::*;
use crate::wire::{Request, Response, ResponseExt, ResponseMessage};

fn put_with(value: u8, options: PutOptions) -> Command {
    Command::Put {
        salt: Salt::from("x"),
        value: Value::new(&[b'0' + value]),
        options,
    }
}

fn expecting(seq: u64) -> PutOptions {
    PutOptions {
        expect: Some(Seq(seq).into()),
        ..PutOptions::default()
    }
}

/// Starts ten puts at the same instant and waits for all of them.
fn ten(net: &mut Net, options: &PutOptions) -> Vec<Result<PutOutcome, PutError>> {
    let started: Vec<_> = (0..10)
        .map(|n| net.start(0, put_with(n, options.clone())))
        .collect();
    let wait = |op| match net.wait(op) {
        Outcome::Put(result) => result,
        other => panic!("{other:?}"),
    };
    started.into_iter().map(wait).collect()
}

#[test]
fn of_ten_comparing_puts_at_one_node_one_succeeds_and_the_others_see_it() {
    for nothing_there in [true, false] {
        let mut net = Net::settled(6, |_, _| {});
        let held = match nothing_there {
            true => 0,
            false => net.put(0, "x", b"before").unwrap().seq.0,
        };
        let ended = ten(&mut net, &expecting(held));
        let first = ended[0].as_ref().expect("the first finds what it expects");
        for other in &ended[1..] {
            let conflict = PutError::Conflict {
                held: Some(first.seq),
            };
            assert_eq!(other, &Err(conflict));
        }
        let read = net.get(3, 0, "x", ReadPolicy::Freshest).unwrap();
        assert_eq!(read.item.value.as_bytes(), b"0");
        // A put that expects this version succeeds.
        let next = net.put_with(0, "x", b"next", expecting(first.seq.0));
        assert!(next.is_ok(), "{next:?}");
    }
}

#[test]
fn a_comparison_is_made_locally_also_when_no_peer_is_asked_or_has_the_newest() {
    let mut net = Net::settled(6, |_, _| {});
    let local = |expect| PutOptions {
        expect: Some(Seq(expect).into()),
        local_only: true,
        ..PutOptions::default()
    };
    let wrong = net.put_with(0, "x", b"v", local(5));
    assert_eq!(wrong, Err(PutError::Conflict { held: None }));
    let first = net.put_with(0, "x", b"v", local(0)).unwrap().seq;
    for expect in [0, 5] {
        let held = Some(first);
        let wrong = net.put_with(0, "x", b"w", local(expect));
        assert_eq!(wrong, Err(PutError::Conflict { held }));
    }
    assert!(net.put_with(0, "x", b"w", local(first.0)).is_ok());
    // The others have an older version, which would win by majority.
    let old = net.put(0, "y", b"old").unwrap().seq;
    let only_here = PutOptions {
        local_only: true,
        ..PutOptions::default()
    };
    let held = net.put_with(0, "y", b"new", only_here).unwrap().seq;
    let wrong = net.put_with(0, "y", b"newer", expecting(old.0));
    assert_eq!(wrong, Err(PutError::Conflict { held: Some(held) }));
}

#[test]
fn ten_plain_puts_at_one_node_all_succeed_in_order() {
    let mut net = Net::settled(6, |_, _| {});
    let ended = ten(&mut net, &PutOptions::default());
    let seqs: Vec<Seq> = ended.iter().map(|it| it.as_ref().unwrap().seq).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    let read = net.get(3, 0, "x", ReadPolicy::Freshest).unwrap();
    assert_eq!(read.item.value.as_bytes(), b"9");
}

#[test]
fn a_put_that_waits_for_its_turn_can_be_cancelled_times_out_and_ends_at_shutdown() {
    let mut net = Net::settled(4, |_, _| {});
    // The first requires all three peers, one of which is silent.
    net.mute.insert(3);
    let all = PutOptions {
        min_replicas: 3,
        ..PutOptions::default()
    };
    let first = net.start(0, put_with(0, all.clone()));
    let hasty = PutOptions {
        timeout: Some(Duration::from_secs(1)),
        ..PutOptions::default()
    };
    let late = net.start(0, put_with(1, hasty));
    let cancelled = net.start(0, put_with(2, PutOptions::default()));
    let next = net.start(0, put_with(3, PutOptions::default()));
    let last = net.start(0, put_with(4, PutOptions::default()));
    net.input(0, Input::Cancel { op: cancelled });
    let failed = |error: OperationError| Outcome::Put(Err(error.into()));
    assert_eq!(net.wait(cancelled), failed(OperationError::Cancelled));
    assert_eq!(net.wait(late), failed(OperationError::Timeout));
    assert!(!net.finished.contains_key(&first));
    net.input(0, Input::Cancel { op: first });
    let Outcome::Put(Ok(_)) = net.wait(next) else {
        panic!("{:?}", net.finished[&next]);
    };
    net.wait(last);
    let last = net.start(0, put_with(4, all));
    let behind = net.start(0, put_with(5, PutOptions::default()));
    net.start(0, Command::Shutdown);
    for op in [last, behind] {
        assert!(net.finished.contains_key(&op), "{op}");
    }
    assert!(net.nodes[0].operations.is_idle());
}

/// A put at a node whose only peer has a newer version at each of `others` requests, because
/// another node publishes with the same key. Returns the outcome and the last sequence used.
fn against(others: usize, options: PutOptions) -> (Outcome, Seq) {
    let mut hand = Hand::new(|_| {});
    hand.introduce(1, Reach::Relayed, true);
    let op = hand.command(put_with(0, options));
    let (mut highest, mut overtaken, mut used) = (Seq(0), 0, Seq(0));
    loop {
        if let Some(outcome) = hand.finished(op) {
            return (outcome.clone(), used);
        }
        let mut streams: BTreeSet<StreamId> = BTreeSet::new();
        for (stream, ..) in hand.wanted() {
            let path = Path {
                reach: Reach::Relayed,
                remote: None,
            };
            hand.input(Input::StreamOpened { stream, path });
            streams.insert(stream);
        }
        for stream in streams {
            let request = hand.request_on(stream).unwrap().request;
            let mut ext = ResponseExt::default();
            let response = match request {
                Request::PutValue { item, .. } => {
                    used = item.item().unwrap().seq;
                    let stored = overtaken >= others;
                    if !stored {
                        overtaken += 1;
                        highest = Seq(used.0 + 10);
                        ext.held = Some(highest);
                    }
                    let error = match stored {
                        true => "",
                        false => "dht: sequence number must increase",
                    };
                    Response::PutValue {
                        stored,
                        error: error.into(),
                    }
                }
                Request::GetValue { .. } => Response::GetValue {
                    item: (highest > Seq(0)).then(|| (&item(0, "x", highest.0, "theirs")).into()),
                    closest: Default::default(),
                },
                Request::FindNode { .. } => Response::FindNode {
                    closest: Default::default(),
                },
                _ => Response::Ping {
                    responder: crate::wire::Sender::of(&key(1)),
                },
            };
            let ext = Some(ext);
            hand.reply(stream, ResponseMessage { ext, response });
        }
        hand.pass(Duration::from_millis(10));
    }
}

#[test]
fn a_plain_put_takes_the_next_sequence_again_when_another_node_was_first() {
    for others in 0..=4 {
        let (outcome, used) = against(others, PutOptions::default());
        let Outcome::Put(Ok(put)) = outcome else {
            panic!("{others}: {outcome:?}");
        };
        assert_eq!(put.seq, used);
    }
    let (outcome, used) = against(usize::MAX, PutOptions::default());
    let have = Some(Seq(used.0 + 10));
    assert_eq!(outcome, Outcome::Put(Err(PutError::Overtaken { have })));
}

#[test]
fn a_given_sequence_is_never_replaced_and_a_comparison_ends_in_a_conflict() {
    let seq = Seq(1_790_000_000_000_000_000);
    let options = PutOptions {
        seq: Some(seq),
        ..PutOptions::default()
    };
    let (outcome, used) = against(1, options);
    let have = Seq(seq.0 + 10);
    let older = PutError::Sequence { have, got: seq };
    assert_eq!((outcome, used), (Outcome::Put(Err(older)), seq));
    let (outcome, used) = against(1, expecting(0));
    let held = Some(Seq(used.0 + 10));
    assert_eq!(outcome, Outcome::Put(Err(PutError::Conflict { held })));
}
