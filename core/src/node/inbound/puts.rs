//! Handlers of puts and renewals: the item passes through admission to the store, and the answer
//! reports the result.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use crate::id::Target;
use crate::item::{Item, ItemError, Seq};
use crate::key::{PublicKey, Signature, SignatureError};
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{JobId, StreamId, VerifyTag};
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::state::Inbound;
use crate::node::inbound::work::{PutRequest, Reply};
use crate::node::items::intake::Rejection;
use crate::node::output::CloseReason;
use crate::node::refusal_text;
use crate::node::rpc::callers::FORGERY_COST;
use crate::node::verify::Verdict;
use crate::store::{Candidate, Precheck, Refusal, Via, item_cost};
use crate::wire::{RequestExt, Response, Want, WireItem};

/// Number of invalid signatures after which a stream is closed.
const MAX_FORGERIES: u8 = 3;

impl Inbound {
    /// Serves a put as far as possible without checking its signature.
    pub(crate) fn serve_put(
        &mut self,
        base: &mut Base,
        id: StreamId,
        put: Box<PutRequest>,
        peer: &PublicKey,
    ) {
        let nearer = base.nearer(&put.candidate.target);
        match base.items.precheck(&mut base.cx, &put.candidate, nearer) {
            Err(refusal) => self.put_refused(base, id, refusal, put.reply),
            Ok(Precheck::Held) => self.put_stored(base, id, put.reply, true),
            Ok(Precheck::Verify) => {
                if !self.try_slot(base, peer) {
                    return self.wait_for_slot(base, id, RequestPhase::Put(put), peer);
                }
                self.set_phase(base, id, RequestPhase::Verifying(put.reply));
                base.verify(peer, put.candidate, VerifyTag::Put(id));
            }
        }
    }

    /// Resumes a put that waited for a slot. Returns its cost.
    pub(crate) fn resume_put(
        &mut self,
        base: &mut Base,
        id: StreamId,
        put: Box<PutRequest>,
        peer: &PublicKey,
    ) -> usize {
        let cost = item_cost(&put.candidate.item);
        self.serve_put(base, id, put, peer);
        cost
    }

    /// Serves a renewal. The transport proves the signer, and the signature need not be checked if
    /// it is the stored one. A different signature is checked like a put of the stored item with
    /// that signature.
    pub(crate) fn serve_renewal(
        &mut self,
        base: &mut Base,
        id: StreamId,
        (target, seq, signature, content_hash): (&Target, Seq, Signature, &[u8; 32]),
        peer: &PublicKey,
    ) {
        if let Some(held) = base.items.store.get(base.cx.now, target)
            && held.item().signature != signature
            && held.item().key == *peer
            && held.item().seq == seq
            && held.content_hash() == content_hash
        {
            let mut item = Item::clone(held.item());
            item.signature = signature;
            let candidate = Candidate {
                target: *target,
                via: Via::stream(*peer, &item),
                item: Arc::new(item),
                life: None,
                bound: None,
            };
            let put = PutRequest::new(candidate, Want::All, true);
            return self.serve_put(base, id, Box::new(put), peer);
        }
        let (stored, error) = match base
            .items
            .renew(&mut base.cx, target, seq, content_hash, peer)
        {
            Ok(()) => (true, String::new()),
            Err(refusal) => (false, refusal_text::text(refusal).to_string()),
        };
        let held = stored.then_some(seq);
        self.answer(base, id, Response::Renew { stored, error }, held);
    }

    /// Takes the verdict on an item put over a stream, which may have closed meanwhile.
    pub(crate) fn put_verified(
        &mut self,
        base: &mut Base,
        id: StreamId,
        peer: &PublicKey,
        job: JobId,
        verdict: Verdict,
    ) {
        self.release_slot(peer);
        let reply = self
            .request_mut(id)
            .and_then(|request| match request.phase {
                RequestPhase::Verifying(reply) => Some(reply),
                _ => None,
            });
        let had = reply.is_some_and(|reply| {
            let held = base.items.store.get(base.cx.now, &reply.target);
            held.is_some_and(|held| held.item().seq == reply.seq)
        });
        match (base.judge(job, verdict), reply) {
            (Ok(()), Some(reply)) => self.put_stored(base, id, reply, had),
            (Ok(()), None) => {}
            (Err(Rejection::Store(refusal)), Some(reply)) => {
                self.put_refused(base, id, refusal, reply);
            }
            (Err(Rejection::Store(refusal)), None) => base.cx.count_refusal(refusal),
            (Err(Rejection::Item(ItemError::Signature(SignatureError::InvalidKey))), _) => {
                // Go fails to decode such a key and closes without an answer.
                base.cx.counters.count(Counter::InvalidKeys);
                self.close(&mut base.cx, id, CloseReason::Protocol);
                self.note_waste(base, peer, FORGERY_COST);
            }
            (Err(Rejection::Item(error)), reply) => {
                base.cx.counters.count(Counter::ForgedItems);
                base.cx.counters.count(Counter::ItemsRefused);
                if let Some(reply) = reply
                    && !self.note_forgery(base, id)
                {
                    self.answer_put(base, id, Err(error.to_string()), None, reply);
                }
                self.note_waste(base, peer, FORGERY_COST);
            }
        }
    }

    /// Counts a forgery and closes the stream at the third. Returns whether the stream is closed.
    pub(crate) fn note_forgery(&mut self, base: &mut Base, id: StreamId) -> bool {
        let Some(request) = self.request_mut(id) else {
            return true;
        };
        request.forgeries = request.forgeries.saturating_add(1);
        let cut = request.forgeries >= MAX_FORGERIES;
        if cut {
            base.cx.counters.count(Counter::ForgersCut);
            self.close(&mut base.cx, id, CloseReason::Protocol);
        }
        cut
    }

    fn put_stored(&mut self, base: &mut Base, id: StreamId, reply: Reply, held: bool) {
        self.answer_put(base, id, Ok(()), held.then_some(reply.seq), reply);
    }

    fn put_refused(&mut self, base: &mut Base, id: StreamId, refusal: Refusal, reply: Reply) {
        base.cx.count_refusal(refusal);
        let (store, now) = (&base.items.store, base.cx.now);
        let held = store.get(now, &reply.target).map(|held| held.item().seq);
        // The store has no deleted item, but the owner has to learn its sequence.
        let held = held.or_else(|| store.deleted_up_to(now, &reply.target));
        let text = refusal_text::text(refusal).to_string();
        self.answer_put(base, id, Err(text), held, reply);
    }

    fn answer_put(
        &mut self,
        base: &mut Base,
        id: StreamId,
        result: Result<(), String>,
        held: Option<Seq>,
        reply: Reply,
    ) {
        let stored = result.is_ok();
        let error = result.err().unwrap_or_default();
        if reply.renewal {
            return self.answer(base, id, Response::Renew { stored, error }, held);
        }
        let mut ext = base.cx.response_ext();
        ext.held = held;
        if reply.want == Want::Peers {
            ext.closest = base.closest_for(&reply.target, true);
        }
        self.answer_with(base, id, Response::PutValue { stored, error }, ext);
    }
}

/// Builds the candidate for the store from a put, as far as known before the signature is checked.
pub(crate) fn candidate(
    item: WireItem,
    mirror_target: Option<Target>,
    ext: Option<&RequestExt>,
    peer: &PublicKey,
) -> Result<Candidate, ItemError> {
    // Go can send a zero key, which is no valid signer.
    let item: Arc<Item> = item
        .into_item()
        .ok_or(ItemError::Signature(SignatureError::Recover))?;
    item.check_sizes()?;
    let target = mirror_target.unwrap_or_else(|| item.target());
    let via = Via::stream(*peer, &item);
    let life = ext.and_then(|ext| ext.life);
    let bound = ext
        .and_then(|ext| ext.bind)
        .filter(|_| mirror_target.is_some());
    Ok(Candidate {
        target,
        item,
        via,
        life,
        bound,
    })
}
