//! Accepted streams: one request at a time on each, from its first byte until its answer has
//! left.
//!
//! What a peer may make the node do is bounded on the way: `room` bounds the bytes of requests
//! and answers, `backlog` starts what waits, a bounded piece of work at a time.

pub(crate) mod backlog;
pub(crate) mod batch;
pub(crate) mod page;
pub(crate) mod requests;
pub(crate) mod room;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use crate::key::PublicKey;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::backlog::Queue;
use crate::node::inbound::batch::Batch;
use crate::node::inbound::page::PageJob;
use crate::node::inbound::requests::PutJob;
use crate::node::input::Path;
use crate::node::limits::Limit;
use crate::node::output::{CloseReason, Output};
use crate::node::rpc::deadlines::Wait;
use crate::node::rpc::streams::State;
use crate::store::item_cost;
use crate::wire::{BatchDecoder, Frame, RequestMessage};

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

/// An accepted stream.
#[derive(Default)]
pub(crate) struct Served {
    pub(crate) phase: Phase,
    /// Bytes of the next request.
    ahead: Vec<u8>,
    paused: bool,
    /// The peer speaks our dialect: keep the stream.
    pub(crate) keep: bool,
    /// The peer reads compact lists of peers.
    pub(crate) compact: bool,
    pub(crate) forgeries: u8,
    /// Counted by [`Streams::set_request_bytes`](crate::node::rpc::streams::Streams::set_request_bytes).
    pub(crate) request_bytes: usize,
    /// Counted by [`Streams::set_answer_bytes`](crate::node::rpc::streams::Streams::set_answer_bytes).
    pub(crate) answer_bytes: usize,
}

impl Served {
    /// Whether it holds a slot. A put's slot is released with its verdict instead, since its
    /// item is kept even if the stream is gone.
    pub(crate) const fn holds_slot(&self) -> bool {
        matches!(self.phase, Phase::Batch(_))
    }

    /// The queue that it stands in.
    pub(crate) const fn queue(&self) -> Option<Queue> {
        match self.phase {
            Phase::Whole(_) | Phase::Decoding(_) | Phase::Page(_) => Some(Queue::Work),
            Phase::Put(_) | Phase::BatchWaits(_) => Some(Queue::Slot),
            Phase::Request(_) | Phase::BatchDone(_) => Some(Queue::Room),
            Phase::Reading | Phase::Verifying | Phase::Batch(_) | Phase::Answering { .. } => None,
        }
    }
}

/// How far the request on a stream is.
#[derive(Default)]
pub(crate) enum Phase {
    /// Nothing, or part of a request, has come.
    #[default]
    Reading,
    /// A large request waits to be decoded.
    Whole(Frame),
    /// A batch is being decoded.
    Decoding(Box<BatchDecoder>),
    /// A request waits for room for its answer.
    Request(Box<RequestMessage>),
    /// A page of items is being made.
    Page(Box<PageJob>),
    /// A put waits for a slot.
    Put(Box<PutJob>),
    /// A put's signature is being checked.
    Verifying,
    /// A batch waits for a slot.
    BatchWaits(Box<Batch>),
    /// Some items of a batch are being checked.
    Batch(Box<Batch>),
    /// A batch is done and waits for room for its answer.
    BatchDone(Box<Batch>),
    /// An answer is on its way; then the stream is kept, or finished.
    Answering {
        /// Keep it.
        keep: bool,
    },
}

impl Phase {
    /// Bytes that are kept of the request.
    fn bytes(&self) -> usize {
        match self {
            Self::Whole(frame) => frame.body.capacity(),
            Self::Decoding(decoder) => decoder.allocated(),
            Self::Put(put) => item_cost(&put.candidate.item),
            Self::BatchWaits(batch) | Self::Batch(batch) | Self::BatchDone(batch) => batch.bytes,
            Self::Reading
            | Self::Request(_)
            | Self::Page(_)
            | Self::Verifying
            | Self::Answering { .. } => 0,
        }
    }
}

impl Node {
    /// A peer opened a stream.
    pub(crate) fn stream_accepted(&mut self, id: StreamId, peer: PublicKey, path: Path) {
        self.streams.note_theirs(id);
        let limits = &self.cx.config.limits;
        let of_peer = self
            .streams
            .usage(&peer)
            .map_or(0, |usage| usage.accepted());
        // A quarter is for our own calls, whatever peers do.
        let full = self.streams.accepted() >= limits.streams - limits.streams / 4
            || self.streams.len() >= limits.streams;
        let refused = if self.cx.stopping || !self.cx.config.serve || self.is_refused(&peer) {
            true
        } else if of_peer >= limits.streams_per_peer {
            self.cx.hit(Limit::streams_per_peer);
            true
        } else if full {
            self.cx.hit(Limit::streams);
            !self.make_room_for_stream()
        } else {
            false
        };
        if refused {
            self.cx.counters.count(Counter::RequestsOverloaded);
            return self.cx.output(Output::CloseStream {
                stream: id,
                reason: CloseReason::Overloaded,
            });
        }
        self.streams.accept(id, peer, path, Served::default());
        self.read_until(id);
    }

    /// A request must be complete in time, or move on.
    fn read_until(&mut self, id: StreamId) {
        let until = self.cx.now.mono.plus(READ_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Read, until)));
    }

    /// Bytes on an accepted stream.
    pub(crate) fn served_bytes(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let State::Served(served) = &mut stream.state else {
            return;
        };
        if !matches!(served.phase, Phase::Reading) {
            if served.ahead.len() + bytes.len() > MAX_AHEAD {
                self.cx.counters.count(Counter::RequestsOverloaded);
                return self.close(id, CloseReason::Protocol);
            }
            served.ahead.extend_from_slice(bytes);
            let count = served.request_bytes + bytes.len();
            if !core::mem::replace(&mut served.paused, true) {
                self.cx.output(Output::PauseReading { stream: id });
            }
            self.streams.set_request_bytes(id, count);
            return self.relieve_requests(id);
        }
        let before = stream.decoder.buffered();
        let mut rest = bytes;
        match stream.decoder.push(&mut rest) {
            Ok(Some(frame)) => {
                served.ahead.extend_from_slice(rest);
                self.streams.set_deadline(id, None);
                self.request(id, frame);
            }
            Ok(None) => {
                let buffered = stream.decoder.buffered();
                let allocated = stream.decoder.allocated();
                let moved_on = before == 0 || buffered / PROGRESS > before / PROGRESS;
                if moved_on && !bytes.is_empty() {
                    self.read_until(id);
                }
                self.streams.set_request_bytes(id, allocated);
                self.relieve_requests(id);
            }
            Err(error) => {
                self.cx.count_frame_error(error);
                self.close(id, CloseReason::Protocol);
            }
        }
    }

    /// A whole request. It is counted here, and decoded here unless it is large.
    fn request(&mut self, id: StreamId, frame: Frame) {
        self.cx.counters.count(Counter::RequestsServed);
        if frame.body.len() <= DECODED_ON_ARRIVAL {
            return self.decode(id, &frame);
        }
        self.set_phase(id, Phase::Whole(frame));
        self.relieve_requests(id);
    }

    /// Goes into a phase, and into its queue if it has one.
    pub(crate) fn set_phase(&mut self, id: StreamId, phase: Phase) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let peer = stream.peer;
        let State::Served(served) = &mut stream.state else {
            return;
        };
        let bytes = served.ahead.len() + phase.bytes();
        served.phase = phase;
        let queue = served.queue();
        self.streams.set_request_bytes(id, bytes);
        if let Some(queue) = queue {
            let lane = self.lane(&peer);
            self.backlog.queue(queue).push(peer, lane, id);
        }
    }

    /// An answer goes out. Whatever was kept of the request is free.
    pub(crate) fn send_answer(&mut self, id: StreamId, frame: Vec<u8>, keep: bool) {
        let Some(served) = self.streams.served_mut(id) else {
            return;
        };
        served.phase = Phase::Answering { keep };
        let ahead = served.ahead.len();
        self.streams.set_request_bytes(id, ahead);
        self.streams.set_answer_bytes(id, frame.len());
        let until = self.cx.now.mono.plus(SEND_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Send, until)));
        self.send(id, frame.into());
    }

    /// An answer has left: the stream is finished, or free for the next request.
    pub(crate) fn served_sent(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let peer = stream.peer;
        let State::Served(served) = &mut stream.state else {
            return;
        };
        let Phase::Answering { keep } = served.phase else {
            return;
        };
        served.phase = Phase::Reading;
        let ahead = core::mem::take(&mut served.ahead);
        let resume = core::mem::take(&mut served.paused);
        self.note_answered(&peer);
        self.streams.set_answer_bytes(id, 0);
        self.backlog.room.unpark(&peer);
        if !keep {
            return self.close(id, CloseReason::Done);
        }
        self.streams.set_request_bytes(id, 0);
        let until = self.cx.now.mono.plus(IDLE_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Idle, until)));
        if resume {
            self.cx.output(Output::ResumeReading { stream: id });
        }
        if !ahead.is_empty() {
            self.served_bytes(id, &ahead);
        }
    }

    /// A deadline of a stream passed.
    pub(crate) fn stream_timed_out(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if stream.decoder.is_mid_frame() {
            self.cx.counters.count(Counter::SlowRequests);
            self.close(id, CloseReason::Timeout);
        } else if matches!(&stream.state, State::Served(served) if served.answer_bytes > 0) {
            self.cut_slow_reader(id, CloseReason::Timeout);
        } else {
            self.close(id, CloseReason::Idle);
        }
    }

    /// The batch whose items are being checked on a stream.
    pub(crate) fn take_batch(&mut self, id: StreamId) -> Option<Box<Batch>> {
        let served = self.streams.served_mut(id)?;
        match core::mem::take(&mut served.phase) {
            Phase::Batch(batch) => Some(batch),
            other => {
                served.phase = other;
                None
            }
        }
    }
}
