//! Tests of commands in a network without faults.

use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Origin, Seq};
use skydht_core::node::{
    Command, FindNodeOutcome, GetError, GetOutcome, OperationError, Outcome, PutOutcome, Source,
};

use super::{get, item, key, network, node, put};
use crate::testbed::{LATENCY, Testbed};
use crate::upstream::UpstreamConfig;

pub(super) fn got(outcome: Outcome) -> Result<GetOutcome, GetError> {
    match outcome {
        Outcome::Get(result) => result,
        other => panic!("no get: {other:?}"),
    }
}

pub(super) fn stored(outcome: Outcome) -> PutOutcome {
    match outcome {
        Outcome::Put(result) => result.expect("stored"),
        other => panic!("no put: {other:?}"),
    }
}

pub(super) fn found(outcome: Outcome) -> FindNodeOutcome {
    match outcome {
        Outcome::FindNode(result) => result.expect("found"),
        other => panic!("no search: {other:?}"),
    }
}

#[test]
fn nodes_find_each_other_and_what_they_put() {
    let mut network = network(30);
    assert!((0..30).all(|n| network.upstream(n).table().len() >= 10));
    let (outcome, elapsed) = network.ask(3, put(b"v", 7));
    let outcome = stored(outcome);
    assert_eq!((outcome.replicas.stored, outcome.seq), (20, Seq(7)));
    assert!(outcome.local && outcome.replicas.attempted() == 20);
    // Holders are asked one after another. Each takes two round trips: the dial and the request.
    assert!(elapsed >= LATENCY * 4 * 20, "{elapsed:?}");
    let target = outcome.target;
    let reader = (0..30).find(|n| network.upstream(*n).store().is_empty());
    let reader = reader.expect("30 nodes, 21 holders");
    let found = got(network.ask(reader, get(3)).0).unwrap();
    assert_eq!(found.item.value.as_bytes(), b"v");
    assert_eq!(
        (found.origin, found.source),
        (Origin::Owner, Source::Network)
    );
    assert!(found.agree >= 15 && found.stats.converged, "{found:?}");
    // A found value does not end the lookup.
    assert!(found.stats.answered >= 20 && found.first_value == found.stats.elapsed);
    // The reader stores the item and sends no request the next time.
    assert!(
        network
            .upstream(reader)
            .store()
            .iter()
            .any(|(it, _)| *it == target)
    );
    let again = got(network.ask(reader, get(3)).0).unwrap();
    assert_eq!((again.source, again.stats.requests), (Source::Store, 0));
}

#[test]
fn no_peer_to_ask_is_no_error() {
    let mut alone = Testbed::new(vec![node(0, UpstreamConfig::default())]);
    let outcome = stored(alone.ask(0, put(b"v", 1)).0);
    assert_eq!((outcome.replicas.attempted(), outcome.local), (0, true));
    let target = Target::default();
    let search = Command::FindNode {
        target,
        timeout: None,
    };
    assert!(found(alone.ask(0, search).0).closest.is_empty());
    assert!(matches!(
        got(alone.ask(0, get(5)).0),
        Err(GetError::NotFound { .. })
    ));
}

#[test]
fn an_equal_sequence_is_refused_everywhere() {
    let mut network = network(5);
    stored(network.ask(1, put(b"v", 7)).0);
    let Outcome::Put(Err(error)) = network.ask(1, put(b"v", 7)).0 else {
        panic!("the same again is not refused");
    };
    assert!(error.to_string().starts_with("0 of the 1"), "{error}");
}

#[test]
fn own_items_are_pushed_again_every_minute_with_the_next_sequence() {
    let config = UpstreamConfig {
        bootstrap: vec![key(0)],
        ..UpstreamConfig::default()
    };
    let nodes = (0..3).map(|n| node(n, config.clone())).collect();
    let mut network = Testbed::new(nodes);
    network.run(Duration::from_secs(30));
    let target = stored(network.ask(1, put(b"v", 7)).0).target;
    network.run(Duration::from_secs(125));
    let at_two = network
        .upstream(2)
        .store()
        .iter()
        .find(|(it, _)| **it == target);
    assert_eq!(at_two.map(|(_, item)| item.seq), Some(Seq(9)));
    assert_eq!(network.upstream(1).counters().republished, 2);
}

#[test]
fn an_old_copy_in_the_own_store_hides_a_newer_one() {
    let mut network = network(5);
    let old = item(1, 7, b"old").into();
    let now = network.now().mono;
    network.upstream_mut(4).store_mut().put(now, &old).unwrap();
    // Node 4 is unreachable while the owner publishes, and reachable again afterwards.
    network.silence(4);
    stored(network.ask(1, put(b"new", 8)).0);
    network.resume(4);
    let found = got(network.ask(4, get(1)).0).unwrap();
    assert_eq!(found.item.value.as_bytes(), b"old");
    assert_eq!(got(network.ask(3, get(1)).0).unwrap().item.seq, Seq(8));
}

#[test]
fn the_signer_of_the_highest_sequence_is_taken_for_the_owner() {
    let mut network = network(40);
    let target = stored(network.ask(1, put(b"mine", 7)).0).target;
    let forged = item(2, u64::MAX, b"forged").into();
    let now = network.now().mono;
    let holds = |it: &crate::upstream::UpstreamNode| it.store().iter().any(|(t, _)| *t == target);
    let holder = (2..40).find(|n| holds(network.upstream(*n))).unwrap();
    let kept = network.upstream_mut(holder).store_mut();
    assert!(kept.put_mirror(now, target, &forged));
    let reader = (2..40).find(|n| !holds(network.upstream(*n))).unwrap();
    let found = got(network.ask(reader, get(1)).0).unwrap();
    assert_eq!(found.item.value.as_bytes(), b"forged");
    assert_eq!((found.origin, found.agree), (Origin::Mirror, 1));
    // The item is stored, but at the target of its signer's item, so the next get asks again.
    let kept = network.upstream(reader).store();
    let targets: Vec<Target> = kept.iter().map(|(target, _)| *target).collect();
    assert_eq!(targets, [item(2, 1, b"").target()]);
}

#[test]
fn a_shutdown_ends_every_operation_once() {
    let mut network = network(5);
    let search = Command::FindNode {
        target: Target::default(),
        timeout: None,
    };
    let op = network.begin(2, search.clone());
    assert_eq!(network.ask(2, Command::Shutdown).0, Outcome::Shutdown);
    let over = Outcome::FindNode(Err(OperationError::ShuttingDown));
    assert_eq!(network.outcome(op), Some(over.clone()));
    assert_eq!(network.ask(2, search).0, over);
}
