//! How upstream answers requests.

use std::sync::Arc;

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{CloseReason, Output, StreamId};
use skydht_core::wire::{
    Frame, Method, PeerList, Request, RequestMessage, Response, ResponseMessage, Sender, WireItem,
    WirePeer, decode_request, encode_response,
};

use super::checks::{self, KeyFate};
use super::config::{BACKLOG, HANDLERS};
use super::frame::{self, FrameReader, Progress};
use super::state::{Served, Stream, UpstreamNode};
use super::store::GoError;
use super::table::{Contact, K};

impl UpstreamNode {
    pub(super) fn accepted(&mut self, stream: StreamId, peer: PublicKey) {
        let handled = self.handlers < HANDLERS;
        if !handled && self.backlog.len() >= BACKLOG {
            self.counters.dropped += 1;
            let reason = CloseReason::Cancelled;
            return self.output(Output::CloseStream { stream, reason });
        }
        match handled {
            true => self.handlers += 1,
            false => self.backlog.push_back(stream),
        }
        let served = Served {
            peer,
            reader: FrameReader::default(),
            handled,
        };
        self.streams
            .insert(stream, Stream::Served(Box::new(served)));
    }

    pub(super) fn served_bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        if let Some(Stream::Served(served)) = self.streams.get_mut(&stream) {
            served.reader.push(bytes);
            self.try_serve(stream);
        }
    }

    /// A handler takes the next waiting stream if one is free.
    pub(super) fn serve_waiting(&mut self) {
        while self.handlers < HANDLERS
            && let Some(stream) = self.backlog.pop_front()
        {
            if let Some(Stream::Served(served)) = self.streams.get_mut(&stream) {
                served.handled = true;
                self.handlers += 1;
                self.try_serve(stream);
            }
        }
    }

    fn try_serve(&mut self, stream: StreamId) {
        let Some(Stream::Served(served)) = self.streams.get_mut(&stream) else {
            return;
        };
        if !served.handled {
            return;
        }
        let peer = served.peer;
        let answer = match served.reader.progress() {
            Progress::Incomplete => return,
            Progress::Invalid => None,
            Progress::Whole(method, body) => self.serve(&peer, method, body),
        };
        if self.crashed {
            return;
        }
        match answer {
            Some(bytes) => {
                self.counters.served += 1;
                let bytes = Arc::from(bytes);
                self.output(Output::Send { stream, bytes });
            }
            None => self.counters.refused += 1,
        }
        self.forget_served(stream);
        let reason = CloseReason::Done;
        self.output(Output::CloseStream { stream, reason });
    }

    /// The stream has ended, so its handler is free.
    pub(super) fn forget_served(&mut self, stream: StreamId) {
        if let Some(Stream::Served(served)) = self.streams.remove(&stream) {
            match served.is_handled() {
                true => self.handlers -= 1,
                false => self.backlog.retain(|waiting| *waiting != stream),
            }
        }
    }

    /// The answer to a complete request; `None`: close without an answer.
    fn serve(&mut self, caller: &PublicKey, method: u8, body: Vec<u8>) -> Option<Vec<u8>> {
        self.add_caller(caller, self.now);
        let method = Method::from_byte(method).filter(|method| {
            // Our own methods, which upstream does not know.
            !matches!(method, Method::Renew | Method::Reconcile)
        })?;
        let message = decode_request(&Frame { method, body }).ok()?;
        match checks::keys_fate(message.keys()) {
            KeyFate::Good => {}
            KeyFate::Refused => return None,
            KeyFate::Panics => {
                self.crash();
                return None;
            }
        }
        let response = self.answer(&message)?;
        encode(response)
    }

    /// The answer to a request with valid keys; `None` for our own methods.
    pub(crate) fn answer(&mut self, message: &RequestMessage) -> Option<Response> {
        Some(match &message.request {
            Request::Ping => Response::Ping {
                responder: Sender::of(&self.key),
            },
            Request::FindNode { target } => Response::FindNode {
                closest: self.peers_near(target),
            },
            Request::GetValue { target } => Response::GetValue {
                item: self.store.get(self.now.mono, target).map(WireItem::from),
                closest: self.peers_near(target),
            },
            Request::PutValue {
                item,
                mirror_target,
            } => {
                let result = self.keep(item, *mirror_target);
                Response::PutValue {
                    stored: result.is_ok(),
                    error: text(result),
                }
            }
            Request::GetItems {
                salt,
                since_seq,
                limit,
            } => {
                self.add_claimed_sender(message);
                let page = self.store.page(salt, *since_seq, *limit);
                let (targets, items) = page.items.iter().map(|(t, it)| (*t, it.into())).unzip();
                Response::GetItems {
                    items,
                    targets,
                    has_more: page.has_more,
                }
            }
            Request::PutBatch { items, targets } => {
                self.add_claimed_sender(message);
                self.keep_batch(items, targets)
            }
            Request::Renew { .. } | Request::Reconcile { .. } => return None,
        })
    }

    /// A mirror is always reported as stored (defect 11).
    fn keep(&mut self, item: &WireItem, mirror_target: Option<Target>) -> Result<(), GoError> {
        let now = self.now.mono;
        match mirror_target {
            Some(target) => {
                self.store.put_mirror(now, target, item);
                Ok(())
            }
            None => self.store.put(now, item),
        }
    }

    fn keep_batch(&mut self, items: &[WireItem], targets: &[Target]) -> Response {
        let target = |i: usize| targets.get(i).filter(|it| **it != Target::default());
        let results = items.iter().enumerate();
        let results = results.map(|(i, item)| self.keep(item, target(i).copied()));
        let results: Vec<Result<(), GoError>> = results.collect();
        let stored = results.iter().map(Result::is_ok).collect();
        let mut errors: Vec<String> = results.into_iter().map(text).collect();
        if errors.iter().all(String::is_empty) {
            errors.clear();
        }
        Response::PutBatch { stored, errors }
    }

    fn peers_near(&self, target: &Target) -> PeerList {
        let closest = self.table.closest(target, K);
        let peer = |contact: &Contact| WirePeer {
            id: contact.id,
            key: contact.key,
            last_seen: contact.last_seen.into(),
            addr: None,
        };
        closest.iter().map(peer).collect::<Vec<_>>().into()
    }

    /// Trusts what the request says about its sender (defect 3).
    fn add_claimed_sender(&mut self, message: &RequestMessage) {
        self.counters.claimed += 1;
        self.add_peer(Contact {
            id: message.sender.id,
            key: message.sender.key,
            last_seen: self.now.unix,
        });
    }
}

fn text(result: Result<(), GoError>) -> String {
    result
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

/// A complete frame. A page may exceed the limit of its reader.
fn encode(response: Response) -> Option<Vec<u8>> {
    if let Response::GetItems {
        items,
        targets,
        has_more,
    } = &response
    {
        return Some(frame::page_response(items, targets, *has_more));
    }
    let message = ResponseMessage {
        ext: None,
        response,
    };
    // 20 peers and an item are far below the limits.
    encode_response(&message).ok()
}
