//! Upstream's requests. Each uses its own stream: dial, write, read, close.

use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{CloseReason, OpenFailure, Output, Path, SessionUse, StreamId};
use skydht_core::wire::{
    Frame, Method, PeerList, Request, RequestMessage, Response, Sender, WireItem, decode_response,
    encode_request,
};

use super::checks::{self, KeyFate};
use super::config::{NO_DHT, RPC_TIMEOUT};
use super::frame::{FrameReader, Progress};
use super::state::{Call, CallFailure, Ended, Reply, Stream, Timer, UpstreamNode};
use super::table::Contact;
use super::task::TaskId;

impl UpstreamNode {
    /// Sends a request whose frame is within every limit.
    pub(super) fn call(&mut self, task: TaskId, peer: Contact, request: Request) {
        let method = request.method();
        let message = RequestMessage {
            sender: Sender::of(&self.key),
            ext: None,
            request,
        };
        match encode_request(&message) {
            Ok(bytes) => self.call_raw(task, peer, method, bytes, RPC_TIMEOUT),
            // The request exceeds the codec's limit for the method: the receiver would drop it.
            Err(_) => self.ended(task, peer, Err(CallFailure::NoAnswer)),
        }
    }

    pub(super) fn call_raw(
        &mut self,
        task: TaskId,
        peer: Contact,
        method: Method,
        bytes: Vec<u8>,
        timeout: Duration,
    ) {
        let now = self.now.mono;
        let dialled = peer.key.filter(|key| *key != self.key);
        let Some(key) = dialled.filter(|key| !self.is_no_dht(key)) else {
            self.counters.calls_skipped += 1;
            let failure = CallFailure::Dial(OpenFailure::NoAddress);
            return self.ended(task, peer, Err(failure));
        };
        self.counters.calls += 1;
        let stream = self.fresh_stream();
        let call = Call {
            task,
            peer,
            method,
            request: bytes.into(),
            path: None,
            reader: FrameReader::default(),
            started: now,
        };
        self.streams.insert(stream, Stream::Call(Box::new(call)));
        self.timers.set(Timer::Call(stream), now.plus(timeout));
        self.output(Output::OpenStream {
            stream,
            peer: key,
            addrs: Default::default(),
            session: SessionUse::ReuseOrDial,
        });
    }

    /// Whether a dial to `key` failed in the last ten minutes, even if the peer has called since.
    fn is_no_dht(&self, key: &PublicKey) -> bool {
        let until = self.no_dht.get(key);
        until.is_some_and(|until| self.now.mono < *until)
    }

    pub(super) fn call_opened(&mut self, stream: StreamId, path: Path) {
        if let Some(Stream::Call(call)) = self.streams.get_mut(&stream)
            && call.path.is_none()
        {
            call.path = Some(path);
            let bytes = call.request.clone();
            self.output(Output::Send { stream, bytes });
        }
    }

    pub(super) fn call_bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        let Some(Stream::Call(call)) = self.streams.get_mut(&stream) else {
            return;
        };
        call.reader.push(bytes);
        let (body, path) = match (call.reader.progress(), call.path) {
            (Progress::Incomplete, _) => return,
            // Upstream does not check the method of the answer (defect 32).
            (Progress::Whole(_, body), Some(path)) => (body, path),
            _ => return self.end_call(stream, Err(CallFailure::NoAnswer), true),
        };
        let method = call.method;
        let elapsed = self.now.mono.since(call.started);
        let decoded = decode_response(&Frame { method, body });
        let result = match decoded.map(|message| judge(message.response)) {
            Ok((_, KeyFate::Panics)) => return self.crash(),
            Ok((Some(response), KeyFate::Good)) => Ok(Reply {
                response,
                path,
                elapsed,
            }),
            _ => Err(CallFailure::NoAnswer),
        };
        self.end_call(stream, result, true);
    }

    pub(super) fn call_timed_out(&mut self, stream: StreamId) {
        let failure = match self.streams.get(&stream) {
            Some(Stream::Call(call)) if call.path.is_some() => CallFailure::NoAnswer,
            _ => CallFailure::Dial(OpenFailure::Timeout),
        };
        self.end_call(stream, Err(failure), true);
    }

    /// Ends a call and its stream; `close` unless the other side has ended the stream.
    pub(super) fn end_call(
        &mut self,
        stream: StreamId,
        result: Result<Reply, CallFailure>,
        close: bool,
    ) {
        let Some(Stream::Call(call)) = self.streams.get(&stream) else {
            return;
        };
        let (task, peer) = (call.task, call.peer);
        self.streams.remove(&stream);
        self.timers.cancel(Timer::Call(stream));
        if close {
            let reason = match result {
                Ok(_) => CloseReason::Done,
                Err(_) => CloseReason::Timeout,
            };
            self.output(Output::CloseStream { stream, reason });
        }
        if let (Err(CallFailure::Dial(_)), Some(key)) = (&result, peer.key) {
            // One failure of any kind is enough, also for bootstrap peers (defect 4).
            self.no_dht.insert(key, self.now.mono.plus(NO_DHT));
        }
        self.ended(task, peer, result);
    }

    /// The task of these calls has ended. A cancelled dial counts as failed.
    pub(super) fn cancel_calls(&mut self, task: TaskId) {
        let streams: Vec<(StreamId, bool)> = self
            .streams
            .iter()
            .filter_map(|(stream, it)| match it {
                Stream::Call(call) if call.task == task => Some((*stream, call.path.is_some())),
                _ => None,
            })
            .collect();
        for (stream, open) in streams {
            let failure = match open {
                true => CallFailure::NoAnswer,
                false => CallFailure::Dial(OpenFailure::Closing),
            };
            self.end_call(stream, Err(failure), true);
        }
        self.ended.retain(|ended| ended.task != task);
    }

    fn ended(&mut self, task: TaskId, peer: Contact, result: Result<Reply, CallFailure>) {
        match &result {
            Ok(_) => self.add_peer(Contact {
                last_seen: self.now.unix,
                ..peer
            }),
            Err(_) => self.counters.calls_failed += 1,
        }
        self.ended.push_back(Ended { task, peer, result });
    }
}

/// The answer, unless one key in it makes the whole answer invalid.
fn judge(response: Response) -> (Option<Response>, KeyFate) {
    let peers = |list: &PeerList| -> Vec<PublicKey> {
        list.peers.iter().filter_map(|peer| peer.key).collect()
    };
    let mut bad_tags = 0;
    let keys: Vec<PublicKey> = match &response {
        Response::Ping { responder } => responder.key.into_iter().collect(),
        Response::FindNode { closest } => {
            bad_tags = closest.bad_keys;
            peers(closest)
        }
        Response::GetValue { item, closest } => {
            bad_tags = closest.bad_keys;
            let item = item.as_ref().and_then(WireItem::key);
            item.copied().into_iter().chain(peers(closest)).collect()
        }
        Response::GetItems { items, .. } => {
            items.iter().filter_map(WireItem::key).copied().collect()
        }
        _ => Vec::new(),
    };
    match checks::keys_fate(&keys) {
        KeyFate::Good if bad_tags > 0 => (None, KeyFate::Refused),
        fate => (Some(response), fate),
    }
}
