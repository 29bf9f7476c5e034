//! Inbound requests: one at a time on each accepted stream, from its first byte until its answer
//! has left.
//!
//! What a peer may make the node do is bounded on the way: `room` bounds the bytes of requests
//! and answers, `backlog` starts what waits, a bounded piece of work at a time.

pub(crate) mod backlog;
pub(crate) mod batch;
pub(crate) mod page;
pub(crate) mod phase;
pub(crate) mod puts;
pub(crate) mod requests;
pub(crate) mod room;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::backlog::Backlog;
use crate::node::inbound::batch::Batch;
use crate::node::inbound::phase::{Phase, RequestState};
use crate::node::input::Path;
use crate::node::limits::Limit;
use crate::node::output::{CloseReason, Event, Output};
use crate::node::rpc::callers::Waste;
use crate::node::rpc::deadlines::Wait;
use crate::node::rpc::fair_queue::Lane;
use crate::node::rpc::streams::{Stream, StreamTable};
use crate::time::Mono;
use crate::wire::{Frame, Side};

/// A request must be complete this long after its stream opened or its first byte came, or
/// else have moved on by [`PROGRESS`] bytes.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of a request after which its deadline starts anew.
const PROGRESS: usize = 64 * 1024;
/// A stream without request is finished after this.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);
/// An answer must have left after this.
pub(crate) const SEND_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes taken beyond the request being served, before the driver has paused the stream.
const MAX_AHEAD: usize = 128 * 1024;
/// Bodies up to this are decoded as they come; longer ones wait for their turn.
const DECODED_ON_ARRIVAL: usize = 16 * 1024;

/// What one peer uses.
#[derive(Default)]
pub(crate) struct Usage {
    /// Streams that it opened, oldest first.
    streams: Vec<StreamId>,
    /// Its requests that hold a slot.
    slots: usize,
    /// Bytes of its requests, from their first byte to their answer.
    request_bytes: usize,
    /// Bytes of answers to it that have not left.
    answer_bytes: usize,
}

/// The accepted streams, and the requests on them.
pub(crate) struct Inbound {
    streams: StreamTable<RequestState>,
    usage: HashMap<PublicKey, Usage, FixedState>,
    last_accepted: Option<StreamId>,
    /// Bytes of all requests, from their first byte to their answer.
    request_bytes: usize,
    /// Bytes of all answers that have not left.
    answer_bytes: usize,
    /// Slots that are taken.
    slots: usize,
    backlog: Backlog,
}

impl Inbound {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            streams: StreamTable::new(hash_seed),
            usage: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            last_accepted: None,
            request_bytes: 0,
            answer_bytes: 0,
            slots: 0,
            backlog: Backlog::default(),
        }
    }

    /// Streams that peers have opened.
    #[cfg(test)]
    pub(crate) fn accepted(&self) -> usize {
        self.streams.len()
    }

    pub(crate) const fn slots(&self) -> usize {
        self.slots
    }

    /// Requests that wait for their turn, a slot or room.
    pub(crate) const fn waiting(&self) -> usize {
        self.backlog.len()
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

    /// The next stream to give up.
    pub(crate) const fn next_deadline(&self) -> Option<(Mono, StreamId)> {
        self.streams.next_deadline()
    }

    pub(crate) fn clear_deadlines(&mut self) {
        self.streams.clear_deadlines();
    }

    /// Changes a peer's use; an entry without streams and slots goes.
    fn change_usage(&mut self, peer: PublicKey, change: impl FnOnce(&mut Usage)) {
        let usage = self.usage.entry(peer).or_default();
        change(usage);
        if usage.streams.is_empty() && usage.slots == 0 {
            self.usage.remove(&peer);
        }
    }

    /// The request on a stream.
    fn request_mut(&mut self, id: StreamId) -> Option<&mut RequestState> {
        Some(&mut self.streams.get_mut(id)?.state)
    }

    /// Counts the bytes that the request on a stream takes, in place of what was counted.
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

    /// Counts the bytes of the answer on a stream, in place of what was counted.
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

    /// Forgets a stream: its slot and its place in a queue are free.
    fn remove(&mut self, cx: &mut Context, id: StreamId) -> Option<Box<Stream<RequestState>>> {
        let stream = self.streams.remove(cx, id)?;
        let (peer, request) = (&stream.peer, &stream.state);
        self.request_bytes -= request.request_bytes;
        self.answer_bytes -= request.answer_bytes;
        self.change_usage(*peer, |usage| {
            usage.request_bytes -= request.request_bytes;
            usage.answer_bytes -= request.answer_bytes;
            usage.streams.retain(|other| *other != id);
        });
        if request.holds_slot() {
            self.release_slot(peer);
        }
        if let Some(queue) = request.queue() {
            self.backlog.queue(queue).remove(peer, &id);
        }
        if request.answer_bytes > 0 {
            self.backlog.room.unpark(peer);
        }
        Some(stream)
    }

    /// Closes a stream, unless it is gone.
    pub(crate) fn close(&mut self, cx: &mut Context, stream: StreamId, reason: CloseReason) {
        if self.remove(cx, stream).is_some() {
            cx.output(Output::CloseStream { stream, reason });
        }
    }

    /// A peer closed its stream, or it was lost.
    pub(crate) fn stream_closed(&mut self, cx: &mut Context, id: StreamId) {
        match self.remove(cx, id) {
            Some(stream) if stream.decoder.is_mid_frame() => {
                cx.counters.count(Counter::FrameTruncated);
            }
            Some(_) => {}
            None => cx.counters.count(Counter::LateEvents),
        }
    }

    /// A peer made this node work for nothing. One that goes on is cut off for a while.
    fn note_waste(&mut self, base: &mut Base, peer: &PublicKey, bytes: u64) {
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

    /// Whether `id` may be the number of a newly accepted stream.
    pub(crate) fn is_fresh(&self, id: StreamId) -> bool {
        !id.is_ours() && self.last_accepted.is_none_or(|last| id > last)
    }

    /// A peer opened a stream.
    pub(crate) fn accept(&mut self, base: &mut Base, id: StreamId, peer: PublicKey, path: Path) {
        self.last_accepted = Some(id);
        let (config, now) = (&base.cx.config, base.cx.now.mono);
        let limits = &config.limits;
        let of_peer = self.usage.get(&peer).map_or(0, |usage| usage.streams.len());
        // A quarter is for our own calls, whatever peers do.
        let full = self.streams.len() >= limits.streams - limits.streams / 4
            || base.cx.open_streams >= limits.streams;
        let refused = if base.cx.stopping || !config.serve || base.callers.is_refused(&peer, now) {
            true
        } else if of_peer >= limits.streams_per_peer {
            base.cx.hit(Limit::streams_per_peer);
            true
        } else if full {
            base.cx.hit(Limit::streams);
            !self.make_room_for_stream(base)
        } else {
            false
        };
        if refused {
            base.cx.counters.count(Counter::RequestsOverloaded);
            return base.cx.output(Output::CloseStream {
                stream: id,
                reason: CloseReason::Overloaded,
            });
        }
        self.change_usage(peer, |usage| usage.streams.push(id));
        let stream = Stream::new(peer, Some(path), Side::Request, RequestState::default());
        self.streams.insert(&mut base.cx, id, stream);
        self.read_until(base, id);
    }

    /// A request must be complete in time, or move on.
    fn read_until(&mut self, base: &Base, id: StreamId) {
        let until = base.cx.now.mono.plus(READ_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Read, until)));
    }

    /// Bytes on an accepted stream.
    pub(crate) fn bytes(&mut self, base: &mut Base, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else {
            return base.cx.counters.count(Counter::LateEvents);
        };
        let request = &mut stream.state;
        if !matches!(request.phase, Phase::Reading) {
            if request.ahead.len() + bytes.len() > MAX_AHEAD {
                base.cx.counters.count(Counter::RequestsOverloaded);
                return self.close(&mut base.cx, id, CloseReason::Protocol);
            }
            request.ahead.extend_from_slice(bytes);
            let count = request.request_bytes + bytes.len();
            if !core::mem::replace(&mut request.paused, true) {
                base.cx.output(Output::PauseReading { stream: id });
            }
            self.set_request_bytes(id, count);
            return self.relieve_requests(base, id);
        }
        let before = stream.decoder.buffered();
        let mut rest = bytes;
        match stream.decoder.push(&mut rest) {
            Ok(Some(frame)) => {
                request.ahead.extend_from_slice(rest);
                self.streams.set_deadline(id, None);
                self.request(base, id, frame);
            }
            Ok(None) => {
                let buffered = stream.decoder.buffered();
                let allocated = stream.decoder.allocated();
                let moved_on = before == 0 || buffered / PROGRESS > before / PROGRESS;
                if moved_on && !bytes.is_empty() {
                    self.read_until(base, id);
                }
                self.set_request_bytes(id, allocated);
                self.relieve_requests(base, id);
            }
            Err(error) => {
                base.cx.count_frame_error(error);
                self.close(&mut base.cx, id, CloseReason::Protocol);
            }
        }
    }

    /// A whole request. It is counted here, and decoded here unless it is large.
    fn request(&mut self, base: &mut Base, id: StreamId, frame: Frame) {
        base.cx.counters.count(Counter::RequestsServed);
        if frame.body.len() <= DECODED_ON_ARRIVAL {
            return self.decode(base, id, &frame);
        }
        self.set_phase(base, id, Phase::Whole(frame));
        self.relieve_requests(base, id);
    }

    /// Goes into a phase, and into its queue if it has one.
    pub(crate) fn set_phase(&mut self, base: &mut Base, id: StreamId, phase: Phase) {
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

    /// An answer goes out. Whatever was kept of the request is free.
    pub(crate) fn send_answer(
        &mut self,
        base: &mut Base,
        id: StreamId,
        frame: Vec<u8>,
        keep: bool,
    ) {
        let Some(request) = self.request_mut(id) else {
            return;
        };
        request.phase = Phase::Answering { keep };
        let ahead = request.ahead.len();
        self.set_request_bytes(id, ahead);
        self.set_answer_bytes(id, frame.len());
        let until = base.cx.now.mono.plus(SEND_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Send, until)));
        base.cx.send(id, frame.into());
    }

    /// An answer has left: the stream is finished, or free for the next request.
    pub(crate) fn sent(&mut self, base: &mut Base, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let peer = stream.peer;
        let request = &mut stream.state;
        let Phase::Answering { keep } = request.phase else {
            return;
        };
        request.phase = Phase::Reading;
        let ahead = core::mem::take(&mut request.ahead);
        let resume = core::mem::take(&mut request.paused);
        base.callers.note_answered(&peer, base.cx.now.mono);
        self.set_answer_bytes(id, 0);
        self.backlog.room.unpark(&peer);
        if !keep {
            return self.close(&mut base.cx, id, CloseReason::Done);
        }
        self.set_request_bytes(id, 0);
        let until = base.cx.now.mono.plus(IDLE_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Idle, until)));
        if resume {
            base.cx.output(Output::ResumeReading { stream: id });
        }
        if !ahead.is_empty() {
            self.bytes(base, id, &ahead);
        }
    }

    /// A deadline of a stream passed.
    pub(crate) fn timed_out(&mut self, base: &mut Base, id: StreamId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if stream.decoder.is_mid_frame() {
            base.cx.counters.count(Counter::SlowRequests);
            self.close(&mut base.cx, id, CloseReason::Timeout);
        } else if stream.state.answer_bytes > 0 {
            self.cut_slow_reader(base, id, CloseReason::Timeout);
        } else {
            self.close(&mut base.cx, id, CloseReason::Idle);
        }
    }

    /// The batch whose items are being checked on a stream.
    pub(crate) fn take_batch(&mut self, id: StreamId) -> Option<Box<Batch>> {
        let request = self.request_mut(id)?;
        match core::mem::take(&mut request.phase) {
            Phase::Batch(batch) => Some(batch),
            other => {
                request.phase = other;
                None
            }
        }
    }
}
