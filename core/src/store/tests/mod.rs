//! The rules of the store, one test each. Signatures are not the store's business, so these
//! items carry none.

mod clock;
mod deletions;
mod eviction;
mod floods;
mod life;
mod lists;
mod mirrors;
mod pages;
mod properties;
mod quotas;
mod tiers;

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::time::Duration;

use super::*;
use crate::id::NodeId;
use crate::item::{Salt, Value};
use crate::key::Signature;

pub(super) const TTL: Duration = Duration::from_secs(7200);
const HOUR: u64 = 3600;

/// A key's bytes; nobody can sign with it.
fn key(byte: u8) -> PublicKey {
    let mut bytes = [byte; 33];
    bytes[0] = 2;
    PublicKey::from_bytes(&bytes).unwrap()
}

fn item(signer: u8, seq: u64, value: &[u8], salt: &str) -> Arc<Item> {
    Arc::new(Item {
        key: key(signer),
        seq: Seq(seq),
        signature: Signature::default(),
        value: Value::new(value),
        salt: Salt::from(salt),
    })
}

/// No limits, no tiers, no mirrors.
fn config() -> StoreConfig {
    StoreConfig::unlimited(NodeId::from_bytes([0; 32]), TTL)
}

fn store() -> Store {
    Store::new(config())
}

/// Seconds after the start; the wall clock is set.
fn at(seconds: u64) -> Time {
    let nanos = seconds * 1_000_000_000;
    Time {
        mono: Mono(nanos),
        unix: Unix(Unix::BUILD.0 + 1_000_000_000_000_000 + nanos),
    }
}

/// The sequence that names this time.
fn seq_at(seconds: u64) -> u64 {
    at(seconds).unix.0
}

/// Over the signer's own stream.
fn own(item: &Arc<Item>) -> Candidate {
    Candidate::of_owner(item.clone(), Via::Signer(item.key))
}

/// Over the stream of another.
fn from_peer(peer: u8, item: &Arc<Item>) -> Candidate {
    Candidate::of_owner(item.clone(), Via::Peer(key(peer)))
}

/// A mirrored item, over its signer's own stream.
fn mirror(target: Target, item: &Arc<Item>) -> Candidate {
    Candidate {
        target,
        ..own(item)
    }
}

fn remaining(store: &Store, now: Time, item: &Item) -> Option<u64> {
    let stored = store.get(now, &item.target()).expect("stored");
    stored.remaining(now).map(|left| left.as_secs())
}

/// Puts and checks that the quick judgement before the signature check is the same.
fn put(store: &mut Store, now: Time, candidate: Candidate) -> Result<Admission, Refusal> {
    let before = store.precheck(now, &candidate, 0);
    let stored = store.get(now, &candidate.target);
    let same = stored.is_some_and(|stored| stored.rank() == candidate.rank());
    let after = store.admit(now, candidate, 0);
    match (before, &after) {
        // The same item is checked, too, if it comes with another signature.
        (Ok(Precheck::Verify), Ok(done)) => assert_eq!(done.kind == AdmissionKind::Stored, !same),
        (Ok(Precheck::Held), Ok(done)) => assert_ne!(done.kind, AdmissionKind::Stored),
        (Err(before), Err(after)) => assert_eq!(before, *after),
        (before, after) => panic!("judged {before:?}, then {after:?}"),
    }
    store.check_invariants();
    after
}

fn kind(result: Result<Admission, Refusal>) -> AdmissionKind {
    result.expect("admitted").kind
}
