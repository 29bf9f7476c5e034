//! The context passed to every layer: configuration, clock, signing key, and the queues for
//! outputs, timers and counts.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::Seed;
use crate::address::canonical;
use crate::id::NodeId;
use crate::item::{Item, Salt, Seq, Value};
use crate::key::{PublicKey, Signature};
use crate::node::config::{Advertise, Config, Identity};
use crate::node::counters::{Counter, Counters};
use crate::node::ids::StreamId;
use crate::node::limits::Limit;
use crate::node::measurements::{Measurements, Side};
use crate::node::output::{Event, Output};
use crate::node::timers::Timers;
use crate::random::Random;
use crate::store::Refusal;
use crate::time::Time;
use crate::wire::{Advertised, FrameError, RequestExt, ResponseExt, Sender, WireError};

/// Independent random streams, one per use.
pub(crate) struct Randoms {
    pub(crate) maintenance: Random,
    pub(crate) proof: Random,
    pub(crate) refresh: Random,
    pub(crate) renewal: Random,
    pub(crate) sync: Random,
}

/// The context passed to every layer.
pub(crate) struct Context {
    pub(crate) config: Config,
    identity: Identity,
    pub(crate) public: PublicKey,
    pub(crate) id: NodeId,
    /// The time of the input being handled.
    pub(crate) now: Time,
    pub(crate) stopping: bool,
    /// Streams of both directions, which share one limit.
    pub(crate) open_streams: usize,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    pub(crate) measured: Box<Measurements>,
    /// How often each limit refused something, indexed by [`Limit`].
    pub(crate) hits: [u64; Limit::ALL.len()],
    pub(crate) random: Randoms,
    /// Signatures of a recorded run still to be replayed, for a node that cannot sign.
    replayed_signatures: VecDeque<Signature>,
    /// Signatures made since the last `take_signatures`; `None` unless recording.
    recorded_signatures: Option<Vec<Signature>>,
}

impl Context {
    pub(crate) fn new(config: Config, identity: Identity, seed: &Seed, now: Time) -> Self {
        let public = identity.public();
        Self {
            config,
            identity,
            public,
            id: public.id(),
            now,
            stopping: false,
            open_streams: 0,
            outputs: VecDeque::new(),
            timers: Timers::default(),
            counters: Counters::default(),
            measured: Box::default(),
            hits: [0; Limit::ALL.len()],
            random: Randoms {
                maintenance: seed.stream("maintenance"),
                proof: seed.stream("proof"),
                refresh: seed.stream("refresh"),
                renewal: seed.stream("renewal"),
                sync: seed.stream("sync"),
            },
            replayed_signatures: VecDeque::new(),
            recorded_signatures: None,
        }
    }

    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(crate) fn send(&mut self, stream: StreamId, bytes: Arc<[u8]>) {
        self.counters.add(Counter::BytesOut, bytes.len() as u64);
        self.output(Output::Send { stream, bytes });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    /// Counts that a limit refused something.
    pub(crate) fn hit(&mut self, limit: Limit) {
        let hits = &mut self.hits[limit as usize];
        *hits = hits.saturating_add(1);
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender {
            id: self.id,
            key: Some(self.public),
        }
    }

    fn advertised(&self) -> Option<Advertised> {
        match self.config.advertise {
            Advertise::Nothing => None,
            Advertise::Port(port) => Some(Advertised::Port(port)),
            Advertise::Address(addr) => Some(Advertised::At(canonical(addr))),
        }
    }

    /// The extension of a request with the fields that every request carries.
    pub(crate) fn request_ext(&self) -> RequestExt {
        RequestExt {
            serves: self.config.serve,
            addr: self.advertised(),
            ..RequestExt::default()
        }
    }

    /// The extension of an answer with the fields that every answer carries.
    pub(crate) fn response_ext(&self) -> ResponseExt {
        ResponseExt {
            addr: self.advertised(),
            full_node: self.config.full_node,
            ..ResponseExt::default()
        }
    }

    pub(crate) fn count_frame_error(&mut self, error: FrameError) {
        self.counters.count(match error {
            FrameError::ZeroLength | FrameError::TooLong { .. } => Counter::FrameLength,
            FrameError::UnknownMethod(_) => Counter::UnknownMethod,
        });
    }

    pub(crate) fn count_wire_error(&mut self, error: &WireError) {
        self.counters.count(match error {
            WireError::BadKey { .. } => Counter::InvalidKeys,
            _ => Counter::Undecodable,
        });
    }

    pub(crate) fn count_refusal(&mut self, refusal: Refusal) {
        self.counters.count(Counter::ItemsRefused);
        self.measured.refusals.count((Side::Inbound, refusal));
        match refusal {
            Refusal::MirrorNotAccepted => self.counters.count(Counter::MirrorsRefused),
            Refusal::Deleted => self.counters.count(Counter::DeletedRefused),
            Refusal::Conflict => self.counters.count(Counter::Conflicts),
            _ => {}
        }
    }

    /// Signs a digest with the node's key, or takes the next signature of a recorded run. `None`
    /// when the recorded signatures are exhausted.
    pub(crate) fn sign_digest(&mut self, digest: impl FnOnce() -> [u8; 32]) -> Option<Signature> {
        match &self.identity {
            Identity::Keyed(secret) => {
                let signature = secret.sign(&digest());
                if let Some(signed) = &mut self.recorded_signatures {
                    signed.push(signature);
                }
                Some(signature)
            }
            Identity::PublicOnly(_) => self.replayed_signatures.pop_front(),
        }
    }

    /// Signs an item; `None` as in [`Context::sign_digest`].
    pub(crate) fn sign(&mut self, seq: Seq, value: Value, salt: Salt) -> Option<Item> {
        let mut item = Item {
            key: self.public,
            seq,
            signature: Signature::default(),
            value,
            salt,
        };
        item.signature = self.sign_digest(|| item.digest())?;
        Some(item)
    }

    pub(crate) fn record_signatures(&mut self) {
        self.recorded_signatures = Some(Vec::new());
    }

    pub(crate) fn take_signatures(&mut self) -> Vec<Signature> {
        self.recorded_signatures
            .as_mut()
            .map(core::mem::take)
            .unwrap_or_default()
    }

    pub(crate) fn load_signatures(&mut self, signatures: &[Signature]) {
        self.replayed_signatures.extend(signatures);
    }
}
