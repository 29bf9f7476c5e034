//! Answering peers. One request at a time on a stream; streams of peers that speak our
//! dialect stay open for the next.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, ItemError, Seq};
use crate::key::{KeyError, PublicKey, SignatureError};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::get::held_life;
use crate::node::input::StreamId;
use crate::node::output::CloseReason;
use crate::node::refusal_text;
use crate::node::served::Phase;
use crate::node::verification::JobFor;
use crate::node::verify::Verdict;
use crate::store::{Candidate as StoreCandidate, ClaimedLife, Precheck, Refusal, Reservation, Via};
use crate::wire::{
    Frame, PeerList, Request, RequestExt, Response, ResponseExt, ResponseMessage, Sender, Want,
    WireItem, WirePeer, decode_request, encode_response,
};

/// Invalid signatures after which a stream is cut.
const MAX_FORGERIES: u8 = 3;
/// Encoded bytes of one page of items.
const PAGE_BYTES: usize = 3 * 1024 * 1024;

/// A put over a stream, while its signature is checked.
pub(super) struct PendingPut {
    pub(super) stream: StreamId,
    candidate: StoreCandidate,
    reservation: Reservation,
    want: Want,
}

impl Node {
    /// A whole request.
    pub(super) fn request(&mut self, id: StreamId, frame: Frame) {
        self.counters.count(Counter::RequestsServed);
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, path) = (stream.peer, stream.path);
        let message = match decode_request(&frame) {
            Ok(message) => message,
            Err(error) => {
                self.count_wire_error(&error);
                return self.close(id, CloseReason::Protocol);
            }
        };
        if let Err(error) = self.check_sender(&message.sender, &peer) {
            self.counters.count(error);
            if error == Counter::InvalidKeys {
                return self.close(id, CloseReason::Protocol);
            }
        }
        let ext = message.ext;
        if let Some(served) = self.streams.served_mut(id) {
            served.keep = ext.is_some();
        }
        self.note_caller(peer, path, ext.as_ref());
        match message.request {
            Request::Ping => {
                let response = Response::Ping {
                    responder: self.sender(),
                };
                self.answer(id, response, None);
            }
            Request::FindNode { target } => {
                let closest = self.closest_for(&target, ext.is_some());
                let response = Response::FindNode { closest };
                self.answer(id, response, None);
            }
            Request::GetValue { target } => self.serve_get(id, &target, ext.as_ref()),
            Request::PutValue {
                item,
                mirror_target,
            } => {
                self.serve_put(id, &frame, item, mirror_target, ext, peer);
            }
            Request::Renew {
                target,
                seq,
                content_hash,
                ..
            } => {
                let result = self
                    .store
                    .renew(self.now, &target, seq, &content_hash, &peer);
                if result.is_ok() {
                    self.counters.count(Counter::ItemsRenewed);
                    self.persist_kept(&target);
                }
                let (stored, error) = match &result {
                    Ok(_) => (true, String::new()),
                    Err(refusal) => (false, refusal_text::text(*refusal).to_string()),
                };
                let held = stored.then_some(seq);
                self.answer(id, Response::Renew { stored, error }, held);
            }
            Request::GetItems {
                salt,
                since_seq,
                limit,
            } => {
                let salt = (!salt.is_empty()).then_some(salt.as_bytes());
                let page =
                    self.store
                        .page(self.now, salt, since_seq, limit, PAGE_BYTES, encoded_len);
                let (targets, items) = page
                    .items
                    .into_iter()
                    .map(|(target, item)| (target, item.into()))
                    .unzip();
                let response = Response::GetItems {
                    items,
                    targets,
                    has_more: page.has_more,
                };
                self.answer(id, response, None);
            }
            Request::PutBatch { items, targets } => {
                self.start_batch(id, &frame, items, targets, ext, peer);
            }
        }
    }

    /// The sender that a message names must be the proven peer or nobody. Its key is checked on
    /// the curve only when it is another one, since the transport proved the peer's.
    fn check_sender(&self, sender: &Sender, peer: &PublicKey) -> Result<(), Counter> {
        match sender.key {
            None => Ok(()),
            Some(key) if key == *peer => Ok(()),
            Some(key) => match key.check_curve() {
                Err(KeyError::Curve) => Err(Counter::InvalidKeys),
                _ => Err(Counter::ForgedSenders),
            },
        }
    }

    /// The nearest peers that others can reach. Addresses are for our dialect only.
    fn closest_for(&self, target: &Target, addresses: bool) -> PeerList {
        let since = self.proven_since();
        self.table
            .closest_where(target, self.config.k, |contact| {
                contact.reachable && contact.is_proven(since)
            })
            .map(|contact| WirePeer {
                id: contact.id,
                key: Some(contact.key),
                last_seen: contact.last_seen.unix.into(),
                addr: contact.addr.filter(|_| addresses),
            })
            .collect::<Vec<_>>()
            .into()
    }

    fn serve_get(&mut self, id: StreamId, target: &Target, ext: Option<&RequestExt>) {
        let want = ext.map_or(Want::All, |ext| ext.want);
        let now = self.now;
        let mut life = None;
        let mut item = None;
        if want != Want::Peers
            && let Some(held) = self.store.get(now, target)
        {
            life = Some(held_life(held, now));
            item = Some(held.item().into());
        }
        let closest = match want {
            Want::Item if item.is_some() => PeerList::default(),
            _ => self.closest_for(target, ext.is_some()),
        };
        let mut answer = self.response_ext();
        answer.life = life;
        self.answer_with(id, Response::GetValue { item, closest }, answer);
    }

    fn serve_put(
        &mut self,
        id: StreamId,
        frame: &Frame,
        item: WireItem,
        mirror_target: Option<Target>,
        ext: Option<RequestExt>,
        peer: PublicKey,
    ) {
        let want = ext.as_ref().map_or(Want::All, |ext| ext.want);
        let candidate = match candidate(item, mirror_target, ext.as_ref(), &peer) {
            Ok(candidate) => candidate,
            Err(error) => return self.answer_put(id, Err(error.to_string()), None, want, None),
        };
        let target = candidate.target;
        let nearer = self.table.nearer_than_local(&target, self.config.k);
        match self.store.precheck(self.now, &candidate, nearer) {
            Err(refusal) => self.put_refused(id, refusal, &target, want),
            Ok(Precheck::Held) => {
                self.counters.count(Counter::VerifySpared);
                let seq = candidate.item.seq;
                match self.confirm(&candidate) {
                    Ok(()) => self.answer_put(id, Ok(()), Some(seq), want, Some(target)),
                    Err(refusal) => self.put_refused(id, refusal, &target, want),
                }
            }
            Ok(Precheck::Verify) => {
                if !self.may_serve(&peer) {
                    return self.wait_for_place(id, frame.clone());
                }
                if !self.may_verify(&peer) {
                    return self.put_refused(id, Refusal::Busy, &target, want);
                }
                let reservation = self.store.reserve(&candidate);
                let bind = candidate.bound.map(|bind| (target, bind));
                let item = candidate.item.clone();
                let put = PendingPut {
                    stream: id,
                    candidate,
                    reservation,
                    want,
                };
                self.verify(peer, item, bind, JobFor::Put(Box::new(put)));
                self.take_place(&peer);
                if let Some(served) = self.streams.served_mut(id) {
                    served.phase = Phase::Verifying;
                }
            }
        }
    }

    /// A verdict on an item that came over a stream; the stream may be gone since.
    pub(super) fn put_verified(&mut self, put: PendingPut, peer: &PublicKey, verdict: Verdict) {
        let id = put.stream;
        self.store.release(put.reservation);
        self.leave_place(peer);
        match verdict {
            Ok(()) => self.put_judged(id, put.candidate, put.want),
            Err(ItemError::Signature(SignatureError::InvalidKey)) => {
                // Go fails to decode such a key and closes without an answer.
                self.counters.count(Counter::InvalidKeys);
                self.close(id, CloseReason::Protocol);
            }
            Err(error) => {
                self.counters.count(Counter::ForgedItems);
                self.counters.count(Counter::ItemsRefused);
                if !self.note_forgery(id) {
                    self.answer_put(id, Err(error.to_string()), None, put.want, None);
                }
            }
        }
        self.serve_waiting();
    }

    /// Counts a forgery; cuts the stream at the third. Returns whether it was cut.
    pub(super) fn note_forgery(&mut self, id: StreamId) -> bool {
        let Some(served) = self.streams.served_mut(id) else {
            return true;
        };
        served.forgeries += 1;
        let cut = served.forgeries >= MAX_FORGERIES;
        if cut {
            self.counters.count(Counter::ForgersCut);
            self.close(id, CloseReason::Protocol);
        }
        cut
    }

    /// A genuine item: the store decides now, not when it arrived.
    fn put_judged(&mut self, id: StreamId, candidate: StoreCandidate, want: Want) {
        let target = candidate.target;
        let seq = candidate.item.seq;
        let had = self
            .store
            .get(self.now, &target)
            .map(|held| held.item().seq);
        let nearer = self.table.nearer_than_local(&target, self.config.k);
        match self.admit(candidate, nearer) {
            Ok(()) => {
                let refreshed = (had == Some(seq)).then_some(seq);
                self.answer_put(id, Ok(()), refreshed, want, Some(target));
            }
            Err(refusal) => self.put_refused(id, refusal, &target, want),
        }
    }

    fn put_refused(&mut self, id: StreamId, refusal: Refusal, target: &Target, want: Want) {
        self.count_refusal(refusal);
        let held = self.store.get(self.now, target).map(|held| held.item().seq);
        // What is deleted is held no more, but its sequence is what the owner has to know.
        let held = held.or_else(|| self.store.deleted_up_to(self.now, target));
        let text = refusal_text::text(refusal).to_string();
        self.answer_put(id, Err(text), held, want, Some(*target));
    }

    fn answer_put(
        &mut self,
        id: StreamId,
        result: Result<(), String>,
        held: Option<Seq>,
        want: Want,
        target: Option<Target>,
    ) {
        let mut ext = self.response_ext();
        ext.held = held;
        if let (Want::Peers, Some(target)) = (want, target) {
            ext.closest = self.closest_for(&target, true);
        }
        let response = Response::PutValue {
            stored: result.is_ok(),
            error: result.err().unwrap_or_default(),
        };
        self.answer_with(id, response, ext);
    }

    pub(super) fn answer(&mut self, id: StreamId, response: Response, held: Option<Seq>) {
        let mut ext = self.response_ext();
        ext.held = held;
        self.answer_with(id, response, ext);
    }

    /// Sends an answer; extensions only to those who sent some.
    fn answer_with(&mut self, id: StreamId, response: Response, ext: ResponseExt) {
        let Some(served) = self.streams.served_mut(id) else {
            return;
        };
        let keep = served.keep && !self.stopping;
        let ext = served.keep.then_some(ResponseExt { keep, ..ext });
        served.phase = Phase::Answering;
        let Ok(frame) = encode_response(&ResponseMessage { ext, response }) else {
            return self.close(id, CloseReason::Protocol);
        };
        self.send(id, frame.into());
        if !keep {
            self.close(id, CloseReason::Done);
        }
    }
}

/// What a put asks the store to take, as far as it can be known before the signature is checked.
pub(super) fn candidate(
    item: WireItem,
    mirror_target: Option<Target>,
    ext: Option<&RequestExt>,
    peer: &PublicKey,
) -> Result<StoreCandidate, ItemError> {
    // Go has a zero key; nothing is ever signed by it.
    let item: Arc<Item> = item
        .into_item()
        .ok_or(ItemError::Signature(SignatureError::Recover))?;
    item.check_sizes()?;
    let target = mirror_target.unwrap_or_else(|| item.target());
    let via = Via::stream(*peer, &item);
    let life = ext.and_then(|ext| ext.life).map(|life| ClaimedLife {
        age: life.age,
        remaining: life.left,
    });
    let bound = ext
        .and_then(|ext| ext.bind)
        .filter(|_| mirror_target.is_some());
    Ok(StoreCandidate {
        target,
        item,
        via,
        life,
        bound,
    })
}

/// Bytes of JSON that an item and its target take in a page, at most.
fn encoded_len(item: &Item) -> usize {
    // Keys, names and signature take some 300 bytes, a target as numbers up to 130.
    let base64 = |len: usize| len.div_ceil(3) * 4;
    430 + base64(item.value.as_bytes().len()) + base64(item.salt.as_bytes().len())
}
