//! The answers of holders to a put, and the result for its caller.

use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hand::{Hand, item, key};
use crate::item::{Item, Salt, Seq, Value};
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::ids::PutMode;
use crate::node::items::placed::Placed;
use crate::node::query::action::{Action, Outbox};
use crate::node::query::put::Put;
use crate::node::*;
use crate::store::Refusal;
use crate::time::Mono;
use crate::wire::{Request, RequestExt, Response, ResponseExt, ResponseMessage};

const NO_QUOTA: &str = "dht: rate limit exceeded for public key";
const OLDER: &str = "dht: sequence number must increase";

fn three_peers() -> Hand {
    let mut hand = Hand::new(|_| {});
    for peer in 1..=3 {
        hand.introduce(peer, Reach::Relayed, true);
    }
    hand.wanted();
    hand
}

fn start(hand: &mut Hand, options: PutOptions) -> OperationId {
    let (salt, value) = (Salt::from("x"), Value::new(b"new"));
    hand.command(Command::Put {
        salt,
        value,
        options,
    })
}

/// Answers the requests to the three peers: a read with the item of each, a put with its refusal,
/// if it has one. Returns how often the new item was put.
fn answer(hand: &mut Hand, held: [Option<&Arc<Item>>; 3], refusals: [&str; 3]) -> usize {
    let mut puts = 0;
    for _ in 0..10 {
        for (stream, peer, ..) in hand.wanted() {
            let peer = (1..=3).position(|n| key(n) == peer).unwrap();
            let response = match hand.open(stream, Reach::Relayed).request {
                Request::GetValue { .. } => {
                    let item = held[peer].map(Into::into);
                    let closest = Default::default();
                    Response::GetValue { item, closest }
                }
                Request::PutValue { item, .. } => {
                    // The item that was read is repaired; that is not the put.
                    let item = item.into_item().unwrap();
                    puts += usize::from(item.value.as_bytes() == b"new");
                    let error = refusals[peer].into();
                    let stored = refusals[peer].is_empty();
                    Response::PutValue { stored, error }
                }
                other => panic!("{other:?}"),
            };
            let ext = Some(ResponseExt::default());
            hand.reply(stream, ResponseMessage { ext, response });
        }
    }
    puts
}

fn outcome(hand: &Hand, op: OperationId) -> &PutError {
    match hand.finished(op) {
        Some(Outcome::Put(Err(error))) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_compares_with_the_majority_and_with_the_highest_of_its_holders() {
    let [five, six] = [5, 6].map(|seq| item(0, "x", seq, "old"));
    let cases = [
        ([Some(&five), Some(&five), Some(&six)], Some(Seq(6))),
        ([Some(&five), None, None], Some(Seq(5))),
    ];
    let options = PutOptions {
        expect: Some(Expected::Version(Seq(5))),
        ..PutOptions::default()
    };
    for (holders, held) in cases {
        let mut hand = three_peers();
        let op = start(&mut hand, options.clone());
        assert_eq!(
            answer(&mut hand, holders, [OLDER; 3]),
            0,
            "no peer gets the item"
        );
        assert_eq!(*outcome(&hand, op), PutError::Conflict { held });
    }
    let mut hand = three_peers();
    start(&mut hand, options);
    assert_eq!(
        answer(&mut hand, [Some(&five), Some(&five), None], [OLDER; 3]),
        3
    );
}

/// The conflict, if any, of a put at peers that have the item with a sequence, have none, or do not
/// answer.
fn compares(held: &[Option<u64>], silent: usize, expect: u64, local: Option<u64>) -> Option<Seq> {
    let mut hand = Hand::new(|_| {});
    for peer in 1..=held.len() + silent {
        hand.introduce(peer, Reach::Relayed, true);
    }
    hand.wanted();
    if let Some(seq) = local {
        let it = item(0, "x", seq, "old");
        hand.ask(9, None, super::hand::put(&it));
    }
    let options = PutOptions {
        expect: Some(Seq(expect).into()),
        local_only: local.is_some(),
        ..PutOptions::default()
    };
    let op = start(&mut hand, options);
    for _ in 0..50 {
        let Some((stream, peer, ..)) = hand.wanted_first() else {
            break;
        };
        let place = (1..=held.len()).position(|n| key(n) == peer);
        let Some(held) = place.map(|place| held[place]) else {
            let reason = OpenFailure::Unreachable;
            hand.input(Input::StreamFailed { stream, reason });
            continue;
        };
        let response = match hand.open(stream, Reach::Relayed).request {
            Request::GetValue { .. } => {
                let item = held.map(|seq| (&item(0, "x", seq, "old")).into());
                let closest = Default::default();
                Response::GetValue { item, closest }
            }
            _ => put_answer(true, ""),
        };
        let ext = Some(ResponseExt::default());
        hand.reply(stream, ResponseMessage { ext, response });
    }
    match hand.finished(op) {
        Some(Outcome::Put(Err(PutError::Conflict { held }))) => Some(held.unwrap_or_default()),
        Some(Outcome::Put(_)) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_put_that_compares_needs_more_than_half_of_those_that_answer() {
    const FIVE: Option<u64> = Some(5);
    // The sequences held, the number of silent peers, the expected sequence, and the conflicting
    // one.
    type Case = (&'static [Option<u64>], usize, u64, Option<u64>);
    let cases: [Case; 11] = [
        (&[FIVE, None], 0, 5, Some(5)),
        (&[FIVE, FIVE, None], 0, 5, None),
        (&[FIVE, FIVE, None, None], 0, 5, Some(5)),
        (&[FIVE, FIVE, FIVE, None, None], 0, 5, None),
        (&[FIVE], 2, 5, None),
        (&[FIVE], 0, 6, Some(5)),
        (&[None, None, None], 0, 0, None),
        (&[None, None, FIVE], 0, 0, Some(5)),
        (&[None], 0, 5, Some(0)),
        // No peer answers.
        (&[], 2, 0, None),
        (&[], 2, 5, Some(0)),
    ];
    for (held, silent, expect, conflict) in cases {
        let found = compares(held, silent, expect, None);
        assert_eq!(found, conflict.map(Seq), "{held:?} {silent} {expect}");
    }
    // A local-only put compares with this node's version.
    for (own, expect, conflict) in [
        (5, 5, None),
        (5, 7, Some(5)),
        (5, 4, Some(5)),
        (5, 0, Some(5)),
    ] {
        let found = compares(&[], 0, expect, Some(own));
        assert_eq!(found, conflict.map(Seq), "{own} {expect}");
    }
}

#[test]
fn a_put_that_compares_sees_what_came_while_it_asked_others() {
    let [five, nine] = [5, 9].map(|seq| item(0, "x", seq, "old"));
    let mut hand = three_peers();
    let options = PutOptions {
        expect: Some(Seq(5).into()),
        ..PutOptions::default()
    };
    let op = start(&mut hand, options);
    // From another node with the same key.
    hand.ask(9, Some(RequestExt::default()), super::hand::put(&nine));
    assert_eq!(answer(&mut hand, [Some(&five); 3], [""; 3]), 0);
    let held = Some(Seq(9));
    assert_eq!(*outcome(&hand, op), PutError::Conflict { held });
}

/// A reader that stores what it read reports that, too.
#[test]
fn a_node_that_keeps_nothing_of_what_it_reads_compares_with_the_highest() {
    let [five, six] = [5, 6].map(|seq| item(0, "x", seq, "old"));
    let mut hand = Hand::new(|config| config.serve = false);
    for peer in 1..=3 {
        let update = crate::routing::PeerUpdate {
            key: key(peer),
            addr: None,
            reachable: true,
        };
        let time = hand.time();
        hand.node.base.peers.table.insert_or_update(&update, time);
    }
    hand.node.base.cx.timers.clear();
    let options = PutOptions {
        expect: Some(Seq(5).into()),
        ..PutOptions::default()
    };
    let op = start(&mut hand, options);
    let held = [Some(&five), Some(&five), Some(&six)];
    assert_eq!(answer(&mut hand, held, [""; 3]), 0);
    let held = Some(Seq(6));
    assert_eq!(*outcome(&hand, op), PutError::Conflict { held });
}

#[test]
fn an_item_that_is_for_this_node_alone_and_finds_no_room_fails() {
    for local_only in [true, false] {
        let mut hand = Hand::new(|config| config.limits.store_bytes = crate::cap::Cap::new(1));
        hand.introduce(1, Reach::Relayed, true);
        hand.wanted();
        let options = PutOptions {
            local_only,
            ..PutOptions::default()
        };
        let op = start(&mut hand, options);
        let failed = matches!(
            hand.finished(op),
            Some(Outcome::Put(Err(PutError::Local(_))))
        );
        assert_eq!(failed, local_only, "{:?}", hand.finished(op));
    }
}

#[test]
fn a_put_that_compared_and_was_taken_by_some_had_too_few_replicas_and_no_conflict() {
    let five = item(0, "x", 5, "old");
    for (refusals, conflict) in [(["", OLDER, OLDER], false), ([OLDER; 3], true)] {
        let mut hand = three_peers();
        let options = PutOptions {
            expect: Some(Seq(5).into()),
            min_replicas: 2,
            ..PutOptions::default()
        };
        let op = start(&mut hand, options);
        answer(&mut hand, [Some(&five); 3], refusals);
        let found = matches!(outcome(&hand, op), PutError::Conflict { .. });
        assert_eq!(found, conflict, "{:?}", outcome(&hand, op));
    }
}

#[test]
fn a_sequence_of_the_callers_may_be_a_day_ahead_of_the_clock() {
    let day = 24 * 3_600_000_000_000;
    for (ahead, force, allowed) in [
        (day, false, true),
        (day + 1, false, false),
        (day + 1, true, true),
    ] {
        let mut hand = Hand::new(|_| {});
        let seq = Seq(hand.time().unix.0 + ahead);
        let options = PutOptions {
            seq: Some(seq),
            force,
            local_only: true,
            ..PutOptions::default()
        };
        let op = start(&mut hand, options);
        match hand.finished(op) {
            Some(Outcome::Put(Ok(put))) => assert!(allowed && put.seq == seq),
            Some(Outcome::Put(Err(error))) => {
                assert!(!allowed);
                assert_eq!(*error, PutError::SequenceAhead(seq));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_put_with_a_sequence_of_its_own_learns_which_one_is_held() {
    // The answers of two peers, the sequence they have, the required replicas, and whether the
    // error is about the sequence.
    for (answers, held, wanted, sequence) in [
        ([OLDER, OLDER], 9, 1, true),
        ([OLDER, OLDER], 7, 1, false),
        ([OLDER, OLDER], 6, 1, false),
        (["", OLDER], 9, 2, false),
        ([NO_QUOTA, NO_QUOTA], 9, 1, false),
    ] {
        let mut hand = Hand::new(|_| {});
        for peer in 1..=2 {
            hand.introduce(peer, Reach::Relayed, true);
        }
        hand.wanted();
        let options = PutOptions {
            seq: Some(Seq(7)),
            min_replicas: wanted,
            ..PutOptions::default()
        };
        let op = start(&mut hand, options);
        while let Some((stream, peer, ..)) = hand.wanted_first() {
            let request = hand.open(stream, Reach::Relayed).request;
            assert!(matches!(request, Request::PutValue { .. }), "{request:?}");
            let error = answers[usize::from(peer == key(2))];
            let ext = Some(ResponseExt {
                held: Some(Seq(held)),
                ..ResponseExt::default()
            });
            let response = put_answer(error.is_empty(), error);
            hand.reply(stream, ResponseMessage { ext, response });
        }
        let (have, got) = (Seq(held), Seq(7));
        match outcome(&hand, op) {
            error if sequence => assert_eq!(*error, PutError::Sequence { have, got }),
            PutError::TooFewReplicas { .. } => {}
            other => panic!("{other:?} for {answers:?} {held}"),
        }
    }
}

#[test]
fn a_put_found_no_peer_when_no_peer_answered_and_none_may_have_it() {
    let reason = OpenFailure::Unreachable;
    // A peer that answers a lookup and then disappears; one that is gone; one that accepts the item
    // and never answers.
    for (ours, answers, none) in [
        (false, true, false),
        (false, false, true),
        (true, false, false),
    ] {
        let mut hand = Hand::new(|_| {});
        hand.introduce(1, Reach::Relayed, ours);
        hand.wanted();
        hand.node.base.cx.timers.clear();
        let op = start(&mut hand, PutOptions::default());
        let (mut stream, ..) = hand.wanted_first().unwrap();
        if answers {
            let asked = hand.open(stream, Reach::Relayed).request;
            assert!(matches!(asked, Request::FindNode { .. }), "{asked:?}");
            let closest = Default::default();
            let response = Response::FindNode { closest };
            hand.reply(
                stream,
                ResponseMessage {
                    ext: None,
                    response,
                },
            );
            (stream, ..) = hand.wanted_first().unwrap();
        }
        if ours {
            let asked = hand.open(stream, Reach::Relayed).request;
            assert!(matches!(asked, Request::PutValue { .. }), "{asked:?}");
            hand.pass(core::time::Duration::from_secs(11));
        } else {
            hand.input(Input::StreamFailed { stream, reason });
        }
        let found = *outcome(&hand, op) == PutError::Operation(OperationError::NoPeers);
        assert_eq!(found, none, "{:?}", outcome(&hand, op));
    }
}

#[test]
fn a_put_that_has_holders_or_no_older_refusal_was_not_overtaken() {
    let cases = [
        ([NO_QUOTA; 3], 0, (Refusal::Quota, 3)),
        // Retried once with a higher sequence.
        (["", OLDER, OLDER], 1, (Refusal::Older, 2)),
    ];
    for (refusals, acknowledged, refused) in cases {
        let mut hand = three_peers();
        let options = PutOptions {
            min_replicas: 2,
            ..PutOptions::default()
        };
        let op = start(&mut hand, options);
        answer(&mut hand, [None; 3], refusals);
        let PutError::TooFewReplicas { wanted: 2, partial } = outcome(&hand, op) else {
            panic!("{:?}", outcome(&hand, op));
        };
        assert_eq!(partial.replicas.acknowledged(), acknowledged);
        assert_eq!(partial.replicas.refused, [refused]);
    }
    let mut hand = three_peers();
    let op = start(&mut hand, PutOptions::default());
    answer(&mut hand, [None; 3], [OLDER; 3]);
    assert_eq!(*outcome(&hand, op), PutError::Overtaken { have: None });
}

fn new_put(mode: PutMode) -> Put {
    Put::new(Placed::own(item(0, "x", 5, "v")), mode, 1, true)
}

#[test]
fn only_a_renewal_to_a_peer_of_our_dialect_that_is_no_step_goes_without_the_item() {
    for mode in [PutMode::Publish, PutMode::Renew] {
        for (ours, step) in [(false, false), (false, true), (true, false), (true, true)] {
            let request = new_put(mode).request(ours, step);
            let short = mode == PutMode::Renew && ours && !step;
            assert_eq!(
                matches!(request, Request::Renew { .. }),
                short,
                "{ours} {step}"
            );
            assert_eq!(matches!(request, Request::PutValue { .. }), !short);
        }
    }
}

fn candidate(peer: usize) -> Candidate {
    Candidate {
        key: key(peer),
        id: key(peer).id(),
        addr: None,
    }
}

/// Passes these answers to a put, each of another peer. Returns the peers that are sent the whole
/// item.
fn take(put: &mut Put, answers: Vec<(Response, Option<u64>)>) -> Vec<PublicKey> {
    let mut out = Outbox::new();
    for (n, (response, held)) in answers.into_iter().enumerate() {
        let peer = candidate(n);
        put.asked(peer.id, Mono(0));
        let held = held.map(Seq);
        let ext = Some(ResponseExt {
            held,
            ..ResponseExt::default()
        });
        let message = ResponseMessage { ext, response };
        put.on_answer(&peer, false, Ok(&message), &mut out);
    }
    let whole = out.into_iter().filter_map(|action| match action {
        Action::StoreWhole(peer) => Some(peer.key),
        _ => None,
    });
    whole.collect()
}

fn put_answer(stored: bool, error: &str) -> Response {
    let error = error.into();
    Response::PutValue { stored, error }
}

fn renewal_answer(stored: bool, error: &str) -> Response {
    let error = error.into();
    Response::Renew { stored, error }
}

#[test]
fn holders_are_counted_by_what_they_said() {
    let mut put = new_put(PutMode::Publish);
    let answers = alloc::vec![
        (put_answer(true, ""), None),
        (put_answer(true, ""), Some(4)),
        (put_answer(true, ""), Some(5)),
        (put_answer(true, ""), Some(5)),
        (put_answer(true, ""), Some(5)),
        (put_answer(false, NO_QUOTA), None),
        (put_answer(false, "dht: busy"), None),
        (put_answer(false, "dht: busy"), None),
    ];
    assert_eq!(take(&mut put, answers), []);
    let count = put.count();
    assert_eq!((count.stored, count.refreshed, count.unknown), (2, 3, 0));
    assert_eq!(count.refused, [(Refusal::Busy, 2), (Refusal::Quota, 1)]);
    assert_eq!((count.acknowledged(), count.attempted()), (5, 8));
}

#[test]
fn only_a_peer_without_the_item_to_renew_is_sent_all_of_it() {
    let mut put = new_put(PutMode::Renew);
    let not_held = "dht: item not found";
    let answers = alloc::vec![
        (renewal_answer(true, ""), Some(5)),
        (renewal_answer(false, not_held), None),
        (renewal_answer(false, "dht: busy"), None),
        (put_answer(false, not_held), None),
    ];
    assert_eq!(take(&mut put, answers), [key(1)]);
    let refused = put.count().refused;
    assert_eq!(refused.iter().map(|(_, n)| n).sum::<u16>(), 2);
    assert!(!put.has_asked(&candidate(1).id), "it may be asked again");
}

#[test]
fn a_conflict_says_what_is_held() {
    let text = |held| PutError::Conflict { held }.to_string();
    assert_eq!(text(Some(Seq(7))), "another version is held: sequence 7");
    assert_eq!(text(None), "another version was expected, but none is held");
}

#[test]
fn what_a_put_expects_is_a_number_in_json_and_nought_for_nothing() {
    let five = Expected::Version(Seq(5));
    for (expected, text) in [(Expected::Nothing, "0"), (five, "5")] {
        assert_eq!(serde_json::to_string(&expected).unwrap(), text);
        let read: Expected = serde_json::from_str(text).unwrap();
        assert_eq!(read, expected);
    }
}
