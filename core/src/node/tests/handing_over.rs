//! Handover of stored items to peers that enter the table among the nearest to them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::full_nodes::{parts, reconciled, requests};
use super::hand::{Hand, key};
use super::net::{Net, secret};
use crate::id::{NodeId, Target};
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::store::{Candidate, Via};
use crate::sync::{Lead, RequestPart, ResponsePart};
use crate::wire::{
    Life, PeerList, Request, RequestMessage, Response, ResponseExt, ResponseMessage, Sender,
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
/// Time from the entry into the table to the first offer.
const SETTLE: Duration = Duration::from_secs(10);

/// Stores an item of `owner` with this remaining lifetime on the node.
fn hold(hand: &mut Hand, owner: usize, left: Duration) -> Target {
    let (value, salt) = (Value::new(b"v"), Salt::from("s"));
    let item = Arc::new(Item::sign(&secret(owner), Seq(1), value, salt));
    let target = item.target();
    let mut kept = Candidate::of_owner(item, Via::Pulled(key(owner)));
    let age = 2 * HOUR - left;
    kept.life = Some(Life { age, left });
    let base = &mut hand.node.base;
    base.items.admit(&mut base.cx, kept, 0).unwrap();
    target
}

/// Answers the usual requests as a peer for this time. Returns the other messages that it was sent,
/// with the streams to answer on.
fn served(
    hand: &mut Hand,
    peer: usize,
    ours: bool,
    during: Duration,
) -> Vec<(StreamId, RequestMessage)> {
    const STEP: Duration = Duration::from_millis(50);
    let (end, mut left) = (hand.now.plus(during), Vec::new());
    loop {
        for (stream, message) in requests(hand, peer) {
            let response = match &message.request {
                Request::Ping => Response::Ping {
                    responder: Sender::of(&key(peer)),
                },
                Request::FindNode { .. } => Response::FindNode {
                    closest: PeerList::default(),
                },
                Request::PutValue { .. } => Response::PutValue {
                    stored: true,
                    error: String::new(),
                },
                _ => {
                    left.push((stream, message));
                    continue;
                }
            };
            if matches!(message.request, Request::PutValue { .. }) {
                left.push((stream, message));
            }
            let ext = ours.then(ResponseExt::default);
            hand.reply(stream, ResponseMessage { ext, response });
        }
        if hand.now >= end {
            return left;
        }
        hand.pass(STEP.min(end.since(hand.now)));
    }
}

/// The leads that a message offers.
fn leads(message: &RequestMessage) -> Vec<Lead> {
    match &parts(message)[..] {
        [RequestPart::Offer(stamps)] => stamps.iter().map(|stamp| stamp.lead).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newcomer_is_offered_what_it_should_hold_and_given_what_it_lacks_one_message_at_a_time() {
    let mut hand = Hand::new(|_| {});
    for owner in 1_000..1_300 {
        hold(&mut hand, owner, 2 * HOUR);
    }
    hand.introduce(1, Reach::Dialled, true);
    let early = served(&mut hand, 1, true, SETTLE - Duration::from_millis(1));
    assert!(early.is_empty());
    let (mut all, mut given) = (Vec::new(), 0);
    for round in 0..4 {
        let sent = served(&mut hand, 1, true, SECOND);
        let [(stream, message)] = &sent[..] else {
            panic!("{sent:?}");
        };
        let offered = leads(message);
        assert_eq!(offered.len(), 64, "{round}");
        all.extend(offered);
        reconciled(&mut hand, *stream, vec![ResponsePart::Wanted(round)]);
        if round == 0 {
            continue;
        }
        let sent = served(&mut hand, 1, true, SECOND);
        let [(stream, message)] = &sent[..] else {
            panic!("{sent:?}");
        };
        given += parts(message).len();
        reconciled(&mut hand, *stream, Vec::new());
    }
    // Owners and readers supply the rest.
    let late = served(&mut hand, 1, true, SETTLE);
    assert!(late.is_empty());
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), given), (256, 1 + 1 + 2));
    assert_eq!(hand.counter(Counter::Handovers), 4);
}

#[test]
fn to_an_upstream_newcomer_a_few_young_items_are_put() {
    for (young, puts) in [(3, 3), (12, 8)] {
        let mut hand = Hand::new(|_| {});
        let mut targets = Vec::new();
        for owner in 0..young {
            targets.push(hold(&mut hand, 1_000 + owner, HOUR + SETTLE));
        }
        for owner in 0..5 {
            hold(&mut hand, 2_000 + owner, HOUR + SETTLE - SECOND);
        }
        hand.introduce(1, Reach::Dialled, false);
        // A publisher puts a new item to the peers that should have it.
        hold(&mut hand, 3_000, 2 * HOUR);
        let sent = served(&mut hand, 1, false, SETTLE);
        let put = |message: &RequestMessage| match &message.request {
            Request::PutValue { item, .. } => item.item().unwrap().target(),
            other => panic!("{other:?}"),
        };
        let sent: Vec<Target> = sent.iter().map(|(_, message)| put(message)).collect();
        assert_eq!(sent.len(), puts);
        assert!(sent.iter().all(|target| targets.contains(target)));
        assert_eq!(hand.counter(Counter::Handovers), puts as u64);
    }
}

/// Compared with the rule in its simplest form, over all known peers.
#[test]
fn only_a_newcomer_among_the_nearest_is_handed_an_item_and_only_by_the_nearest_few() {
    const K: usize = 4;
    let mut all = 0;
    for round in 0..6 {
        let mut hand = Hand::new(|config| config.k = K);
        hand.know(10 + round * 40..50 + round * 40);
        let targets: Vec<Target> = (1_000..1_200)
            .map(|owner| hold(&mut hand, owner, 2 * HOUR))
            .collect();
        let has_room = |hand: &Hand, peer: usize| {
            let table = &hand.node.base.peers.table;
            let bucket = table.bucket_of(&Target::from(key(peer).id())).unwrap();
            table.peers_in(bucket) < K
        };
        let newcomer = (300..).find(|peer| has_room(&hand, *peer)).unwrap();
        hand.introduce(newcomer, Reach::Dialled, true);
        let local = hand.node.base.cx.id;
        let known: Vec<NodeId> = hand.node.base.peers.table.iter().map(|it| it.id).collect();
        let entered = key(newcomer).id();
        let rank = |target: &Target, of: &NodeId, without: Option<NodeId>| {
            let all = known.iter().chain([&local]);
            let all = all.filter(|id| Some(**id) != without);
            all.filter(|id| target.distance(id) < target.distance(of))
                .count()
        };
        let expected = targets.iter().filter(|target| {
            rank(target, &entered, None) < K && rank(target, &local, Some(entered)) < 3
        });
        let mut expected: Vec<Lead> = expected.map(Lead::of).collect();
        expected.sort_unstable();
        let mut offered = Vec::new();
        let mut wait = SETTLE;
        while let Some((stream, message)) = served(&mut hand, newcomer, true, wait).pop() {
            offered.extend(leads(&message));
            reconciled(&mut hand, stream, vec![ResponsePart::Wanted(0)]);
            wait = SECOND;
        }
        offered.sort_unstable();
        assert_eq!(offered, expected);
        assert!(offered.len() < targets.len());
        all += offered.len();
    }
    assert!(all > 0);
}

#[test]
fn of_many_newcomers_some_wait_and_the_others_are_counted() {
    const K: usize = 64;
    let mut hand = Hand::new(|config| config.k = K);
    for peer in 1.. {
        let table = &hand.node.base.peers.table;
        let bucket = table.bucket_of(&Target::from(key(peer).id())).unwrap();
        if table.len() == 260 {
            break;
        }
        if table.peers_in(bucket) < K {
            hand.introduce(peer, Reach::Dialled, true);
        }
    }
    assert_eq!(hand.node.replication.handover.waiting(), 256);
    assert_eq!(hand.counter(Counter::HandoversSkipped), 4);
    hand.pass(SETTLE);
    assert_eq!(hand.node.replication.handover.waiting(), 0);
}

#[test]
fn a_peer_that_joins_later_gets_its_items_without_a_read_or_a_renewal() {
    let mut net = Net::new(12, |_, _| {});
    for late in 9..12 {
        net.up[late] = false;
    }
    net.run_for(60 * SECOND);
    for owner in 0..5 {
        net.put(owner, "x", b"v").unwrap();
    }
    for late in 9..12 {
        net.up[late] = true;
        net.input(late, Input::TimerFired);
    }
    net.run_for(60 * SECOND);
    for owner in 0..5 {
        let holders = net.holders(owner, "x");
        assert!((9..12).all(|late| holders.contains(&late)), "{holders:?}");
    }
    let sum = |net: &Net, counter| (0..12).map(|node| net.counter(node, counter)).sum::<u64>();
    assert_eq!(sum(&net, Counter::Renewals), 0);
    // Five items to three new peers; three nodes may offer each, and rarely give one twice.
    let given = sum(&net, Counter::Handovers);
    assert!((15..=45).contains(&given), "{given}");
}
