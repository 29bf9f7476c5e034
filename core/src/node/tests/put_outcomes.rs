//! What holders answer to a put, and which result its caller gets.

use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::hand::{Hand, item, key};
use crate::item::{Item, Salt, Seq, Value};
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::ids::PutMode;
use crate::node::query::action::{Action, Outbox};
use crate::node::query::put::Put;
use crate::node::*;
use crate::store::Refusal;
use crate::time::Mono;
use crate::wire::{Request, Response, ResponseExt, ResponseMessage};

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

/// Answers what the node asks its three peers: a read with what each of them holds, a put with
/// its refusal, if it has one. Returns how often one was given the new item to hold.
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
                    // What was read is repaired; that is not the put.
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

#[test]
fn a_put_that_has_holders_or_no_older_item_against_it_was_overtaken_by_nobody() {
    let cases = [
        ([NO_QUOTA; 3], 0, (Refusal::Quota, 3)),
        // Tried once more with a higher sequence.
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
    Put::new(item(0, "x", 5, "v"), mode, 1, true)
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

/// Gives a put these answers, each of another peer; whom it sends the whole item.
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
fn who_does_not_hold_what_is_to_be_renewed_is_sent_all_of_it_and_nobody_else() {
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
