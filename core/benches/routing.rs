//! The routing step: what a node does for every FindNode request, for every answer, and for a whole
//! lookup, without the network.

#![allow(missing_docs, reason = "criterion's macros make a public function")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use sha2::{Digest, Sha256};
use skydht_core::id::{NodeId, Target};
use skydht_core::key::PublicKey;
use skydht_core::lookup::{Candidate, Lookup, LookupParams, Step};
use skydht_core::routing::{PeerUpdate, Table};
use skydht_core::time::{Mono, Time};

const K: usize = 20;

fn bytes(number: u64) -> [u8; 32] {
    Sha256::digest(number.to_be_bytes()).into()
}

fn key(number: u64) -> PublicKey {
    let mut key = [2; 33];
    key[1..].copy_from_slice(&bytes(number));
    PublicKey::from_bytes(&key).expect("the tag is 2")
}

fn update(number: u64) -> PeerUpdate {
    PeerUpdate {
        key: key(number),
        addr: None,
        reachable: true,
    }
}

/// The table of a node that met 100,000 others: some 14 full buckets.
fn full_table() -> Table {
    let mut table = Table::new(NodeId::from_bytes(bytes(u64::MAX)), K, 8);
    for number in 0..100_000 {
        table.insert_or_update(&update(number), Time::default());
    }
    table
}

fn targets() -> impl Iterator<Item = Target> {
    (1u64..).cycle().map(|n| Target::from_bytes(bytes(n << 40)))
}

fn table(c: &mut Criterion) {
    let mut table = full_table();
    let mut group = c.benchmark_group(format!("table of {}", table.len()));
    let targets: Vec<Target> = targets().take(256).collect();
    let mut next = targets.iter().cycle();
    group.bench_function("closest 20", |b| {
        b.iter(|| {
            let target = next.next().expect("endless");
            table.closest(target, K).for_each(|contact| {
                black_box(contact);
            });
        });
    });
    group.bench_function("closest 20 reachable", |b| {
        b.iter(|| {
            let target = next.next().expect("endless");
            table
                .closest_where(target, K, |contact| contact.reachable)
                .for_each(|contact| {
                    black_box(contact);
                });
        });
    });
    group.bench_function("nearer than local", |b| {
        b.iter(|| {
            let target = next.next().expect("endless");
            table.nearer_than_local(target, K)
        });
    });
    group.bench_function("network size", |b| b.iter(|| table.network_size()));
    let known: Vec<PeerUpdate> = table
        .iter()
        .map(|contact| PeerUpdate {
            key: contact.key,
            addr: None,
            reachable: true,
        })
        .collect();
    let mut next = known.iter().cycle();
    group.bench_function("result a known peer", |b| {
        b.iter(|| {
            let update = next.next().expect("endless");
            table.insert_or_update(update, Time::default())
        });
    });
    group.finish();
}

fn lookup(c: &mut Criterion) {
    let target = Target::from_bytes(bytes(1 << 40));
    let everybody: Vec<Candidate> = (0..2_000)
        .map(|number| Candidate {
            key: key(number),
            id: key(number).id(),
            addr: None,
        })
        .collect();
    // Each peer knows a tenth of all, and answers with the nearest of those.
    let answers: BTreeMap<NodeId, Vec<Candidate>> = (0u64..)
        .zip(&everybody)
        .map(|(n, peer)| {
            let mut known: Vec<Candidate> = (n..n + 200)
                .map(|i| everybody[i as usize * 7 % everybody.len()])
                .collect();
            known.sort_by_key(|it| target.distance(&it.id));
            known.truncate(K);
            (peer.id, known)
        })
        .collect();
    let params = LookupParams {
        k: K,
        alpha: 3,
        disjoint_paths: 1,
        newcomers_per_answer: K,
        max_candidates: 256,
        hard_deadline: Duration::from_secs(10),
    };
    let local = NodeId::from_bytes(bytes(u64::MAX));
    let start = || Lookup::new(target, params, everybody[..K].iter().copied(), local);
    c.bench_function("a whole lookup", |b| {
        b.iter_batched(
            start,
            |mut lookup| {
                let mut window = Vec::new();
                loop {
                    match lookup.next(Mono(0), |_| Some(Duration::from_secs(1))) {
                        Step::Ask(peer) => window.push(peer.id),
                        Step::Wait(_) => {
                            let id = window.remove(0);
                            let closer = answers[&id].iter();
                            lookup.answered(&id, closer.map(|it| (it.id, it.key, it.addr)));
                        }
                        Step::Done(_) => return lookup,
                    }
                }
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, table, lookup);
criterion_main!(benches);
