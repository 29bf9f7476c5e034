//! Full nodes have the same items (§3.16).

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, addr, secret};
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::node::*;
use crate::store::{Candidate, Via};
use crate::sync::{Entries, Source};

const SECOND: Duration = Duration::from_secs(1);

/// Stores an item on a node as if a peer had sent it long ago, so that nothing is announced.
fn keep(net: &mut Net, node: usize, item: &Arc<Item>) {
    let via = Via::Pulled(secret(0).public());
    let base = &mut net.nodes[node].base;
    base.cx.now = crate::time::Time {
        mono: net.now,
        unix: crate::time::Unix(1_790_000_000_000_000_000).plus(net.now.since(Default::default())),
    };
    base.items
        .admit(&mut base.cx, Candidate::of_owner(item.clone(), via), 0)
        .unwrap();
}

/// An item of its own publisher, with a sequence that states a time.
fn item(number: usize, later: u64, value: &[u8]) -> Arc<Item> {
    let seq = Seq(1_790_000_000_000_000_000 + later);
    let (value, salt) = (Value::new(value), Salt::from("r"));
    Arc::new(Item::sign(&secret(1000 + number), seq, value, salt))
}

/// The versions on a node, except adverts.
fn versions(net: &Net, node: usize) -> Vec<(Target, Seq)> {
    let adverts = (0..10).map(|node| Target::of(&secret(node).public(), b"fullnode"));
    let adverts: BTreeSet<Target> = adverts.collect();
    let view = net.nodes[node].base.items.store.sync_view(net.time());
    view.entries(Target::default())
        .filter(|(target, _)| !adverts.contains(target))
        .map(|(target, version)| (target, version.seq))
        .collect()
}

fn equal(net: &Net, a: usize, b: usize) -> bool {
    let view = |node: usize| net.nodes[node].base.items.store.sync_view(net.time());
    view(a).tree() == view(b).tree()
}

fn full(nodes: core::ops::Range<usize>) -> impl Fn(usize, &mut Config) {
    move |n, config| config.full_node = nodes.contains(&n)
}

#[test]
fn full_nodes_that_met_hold_the_same_and_regular_nodes_start_no_session() {
    let mut net = Net::new(4, full(1..4));
    for number in 0..120 {
        let later = u64::from(number % 3 == 0);
        keep(&mut net, 1 + number % 2, &item(number, 0, b"first"));
        if later > 0 {
            keep(&mut net, 2 - number % 2, &item(number, 1, b"second"));
        }
    }
    net.run_for(120 * SECOND);
    assert!(equal(&net, 1, 2) && equal(&net, 2, 3));
    let held = versions(&net, 1);
    assert_eq!(held.len(), 120);
    let newer = held.iter().filter(|(_, seq)| seq.0 % 10 == 1).count();
    assert_eq!(newer, 40);
    assert_eq!(net.counter(0, Counter::SyncsStarted), 0);
    // It is among the k nearest to everything, so the items are handed over to it.
    assert!(equal(&net, 0, 1));
    let failed: u64 = (0..4).map(|n| net.counter(n, Counter::SyncsFailed)).sum();
    assert_eq!(failed, 0);
}

#[test]
fn what_comes_to_one_full_node_is_at_the_others_within_a_second() {
    let mut net = Net::settled(6, full(1..6));
    let sum = |net: &Net, counter| (1..6).map(|n| net.counter(n, counter)).sum::<u64>();
    let (bytes, given) = (sum(&net, Counter::BytesOut), sum(&net, Counter::SyncGiven));
    // Over the publisher's own stream to one full node; no other node receives it.
    let item = Arc::new(Item::sign(
        &secret(0),
        Seq(1_790_000_000_000_000_000),
        Value::new(b"news"),
        Salt::from("r"),
    ));
    let via = Via::Signer(secret(0).public());
    let time = net.time();
    let base = &mut net.nodes[1].base;
    base.cx.now = time;
    base.items
        .admit(&mut base.cx, Candidate::of_owner(item.clone(), via), 0)
        .unwrap();
    net.input(1, Input::TimerFired);
    net.run_for(SECOND);
    let target = item.target();
    for node in 2..6 {
        let held = versions(&net, node).iter().any(|(at, _)| *at == target);
        assert!(held, "{node} does not hold it");
    }
    assert_eq!(sum(&net, Counter::SyncGiven) - given, 4, "each once");
    let bytes = sum(&net, Counter::BytesOut) - bytes;
    assert!(bytes < 4 * 1500, "{bytes} bytes");
}

/// Lesson R18: a full node that returns with a deleted item does not bring it back.
#[test]
fn r18_a_full_node_that_comes_back_resurrects_nothing() {
    let mut net = Net::settled(4, full(1..4));
    net.put(0, "r", b"value").unwrap();
    net.run_for(5 * SECOND);
    let target = Target::of(&secret(0).public(), b"r");
    assert!(versions(&net, 3).iter().any(|(at, _)| *at == target));
    net.kill(3);
    net.run_for(SECOND);
    net.put(0, "r", b"").unwrap();
    net.run_for(5 * SECOND);
    net.begin(3);
    net.run_for(15 * 60 * SECOND);
    let time = net.time();
    let deleted: Vec<bool> = (1..4)
        .map(|node| {
            let held = net.nodes[node].base.items.store.get(time, &target);
            held.is_none_or(|held| held.is_tombstone())
        })
        .collect();
    assert_eq!(deleted, [true; 3]);
}

#[test]
fn what_a_session_brings_is_verified_and_three_forgeries_end_it() {
    let mut net = Net::new(3, full(1..3));
    for number in 0..40 {
        let mut forged = Item::clone(&item(number, 0, b"forged"));
        forged.value = Value::new(b"changed");
        keep(&mut net, 1, &Arc::new(forged));
    }
    net.run_for(30 * SECOND);
    assert_eq!(versions(&net, 2), []);
    assert!(net.counter(2, Counter::ForgedItems) >= 3);
    assert!(net.counter(2, Counter::SyncsFailed) >= 1);
    // It is left alone for a pause that doubles each time.
    let sessions = net.counter(2, Counter::SyncsStarted);
    net.run_for(600 * SECOND);
    let more = net.counter(2, Counter::SyncsStarted) - sessions;
    assert!((1..=5).contains(&more), "{more} sessions in ten minutes");
}

#[test]
fn limits_of_replication_are_kept_and_counted() {
    let mut net = Net::new(8, |n, config| {
        config.full_node = n > 0;
        config.limits.full_nodes = 2;
        config.limits.sync_sessions = 1;
        config.limits.offers = 3;
    });
    net.run_for(60 * SECOND);
    for node in 1..8 {
        assert!(net.nodes[node].base.peers.store.full_nodes().len() <= 2);
    }
    // Ten changes within one moment: three are offered to each, the others wait for a session.
    let time = net.time();
    let base = &mut net.nodes[1].base;
    base.cx.now = time;
    let items: Vec<Arc<Item>> = (0..10).map(|number| item(number, 0, b"many")).collect();
    for item in &items {
        let via = Via::Signer(item.key);
        base.items
            .admit(&mut base.cx, Candidate::of_owner(item.clone(), via), 0)
            .unwrap();
    }
    let offers = net.counter(1, Counter::Offers);
    net.input(1, Input::TimerFired);
    let known = net.nodes[1].base.peers.store.full_nodes().clone();
    let hits = net.nodes[1].base.cx.hits[Limit::offers as usize];
    assert!(hits > 0 && !known.is_empty());
    net.run_for(SECOND);
    assert!(net.counter(1, Counter::Offers) - offers <= 3 * 2);
    net.run_for(900 * SECOND);
    let all: BTreeSet<Target> = items.iter().map(|item| item.target()).collect();
    let reached = (2..8).filter(|node| {
        let held: BTreeSet<Target> = versions(&net, *node).iter().map(|(at, _)| *at).collect();
        all.is_subset(&held)
    });
    assert!(reached.count() >= 1);
}

#[test]
fn full_nodes_advertise_themselves_and_regular_nodes_do_not() {
    let mut net = Net::settled(4, full(1..3));
    net.run_for(10 * 60 * SECOND);
    for node in 0..4 {
        let target = Target::of(&secret(node).public(), b"fullnode");
        let held = net.nodes[1]
            .base
            .items
            .store
            .get(net.time(), &target)
            .is_some();
        assert_eq!(held, (1..3).contains(&node), "{node}");
    }
    // A restart shows: the sequence follows the clock.
    let target = Target::of(&secret(2).public(), b"fullnode");
    let seq = |net: &Net| {
        net.nodes[1]
            .base
            .items
            .store
            .get(net.time(), &target)
            .unwrap()
            .item()
            .seq
    };
    let before = seq(&net);
    let config = Config {
        full_node: true,
        ..super::net::config(2)
    };
    net.kill(2);
    net.restart(2, super::net::addr(2), config);
    net.run_for(30 * SECOND);
    assert!(seq(&net) > before);
}

/// An advert names its signer; one by a node that does not reconcile has no effect.
#[test]
fn adverts_by_nodes_that_are_not_full_are_noticed_and_dropped() {
    let mut net = Net::settled(4, full(1..3));
    let value = alloc::format!(
        r#"{{"pk":"{}","stored_items":9,"full_node":true,"ts":{}}}"#,
        secret(2).public(),
        net.time().unix.0
    );
    net.put(3, "fullnode", value.as_bytes()).unwrap();
    net.run_for(20 * 60 * SECOND);
    // One of ours that says in its answers that it is not a full node: asked, and then left alone
    // for longer each time.
    let failed = net.counter(1, Counter::SyncsFailed);
    assert!((1..=6).contains(&failed), "{failed} failed sessions");
    let known = net.nodes[1].base.peers.store.full_nodes();
    assert!(!known.contains(&secret(3).public()));
    assert!(equal(&net, 1, 2));
}

/// Runs `sync` at a node.
fn sync(
    net: &mut Net,
    node: usize,
    peer: Option<usize>,
    timeout: Option<Duration>,
) -> Result<SyncOutcome, SyncError> {
    let peer = peer.map(|peer| secret(peer).public());
    match net.command(node, Command::Sync { peer, timeout }) {
        Outcome::Sync(result) => result,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reconciliation_that_is_asked_for_is_done_now_with_one_or_all() {
    let mut net = Net::settled(7, |n, config| {
        config.full_node = (1..6).contains(&n);
        config.limits.sync_sessions = 2;
    });
    for number in 0..60 {
        keep(&mut net, 1 + number % 5, &item(number, 0, b"v"));
    }
    let done = sync(&mut net, 1, Some(2), None).unwrap();
    assert_eq!(done.peers.len(), 1);
    assert_eq!(done.peers[0].result, Ok(()));
    assert_eq!(done.peers[0].peer, secret(2).public());
    let progress = done.peers[0].progress;
    assert_eq!((progress.fetched, progress.given), (12, 12));
    assert!(progress.bytes > progress.item_bytes && progress.rounds > 0);
    assert!(done.elapsed < SECOND);
    net.run_for(Duration::from_millis(100));
    assert_eq!(versions(&net, 1).len(), 24);
    // Beyond the limit on sessions, peers wait.
    let done = sync(&mut net, 1, None, None).unwrap();
    let peers: BTreeSet<_> = done.peers.iter().map(|done| done.peer).collect();
    assert_eq!(peers, (2..6).map(|node| secret(node).public()).collect());
    assert!(done.peers.iter().all(|done| done.result.is_ok()));
    net.run_for(Duration::from_millis(100));
    assert_eq!(versions(&net, 1).len(), 60);
    // The fifth received what existed when its session ran. After that nothing differs: one round.
    sync(&mut net, 1, Some(5), None).unwrap();
    net.run_for(Duration::from_millis(100));
    let again = sync(&mut net, 1, Some(5), None).unwrap();
    assert_eq!(again.peers[0].progress.rounds, 1);
    assert!(again.peers[0].progress.bytes < 64);
    assert_eq!(net.nodes[1].snapshot().syncs, []);
    // Regular nodes have nothing to reconcile, on either side.
    assert_eq!(sync(&mut net, 6, None, None), Err(SyncError::NotFullNode));
    let done = sync(&mut net, 1, Some(6), None).unwrap();
    assert_eq!(done.peers[0].result, Err(SyncFailure::NotFullNode));
    let done = sync(&mut net, 1, Some(66), None).unwrap();
    assert_eq!(done.peers[0].result, Err(SyncFailure::Unreached));
}

#[test]
fn a_reconciliation_that_is_asked_for_ends_in_time_whatever_the_peer_does() {
    let mut net = Net::settled(4, full(1..3));
    net.mute.insert(2);
    let timeout = Some(2 * SECOND);
    let done = sync(&mut net, 1, None, timeout).unwrap();
    assert_eq!(done.peers[0].result, Err(SyncFailure::Unfinished));
    assert_eq!(done.elapsed, 2 * SECOND);
    // A second operation waits for the same session, and receives its result.
    let peer = Some(secret(2).public());
    let op = net.start(
        1,
        Command::Sync {
            peer,
            timeout: None,
        },
    );
    net.run_for(15 * SECOND);
    let Some(Outcome::Sync(Ok(done))) = net.finished.get(&op) else {
        panic!("not finished");
    };
    assert_eq!(done.peers[0].result, Err(SyncFailure::Unreached));
    let op = net.start(
        1,
        Command::Sync {
            peer,
            timeout: None,
        },
    );
    net.input(1, Input::Cancel { op });
    let cancelled = OperationError::Cancelled.into();
    assert_eq!(net.finished.get(&op), Some(&Outcome::Sync(Err(cancelled))));
    let op = net.start(
        1,
        Command::Sync {
            peer,
            timeout: None,
        },
    );
    net.input(1, Input::SetFullNode { full_node: false });
    let Some(Outcome::Sync(Ok(done))) = net.finished.get(&op) else {
        panic!("not finished");
    };
    assert_eq!(done.peers[0].result, Err(SyncFailure::Stopped));
    net.mute.clear();
    let mut alone = Net::settled(2, full(1..2));
    assert_eq!(sync(&mut alone, 1, None, None), Err(SyncError::NoFullNodes));
    let op = alone.start(
        1,
        Command::Sync {
            peer,
            timeout: None,
        },
    );
    alone.command(1, Command::Shutdown);
    let over = OperationError::ShuttingDown.into();
    assert_eq!(alone.finished.get(&op), Some(&Outcome::Sync(Err(over))));
}

/// Only the node at which an item arrived offers it, not those that received it by an offer.
#[test]
fn what_came_by_an_offer_or_a_session_is_not_offered_again() {
    let mut net = Net::settled(5, full(1..5));
    let offers = |net: &Net, node| net.counter(node, Counter::Offers);
    let before: Vec<u64> = (0..5).map(|node| offers(&net, node)).collect();
    keep(&mut net, 1, &item(1, 0, b"by a session"));
    sync(&mut net, 2, Some(1), None).unwrap();
    assert_eq!(versions(&net, 2).len(), 1);
    let news = item(2, 0, b"by an offer");
    let time = net.time();
    let base = &mut net.nodes[1].base;
    base.cx.now = time;
    let via = Via::Signer(news.key);
    let candidate = Candidate::of_owner(news.clone(), via);
    base.items.admit(&mut base.cx, candidate, 0).unwrap();
    net.input(1, Input::TimerFired);
    net.run_for(SECOND);
    for node in 2..5 {
        let held = versions(&net, node);
        assert!(held.iter().any(|(at, _)| *at == news.target()), "{node}");
    }
    let after = (0..5).map(|node| offers(&net, node) - before[node]);
    assert_eq!(after.collect::<Vec<_>>(), [0, 3, 0, 0, 0]);
}

/// An item that both have costs a stamp and no transfer; and at most one offer to a peer is in
/// progress.
#[test]
fn an_offer_brings_what_is_wanted_and_no_more_one_after_the_other() {
    let mut net = Net::settled(3, full(1..3));
    let shared: Vec<Arc<Item>> = (0..100).map(|number| item(number, 0, b"both")).collect();
    for item in &shared {
        keep(&mut net, 2, item);
    }
    let given = net.counter(1, Counter::SyncGiven);
    let offers = net.counter(1, Counter::Offers);
    let time = net.time();
    let base = &mut net.nodes[1].base;
    base.cx.now = time;
    let new: Vec<Arc<Item>> = (100..200).map(|number| item(number, 0, b"new")).collect();
    for item in shared.iter().chain(&new) {
        let via = Via::Signer(item.key);
        let candidate = Candidate::of_owner(item.clone(), via);
        base.items.admit(&mut base.cx, candidate, 0).unwrap();
    }
    net.input(1, Input::TimerFired);
    for _ in 0..20 {
        net.run_for(Duration::from_millis(15));
        assert!(net.nodes[1].replication.offers.out() <= 1);
    }
    net.run_for(SECOND);
    assert_eq!(net.counter(1, Counter::Offers) - offers, 200);
    assert_eq!(net.counter(1, Counter::SyncGiven) - given, 100);
    assert_eq!(versions(&net, 2).len(), 200);
}

#[test]
fn a_publisher_gives_what_it_puts_to_the_two_nearest_full_nodes() {
    let full_nodes = 30..34;
    let mut net = Net::settled(34, |n, config| {
        config.k = 5;
        config.limits.offers = 0;
        config.full_node = full_nodes.contains(&n);
    });
    // It has met all of them, as a node does during lookups.
    for node in full_nodes.clone() {
        let (peer, addr) = (secret(node).public(), Some(addr(node)));
        let met = net.command(7, Command::Ping { peer, addr });
        assert!(matches!(met, Outcome::Ping(Ok(_))));
    }
    let mut far = 0;
    for n in 0..12 {
        let salt = alloc::format!("item {n}");
        let target = Target::of(&secret(7).public(), salt.as_bytes());
        let mut nearest: Vec<usize> = (0..34).filter(|node| *node != 7).collect();
        nearest.sort_by_key(|node| target.distance(&secret(*node).public().id()));
        let near = &nearest[..5];
        let mut wanted: BTreeSet<usize> = nearest
            .iter()
            .copied()
            .filter(|it| *it >= 30)
            .take(2)
            .collect();
        far += wanted.iter().filter(|node| !near.contains(node)).count();
        wanted.extend(near.iter().filter(|node| **node >= 30));
        net.put(7, &salt, b"v").unwrap();
        let held = net.holders(7, &salt).into_iter().filter(|it| *it >= 30);
        assert_eq!(held.collect::<BTreeSet<_>>(), wanted, "{salt}");
    }
    assert!(far > 12, "{far}");
}
