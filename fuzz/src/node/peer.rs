//! Messages of peers: their requests, and answers to our requests, true and false.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use skydht_core::item::{Item, Seq};
use skydht_core::key::PublicKey;
use skydht_core::wire::{
    Advertised, Frame, KeylessItem, Life, LongPoll, PeerList, Request, RequestExt, RequestMessage,
    Response, ResponseExt, ResponseMessage, Sender, Want, WireItem, WirePeer, decode_request,
    encode_request, encode_response,
};

use super::cast::{CAST, PEERS};
use crate::cursor::Cursor;

pub(super) fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n % 16], 1_000 + u16::from(n >> 4)))
}

fn item(input: &mut Cursor<'_>) -> Arc<Item> {
    let n = usize::from(input.byte());
    CAST.items[n % CAST.items.len()].clone()
}

fn target(input: &mut Cursor<'_>) -> skydht_core::id::Target {
    let n = usize::from(input.byte());
    CAST.targets[n % CAST.targets.len()]
}

fn life(input: &mut Cursor<'_>) -> Life {
    let table = [0, 1, 60_000, 3_600_000, 7_200_000, u64::MAX];
    let mut pick = || Duration::from_millis(table[usize::from(input.byte()) % table.len()]);
    Life {
        age: pick(),
        left: pick(),
    }
}

/// Bits: 0 presence, 1 serves, 2 an address, 3 a port, 4 life, 5 bind, 6 and 7 want; both of these
/// mean a long poll.
fn request_ext(input: &mut Cursor<'_>) -> Option<RequestExt> {
    let bits = input.byte();
    let addr_of = if bits & 4 != 0 {
        Some(Advertised::At(addr(input.byte())))
    } else {
        (bits & 8 != 0).then_some(Advertised::Port(1_000))
    };
    (bits & 1 != 0).then(|| RequestExt {
        serves: bits & 2 != 0,
        addr: addr_of,
        life: (bits & 16 != 0).then(|| life(input)),
        bind: (bits & 32 != 0).then(|| bind(input)),
        want: [Want::All, Want::Item, Want::Peers, Want::All][usize::from(bits >> 6)],
        poll: (bits >> 6 == 3).then(|| LongPoll {
            time: Duration::from_millis(u64::from(input.byte()) * 200),
            after: (bits & 16 != 0).then_some(CAST.items[usize::from(bits >> 2 & 3)].seq),
        }),
        ..RequestExt::default()
    })
}

fn bind(input: &mut Cursor<'_>) -> skydht_core::key::Signature {
    CAST.binds[usize::from(input.byte()) % CAST.binds.len()]
}

/// Bits: 0 presence, 1 keep, 2 an address, 3 life, 4 bind, 5 peers, 6 the sequence number held.
fn response_ext(input: &mut Cursor<'_>) -> Option<ResponseExt> {
    let bits = input.byte();
    (bits & 1 != 0).then(|| ResponseExt {
        keep: bits & 2 != 0,
        addr: (bits & 4 != 0).then(|| Advertised::At(addr(input.byte()))),
        life: (bits & 8 != 0).then(|| life(input)),
        bind: (bits & 16 != 0).then(|| bind(input)),
        closest: if bits & 32 != 0 {
            peers(input)
        } else {
            PeerList::default()
        },
        held: (bits & 64 != 0).then(|| Seq(input.u64())),
        ..ResponseExt::default()
    })
}

/// A selection of the cast, with or without addresses; bits 12 to 15 add false peers.
fn peers(input: &mut Cursor<'_>) -> PeerList {
    let bits = input.u16();
    let with_addr = input.byte();
    let mut list: Vec<_> = (0..PEERS)
        .filter(|n| bits & 1 << n != 0)
        .map(|n| {
            let addr = (with_addr & 1 != 0).then(|| addr(n as u8));
            WirePeer::new(&CAST.peers[n], Default::default(), addr)
        })
        .collect();
    if bits & 1 << 12 != 0 {
        list.push(WirePeer {
            id: CAST.peers[0].id(),
            ..WirePeer::new(&CAST.peers[1], Default::default(), None)
        });
    }
    if bits & 1 << 13 != 0 {
        list.push(WirePeer::new(
            &CAST.impossible,
            Default::default(),
            Some(addr(200)),
        ));
    }
    if bits & 1 << 14 != 0 {
        list.push(WirePeer::default());
    }
    if bits & 1 << 15 != 0 {
        list.push(WirePeer::new(&CAST.own_key, Default::default(), None));
    }
    PeerList::from(list)
}

/// A batch with several keyless items and one item of the cast.
pub(super) fn batch(peer: &PublicKey, keyless: usize, signed: bool) -> Vec<u8> {
    let keyless = std::iter::repeat_n(WireItem::Keyless(KeylessItem::default()), keyless);
    let signed = signed.then(|| WireItem::from(&CAST.items[0]));
    let message = RequestMessage {
        sender: Sender::of(peer),
        ext: None,
        request: Request::PutBatch {
            items: keyless.chain(signed).collect(),
            targets: Vec::new(),
        },
    };
    encode_request(&message).unwrap()
}

/// A well-formed request of `peer`.
pub(super) fn request(peer: &PublicKey, input: &mut Cursor<'_>) -> Vec<u8> {
    let kind = input.byte();
    let request = match kind % 8 {
        0 => Request::Ping,
        1 => Request::FindNode {
            target: target(input),
        },
        2 => Request::GetValue {
            target: target(input),
        },
        3 => Request::PutValue {
            item: item(input).into(),
            mirror_target: None,
        },
        4 => Request::PutValue {
            item: item(input).into(),
            mirror_target: Some(target(input)).filter(|target| *target != Default::default()),
        },
        5 => Request::GetItems {
            salt: ["", "dmsg"][usize::from(input.byte() & 1)].into(),
            since_seq: Seq(if input.byte() & 1 == 0 {
                0
            } else {
                super::cast::START.0
            }),
            limit: i64::from(input.byte()) - 8,
        },
        6 => {
            let n = input.byte() % 8;
            let items = (0..n).map(|_| WireItem::from(item(input))).collect();
            let targets = (0..input.byte() % 8).map(|_| target(input)).collect();
            Request::PutBatch { items, targets }
        }
        _ => {
            let item = item(input);
            let other = input.byte() & 1 != 0;
            Request::Renew {
                target: if other { target(input) } else { item.target() },
                seq: item.seq,
                signature: item.signature,
                content_hash: item.content_hash(),
            }
        }
    };
    let sender = match kind & 0xf0 {
        0xf0 => Sender::of(&CAST.peers[0]),
        0xe0 => Sender {
            id: Default::default(),
            key: Some(CAST.impossible),
        },
        _ => Sender::of(peer),
    };
    let message = RequestMessage {
        sender,
        ext: request_ext(input),
        request,
    };
    encode_request(&message).unwrap_or_default()
}

/// An answer to a request of the node, of the requested kind.
pub(super) fn answer(peer: &PublicKey, asked: &Frame, input: &mut Cursor<'_>) -> Vec<u8> {
    let asked = decode_request(asked).unwrap();
    let how = input.byte();
    let stored = how & 1 == 0;
    let error = match how >> 1 & 3 {
        _ if stored => "",
        0 => "dht: seq must be greater than current",
        1 => "dht: store full",
        2 => "dht: invalid signature: x",
        _ => "something new",
    };
    let response = match asked.request {
        Request::Ping => Response::Ping {
            responder: Sender::of(peer),
        },
        Request::FindNode { .. } => Response::FindNode {
            closest: peers(input),
        },
        Request::GetValue { target } => {
            let item = match how % 4 {
                0 => None,
                // The requested item if it exists, or else any item.
                1 | 2 => {
                    let skip = usize::from(how >> 4);
                    let mut fit = CAST
                        .items
                        .iter()
                        .filter(|item| item.target() == target)
                        .cycle();
                    fit.nth(skip).map(WireItem::from)
                }
                _ if how & 0x80 != 0 => Some(WireItem::Keyless(KeylessItem::default())),
                _ => Some(item(input).into()),
            };
            Response::GetValue {
                item,
                closest: peers(input),
            }
        }
        Request::PutValue { .. } => Response::PutValue {
            stored,
            error: error.into(),
        },
        Request::Reconcile { .. } => Response::Reconcile {
            message: input.short().to_vec(),
        },
        Request::Renew { .. } => Response::Renew {
            stored,
            error: error.into(),
        },
        Request::GetItems { .. } => Response::GetItems {
            items: vec![item(input).into()],
            targets: vec![target(input)],
            has_more: stored,
        },
        Request::PutBatch { items, .. } => Response::PutBatch {
            stored: vec![stored; items.len()],
            errors: Vec::new(),
        },
    };
    let message = ResponseMessage {
        ext: response_ext(input),
        response,
    };
    encode_response(&message).unwrap_or_default()
}
