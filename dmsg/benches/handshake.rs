//! Measures the cost of a handshake for both ends together, with and without its post-quantum half.

use criterion::{Criterion, criterion_group, criterion_main};
use skydht_core::key::SecretKey;
use skydht_dmsg::handshake::{EphemeralSource, Handshake};
use skydht_dmsg::hybrid::Hybrid;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn finish(mut initiator: Handshake, mut responder: Handshake) -> bool {
    let mut message = Vec::new();
    while !(initiator.is_finished() && responder.is_finished()) {
        message.clear();
        initiator.write_message(&mut message).unwrap();
        responder.read_message(&message).unwrap();
        if !responder.is_finished() {
            message.clear();
            responder.write_message(&mut message).unwrap();
            initiator.read_message(&message).unwrap();
        }
    }
    let (initiator, responder) = (initiator.finish().unwrap(), responder.finish().unwrap());
    initiator.is_hybrid && responder.is_hybrid
}

fn handshakes(c: &mut Criterion) {
    let (one, other) = (key(1), key(2));
    let (public_one, public_other) = (one.public(), other.public());
    for (name, hybrid) in [("classical", Hybrid::Never), ("hybrid", Hybrid::Offer)] {
        let source = EphemeralSource::new([3; 32], hybrid);
        c.bench_function(&format!("xk/{name}"), |b| {
            b.iter(|| {
                let initiator = Handshake::xk_initiator(&one, &public_other, source.next());
                let responder = Handshake::xk_responder(&other, source.next());
                finish(initiator.unwrap(), responder.unwrap())
            });
        });
        c.bench_function(&format!("kk/{name}"), |b| {
            b.iter(|| {
                let initiator = Handshake::kk_initiator(&one, &public_other, source.next());
                let responder = Handshake::kk_responder(&other, &public_one, source.next());
                finish(initiator.unwrap(), responder.unwrap())
            });
        });
    }
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
