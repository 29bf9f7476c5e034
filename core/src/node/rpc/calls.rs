//! Calls: one request to one peer, one answer or one failure.
//!
//! A call takes a kept stream if the peer is known to answer more than one request on a
//! stream, else a fresh one. A stream that ends before a byte came is tried once more, and so is
//! one whose way was lost.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;

use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, StreamId};
use crate::node::input::{OpenFailure, Path, Reach, StreamEnd};
use crate::node::limits::Limit;
use crate::node::output::{Addrs, CloseReason, Output, SessionUse};
use crate::node::peers::records::Dialect;
use crate::node::rpc::deadlines::Wait;
use crate::node::rpc::streams::State;
use crate::time::Mono;
use crate::wire::{
    Method, Request, RequestExt, RequestMessage, ResponseMessage, decode_response, encode_request,
};

/// Kept streams to one peer: as many as it serves at once of one caller, half of what it accepts. Over
/// DMSG a new stream costs a dozen curve operations.
const KEPT_PER_PEER: usize = 16;
/// A kept stream of ours is given up after this, well before the other side would.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Rounded up to multiples of this, in nanoseconds: many are given up at one waking.
const KEPT_STEP: u64 = 8_000_000_000;

/// A call under way.
pub(crate) struct Call {
    pub(crate) peer: Candidate,
    pub(crate) purpose: CallTag,
    method: Method,
    frame: Arc<[u8]>,
    stream: StreamId,
    addrs: Addrs,
    session: SessionUse,
    pub(crate) path: Option<Path>,
    pub(crate) started: Mono,
    /// When the attempt under way had its stream.
    sent: Option<Mono>,
    on_kept: bool,
    /// An earlier attempt may have reached the peer.
    pub(crate) repeated: bool,
}

/// How a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallFailure {
    /// No stream.
    Open(OpenFailure),
    /// No answer in time.
    Timeout,
    /// The stream ended without an answer.
    Closed,
    /// The session below the stream was lost, more than once.
    Lost,
    /// The answer is not one.
    Protocol,
}

impl Node {
    /// Starts a call; `None` when there are too many, or no address to try.
    pub(crate) fn call(
        &mut self,
        peer: Candidate,
        request: Request,
        ext: RequestExt,
        purpose: CallTag,
        session: SessionUse,
    ) -> Option<CallId> {
        if self.calls.len() >= self.cx.config.limits.calls {
            self.cx.hit(Limit::calls);
            return None;
        }
        let method = request.method();
        let message = RequestMessage {
            sender: self.cx.sender(),
            ext: Some(ext),
            request,
        };
        let frame: Arc<[u8]> = encode_request(&message).ok()?.into();
        self.next_call += 1;
        let id = CallId(self.next_call);
        let now = self.cx.now.mono;
        let kept = self.streams.take_kept(&peer.key, id);
        let mut addrs = Addrs::new();
        let stream = if let Some(stream) = kept {
            self.cx.counters.count(Counter::CallsOnKeptStream);
            // A call has a deadline of its own.
            self.streams.set_deadline(stream, None);
            stream
        } else {
            if self.streams.len() >= self.cx.config.limits.streams {
                self.cx.hit(Limit::streams);
                return None;
            }
            if session == SessionUse::ReuseOrDial {
                addrs = self.book.addresses(&peer.key, peer.addr, now);
            }
            self.open_stream(&peer.key, id, &addrs, session)
        };
        let call = Call {
            peer,
            purpose,
            method,
            frame,
            stream,
            addrs,
            session,
            path: None,
            started: now,
            sent: None,
            on_kept: kept.is_some(),
            repeated: false,
        };
        self.cx.counters.count(Counter::CallsStarted);
        self.book.call_began(&call.peer.key, now);
        let due = now.plus(self.cx.config.hard_deadline);
        self.first_call.get_or_insert((due, id));
        self.calls.insert(id, Box::new(call));
        if kept.is_some() {
            self.send_call(id);
        }
        Some(id)
    }

    fn open_stream(
        &mut self,
        peer: &PublicKey,
        call: CallId,
        addrs: &[SocketAddr],
        session: SessionUse,
    ) -> StreamId {
        let stream = self.streams.open(*peer, call);
        self.cx.output(Output::OpenStream {
            stream,
            peer: *peer,
            addrs: addrs.into(),
            session,
        });
        stream
    }

    fn send_call(&mut self, id: CallId) {
        let now = self.cx.now.mono;
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.sent = Some(now);
        let (stream, bytes) = (call.stream, call.frame.clone());
        call.path = self.streams.get(stream).and_then(|stream| stream.path);
        self.send(stream, bytes);
    }

    pub(crate) fn call_opened(&mut self, id: CallId, path: Path) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (stream, peer) = (call.stream, call.peer.key);
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.state = State::Calling(id);
            stream.path = Some(path);
        }
        self.note_path(&peer, path);
        self.send_call(id);
    }

    /// The stream could not be opened and is gone.
    pub(crate) fn call_not_opened(&mut self, id: CallId, reason: OpenFailure) {
        self.cx.counters.count(Counter::OpensFailed);
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (peer, addrs) = (call.peer.key, call.addrs.clone());
        match reason {
            OpenFailure::InvalidKey => self.cx.counters.count(Counter::InvalidKeys),
            // Nobody can be dialled, so no transport looked at the key.
            OpenFailure::NoAddress if peer.check_curve().is_err() => {
                self.cx.counters.count(Counter::InvalidKeys);
            }
            // Our own state says nothing about the peer.
            OpenFailure::Overloaded | OpenFailure::Closing => {}
            _ if call.session == SessionUse::ReuseOnly => {}
            _ => {
                let now = self.cx.now.mono;
                self.book.unreachable(&peer, &addrs, now);
            }
        }
        self.end_call(id, Err(CallFailure::Open(reason)));
    }

    /// Bytes on a stream of ours that a call uses.
    pub(crate) fn call_bytes(&mut self, id: CallId, stream_id: StreamId, mut bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(stream_id) else {
            return;
        };
        let frame = match stream.decoder.push(&mut bytes) {
            Ok(None) => return,
            Ok(Some(frame)) => frame,
            Err(error) => {
                self.cx.count_frame_error(error);
                return self.call_broken(id, stream_id);
            }
        };
        let expected = self.calls.get(&id).map(|call| call.method);
        if expected != Some(frame.method) {
            self.cx.counters.count(Counter::WrongMethod);
            return self.call_broken(id, stream_id);
        }
        let message = match decode_response(&frame) {
            Ok(message) => message,
            Err(error) => {
                self.cx.count_wire_error(&error);
                return self.call_broken(id, stream_id);
            }
        };
        // Bytes after the answer are no answer to anything.
        let keep = bytes.is_empty() && message.ext.as_ref().is_some_and(|ext| ext.keep);
        self.release_stream(stream_id, keep);
        self.end_call(id, Ok(message));
    }

    /// The peer broke the protocol: the stream is reset, the call fails.
    fn call_broken(&mut self, id: CallId, stream: StreamId) {
        self.close(stream, CloseReason::Protocol);
        self.end_call(id, Err(CallFailure::Protocol));
    }

    /// A call is over and its stream free: kept for the next, or finished.
    fn release_stream(&mut self, id: StreamId, keep: bool) {
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        let room = self.streams.kept() < self.cx.config.limits.idle_streams
            && self.streams.kept_for(&stream.peer) < KEPT_PER_PEER;
        if keep && room && !self.cx.stopping {
            self.streams.keep(id);
            let until = self.cx.now.mono.plus(KEPT_FOR).0;
            let until = Mono(until.next_multiple_of(KEPT_STEP));
            self.streams.set_deadline(id, Some((Wait::Kept, until)));
        } else {
            self.close(id, CloseReason::Done);
        }
    }

    /// The stream of a call ended before its answer, and is gone.
    pub(crate) fn call_closed(&mut self, id: CallId, end: StreamEnd, mid_frame: bool) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if mid_frame {
            self.cx.counters.count(Counter::FrameTruncated);
        }
        let nothing_came = !mid_frame && (end == StreamEnd::Finished || call.on_kept);
        // A relay that loses the peer's session can only reset ours.
        let relayed = call.path.is_some_and(|path| path.reach == Reach::Relayed);
        let way_lost = end == StreamEnd::Lost || (relayed && end == StreamEnd::Reset);
        let retry = !call.repeated && (nothing_came || way_lost);
        if !retry || self.cx.stopping || self.streams.len() >= self.cx.config.limits.streams {
            let failure = match end {
                StreamEnd::Lost => CallFailure::Lost,
                StreamEnd::Finished | StreamEnd::Reset => CallFailure::Closed,
            };
            return self.end_call(id, Err(failure));
        }
        self.cx.counters.count(Counter::CallsRetried);
        let (peer, hint, session) = (call.peer.key, call.peer.addr, call.session);
        let mut addrs = Addrs::new();
        if session == SessionUse::ReuseOrDial {
            addrs = self.book.addresses(&peer, hint, self.cx.now.mono);
        }
        let stream = self.open_stream(&peer, id, &addrs, session);
        if let Some(call) = self.calls.get_mut(&id) {
            call.repeated = true;
            call.on_kept = false;
            call.stream = stream;
            call.addrs = addrs;
        }
    }

    /// Takes a call that is over. All calls have the same time: the first to go is due first.
    fn take_call(&mut self, id: CallId) -> Option<Box<Call>> {
        let call = self.calls.remove(&id)?;
        if self.first_call.is_some_and(|(_, first)| first == id) {
            let first = self.calls.first_key_value();
            self.first_call =
                first.map(|(id, call)| (call.started.plus(self.cx.config.hard_deadline), *id));
        }
        Some(call)
    }

    /// The hard deadline passed.
    pub(crate) fn call_timed_out(&mut self, id: CallId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let (stream, peer, addrs) = (call.stream, call.peer.key, call.addrs.clone());
        let opened = call.sent.is_some();
        self.close(stream, CloseReason::Timeout);
        let now = self.cx.now.mono;
        self.book
            .unreachable(&peer, if opened { &[] } else { &addrs }, now);
        self.end_call(id, Err(CallFailure::Timeout));
    }

    /// Nobody wants the answer any more. A peer that owed it for too long is remembered as one
    /// that failed, although nobody waited for the hard deadline.
    pub(crate) fn abandon_call(&mut self, id: CallId) {
        let Some(call) = self.take_call(id) else {
            return;
        };
        self.close(call.stream, CloseReason::Cancelled);
        let (peer, now) = (&call.peer.key, self.cx.now.mono);
        if self.book.is_overdue(peer, now) {
            let opened = call.sent.is_some();
            let addrs: &[SocketAddr] = if opened { &[] } else { &call.addrs };
            self.book.unreachable(peer, addrs, now);
        }
        self.book.call_ended(peer, now);
    }

    /// Ends a call: notes what it says about the peer, then tells who asked.
    fn end_call(&mut self, id: CallId, result: Result<ResponseMessage, CallFailure>) {
        let Some(call) = self.take_call(id) else {
            return;
        };
        let now = self.cx.now.mono;
        self.book.call_ended(&call.peer.key, now);
        match &result {
            Ok(message) => {
                self.cx.counters.count(Counter::CallsAnswered);
                let dialect = match message.ext {
                    Some(_) => Dialect::Skydht,
                    None => Dialect::Go,
                };
                // The stream's opening counts: the next call may have to open one, too.
                let rtt = now.since(call.started);
                self.book.answered(&call.peer.key, rtt, dialect, now);
                let advertised = message.ext.as_ref().and_then(|ext| ext.addr);
                self.note_advertised(&call.peer.key, advertised, call.path);
                self.peer_answered(&call.peer, call.path);
            }
            Err(failure) => {
                self.cx.counters.count(Counter::CallsFailed);
                self.peer_failed(&call.peer, *failure, call.purpose);
            }
        }
        match call.purpose {
            CallTag::Step(search) => self.query_step_ended(search, id, &call, result),
            CallTag::Replica { search, step } => {
                self.replica_ended(search, step, id, &call, result)
            }
            CallTag::Ping(op) => self.ping_ended(op, &call, result),
            CallTag::Bootstrap => self.bootstrap_ended(&call, result.is_ok()),
            CallTag::PingBack => self.ping_back_ended(&call.peer.key, result.is_ok()),
            CallTag::Eviction | CallTag::Proof | CallTag::Fill | CallTag::Repair => {}
        }
    }
}
