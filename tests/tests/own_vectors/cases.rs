//! Cases of the frozen vectors.

use core::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey, Signature};
use skydht_core::record::StoredRecord;
use skydht_core::time::Unix;
use skydht_core::wire::{
    Life, PeerList, Request, RequestExt, RequestMessage, Response, ResponseExt, ResponseMessage,
    Sender, Want, WirePeer,
};

const NOW: Unix = Unix(1_790_000_000_123_456_789);

/// A message of either side.
pub(crate) enum Message {
    Request(RequestMessage),
    Response(ResponseMessage),
}

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn item(n: u8, value: Value) -> Item {
    Item::sign(&secret(n), Seq(NOW.0), value, Salt::from("dmsg"))
}

fn life(age: u64, left: u64) -> Option<Life> {
    Some(Life {
        age: Duration::from_millis(age),
        left: Duration::from_millis(left),
    })
}

fn peers() -> PeerList {
    let addr = ["192.0.2.7:7070", "[2001:db8::7]:7070"].map(|addr| addr.parse().ok());
    let list = [(2, addr[0]), (3, addr[1]), (4, None)];
    let peers = list.map(|(n, addr)| WirePeer::new(&key(n), NOW.into(), addr));
    PeerList::from(peers.to_vec())
}

pub(crate) fn messages() -> Vec<(&'static str, Message)> {
    let target = item(1, Value::new(b"v")).target();
    let bound = item(1, Value::new(b"v"));
    let bind = secret(1).sign(&bound.bind_digest(&Target::from_bytes([9; 32])));
    let request = |ext: RequestExt, request| {
        Message::Request(RequestMessage {
            sender: Sender::of(&key(1)),
            ext: Some(ext),
            request,
        })
    };
    let renew = |ext| {
        let item = item(1, Value::new(b"v"));
        Message::Request(RequestMessage {
            sender: Sender::default(),
            ext,
            request: Request::Renew {
                target: item.target(),
                seq: item.seq,
                signature: item.signature,
                content_hash: item.content_hash(),
            },
        })
    };
    let response = |ext: ResponseExt, response| {
        Message::Response(ResponseMessage {
            ext: Some(ext),
            response,
        })
    };
    let put = |item: Item, mirror_target| Request::PutValue {
        item: item.into(),
        mirror_target,
    };
    let basic = || RequestExt {
        version: 1,
        ..RequestExt::default()
    };
    let kept = || ResponseExt {
        version: 1,
        keep: true,
        ..ResponseExt::default()
    };
    let compact = || ResponseExt {
        keep: true,
        compact: true,
        ..ResponseExt::default()
    };
    let stored = |stored: bool, error: &str| Response::PutValue {
        stored,
        error: error.into(),
    };
    vec![
        (
            "ping of a client that serves nothing",
            request(basic(), Request::Ping),
        ),
        (
            "ping of a node that serves, at the address that you see",
            request(
                RequestExt {
                    serves: true,
                    addr: ":7070".parse().ok(),
                    ..basic()
                },
                Request::Ping,
            ),
        ),
        (
            "find node, at an address of IPv6",
            request(
                RequestExt {
                    serves: true,
                    addr: "[2001:db8::1]:7070".parse().ok(),
                    ..basic()
                },
                Request::FindNode { target },
            ),
        ),
        (
            "get, the item without peers",
            request(
                RequestExt {
                    want: Want::Item,
                    ..basic()
                },
                Request::GetValue { target },
            ),
        ),
        (
            "put by somebody else than the signer, with its life, asking for peers",
            request(
                RequestExt {
                    serves: true,
                    life: life(61_000, 7_139_000),
                    want: Want::Peers,
                    ..basic()
                },
                put(item(5, Value::new(b"hello")), None),
            ),
        ),
        (
            "put of a bound mirror",
            request(
                RequestExt {
                    bind: Some(bind),
                    ..basic()
                },
                put(bound, Some(Target::from_bytes([9; 32]))),
            ),
        ),
        (
            "put of a deletion",
            request(basic(), put(item(1, Value::new(b"")), None)),
        ),
        (
            "renewal",
            renew(Some(RequestExt {
                serves: true,
                ..basic()
            })),
        ),
        ("renewal without extension", renew(None)),
        (
            "pong on a stream that stays open",
            response(
                ResponseExt {
                    addr: "192.0.2.1:7070".parse().ok(),
                    ..kept()
                },
                Response::Ping {
                    responder: Sender::of(&key(1)),
                },
            ),
        ),
        (
            "peers with addresses",
            response(kept(), Response::FindNode { closest: peers() }),
        ),
        (
            "version 2: find node of a caller that reads compact peers",
            request(RequestExt::default(), Request::FindNode { target }),
        ),
        (
            "version 2: compact peers",
            response(compact(), Response::FindNode { closest: peers() }),
        ),
        (
            "version 2: an item and compact peers",
            response(
                compact(),
                Response::GetValue {
                    item: Some(item(1, Value::new(b"v")).into()),
                    closest: peers(),
                },
            ),
        ),
        (
            "version 2: stored, with the compact peers asked for",
            response(
                ResponseExt {
                    closest: peers(),
                    ..compact()
                },
                stored(true, ""),
            ),
        ),
        (
            "an item with its life",
            response(
                ResponseExt {
                    life: life(1_000, 7_199_000),
                    ..kept()
                },
                Response::GetValue {
                    item: Some(item(1, Value::new(b"v")).into()),
                    closest: peers(),
                },
            ),
        ),
        (
            "an item that does not expire there",
            response(
                ResponseExt {
                    life: life(1_000, u64::MAX),
                    ..kept()
                },
                Response::GetValue {
                    item: Some(item(2, Value::new(b"kept")).into()),
                    closest: PeerList::default(),
                },
            ),
        ),
        ("stored anew", response(kept(), stored(true, ""))),
        (
            "stored, and held before: renewed",
            response(
                ResponseExt {
                    held: Some(Seq(NOW.0)),
                    ..kept()
                },
                stored(true, ""),
            ),
        ),
        (
            "refused, with the sequence held and the peers asked for",
            response(
                ResponseExt {
                    held: Some(Seq(NOW.0 + 1)),
                    closest: peers(),
                    ..kept()
                },
                stored(false, "dht: sequence number must increase"),
            ),
        ),
        (
            "renewed",
            response(
                ResponseExt {
                    held: Some(Seq(NOW.0)),
                    ..kept()
                },
                Response::Renew {
                    stored: true,
                    error: String::new(),
                },
            ),
        ),
        (
            "not renewed: send the item",
            response(
                kept(),
                Response::Renew {
                    stored: false,
                    error: "dht: item not found".into(),
                },
            ),
        ),
        (
            "pong of a full node",
            response(
                ResponseExt {
                    keep: true,
                    full_node: true,
                    ..ResponseExt::default()
                },
                Response::Ping {
                    responder: Sender::of(&key(2)),
                },
            ),
        ),
        (
            "reconcile: everything",
            Message::Request(RequestMessage {
                sender: Sender::default(),
                ext: Some(RequestExt::default()),
                request: Request::Reconcile {
                    message: [&[1][..], b"8 bytes!", &[1], &[7; 16]].concat(),
                },
            }),
        ),
        (
            "reconciled: both hold the same",
            response(
                ResponseExt {
                    keep: true,
                    full_node: true,
                    ..ResponseExt::default()
                },
                Response::Reconcile {
                    message: vec![1, 0, 1, 1],
                },
            ),
        ),
    ]
}

/// Names, and values of the field `ext` of a request.
pub(crate) const READING: &[(&str, &str)] = &[
    ("nothing but the version", r#"{"v":1}"#),
    ("no version", r#"{"serve":true}"#),
    ("version 0", r#"{"v":0,"serve":true}"#),
    ("a later version", r#"{"v":7,"serve":true}"#),
    ("a version above 255", r#"{"v":256}"#),
    ("null", "null"),
    ("no object", r#""v1""#),
    (
        "fields that nobody knows",
        r#"{"new":{"deep":[1,{}]},"v":1,"serve":true,"more":"x"}"#,
    ),
    (
        "null in every field",
        r#"{"v":1,"serve":null,"addr":null,"life":null,"bind":null,"want":null}"#,
    ),
    ("something else to want", r#"{"v":1,"want":"neighbours"}"#),
    ("a flag of another type", r#"{"v":1,"serve":1}"#),
    ("port 0", r#"{"v":1,"addr":":0"}"#),
    ("a host name", r#"{"v":1,"addr":"node.example:7070"}"#),
    ("an address without port", r#"{"v":1,"addr":"192.0.2.1"}"#),
    ("half a life", r#"{"v":1,"life":{"left":5000}}"#),
    (
        "a negative life",
        r#"{"v":1,"life":{"age":-1,"left":5000}}"#,
    ),
    (
        "a fraction of a millisecond",
        r#"{"v":1,"life":{"age":0.5,"left":5000}}"#,
    ),
    ("a bind that is no signature", r#"{"v":1,"bind":"00"}"#),
];

/// Returns name, secret, target and item of each case.
pub(crate) fn binds() -> Vec<(&'static str, u8, Target, Item)> {
    let item = |n| item(n, Value::new(b"v"));
    vec![
        ("one target", 1, Target::from_bytes([9; 32]), item(1)),
        ("another target", 1, item(2).target(), item(1)),
        ("another signer", 3, Target::from_bytes([9; 32]), item(3)),
    ]
}

pub(crate) fn records() -> Vec<(&'static str, StoredRecord)> {
    let record = |item: Item| StoredRecord {
        target: item.target(),
        item,
        vouched: NOW,
        expires: Some(Unix(NOW.0 + 7_200_000_000_000)),
        bound: None,
    };
    let mirror = item(1, Value::new(b"mirrored"));
    let target = Target::from_bytes([9; 32]);
    let bound: Signature = secret(1).sign(&mirror.bind_digest(&target));
    vec![
        ("an owner's item", record(item(1, Value::new(b"v")))),
        ("a deletion", record(item(1, Value::new(b"")))),
        ("a deletion as Go's null", record(item(1, Value::null()))),
        (
            "an item of a tier, which never expires",
            StoredRecord {
                expires: None,
                ..record(item(2, Value::new(b"kept")))
            },
        ),
        (
            "a bound mirror",
            StoredRecord {
                target,
                bound: Some(bound),
                ..record(mirror)
            },
        ),
        (
            "stored before the clock was set",
            StoredRecord {
                vouched: Unix(5),
                expires: Some(Unix(6)),
                ..record(item(3, Value::new(b"early")))
            },
        ),
    ]
}
