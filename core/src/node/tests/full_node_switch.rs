//! A node becomes a full node at run time, and a regular one again (§3.12, §3.16).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, secret};
use crate::cap::Cap;
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::journal::{Header, Recorder, Replay};
use crate::node::replication::adverts;
use crate::node::timers::Timer;
use crate::node::*;
use crate::store::{Candidate, Via};

const SECOND: Duration = Duration::from_secs(1);

fn switch(net: &mut Net, node: usize, full_node: bool) {
    net.input(node, Input::SetFullNode { full_node });
}

/// Stores items of other publishers on a node, as if these had put them.
fn fill(net: &mut Net, node: usize, signers: core::ops::Range<usize>) -> Vec<Arc<Item>> {
    let time = net.time();
    let base = &mut net.nodes[node].base;
    base.cx.now = time;
    let items: Vec<Arc<Item>> = signers
        .map(|signer| {
            let (seq, value) = (Seq(time.unix.0), Value::new(b"v"));
            Arc::new(Item::sign(&secret(signer), seq, value, Salt::from("s")))
        })
        .collect();
    for item in &items {
        let via = Via::Signer(item.key);
        let admitted = Candidate::of_owner(item.clone(), via);
        base.items.admit(&mut base.cx, admitted, 0).unwrap();
    }
    net.input(node, Input::TimerFired);
    items
}

fn holds(net: &Net, node: usize, target: &Target) -> bool {
    let held = net.nodes[node].base.items.store.get(net.time(), target);
    held.is_some_and(|held| !held.is_tombstone())
}

fn advert(node: usize) -> Target {
    Target::of(&secret(node).public(), b"fullnode")
}

#[test]
fn a_node_made_full_at_run_time_does_all_that_one_from_the_start_does() {
    let mut net = Net::settled(4, |n, config| config.full_node = (1..3).contains(&n));
    let before = fill(&mut net, 1, 100..140);
    net.run_for(5 * SECOND);
    assert!(!before.iter().all(|item| holds(&net, 3, &item.target())));
    assert_eq!(net.counter(3, Counter::SyncsStarted), 0);
    switch(&mut net, 3, true);
    assert!(net.nodes[3].snapshot().full_node);
    net.run_for(20 * SECOND);
    // It has fetched all items, publishes its advert, and is offered new items.
    assert!(before.iter().all(|item| holds(&net, 3, &item.target())));
    assert!(holds(&net, 1, &advert(3)) && holds(&net, 3, &advert(3)));
    net.run_for(120 * SECOND);
    let known = |node: usize| net.nodes[node].base.peers.store.full_nodes().clone();
    assert!(known(1).contains(&secret(3).public()), "no node noticed");
    let later = fill(&mut net, 1, 140..150);
    net.run_for(SECOND);
    assert!(later.iter().all(|item| holds(&net, 3, &item.target())));
    // It offers the items that it receives.
    let own = fill(&mut net, 3, 150..160);
    net.run_for(SECOND);
    assert!(own.iter().all(|item| holds(&net, 2, &item.target())));
    let max = |limit| {
        let limits = net.nodes[3].snapshot().limits;
        limits.iter().find(|it| it.limit == limit).unwrap().max
    };
    assert_eq!(
        (max(Limit::store_items), max(Limit::public_items)),
        (None, None)
    );
    // Repeating the switch changes nothing.
    switch(&mut net, 3, true);
    assert!(net.nodes[3].base.cx.timers.due_at(Timer::Advert).is_some());
}

#[test]
fn a_full_node_made_regular_ends_its_loops_and_lets_go_of_what_is_far_in_steps() {
    let mut net = Net::settled(24, |n, config| {
        config.full_node = (1..3).contains(&n);
        config.limits.items_per_peer = Cap::UNLIMITED;
        if n == 2 {
            config.limits.store_items = Cap::new(400);
            config.limits.public_items = Cap::new(300);
            // An item is distant if k peers are nearer: in a network of 24 that requires a small k.
            config.k = 4;
        }
    });
    net.run_for(30 * SECOND);
    let own = Target::of(&secret(2).public(), b"own");
    net.put(2, "own", b"mine").unwrap();
    let items = fill(&mut net, 2, 1_000..2_000);
    net.run_for(5 * SECOND);
    let held = |net: &Net| net.nodes[2].snapshot().store.items;
    assert!(held(&net) > 1_000 && holds(&net, 2, &advert(2)));
    let evicted = net.counter(2, Counter::ItemsEvicted);
    switch(&mut net, 2, false);
    // A few at a time; its deleted advert replaced one more.
    let step = net.counter(2, Counter::ItemsEvicted) - evicted;
    assert!((1..=129).contains(&step), "{step} in one step");
    net.run_for(SECOND);
    net.nodes[2].base.items.store.check_invariants();
    // Down to four fifths of its limits, except for nearby items.
    assert!(held(&net) <= 300, "{} held", held(&net));
    let id = secret(2).public().id();
    let (kept, gone): (Vec<_>, Vec<_>) = items
        .iter()
        .map(|item| item.target())
        .partition(|target| holds(&net, 2, target));
    let farthest = kept.iter().map(|target| target.distance(&id)).max();
    let nearest = gone.iter().map(|target| target.distance(&id)).min();
    assert!(
        kept.len() > 100 && farthest < nearest,
        "not the farthest went"
    );
    assert!(holds(&net, 2, &own), "its own item went");
    let started = net.counter(2, Counter::SyncsStarted);
    net.run_for(5 * SECOND);
    // Its advert is deleted everywhere, and its recurring tasks have stopped.
    for node in [1, 2] {
        assert!(!holds(&net, node, &advert(2)), "{node} still has it");
    }
    assert!(!adverts::signers(&net.nodes[1].base, 64).contains(&secret(2).public()));
    let timers = &net.nodes[2].base.cx.timers;
    for timer in [Timer::Reconcile, Timer::Offer, Timer::Advert, Timer::Trim] {
        assert_eq!(timers.due_at(timer), None, "{timer:?}");
    }
    net.run_for(300 * SECOND);
    assert_eq!(net.counter(2, Counter::SyncsStarted), started);
    let known = net.nodes[1].base.peers.store.full_nodes();
    assert!(
        !known.contains(&secret(2).public()),
        "it is still taken for one"
    );
}

/// Peers that do not know of the switch yet do not return what it dropped.
#[test]
fn a_session_or_offer_with_a_node_that_is_full_no_more_gives_it_nothing() {
    let mut net = Net::settled(3, |n, config| {
        config.full_node = n > 0;
        config.k = 1;
        config.limits.store_items = Cap::new(40);
    });
    let items = fill(&mut net, 1, 100..200);
    net.run_for(5 * SECOND);
    switch(&mut net, 2, false);
    let left = net.nodes[2].snapshot().store.items;
    assert!(left < 45, "{left}");
    let given = net.counter(1, Counter::SyncGiven);
    // An offer and a session.
    fill(&mut net, 1, 200..210);
    let peer = Some(secret(2).public());
    let timeout = None;
    let done = match net.command(1, Command::Sync { peer, timeout }) {
        Outcome::Sync(done) => done.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(done.peers[0].result, Err(SyncFailure::NotFullNode));
    net.run_for(180 * SECOND);
    assert_eq!(net.counter(1, Counter::SyncGiven), given);
    let held = |node: usize| {
        let held = items.iter().map(|item| holds(&net, node, &item.target()));
        held.filter(|held| *held).count()
    };
    assert!(held(2) < 45 && held(1) == 100);
}

#[test]
fn switching_during_a_session_ends_it_and_begins_another() {
    let mut net = Net::settled(3, |n, config| config.full_node = n == 1);
    let items = fill(&mut net, 1, 100..900);
    for _ in 0..5 {
        switch(&mut net, 2, true);
        // During the session.
        net.run_for(Duration::from_millis(560));
        switch(&mut net, 2, false);
        assert_eq!(net.nodes[2].replication.sessions.len(), 0);
        net.run_for(Duration::from_millis(15));
    }
    switch(&mut net, 2, true);
    net.run_for(90 * SECOND);
    assert!(items.iter().all(|item| holds(&net, 2, &item.target())));
    assert_eq!(net.nodes[2].snapshot().in_flight, InFlight::default());
}

#[test]
fn a_switch_stands_in_the_journal_and_replays() {
    let mut net = Net::new(5, |n, config| config.full_node = n == 1);
    let config = net.nodes[2].base.cx.config.clone();
    let header = Header::new(config, secret(2).public(), Seed::from_number(2), net.time());
    net.recorder = Some((2, Recorder::new(&mut net.nodes[2])));
    net.run_for(20 * SECOND);
    net.put(3, "x", b"value").unwrap();
    switch(&mut net, 2, true);
    net.run_for(90 * SECOND);
    switch(&mut net, 2, false);
    net.run_for(20 * SECOND);
    let mut replay = Replay::new(header).unwrap();
    for step in &net.steps {
        let text = serde_json::to_string(step).unwrap();
        replay.step(&serde_json::from_str(&text).unwrap()).unwrap();
    }
    let counters = replay.node().snapshot().counters;
    assert!(counters.get(Counter::SyncsStarted) > 0);
}
