//! Dispatch of requests to their handlers, and their answers. Streams of peers that speak our
//! extensions stay open for the next request.

use alloc::boxed::Box;
use alloc::string::ToString;

use crate::id::Target;
use crate::item::Seq;
use crate::key::{KeyError, PublicKey};
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::page::PAGE_ROOM;
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::puts::candidate;
use crate::node::inbound::reconcile::RECONCILE_ROOM;
use crate::node::inbound::room::{Room, SMALL_ANSWER};
use crate::node::inbound::state::Inbound;
use crate::node::inbound::work::{Batch, PutRequest};
use crate::node::items::stored_life;
use crate::node::output::CloseReason;
use crate::node::rpc::callers::JUNK_COST;
use crate::wire::{
    BatchDecoder, COMPACT_SINCE, Frame, Method, PeerList, Request, RequestExt, RequestMessage,
    Response, ResponseExt, ResponseMessage, Sender, Want, WireError, decode_request,
    encode_response, encoded_item_len,
};

/// Maximum number of bytes of a batch decoded in one step.
const DECODE_STEP: usize = 64 * 1024;

impl Inbound {
    /// Decodes a small request and serves it.
    pub(crate) fn decode(&mut self, base: &mut Base, id: StreamId, frame: &Frame) {
        match decode_request(frame) {
            Ok(message) => self.decoded(base, id, message),
            Err(error) => self.undecodable(base, id, &error, frame.body.len()),
        }
    }

    /// Decodes a large request when its turn comes. Returns the cost.
    pub(crate) fn decode_large(&mut self, base: &mut Base, id: StreamId, frame: Frame) -> usize {
        if frame.method == Method::PutBatch {
            return self.decode_batch(base, id, Box::new(BatchDecoder::new(frame.body)));
        }
        self.decode(base, id, &frame);
        frame.body.len()
    }

    /// Decodes a piece of a large batch. Returns the cost.
    pub(crate) fn decode_batch(
        &mut self,
        base: &mut Base,
        id: StreamId,
        mut decoder: Box<BatchDecoder>,
    ) -> usize {
        let before = decoder.position();
        let result = decoder.step(DECODE_STEP);
        let cost = decoder.position().saturating_sub(before);
        match result {
            Ok(None) => self.set_phase(base, id, RequestPhase::Decoding(decoder)),
            Ok(Some(message)) => self.decoded(base, id, message),
            Err(error) => self.undecodable(base, id, &error, decoder.len()),
        }
        cost
    }

    /// Closes the stream of a request that does not decode, and charges its peer.
    fn undecodable(&mut self, base: &mut Base, id: StreamId, error: &WireError, bytes: usize) {
        base.cx.count_wire_error(error);
        let peer = self.streams.get(id).map(|stream| stream.peer);
        self.close(&mut base.cx, id, CloseReason::Protocol);
        if let Some(peer) = peer {
            self.note_waste(base, &peer, bytes as u64 + JUNK_COST);
        }
    }

    /// Takes a decoded request.
    fn decoded(&mut self, base: &mut Base, id: StreamId, message: RequestMessage) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let (peer, path) = (stream.peer, stream.path);
        if let Err(error) = check_sender(&message.sender, &peer) {
            base.cx.counters.count(error);
            if error == Counter::InvalidKeys {
                return self.close(&mut base.cx, id, CloseReason::Protocol);
            }
        }
        if let Some(request) = self.request_mut(id) {
            request.keep = message.ext.is_some();
            let ext = message.ext.as_ref();
            request.compact = ext.is_some_and(|ext| ext.version >= COMPACT_SINCE);
        }
        let ext = message.ext.as_ref();
        base.peers
            .note_caller(&mut base.cx, &mut base.calls, peer, path, ext);
        self.serve(base, id, message, &peer);
    }

    /// Resumes a request that waited for room or storage. Returns its cost.
    pub(crate) fn resume_request(
        &mut self,
        base: &mut Base,
        id: StreamId,
        message: RequestMessage,
        peer: &PublicKey,
    ) -> usize {
        self.serve(base, id, message, peer);
        SMALL_ANSWER
    }

    /// Serves a request, or makes it wait for storage, a newer item or room for its answer.
    fn serve(&mut self, base: &mut Base, id: StreamId, message: RequestMessage, peer: &PublicKey) {
        let Some(message) = self.await_load(base, id, message) else {
            return;
        };
        let Some(message) = self.await_newer(base, id, message) else {
            return;
        };
        let room = self.room_for_answer(base, peer, answer_len(base, &message.request));
        if room != Room::Free {
            return self.wait_for_room(
                base,
                id,
                RequestPhase::Request(Box::new(message)),
                peer,
                room,
            );
        }
        let ext = message.ext;
        match message.request {
            Request::Ping => {
                let response = Response::Ping {
                    responder: base.cx.sender(),
                };
                self.answer(base, id, response, None);
            }
            Request::FindNode { target } => {
                let closest = base.closest_for(&target, ext.is_some());
                let response = Response::FindNode { closest };
                self.answer(base, id, response, None);
            }
            Request::GetValue { target } => self.serve_get(base, id, &target, ext.as_ref()),
            Request::PutValue {
                item,
                mirror_target,
            } => match candidate(item, mirror_target, ext.as_ref(), peer) {
                Ok(candidate) => {
                    let want = ext.as_ref().map_or(Want::All, |ext| ext.want);
                    let put = PutRequest::new(candidate, want, false);
                    self.serve_put(base, id, Box::new(put), peer);
                }
                Err(error) => {
                    let response = Response::PutValue {
                        stored: false,
                        error: error.to_string(),
                    };
                    self.answer(base, id, response, None);
                }
            },
            Request::Renew {
                target,
                seq,
                signature,
                content_hash,
            } => {
                let renewed = (&target, seq, signature, &content_hash);
                self.serve_renewal(base, id, renewed, peer);
            }
            Request::GetItems {
                salt,
                since_seq,
                limit,
            } => {
                let salt = (!salt.is_empty()).then_some(salt.as_bytes());
                self.start_page(base, id, salt, since_seq, limit);
            }
            Request::Reconcile { message } => self.serve_reconcile(base, id, &message, peer),
            Request::PutBatch { items, targets } => {
                let batch = Box::new(Batch::new(items, targets, ext));
                self.start_batch(base, id, batch, peer);
            }
        }
    }

    fn serve_get(
        &mut self,
        base: &mut Base,
        id: StreamId,
        target: &Target,
        ext: Option<&RequestExt>,
    ) {
        let want = ext.map_or(Want::All, |ext| ext.want);
        let now = base.cx.now;
        let mut life = None;
        let mut item = None;
        if want != Want::Peers
            && let Some(held) = base.items.store.get(now, target)
        {
            life = Some(stored_life(held, now));
            item = Some(held.item().into());
        }
        let closest = match want {
            Want::Item if item.is_some() => PeerList::default(),
            _ => base.closest_for(target, ext.is_some()),
        };
        let mut answer = base.cx.response_ext();
        answer.life = life;
        self.answer_with(base, id, Response::GetValue { item, closest }, answer);
    }

    pub(crate) fn answer(
        &mut self,
        base: &mut Base,
        id: StreamId,
        response: Response,
        held: Option<Seq>,
    ) {
        let mut ext = base.cx.response_ext();
        ext.held = held;
        self.answer_with(base, id, response, ext);
    }

    /// Sends an answer, with extensions only if the request had some.
    pub(crate) fn answer_with(
        &mut self,
        base: &mut Base,
        id: StreamId,
        response: Response,
        ext: ResponseExt,
    ) {
        let peers = response.closest().unwrap_or(&ext.closest);
        let any = !peers.peers.is_empty();
        let Some((keep, mut ext)) = self.answer_ext(base, id, ext) else {
            return;
        };
        if let (Some(request), Some(ext)) = (self.request_mut(id), &mut ext) {
            ext.compact = request.compact && any;
        }
        match encode_response(&ResponseMessage { ext, response }) {
            Ok(frame) => self.send_answer(base, id, frame, keep),
            Err(_) => self.close(&mut base.cx, id, CloseReason::Protocol),
        }
    }

    /// Returns whether a stream stays open after its answer, with the extension that says so.
    /// `None` if the stream is gone.
    pub(crate) fn answer_ext(
        &mut self,
        base: &Base,
        id: StreamId,
        ext: ResponseExt,
    ) -> Option<(bool, Option<ResponseExt>)> {
        let request = self.request_mut(id)?;
        let keep = request.keep && !base.cx.stopping;
        Some((keep, request.keep.then_some(ResponseExt { keep, ..ext })))
    }
}

/// Upper bound on the size of the answer to a request. The answer to a batch is made later, and
/// reserves room then.
fn answer_len(base: &Base, request: &Request) -> usize {
    match request {
        Request::GetItems { .. } => PAGE_ROOM,
        Request::Reconcile { .. } => RECONCILE_ROOM,
        Request::GetValue { target } => {
            let held = base.items.store.get(base.cx.now, target);
            SMALL_ANSWER + held.map_or(0, |held| encoded_item_len(held.item()))
        }
        _ => SMALL_ANSWER,
    }
}

/// Checks that the sender named in a message is the proven peer or absent. A different key is also
/// checked to be on the curve; the transport has proved the peer's own.
fn check_sender(sender: &Sender, peer: &PublicKey) -> Result<(), Counter> {
    match sender.key {
        None => Ok(()),
        Some(key) if key == *peer => Ok(()),
        Some(key) => match key.check_curve() {
            Err(KeyError::Curve) => Err(Counter::InvalidKeys),
            _ => Err(Counter::ForgedSenders),
        },
    }
}
