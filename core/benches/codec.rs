//! Cost of encoding and decoding messages.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::SecretKey;
use skydht_core::time::Unix;
use skydht_core::wire::{
    Frame, FrameDecoder, Request, RequestMessage, Response, ResponseMessage, Sender, Side,
    Timestamp, WirePeer, decode_request, decode_response, encode_request, encode_response,
};

fn secret(number: u8) -> SecretKey {
    SecretKey::from_entropy(&[number; 32])
}

/// A FindNode answer with 20 peers, as upstream gives it.
fn find_node_answer() -> ResponseMessage {
    let seen = Timestamp::from(Unix(1_780_000_000_123_456_789));
    let peers: Vec<_> = (0..20)
        .map(|i| WirePeer::new(&secret(i).public(), seen, None))
        .collect();
    ResponseMessage {
        ext: None,
        response: Response::FindNode {
            closest: peers.into(),
        },
    }
}

/// A put of a 1000-byte value.
fn put_value() -> RequestMessage {
    let secret = secret(1);
    let value = Value::new(&[7; 1_000]);
    let item = Item::sign(
        &secret,
        Seq(1_780_000_000_123_456_789),
        value,
        Salt::from("dmsg"),
    );
    RequestMessage {
        sender: Sender::of(&secret.public()),
        ext: None,
        request: Request::PutValue {
            item: item.into(),
            mirror_target: None,
        },
    }
}

fn frame(side: Side, bytes: &[u8]) -> Frame {
    let mut decoder = FrameDecoder::new(side);
    let frame = decoder.push(&mut &*bytes);
    frame.expect("our own frame").expect("a whole frame")
}

fn codec(c: &mut Criterion) {
    let answer = find_node_answer();
    let answer_bytes = encode_response(&answer).expect("below its limit");
    let put = put_value();
    let put_bytes = encode_request(&put).expect("below its limit");

    let mut group = c.benchmark_group("FindNode answer, 20 peers");
    group.throughput(Throughput::Bytes(answer_bytes.len() as u64));
    group.bench_function("encode", |b| b.iter(|| encode_response(black_box(&answer))));
    let whole = frame(Side::Response, &answer_bytes);
    group.bench_function("decode", |b| b.iter(|| decode_response(black_box(&whole))));
    group.bench_function("frame", |b| {
        b.iter(|| frame(Side::Response, black_box(&answer_bytes)));
    });
    group.finish();

    let mut group = c.benchmark_group("PutValue, 1000 bytes");
    group.throughput(Throughput::Bytes(put_bytes.len() as u64));
    group.bench_function("encode", |b| b.iter(|| encode_request(black_box(&put))));
    let whole = frame(Side::Request, &put_bytes);
    group.bench_function("decode", |b| b.iter(|| decode_request(black_box(&whole))));
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
