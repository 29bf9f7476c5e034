//! The queues of waiting requests, and the bounded amount of work on them that each firing of the
//! timer does.
//!
//! To avoid recursion, freeing a slot or room resumes no request directly: the next firing notices
//! it, and that is due immediately ([`WakeReason::Requests`](crate::node::WakeReason)).

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::ids::StreamId;
use crate::node::inbound::page::PAGE_ROOM;
use crate::node::inbound::phase::RequestPhase;
use crate::node::inbound::queues::Queue;
use crate::node::inbound::room::Room;
use crate::node::inbound::state::Inbound;
use crate::node::limits::Limit;
use crate::store::{MAX_ITEM_COST, MAX_RESERVED_BYTES};

/// Maximum work on waiting requests in one `handle`, in bytes decoded, judged or encoded.
const STEP: usize = 128 * 1024;
/// Maximum number of waiting requests resumed in one `handle`.
const STEP_REQUESTS: usize = 32;
/// Minimum cost charged for resuming a request, in bytes of [`STEP`].
const LEAST: usize = 1024;

impl Inbound {
    /// Whether a waiting request could be resumed now.
    pub(crate) fn requests_due(&self, base: &Base) -> bool {
        [Queue::Work, Queue::Slot, Queue::Room]
            .into_iter()
            .any(|queue| self.can_resume(base, queue))
    }

    fn can_resume(&self, base: &Base, queue: Queue) -> bool {
        match queue {
            Queue::Work => self.backlog.work.runnable() > 0,
            Queue::Slot => self.backlog.wait_queue.runnable() > 0 && self.slot_is_free(base),
            Queue::Room => self.backlog.room.runnable() > 0 && self.room_is_free(base),
        }
    }

    /// Resumes waiting requests, up to a bounded amount of work.
    pub(crate) fn run_backlog(&mut self, base: &mut Base) {
        self.relieve_answers(base);
        let (mut left, mut requests) = (STEP, 0);
        while left > 0 && requests < STEP_REQUESTS {
            self.backlog.turn = self.backlog.turn.wrapping_add(1);
            let turn = self.backlog.turn;
            let next = (0..3)
                .map(|n| [Queue::Work, Queue::Slot, Queue::Room][(turn + n) % 3])
                .find(|queue| self.can_resume(base, *queue));
            let Some(queue) = next else {
                return;
            };
            let Some((peer, id)) = self.backlog.queue(queue).pop() else {
                return;
            };
            requests += 1;
            let Some(request) = self.request_mut(id) else {
                continue;
            };
            let phase = core::mem::take(&mut request.phase);
            let cost = match phase {
                RequestPhase::Whole(frame) => self.decode_large(base, id, frame),
                RequestPhase::Decoding(decoder) => self.decode_batch(base, id, decoder),
                RequestPhase::Page(page) => self.advance_page(base, id, page, &peer),
                RequestPhase::Request(message) => self.resume_request(base, id, *message, &peer),
                RequestPhase::Put(put) => self.resume_put(base, id, put, &peer),
                RequestPhase::BatchQueued(batch) => self.resume_batch(base, id, batch, &peer),
                RequestPhase::BatchJudged(batch) => self.answer_batch(base, id, batch, &peer),
                other => {
                    // These phases are in no queue, so there is nothing to resume.
                    if let Some(request) = self.request_mut(id) {
                        request.phase = other;
                    }
                    0
                }
            };
            left = left.saturating_sub(cost.max(LEAST));
        }
    }

    /// Whether a slot is free, and a verification job with it.
    pub(crate) fn slot_is_free(&self, base: &Base) -> bool {
        let limits = &base.cx.config.limits;
        // An eighth of the jobs is reserved for this node's own reads and puts.
        let jobs = limits.verify_jobs - limits.verify_jobs / 8;
        self.slots < limits.serving
            && base.jobs.len() < jobs
            && base.items.store.reserved_bytes() + MAX_ITEM_COST <= MAX_RESERVED_BYTES
    }

    /// The limit of `peer` that denies it another slot, or another job with it; `None` if it may
    /// have one.
    pub(crate) fn may_have_slot(&self, base: &Base, peer: &PublicKey) -> Option<Limit> {
        let limits = &base.cx.config.limits;
        let slots = self.usage.get(peer).map_or(0, |usage| usage.slots);
        if slots >= limits.serving_per_peer {
            Some(Limit::serving_per_peer)
        } else if base.jobs.of(peer) >= limits.verify_jobs_per_peer {
            Some(Limit::verify_jobs_per_peer)
        } else {
            None
        }
    }

    /// A verification for `peer` ended, so its requests may compete for slots again.
    pub(crate) fn job_ended(&mut self, peer: &PublicKey) {
        self.backlog.wait_queue.unpark(peer);
    }

    fn acquire_slot(&mut self, peer: &PublicKey) {
        self.slots += 1;
        self.change_usage(*peer, |usage| usage.slots += 1);
    }

    /// Frees a slot, so that requests of `peer` may compete for slots again.
    pub(crate) fn release_slot(&mut self, peer: &PublicKey) {
        self.slots -= 1;
        self.change_usage(*peer, |usage| usage.slots -= 1);
        self.backlog.wait_queue.unpark(peer);
    }

    /// Acquires a slot for a request of `peer`. If this returns false, the request must wait.
    pub(crate) fn try_slot(&mut self, base: &mut Base, peer: &PublicKey) -> bool {
        let hit = if let Some(limit) = self.may_have_slot(base, peer) {
            limit
        } else if self.slot_is_free(base) {
            self.acquire_slot(peer);
            return true;
        } else if self.slots >= base.cx.config.limits.serving {
            Limit::serving
        } else {
            Limit::verify_jobs
        };
        base.cx.hit(hit);
        false
    }

    /// Puts a request into the queue for slots. While a peer is at its own limit, the queue skips
    /// its requests.
    pub(crate) fn wait_for_slot(
        &mut self,
        base: &mut Base,
        id: StreamId,
        phase: RequestPhase,
        peer: &PublicKey,
    ) {
        self.set_phase(base, id, phase);
        if self.may_have_slot(base, peer).is_some() {
            self.backlog.wait_queue.park(peer);
        }
    }

    fn room_is_free(&self, base: &Base) -> bool {
        self.room_in_all(base, PAGE_ROOM)
    }

    /// Puts a request into the queue for room. While a peer has to read its own answers first, the
    /// queue skips its requests.
    pub(crate) fn wait_for_room(
        &mut self,
        base: &mut Base,
        id: StreamId,
        phase: RequestPhase,
        peer: &PublicKey,
        room: Room,
    ) {
        self.set_phase(base, id, phase);
        if room == Room::PeerFull {
            base.cx.hit(Limit::answer_bytes_per_peer);
            self.backlog.room.park(peer);
        } else {
            base.cx.hit(Limit::answer_bytes);
        }
    }
}
