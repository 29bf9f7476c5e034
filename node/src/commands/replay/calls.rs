//! Decodes the streams of a journal that the node opened: its requests, and their responses.

use std::collections::{BTreeMap, VecDeque};

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{CloseReason, Input, Output, StreamEnd, StreamId};
use skydht_core::wire::{
    FrameDecoder, Request, Response, Side, WireItem, decode_request, decode_response,
};

/// Number of a request, in sending order.
pub(super) type RequestId = u64;

/// An event on one of the node's own streams.
pub(super) enum StreamEvent {
    /// The node asked for a stream to a peer.
    Opening { peer: PublicKey },
    /// The node sent a request.
    Asked {
        id: RequestId,
        peer: PublicKey,
        request: Request,
    },
    /// A response arrived; `answer` describes it.
    Answered { id: RequestId, answer: String },
    /// The request will not be answered.
    Lost { id: RequestId, why: String },
    /// The stream could not be opened.
    Unreachable { peer: PublicKey, why: String },
}

struct Stream {
    peer: PublicKey,
    /// Requests without a response, oldest first. Responses come in this order.
    waiting: VecDeque<RequestId>,
    answers: FrameDecoder,
}

/// State of the node's own streams.
#[derive(Default)]
pub(super) struct Calls {
    streams: BTreeMap<StreamId, Stream>,
    last: RequestId,
}

impl Calls {
    /// Processes an input of the node; what happened is appended to `passed`.
    pub(super) fn input(&mut self, input: &Input<'_>, passed: &mut Vec<StreamEvent>) {
        match input {
            Input::StreamFailed { stream, reason } => {
                if let Some(stream) = self.streams.remove(stream) {
                    let (peer, why) = (stream.peer, reason.to_string());
                    passed.push(StreamEvent::Unreachable { peer, why });
                }
            }
            Input::Bytes { stream, bytes } => {
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.take(bytes, passed);
                }
            }
            Input::StreamClosed { stream, end } => {
                let why = match end {
                    StreamEnd::Finished => "the peer closed the stream",
                    StreamEnd::Reset => "the stream was reset",
                    StreamEnd::Lost => "the connection was lost",
                };
                self.close(*stream, why, passed);
            }
            _ => {}
        }
    }

    /// Processes an output of the node; what happened is appended to `passed`.
    pub(super) fn output(&mut self, output: &Output, passed: &mut Vec<StreamEvent>) {
        match output {
            Output::OpenStream { stream, peer, .. } => {
                let opened = Stream {
                    peer: *peer,
                    waiting: VecDeque::new(),
                    answers: FrameDecoder::new(Side::Response),
                };
                self.streams.insert(*stream, opened);
                passed.push(StreamEvent::Opening { peer: *peer });
            }
            Output::Send { stream, bytes } => {
                let Some(stream) = self.streams.get_mut(stream) else {
                    return; // A response to a peer's request.
                };
                let frame = FrameDecoder::new(Side::Request).push(&mut &bytes[..]);
                if let Ok(Some(frame)) = frame
                    && let Ok(message) = decode_request(&frame)
                {
                    self.last += 1;
                    let (id, peer) = (self.last, stream.peer);
                    stream.waiting.push_back(id);
                    let request = message.request;
                    passed.push(StreamEvent::Asked { id, peer, request });
                }
            }
            Output::CloseStream { stream, reason } => {
                let why = match reason {
                    CloseReason::Timeout => "no answer in time",
                    CloseReason::Protocol => "an answer against the protocol",
                    _ => "no longer waited for",
                };
                self.close(*stream, why, passed);
            }
            _ => {}
        }
    }

    fn close(&mut self, stream: StreamId, why: &str, passed: &mut Vec<StreamEvent>) {
        let waiting = self.streams.remove(&stream).map(|stream| stream.waiting);
        passed.extend(waiting.into_iter().flatten().map(|id| StreamEvent::Lost {
            id,
            why: why.into(),
        }));
    }
}

impl Stream {
    fn take(&mut self, mut bytes: &[u8], passed: &mut Vec<StreamEvent>) {
        while let Ok(Some(frame)) = self.answers.push(&mut bytes) {
            let answer = match decode_response(&frame) {
                Ok(message) => in_words(&message.response),
                Err(error) => format!("an answer that does not decode: {error}"),
            };
            if let Some(id) = self.waiting.pop_front() {
                passed.push(StreamEvent::Answered { id, answer });
            }
        }
    }
}

/// Returns the target of a request, if it has one.
pub(super) fn target_of(request: &Request) -> Option<Target> {
    match request {
        Request::FindNode { target }
        | Request::GetValue { target }
        | Request::Renew { target, .. } => Some(*target),
        Request::PutValue {
            item,
            mirror_target,
        } => mirror_target.or_else(|| {
            item.item()
                .map(|item| Target::of(&item.key, item.salt.as_bytes()))
        }),
        _ => None,
    }
}

fn in_words(response: &Response) -> String {
    match response {
        Response::Ping { .. } => "pong".into(),
        Response::FindNode { closest } => format!("{} peers", closest.peers.len()),
        Response::GetValue { item, closest } => {
            let peers = closest.peers.len();
            match item.as_ref().map(WireItem::item) {
                Some(Some(item)) => format!("item, sequence {}; {peers} peers", item.seq),
                Some(None) => format!("an item without a key; {peers} peers"),
                None => format!("{peers} peers"),
            }
        }
        Response::PutValue { stored, error } | Response::Renew { stored, error } => {
            match (stored, error.as_str()) {
                (true, _) => "stored".into(),
                (false, "") => "not stored".into(),
                (false, error) => format!("refused: {error}"),
            }
        }
        Response::Reconcile { message } => format!("{} bytes of reconciliation", message.len()),
        Response::GetItems { items, .. } => format!("{} items", items.len()),
        Response::PutBatch { stored, .. } => {
            let kept = stored.iter().filter(|stored| **stored).count();
            format!("{kept} of {} stored", stored.len())
        }
    }
}
