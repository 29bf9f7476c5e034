//! Answers of a hostile peer.

use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, Signature};
use skydht_core::wire::{
    Advertised, Frame, Life, Method, PeerList, Request, RequestMessage, Response, ResponseExt,
    ResponseMessage, Want, WireItem, WirePeer, decode_request, encode_response,
};

use super::behaviour::{Behaviour, Forgery, ValueLie};
use super::grind::invent;
use super::state::HostilePeer;

/// Number of peers in an answer that names attackers.
const NAMED: usize = 20;

/// Maximum number of invented peers in an answer; more do not fit.
const INVENTED: usize = 200;

/// How a request is answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// The complete answer.
    Now(Vec<u8>),
    /// The answer in pieces.
    Piecemeal(Vec<u8>),
    /// No answer, and the stream stays open.
    Never,
    /// The stream is closed.
    Close,
}

impl HostilePeer {
    pub(super) fn reply(&mut self, peer: &PublicKey, method: u8, body: Vec<u8>) -> Reply {
        self.inner.add_caller(peer, self.now);
        let Some(method) = Method::from_byte(method) else {
            return Reply::Close;
        };
        let Ok(message) = decode_request(&Frame { method, body }) else {
            return Reply::Close;
        };
        self.remember(&message.request);
        if let Behaviour::Silent { pings } = self.config.behaviour
            && !(pings && message.request == Request::Ping)
        {
            self.counters.twisted += 1;
            return Reply::Never;
        }
        let twisted = self.twist(&message);
        self.counters.twisted += u64::from(twisted.is_some());
        let Some(response) = twisted.or_else(|| self.inner.answer(&message)) else {
            return Reply::Close;
        };
        let ext = self.claims(&message, &response);
        let message = ResponseMessage { ext, response };
        let Ok(mut bytes) = encode_response(&message) else {
            return Reply::Close;
        };
        match self.config.behaviour {
            Behaviour::Slow { percent, .. } => {
                self.counters.twisted += 1;
                let share = usize::from(percent.min(100));
                bytes.truncate((bytes.len() * share / 100).max(1));
                Reply::Piecemeal(bytes)
            }
            _ => Reply::Now(bytes),
        }
    }

    /// Records an item that was put for all attackers.
    fn remember(&self, request: &Request) {
        if let Request::PutValue {
            item,
            mirror_target: None,
        } = request
            && let Some(item) = item.item()
        {
            self.collusion.note(item.target(), item);
        }
    }

    /// The answer that serves the attack; `None` if an honest one does.
    fn twist(&mut self, message: &RequestMessage) -> Option<Response> {
        let request = &message.request;
        match self.config.behaviour.clone() {
            Behaviour::Liar {
                peers,
                count,
                value,
            } => self.lie(request, peers, usize::from(count).min(INVENTED), value),
            Behaviour::Stale => self.keep_the_first(request),
            Behaviour::Poison { .. } => Some(match request {
                Request::FindNode { target } => Response::FindNode {
                    closest: self.accomplices(target),
                },
                Request::GetValue { target } => Response::GetValue {
                    item: self.held(target),
                    closest: self.accomplices(target),
                },
                _ => return None,
            }),
            Behaviour::Eclipse => self.eclipse(request),
            Behaviour::Replay { .. } => match request {
                Request::GetValue { target } => {
                    let oldest = self.collusion.versions(target).into_iter().next()?;
                    let closest = self.honest_peers(message);
                    let item = Some(oldest.into());
                    Some(Response::GetValue { item, closest })
                }
                _ => None,
            },
            Behaviour::ForgedMirror { .. } => match request {
                Request::GetValue { target } => {
                    let seen = self.collusion.versions(target).pop()?;
                    let forged = self.forge(&seen.salt);
                    let closest = self.honest_peers(message);
                    let item = Some(forged.into());
                    Some(Response::GetValue { item, closest })
                }
                _ => None,
            },
            Behaviour::FalseClaims { addr, .. } => match self.inner.answer(message)? {
                Response::FindNode { mut closest } => {
                    set_addr(&mut closest, addr);
                    Some(Response::FindNode { closest })
                }
                Response::GetValue { item, mut closest } => {
                    set_addr(&mut closest, addr);
                    Some(Response::GetValue { item, closest })
                }
                response => Some(response),
            },
            _ => None,
        }
    }

    fn lie(
        &mut self,
        request: &Request,
        forgery: Forgery,
        count: usize,
        value: ValueLie,
    ) -> Option<Response> {
        Some(match request {
            Request::FindNode { target } => Response::FindNode {
                closest: self.invented(target, forgery, count),
            },
            Request::GetValue { target } => Response::GetValue {
                item: self.false_value(target, value),
                closest: self.invented(target, forgery, count),
            },
            Request::PutValue { .. } => taken(),
            Request::Renew { .. } if self.config.extensions => renewed(),
            Request::PutBatch { items, .. } => Response::PutBatch {
                stored: vec![true; items.len()],
                errors: Vec::new(),
            },
            _ => return None,
        })
    }

    fn invented(&mut self, target: &Target, forgery: Forgery, count: usize) -> PeerList {
        let rng = &mut self.rng;
        let peers = self
            .collusion
            .invented(target, || invent(target, forgery, count, rng));
        peers.into()
    }

    /// The false value at a target. It has the highest sequence, so a reader that accepts it loses
    /// the true value.
    fn false_value(&self, target: &Target, lie: ValueLie) -> Option<WireItem> {
        let seen = self.collusion.versions(target).pop();
        let salt = seen.as_ref().map(|it| it.salt.clone()).unwrap_or_default();
        match lie {
            ValueLie::Denied => None,
            ValueLie::OwnKey => Some(self.forge(&salt).into()),
            ValueLie::BadSignature => Some(
                Item {
                    key: seen.map_or(self.secret.public(), |it| it.key),
                    seq: Seq(u64::MAX),
                    signature: Signature::from_bytes([1; 65]),
                    value: Value::new(b"forged"),
                    salt,
                }
                .into(),
            ),
        }
    }

    /// An item signed by the attacker's own key, with the highest sequence.
    pub(super) fn forge(&self, salt: &Salt) -> Arc<Item> {
        let value = Value::new(b"forged");
        let item = Item::sign(&self.secret, Seq(u64::MAX), value, salt.clone());
        Arc::new(item)
    }

    fn keep_the_first(&mut self, request: &Request) -> Option<Response> {
        match request {
            Request::PutValue {
                item,
                mirror_target,
            } => {
                let own = item.item().map(|it| it.target());
                let target = mirror_target.or(own)?;
                self.held(&target).map(|_| taken())
            }
            Request::Renew { .. } if self.config.extensions => Some(renewed()),
            _ => None,
        }
    }

    fn eclipse(&mut self, request: &Request) -> Option<Response> {
        match request {
            Request::FindNode { target } if self.collusion.besieges(target) => {
                let closest = self.accomplices(target);
                Some(Response::FindNode { closest })
            }
            Request::GetValue { target } if self.collusion.besieges(target) => {
                let closest = self.accomplices(target);
                Some(Response::GetValue {
                    item: None,
                    closest,
                })
            }
            Request::PutValue {
                item,
                mirror_target,
            } => {
                let own = item.item().map(|it| it.target());
                let target = mirror_target.or(own)?;
                self.collusion.besieges(&target).then(taken)
            }
            Request::Renew { target, .. } if self.config.extensions => {
                self.collusion.besieges(target).then(renewed)
            }
            _ => None,
        }
    }

    fn accomplices(&self, target: &Target) -> PeerList {
        let members = self.collusion.nearest(target, NAMED);
        let members = members.iter().filter(|key| **key != self.secret.public());
        let seen = self.now.unix.into();
        let peers = members.map(|key| WirePeer::new(key, seen, None));
        peers.collect::<Vec<_>>().into()
    }

    fn held(&self, target: &Target) -> Option<WireItem> {
        let held = self.inner.store().get(self.now.mono, target);
        held.map(WireItem::from)
    }

    fn honest_peers(&mut self, message: &RequestMessage) -> PeerList {
        match self.inner.answer(message) {
            Some(Response::GetValue { closest, .. }) => closest,
            _ => PeerList::default(),
        }
    }

    /// The extension with the attacker's false claims.
    fn claims(&mut self, message: &RequestMessage, response: &Response) -> Option<ResponseExt> {
        let has_item = matches!(response, Response::GetValue { item: Some(_), .. });
        match self.config.behaviour {
            Behaviour::FalseClaims { addr, left, .. } => Some(ResponseExt {
                addr: Some(Advertised::At(addr)),
                life: has_item.then(|| long_life(left)),
                ..ResponseExt::default()
            }),
            _ if !self.config.extensions => None,
            _ => Some(ResponseExt {
                closest: self.named_after_put(message).unwrap_or_default(),
                ..ResponseExt::default()
            }),
        }
    }

    /// The peers that a put requests with its answer: those that a lookup would be given.
    fn named_after_put(&mut self, message: &RequestMessage) -> Option<PeerList> {
        let want = message.ext.as_ref()?.want;
        let Request::PutValue { item, .. } = &message.request else {
            return None;
        };
        let target = item.item().filter(|_| want == Want::Peers)?.target();
        let search = RequestMessage {
            request: Request::FindNode { target },
            ..message.clone()
        };
        let answer = self.twist(&search).or_else(|| self.inner.answer(&search));
        match answer {
            Some(Response::FindNode { closest }) => Some(closest),
            _ => None,
        }
    }
}

/// A lifetime that claims to start now and to last long.
pub(super) fn long_life(left: Duration) -> Life {
    Life {
        age: Duration::ZERO,
        left,
    }
}

fn renewed() -> Response {
    Response::Renew {
        stored: true,
        error: String::new(),
    }
}

fn taken() -> Response {
    Response::PutValue {
        stored: true,
        error: String::new(),
    }
}

fn set_addr(list: &mut PeerList, addr: std::net::SocketAddr) {
    for peer in &mut list.peers {
        peer.addr = Some(addr);
    }
}
