//! Outbound calls: one request to one peer, one answer or one failure.
//!
//! A call takes a kept stream if the peer is known to answer more than one request on a
//! stream, else a fresh one. A stream that ends before a byte came is tried once more, and so is
//! one whose path was lost.

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

/// Kept streams to one peer: as many as it serves of one caller, half of what it accepts. Over
/// DMSG a new stream costs a dozen curve operations.
const KEPT_PER_PEER: usize = 16;
/// A kept stream of ours is given up after this, well before the other side would.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// Rounded up to multiples of this, in nanoseconds: many are given up at one waking.
const KEPT_STEP: u64 = 8_000_000_000;

/// Where to dial a peer, best first.
pub(crate) trait AddressSource {
    /// The addresses to try for `key`; `hint` is what came with its name.
    fn addresses(&mut self, key: &PublicKey, hint: Option<SocketAddr>, now: Mono) -> Addrs;
}

/// What a stream of ours is doing.
enum Outbound {
    /// Asked for and not yet open; the call waits.
    Opening(CallId),
    /// A request is out.
    Calling(CallId),
    /// Kept for the next call.
    Kept,
}

/// A call under way.
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
    /// When the attempt under way had its stream.
    sent: Option<Mono>,
    on_kept: bool,
    /// An earlier attempt may have reached the peer.
    repeated: bool,
}

impl Call {
    /// The addresses that were tried without coming to a stream.
    fn failed_addrs(self) -> Addrs {
        if self.sent.is_some() {
            Addrs::new()
        } else {
            self.addrs
        }
    }
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

/// A call that is over.
pub(crate) struct CallEnded {
    pub(crate) id: CallId,
    pub(crate) tag: CallTag,
    pub(crate) peer: Candidate,
    pub(crate) path: Option<Path>,
    pub(crate) started: Mono,
    /// An earlier attempt may have reached the peer.
    pub(crate) repeated: bool,
    pub(crate) result: Result<ResponseMessage, CallFailure>,
    /// The peer could not be reached: at none of these addresses.
    pub(crate) unreachable: Option<Addrs>,
}

/// The calls under way, and the streams that they use or that are kept for the next.
pub(crate) struct Calls {
    streams: StreamTable<Outbound>,
    next_stream: u64,
    /// By peer, the one used last at the end.
    kept: HashMap<PublicKey, SmallVec<[StreamId; 2]>, FixedState>,
    kept_len: usize,
    /// Boxed: a tree keeps room for eleven, most nodes have one or none.
    running: BTreeMap<CallId, Box<Call>>,
    /// The call whose hard deadline is next.
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

    /// How many streams there are, those included that are being opened.
    pub(crate) fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// How many streams are kept for the next call.
    pub(crate) fn kept(&self) -> usize {
        self.kept_len
    }

    pub(crate) fn ids(&self) -> Vec<CallId> {
        self.running.keys().copied().collect()
    }

    /// The peers that are called for this.
    #[cfg(test)]
    pub(crate) fn tagged(&self, tag: CallTag) -> impl Iterator<Item = PublicKey> {
        let calls = self.running.values().filter(move |call| call.tag == tag);
        calls.map(|call| call.peer.key)
    }

    pub(crate) fn stream_ids(&self) -> Vec<StreamId> {
        self.streams.unordered_ids()
    }

    /// The call whose hard deadline is next.
    pub(crate) const fn next_deadline(&self) -> Option<(Mono, CallId)> {
        self.first
    }

    /// The kept stream that is given up next.
    pub(crate) const fn next_stream_deadline(&self) -> Option<(Mono, StreamId)> {
        self.streams.next_deadline()
    }

    /// Starts a call; `None` when there are too many.
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

    /// Takes a kept stream for a call: the one used last, which is the least likely to be gone.
    fn take_kept(&mut self, peer: &PublicKey, call: CallId) -> Option<StreamId> {
        let kept = self.kept.get_mut(peer)?;
        let id = kept.pop()?;
        if kept.is_empty() {
            self.kept.remove(peer);
        }
        self.kept_len -= 1;
        self.streams.get_mut(id)?.state = Outbound::Calling(call);
        // A call has a deadline of its own.
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
        let state = Outbound::Opening(call);
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

    /// A stream is open, to this peer: its request goes out.
    pub(crate) fn stream_opened(
        &mut self,
        cx: &mut Context,
        id: StreamId,
        path: Path,
    ) -> Option<PublicKey> {
        let stream = self.streams.get_mut(id);
        let Some((stream, call)) = stream.and_then(|stream| match stream.state {
            Outbound::Opening(call) => Some((stream, call)),
            Outbound::Calling(_) | Outbound::Kept => None,
        }) else {
            cx.counters.count(Counter::LateEvents);
            return None;
        };
        stream.state = Outbound::Calling(call);
        stream.path = Some(path);
        let peer = stream.peer;
        self.send(cx, call);
        Some(peer)
    }

    /// A stream could not be opened.
    pub(crate) fn stream_failed(
        &mut self,
        cx: &mut Context,
        id: StreamId,
        reason: OpenFailure,
    ) -> Option<CallEnded> {
        let Some(Outbound::Opening(call)) = self.streams.get(id).map(|stream| &stream.state) else {
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
            // Nothing can be dialled, so no transport looked at the key.
            OpenFailure::NoAddress if call.peer.key.check_curve().is_err() => {
                cx.counters.count(Counter::InvalidKeys);
            }
            // Our own state says nothing about the peer.
            OpenFailure::Overloaded | OpenFailure::Closing => {}
            _ if call.session == SessionUse::ReuseOnly => {}
            _ => unreachable = Some(call.addrs.clone()),
        }
        self.end(cx, id, Err(CallFailure::Open(reason)), unreachable)
    }

    /// Bytes on a stream of ours.
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
            Outbound::Calling(call) => call,
            Outbound::Opening(_) => {
                cx.counters.count(Counter::LateEvents);
                return None;
            }
            // An answer that was not asked for.
            Outbound::Kept => {
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
                return self.broken(cx, id, stream_id);
            }
        };
        let expected = self.running.get(&id).map(|call| call.method);
        if expected != Some(frame.method) {
            cx.counters.count(Counter::WrongMethod);
            return self.broken(cx, id, stream_id);
        }
        let received = (Direction::Received, frame.method);
        let len = frame.wire_len() as u64;
        cx.measured.message_bytes.add(received, len);
        let message = match decode_response(&frame) {
            Ok(message) => message,
            Err(error) => {
                cx.count_wire_error(&error);
                return self.broken(cx, id, stream_id);
            }
        };
        // Bytes after the answer are no answer to anything.
        let keep = bytes.is_empty() && message.ext.as_ref().is_some_and(|ext| ext.keep);
        self.release_stream(cx, stream_id, keep);
        self.end(cx, id, Ok(message), None)
    }

    /// The peer broke the protocol: the stream is reset, the call fails.
    fn broken(&mut self, cx: &mut Context, id: CallId, stream: StreamId) -> Option<CallEnded> {
        self.close(cx, stream, CloseReason::Protocol);
        self.end(cx, id, Err(CallFailure::Protocol), None)
    }

    /// A call is over and its stream free: kept for the next, or finished.
    fn release_stream(&mut self, cx: &mut Context, id: StreamId, keep: bool) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let of_peer = self.kept.get(&stream.peer).map_or(0, SmallVec::len);
        let room = self.kept_len < cx.config.limits.idle_streams && of_peer < KEPT_PER_PEER;
        if !keep || !room || cx.stopping {
            return self.close(cx, id, CloseReason::Done);
        }
        stream.state = Outbound::Kept;
        self.kept.entry(stream.peer).or_default().push(id);
        self.kept_len += 1;
        let until = cx.now.mono.plus(KEPT_FOR).0;
        let until = Mono(until.next_multiple_of(KEPT_STEP));
        self.streams.set_deadline(id, Some((Wait::Kept, until)));
    }

    /// A stream of ours ended.
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
            Outbound::Opening(call) => self.not_opened(cx, call, OpenFailure::Unreachable),
            Outbound::Calling(call) => {
                self.lost(cx, source, call, end, stream.decoder.is_mid_frame())
            }
            Outbound::Kept => None,
        }
    }

    /// The stream of a call ended before its answer, and is gone.
    fn lost(
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
        // A relay that loses the peer's session can only reset ours.
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

    fn remove(&mut self, cx: &mut Context, id: StreamId) -> Option<Box<Stream<Outbound>>> {
        let stream = self.streams.remove(cx, id)?;
        if let Outbound::Kept = stream.state
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

    /// Closes a stream, unless it is gone.
    pub(crate) fn close(&mut self, cx: &mut Context, stream: StreamId, reason: CloseReason) {
        if self.remove(cx, stream).is_some() {
            cx.output(Output::CloseStream { stream, reason });
        }
    }

    /// Takes a call that is over. All calls have the same time: the first to go is due first.
    fn take(&mut self, cx: &Context, id: CallId) -> Option<Box<Call>> {
        let call = self.running.remove(&id)?;
        if self.first.is_some_and(|(_, first)| first == id) {
            let first = self.running.first_key_value();
            let deadline = cx.config.hard_deadline;
            self.first = first.map(|(id, call)| (call.started.plus(deadline), *id));
        }
        Some(call)
    }

    /// The hard deadline of a call passed.
    pub(crate) fn timed_out(&mut self, cx: &mut Context, id: CallId) -> Option<CallEnded> {
        let call = self.running.get(&id)?;
        let unreachable = match call.sent {
            Some(_) => Addrs::new(),
            None => call.addrs.clone(),
        };
        self.close(cx, call.stream, CloseReason::Timeout);
        self.end(cx, id, Err(CallFailure::Timeout), Some(unreachable))
    }

    /// The answer is not wanted any more. Returns the peer, and the addresses that were tried
    /// without coming to a stream.
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
