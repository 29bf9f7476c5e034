//! Effects of silence, slowness and invalid data on a node of upstream.

use std::time::Duration;

use serde_json::json;
use skydht_core::id::Target;
use skydht_core::item::Value;
use skydht_core::node::{Command, Identity, Input, OperationError, Outcome, PingError, PutOptions};
use skydht_core::store::Refusal;

use super::operations::found;
use super::{get, item, key, network, node, put};
use crate::host::Host as _;
use crate::testbed::{Caller, Testbed};
use crate::upstream::{MirrorConfig, UpstreamConfig, UpstreamNode};

const SECOND: Duration = Duration::from_secs(1);

fn search() -> Command {
    Command::FindNode {
        target: Target::default(),
        timeout: None,
    }
}

#[test]
fn the_dead_cost_ten_seconds_a_round_and_stay() {
    let mut network = network(12);
    for n in 1..=4 {
        network.silence(n);
    }
    let before = network.upstream(6).table().len();
    let (outcome, elapsed) = network.ask(6, search());
    let outcome = found(outcome);
    assert!(elapsed >= 20 * SECOND, "two rounds at least: {elapsed:?}");
    assert_eq!(outcome.stats.failed, 4);
    assert!((1..=4).all(|n| outcome.closest.contains(&key(n))));
    assert_eq!(network.upstream(6).table().len(), before);
    // They are not dialled for ten minutes, but they are still in every result.
    let (again, elapsed) = network.ask(6, search());
    assert!(elapsed < 3 * SECOND, "{elapsed:?}");
    assert_eq!(found(again).stats.failed, 4);
}

#[test]
fn a_put_goes_to_the_dead_too() {
    let mut network = network(6);
    network.silence(1);
    let (outcome, elapsed) = network.ask(2, put(b"v", 1));
    let Outcome::Put(Ok(outcome)) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(outcome.replicas.stored, 4);
    assert_eq!(outcome.stats.requests, 5 + 5);
    assert!(elapsed >= 10 * SECOND);
}

#[test]
fn one_failed_dial_hides_a_bootstrap_peer_for_ten_minutes() {
    let config = UpstreamConfig {
        bootstrap: vec![key(0)],
        republish: None,
        ..UpstreamConfig::default()
    };
    let mut network = Testbed::new(vec![node(0, UpstreamConfig::default())]);
    network.silence(0);
    network.add(node(1, config));
    network.run(11 * SECOND);
    network.resume(0);
    network.run(590 * SECOND);
    let counters = network.upstream(1).counters();
    assert_eq!(counters.calls, 1);
    // One every 30 seconds.
    assert!(counters.calls_skipped >= 18, "{counters:?}");
    assert!(network.upstream(1).table().is_empty());
    network.run(60 * SECOND);
    assert_eq!(network.upstream(1).table().len(), 1);
}

#[test]
fn a_cancelled_dial_counts_as_failed() {
    let mut network = network(3);
    network.silence(1);
    let op = network.begin(2, search());
    network.run(SECOND);
    network.world.cancel(op);
    network.run(SECOND);
    let cancelled = Outcome::FindNode(Err(OperationError::Cancelled));
    assert_eq!(network.outcome(op), Some(cancelled));
    let ping = Command::Ping {
        peer: key(1),
        addr: None,
    };
    network.resume(1);
    let (outcome, elapsed) = network.ask(2, ping);
    assert!(matches!(outcome, Outcome::Ping(Err(PingError::Open(_)))));
    assert_eq!(elapsed, Duration::ZERO);
}

#[test]
fn a_deadline_ends_an_operation() {
    let mut network = network(3);
    network.silence(1);
    let options = PutOptions {
        timeout: Some(2 * SECOND),
        ..PutOptions::default()
    };
    let put = Command::PutSigned {
        item: Box::new(item(2, 1, b"v")),
        options,
    };
    let (outcome, elapsed) = network.ask(2, put);
    assert!(
        matches!(&outcome, Outcome::Put(Err(e)) if e.to_string() == "timed out"),
        "{outcome:?}"
    );
    assert_eq!(elapsed, 2 * SECOND);
}

#[test]
fn a_message_with_a_key_beyond_the_field_ends_the_process() {
    let mut network = network(3);
    let body = json!({"sender_pk": format!("02{}", "ff".repeat(32))}).to_string();
    let deadly = frame(2, body.as_bytes());
    let caller = network.add(Caller::new(key(9), key(1), vec![deadly]));
    // A lookup is in progress when the message arrives.
    network.silence(2);
    let op = network.begin(1, get(2));
    network.run(SECOND);
    network.resume(2);
    assert!(network.upstream(1).crashed());
    assert!(network.caller(caller).closed[0] && network.caller(caller).answers[0].is_empty());
    let over = OperationError::ShuttingDown;
    assert_eq!(network.outcome(op), Some(Outcome::Get(Err(over.into()))));
    assert_eq!(network.upstream(1).next_deadline(), None);
    let (outcome, _) = network.ask(1, search());
    assert_eq!(outcome, Outcome::FindNode(Err(over)));
    // Other nodes consider the node dead.
    let ping = Command::Ping {
        peer: key(1),
        addr: None,
    };
    let (outcome, _) = network.ask(2, ping);
    assert!(matches!(outcome, Outcome::Ping(Err(_))), "{outcome:?}");
}

#[test]
fn an_answer_can_end_the_process_too() {
    let now = network(1).now();
    // A peer that is not of upstream answers node 2 with a key that is on no curve.
    let body = format!(
        r#"{{"closest":[{{"id":{:?},"pk":"02{}"}}]}}"#,
        [0; 32],
        "ff".repeat(32)
    );
    let mut victim = UpstreamNode::new(
        UpstreamConfig {
            bootstrap: vec![key(1)],
            ..UpstreamConfig::default()
        },
        Identity::Keyed(super::secret(60)),
        now,
    );
    answer_every_call_with(
        &mut victim,
        now,
        &[frame(1, b"{}"), frame(2, body.as_bytes())],
    );
    assert!(victim.crashed());
}

/// Opens each stream that the node requests and gives it the next answer.
fn answer_every_call_with(
    node: &mut UpstreamNode,
    now: skydht_core::time::Time,
    answers: &[Vec<u8>],
) {
    let mut answers = answers.iter();
    node.handle(now, Input::TimerFired);
    while let Some(output) = node.poll_output() {
        if let skydht_core::node::Output::OpenStream { stream, .. } = output {
            let path = skydht_core::node::Path {
                reach: skydht_core::node::Reach::Relayed,
                remote: None,
            };
            node.handle(now, Input::StreamOpened { stream, path });
            let bytes = answers.next().expect("an answer for each call").into();
            node.handle(now, Input::Bytes { stream, bytes });
        }
    }
}

#[test]
fn a_claimed_sender_enters_the_table() {
    let mut network = network(3);
    let claim = json!({"sender_id": [7], "sender_pk": key(50)}).to_string();
    network.add(Caller::new(
        key(9),
        key(0),
        vec![frame(5, claim.as_bytes())],
    ));
    network.run(SECOND);
    let table = network.upstream(0).table();
    let claimed = table.iter().find(|it| it.key == Some(key(50)));
    assert!(claimed.is_some_and(|it| it.id != key(50).id()));
}

#[test]
fn slow_senders_hold_all_handlers() {
    let mut network = Testbed::new(vec![node(0, UpstreamConfig::default())]);
    network.add(Caller::new(key(9), key(0), vec![vec![0]; 128]));
    network.run(SECOND);
    let pings = vec![frame(1, b"{}"); 21];
    let caller = network.add(Caller::new(key(8), key(0), pings));
    network.run(3_600 * SECOND);
    assert_eq!(network.upstream(0).counters().dropped, 1);
    let caller = network.caller(caller);
    assert!(caller.answers.iter().all(Vec::is_empty));
    assert_eq!(caller.closed.iter().filter(|it| **it).count(), 1);
}

#[test]
fn refusals_are_distinguished() {
    let mut network = network(4);
    let now = network.now().mono;
    for n in [0, 1] {
        let newer = item(2, 9, b"newer").into();
        network
            .upstream_mut(n)
            .store_mut()
            .put(now, &newer)
            .unwrap();
    }
    let Outcome::Put(Ok(outcome)) = network.ask(2, put(b"older", 8)).0 else {
        panic!("one taker is enough");
    };
    assert_eq!(outcome.replicas.refused, [(Refusal::Older, 2)]);
    assert_eq!(outcome.replicas.stored, 1);
}

pub(super) fn frame(method: u8, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 1).to_be_bytes().to_vec();
    out.push(method);
    out.extend_from_slice(body);
    out
}

#[test]
fn a_mirror_beats_owners_and_leaves_out_those_that_come_too_late() {
    let owners = [item(4, 0, b"").target(), item(5, 0, b"").target()];
    let config = UpstreamConfig {
        bootstrap: vec![key(0)],
        mirror: Some(MirrorConfig {
            targets: owners.to_vec(),
            salt: "dmsg".into(),
            value: Value::new(b"mirrored"),
            every: 400 * SECOND,
        }),
        ..UpstreamConfig::default()
    };
    let mut network = network(8);
    let service = network.add(node(8, config));
    for owner in [4, 5] {
        let (outcome, _) = network.ask(owner, put(b"mine", 7));
        assert!(matches!(outcome, Outcome::Put(Ok(_))));
    }
    network.run(390 * SECOND);
    // One dead peer uses up the time for both targets.
    network.silence(1);
    network.run(60 * SECOND);
    assert_eq!(network.upstream(service).counters().mirrored, 1);
    let now = network.now().mono;
    let holders = [0, 2, 3].map(|n| network.upstream(n).store());
    let values = |target| {
        let held = holders.iter().filter_map(|it| it.get(now, target));
        held.map(|it| it.value.as_bytes()).collect::<Vec<_>>()
    };
    assert_eq!(values(&owners[0]), [b"mine"; 3]);
    assert_eq!(values(&owners[1]), [b"mine"; 3]);
    network.resume(1);
    network.run(400 * SECOND);
    let holders = [0, 2, 3].map(|n| network.upstream(n).store());
    let values = |target| {
        let held = holders
            .iter()
            .filter_map(|it| it.get(network.now().mono, target));
        held.map(|it| it.value.as_bytes()).collect::<Vec<_>>()
    };
    assert_eq!(values(&owners[0]), [b"mirrored"; 3]);
    assert_eq!(values(&owners[1]), [b"mirrored"; 3]);
}
