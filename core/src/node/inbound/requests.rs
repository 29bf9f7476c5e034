//! Answering peers. One request at a time on a stream; streams of peers that speak our
//! dialect stay open for the next.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::{Item, ItemError, Seq};
use crate::key::{KeyError, PublicKey, Signature, SignatureError};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::Phase;
use crate::node::inbound::batch::Batch;
use crate::node::inbound::page::PAGE_ROOM;
use crate::node::inbound::room::{Room, SMALL_ANSWER};
use crate::node::items::held_life;
use crate::node::output::CloseReason;
use crate::node::refusal_text;
use crate::node::rpc::callers::{FORGERY_COST, JUNK_COST};
use crate::node::rpc::jobs::JobFor;
use crate::node::verify::Verdict;
use crate::store::{
    Candidate as StoreCandidate, ClaimedLife, Precheck, Refusal, Reservation, Via, item_cost,
};
use crate::wire::{
    BatchDecoder, COMPACT_SINCE, Frame, Method, PeerList, Request, RequestExt, RequestMessage,
    Response, ResponseExt, ResponseMessage, Sender, Want, WireError, WireItem, WirePeer,
    decode_request, encode_response, encoded_item_len,
};

/// Invalid signatures after which a stream is cut.
const MAX_FORGERIES: u8 = 3;
/// Bytes of a batch decoded at a time.
const DECODE_STEP: usize = 64 * 1024;

/// A put over a stream.
pub(crate) struct PutJob {
    pub(crate) candidate: StoreCandidate,
    want: Want,
    /// It came as a [`Request::Renew`].
    renewal: bool,
}

/// A put over a stream, while its signature is checked.
pub(crate) struct PendingPut {
    pub(crate) stream: StreamId,
    put: Box<PutJob>,
    reservation: Reservation,
}

impl Node {
    /// Decodes a small request and serves it.
    pub(crate) fn decode(&mut self, id: StreamId, frame: &Frame) {
        match decode_request(frame) {
            Ok(message) => self.decoded(id, message),
            Err(error) => self.undecodable(id, &error, frame.body.len()),
        }
    }

    /// Decodes a large request, at its turn. Returns what it cost.
    pub(crate) fn decode_large(&mut self, id: StreamId, frame: Frame) -> usize {
        if frame.method == Method::PutBatch {
            return self.decode_batch(id, Box::new(BatchDecoder::new(frame.body)));
        }
        self.decode(id, &frame);
        frame.body.len()
    }

    /// Decodes a piece of a large batch. Returns what it cost.
    pub(crate) fn decode_batch(&mut self, id: StreamId, mut decoder: Box<BatchDecoder>) -> usize {
        let before = decoder.position();
        let result = decoder.step(DECODE_STEP);
        let cost = decoder.position().saturating_sub(before);
        match result {
            Ok(None) => self.set_phase(id, Phase::Decoding(decoder)),
            Ok(Some(message)) => self.decoded(id, message),
            Err(error) => self.undecodable(id, &error, decoder.len()),
        }
        cost
    }

    /// A request that does not decode; its peer is charged for it.
    fn undecodable(&mut self, id: StreamId, error: &WireError, bytes: usize) {
        self.cx.count_wire_error(error);
        let peer = self.streams.get(id).map(|stream| stream.peer);
        self.close(id, CloseReason::Protocol);
        if let Some(peer) = peer {
            self.note_waste(&peer, bytes as u64 + JUNK_COST);
        }
    }

    /// A decoded request.
    fn decoded(&mut self, id: StreamId, message: RequestMessage) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, path) = (stream.peer, stream.path);
        if let Err(error) = self.check_sender(&message.sender, &peer) {
            self.cx.counters.count(error);
            if error == Counter::InvalidKeys {
                return self.close(id, CloseReason::Protocol);
            }
        }
        if let Some(served) = self.streams.served_mut(id) {
            served.keep = message.ext.is_some();
            served.compact = message
                .ext
                .as_ref()
                .is_some_and(|ext| ext.version >= COMPACT_SINCE);
        }
        self.note_caller(peer, path, message.ext.as_ref());
        self.serve(id, message, &peer);
    }

    /// Serves a request that waited for room. Returns what it cost.
    pub(crate) fn serve_again(
        &mut self,
        id: StreamId,
        message: RequestMessage,
        peer: &PublicKey,
    ) -> usize {
        self.serve(id, message, peer);
        SMALL_ANSWER
    }

    /// Serves a request if there is room for its answer, else it waits.
    fn serve(&mut self, id: StreamId, message: RequestMessage, peer: &PublicKey) {
        let room = self.room_for_answer(peer, self.answer_len(&message.request));
        if room != Room::Free {
            return self.wait_for_room(id, Phase::Request(Box::new(message)), peer, room);
        }
        let ext = message.ext;
        match message.request {
            Request::Ping => {
                let response = Response::Ping {
                    responder: self.cx.sender(),
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
                let want = ext.as_ref().map_or(Want::All, |ext| ext.want);
                match candidate(item, mirror_target, ext.as_ref(), peer) {
                    Ok(candidate) => {
                        let put = PutJob {
                            candidate,
                            want,
                            renewal: false,
                        };
                        self.serve_put(id, Box::new(put), peer);
                    }
                    Err(error) => self.answer_put(id, Err(error.to_string()), None, want, None),
                }
            }
            Request::Renew {
                target,
                seq,
                signature,
                content_hash,
            } => self.serve_renewal(id, &target, seq, signature, &content_hash, peer),
            Request::GetItems {
                salt,
                since_seq,
                limit,
            } => {
                let salt = (!salt.is_empty()).then_some(salt.as_bytes());
                self.start_page(id, salt, since_seq, limit);
            }
            Request::PutBatch { items, targets } => {
                let batch = Box::new(Batch::new(items, targets, ext));
                self.start_batch(id, batch, peer);
            }
        }
    }

    /// Bytes of the answer to a request, at most. A batch's answer is made later, and has to
    /// find its own room.
    fn answer_len(&self, request: &Request) -> usize {
        match request {
            Request::GetItems { .. } => PAGE_ROOM,
            Request::GetValue { target } => {
                let held = self.items.store.get(self.cx.now, target);
                SMALL_ANSWER + held.map_or(0, |held| encoded_item_len(held.item()))
            }
            _ => SMALL_ANSWER,
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
            .closest_where(target, self.cx.config.k, |contact| {
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
        let now = self.cx.now;
        let mut life = None;
        let mut item = None;
        if want != Want::Peers
            && let Some(held) = self.items.store.get(now, target)
        {
            life = Some(held_life(held, now));
            item = Some(held.item().into());
        }
        let closest = match want {
            Want::Item if item.is_some() => PeerList::default(),
            _ => self.closest_for(target, ext.is_some()),
        };
        let mut answer = self.cx.response_ext();
        answer.life = life;
        self.answer_with(id, Response::GetValue { item, closest }, answer);
    }

    fn serve_put(&mut self, id: StreamId, put: Box<PutJob>, peer: &PublicKey) {
        let target = put.candidate.target;
        let nearer = self.table.nearer_than_local(&target, self.cx.config.k);
        match self
            .items
            .store
            .precheck(self.cx.now, &put.candidate, nearer)
        {
            Err(refusal) => self.put_refused(id, refusal, &put),
            Ok(Precheck::Held) => {
                self.cx.counters.count(Counter::VerifySpared);
                match self.items.confirm(&mut self.cx, &put.candidate) {
                    Ok(()) => self.put_stored(id, &put, true),
                    Err(refusal) => self.put_refused(id, refusal, &put),
                }
            }
            Ok(Precheck::Verify) => {
                if !self.try_slot(peer) {
                    return self.wait_for_slot(id, Phase::Put(put), peer);
                }
                let reservation = self.items.store.reserve(&put.candidate);
                let bind = put.candidate.bound.map(|bind| (target, bind));
                let item = put.candidate.item.clone();
                let pending = PendingPut {
                    stream: id,
                    put,
                    reservation,
                };
                self.set_phase(id, Phase::Verifying);
                self.verify(*peer, item, bind, JobFor::Put(Box::new(pending)));
            }
        }
    }

    /// A put that waited for a slot. Returns what it cost.
    pub(crate) fn put_again(&mut self, id: StreamId, put: Box<PutJob>, peer: &PublicKey) -> usize {
        let cost = item_cost(&put.candidate.item);
        self.serve_put(id, put, peer);
        cost
    }

    /// A renewal proves the signer by the transport, and the signature by being the one held.
    /// One with another signature is checked like a put of the item with that signature.
    fn serve_renewal(
        &mut self,
        id: StreamId,
        target: &Target,
        seq: Seq,
        signature: Signature,
        content_hash: &[u8; 32],
        peer: &PublicKey,
    ) {
        if let Some(held) = self.items.store.get(self.cx.now, target)
            && held.item().signature != signature
            && held.item().key == *peer
            && held.item().seq == seq
            && held.rank().content_hash() == content_hash
        {
            let mut item = Item::clone(held.item());
            item.signature = signature;
            let put = PutJob {
                candidate: StoreCandidate {
                    target: *target,
                    via: Via::stream(*peer, &item),
                    item: Arc::new(item),
                    life: None,
                    bound: None,
                },
                want: Want::All,
                renewal: true,
            };
            return self.serve_put(id, Box::new(put), peer);
        }
        let result = self
            .items
            .store
            .renew(self.cx.now, target, seq, content_hash, peer);
        if result.is_ok() {
            self.cx.counters.count(Counter::ItemsRenewed);
            self.items.persist_kept(&mut self.cx, target);
        }
        let (stored, error) = match &result {
            Ok(_) => (true, String::new()),
            Err(refusal) => (false, refusal_text::text(*refusal).to_string()),
        };
        let held = stored.then_some(seq);
        self.answer(id, Response::Renew { stored, error }, held);
    }

    /// A verdict on an item that came over a stream; the stream may be gone since.
    pub(crate) fn put_verified(&mut self, pending: PendingPut, peer: &PublicKey, verdict: Verdict) {
        let PendingPut {
            stream: id,
            put,
            reservation,
        } = pending;
        self.items.store.release(reservation);
        self.release_slot(peer);
        match verdict {
            Ok(()) => self.put_judged(id, put),
            Err(ItemError::Signature(SignatureError::InvalidKey)) => {
                // Go fails to decode such a key and closes without an answer.
                self.cx.counters.count(Counter::InvalidKeys);
                self.close(id, CloseReason::Protocol);
                self.note_waste(peer, FORGERY_COST);
            }
            Err(error) => {
                self.cx.counters.count(Counter::ForgedItems);
                self.cx.counters.count(Counter::ItemsRefused);
                if !self.note_forgery(id) {
                    self.finish_put(id, &put, Err(error.to_string()), None);
                }
                self.note_waste(peer, FORGERY_COST);
            }
        }
    }

    /// Counts a forgery; cuts the stream at the third. Returns whether it was cut.
    pub(crate) fn note_forgery(&mut self, id: StreamId) -> bool {
        let Some(served) = self.streams.served_mut(id) else {
            return true;
        };
        served.forgeries = served.forgeries.saturating_add(1);
        let cut = served.forgeries >= MAX_FORGERIES;
        if cut {
            self.cx.counters.count(Counter::ForgersCut);
            self.close(id, CloseReason::Protocol);
        }
        cut
    }

    /// A genuine item: the store decides now, not when it arrived.
    fn put_judged(&mut self, id: StreamId, put: Box<PutJob>) {
        let target = put.candidate.target;
        let held = self.items.store.get(self.cx.now, &target);
        let had = held.is_some_and(|held| held.item().seq == put.candidate.item.seq);
        let nearer = self.table.nearer_than_local(&target, self.cx.config.k);
        match self
            .items
            .admit(&mut self.cx, put.candidate.clone(), nearer)
        {
            Ok(()) => self.put_stored(id, &put, had),
            Err(refusal) => self.put_refused(id, refusal, &put),
        }
    }

    fn put_stored(&mut self, id: StreamId, put: &PutJob, held: bool) {
        let held = held.then_some(put.candidate.item.seq);
        self.finish_put(id, put, Ok(()), held);
    }

    fn put_refused(&mut self, id: StreamId, refusal: Refusal, put: &PutJob) {
        self.cx.count_refusal(refusal);
        let target = &put.candidate.target;
        let held = self
            .items
            .store
            .get(self.cx.now, target)
            .map(|held| held.item().seq);
        // What is deleted is held no more, but its sequence is what the owner has to know.
        let held = held.or_else(|| self.items.store.deleted_up_to(self.cx.now, target));
        self.finish_put(id, put, Err(refusal_text::text(refusal).to_string()), held);
    }

    fn finish_put(
        &mut self,
        id: StreamId,
        put: &PutJob,
        result: Result<(), String>,
        held: Option<Seq>,
    ) {
        if put.renewal {
            let stored = result.is_ok();
            let error = result.err().unwrap_or_default();
            return self.answer(id, Response::Renew { stored, error }, held);
        }
        self.answer_put(id, result, held, put.want, Some(put.candidate.target));
    }

    fn answer_put(
        &mut self,
        id: StreamId,
        result: Result<(), String>,
        held: Option<Seq>,
        want: Want,
        target: Option<Target>,
    ) {
        let mut ext = self.cx.response_ext();
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

    pub(crate) fn answer(&mut self, id: StreamId, response: Response, held: Option<Seq>) {
        let mut ext = self.cx.response_ext();
        ext.held = held;
        self.answer_with(id, response, ext);
    }

    /// Sends an answer; extensions only to those who sent some.
    fn answer_with(&mut self, id: StreamId, response: Response, ext: ResponseExt) {
        let peers = response.closest().unwrap_or(&ext.closest);
        let any = !peers.peers.is_empty();
        let Some((keep, mut ext)) = self.answer_ext(id, ext) else {
            return;
        };
        if let (Some(served), Some(ext)) = (self.streams.served_mut(id), &mut ext) {
            ext.compact = served.compact && any;
        }
        match encode_response(&ResponseMessage { ext, response }) {
            Ok(frame) => self.send_answer(id, frame, keep),
            Err(_) => self.close(id, CloseReason::Protocol),
        }
    }

    /// Whether a stream is kept after its answer, and the extension that says so.
    pub(crate) fn answer_ext(
        &mut self,
        id: StreamId,
        ext: ResponseExt,
    ) -> Option<(bool, Option<ResponseExt>)> {
        let served = self.streams.served_mut(id)?;
        let keep = served.keep && !self.cx.stopping;
        Some((keep, served.keep.then_some(ResponseExt { keep, ..ext })))
    }
}

/// What a put asks the store to take, as far as it can be known before the signature is checked.
pub(crate) fn candidate(
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
