//! Outbound calls: one request to one peer, with one answer or one failure.
//!
//! A call uses a kept stream if the peer is known to answer several requests on a stream, otherwise
//! a new one. A stream that ends before the first byte of an answer is retried once, and so is one
//! whose session was lost.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, StreamId};
use crate::node::input::{OpenFailure, Path, Reach, StreamEnd};
use crate::node::limits::Limit;
use crate::node::measurements::outcomes::open_outcome;
use crate::node::measurements::{CallOutcome, Direction};
use crate::node::output::{Addrs, CloseReason, Output, SessionUse};
use crate::node::rpc::deadlines::Wait;
use crate::node::rpc::streams::{Stream, StreamTable};
use crate::time::Mono;
use crate::wire::{
    Method, Request, RequestExt, RequestMessage, ResponseMessage, Side, decode_response,
    encode_request,
};

/// Maximum number of streams kept per peer: as many requests as a peer serves per caller, half of
/// the streams that it accepts. Over DMSG a new stream costs a dozen curve operations.
const KEPT_PER_PEER: usize = 16;
/// Time after which a kept stream is closed, well before the other side would close it.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Granularity of that deadline in nanoseconds, so that many streams are closed at one waking.
const KEPT_STEP: u64 = 8_000_000_000;

/// The source of addresses for dialling peers, best first.
pub(crate) trait AddressSource {
    /// The addresses to try for `key`; `hint` is the address that came with the peer's name.
    fn addresses(&mut self, key: &PublicKey, hint: Option<SocketAddr>, now: Mono) -> Addrs;
}

/// State of a stream that this node opened.
enum OutboundState {
    /// Being opened for a call, which waits.
    Opening(CallId),
    /// A request is in progress.
    Calling(CallId),
    /// Kept for the next call.
    Kept,
}

/// A running call.
struct Call {
    peer: Candidate,
    tag: CallTag,
    method: Method,
    frame: Arc<[u8]>,
    stream: StreamId,
    addrs: Addrs,
    session: SessionUse,
    path: Option<Path>,
    started: Mono,
    /// When the current attempt had its stream; `None` while it is being opened.
    sent: Option<Mono>,
    on_kept: bool,
    /// Whether an earlier attempt may have reached the peer.
    repeated: bool,
}

impl Call {
    /// The addresses that were tried without obtaining a stream.
    fn failed_addrs(self) -> Addrs {
        if self.sent.is_some() {
            Addrs::new()
        } else {
            self.addrs
        }
    }
}

/// Why a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CallFailure {
    /// No stream could be opened.
    Open(OpenFailure),
    /// No answer in time.
    Timeout,
    /// The stream ended without an answer.
    Closed,
    /// The session below the stream was lost more than once.
    Lost,
    /// The answer was invalid.
    Protocol,
}

impl CallFailure {
    const fn outcome(self) -> CallOutcome {
        match self {
            Self::Open(reason) => open_outcome(reason),
            Self::Timeout => CallOutcome::TimedOut,
            Self::Closed => CallOutcome::Closed,
            Self::Lost => CallOutcome::Lost,
            Self::Protocol => CallOutcome::Malformed,
        }
    }
}

/// A finished call.
pub(crate) struct CallEnded {
    pub(crate) id: CallId,
    pub(crate) tag: CallTag,
    pub(crate) peer: Candidate,
    pub(crate) path: Option<Path>,
    pub(crate) started: Mono,
    /// Whether an earlier attempt may have reached the peer.
    pub(crate) repeated: bool,
    pub(crate) result: Result<ResponseMessage, CallFailure>,
    /// Set if the peer could not be reached, to the addresses that were tried.
    pub(crate) unreachable: Option<Addrs>,
}

/// The running calls, and the streams that they use or that are kept for the next call.
pub(crate) struct Calls {
    streams: StreamTable<OutboundState>,
    next_stream: u64,
    /// Kept streams by peer, the most recently used last.
    kept: HashMap<PublicKey, SmallVec<[StreamId; 2]>, FixedState>,
    kept_len: usize,
    /// Boxed: a tree node has room for eleven, and most nodes have one call or none.
    running: BTreeMap<CallId, Box<Call>>,
    /// The running call with the earliest hard deadline.
    first: Option<(Mono, CallId)>,
    last: u64,
}

impl Calls {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self {
            streams: StreamTable::new(hash_seed),
            next_stream: 0,
            kept: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            kept_len: 0,
            running: BTreeMap::new(),
            first: None,
            last: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Number of streams, including those being opened.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Number of streams kept for the next call.
    pub(crate) fn kept(&self) -> usize {
        self.kept_len
    }

    pub(crate) fn ids(&self) -> Vec<CallId> {
        self.running.keys().copied().collect()
    }

    /// The peers with a call of this tag.
    #[cfg(test)]
    pub(crate) fn tagged(&self, tag: CallTag) -> impl Iterator<Item = PublicKey> {
        let calls = self.running.values().filter(move |call| call.tag == tag);
        calls.map(|call| call.peer.key)
    }

    pub(crate) fn stream_ids(&self) -> Vec<StreamId> {
        self.streams.unordered_ids()
    }

    /// The running call with the earliest hard deadline.
    pub(crate) const fn next_deadline(&self) -> Option<(Mono, CallId)> {
        self.first
    }

    /// The kept stream that is closed next.
    pub(crate) const fn next_stream_deadline(&self) -> Option<(Mono, StreamId)> {
        self.streams.next_deadline()
    }

    /// Starts a call; `None` if a limit on calls or streams is reached.
    pub(crate) fn start(
        &mut self,
        cx: &mut Context,
        source: &mut impl AddressSource,
        peer: Candidate,
        (request, ext): (Request, RequestExt),
        tag: CallTag,
        session: SessionUse,
    ) -> Option<CallId> {
        if self.running.len() >= cx.config.limits.calls {
            cx.hit(Limit::calls);
            return None;
        }
        let method = request.method();
        let message = RequestMessage {
            sender: cx.sender(),
            ext: Some(ext),
            request,
        };
        let frame: Arc<[u8]> = encode_request(&message).ok()?.into();
        self.last += 1;
        let id = CallId(self.last);
        let now = cx.now.mono;
        let kept = self.take_kept(&peer.key, id);
        let mut addrs = Addrs::new();
        let stream = if let Some(stream) = kept {
            cx.counters.count(Counter::CallsOnKeptStream);
            stream
        } else {
            if cx.open_streams >= cx.config.limits.streams {
                cx.hit(Limit::streams);
                return None;
            }
            if session == SessionUse::ReuseOrDial {
                addrs = source.addresses(&peer.key, peer.addr, now);
            }
            self.open(cx, &peer.key, id, &addrs, session)
        };
        let call = Call {
            peer,
            tag,
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
        cx.counters.count(Counter::CallsStarted);
        let due = now.plus(cx.config.hard_deadline);
        self.first.get_or_insert((due, id));
        self.running.insert(id, Box::new(call));
        if kept.is_some() {
            self.send(cx, id);
        }
        Some(id)
    }

    /// Takes a kept stream for a call: the most recently used, which is least likely to be closed.
    fn take_kept(&mut self, peer: &PublicKey, call: CallId) -> Option<StreamId> {
        let kept = self.kept.get_mut(peer)?;
        let id = kept.pop()?;
        if kept.is_empty() {
            self.kept.remove(peer);
        }
        self.kept_len -= 1;
        self.streams.get_mut(id)?.state = OutboundState::Calling(call);
        // The call has its own deadline.
        self.streams.set_deadline(id, None);
        Some(id)
    }

    fn open(
        &mut self,
        cx: &mut Context,
        peer: &PublicKey,
        call: CallId,
        addrs: &[SocketAddr],
        session: SessionUse,
    ) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        let state = OutboundState::Opening(call);
        self.streams
            .insert(cx, stream, Stream::new(*peer, None, Side::Response, state));
        cx.output(Output::OpenStream {
            stream,
            peer: *peer,
            addrs: addrs.into(),
            session,
        });
        stream
    }

    fn send(&mut self, cx: &mut Context, id: CallId) {
        let Some(call) = self.running.get_mut(&id) else {
            return;
        };
        call.sent = Some(cx.now.mono);
        call.path = self.streams.get(call.stream).and_then(|stream| stream.path);
        let sent = (Direction::Sent, call.method);
        cx.measured.message_bytes.add(sent, call.frame.len() as u64);
        cx.send(call.stream, call.frame.clone());
    }

    /// Takes an opened stream and sends the request of its call. Returns the peer.
    pub(crate) fn stream_opened(
        &mut self,
        cx: &mut Context,
        id: StreamId,
        path: Path,
    ) -> Option<PublicKey> {
        let stream = self.streams.get_mut(id);
        let Some((stream, call)) = stream.and_then(|stream| match stream.state {
            OutboundState::Opening(call) => Some((stream, call)),
            OutboundState::Calling(_) | OutboundState::Kept => None,
        }) else {
            cx.counters.count(Counter::LateEvents);
            return None;
        };
        stream.state = OutboundState::Calling(call);
        stream.path = Some(path);
        let peer = stream.peer;
        self.send(cx, call);
        Some(peer)
    }

    /// Takes the failure to open a stream.
    pub(crate) fn stream_failed(
        &mut self,
        cx: &mut Context,
        id: StreamId,
        reason: OpenFailure,
    ) -> Option<CallEnded> {
        let Some(OutboundState::Opening(call)) = self.streams.get(id).map(|stream| &stream.state)
        else {
            cx.counters.count(Counter::LateEvents);
            return None;
        };
        let call = *call;
        self.streams.remove(cx, id);
        self.not_opened(cx, call, reason)
    }

    fn not_opened(
        &mut self,
        cx: &mut Context,
        id: CallId,
        reason: OpenFailure,
    ) -> Option<CallEnded> {
        cx.counters.count(Counter::OpensFailed);
        let call = self.running.get(&id)?;
        let mut unreachable = None;
        match reason {
            OpenFailure::InvalidKey => cx.counters.count(Counter::InvalidKeys),
            // No address was dialled, so the transport has not checked the key.
            OpenFailure::NoAddress if call.peer.key.check_curve().is_err() => {
                cx.counters.count(Counter::InvalidKeys);
            }
            // The state of this node says nothing about the peer.
            OpenFailure::Overloaded | OpenFailure::Closing => {}
            _ if call.session == SessionUse::ReuseOnly => {}
            _ => unreachable = Some(call.addrs.clone()),
        }
        self.end(cx, id, Err(CallFailure::Open(reason)), unreachable)
    }

    /// Takes bytes on a stream that this node opened.
    pub(crate) fn bytes(
        &mut self,
        cx: &mut Context,
        stream_id: StreamId,
        mut bytes: &[u8],
    ) -> Option<CallEnded> {
        let Some(stream) = self.streams.get_mut(stream_id) else {
            cx.counters.count(Counter::LateEvents);
            return None;
        };
        let id = match stream.state {
            OutboundState::Calling(call) => call,
            OutboundState::Opening(_) => {
                cx.counters.count(Counter::LateEvents);
                return None;
            }
            // An unsolicited answer.
            OutboundState::Kept => {
                cx.counters.count(Counter::WrongMethod);
                self.close(cx, stream_id, CloseReason::Protocol);
                return None;
            }
        };
        let frame = match stream.decoder.push(&mut bytes) {
            Ok(None) => return None,
            Ok(Some(frame)) => frame,
            Err(error) => {
                cx.count_frame_error(error);
                return self.protocol_violated(cx, id, stream_id);
            }
        };
        let expected = self.running.get(&id).map(|call| call.method);
        if expected != Some(frame.method) {
            cx.counters.count(Counter::WrongMethod);
            return self.protocol_violated(cx, id, stream_id);
        }
        let received = (Direction::Received, frame.method);
        let len = frame.wire_len() as u64;
        cx.measured.message_bytes.add(received, len);
        let message = match decode_response(&frame) {
            Ok(message) => message,
            Err(error) => {
                cx.count_wire_error(&error);
                return self.protocol_violated(cx, id, stream_id);
            }
        };
        // Bytes after the answer make the stream unusable.
        let keep = bytes.is_empty() && message.ext.as_ref().is_some_and(|ext| ext.keep);
        self.release_stream(cx, stream_id, keep);
        self.end(cx, id, Ok(message), None)
    }

    /// Fails a call whose peer violated the protocol, and resets its stream.
    fn protocol_violated(
        &mut self,
        cx: &mut Context,
        id: CallId,
        stream: StreamId,
    ) -> Option<CallEnded> {
        self.close(cx, stream, CloseReason::Protocol);
        self.end(cx, id, Err(CallFailure::Protocol), None)
    }

    /// Keeps the stream of a finished call for the next, or closes it.
    fn release_stream(&mut self, cx: &mut Context, id: StreamId, keep: bool) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let of_peer = self.kept.get(&stream.peer).map_or(0, SmallVec::len);
        let room = self.kept_len < cx.config.limits.idle_streams && of_peer < KEPT_PER_PEER;
        if !keep || !room || cx.stopping {
            return self.close(cx, id, CloseReason::Done);
        }
        stream.state = OutboundState::Kept;
        self.kept.entry(stream.peer).or_default().push(id);
        self.kept_len += 1;
        let until = cx.now.mono.plus(KEPT_FOR).0;
        let until = Mono(until.next_multiple_of(KEPT_STEP));
        self.streams.set_deadline(id, Some((Wait::Kept, until)));
    }

    /// Takes the end of a stream that this node opened.
    pub(crate) fn stream_closed(
        &mut self,
        cx: &mut Context,
        source: &mut impl AddressSource,
        id: StreamId,
        end: StreamEnd,
    ) -> Option<CallEnded> {
        let Some(stream) = self.remove(cx, id) else {
            cx.counters.count(Counter::LateEvents);
            return None;
        };
        match stream.state {
            OutboundState::Opening(call) => self.not_opened(cx, call, OpenFailure::Unreachable),
            OutboundState::Calling(call) => {
                self.stream_lost(cx, source, call, end, stream.decoder.is_mid_frame())
            }
            OutboundState::Kept => None,
        }
    }

    /// Retries or fails a call whose stream ended before its answer.
    fn stream_lost(
        &mut self,
        cx: &mut Context,
        source: &mut impl AddressSource,
        id: CallId,
        end: StreamEnd,
        mid_frame: bool,
    ) -> Option<CallEnded> {
        let call = self.running.get(&id)?;
        if mid_frame {
            cx.counters.count(Counter::FrameTruncated);
        }
        let nothing_came = !mid_frame && (end == StreamEnd::Finished || call.on_kept);
        // A relay that loses its session with the peer can only reset our stream.
        let relayed = call.path.is_some_and(|path| path.reach == Reach::Relayed);
        let path_lost = end == StreamEnd::Lost || (relayed && end == StreamEnd::Reset);
        let retry = !call.repeated && (nothing_came || path_lost);
        if !retry || cx.stopping || cx.open_streams >= cx.config.limits.streams {
            let failure = match end {
                StreamEnd::Lost => CallFailure::Lost,
                StreamEnd::Finished | StreamEnd::Reset => CallFailure::Closed,
            };
            return self.end(cx, id, Err(failure), None);
        }
        cx.counters.count(Counter::CallsRetried);
        let (peer, hint, session) = (call.peer.key, call.peer.addr, call.session);
        let mut addrs = Addrs::new();
        if session == SessionUse::ReuseOrDial {
            addrs = source.addresses(&peer, hint, cx.now.mono);
        }
        let stream = self.open(cx, &peer, id, &addrs, session);
        let call = self.running.get_mut(&id)?;
        call.repeated = true;
        call.on_kept = false;
        call.stream = stream;
        call.addrs = addrs;
        None
    }

    fn remove(&mut self, cx: &mut Context, id: StreamId) -> Option<Box<Stream<OutboundState>>> {
        let stream = self.streams.remove(cx, id)?;
        if let OutboundState::Kept = stream.state
            && let Some(kept) = self.kept.get_mut(&stream.peer)
        {
            self.kept_len -= 1;
            kept.retain(|kept| *kept != id);
            if kept.is_empty() {
                self.kept.remove(&stream.peer);
            }
        }
        Some(stream)
    }

    /// Closes a stream if it exists.
    pub(crate) fn close(&mut self, cx: &mut Context, stream: StreamId, reason: CloseReason) {
        if self.remove(cx, stream).is_some() {
            cx.output(Output::CloseStream { stream, reason });
        }
    }

    /// Removes a call. All calls have the same time limit, so the oldest has the earliest deadline.
    fn take(&mut self, cx: &Context, id: CallId) -> Option<Box<Call>> {
        let call = self.running.remove(&id)?;
        if self.first.is_some_and(|(_, first)| first == id) {
            let first = self.running.first_key_value();
            let deadline = cx.config.hard_deadline;
            self.first = first.map(|(id, call)| (call.started.plus(deadline), *id));
        }
        Some(call)
    }

    /// Fails a call whose hard deadline has passed.
    pub(crate) fn timed_out(&mut self, cx: &mut Context, id: CallId) -> Option<CallEnded> {
        let call = self.running.get(&id)?;
        let unreachable = match call.sent {
            Some(_) => Addrs::new(),
            None => call.addrs.clone(),
        };
        self.close(cx, call.stream, CloseReason::Timeout);
        self.end(cx, id, Err(CallFailure::Timeout), Some(unreachable))
    }

    /// Cancels a call. Returns the peer, and the addresses that were tried without obtaining a
    /// stream.
    pub(crate) fn abandon(&mut self, cx: &mut Context, id: CallId) -> Option<(PublicKey, Addrs)> {
        let call = self.take(cx, id)?;
        let abandoned = (call.method, CallOutcome::Abandoned);
        cx.measured.calls.count(abandoned);
        self.close(cx, call.stream, CloseReason::Cancelled);
        Some((call.peer.key, call.failed_addrs()))
    }

    fn end(
        &mut self,
        cx: &mut Context,
        id: CallId,
        result: Result<ResponseMessage, CallFailure>,
        unreachable: Option<Addrs>,
    ) -> Option<CallEnded> {
        let call = self.take(cx, id)?;
        cx.counters.count(match result {
            Ok(_) => Counter::CallsAnswered,
            Err(_) => Counter::CallsFailed,
        });
        let outcome = match result {
            Ok(_) => {
                let time = cx.measured.call_time.of_mut(call.method);
                time.observe_time(cx.now.mono.since(call.started));
                CallOutcome::Answered
            }
            Err(failure) => failure.outcome(),
        };
        cx.measured.calls.count((call.method, outcome));
        Some(CallEnded {
            id,
            tag: call.tag,
            peer: call.peer,
            path: call.path,
            started: call.started,
            repeated: call.repeated,
            result,
            unreachable,
        })
    }
}
