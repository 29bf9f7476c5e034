//! Accepted streams: incoming bytes become requests, answers become bytes, and deadlines close
//! streams.

use alloc::vec::Vec;
use core::time::Duration;

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::StreamId;
use crate::node::inbound::phase::{RequestPhase, RequestState};
use crate::node::inbound::state::Inbound;
use crate::node::input::Path;
use crate::node::limits::Limit;
use crate::node::measurements::{Direction, ServedOutcome};
use crate::node::output::{CloseReason, Output};
use crate::node::rpc::deadlines::Wait;
use crate::node::rpc::streams::Stream;
use crate::wire::{Frame, Side};

/// Time within which a request must be complete, from the opening of the stream or the first byte
/// of the request. Every [`PROGRESS`] bytes restart it.
const READ_DEADLINE: Duration = Duration::from_secs(10);
/// Number of bytes of a request that restart its deadline.
const PROGRESS: usize = 64 * 1024;
/// Time after an answer within which the next request must begin to arrive, if the stream stays
/// open.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);
/// Time within which an answer must have left.
pub(crate) const SEND_DEADLINE: Duration = Duration::from_secs(30);
/// Maximum number of bytes taken beyond the current request until the driver has paused the stream.
const MAX_AHEAD: usize = 128 * 1024;
/// Maximum size of a body that is decoded on arrival; larger ones wait for their turn.
const DECODED_ON_ARRIVAL: usize = 16 * 1024;

impl Inbound {
    /// Takes a stream that a peer opened, or closes it as overloaded.
    pub(crate) fn accept(&mut self, base: &mut Base, id: StreamId, peer: PublicKey, path: Path) {
        self.last_accepted = Some(id);
        let (config, now) = (&base.cx.config, base.cx.now.mono);
        let limits = &config.limits;
        let of_peer = self.usage.get(&peer).map_or(0, |usage| usage.streams.len());
        // A quarter of the streams is reserved for this node's own calls.
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

    /// Restarts the read deadline of a stream.
    fn read_until(&mut self, base: &Base, id: StreamId) {
        let until = base.cx.now.mono.plus(READ_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Read, until)));
    }

    /// Takes bytes of an accepted stream. While its request is being processed, they are kept for
    /// later, and the driver pauses the stream.
    pub(crate) fn bytes(&mut self, base: &mut Base, id: StreamId, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else {
            return base.cx.counters.count(Counter::LateEvents);
        };
        let request = &mut stream.state;
        if !matches!(request.phase, RequestPhase::Reading) {
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

    /// Takes a complete request. It is decoded here unless it is large.
    fn request(&mut self, base: &mut Base, id: StreamId, frame: Frame) {
        base.cx.counters.count(Counter::RequestsServed);
        let received = (Direction::Received, frame.method);
        let len = frame.wire_len() as u64;
        base.cx.measured.message_bytes.add(received, len);
        if let Some(request) = self.request_mut(id) {
            request.serving = Some((frame.method, base.cx.now.mono));
            self.serving += 1;
        }
        if frame.body.len() <= DECODED_ON_ARRIVAL {
            return self.decode(base, id, &frame);
        }
        self.set_phase(base, id, RequestPhase::Whole(frame));
        self.relieve_requests(base, id);
    }

    /// Sends an answer and releases what was kept of the request. `keep`: whether the stream stays
    /// open afterwards.
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
        if let Some((method, since)) = request.serving.take() {
            let measured = &mut base.cx.measured;
            measured.served.count((method, ServedOutcome::Answered));
            let time = measured.served_time.of_mut(method);
            time.observe_time(base.cx.now.mono.since(since));
            let sent = (Direction::Sent, method);
            measured.message_bytes.add(sent, frame.len() as u64);
            self.serving -= 1;
        }
        let Some(request) = self.request_mut(id) else {
            return;
        };
        request.phase = RequestPhase::Answering { keep };
        request.loaded = false;
        request.polled = false;
        let ahead = request.ahead.len();
        self.set_request_bytes(id, ahead);
        self.set_answer_bytes(id, frame.len());
        let until = base.cx.now.mono.plus(SEND_DEADLINE);
        self.streams.set_deadline(id, Some((Wait::Send, until)));
        base.cx.send(id, frame.into());
    }

    /// An answer has left: closes the stream, or frees it for the next request.
    pub(crate) fn sent(&mut self, base: &mut Base, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let peer = stream.peer;
        let request = &mut stream.state;
        let RequestPhase::Answering { keep } = request.phase else {
            return;
        };
        request.phase = RequestPhase::Reading;
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

    /// Handles a deadline of a stream that passed, by what the stream waited for.
    pub(crate) fn timed_out(&mut self, base: &mut Base, id: StreamId) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if matches!(stream.state.phase, RequestPhase::Loading(..)) {
            self.load_timed_out(base, id);
        } else if matches!(stream.state.phase, RequestPhase::Watching(..)) {
            self.end_wait(base, id);
        } else if stream.decoder.is_mid_frame() {
            base.cx.counters.count(Counter::SlowRequests);
            self.close(&mut base.cx, id, CloseReason::Timeout);
        } else if stream.state.answer_bytes > 0 {
            self.cut_slow_reader(base, id, CloseReason::Timeout);
        } else {
            self.close(&mut base.cx, id, CloseReason::Idle);
        }
    }
}
