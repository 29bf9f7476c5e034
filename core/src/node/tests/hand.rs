//! One node driven by hand: the test plays all of its peers.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::net::{addr, secret};
use crate::Seed;
use crate::id::Target;
use crate::item::{Item, Salt, Seq, Value};
use crate::key::PublicKey;
use crate::node::*;
use crate::time::{Mono, Time, Unix};
use crate::wire::{
    FrameDecoder, Request, RequestExt, RequestMessage, ResponseMessage, Sender, Side,
    decode_request, decode_response, encode_request, encode_response,
};

pub(crate) struct Hand {
    pub(crate) node: Node,
    pub(crate) now: Mono,
    pub(crate) outputs: Vec<Output>,
    next_stream: u64,
    ops: u64,
}

pub(crate) fn key(n: usize) -> PublicKey {
    secret(n).public()
}

/// An item of `owner` with a sequence.
pub(crate) fn item(owner: usize, salt: &str, seq: u64, value: &str) -> Arc<Item> {
    let (salt, value) = (Salt::from(salt), Value::new(value.as_bytes()));
    Arc::new(Item::sign(&secret(owner), Seq(seq), value, salt))
}

pub(crate) fn put(item: &Arc<Item>) -> Request {
    Request::PutValue {
        item: item.into(),
        mirror_target: None,
    }
}

/// The extension that nodes of this implementation send.
pub(crate) fn ours() -> Option<RequestExt> {
    Some(RequestExt {
        serves: true,
        ..RequestExt::default()
    })
}

impl Hand {
    /// Creates the node with the key `secret(0)`.
    pub(crate) fn new(configure: impl Fn(&mut Config)) -> Self {
        let mut config = Config::default();
        configure(&mut config);
        let now = Mono(1_000_000_000);
        let time = Time {
            mono: now,
            unix: Unix(1_790_000_000_000_000_000),
        };
        let identity = Identity::Keyed(secret(0));
        let node = Node::new(config, identity, Seed::from_number(0), time).unwrap();
        let mut hand = Self {
            node,
            now,
            outputs: Vec::new(),
            next_stream: 1,
            ops: 0,
        };
        hand.input(Input::TimerFired);
        hand
    }

    pub(crate) fn time(&self) -> Time {
        Time {
            mono: self.now,
            unix: Unix(1_790_000_000_000_000_000 + self.now.0),
        }
    }

    pub(crate) fn try_input(&mut self, input: Input<'_>) -> Result<(), Misuse> {
        let time = self.time();
        self.node.handle(time, input)?;
        while let Some(output) = self.node.poll_output() {
            self.outputs.push(output);
        }
        Ok(())
    }

    pub(crate) fn input(&mut self, input: Input<'_>) {
        self.try_input(input).unwrap();
        self.run_requests();
    }

    /// Fires the timer while waiting requests can be resumed, as a driver does.
    pub(crate) fn run_requests(&mut self) {
        for _ in 0..100_000 {
            match self.node.next_deadline() {
                Some(due) if due.why == WakeReason::Requests && due.at <= self.now => {
                    self.try_input(Input::TimerFired).unwrap();
                }
                _ => return,
            }
        }
        panic!("requests are due for ever: {:?}", self.node.in_flight());
    }

    /// Checks that nothing is held once no request is in progress.
    pub(crate) fn assert_quiet(&self) {
        assert_eq!(self.node.in_flight(), InFlight::default());
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now.plus(duration);
        while let Some(deadline) = self.node.next_deadline()
            && deadline.at <= end
        {
            self.now = self.now.max(deadline.at);
            self.input(Input::TimerFired);
        }
        self.now = end;
        self.input(Input::TimerFired);
    }

    pub(crate) fn command(&mut self, command: Command) -> OperationId {
        self.ops += 1;
        let op = OperationId(self.ops);
        self.input(Input::Command { op, command });
        op
    }

    /// Accepts a stream from a peer. Each peer has its own address.
    pub(crate) fn accept(&mut self, peer: usize) -> StreamId {
        self.accept_from(peer, peer)
    }

    /// Accepts a stream from a peer at the address of another peer.
    pub(crate) fn accept_from(&mut self, peer: usize, host: usize) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        let path = Path {
            reach: Reach::Accepted,
            remote: Some(addr(host)),
        };
        self.input(Input::StreamAccepted {
            stream,
            peer: key(peer),
            path,
        });
        stream
    }

    pub(crate) fn bytes(&mut self, stream: StreamId, bytes: &[u8]) {
        self.input(Input::Bytes {
            stream,
            bytes: Cow::Borrowed(bytes),
        });
    }

    /// Sends a request on a stream from `peer` without running jobs.
    pub(crate) fn request(
        &mut self,
        stream: StreamId,
        peer: usize,
        ext: Option<RequestExt>,
        request: Request,
    ) {
        let sender = Sender::of(&key(peer));
        let frame = encode_request(&RequestMessage {
            sender,
            ext,
            request,
        })
        .unwrap();
        self.bytes(stream, &frame);
    }

    /// Sends a request on a new stream and returns the answer; `None` if the stream was closed
    /// without one.
    pub(crate) fn ask(
        &mut self,
        peer: usize,
        ext: Option<RequestExt>,
        request: Request,
    ) -> Option<ResponseMessage> {
        let stream = self.accept(peer);
        self.request(stream, peer, ext, request);
        self.run_jobs();
        self.answer_on(stream)
    }

    /// Runs every pending verification job.
    pub(crate) fn run_jobs(&mut self) {
        while let Some(at) = self
            .outputs
            .iter()
            .position(|output| matches!(output, Output::Verify { .. }))
        {
            if let Output::Verify { job, work } = self.outputs.remove(at) {
                self.input(Input::Verified {
                    job,
                    verdict: work.run(),
                });
            }
        }
    }

    fn sent_on(&mut self, stream: StreamId) -> Option<Arc<[u8]>> {
        let at = self
            .outputs
            .iter()
            .position(|output| matches!(output, Output::Send { stream: s, .. } if *s == stream))?;
        match self.outputs.remove(at) {
            Output::Send { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    /// Takes the answer sent on a stream out of the outputs; it counts as having left.
    pub(crate) fn answer_on(&mut self, stream: StreamId) -> Option<ResponseMessage> {
        let bytes = self.sent_on(stream)?;
        self.input(Input::Sent { stream });
        let frame = FrameDecoder::new(Side::Response)
            .push(&mut &bytes[..])
            .unwrap()
            .unwrap();
        Some(decode_response(&frame).unwrap())
    }

    /// The reason with which a stream was closed, if it was.
    pub(crate) fn closed(&self, stream: StreamId) -> Option<CloseReason> {
        self.outputs.iter().find_map(|output| match output {
            Output::CloseStream { stream: s, reason } if *s == stream => Some(*reason),
            _ => None,
        })
    }

    /// Number of pending verification jobs.
    pub(crate) fn jobs_out(&self) -> usize {
        let is_job = |output: &&Output| matches!(output, Output::Verify { .. });
        self.outputs.iter().filter(is_job).count()
    }

    /// Streams that the node requested, not yet opened or cancelled, with the peer and its
    /// addresses.
    pub(crate) fn wanted(&mut self) -> Vec<(StreamId, PublicKey, Addrs, SessionUse)> {
        let mut wanted = Vec::new();
        self.outputs.retain(|output| match output {
            Output::OpenStream {
                stream,
                peer,
                addrs,
                session,
            } => {
                wanted.push((*stream, *peer, addrs.clone(), *session));
                false
            }
            _ => true,
        });
        wanted.retain(|(stream, ..)| self.closed(*stream).is_none());
        wanted
    }

    /// Takes the first of the requested streams; the others stay.
    pub(crate) fn wanted_first(&mut self) -> Option<(StreamId, PublicKey, Addrs, SessionUse)> {
        let at = self.outputs.iter().position(|output| {
            matches!(output, Output::OpenStream { stream, .. } if self.closed(*stream).is_none())
        })?;
        match self.outputs.remove(at) {
            Output::OpenStream {
                stream,
                peer,
                addrs,
                session,
            } => Some((stream, peer, addrs, session)),
            _ => None,
        }
    }

    /// Opens a requested stream, and returns the request sent on it.
    pub(crate) fn open(&mut self, stream: StreamId, reach: Reach) -> RequestMessage {
        self.input(Input::StreamOpened {
            stream,
            path: Path {
                reach,
                remote: None,
            },
        });
        self.request_on(stream).expect("a request follows")
    }

    /// Takes the request that the node sent on a stream.
    pub(crate) fn request_on(&mut self, stream: StreamId) -> Option<RequestMessage> {
        let bytes = self.sent_on(stream)?;
        let frame = FrameDecoder::new(Side::Request)
            .push(&mut &bytes[..])
            .unwrap()
            .unwrap();
        Some(decode_request(&frame).unwrap())
    }

    /// Answers a request of the node.
    pub(crate) fn reply(&mut self, stream: StreamId, message: ResponseMessage) {
        let frame = encode_response(&message).unwrap();
        self.bytes(stream, &frame);
        self.run_jobs();
    }

    /// Answers a ping as upstream does.
    pub(crate) fn pong(&mut self, stream: StreamId, peer: usize) {
        let responder = Sender::of(&key(peer));
        let response = crate::wire::Response::Ping { responder };
        let ext = None;
        self.reply(stream, ResponseMessage { ext, response });
    }

    /// Adds peers to the table, reachable and of unknown dialect.
    pub(crate) fn know(&mut self, peers: impl IntoIterator<Item = usize>) {
        let time = self.time();
        for peer in peers {
            let update = crate::routing::PeerUpdate {
                key: key(peer),
                addr: None,
                reachable: true,
            };
            self.node.base.peers.table.insert_or_update(&update, time);
        }
    }

    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.node.snapshot().counters.get(counter)
    }

    /// How much of a limit is in use.
    pub(crate) fn used(&self, limit: Limit) -> usize {
        let limits = self.node.snapshot().limits;
        limits.iter().find(|used| used.limit == limit).unwrap().used
    }

    pub(crate) fn hits(&self, limit: Limit) -> u64 {
        let limits = self.node.snapshot().limits;
        limits.iter().find(|used| used.limit == limit).unwrap().hits
    }

    pub(crate) fn held(&self, target: &Target) -> Option<Arc<Item>> {
        self.node
            .base
            .items
            .store
            .get(self.time(), target)
            .map(|held| held.item().clone())
    }

    /// Adds `peer` to the table: it calls, is pinged back, and answers.
    pub(crate) fn introduce(&mut self, peer: usize, reach: Reach, ext: bool) {
        use crate::wire::{Response, ResponseExt};
        self.wanted();
        self.ask(peer, ours(), Request::Ping);
        let wanted = self.wanted();
        let (stream, ..) = *wanted
            .iter()
            .find(|want| want.1 == key(peer))
            .expect("a ping back");
        self.open(stream, reach);
        let responder = Sender::of(&key(peer));
        let ext = ext.then(ResponseExt::default);
        self.reply(
            stream,
            ResponseMessage {
                ext,
                response: Response::Ping { responder },
            },
        );
    }

    pub(crate) fn finished(&self, op: OperationId) -> Option<&Outcome> {
        self.outputs.iter().find_map(|output| match output {
            Output::Finished { op: o, outcome } if *o == op => Some(outcome),
            _ => None,
        })
    }
}
