//! Serving a batch of items: a few signatures at a time, so that a batch of a thousand items
//! neither floods the pool nor holds a slot while others wait for one.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::item::ItemError;
use crate::key::{PublicKey, SignatureError};
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{JobId, StreamId, VerifyTag};
use crate::node::inbound::phase::Phase;
use crate::node::inbound::puts::candidate;
use crate::node::inbound::room::Room;
use crate::node::inbound::state::Inbound;
use crate::node::inbound::work::Batch;
use crate::node::items::intake::Rejection;
use crate::node::rpc::callers::FORGERY_COST;
use crate::node::verify::Verdict;
use crate::store::{Candidate, Precheck, Refusal};
use crate::wire::{Response, WireItem};

/// Signatures of one batch being checked at a time while no other request waits for a slot.
const SHARE: usize = 32;
/// The same while others wait; the slot is released after them.
const SHARE_OF_MANY: usize = 8;
/// Items of a batch judged at a time, and their bytes.
const STEP_ITEMS: usize = 64;
const STEP_BYTES: usize = 128 * 1024;
/// What became of an item of a batch.
enum Step {
    Judged(Result<(), Rejection>),
    Verifying,
    /// There is no room for it among the items being checked: later.
    Later(WireItem),
}

impl Inbound {
    /// A batch came: it takes a slot, or waits for one. One without items needs none.
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
            self.wait_for_slot(base, id, Phase::BatchWaits(batch), peer);
        }
    }

    /// A batch that waited for a slot. Returns what it cost.
    pub(crate) fn batch_again(
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
            SHARE_OF_MANY
        } else {
            SHARE
        };
        let (mut items, mut bytes) = (0, 0);
        while batch.out < share && items < STEP_ITEMS && bytes < STEP_BYTES {
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
                Err(error) => Step::Judged(Err(Rejection::Item(error))),
            };
            match step {
                Step::Judged(result) => batch.results.push(result),
                Step::Verifying => {
                    batch.results.push(Ok(()));
                    batch.out += 1;
                }
                Step::Later(item) => {
                    batch.put_back = Some((item, target));
                    break;
                }
            }
        }
        if batch.out > 0 {
            return self.set_phase(base, id, Phase::Batch(batch));
        }
        self.release_slot(peer);
        if !batch.is_judged() {
            // The others first.
            return self.wait_for_slot(base, id, Phase::BatchWaits(batch), peer);
        }
        self.answer_batch(base, id, batch, peer);
    }

    /// Answers a batch if there is room for the answer, else it waits. Returns what it cost.
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
            self.wait_for_room(base, id, Phase::BatchDone(batch), peer, room);
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

    /// A verdict on one item; it is kept if valid, whether or not the stream still is.
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
            batch.out -= 1;
            if let Some(slot) = batch.results.get_mut(index) {
                *slot = result;
            }
            // The slot goes with the stream if that is cut.
            self.set_phase(base, id, Phase::Batch(batch));
            if !(forged && self.note_forgery(base, id))
                && let Some(batch) = self.take_batch(id)
            {
                self.batch_goes_on(base, id, batch, peer);
            }
        }
        if forged {
            self.note_waste(base, peer, FORGERY_COST);
        }
    }

    /// After a verdict: more items while no request waits for the slot, else those that are out are
    /// the last ones for now.
    fn batch_goes_on(
        &mut self,
        base: &mut Base,
        id: StreamId,
        batch: Box<Batch>,
        peer: &PublicKey,
    ) {
        if batch.out > 0 && self.backlog.wait_queue.runnable() > 0 {
            return self.set_phase(base, id, Phase::Batch(batch));
        }
        if batch.out == 0 && !batch.is_judged() && self.backlog.wait_queue.runnable() > 0 {
            self.release_slot(peer);
            return self.wait_for_slot(base, id, Phase::BatchWaits(batch), peer);
        }
        self.advance_batch(base, id, batch, peer);
    }
}

/// Judges one item.
fn judge(base: &mut Base, mut candidate: Candidate, tag: VerifyTag, peer: &PublicKey) -> Step {
    // One binding cannot hold for many items.
    candidate.bound = None;
    let nearer = base.nearer(&candidate.target);
    match base.items.precheck(&mut base.cx, &candidate, nearer) {
        Ok(Precheck::Held) => Step::Judged(Ok(())),
        Err(Refusal::Busy) => Step::Later(candidate.item.into()),
        Err(refusal) => {
            base.cx.count_refusal(refusal);
            Step::Judged(Err(Rejection::Store(refusal)))
        }
        Ok(Precheck::Verify) => {
            if !base.may_verify(peer) {
                return Step::Later(candidate.item.into());
            }
            base.verify(peer, candidate, tag);
            Step::Verifying
        }
    }
}
