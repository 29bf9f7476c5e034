//! Serving a batch of items: a few signatures at a time, so that one batch of a thousand
//! items neither floods the pool nor holds up a single `handle`.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::ItemError;
use crate::key::{PublicKey, SignatureError};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::input::StreamId;
use crate::node::refusal_text;
use crate::node::serve::candidate;
use crate::node::verification::JobFor;
use crate::node::verify::Verdict;
use crate::store::{Candidate, Precheck, Refusal, Reservation};
use crate::wire::{Frame, RequestExt, Response, WireItem};

/// Signatures of one batch being checked at a time.
const AT_ONCE: usize = 32;
/// Items of a batch judged in one `handle`.
const STEP: usize = 256;

/// A batch under way.
pub(super) struct Batch {
    items: vec::IntoIter<WireItem>,
    targets: vec::IntoIter<Target>,
    results: Vec<Result<(), String>>,
    out: usize,
    ext: Option<RequestExt>,
}

/// One item of a batch, while its signature is checked.
pub(super) struct PendingItem {
    stream: StreamId,
    index: usize,
    candidate: Candidate,
    reservation: Reservation,
}

impl Node {
    /// A batch came. It takes one place among the requests being served.
    pub(super) fn start_batch(
        &mut self,
        id: StreamId,
        frame: &Frame,
        items: Vec<WireItem>,
        targets: Vec<Target>,
        ext: Option<RequestExt>,
        peer: PublicKey,
    ) {
        if !self.may_serve(&peer) {
            return self.wait_for_place(id, frame.clone());
        }
        self.take_place(&peer);
        let batch = Batch {
            results: Vec::with_capacity(items.len()),
            items: items.into_iter(),
            targets: targets.into_iter(),
            out: 0,
            ext,
        };
        self.advance_batch(id, Box::new(batch), &peer);
    }

    fn advance_batch(&mut self, id: StreamId, mut batch: Box<Batch>, peer: &PublicKey) {
        let mut steps = 0;
        while batch.out < AT_ONCE && (steps < STEP || batch.out == 0) {
            steps += 1;
            let Some(item) = batch.items.next() else {
                break;
            };
            // All zero, like a missing one, is upstream's "at its own target".
            let target = batch
                .targets
                .next()
                .filter(|target| *target != Target::default());
            let index = batch.results.len();
            batch.results.push(Ok(()));
            match self.judge_batched(id, index, item, target, batch.ext.as_ref(), peer) {
                Ok(true) => batch.out += 1,
                Ok(false) => {}
                Err(text) => batch.results[index] = Err(text),
            }
        }
        if batch.out > 0 {
            return self.set_batch(id, batch);
        }
        self.leave_place(peer);
        let stored = batch.results.iter().map(Result::is_ok).collect();
        let mut errors: Vec<String> = batch
            .results
            .into_iter()
            .map(|result| result.err().unwrap_or_default())
            .collect();
        if errors.iter().all(String::is_empty) {
            errors.clear();
        }
        self.answer(id, Response::PutBatch { stored, errors }, None);
        self.serve_waiting();
    }

    /// Judges one item; `true` when its signature is being checked.
    fn judge_batched(
        &mut self,
        id: StreamId,
        index: usize,
        item: WireItem,
        target: Option<Target>,
        ext: Option<&RequestExt>,
        peer: &PublicKey,
    ) -> Result<bool, String> {
        let mut candidate =
            candidate(item, target, ext, peer).map_err(|error| error.to_string())?;
        // One binding cannot hold for many items.
        candidate.bound = None;
        let refuse = |node: &mut Self, refusal: Refusal| {
            node.count_refusal(refusal);
            Err(refusal_text::text(refusal).to_string())
        };
        let nearer = self
            .table
            .nearer_than_local(&candidate.target, self.config.k);
        match self.store.precheck(self.now, &candidate, nearer) {
            Err(refusal) => refuse(self, refusal),
            Ok(Precheck::Held) => {
                self.counters.count(Counter::VerifySpared);
                self.confirm(&candidate)
                    .map(|()| false)
                    .or_else(|refusal| refuse(self, refusal))
            }
            Ok(Precheck::Verify) => {
                if !self.may_verify(peer) {
                    return refuse(self, Refusal::Busy);
                }
                let reservation = self.store.reserve(&candidate);
                let item = candidate.item.clone();
                let pending = PendingItem {
                    stream: id,
                    index,
                    candidate,
                    reservation,
                };
                self.verify(*peer, item, None, JobFor::Batch(Box::new(pending)));
                Ok(true)
            }
        }
    }

    /// A verdict on one item; it is kept if valid, whether or not the stream still is.
    pub(super) fn batch_verified(&mut self, item: PendingItem, peer: &PublicKey, verdict: Verdict) {
        let PendingItem {
            stream: id,
            index,
            candidate,
            reservation,
        } = item;
        self.store.release(reservation);
        let forged = verdict.is_err();
        let result = match verdict {
            Ok(()) => {
                let nearer = self
                    .table
                    .nearer_than_local(&candidate.target, self.config.k);
                self.admit(candidate, nearer).map_err(|refusal| {
                    self.count_refusal(refusal);
                    refusal_text::text(refusal).to_string()
                })
            }
            Err(error) => {
                self.counters.count(match error {
                    ItemError::Signature(SignatureError::InvalidKey) => Counter::InvalidKeys,
                    _ => Counter::ForgedItems,
                });
                Err(error.to_string())
            }
        };
        let Some(mut batch) = self.take_batch(id) else {
            return;
        };
        batch.out -= 1;
        if let Some(slot) = batch.results.get_mut(index) {
            *slot = result;
        }
        if forged && self.note_forgery(id) {
            self.leave_place(peer);
            return self.serve_waiting();
        }
        self.advance_batch(id, batch, peer);
    }
}
