//! Accepted streams and what their requests use: bytes, slots, positions in queues.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::id::Target;
use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::phase::{RequestPhase, RequestState};
use crate::node::inbound::queues::Backlog;
use crate::node::inbound::work::Batch;
use crate::node::loading::Need;
use crate::node::measurements::ServedOutcome;
use crate::node::output::{CloseReason, Event, Output};
use crate::node::rpc::callers::Waste;
use crate::node::rpc::fair_queue::Lane;
use crate::node::rpc::streams::{Stream, StreamTable};
use crate::sync::Stamp;
use crate::time::Mono;

/// Resources that one peer uses.
#[derive(Default)]
pub(crate) struct Usage {
    /// Streams that it opened, oldest first.
    pub(super) streams: Vec<StreamId>,
    /// Slots held by its requests.
    pub(super) slots: usize,
    /// Bytes of its requests, from their first byte to their answer.
    pub(super) request_bytes: usize,
    /// Bytes of answers to it that have not left.
    pub(super) answer_bytes: usize,
}

/// What a reconciliation message says about its sender.
pub(crate) struct SyncNotice {
    pub(crate) peer: PublicKey,
    /// Whether the peer compares sets, that is, runs a session with this node.
    pub(crate) compares: bool,
    /// The items that the peer offers.
    pub(crate) offered: Vec<Stamp>,
}

/// The accepted streams, and the requests on them.
pub(crate) struct Inbound {
    pub(super) streams: StreamTable<RequestState>,
    pub(super) usage: HashMap<PublicKey, Usage, FixedState>,
    pub(super) last_accepted: Option<StreamId>,
    /// Bytes of all requests, from their first byte to their answer.
    pub(super) request_bytes: usize,
    /// Bytes of all answers that have not left.
    pub(super) answer_bytes: usize,
    /// Complete requests that have not been answered.
    pub(super) serving: usize,
    /// Slots in use.
    pub(super) slots: usize,
    pub(super) backlog: Backlog,
    /// Requests that wait for storage.
    pub(super) loads: BTreeSet<(Need, StreamId)>,
    /// Requests that wait for a newer item.
    pub(super) watches: BTreeSet<(Target, StreamId)>,
    /// Messages that replication has not processed yet.
    pub(super) sync_notices: Vec<SyncNotice>,
}

impl Inbound {
    /// Returns what reconciliation messages have said since the last call.
    pub(crate) fn take_sync_notices(&mut self) -> Vec<SyncNotice> {
        core::mem::take(&mut self.sync_notices)
    }

    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            streams: StreamTable::new(hash_seed),
            usage: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            last_accepted: None,
            request_bytes: 0,
            answer_bytes: 0,
            serving: 0,
            slots: 0,
            backlog: Backlog::default(),
            loads: BTreeSet::new(),
            watches: BTreeSet::new(),
            sync_notices: Vec::new(),
        }
    }

    /// Streams that peers have opened.
    pub(crate) fn accepted(&self) -> usize {
        self.streams.len()
    }

    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    /// Requests that wait for storage, their turn, a slot or room.
    pub(crate) fn waiting(&self) -> usize {
        self.backlog.len() + self.loads.len()
    }

    /// Requests that wait for a newer item.
    pub(crate) fn watches(&self) -> usize {
        self.watches.len()
    }

    /// Complete requests that have not been answered.
    pub(crate) const fn serving(&self) -> usize {
        self.serving
    }

    pub(crate) const fn request_bytes(&self) -> usize {
        self.request_bytes
    }

    pub(crate) const fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    pub(crate) fn stream_ids(&self) -> Vec<StreamId> {
        self.streams.unordered_ids()
    }

    /// The stream with the earliest deadline.
    pub(crate) const fn next_deadline(&self) -> Option<(Mono, StreamId)> {
        self.streams.next_deadline()
    }

    /// Changes the usage of a peer. Removes the entry if no stream and no slot is left.
    pub(super) fn change_usage(&mut self, peer: PublicKey, change: impl FnOnce(&mut Usage)) {
        let usage = self.usage.entry(peer).or_default();
        change(usage);
        if usage.streams.is_empty() && usage.slots == 0 {
            self.usage.remove(&peer);
        }
    }

    /// The request on a stream.
    pub(super) fn request_mut(&mut self, id: StreamId) -> Option<&mut RequestState> {
        Some(&mut self.streams.get_mut(id)?.state)
    }

    /// Sets the number of bytes that the request on a stream uses.
    pub(crate) fn set_request_bytes(&mut self, id: StreamId, bytes: usize) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let before = core::mem::replace(&mut stream.state.request_bytes, bytes);
        if before != bytes {
            let peer = stream.peer;
            self.request_bytes = self.request_bytes + bytes - before;
            self.change_usage(peer, |usage| {
                usage.request_bytes = usage.request_bytes + bytes - before;
            });
        }
    }

    /// Sets the number of bytes that the answer on a stream uses.
    pub(crate) fn set_answer_bytes(&mut self, id: StreamId, bytes: usize) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let before = core::mem::replace(&mut stream.state.answer_bytes, bytes);
        if before != bytes {
            let peer = stream.peer;
            self.answer_bytes = self.answer_bytes + bytes - before;
            self.change_usage(peer, |usage| {
                usage.answer_bytes = usage.answer_bytes + bytes - before;
            });
        }
    }

    /// Removes a stream and releases its slot and its positions in queues.
    pub(super) fn remove(
        &mut self,
        cx: &mut Context,
        id: StreamId,
    ) -> Option<Box<Stream<RequestState>>> {
        let stream = self.streams.remove(cx, id)?;
        let (peer, request) = (&stream.peer, &stream.state);
        self.request_bytes -= request.request_bytes;
        self.answer_bytes -= request.answer_bytes;
        self.serving -= usize::from(request.serving.is_some());
        self.change_usage(*peer, |usage| {
            usage.request_bytes -= request.request_bytes;
            usage.answer_bytes -= request.answer_bytes;
            usage.streams.retain(|other| *other != id);
        });
        if request.holds_slot() {
            self.release_slot(peer);
        }
        match request.phase {
            RequestPhase::Loading(_, need) => drop(self.loads.remove(&(need, id))),
            RequestPhase::Watching(_, target) => drop(self.watches.remove(&(target, id))),
            _ => {}
        }
        if let Some(queue) = request.queue() {
            self.backlog.queue(queue).remove(peer, &id);
        }
        if request.answer_bytes > 0 {
            self.backlog.room.unpark(peer);
        }
        Some(stream)
    }

    /// Closes a stream if it exists.
    pub(crate) fn close(&mut self, cx: &mut Context, stream: StreamId, reason: CloseReason) {
        if let Some(removed) = self.remove(cx, stream) {
            if let Some((method, _)) = removed.state.serving {
                cx.measured.unanswered(method, reason);
            }
            cx.output(Output::CloseStream { stream, reason });
        }
    }

    /// A peer closed its stream, or it was lost.
    pub(crate) fn stream_closed(&mut self, cx: &mut Context, id: StreamId) {
        let Some(stream) = self.remove(cx, id) else {
            return cx.counters.count(Counter::LateEvents);
        };
        if stream.decoder.is_mid_frame() {
            cx.counters.count(Counter::FrameTruncated);
        }
        if let Some((method, _)) = stream.state.serving {
            let left = (method, ServedOutcome::PeerLeft);
            cx.measured.served.count(left);
        }
    }

    /// Whether `id` may be the number of a newly accepted stream.
    pub(crate) fn is_fresh(&self, id: StreamId) -> bool {
        !id.is_ours() && self.last_accepted.is_none_or(|last| id > last)
    }

    /// Sets the phase of a request, and puts it into the queue of that phase if there is one.
    pub(crate) fn set_phase(&mut self, base: &mut Base, id: StreamId, phase: RequestPhase) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let peer = stream.peer;
        let request = &mut stream.state;
        let bytes = request.ahead.len() + phase.bytes();
        request.phase = phase;
        let queue = request.queue();
        self.set_request_bytes(id, bytes);
        if let Some(queue) = queue {
            let lane = base.lane(&peer);
            self.backlog.queue(queue).push(peer, lane, id);
        }
    }

    /// Ends the wait of a request for storage or a newer item, successful or not. It is resumed at
    /// its turn.
    pub(super) fn end_wait(&mut self, base: &mut Base, id: StreamId) {
        let Some(request) = self.streams.get_mut(id).map(|stream| &mut stream.state) else {
            return;
        };
        let message = match core::mem::take(&mut request.phase) {
            RequestPhase::Loading(message, need) => {
                request.loaded = true;
                self.loads.remove(&(need, id));
                message
            }
            RequestPhase::Watching(message, target) => {
                request.polled = true;
                self.watches.remove(&(target, id));
                message
            }
            other => return request.phase = other,
        };
        self.streams.set_deadline(id, None);
        self.set_phase(base, id, RequestPhase::Request(message));
    }

    /// Charges a peer for wasted work. Beyond a threshold it is slowed down, then refused for a
    /// while.
    pub(super) fn note_waste(&mut self, base: &mut Base, peer: &PublicKey, bytes: u64) {
        let now = base.cx.now.mono;
        match base.callers.note_waste(peer, bytes, now) {
            Waste::Tolerated => {}
            Waste::Slowed => {
                self.backlog.set_lane(peer, Lane::Penalised);
                base.jobs.set_lane(peer, Lane::Penalised);
            }
            Waste::Refused { until } => {
                base.cx.counters.count(Counter::CallersCut);
                let streams = self.usage.get(peer).map(|usage| usage.streams.clone());
                for stream in streams.into_iter().flatten() {
                    self.close(&mut base.cx, stream, CloseReason::Protocol);
                }
                let peer = *peer;
                base.cx.event(Event::PeerRefused { peer, until });
            }
        }
    }

    /// Takes the batch whose items are being checked on a stream.
    pub(crate) fn take_batch(&mut self, id: StreamId) -> Option<Box<Batch>> {
        let request = self.request_mut(id)?;
        match core::mem::take(&mut request.phase) {
            RequestPhase::Batch(batch) => Some(batch),
            other => {
                request.phase = other;
                None
            }
        }
    }
}
