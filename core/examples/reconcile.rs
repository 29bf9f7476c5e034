//! Cost of reconciling two sets: by ranges with this crate's `sync`, with `negentropy`, and with a
//! rateless sketch (Yang et al., "Practical Rateless Set Reconciliation", 2024), in bytes, round
//! trips and time.
//!
//! `cargo run --release -p skydht-core --example reconcile [ITEMS DIFFERENCES]…`
//!
//! Every second difference is an item that one side lacks, the others are newer versions; both
//! sides alternate in having them. `beyond` is the number of bytes sent besides the items
//! themselves. The other two methods find only names (32 bytes, 8 bytes): the cost of fetching by
//! name is added (sketch: 8 bytes each way; negentropy: 32).

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
#![allow(
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use sha2::{Digest, Sha256};
use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, Signature};
use skydht_core::sync::{
    Entries, ItemSet, Session, SessionLimits, SessionOutput, Source, SyncRequest, respond,
};

/// A late sequence, in nanoseconds since 1970.
const START: u64 = 1_790_000_000_000_000_000;

fn item(number: u64, seq: u64, value: &Value) -> Arc<Item> {
    let mut key = [2; 33];
    key[1..].copy_from_slice(&Sha256::digest(number.to_be_bytes()));
    Arc::new(Item {
        key: PublicKey::from_bytes(&key).expect("the tag is 2"),
        seq: Seq(START + seq),
        signature: Signature::default(),
        value: value.clone(),
        salt: Salt::from("dmsg"),
    })
}

fn sets(items: u64, differences: u64) -> (ItemSet, ItemSet) {
    let value = Value::new(&[7; 300]);
    let (mut a, mut b) = (ItemSet::default(), ItemSet::default());
    for number in 0..items {
        let item = item(number, number, &value);
        a.insert(item.clone());
        b.insert(item);
    }
    for n in 0..differences {
        let side = if n % 4 < 2 { &mut a } else { &mut b };
        let number = if n % 2 == 0 {
            items + n
        } else {
            n * (items / differences.max(1))
        };
        side.insert(item(number, items + n, &value));
    }
    (a, b)
}

/// Bytes besides the items, round trips, time.
type Cost = (u64, u32, Duration);

fn ours(mut a: ItemSet, mut b: ItemSet) -> Cost {
    let start = Instant::now();
    let mut session = Session::start(&a, [5; 8], SessionLimits::default()).expect("it starts");
    loop {
        let mut answer = None;
        while let Some(output) = session.poll_output() {
            match output {
                SessionOutput::Send(bytes) => {
                    let request = SyncRequest::decode(&bytes).expect("a message");
                    let reply = respond(&b, request);
                    for (item, _) in reply.given {
                        b.insert(item);
                    }
                    answer = Some(reply.response.encode());
                }
                SessionOutput::Item(received) => {
                    a.insert(received.item);
                }
                SessionOutput::Finished(summary) => {
                    let took = start.elapsed();
                    assert!(a.tree() == b.tree(), "the sets differ");
                    let all = summary.bytes_in + summary.bytes_out;
                    return (all - summary.item_bytes, summary.rounds, took);
                }
            }
        }
        session
            .handle(&a, &answer.expect("an answer"))
            .expect("it goes on");
    }
}

fn theirs(a: &ItemSet, b: &ItemSet, by_time: bool) -> Cost {
    let storage = |set: &ItemSet| {
        let mut storage = NegentropyStorageVector::new();
        for (target, version) in set.entries(Target::default()) {
            let time = if by_time { version.seq.0 } else { 0 };
            let id = Id::from_byte_array(version.digest(&target));
            storage.insert(time, id).expect("not sealed");
        }
        storage.seal().expect("once");
        storage
    };
    let (a, b) = (storage(a), storage(b));
    let start = Instant::now();
    let mut client = Negentropy::owned(a, 0).expect("no frame limit");
    let mut server = Negentropy::owned(b, 0).expect("no frame limit");
    let mut message = client.initiate().expect("a message");
    let (mut bytes, mut rounds) = (0, 0);
    let (mut have, mut need) = (Vec::new(), Vec::new());
    loop {
        let answer = server.reconcile(&message).expect("an answer");
        rounds += 1;
        bytes += message.len() + answer.len();
        let next = client.reconcile_with_ids(&answer, &mut have, &mut need);
        match next.expect("it goes on") {
            Some(next) => message = next,
            None => break,
        }
    }
    // Fetching the items: one more round trip, and the names of those requested.
    bytes += 32 * need.len();
    rounds += u32::from(!need.is_empty() || !have.is_empty());
    (bytes as u64, rounds, start.elapsed())
}

/// A coded symbol: the sum of the names, of their hashes, and their number.
#[derive(Clone, Copy, Default)]
struct Symbol {
    names: u64,
    checks: u32,
    count: i64,
}

fn check(name: u64) -> u32 {
    (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ name.rotate_left(29)).wrapping_mul(0xff51_afd7)
        as u32
}

/// The symbols that a name is part of.
struct Mapping {
    random: u64,
    at: u64,
}

impl Iterator for Mapping {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let now = self.at;
        self.random = self.random.wrapping_mul(0xda94_2042_e4dd_58b5);
        let r = (self.random >> 32) as f64 + 1.0;
        let jump = (now as f64 + 1.5) * ((4_294_967_296.0 / r).sqrt() - 1.0);
        self.at = now + (jump.ceil() as u64).max(1);
        Some(now as usize)
    }
}

fn mapping(name: u64) -> Mapping {
    Mapping {
        random: name | 1,
        at: 0,
    }
}

fn symbols(names: &[u64], len: usize) -> Vec<Symbol> {
    let mut symbols = vec![Symbol::default(); len];
    for name in names {
        for at in mapping(*name).take_while(|at| *at < len) {
            let symbol = &mut symbols[at];
            symbol.names ^= name;
            symbol.checks ^= check(*name);
            symbol.count += 1;
        }
    }
    symbols
}

/// Peels the difference of two sets; `None` if there are too few symbols.
fn peel(mut symbols: Vec<Symbol>) -> Option<usize> {
    let mut found = 0;
    loop {
        let pure = symbols
            .iter()
            .find(|s| s.count.abs() == 1 && check(s.names) == s.checks)
            .copied();
        let Some(pure) = pure else {
            let empty = symbols.iter().all(|s| s.count == 0 && s.names == 0);
            return empty.then_some(found);
        };
        found += 1;
        let len = symbols.len();
        for at in mapping(pure.names).take_while(|at| *at < len) {
            symbols[at].names ^= pure.names;
            symbols[at].checks ^= pure.checks;
            symbols[at].count -= pure.count;
        }
    }
}

/// One side sends symbols, doubling the number each time, until the other has peeled all. The time
/// is that of computing the symbols of both sets once, and of peeling.
fn sketch(a: &ItemSet, b: &ItemSet) -> Cost {
    let names = |set: &ItemSet| -> Vec<u64> {
        let entries = set.entries(Target::default());
        let digests = entries.map(|(target, version)| version.digest(&target));
        digests
            .map(|d| u64::from_le_bytes(*d.first_chunk().expect("32")))
            .collect()
    };
    let (a, b) = (names(a), names(b));
    let start = Instant::now();
    let (mut len, mut rounds) = (32, 0);
    loop {
        let (mut ours, theirs) = (symbols(&a, len), symbols(&b, len));
        for (x, y) in ours.iter_mut().zip(theirs) {
            x.names ^= y.names;
            x.checks ^= y.checks;
            x.count -= y.count;
        }
        rounds += 1;
        if let Some(found) = peel(ours) {
            let took = start.elapsed();
            // Name, check, and approximately two bytes for the count.
            let bytes = len * 14 + found * 8;
            return (bytes as u64, rounds + u32::from(found > 0), took);
        }
        len *= 2;
    }
}

fn main() {
    let given: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let default = [
        (5_200, 52),
        (100_000, 0),
        (100_000, 10),
        (100_000, 100),
        (100_000, 1_000),
        (100_000, 10_000),
        (1_000_000, 0),
        (1_000_000, 10),
        (1_000_000, 100),
    ];
    let cases: Vec<(u64, u64)> = match given.as_chunks::<2>().0 {
        [] => default.to_vec(),
        given => given
            .iter()
            .map(|[items, differences]| (*items, *differences))
            .collect(),
    };
    let sizes: BTreeSet<u64> = cases.iter().map(|(items, _)| *items).collect();
    println!("sizes {sizes:?}; columns: bytes beyond the items, round trips, ms");
    println!("| items | differences | ours | negentropy, by id | negentropy, by time | sketch |");
    println!("|---|---|---|---|---|---|");
    for (items, differences) in cases {
        let (a, b) = sets(items, differences);
        let per_item = a.tree().allocated() as f64 / a.len() as f64;
        let costs = [
            theirs(&a, &b, false),
            theirs(&a, &b, true),
            sketch(&a, &b),
            ours(a, b),
        ];
        let show = |(bytes, rounds, took): Cost| {
            format!("{bytes} B, {rounds}, {:.1} ms", took.as_secs_f64() * 1e3)
        };
        let [by_id, by_time, sketch, ours] = costs.map(show);
        println!("| {items} | {differences} | {ours} | {by_id} | {by_time} | {sketch} |");
        eprintln!("tree: {per_item:.1} bytes an item");
    }
}
