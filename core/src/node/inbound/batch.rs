//! Serving a batch of items: a few signatures at a time, so that a batch of a thousand items
//! neither floods the verification pool nor holds a slot while other requests wait for one.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::item::ItemError;
use crate::key::{PublicKey, SignatureError};
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{JobId, StreamId, VerifyTag};
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::puts::candidate;
use crate::node::inbound::room::Room;
use crate::node::inbound::state::Inbound;
use crate::node::inbound::work::Batch;
use crate::node::items::intake::Rejection;
use crate::node::rpc::callers::FORGERY_COST;
use crate::node::verify::Verdict;
use crate::store::{Candidate, Precheck, Refusal};
use crate::wire::{Response, WireItem};

/// Maximum number of signatures of one batch being checked while no other request waits for a slot.
const SHARE: usize = 32;
/// Same, while other requests wait; the slot is released after these.
const SHARE_WHEN_BUSY: usize = 8;
/// Maximum number of items of a batch judged in one step, and of their bytes.
const STEP_ITEMS: usize = 64;
const STEP_BYTES: usize = 128 * 1024;
/// The result of judging one item of a batch.
enum ItemStep {
    Judged(Result<(), Rejection>),
    Verifying,
    /// The limits on items being checked leave no room for it now.
    Later(WireItem),
}

impl Inbound {
    /// Starts a batch: it acquires a slot or waits for one. A batch without items needs none.
    pub(crate) fn start_batch(
        &mut self,
        base: &mut Base,
        id: StreamId,
        batch: Box<Batch>,
        peer: &PublicKey,
    ) {
        if batch.is_judged() {
            self.answer_batch(base, id, batch, peer);
        } else if self.try_slot(base, peer) {
            self.advance_batch(base, id, batch, peer);
        } else {
            self.wait_for_slot(base, id, RequestPhase::BatchQueued(batch), peer);
        }
    }

    /// Resumes a batch that waited for a slot. Returns its cost.
    pub(crate) fn resume_batch(
        &mut self,
        base: &mut Base,
        id: StreamId,
        batch: Box<Batch>,
        peer: &PublicKey,
    ) -> usize {
        self.start_batch(base, id, batch, peer);
        STEP_BYTES / 4
    }

    /// Judges the next items of a batch that has a slot.
    fn advance_batch(
        &mut self,
        base: &mut Base,
        id: StreamId,
        mut batch: Box<Batch>,
        peer: &PublicKey,
    ) {
        let share = if self.backlog.wait_queue.runnable() > 0 {
            SHARE_WHEN_BUSY
        } else {
            SHARE
        };
        let (mut items, mut bytes) = (0, 0);
        while batch.pending < share && items < STEP_ITEMS && bytes < STEP_BYTES {
            let Some((item, target)) = batch.next() else {
                break;
            };
            items += 1;
            bytes += item.content_len();
            let index = batch.results.len();
            let tag = VerifyTag::Batch { stream: id, index };
            let step = match candidate(item, target, batch.ext.as_ref(), peer) {
                Ok(mut candidate) => {
                    candidate.life = batch.next_life().or(candidate.life);
                    judge(base, candidate, tag, peer)
                }
                Err(error) => ItemStep::Judged(Err(Rejection::Item(error))),
            };
            match step {
                ItemStep::Judged(result) => batch.results.push(result),
                ItemStep::Verifying => {
                    batch.results.push(Ok(()));
                    batch.pending += 1;
                }
                ItemStep::Later(item) => {
                    batch.put_back = Some((item, target));
                    break;
                }
            }
        }
        if batch.pending > 0 {
            return self.set_phase(base, id, RequestPhase::Batch(batch));
        }
        self.release_slot(peer);
        if !batch.is_judged() {
            // Let the waiting requests of others go first.
            return self.wait_for_slot(base, id, RequestPhase::BatchQueued(batch), peer);
        }
        self.answer_batch(base, id, batch, peer);
    }

    /// Answers a batch, or queues it until there is room for the answer. Returns its cost.
    pub(crate) fn answer_batch(
        &mut self,
        base: &mut Base,
        id: StreamId,
        batch: Box<Batch>,
        peer: &PublicKey,
    ) -> usize {
        let len = batch.answer_len();
        let room = self.room_for_answer(base, peer, len);
        if room != Room::Free {
            self.wait_for_room(base, id, RequestPhase::BatchJudged(batch), peer, room);
            return len;
        }
        let mut batch = batch;
        if let Some(message) = batch.answer.take() {
            self.answer(base, id, Response::Reconcile { message }, None);
            return len;
        }
        let stored = batch.results.iter().map(Result::is_ok).collect();
        let mut errors: Vec<String> = Vec::new();
        if batch.results.iter().any(Result::is_err) {
            let texts = batch.results.iter().map(|result| match result {
                Ok(()) => String::new(),
                Err(refused) => refused.text(),
            });
            errors.extend(texts);
        }
        self.answer(base, id, Response::PutBatch { stored, errors }, None);
        len
    }

    /// Takes the verdict on one item. A valid item is stored even if its stream has closed.
    pub(crate) fn batch_verified(
        &mut self,
        base: &mut Base,
        (id, index): (StreamId, usize),
        peer: &PublicKey,
        job: JobId,
        verdict: Verdict,
    ) {
        let result = base.judge(job, verdict);
        match result {
            Ok(()) => {}
            Err(Rejection::Store(refusal)) => base.cx.count_refusal(refusal),
            Err(Rejection::Item(ItemError::Signature(SignatureError::InvalidKey))) => {
                base.cx.counters.count(Counter::InvalidKeys);
            }
            Err(Rejection::Item(_)) => base.cx.counters.count(Counter::ForgedItems),
        }
        let forged = matches!(result, Err(Rejection::Item(_)));
        if let Some(mut batch) = self.take_batch(id) {
            batch.pending -= 1;
            if let Some(slot) = batch.results.get_mut(index) {
                *slot = result;
            }
            // Set the phase first: if the stream is closed below, its slot is released with it.
            self.set_phase(base, id, RequestPhase::Batch(batch));
            if !(forged && self.note_forgery(base, id))
                && let Some(batch) = self.take_batch(id)
            {
                self.continue_batch(base, id, batch, peer);
            }
        }
        if forged {
            self.note_waste(base, peer, FORGERY_COST);
        }
    }

    /// Continues a batch after a verdict. While other requests wait for a slot, it starts no more
    /// items, and releases the slot once those in progress are done.
    fn continue_batch(
        &mut self,
        base: &mut Base,
        id: StreamId,
        batch: Box<Batch>,
        peer: &PublicKey,
    ) {
        if batch.pending > 0 && self.backlog.wait_queue.runnable() > 0 {
            return self.set_phase(base, id, RequestPhase::Batch(batch));
        }
        if batch.pending == 0 && !batch.is_judged() && self.backlog.wait_queue.runnable() > 0 {
            self.release_slot(peer);
            return self.wait_for_slot(base, id, RequestPhase::BatchQueued(batch), peer);
        }
        self.advance_batch(base, id, batch, peer);
    }
}

/// Judges one item of a batch.
fn judge(base: &mut Base, mut candidate: Candidate, tag: VerifyTag, peer: &PublicKey) -> ItemStep {
    // A batch carries a single binding, which cannot hold for several items.
    candidate.bound = None;
    let nearer = base.nearer(&candidate.target);
    match base.items.precheck(&mut base.cx, &candidate, nearer) {
        Ok(Precheck::Held) => ItemStep::Judged(Ok(())),
        Err(Refusal::Busy) => ItemStep::Later(candidate.item.into()),
        Err(refusal) => {
            base.cx.count_refusal(refusal);
            ItemStep::Judged(Err(Rejection::Store(refusal)))
        }
        Ok(Precheck::Verify) => {
            if !base.may_verify(peer) {
                return ItemStep::Later(candidate.item.into());
            }
            base.verify(peer, candidate, tag);
            ItemStep::Verifying
        }
    }
}
