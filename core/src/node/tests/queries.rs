//! Queries, rule by rule: which peers they ask for what, when they are complete, and their effects.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::hand::{Hand, item, key};
use crate::id::Target;
use crate::item::Item;
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::ids::PutMode;
use crate::node::items::placed::Placed;
use crate::node::peers::records::Dialect;
use crate::node::query::QueryKind;
use crate::node::query::action::Outbox;
use crate::node::query::put::Put;
use crate::node::rpc::calls::CallFailure;
use crate::node::timers::Timer;
use crate::node::*;
use crate::time::Mono;
use crate::wire::{Life, Method, Request, Response, ResponseExt, ResponseMessage};

/// A node with these peers of unknown dialect in its table, and without maintenance.
fn with_peers(peers: usize, configure: impl Fn(&mut Config)) -> Hand {
    let mut hand = Hand::new(configure);
    hand.know(1..=peers);
    hand.node.base.cx.timers.clear();
    hand
}

fn number(peer: &PublicKey) -> usize {
    (1..=300).find(|n| key(*n) == *peer).expect("one of ours")
}

/// How a peer answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Peer {
    Ours,
    Go,
    /// Streams to it cannot be opened.
    Gone,
    /// It never answers.
    Silent,
    /// It answers a lookup as upstream's do, but no put.
    SilentHolder,
}

/// Answers all requests until there are none. Returns the requests that each peer received.
fn answer_all(
    hand: &mut Hand,
    kind: impl Fn(usize) -> Peer,
    holds: impl Fn(usize) -> Option<Arc<Item>>,
    life: Option<Life>,
) -> BTreeMap<usize, Vec<Request>> {
    let mut asked: BTreeMap<usize, Vec<Request>> = BTreeMap::new();
    for _ in 0..500 {
        let Some((stream, peer, ..)) = hand.wanted_first() else {
            return asked;
        };
        let peer = number(&peer);
        if kind(peer) == Peer::Gone {
            let reason = OpenFailure::Unreachable;
            hand.input(Input::StreamFailed { stream, reason });
            continue;
        }
        let request = hand.open(stream, Reach::Relayed).request;
        asked.entry(peer).or_default().push(request.clone());
        let is_put = matches!(request, Request::PutValue { .. });
        if kind(peer) == Peer::Silent || (is_put && kind(peer) == Peer::SilentHolder) {
            continue;
        }
        let closest = Default::default();
        let mut ext = ResponseExt::default();
        let response = match request {
            Request::FindNode { .. } => Response::FindNode { closest },
            Request::GetValue { .. } => {
                let held = holds(peer);
                ext.life = life.filter(|_| held.is_some());
                let item = held.as_ref().map(Into::into);
                Response::GetValue { item, closest }
            }
            Request::PutValue { .. } => {
                let (stored, error) = (true, Default::default());
                Response::PutValue { stored, error }
            }
            Request::Renew { .. } => {
                let (stored, error) = (false, "dht: item not found".into());
                Response::Renew { stored, error }
            }
            other => panic!("{other:?}"),
        };
        let ext = (kind(peer) == Peer::Ours).then_some(ext);
        hand.reply(stream, ResponseMessage { ext, response });
    }
    panic!("it never ends");
}

fn all_ours(hand: &mut Hand) -> BTreeMap<usize, Vec<Request>> {
    answer_all(hand, |_| Peer::Ours, |_| None, None)
}

fn start(hand: &mut Hand, kind: QueryKind, target: Target) {
    let time = hand.time();
    let Node { base, queries, .. } = &mut hand.node;
    base.cx.now = time;
    queries.start(base, kind, None, target, time.mono);
    hand.input(Input::TimerFired);
}

fn get(hand: &mut Hand, item: &Item, policy: ReadPolicy) -> OperationId {
    let request = GetRequest::of(item.key, item.salt.clone(), policy);
    hand.command(Command::Get(request))
}

#[test]
fn a_query_asks_as_many_of_the_nearest_as_its_purpose_needs() {
    let target = Target::from_bytes([0x5a; 32]);
    let full_bucket = 0;
    for (kind, at_least, at_most) in [
        (QueryKind::Nodes, 20, 30),
        (QueryKind::Bucket(9), 20, 30),
        (QueryKind::Neighbourhood { width: 5 }, 5, 12),
        (QueryKind::Fill(200), 8, 14),
        (QueryKind::Fill(full_bucket), 0, 0),
    ] {
        let mut hand = with_peers(60, |_| {});
        assert!(hand.node.table().peers_in(full_bucket) >= 8);
        start(&mut hand, kind, target);
        let asked = all_ours(&mut hand);
        let asked = asked.values().map(Vec::len).sum::<usize>();
        assert!((at_least..=at_most).contains(&asked), "{asked} asked");
        assert_eq!(hand.node.queries.ids(), []);
    }
}

#[test]
fn peers_that_lie_denser_than_the_network_is_large_widen_a_lookup_once() {
    let crowded = Target::from(key(1).id());
    for (target, widened) in [(crowded, 1), (Target::from_bytes([0x5a; 32]), 0)] {
        let mut hand = with_peers(200, |config| config.k = 1);
        // One peer suffices to look too dense: it is at the target itself.
        assert!(hand.node.table().get(&key(1).id()).is_some());
        start(&mut hand, QueryKind::Nodes, target);
        all_ours(&mut hand);
        assert_eq!(hand.counter(Counter::LookupsWidened), widened);
    }
}

#[test]
fn a_put_gives_the_item_immediately_to_peers_that_are_ours_and_probably_among_the_nearest() {
    let mut seen = [0; 2];
    for n in 0..12 {
        let mut hand = with_peers(80, |config| {
            config.k = 2;
            config.alpha = 16;
        });
        let now = hand.now;
        for n in 1..=80 {
            let rtt = Duration::from_millis(1);
            let store = &mut hand.node.base.peers.store;
            store.answered(&key(n), Some(rtt), Dialect::Skydht, now);
        }
        let radius = hand.node.table().expected_radius(2);
        let it = item(0, &format!("{n}"), 1, "v");
        hand.command(Command::Put {
            salt: it.salt.clone(),
            value: it.value.clone(),
            options: PutOptions::default(),
        });
        for (stream, peer, ..) in hand.wanted() {
            let request = hand.open(stream, Reach::Relayed).request;
            let within = it.target().distance(&peer.id()).high() <= radius;
            let method = if within {
                Method::PutValue
            } else {
                Method::FindNode
            };
            assert_eq!(request.method(), method);
            seen[usize::from(within)] += 1;
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn what_is_renewed_goes_without_the_item_to_peers_of_ours_that_hold_it_and_whole_to_others() {
    let mut hand = with_peers(2, |_| {});
    let it = item(0, "x", 5, "v");
    let Node { base, queries, .. } = &mut hand.node;
    queries.renew(base, Placed::own(it.clone()), PutMode::Renew);
    hand.input(Input::TimerFired);
    let kind = |peer| if peer == 1 { Peer::Ours } else { Peer::Go };
    let asked = answer_all(&mut hand, kind, |_| None, None);
    let methods =
        |peer: usize| -> Vec<Method> { asked[&peer].iter().map(Request::method).collect() };
    // Peer 1 answers that it does not have the item.
    assert_eq!(
        methods(1),
        [Method::FindNode, Method::Renew, Method::PutValue]
    );
    assert_eq!(methods(2), [Method::FindNode, Method::PutValue]);
}

#[test]
fn a_renewal_that_reached_no_peer_is_reported_unless_it_was_stopped() {
    for (kind, stop, reported) in [
        (Peer::Ours, false, 0),
        (Peer::Gone, false, 1),
        (Peer::Silent, true, 0),
    ] {
        let mut hand = with_peers(3, |_| {});
        let it = item(0, "x", 5, "v");
        let Node { base, queries, .. } = &mut hand.node;
        queries.renew(base, Placed::own(it.clone()), PutMode::Renew);
        hand.input(Input::TimerFired);
        answer_all(&mut hand, |_| kind, |_| None, None);
        if stop {
            hand.command(Command::Shutdown);
        }
        let failed =
            |output: &&Output| matches!(output, Output::Event(Event::RenewalFailed { .. }));
        assert_eq!(
            hand.outputs.iter().filter(failed).count(),
            reported,
            "{kind:?}"
        );
    }
}

#[test]
fn a_put_that_enough_hold_waits_for_a_silent_peer_no_longer_than_its_patience() {
    // One of ours was given the item by the lookup, one of upstream's after it.
    for (silent, dialect, requests) in [
        (Peer::Silent, Dialect::Skydht, 1),
        (Peer::SilentHolder, Dialect::Go, 2),
    ] {
        let mut hand = with_peers(2, |_| {});
        let now = hand.now;
        for (n, dialect) in [(1, Dialect::Skydht), (2, dialect)] {
            let rtt = Some(Duration::from_millis(50));
            let store = &mut hand.node.base.peers.store;
            store.answered(&key(n), rtt, dialect, now);
        }
        let it = item(0, "x", 1, "v");
        let op = hand.command(Command::Put {
            salt: it.salt.clone(),
            value: it.value.clone(),
            options: PutOptions::default(),
        });
        let kind = |peer| if peer == 1 { Peer::Ours } else { silent };
        let asked = answer_all(&mut hand, kind, |_| None, None);
        assert_eq!(asked[&2].len(), requests);
        hand.node.base.cx.timers.cancel(Timer::Prove);
        let patience = hand.node.base.peers.store.patience(&key(2));
        hand.pass(patience - Duration::from_millis(1));
        assert!(hand.finished(op).is_none());
        hand.pass(Duration::from_millis(1));
        let Some(Outcome::Put(Ok(done))) = hand.finished(op) else {
            panic!("{silent:?}: {:?}", hand.finished(op));
        };
        assert_eq!((done.replicas.stored, done.replicas.unknown), (1, 1));
    }
}

#[test]
fn the_first_valid_value_is_asked_of_the_nearest_alone_until_it_is_late() {
    let mut hand = with_peers(3, |_| {});
    let now = hand.now;
    for n in 1..=3 {
        let rtt = Duration::from_millis(50);
        hand.node
            .base
            .peers
            .store
            .answered(&key(n), Some(rtt), Dialect::Skydht, now);
    }
    let late = hand.node.base.peers.store.soft_deadline(&key(1));
    let it = item(9, "s", 5, "v");
    get(&mut hand, &it, ReadPolicy::FirstValid);
    assert_eq!(hand.wanted().len(), 1);
    hand.pass(late - Duration::from_nanos(1));
    assert_eq!(hand.wanted().len(), 0);
    hand.pass(Duration::from_nanos(1));
    assert_eq!(hand.wanted().len(), 2);
}

#[test]
fn at_most_four_unresponsive_peers_per_call_of_the_window_are_asked() {
    let mut hand = with_peers(40, |_| {});
    let long_ago = hand.now.minus(Duration::from_secs(1));
    for n in 1..=40 {
        let store = &mut hand.node.base.peers.store;
        store.unreachable(&key(n), &[], long_ago);
    }
    hand.now = hand.now.plus(Duration::from_secs(60));
    let target = Target::from_bytes([0x5a; 32]);
    start(&mut hand, QueryKind::Nodes, target);
    // Except the one that was asked within the window.
    assert_eq!(hand.wanted().len(), 4 * Config::default().alpha - 1);
}

#[test]
fn every_step_of_a_users_lookup_is_shown() {
    let mut hand = with_peers(3, |_| {});
    let it = item(9, "s", 5, "v");
    let op = get(&mut hand, &it, ReadPolicy::Freshest);
    let kind = |peer| if peer == 1 { Peer::Gone } else { Peer::Ours };
    let holds = |peer| (peer == 2).then(|| it.clone());
    answer_all(&mut hand, kind, holds, None);
    let mut seen: BTreeMap<usize, Vec<HopResult>> = BTreeMap::new();
    for output in &hand.outputs {
        if let Output::Event(Event::Hop {
            op: of,
            peer,
            result,
        }) = output
        {
            assert_eq!(*of, op);
            seen.entry(number(peer)).or_default().push(*result);
        }
    }
    let answered = |item| HopResult::Answered { new: 0, item };
    assert_eq!(seen[&1], [HopResult::Asked, HopResult::Failed]);
    assert_eq!(seen[&2], [HopResult::Asked, answered(true)]);
    assert_eq!(seen[&3], [HopResult::Asked, answered(false)]);
}

/// Reads an item that several peers have.
fn read(hand: &mut Hand, it: &Arc<Item>, policy: ReadPolicy) {
    let op = get(hand, it, policy);
    answer_all(hand, |_| Peer::Ours, |_| Some(it.clone()), None);
    assert!(hand.finished(op).is_some());
}

#[test]
fn what_was_read_is_kept_for_others_among_the_nearest_and_for_itself_everywhere() {
    let own = key(0).id();
    let ids: Vec<_> = (1..=9).map(|n| key(n).id()).collect();
    let nearer = |target: Target| {
        let nearer = ids
            .iter()
            .filter(|id| target.distance(id) < target.distance(&own));
        nearer.count()
    };
    let mut salts = (0..).map(|n| format!("{n}"));
    let salt = salts.find(|salt| (3..7).contains(&nearer(item(500, salt, 5, "").target())));
    let salt = salt.unwrap();
    let (it, deleted) = (item(500, &salt, 5, "v"), item(500, &salt, 5, ""));
    let count = nearer(it.target());
    let freshest = ReadPolicy::Freshest;
    for (it, k, policy, full_node, stored, cached) in [
        (&it, count + 1, freshest, false, true, 1),
        (&it, count, freshest, false, false, 1),
        (&it, count, freshest, true, true, 1),
        (&it, count + 1, ReadPolicy::FirstValid, false, false, 1),
        (&deleted, count + 1, freshest, false, true, 0),
    ] {
        let mut hand = with_peers(9, |config| {
            config.k = k;
            config.full_node = full_node;
        });
        read(&mut hand, it, policy);
        assert_eq!(hand.held(&it.target()).is_some(), stored, "{k} {policy:?}");
        assert_eq!(hand.node.base.items.cache.len(), cached, "{policy:?}");
    }
}

#[test]
fn what_was_read_answers_the_first_valid_value_and_no_other_policy() {
    let it = item(500, "s", 5, "v");
    for (policy, answers) in [
        (ReadPolicy::FirstValid, true),
        (ReadPolicy::Freshest, false),
        (ReadPolicy::Quorum(1), false),
    ] {
        let mut hand = with_peers(3, |config| config.serve = false);
        read(&mut hand, &it, ReadPolicy::Freshest);
        assert!(hand.held(&it.target()).is_none());
        let op = get(&mut hand, &it, policy);
        assert_eq!(hand.finished(op).is_some(), answers, "{policy:?}");
        assert_eq!(hand.wanted().is_empty(), answers);
    }
}

#[test]
fn a_mirror_that_was_read_is_neither_kept_nor_given_to_others() {
    let it = item(500, "s", 5, "v");
    let mut hand = with_peers(3, |_| {});
    let target = item(501, "other", 5, "v").target();
    let op = hand.command(Command::Get(GetRequest {
        target,
        policy: ReadPolicy::Freshest,
        owner: None,
        unknown_mirrors: true,
        timeout: None,
    }));
    let holds = |peer| (peer == 2).then(|| it.clone());
    answer_all(&mut hand, |_| Peer::Ours, holds, None);
    let Some(Outcome::Get(Ok(_))) = hand.finished(op) else {
        panic!("{:?}", hand.finished(op));
    };
    assert!(hand.held(&target).is_none());
    assert_eq!(hand.counter(Counter::Repairs), 0);
    assert_eq!(hand.node.base.items.cache.len(), 0);
}

#[test]
fn three_holders_are_repaired_by_a_read_and_each_again_after_a_quarter_of_a_life() {
    let it = item(500, "s", 5, "v");
    let mut hand = with_peers(8, |config| config.serve = false);
    let ttl = hand.node.base.cx.config.item_ttl;
    let life = Life {
        age: Duration::ZERO,
        left: ttl,
    };
    let repairs = |hand: &mut Hand| {
        let before = hand.counter(Counter::Repairs);
        get(hand, &it, ReadPolicy::Freshest);
        let holds = |peer| (peer == 2).then(|| it.clone());
        // They never store it.
        let asked = answer_all(hand, |_| Peer::Ours, holds, Some(life));
        let puts = asked.values().flatten();
        let puts = puts
            .filter(|it| matches!(it, Request::PutValue { .. }))
            .count();
        assert_eq!(hand.counter(Counter::Repairs) - before, puts as u64);
        puts
    };
    // Seven peers lack it.
    for expected in [3, 3, 1, 0] {
        assert_eq!(repairs(&mut hand), expected);
    }
    hand.now = hand.now.plus(ttl / 4);
    hand.node.base.cx.timers.clear();
    assert_eq!(repairs(&mut hand), 3);
}

#[test]
fn a_put_is_enough_when_as_many_as_wanted_have_it_or_it_needs_a_higher_sequence() {
    let older = "dht: sequence number must increase";
    let peer = |n: usize| Candidate {
        key: key(n),
        id: key(n).id(),
        addr: None,
    };
    let answer = |error: &str| ResponseMessage {
        ext: Some(ResponseExt::default()),
        response: Response::PutValue {
            stored: error.is_empty(),
            error: error.into(),
        },
    };
    let cases: [(&[&str], bool); 6] = [
        (&[""], false),
        (&["", ""], true),
        (&[older], true),
        (&["", older], false),
        (&["dht: busy"], false),
        (&[], false),
    ];
    for (answers, enough) in cases {
        let mut put = Put::new(Placed::own(item(0, "x", 5, "v")), PutMode::Publish, 2, true);
        for n in 0..=answers.len() {
            put.asked(peer(n).id, Mono(10));
        }
        for (n, error) in answers.iter().enumerate() {
            put.on_answer(&peer(n), false, Ok(&answer(error)), &mut Outbox::new());
        }
        // The last one does not answer.
        assert!(!put.is_complete(20, Mono(9)), "{answers:?}");
        assert_eq!(put.is_complete(20, Mono(10)), enough, "{answers:?}");
    }
    // A peer that is asked again does not count as a holder until it answers.
    let mut put = Put::new(Placed::own(item(0, "x", 5, "v")), PutMode::Publish, 1, true);
    put.asked(peer(1).id, Mono(10));
    put.on_answer(&peer(1), false, Ok(&answer("")), &mut Outbox::new());
    assert!(put.is_complete(1, Mono(0)));
    put.asked(peer(1).id, Mono(10));
    assert!(!put.is_complete(1, Mono(0)));
}

#[test]
fn a_peer_that_was_never_reached_is_no_replica_and_one_that_may_have_been_is_unknown() {
    let peer = Candidate {
        key: key(1),
        id: key(1).id(),
        addr: None,
    };
    let unreachable = CallFailure::Open(OpenFailure::Unreachable);
    for (failure, repeated, unknown) in [
        (unreachable, false, 0),
        (unreachable, true, 1),
        (CallFailure::Timeout, false, 1),
    ] {
        let mut put = Put::new(Placed::own(item(0, "x", 5, "v")), PutMode::Publish, 1, true);
        put.asked(peer.id, Mono(1));
        put.on_answer(&peer, repeated, Err(failure), &mut Outbox::new());
        let count = put.count();
        assert_eq!((count.unknown, count.attempted()), (unknown, unknown));
        assert_eq!(put.has_asked(&peer.id), unknown == 1);
    }
}

#[test]
fn an_own_item_is_renewed_until_it_is_deleted_or_put_once() {
    for (value, once) in [("", false), ("new", true)] {
        let mut hand = with_peers(1, |_| {});
        let it = item(0, "x", 1, "v");
        let mut put = |value: &str, once| {
            hand.command(Command::Put {
                salt: it.salt.clone(),
                value: crate::item::Value::new(value.as_bytes()),
                options: PutOptions {
                    once,
                    ..PutOptions::default()
                },
            });
            all_ours(&mut hand);
            let due = hand.node.base.cx.timers.due_at(Timer::Renewal(it.target()));
            (hand.node.snapshot().own_items, due.is_some())
        };
        assert_eq!(put("v", false), (1, true));
        assert_eq!(put(value, once), (0, false));
    }
}

#[test]
fn a_short_life_is_renewed_at_its_half_also_where_go_nodes_hold_the_item() {
    let mut hand = with_peers(1, |config| config.item_ttl = Duration::from_secs(3_600));
    let it = item(0, "x", 1, "v");
    hand.command(Command::Put {
        salt: it.salt.clone(),
        value: it.value.clone(),
        options: PutOptions::default(),
    });
    answer_all(&mut hand, |_| Peer::Go, |_| None, None);
    let [own] = &hand.node.own_items(hand.now)[..] else {
        panic!("one own item");
    };
    assert_eq!((own.holders, own.age), (1, Some(Duration::ZERO)));
    assert!(
        own.next_renewal <= Some(Duration::from_secs(1_800)),
        "{own:?}"
    );
}
