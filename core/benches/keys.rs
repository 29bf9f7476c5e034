//! Cost of signatures and keys: the budget behind verification as jobs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;

/// Some 1100 bytes to sign: a value of 1000 bytes and a short salt.
fn item(secret: &SecretKey) -> Item {
    Item::sign(secret, Seq(1), Value::new(&[7; 1_000]), Salt::from("dmsg"))
}

fn keys(c: &mut Criterion) {
    let secret = SecretKey::from_entropy(&[1; 32]);
    let other = SecretKey::from_entropy(&[2; 32]).public();
    let item = item(&secret);
    let digest = item.digest();

    let mut group = c.benchmark_group("keys");
    group.bench_function("sign a digest", |b| {
        b.iter(|| black_box(&secret).sign(black_box(&digest)));
    });
    group.bench_function("digest of a 1000-byte item", |b| {
        b.iter(|| black_box(&item).digest());
    });
    group.bench_function("verify a 1000-byte item", |b| {
        b.iter(|| black_box(&item).check());
    });
    group.bench_function("key pair from entropy", |b| {
        b.iter(|| SecretKey::from_entropy(black_box(&[3; 32])));
    });
    group.bench_function("curve check of a key", |b| {
        b.iter(|| black_box(&other).check_curve());
    });
    group.bench_function("Diffie-Hellman", |b| {
        b.iter(|| black_box(&secret).diffie_hellman(black_box(&other)));
    });
    group.bench_function("node id of a key", |b| {
        b.iter(|| NodeId::of(black_box(&other)))
    });
    group.bench_function("target of a key and salt", |b| {
        b.iter(|| Target::of(black_box(&other), black_box(b"dmsg")));
    });
    group.finish();
}

criterion_group!(benches, keys);
criterion_main!(benches);
