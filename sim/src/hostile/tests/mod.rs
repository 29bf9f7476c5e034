//! Tests each behaviour alone and in small networks.

mod answers;
mod attacks;
mod networks;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::Seed;
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    BootstrapPeer, Command, Config, GetRequest, Input, Output, Path, PutOptions, Reach, ReadPolicy,
    StreamId,
};
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::wire::{
    FrameDecoder, Request, RequestExt, RequestMessage, ResponseMessage, Sender, Side, Want,
    decode_response, encode_request,
};

use super::{Behaviour, Collusion, HostileBoot, HostileConfig, HostilePeer};
use crate::host::Host;
use crate::ours::OurNode;
use crate::upstream::{UpstreamBoot, UpstreamConfig};
use crate::world::Boot;

const SALT: &str = "dmsg";
const SECOND: Duration = Duration::from_secs(1);

fn secret(n: usize) -> SecretKey {
    let mut entropy = [11; 32];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

fn key(n: usize) -> PublicKey {
    secret(n).public()
}

fn item(signer: usize, seq: u64, value: &[u8]) -> Arc<Item> {
    let value = Value::new(value);
    Arc::new(Item::sign(
        &secret(signer),
        Seq(seq),
        value,
        Salt::from(SALT),
    ))
}

fn put_value(item: &Arc<Item>) -> Request {
    Request::PutValue {
        item: item.into(),
        mirror_target: None,
    }
}

fn put(value: &[u8], seq: u64) -> Command {
    Command::Put {
        salt: Salt::from(SALT),
        value: Value::new(value),
        options: PutOptions {
            seq: Some(Seq(seq)),
            ..PutOptions::default()
        },
    }
}

fn get(owner: PublicKey) -> Command {
    let salt = Salt::from(SALT);
    Command::Get(GetRequest::of(owner, salt, ReadPolicy::Freshest))
}

/// A hostile peer that bootstraps from node 0.
fn hostile(behaviour: Behaviour, secret: SecretKey, collusion: &Collusion) -> Box<dyn Boot> {
    Box::new(HostileBoot {
        config: HostileConfig {
            bootstrap: vec![key(0)],
            behaviour,
            extensions: false,
        },
        secret,
        collusion: collusion.clone(),
    })
}

/// A node of upstream that bootstraps from node 0.
fn upstream(n: usize) -> Box<dyn Boot> {
    let config = UpstreamConfig {
        bootstrap: vec![key(0)],
        republish: None,
        ..UpstreamConfig::default()
    };
    Box::new(UpstreamBoot {
        config: Arc::new(config),
        secret: secret(n),
    })
}

/// A node of ours that bootstraps from node 0.
fn ours(n: usize) -> Box<dyn Boot> {
    let mut config = Config::default();
    config.bootstrap.push(BootstrapPeer {
        key: key(0),
        addrs: Vec::new(),
    });
    Box::new(OurNode {
        config: Arc::new(config),
        secret: secret(n),
        lies: false,
    })
}

fn start() -> Time {
    let unix = Unix::BUILD.plus(SECOND);
    Time {
        mono: Mono(1),
        unix,
    }
}

/// A hostile peer and the caller that asks it.
struct Interview {
    peer: HostilePeer,
    collusion: Collusion,
    now: Time,
    next: u64,
    outputs: Vec<Output>,
}

impl Interview {
    fn new(behaviour: Behaviour) -> Self {
        Self::with(behaviour, false, &Collusion::new())
    }

    fn with(behaviour: Behaviour, extensions: bool, collusion: &Collusion) -> Self {
        let config = HostileConfig {
            bootstrap: Vec::new(),
            behaviour,
            extensions,
        };
        let peer = HostilePeer::new(
            config,
            secret(666),
            Seed::from_number(5),
            collusion,
            start(),
        );
        Self {
            peer,
            collusion: collusion.clone(),
            now: start(),
            next: 1,
            outputs: Vec::new(),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.peer.handle(self.now, input);
        self.outputs
            .extend(std::iter::from_fn(|| self.peer.poll_output()));
    }

    fn open(&mut self) -> StreamId {
        let stream = StreamId(self.next);
        self.next += 2;
        let path = Path {
            reach: Reach::Relayed,
            remote: None,
        };
        let peer = key(1);
        self.input(Input::StreamAccepted { stream, peer, path });
        stream
    }

    fn send(&mut self, request: Request) -> StreamId {
        self.send_with(request, None)
    }

    fn send_with(&mut self, request: Request, ext: Option<RequestExt>) -> StreamId {
        let stream = self.open();
        let message = RequestMessage {
            sender: Sender::of(&key(1)),
            ext,
            request,
        };
        let bytes = Cow::Owned(encode_request(&message).unwrap());
        self.input(Input::Bytes { stream, bytes });
        stream
    }

    /// Data that the peer sent on a stream.
    fn sent(&self, stream: StreamId) -> Vec<u8> {
        let mut all = Vec::new();
        for output in &self.outputs {
            match output {
                Output::Send { stream: on, bytes } if *on == stream => all.extend_from_slice(bytes),
                _ => {}
            }
        }
        all
    }

    fn is_closed(&self, stream: StreamId) -> bool {
        let closed =
            |it: &Output| matches!(it, Output::CloseStream { stream: on, .. } if *on == stream);
        self.outputs.iter().any(closed)
    }

    /// Returns the answer; then both close the stream.
    fn ask(&mut self, request: Request) -> ResponseMessage {
        let stream = self.send(request);
        self.answer_on(stream)
    }

    /// The same as a request of our node with this `want`.
    fn ask_with(&mut self, request: Request, want: Want) -> ResponseMessage {
        let ext = RequestExt {
            want,
            ..RequestExt::default()
        };
        let stream = self.send_with(request, Some(ext));
        self.answer_on(stream)
    }

    fn answer_on(&self, stream: StreamId) -> ResponseMessage {
        assert!(self.is_closed(stream));
        let bytes = self.sent(stream);
        let mut decoder = FrameDecoder::new(Side::Response);
        let frame = decoder.push(&mut bytes.as_slice()).unwrap();
        decode_response(&frame.expect("an answer")).unwrap()
    }

    /// Lets time pass.
    fn wait(&mut self, time: Duration) {
        let end = self.now.mono.plus(time);
        while let Some(at) = self.peer.next_deadline().filter(|at| *at <= end) {
            self.now.mono = self.now.mono.max(at);
            self.input(Input::TimerFired);
        }
        self.now.mono = end;
    }
}
