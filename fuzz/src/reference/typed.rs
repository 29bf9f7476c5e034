//! The messages as serde types, and their conversion.

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use skydht_core::address::canonical;
use skydht_core::id::{NodeId, Target};
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, Signature};
use skydht_core::time::Unix;
use skydht_core::wire::{
    Advertised, Frame, KeylessItem, Life, LongPoll, MAX_ITEMS, MAX_PEERS, Method, PeerList,
    Request, RequestExt, RequestMessage, Response, ResponseExt, ResponseMessage, Sender, Want,
    WireItem, WirePeer,
};

use super::{RENEWAL, Refused, counted, json, shape, time};

type Id = Option<[u8; 32]>;
type Text = Option<String>;
type Result<T, E = Refused> = core::result::Result<T, E>;

// The flattened rest prevents serde from reading an array as an object, field by field.

/// All fields that a request may have.
#[derive(Deserialize, Default)]
#[serde(default)]
struct RequestBody {
    sender_id: Id,
    sender_pk: Text,
    target: Id,
    item: Option<ItemBody>,
    mirror_target: Id,
    salt: Text,
    since_seq: Option<u64>,
    limit: Option<i64>,
    items: Option<Vec<Option<ItemBody>>>,
    targets: Option<Vec<Id>>,
    ext: Option<serde_json::Value>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

/// All fields that a response may have, except the verdicts.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ResponseBody {
    responder_id: Id,
    responder_pk: Text,
    item: Option<ItemBody>,
    closest: Option<Vec<Option<PeerBody>>>,
    error: Text,
    items: Option<Vec<Option<ItemBody>>>,
    targets: Option<Vec<Id>>,
    has_more: Option<bool>,
    errors: Option<Vec<Text>>,
    ext: Option<serde_json::Value>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

/// The verdict of a put.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    stored: Option<bool>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

/// The verdicts of a batch.
#[derive(Deserialize)]
struct StoredEach {
    #[serde(default)]
    stored: Option<Vec<Option<bool>>>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ItemBody {
    k: Text,
    seq: Option<u64>,
    sig: Text,
    v: Text,
    salt: Text,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PeerBody {
    id: Id,
    pk: Text,
    last_seen: Text,
    addr: Option<serde_json::Value>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExtBody {
    v: Option<u8>,
    serve: Option<bool>,
    keep: Option<bool>,
    addr: Text,
    life: Option<LifeBody>,
    bind: Text,
    want: Text,
    closest: Option<Vec<Option<PeerBody>>>,
    near: Text,
    held: Option<u64>,
    wait: Option<u64>,
    after: Option<u64>,
    full: Option<bool>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

#[derive(Deserialize)]
struct LifeBody {
    age: Option<u64>,
    left: Option<u64>,
    #[serde(flatten)]
    _objects_only: IgnoredAny,
}

/// A request as read by serde.
pub(super) fn request(frame: &Frame) -> Result<RequestMessage> {
    let json = json(frame)?;
    if frame.method == Method::Renew {
        let (fixed, _) = frame.body.split_at(RENEWAL);
        let ext = shape::check(json).and_then(|()| parse(json)).ok();
        return Ok(RequestMessage {
            sender: Sender::default(),
            ext: ext.and_then(request_ext),
            request: Request::Renew {
                target: Target::from_bytes(fixed[..32].try_into().unwrap()),
                seq: Seq(u64::from_be_bytes(fixed[32..40].try_into().unwrap())),
                signature: Signature::from_bytes(fixed[40..105].try_into().unwrap()),
                content_hash: fixed[105..].try_into().unwrap(),
            },
        });
    }
    if frame.method == Method::Reconcile {
        let ext = shape::check(json).and_then(|()| parse(json)).ok();
        return Ok(RequestMessage {
            sender: Sender::default(),
            ext: ext.and_then(request_ext),
            request: Request::Reconcile {
                message: counted(&frame.body)?.0.to_vec(),
            },
        });
    }
    shape::check(json)?;
    let body: RequestBody = parse(json)?;
    Ok(RequestMessage {
        sender: sender(body.sender_id, body.sender_pk)?,
        ext: body.ext.and_then(request_ext),
        request: match frame.method {
            Method::Ping | Method::Renew | Method::Reconcile => Request::Ping,
            Method::FindNode => Request::FindNode {
                target: target(body.target),
            },
            Method::GetValue => Request::GetValue {
                target: target(body.target),
            },
            Method::PutValue => Request::PutValue {
                item: body.item.unwrap_or_default().read()?,
                mirror_target: body
                    .mirror_target
                    .map(Target::from_bytes)
                    .filter(|target| *target != Target::default()),
            },
            Method::GetItems => Request::GetItems {
                salt: body.salt.unwrap_or_default(),
                since_seq: Seq(body.since_seq.unwrap_or_default()),
                limit: body.limit.unwrap_or_default(),
            },
            Method::PutBatch => Request::PutBatch {
                items: items(body.items)?,
                targets: targets(body.targets)?,
            },
        },
    })
}

/// A response as read by serde, and the times of its peers.
pub(super) fn response(frame: &Frame) -> Result<(ResponseMessage, Vec<Option<Unix>>)> {
    if frame.method == Method::Reconcile {
        let (message, json) = counted(&frame.body)?;
        let ext = shape::check(json).and_then(|()| parse(json)).ok();
        let mut times = Vec::new();
        let ext = ext.and_then(|ext| response_ext(ext, &mut times));
        let response = Response::Reconcile {
            message: message.to_vec(),
        };
        return Ok((ResponseMessage { ext, response }, times));
    }
    let json = &frame.body[..];
    shape::check(json)?;
    let body: ResponseBody = parse(json)?;
    let mut times = Vec::new();
    let closest = peers(body.closest, &mut times)?;
    if !matches!(frame.method, Method::FindNode | Method::GetValue) {
        times.clear();
    }
    let error = body.error.unwrap_or_default();
    let response = match frame.method {
        Method::Ping => Response::Ping {
            responder: sender(body.responder_id, body.responder_pk)?,
        },
        Method::FindNode => Response::FindNode { closest },
        Method::GetValue => Response::GetValue {
            item: body.item.map(ItemBody::read).transpose()?,
            closest,
        },
        Method::PutValue => Response::PutValue {
            stored: parse::<Stored>(json)?.stored.unwrap_or_default(),
            error,
        },
        Method::Renew => Response::Renew {
            stored: parse::<Stored>(json)?.stored.unwrap_or_default(),
            error,
        },
        Method::Reconcile => return Err(Refused),
        Method::GetItems => Response::GetItems {
            items: items(body.items)?,
            targets: targets(body.targets)?,
            has_more: body.has_more.unwrap_or_default(),
        },
        Method::PutBatch => Response::PutBatch {
            stored: list(parse::<StoredEach>(json)?.stored, |stored| {
                Ok(stored.unwrap_or_default())
            })?,
            errors: list(body.errors, |error| Ok(error.unwrap_or_default()))?,
        },
    };
    let mut more = Vec::new();
    let mut ext = body.ext.and_then(|ext| response_ext(ext, &mut more));
    let mut response = response;
    // Compact peers replace those of the response, if there are any.
    if let (Response::FindNode { closest } | Response::GetValue { closest, .. }, Some(ext)) =
        (&mut response, &mut ext)
        && ext.compact
    {
        *closest = core::mem::take(&mut ext.closest);
        times.clear();
    }
    times.extend(more);
    Ok((ResponseMessage { ext, response }, times))
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    serde_json::from_slice(json).map_err(|_| Refused)
}

fn sender(id: Id, key: Text) -> Result<Sender> {
    Ok(Sender {
        id: NodeId::from_bytes(id.unwrap_or_default()),
        key: public_key(key)?,
    })
}

fn target(id: Id) -> Target {
    Target::from_bytes(id.unwrap_or_default())
}

/// An empty text and zeros are upstream's zero key.
fn public_key(text: Text) -> Result<Option<PublicKey>> {
    let text = text.unwrap_or_default();
    if text.chars().all(|c| c == '0') {
        return Ok(None);
    }
    let key = PublicKey::from_bytes(&hex::<33>(&text)?);
    key.map(Some).map_err(|_| Refused)
}

fn signature(text: Text) -> Result<Signature> {
    text.map_or(Ok(Signature::default()), |text| {
        hex(&text).map(Signature::from_bytes)
    })
}

fn hex<const N: usize>(text: &str) -> Result<[u8; N]> {
    let bytes = HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .map_err(|_| Refused)?;
    bytes.try_into().map_err(|_| Refused)
}

fn list<A, B>(list: Option<Vec<A>>, element: impl FnMut(A) -> Result<B>) -> Result<Vec<B>> {
    let list = list.unwrap_or_default();
    if list.len() > MAX_ITEMS {
        return Err(Refused);
    }
    list.into_iter().map(element).collect()
}

fn items(body: Option<Vec<Option<ItemBody>>>) -> Result<Vec<WireItem>> {
    list(body, |item| item.unwrap_or_default().read())
}

fn targets(body: Option<Vec<Id>>) -> Result<Vec<Target>> {
    list(body, |id| Ok(target(id)))
}

impl ItemBody {
    fn read(self) -> Result<WireItem> {
        let base64 = |text: String| go_base64(&text);
        let rest = KeylessItem {
            seq: Seq(self.seq.unwrap_or_default()),
            signature: signature(self.sig)?,
            value: self
                .v
                .map_or(Ok(Value::null()), |text| base64(text).map(Value::from))?,
            salt: Salt::new(&self.salt.map_or(Ok(Vec::new()), base64)?),
        };
        let Some(key) = public_key(self.k)? else {
            return Ok(WireItem::Keyless(rest));
        };
        let KeylessItem {
            seq,
            signature,
            value,
            salt,
        } = rest;
        Ok(WireItem::from(Item {
            key,
            seq,
            signature,
            value,
            salt,
        }))
    }
}

/// Decodes like Go's `base64.StdEncoding`: CR and LF are ignored everywhere, padding is only the
/// last one or two of four characters with nothing after it, and bits beyond the last byte are
/// ignored.
fn go_base64(text: &str) -> Result<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b"\r\n".contains(b)).collect();
    let data = digits.len() - digits.iter().rev().take_while(|b| **b == b'=').count();
    if !digits.len().is_multiple_of(4) || digits.len() - data > 2 {
        return Err(Refused);
    }
    let mut bits = 0u32;
    let mut out = Vec::new();
    for (at, digit) in digits[..data].iter().enumerate() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(Refused),
        };
        bits = bits << 6 | u32::from(value);
        if at % 4 > 0 {
            out.push((bits >> (6 - 2 * (at % 4))) as u8);
        }
    }
    Ok(out)
}

/// Peers with invalid keys are dropped individually, and so are those beyond the limit.
fn peers(body: Option<Vec<Option<PeerBody>>>, times: &mut Vec<Option<Unix>>) -> Result<PeerList> {
    let mut list = PeerList::default();
    for peer in body.unwrap_or_default() {
        let peer = peer.unwrap_or_default();
        let time = match peer.last_seen {
            Some(text) => u64::try_from(time::unix(&text)?).ok().map(Unix),
            None => None,
        };
        let addr = peer
            .addr
            .as_ref()
            .and_then(|addr| addr.as_str()?.parse().ok());
        match public_key(peer.pk) {
            Err(Refused) => list.bad_keys += 1,
            Ok(_) if list.peers.len() == MAX_PEERS => list.excess += 1,
            Ok(key) => {
                times.push(time);
                list.peers.push(WirePeer {
                    id: NodeId::from_bytes(peer.id.unwrap_or_default()),
                    key,
                    last_seen: Default::default(),
                    addr: addr
                        .filter(|addr: &core::net::SocketAddr| addr.port() != 0)
                        .map(canonical),
                });
            }
        }
    }
    Ok(list)
}

fn advertised(text: Text) -> Result<Option<Advertised>> {
    let Some(text) = text else {
        return Ok(None);
    };
    let addr = match text.strip_prefix(':') {
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            Advertised::Port(port.parse().map_err(|_| Refused)?)
        }
        Some(_) => return Err(Refused),
        None => Advertised::At(canonical(text.parse().map_err(|_| Refused)?)),
    };
    let port = match addr {
        Advertised::Port(port) => port,
        Advertised::At(addr) => addr.port(),
    };
    if port == 0 {
        Err(Refused)
    } else {
        Ok(Some(addr))
    }
}

impl LifeBody {
    fn read(self) -> Life {
        let millis = |n: Option<u64>| core::time::Duration::from_millis(n.unwrap_or_default());
        Life {
            age: millis(self.age),
            left: millis(self.left),
        }
    }
}

fn request_ext(ext: serde_json::Value) -> Option<RequestExt> {
    let ext: ExtBody = serde_json::from_value(ext).ok()?;
    Some(RequestExt {
        version: ext.v.filter(|v| *v > 0)?,
        serves: ext.serve.unwrap_or_default(),
        addr: advertised(ext.addr).ok()?,
        life: ext.life.map(LifeBody::read),
        bind: bind(ext.bind)?,
        want: match ext.want.as_deref() {
            Some("item") => Want::Item,
            Some("peers") => Want::Peers,
            _ => Want::All,
        },
        poll: ext.wait.map(|wait| LongPoll {
            time: core::time::Duration::from_millis(wait),
            after: ext.after.map(Seq),
        }),
    })
}

fn response_ext(ext: serde_json::Value, times: &mut Vec<Option<Unix>>) -> Option<ResponseExt> {
    let ext: ExtBody = serde_json::from_value(ext).ok()?;
    let mut more = Vec::new();
    let mut closest = peers(ext.closest, &mut more).ok()?;
    let compact = ext.near.is_some();
    if let Some(near) = ext.near {
        more.clear();
        closest = compact_peers(&go_base64(&near).ok()?, &mut more)?;
    }
    let ext = ResponseExt {
        version: ext.v.filter(|v| *v > 0)?,
        keep: ext.keep.unwrap_or_default(),
        addr: advertised(ext.addr).ok()?,
        life: ext.life.map(LifeBody::read),
        bind: bind(ext.bind)?,
        closest,
        held: ext.held.map(Seq),
        full_node: ext.full.unwrap_or_default(),
        compact,
    };
    times.extend(more);
    Some(ext)
}

/// Reads peers as specified in `docs/protocol.md` section 3, field by field.
fn compact_peers(bytes: &[u8], times: &mut Vec<Option<Unix>>) -> Option<PeerList> {
    let mut list = PeerList::default();
    let mut at = 0;
    let mut take = |n: usize| {
        at += n;
        bytes.get(at - n..at)
    };
    loop {
        let Some(key) = take(33) else {
            return (bytes.is_empty() || at - 33 == bytes.len()).then_some(list);
        };
        let seen = u64::from_be_bytes(take(8)?.try_into().ok()?);
        let ip: Option<core::net::IpAddr> = match take(1)?[0] {
            0 => None,
            6 => Some(<[u8; 4]>::try_from(take(4)?).ok()?.into()),
            18 => Some(<[u8; 16]>::try_from(take(16)?).ok()?.into()),
            _ => return None,
        };
        let port = match ip {
            Some(_) => u16::from_be_bytes(take(2)?.try_into().ok()?),
            None => 0,
        };
        match PublicKey::from_bytes(key) {
            Err(_) => list.bad_keys += 1,
            Ok(_) if list.peers.len() == MAX_PEERS => list.excess += 1,
            Ok(key) => {
                // Zero is Go's zero time, which is before the epoch.
                times.push((seen > 0).then_some(Unix(seen)));
                let addr = ip.filter(|_| port != 0);
                let addr = addr.map(|ip| canonical((ip, port).into()));
                list.peers.push(WirePeer {
                    id: key.id(),
                    key: Some(key),
                    last_seen: Default::default(),
                    addr,
                });
            }
        }
    }
}

/// The outer `None` means that there is no extension.
fn bind(text: Text) -> Option<Option<Signature>> {
    match text {
        Some(_) => signature(text).ok().map(Some),
        None => Some(None),
    }
}
