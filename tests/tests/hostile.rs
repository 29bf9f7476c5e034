//! Hostile peers over real TCP: each of their attacks is refused and counted, and other peers are
//! still served.

#[path = "hostile/peer.rs"]
mod peer;

use std::sync::Arc;

use serde_json::{Value as Json, json};
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, Seq};
use skydht_core::node::{Counter, GetError, GetRequest, ReadPolicy};
use skydht_core::wire::{MAX_MESSAGE, Method};
use skydht_tokio::{PublicKey, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use peer::{Hostile, Pair, at, count, frame, honest, salt, secret, soon};

const PING: u8 = 1;
const FIND_NODE: u8 = 2;
const GET_VALUE: u8 = 3;
const PUT_VALUE: u8 = 4;
const PUT_BATCH: u8 = 6;

/// A key whose x is not below the field prime, which crashes upstream's process.
const IMPOSSIBLE_KEY: &str = "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

/// Encodes an item as in messages.
fn item_json(item: &Item) -> Json {
    let base64 = |bytes: &[u8]| data_encoding::BASE64.encode(bytes);
    json!({
        "k": item.key,
        "seq": item.seq,
        "sig": item.signature,
        "v": base64(item.value.as_bytes()),
        "salt": base64(item.salt.as_bytes()),
    })
}

fn signed(by: u8, value: &[u8]) -> Item {
    Item::sign(&secret(by), Seq(1), Value::new(value), salt())
}

fn forged(by: u8) -> Item {
    let mut item = signed(by, b"true");
    item.value = Value::new(b"false");
    item
}

fn put(item: &Item) -> Vec<u8> {
    frame(
        PUT_VALUE,
        json!({"item": item_json(item)}).to_string().as_bytes(),
    )
}

/// Malformed bytes get no response, and are counted.
#[tokio::test]
async fn broken_frames_and_bodies_get_no_answer_and_are_counted() {
    let pair = Pair::new().await;
    let hostile = Hostile::new(9).await;
    let announced = |length: u32, rest: &[u8]| [&length.to_be_bytes(), rest].concat();
    let above = |method: Method| method.request_limit() as u32 + 1;
    let whole = frame(FIND_NODE, br#"{"target":[1,2,3]}"#);
    let too_deep = [b"[".repeat(20_000), b"]".repeat(20_000)].concat();
    let deep_batch = [br#"{"items":"#.as_slice(), &too_deep, b"}"].concat();
    let many = format!(
        r#"{{"items":[{}{{}}]}}"#,
        "{},".repeat(MAX_MESSAGE / 3 - 20)
    );
    let long_number = format!(r#"{{"limit":1{}}}"#, "0".repeat(4_000));
    let cases: Vec<(&str, Vec<u8>, Counter)> = vec![
        ("length 0", announced(0, b"\x01"), Counter::FrameLength),
        (
            "4 GiB announced",
            announced(u32::MAX, b"\x02{"),
            Counter::FrameLength,
        ),
        (
            "ping above its limit",
            announced(above(Method::Ping), b"\x01"),
            Counter::FrameLength,
        ),
        (
            "batch above its limit",
            announced(above(Method::PutBatch), b"\x06{"),
            Counter::FrameLength,
        ),
        (
            "cut in the header",
            whole[..3].to_vec(),
            Counter::FrameTruncated,
        ),
        (
            "cut in the body",
            whole[..12].to_vec(),
            Counter::FrameTruncated,
        ),
        ("method 0", frame(0, b"{}"), Counter::UnknownMethod),
        ("method 255", frame(255, b"{}"), Counter::UnknownMethod),
        (
            "not JSON",
            frame(FIND_NODE, b"not JSON"),
            Counter::Undecodable,
        ),
        (
            "random bytes",
            frame(PUT_VALUE, &[0xf7; 999]),
            Counter::Undecodable,
        ),
        (
            "nested 20,000 deep",
            frame(PUT_BATCH, &deep_batch),
            Counter::Undecodable,
        ),
        (
            "a million items",
            frame(PUT_BATCH, many.as_bytes()),
            Counter::Undecodable,
        ),
        (
            "a number of 4,000 digits",
            frame(5, long_number.as_bytes()),
            Counter::Undecodable,
        ),
        (
            "a key that is no point",
            frame(
                FIND_NODE,
                json!({"sender_pk": IMPOSSIBLE_KEY}).to_string().as_bytes(),
            ),
            Counter::InvalidKeys,
        ),
        (
            "an item whose key is no point",
            frame(
                PUT_VALUE,
                json!({"item": {"k": IMPOSSIBLE_KEY, "seq": 1, "v": ""}})
                    .to_string()
                    .as_bytes(),
            ),
            Counter::InvalidKeys,
        ),
    ];
    for (name, bytes, counter) in cases {
        let before = count(&pair.victim, counter).await;
        let answer = match counter {
            Counter::FrameTruncated => hostile.break_off(&pair.victim, &bytes).await,
            _ => hostile.say(&pair.victim, &bytes).await,
        };
        assert!(answer.is_empty(), "{name}: {answer:?}");
        assert_eq!(count(&pair.victim, counter).await, before + 1, "{name}");
        pair.still_serves().await;
    }
    assert!(
        !pair.lists(&hostile.key()).await,
        "garbage proves no listener"
    );
}

#[tokio::test]
async fn forged_senders_teach_nothing() {
    let pair = Pair::new().await;
    let hostile = Hostile::new(9).await;
    let other = secret(77).public();
    for method in 1..=6 {
        let before = count(&pair.victim, Counter::ForgedSenders).await;
        let body = json!({"sender_id": other.id().as_bytes(), "sender_pk": other});
        let request = frame(method, body.to_string().as_bytes());
        let answer = hostile.say(&pair.victim, &request).await;
        assert!(!answer.is_empty(), "method {method}");
        let after = count(&pair.victim, Counter::ForgedSenders).await;
        assert_eq!(after, before + 1, "method {method}");
    }
    assert!(!pair.lists(&other).await);
    pair.still_serves().await;
}

#[tokio::test]
async fn forged_and_foreign_items_are_refused_and_the_third_forgery_cuts_the_stream() {
    let pair = Pair::new().await;
    let hostile = Hostile::new(9).await;
    let answer = hostile.say(&pair.victim, &put(&forged(50))).await;
    let answer: Json = serde_json::from_slice(&answer[5..]).unwrap();
    assert_eq!(answer["stored"], json!(false));
    let error = answer["error"].as_str().unwrap();
    assert!(error.starts_with("dht: invalid signature"), "{error}");
    assert_eq!(count(&pair.victim, Counter::ForgedItems).await, 1);

    // A valid item of the hostile peer, put at another key's target.
    let body = json!({
        "item": item_json(&signed(9, b"usurper")),
        "mirror_target": Target::of(&secret(50).public(), b"dmsg").as_bytes(),
    });
    let answer = hostile
        .say(&pair.victim, &frame(PUT_VALUE, body.to_string().as_bytes()))
        .await;
    let answer: Json = serde_json::from_slice(&answer[5..]).unwrap();
    assert_eq!(answer["stored"], json!(false), "{answer}");
    assert_eq!(count(&pair.victim, Counter::MirrorsRefused).await, 1);

    // On a stream that stays open, the third request gets no response.
    let mut stream = hostile.open(&pair.victim).await;
    let mut answers = 0;
    for n in 0..3 {
        use futures::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut item = forged(50);
        item.seq = Seq(2 + n);
        let body = json!({"item": item_json(&item), "ext": {"v": 1}}).to_string();
        let _ = soon(stream.write_all(&frame(PUT_VALUE, body.as_bytes()))).await;
        let mut header = [0; 4];
        if soon(stream.read_exact(&mut header)).await.is_err() {
            break;
        }
        let mut rest = vec![0; u32::from_be_bytes(header) as usize];
        soon(stream.read_exact(&mut rest)).await.unwrap();
        answers += 1;
    }
    assert_eq!(answers, 2);
    assert_eq!(count(&pair.victim, Counter::ForgersCut).await, 1);
    let store = pair.victim.snapshot().await.unwrap().store;
    assert_eq!(store.items, 0, "{store:?}");
    pair.still_serves().await;
}

/// False responses, with the counters that they increment.
#[tokio::test]
async fn lies_in_answers_are_dropped_and_counted_and_the_truth_is_found() {
    let owner = honest(1, Vec::new()).await;
    let second = honest(2, vec![at(&owner)]).await;
    soon(second.ready()).await.unwrap();
    let options = skydht_tokio::PutOptions::default();
    soon(owner.put(salt(), Value::new(b"true"), options))
        .await
        .unwrap();

    let wrong_id = json!({
        "id": NodeId::from_bytes([0; 32]).as_bytes(),
        "pk": secret(60).public(),
        "last_seen": "2026-01-01T00:00:00Z",
    });
    let impossible = data_encoding::HEXLOWER.decode(IMPOSSIBLE_KEY.as_bytes());
    let impossible = PublicKey::from_bytes(&impossible.unwrap()).unwrap();
    let no_point = json!({
        "id": impossible.id().as_bytes(),
        "pk": IMPOSSIBLE_KEY,
        "last_seen": "2026-01-01T00:00:00Z",
        "addr": second.local_addr(),
    });
    let mut highest = signed(1, b"true");
    highest.seq = Seq(u64::MAX);
    let value = |body: Json| frame(GET_VALUE, body.to_string().as_bytes());
    let cases = [
        (
            "lying ids",
            value(json!({"closest": [wrong_id]})),
            Counter::LyingIds,
        ),
        (
            "another owner's item",
            value(json!({"item": item_json(&signed(61, b"other"))})),
            Counter::WrongItems,
        ),
        (
            "a forged item of the highest sequence",
            value(json!({"item": item_json(&highest)})),
            Counter::ForgedItems,
        ),
        ("another method", frame(PING, b"{}"), Counter::WrongMethod),
        (
            "not JSON",
            frame(GET_VALUE, b"nonsense"),
            Counter::Undecodable,
        ),
        (
            "4 GiB",
            vec![0xff, 0xff, 0xff, 0xff, GET_VALUE],
            Counter::FrameLength,
        ),
        (
            "cut off",
            vec![0, 0, 1, 0, GET_VALUE, b'{'],
            Counter::FrameTruncated,
        ),
        (
            "an impossible key",
            value(json!({"closest": [no_point]})),
            Counter::InvalidKeys,
        ),
    ];
    for (n, (name, lie, counter)) in (100..).zip(cases) {
        let liar = Hostile::new(n).await;
        let key = liar.key();
        liar.serve(Arc::new(move |method, _: &[u8]| {
            let pong = json!({"responder_id": key.id().as_bytes(), "responder_pk": key});
            Some(match method {
                PING => frame(PING, pong.to_string().as_bytes()),
                GET_VALUE => lie.clone(),
                _ => frame(FIND_NODE, b"{}"),
            })
        }));
        let reader = honest(n + 100, vec![at(&second), liar.at()]).await;
        soon(reader.ready()).await.unwrap();
        // A peer that answers a ping enters the routing table, and is asked by the read.
        let addr = liar.at().addrs.first().copied();
        soon(reader.ping(key, addr)).await.unwrap();
        let request = GetRequest::of(owner.key(), salt(), ReadPolicy::Freshest);
        let read = soon(reader.get(request)).await;
        let read = read.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(read.item.value.as_bytes(), b"true", "{name}");
        let counters = reader.snapshot().await.unwrap().counters;
        let counted = counters.get(counter) > 0;
        assert!(
            counted,
            "{name}: {}",
            serde_json::to_string(&counters).unwrap()
        );
        let peers = reader.peers().await.unwrap();
        assert!(
            peers.iter().all(|peer| peer.key != secret(60).public()),
            "{name}"
        );
        soon(reader.shutdown()).await;
    }
}

/// A read whose only source is false finds nothing.
#[tokio::test]
async fn a_network_of_liars_gives_nothing() {
    let liar = Hostile::new(9).await;
    liar.serve(Arc::new(|method, _: &[u8]| {
        let body = json!({"item": item_json(&forged(50)), "closest": []});
        Some(frame(method, body.to_string().as_bytes()))
    }));
    let reader = honest(1, vec![liar.at()]).await;
    let request = GetRequest::of(secret(50).public(), salt(), ReadPolicy::FirstValid);
    let read = soon(reader.get(request)).await;
    assert!(matches!(read, Err(GetError::NotFound { .. })), "{read:?}");
    assert!(count(&reader, Counter::ForgedItems).await > 0);
}

#[tokio::test]
async fn broken_handshakes_end_their_connection_and_nothing_else() {
    let pair = Pair::new().await;
    let addr = pair.victim.local_addr().unwrap();
    let prefixed = |body: &[u8]| [&(body.len() as u16).to_be_bytes(), body].concat();
    let mut no_point = vec![0xff; 49];
    no_point[0] = 2;
    let mut on_curve = vec![0; 49];
    on_curve[..33].copy_from_slice(secret(3).public().as_bytes());
    let mut compact = on_curve.clone();
    compact[0] = 5;
    let cases: [(&str, Vec<u8>); 7] = [
        ("an ephemeral key that is no point", prefixed(&no_point)),
        ("an ephemeral key with tag 5", prefixed(&compact)),
        ("a tag that does not verify", prefixed(&on_curve)),
        ("an empty message", prefixed(&[])),
        ("a short message", prefixed(&on_curve[..48])),
        ("a prefix above the limit", vec![0xff; 64]),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ];
    for (name, bytes) in cases {
        let before = pair.victim.transport_stats().handshakes_failed;
        let mut stream = soon(TcpStream::connect(addr)).await.unwrap();
        soon(stream.write_all(&bytes)).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(
            answer.is_empty(),
            "{name}: answered with {} bytes",
            answer.len()
        );
        let failed = pair.victim.transport_stats().handshakes_failed;
        assert_eq!(failed, before + 1, "{name}");
        pair.still_serves().await;
    }
}
