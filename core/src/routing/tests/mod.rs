//! Shared by the test modules: keys, and tables filled with them.

mod closest;
mod size;
mod table;

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::random::{Random, Seed};
use crate::routing::{PeerUpdate, Table};
use crate::time::{Mono, Time};

fn random(seed: u64) -> Random {
    Seed::from_number(seed).stream("routing tests")
}

/// A key that passes the first check, which is all the table needs.
fn any_key(random: &mut Random) -> PublicKey {
    let mut bytes = [2; 33];
    bytes[1..].copy_from_slice(&random.bytes());
    PublicKey::from_bytes(&bytes).unwrap()
}

fn keys(random: &mut Random, n: usize) -> Vec<PublicKey> {
    (0..n).map(|_| any_key(random)).collect()
}

fn update(key: PublicKey) -> PeerUpdate {
    PeerUpdate {
        key,
        addr: None,
        reachable: true,
    }
}

fn at(seconds: u64) -> Time {
    Time {
        mono: Mono(0).plus(Duration::from_secs(seconds)),
        ..Time::default()
    }
}

fn any_id(random: &mut Random) -> NodeId {
    NodeId::from_bytes(random.bytes())
}

fn any_target(random: &mut Random) -> Target {
    Target::from_bytes(random.bytes())
}

/// `id` with one bit changed.
fn flipped(id: NodeId, bit: usize) -> NodeId {
    let mut bytes = *id.as_bytes();
    bytes[bit / 8] ^= 0x80 >> (bit % 8);
    NodeId::from_bytes(bytes)
}

/// The table of `local` after all of `peers` answered.
fn filled(local: NodeId, k: usize, peers: &[PublicKey]) -> Table {
    let mut table = Table::new(local, k, 8);
    for key in peers {
        table.insert_or_update(&update(*key), at(0));
    }
    table
}
