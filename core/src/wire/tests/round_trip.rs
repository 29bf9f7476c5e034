//! What is written can be read again, for any message.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use quickcheck::{Arbitrary, Gen, quickcheck};

use super::*;
use crate::id::{NodeId, Target};
use crate::key::{PublicKey, Signature};
use crate::time::Unix;

fn bytes<const N: usize>(g: &mut Gen) -> [u8; N] {
    core::array::from_fn(|_| u8::arbitrary(g))
}

fn target(g: &mut Gen) -> Target {
    Target::from_bytes(bytes(g))
}

fn key(g: &mut Gen) -> PublicKey {
    let mut key = bytes::<33>(g);
    key[0] = 2 + key[0] % 2;
    PublicKey::from_bytes(&key).unwrap()
}

fn maybe<T>(g: &mut Gen, make: impl FnOnce(&mut Gen) -> T) -> Option<T> {
    bool::arbitrary(g).then(|| make(g))
}

fn some<T>(g: &mut Gen, make: impl Fn(&mut Gen) -> T) -> Vec<T> {
    (0..u8::arbitrary(g) % 5).map(|_| make(g)).collect()
}

fn sender(g: &mut Gen) -> Sender {
    Sender {
        id: NodeId::from_bytes(bytes(g)),
        key: maybe(g, key),
    }
}

fn addr(g: &mut Gen) -> SocketAddr {
    SocketAddr::new(IpAddr::arbitrary(g), u16::arbitrary(g).max(1))
}

fn peer(g: &mut Gen) -> WirePeer {
    WirePeer {
        id: NodeId::from_bytes(bytes(g)),
        key: maybe(g, key),
        last_seen: Timestamp::from(Unix(u64::arbitrary(g))),
        addr: maybe(g, addr),
    }
}

fn peers(g: &mut Gen) -> PeerList {
    some(g, peer).into()
}

fn advertised(g: &mut Gen) -> Advertised {
    match bool::arbitrary(g) {
        true => Advertised::At(addr(g)),
        false => Advertised::Port(u16::arbitrary(g).max(1)),
    }
}

fn life(g: &mut Gen) -> Life {
    Life {
        age: Duration::from_millis(u64::arbitrary(g)),
        left: Duration::from_millis(u64::arbitrary(g)),
    }
}

fn signature(g: &mut Gen) -> Signature {
    Signature::from_bytes(bytes(g))
}

impl Arbitrary for WireItem {
    fn arbitrary(g: &mut Gen) -> Self {
        let keyless = KeylessItem {
            seq: Seq(u64::arbitrary(g)),
            signature: Signature::from_bytes(bytes(g)),
            value: match maybe(g, Vec::<u8>::arbitrary) {
                Some(value) => Value::from(value),
                None => Value::null(),
            },
            salt: Salt::new(&Vec::<u8>::arbitrary(g)),
        };
        match maybe(g, key) {
            None => WireItem::Keyless(keyless),
            Some(key) => WireItem::from(Item {
                key,
                seq: keyless.seq,
                signature: keyless.signature,
                value: keyless.value,
                salt: keyless.salt,
            }),
        }
    }
}

impl Arbitrary for RequestMessage {
    fn arbitrary(g: &mut Gen) -> Self {
        let request = match *g.choose(&Method::ALL).unwrap() {
            Method::Ping => Request::Ping,
            Method::FindNode => Request::FindNode { target: target(g) },
            Method::GetValue => Request::GetValue { target: target(g) },
            Method::PutValue => Request::PutValue {
                item: WireItem::arbitrary(g),
                mirror_target: maybe(g, target),
            },
            Method::GetItems => Request::GetItems {
                salt: String::arbitrary(g),
                since_seq: Seq(u64::arbitrary(g)),
                limit: i64::arbitrary(g),
            },
            Method::PutBatch => Request::PutBatch {
                items: some(g, WireItem::arbitrary),
                targets: some(g, target),
            },
            Method::Renew => Request::Renew {
                target: target(g),
                seq: Seq(u64::arbitrary(g)),
                signature: signature(g),
                content_hash: bytes(g),
            },
            Method::Reconcile => Request::Reconcile {
                message: Vec::arbitrary(g),
            },
        };
        let ext = maybe(g, |g| RequestExt {
            version: u8::arbitrary(g).max(1),
            serves: bool::arbitrary(g),
            addr: maybe(g, advertised),
            life: maybe(g, life),
            bind: maybe(g, signature),
            want: *g.choose(&[Want::All, Want::Item, Want::Peers]).unwrap(),
            poll: maybe(g, |g| LongPoll {
                time: Duration::from_millis(u32::arbitrary(g).into()),
                after: maybe(g, |g| Seq(u64::arbitrary(g))),
            }),
        });
        Self {
            // A renewal has no sender.
            sender: match request {
                Request::Renew { .. } | Request::Reconcile { .. } => Sender::default(),
                _ => sender(g),
            },
            ext,
            request,
        }
    }
}

impl Arbitrary for ResponseMessage {
    fn arbitrary(g: &mut Gen) -> Self {
        let (stored, error) = (bool::arbitrary(g), String::arbitrary(g));
        let response = match *g.choose(&Method::ALL).unwrap() {
            Method::Ping => Response::Ping {
                responder: sender(g),
            },
            Method::FindNode => Response::FindNode { closest: peers(g) },
            Method::GetValue => Response::GetValue {
                item: maybe(g, WireItem::arbitrary),
                closest: peers(g),
            },
            Method::PutValue => Response::PutValue { stored, error },
            Method::GetItems => Response::GetItems {
                items: some(g, WireItem::arbitrary),
                targets: some(g, target),
                has_more: bool::arbitrary(g),
            },
            Method::PutBatch => Response::PutBatch {
                stored: Vec::arbitrary(g),
                errors: Vec::arbitrary(g),
            },
            Method::Renew => Response::Renew { stored, error },
            Method::Reconcile => Response::Reconcile {
                message: Vec::arbitrary(g),
            },
        };
        let ext = maybe(g, |g| ResponseExt {
            version: u8::arbitrary(g).max(1),
            keep: bool::arbitrary(g),
            addr: maybe(g, advertised),
            life: maybe(g, life),
            bind: maybe(g, signature),
            closest: peers(g),
            held: maybe(g, |g| Seq(u64::arbitrary(g))),
            full_node: bool::arbitrary(g),
            compact: false,
        });
        let mut message = Self { ext, response };
        if bool::arbitrary(g) {
            message.make_compact();
        }
        message
    }
}

impl ResponseMessage {
    /// Keeps what a compact list can represent, which has no ids, zones or peers without a key, and
    /// is a single list.
    fn make_compact(&mut self) {
        let Some(ext) = &mut self.ext else {
            return;
        };
        ext.compact = true;
        let own = self.response.closest_mut();
        if own.is_some() {
            ext.closest = PeerList::default();
        }
        let list = own.unwrap_or(&mut ext.closest);
        list.peers.retain(|peer| peer.key.is_some());
        for peer in &mut list.peers {
            let last_seen = peer.last_seen.unix().filter(|unix| unix.0 > 0);
            let last_seen = last_seen.map_or_else(Timestamp::default, Into::into);
            *peer = WirePeer::new(&peer.key.unwrap(), last_seen, peer.addr);
        }
    }
}

quickcheck! {
    fn requests_survive(message: RequestMessage) -> bool {
        let bytes = encode_request(&message).unwrap();
        decode_request(&frame(Side::Request, &bytes)).unwrap() == message
    }

    fn responses_survive(message: ResponseMessage) -> bool {
        let bytes = encode_response(&message).unwrap();
        decode_response(&frame(Side::Response, &bytes)).unwrap() == message
    }

    /// A body is valid JSON for any parser, except for renewal and reconciliation.
    fn bodies_are_json(sent: RequestMessage, answered: ResponseMessage) -> bool {
        let is_json = |frame: Vec<u8>| {
            serde_json::from_slice::<serde_json::Value>(&body_of(frame)).is_ok()
        };
        let binary = matches!(sent.request, Request::Renew { .. } | Request::Reconcile { .. });
        let binary_answer = matches!(answered.response, Response::Reconcile { .. });
        (binary || is_json(encode_request(&sent).unwrap()))
            && (binary_answer || is_json(encode_response(&answered).unwrap()))
    }

    /// Truncated or changed anywhere: an error or another message, never a panic.
    fn damage_is_harmless(message: RequestMessage, place: usize, byte: u8) -> bool {
        let mut bytes = encode_request(&message).unwrap();
        let place = 5 + place % (bytes.len() - 5);
        if let Some(it) = bytes.get_mut(place) {
            *it = byte;
        }
        let body = bytes[5..].to_vec();
        let cut = bytes[5..place].to_vec();
        let method = message.request.method();
        let _ = decode_request(&Frame { method, body });
        let whole_anyway = matches!(method, Method::Ping | Method::Renew | Method::Reconcile);
        decode_request(&Frame { method, body: cut }).is_err() || whole_anyway
    }

    fn any_bytes_are_harmless(body: Vec<u8>) -> bool {
        for method in Method::ALL {
            let frame = Frame { method, body: body.clone() };
            let _ = decode_request(&frame);
            let _ = decode_response(&frame);
        }
        true
    }

    fn items_have_the_length_foretold(item: WireItem) -> bool {
        encode_item(&item).len() == item.encoded_len()
    }
}

#[test]
fn nil_and_empty_values_stay_apart() {
    for value in [Value::null(), Value::new(b"")] {
        let sent = Item {
            value: value.clone(),
            ..item(b"")
        };
        let read = decode_item(&encode_item(&sent.into())).unwrap();
        assert_eq!(read.item().unwrap().value.is_null(), value.is_null());
    }
}
