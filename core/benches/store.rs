//! The store: admitting an item, new and as an update, with 1 k, 100 k or 1 M items stored.
//!
//! Signatures are not part of it: the store never checks them.

#![allow(missing_docs, reason = "criterion's macros make a public function")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use sha2::{Digest, Sha256};
use skydht_core::cap::Cap;
use skydht_core::id::NodeId;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, Signature};
use skydht_core::store::{Candidate, Store, StoreConfig, Via};
use skydht_core::time::{Mono, Time, Unix};

/// Length of a typical value.
const VALUE_LEN: usize = 500;

const NOW: Time = Time {
    mono: Mono(1_000_000_000),
    unix: Unix(1_790_000_000_000_000_000),
};

fn candidate(number: u64, seq: u64) -> Candidate {
    let mut key = [2; 33];
    key[1..].copy_from_slice(&Sha256::digest(number.to_be_bytes()));
    let key = PublicKey::from_bytes(&key).expect("the tag is 2");
    let item = Item {
        key,
        seq: Seq(seq),
        signature: Signature::default(),
        value: Value::new(&[7; VALUE_LEN]),
        salt: Salt::from("bench"),
    };
    Candidate::of_owner(Arc::new(item), Via::Signer(key))
}

/// The store of a full node with this many items of as many publishers.
fn filled(items: u64) -> Store {
    let mut store = Store::new(StoreConfig {
        full_node: true,
        items_per_publisher: Cap::new(50),
        deletion_marks: Cap::new(10_000),
        ..StoreConfig::unlimited(NodeId::from_bytes([7; 32]), Duration::from_secs(7_200))
    });
    for number in 0..items {
        store
            .admit(NOW, candidate(number, 1), 0)
            .expect("there is room");
    }
    store
}

fn put(c: &mut Criterion) {
    let mut group = c.benchmark_group("store put");
    for items in [1_000, 100_000, 1_000_000] {
        let mut store = filled(items);
        let mut fresh = items;
        group.bench_function(BenchmarkId::new("new", items), |b| {
            let next = || {
                fresh += 1;
                candidate(fresh, 1)
            };
            b.iter_batched(
                next,
                |item| black_box(store.admit(NOW, item, 0)).expect("there is room"),
                BatchSize::SmallInput,
            );
        });
        let (mut number, mut seq) = (0, 2);
        group.bench_function(BenchmarkId::new("update", items), |b| {
            let next = || {
                number = (number + 7_919) % items;
                seq += 1;
                candidate(number, seq)
            };
            b.iter_batched(
                next,
                |item| black_box(store.admit(NOW, item, 0)).expect("it is newer"),
                BatchSize::SmallInput,
            );
        });
        let target = candidate(items / 2, 1).target;
        group.bench_function(BenchmarkId::new("get", items), |b| {
            b.iter(|| black_box(store.get(NOW, black_box(&target)).is_some()));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = put
}
criterion_main!(benches);
