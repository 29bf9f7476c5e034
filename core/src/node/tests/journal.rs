//! Same inputs, same outputs, bit for bit; and a journal replays without the secret key.

use alloc::vec::Vec;
use core::time::Duration;

use super::net::{Net, secret};
use crate::Seed;
use crate::journal::{Header, Recorder, Replay, ReplayError, Step};
use crate::node::*;

/// Runs a small network in which node 1 is recorded.
fn record() -> (Header, Vec<Step<'static>>) {
    let mut net = Net::new(6, |_, _| {});
    let header = Header::new(
        net.nodes[1].base.cx.config.clone(),
        secret(1).public(),
        Seed::from_number(1),
        net.time(),
    );
    net.recorder = Some((1, Recorder::new(&mut net.nodes[1])));
    net.run_for(Duration::from_secs(20));
    net.put(1, "x", b"hello").unwrap();
    net.put(2, "y", b"other").unwrap();
    net.get(1, 2, "y", ReadPolicy::Freshest).unwrap();
    net.kill(4);
    net.put(1, "x", b"again").unwrap();
    net.run_for(Duration::from_secs(2 * 3600));
    net.command(1, Command::Shutdown);
    (header, net.steps)
}

#[test]
fn a_run_replays_from_the_public_key_alone() {
    let (header, steps) = record();
    assert!(steps.len() > 500, "{} steps", steps.len());
    assert!(steps.iter().map(|step| step.signed.len()).sum::<usize>() >= 2);
    let mut replay = Replay::new(header).unwrap();
    for step in &steps {
        // Through text, as in a file.
        let text = serde_json::to_string(step).unwrap();
        let step: Step<'_> = serde_json::from_str(&text).unwrap();
        replay.step(&step).unwrap();
    }
    assert!(
        replay
            .node()
            .snapshot()
            .counters
            .get(Counter::CallsAnswered)
            > 10
    );
}

#[test]
fn two_runs_of_one_seed_are_equal_to_the_last_digest() {
    let (_, first) = record();
    let (_, second) = record();
    assert_eq!(
        first.last().map(|step| step.digest),
        second.last().map(|step| step.digest)
    );
    assert_eq!(first, second);
}

#[test]
fn a_changed_input_is_found_at_its_step() {
    let (header, mut steps) = record();
    let changed = steps
        .iter()
        .position(|step| matches!(step.input, Input::Command { .. }))
        .unwrap();
    steps[changed].input = Input::TimerFired;
    let mut replay = Replay::new(header).unwrap();
    let found = steps.iter().find_map(|step| replay.step(step).err());
    match found {
        Some(ReplayError::Diverged { step, .. }) => assert_eq!(step, changed),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_secret_enters_a_journal() {
    let (header, steps) = record();
    let mut text = serde_json::to_string(&header).unwrap();
    for step in &steps {
        text.push_str(&serde_json::to_string(step).unwrap());
    }
    let key = data_encoding::HEXLOWER.encode(&*secret(1).to_bytes());
    let base64 = data_encoding::BASE64.encode(&*secret(1).to_bytes());
    assert!(!text.contains(&key) && !text.contains(&base64));
}
