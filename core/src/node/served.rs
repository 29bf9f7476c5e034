//! Accepted streams: how many, how long, one request at a time, and who waits for a place.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::key::PublicKey;
use crate::node::Node;
use crate::node::batch::Batch;
use crate::node::counters::Counter;
use crate::node::deadlines::Wait;
use crate::node::input::{Path, StreamId};
use crate::node::limits::Limit;
use crate::node::output::{CloseReason, Output};
use crate::node::streams::State;
use crate::wire::Frame;

/// A request must be complete this long after its stream opened or its first byte came.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// A stream without request is finished after this.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);
/// Bytes taken beyond the request being served, before the driver has paused the stream.
const MAX_AHEAD: usize = 128 * 1024;

/// An accepted stream.
#[derive(Default)]
pub(super) struct Served {
    pub(super) phase: Phase,
    /// Bytes of the next request.
    ahead: Vec<u8>,
    paused: bool,
    /// The peer speaks our dialect: keep the stream.
    pub(super) keep: bool,
    pub(super) forgeries: u8,
}

impl Served {
    /// Whether it takes a place among the requests being served. A put's place is left with
    /// its verdict instead, since its item is kept even if the stream is gone.
    pub(super) const fn holds_place(&self) -> bool {
        matches!(self.phase, Phase::Batch(_))
    }

    /// Whether it stands in the queue for a place.
    pub(super) const fn waits(&self) -> bool {
        matches!(self.phase, Phase::Waiting(_))
    }
}

#[derive(Default)]
pub(super) enum Phase {
    /// Nothing, or part of a request, has come.
    #[default]
    Reading,
    /// A whole request waits for a place.
    Waiting(Frame),
    /// A put's signature is being checked.
    Verifying,
    /// A batch is being checked.
    Batch(Box<Batch>),
    /// An answer is on its way.
    Answering,
}

/// Streams whose requests wait for a place.
pub(super) type Waiting = VecDeque<StreamId>;

impl Node {
    /// A peer opened a stream.
    pub(super) fn stream_accepted(&mut self, id: StreamId, peer: PublicKey, path: Path) {
        self.streams.note_theirs(id);
        let limits = &self.config.limits;
        let by_peer = self.streams.usage(&peer).map_or(0, |usage| usage.accepted);
        // A quarter is for our own calls, whatever peers do.
        let in_all = self.streams.accepted() >= limits.streams - limits.streams / 4
            || self.streams.len() >= limits.streams;
        let limit = if by_peer >= limits.streams_per_peer {
            Some(Limit::streams_per_peer)
        } else if in_all {
            self.hit(Limit::streams);
            // The longest idle makes room; without one there is none.
            match self.streams.longest_idle() {
                Some(idle) => {
                    self.close(idle, CloseReason::Idle);
                    None
                }
                None => Some(Limit::streams),
            }
        } else {
            None
        };
        if limit == Some(Limit::streams_per_peer) {
            self.hit(Limit::streams_per_peer);
        }
        if limit.is_some() || self.stopping || !self.config.serve {
            self.counters.count(Counter::RequestsOverloaded);
            return self.output(Output::CloseStream {
                stream: id,
                reason: CloseReason::Overloaded,
            });
        }
        self.streams.accept(id, peer, path, Served::default());
        self.read_until(id);
    }

    /// A request must be complete in time.
    fn read_until(&mut self, id: StreamId) {
        let until = self.now.mono.plus(READ_DEADLINE);
        self.streams.give_up_at(id, Some((Wait::Read, until)));
    }

    /// Bytes on an accepted stream.
    pub(super) fn served_bytes(&mut self, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let State::Served(served) = &mut stream.state else {
            return;
        };
        if !matches!(served.phase, Phase::Reading) {
            if served.ahead.len() + bytes.len() > MAX_AHEAD {
                self.counters.count(Counter::RequestsOverloaded);
                return self.close(id, CloseReason::Protocol);
            }
            served.ahead.extend_from_slice(bytes);
            if !core::mem::replace(&mut served.paused, true) {
                self.output(Output::PauseReading { stream: id });
            }
            return;
        }
        let fresh = !stream.decoder.is_mid_frame();
        let mut rest = bytes;
        match stream.decoder.push(&mut rest) {
            Ok(Some(frame)) => {
                served.ahead.extend_from_slice(rest);
                self.streams.give_up_at(id, None);
                self.request(id, frame);
            }
            Ok(None) => {
                if fresh && !bytes.is_empty() {
                    self.read_until(id);
                }
            }
            Err(error) => {
                self.count_frame_error(error);
                self.close(id, CloseReason::Protocol);
            }
        }
    }

    /// An answer has left: the stream is free for the next request.
    pub(super) fn served_sent(&mut self, id: StreamId) {
        let Some(served) = self.streams.served_mut(id) else {
            return;
        };
        if !matches!(served.phase, Phase::Answering) {
            return;
        }
        served.phase = Phase::Reading;
        let ahead = core::mem::take(&mut served.ahead);
        let resume = core::mem::take(&mut served.paused);
        let until = self.now.mono.plus(IDLE_DEADLINE);
        self.streams.give_up_at(id, Some((Wait::Idle, until)));
        if resume {
            self.output(Output::ResumeReading { stream: id });
        }
        if !ahead.is_empty() {
            self.served_bytes(id, &ahead);
        }
    }

    /// The read or idle deadline of a stream passed.
    pub(super) fn stream_timed_out(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if stream.decoder.is_mid_frame() {
            self.counters.count(Counter::SlowRequests);
            self.close(id, CloseReason::Timeout);
        } else {
            self.close(id, CloseReason::Idle);
        }
    }

    /// Whether one more request of `peer` may be worked on.
    pub(super) fn may_serve(&mut self, peer: &PublicKey) -> bool {
        let of_peer = self.streams.usage(peer).map_or(0, |usage| usage.serving);
        if of_peer >= self.config.limits.serving_per_peer {
            self.hit(Limit::serving_per_peer);
            return false;
        }
        if self.serving >= self.config.limits.serving {
            self.hit(Limit::serving);
            return false;
        }
        true
    }

    pub(super) fn take_place(&mut self, peer: &PublicKey) {
        self.serving += 1;
        self.streams.usage_mut(*peer, |usage| usage.serving += 1);
    }

    pub(super) fn leave_place(&mut self, peer: &PublicKey) {
        self.serving -= 1;
        self.streams.usage_mut(*peer, |usage| usage.serving -= 1);
    }

    /// No place is free: the request waits, unanswered and unlost.
    pub(super) fn wait_for_place(&mut self, id: StreamId, frame: Frame) {
        if let Some(served) = self.streams.served_mut(id) {
            served.phase = Phase::Waiting(frame);
            self.waiting.push_back(id);
        }
    }

    /// A place is free: who waited longest, and may, goes on.
    pub(super) fn serve_waiting(&mut self) {
        let mut tries = self.waiting.len().min(8);
        while tries > 0 && self.serving < self.config.limits.serving {
            tries -= 1;
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            let peer = stream.peer;
            let of_peer = self.streams.usage(&peer).map_or(0, |usage| usage.serving);
            if of_peer >= self.config.limits.serving_per_peer {
                self.waiting.push_back(id);
                continue;
            }
            let Some(served) = self.streams.served_mut(id) else {
                continue;
            };
            match core::mem::take(&mut served.phase) {
                Phase::Waiting(frame) => self.request(id, frame),
                other => served.phase = other,
            }
        }
    }

    /// The batch that a stream works on.
    pub(super) fn set_batch(&mut self, id: StreamId, batch: Box<Batch>) {
        if let Some(served) = self.streams.served_mut(id) {
            served.phase = Phase::Batch(batch);
        }
    }

    /// Takes the batch that a stream works on.
    pub(super) fn take_batch(&mut self, id: StreamId) -> Option<Box<Batch>> {
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
