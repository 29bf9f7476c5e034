//! Marks survive a restart.

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::hand::{Hand, item, ours, put};
use crate::id::Target;
use crate::item::{Salt, Seq, Value};
use crate::mark::{MarkChange, MarkKind, StoredMark};
use crate::node::*;
use crate::wire::Response;

const HOUR: Duration = Duration::from_secs(3600);

fn node() -> Hand {
    Hand::new(|config| config.storage = true)
}

/// The marks in storage after the run.
fn kept(hand: &Hand) -> BTreeMap<(MarkKind, Target), StoredMark> {
    let mut kept = BTreeMap::new();
    for output in &hand.outputs {
        if let Output::PersistMark { change } = output {
            match change {
                MarkChange::Keep(mark) => drop(kept.insert(change.place(), *mark)),
                MarkChange::Forget(..) => drop(kept.remove(&change.place())),
            }
        }
    }
    kept
}

fn put_own(hand: &mut Hand, value: &[u8], seq: Option<Seq>) -> Seq {
    let op = hand.command(Command::Put {
        salt: Salt::from("own"),
        value: Value::new(value),
        options: PutOptions {
            local_only: true,
            once: true,
            seq,
            ..PutOptions::default()
        },
    });
    match hand.finished(op) {
        Some(Outcome::Put(Ok(put))) => put.seq,
        other => panic!("{other:?}"),
    }
}

#[test]
fn after_a_restart_nothing_deleted_comes_back_and_no_own_sequence_is_lowered() {
    let mut hand = node();
    let (older, tombstone) = (item(1, "s", 5, "v"), item(1, "s", 6, ""));
    hand.ask(1, ours(), put(&older));
    hand.ask(1, ours(), put(&tombstone));
    let far = Seq(hand.time().unix.0 + 23 * 3_600_000_000_000);
    put_own(&mut hand, b"far ahead", Some(far));
    let deleted = put_own(&mut hand, b"", None);
    assert_eq!(deleted, Seq(far.0 + 1));
    // All items expire; the marks remain.
    hand.pass(3 * HOUR);
    assert_eq!(hand.node.store().fill().items, 0);
    let marks = kept(&hand);
    assert!(marks.contains_key(&(MarkKind::Deleted, tombstone.target())));

    let mut hand = node();
    hand.pass(3 * HOUR);
    for mark in marks.into_values() {
        hand.input(Input::MarkLoaded { mark });
    }
    assert_eq!(kept(&hand), BTreeMap::new(), "storage has them");
    for item in [&older, &tombstone] {
        let answer = hand.ask(2, ours(), put(item)).unwrap();
        assert!(matches!(
            answer.response,
            Response::PutValue { stored: false, .. }
        ));
    }
    assert_eq!(hand.counter(Counter::DeletedRefused), 2);
    assert_eq!(put_own(&mut hand, b"again", None), Seq(deleted.0 + 1));
    let own = kept(&hand)
        .into_values()
        .find(|it| it.kind == MarkKind::Own);
    assert_eq!(own.map(|it| it.seq), Some(Seq(deleted.0 + 1)));
}

#[test]
fn own_sequences_beyond_the_limit_are_forgotten_by_storage_too() {
    let mut hand = Hand::new(|config| {
        config.storage = true;
        config.limits.own_items = 2;
    });
    for n in 0..5 {
        let op = hand.command(Command::Put {
            salt: Salt::from(alloc::format!("{n}").as_str()),
            value: Value::new(b"v"),
            options: PutOptions {
                local_only: true,
                once: true,
                ..PutOptions::default()
            },
        });
        assert!(matches!(hand.finished(op), Some(Outcome::Put(Ok(_)))));
    }
    assert_eq!(kept(&hand).len(), 2);
}

#[test]
fn without_storage_nothing_is_said_of_marks() {
    let mut hand = Hand::new(|_| {});
    put_own(&mut hand, b"v", None);
    put_own(&mut hand, b"", None);
    hand.pass(3 * HOUR);
    assert_eq!(kept(&hand), BTreeMap::new());
}
