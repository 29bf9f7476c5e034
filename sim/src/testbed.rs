//! A small world for unit tests: every host is reached by key, as over DMSG, with 50 ms latency.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use skydht_core::Node;
use skydht_core::key::PublicKey;
use skydht_core::node::{
    CloseReason, Command, ConfigError, Input, OperationId, Outcome, Output, SessionUse, StreamId,
};
use skydht_core::time::{Mono, Time};

use crate::host::Host;
use crate::hostile::HostilePeer;
use crate::network::{Access, HostId};
use crate::upstream::UpstreamNode;
use crate::world::{Boot, SimEvent, Start, Watch, World, WorldConfig};

/// Latency in one direction between any two hosts.
pub(crate) const LATENCY: Duration = Duration::from_millis(50);

/// The world and its results.
pub(crate) struct Testbed {
    pub(crate) world: World,
    finished: BTreeMap<OperationId, Outcome>,
    /// Data that reached each host, by host and stream.
    pub(crate) delivered: BTreeMap<(u32, StreamId), Vec<u8>>,
}

impl Testbed {
    /// Creates and starts these hosts.
    pub(crate) fn new(boots: Vec<Box<dyn Boot>>) -> Self {
        let mut config = WorldConfig::default();
        config.transport.confirm_streams = true;
        // The caller gives up first.
        config.transport.dial_timeout = Duration::from_secs(60);
        let mut testbed = Self {
            world: World::new(1, config),
            finished: BTreeMap::new(),
            delivered: BTreeMap::new(),
        };
        for boot in boots {
            testbed.add(boot);
        }
        testbed
    }

    /// Adds and starts another host.
    pub(crate) fn add(&mut self, boot: Box<dyn Boot>) -> usize {
        let host = self.world.add(boot, Access::relayed()).expect("a new key");
        self.world.start(host).expect("a good configuration");
        host.0 as usize
    }

    /// From now on, records deliveries in `delivered`.
    pub(crate) fn watch_deliveries(&mut self) {
        self.world.watch(Watch {
            deliveries: true,
            ..Watch::default()
        });
    }

    /// Suspends a host: it gets no traffic and does nothing.
    pub(crate) fn silence(&mut self, n: usize) {
        self.world.suspend(id(n)).expect("it runs");
    }

    pub(crate) fn resume(&mut self, n: usize) {
        self.world.resume(id(n)).expect("it was silent");
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.world.now().plus(time);
        while let Some(event) = self.world.step_until(end) {
            self.note(event);
        }
    }

    pub(crate) fn begin(&mut self, n: usize, command: Command) -> OperationId {
        self.world.command(id(n), command).expect("it runs")
    }

    /// Result of an operation, if it has ended.
    pub(crate) fn outcome(&mut self, op: OperationId) -> Option<Outcome> {
        self.finished.remove(&op)
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&mut self, n: usize, command: Command) -> (Outcome, Duration) {
        let began = self.now().mono;
        let op = self.begin(n, command);
        loop {
            if let Some(outcome) = self.finished.remove(&op) {
                return (outcome, self.now().mono.since(began));
            }
            let event = self.world.step().expect("it ends some time");
            self.note(event);
        }
    }

    /// The time on the first host's clock.
    pub(crate) fn now(&self) -> Time {
        self.world.time_of(id(0)).expect("there is one")
    }

    pub(crate) fn upstream(&self, n: usize) -> &UpstreamNode {
        self.world.host(id(n)).expect("upstream's")
    }

    pub(crate) fn upstream_mut(&mut self, n: usize) -> &mut UpstreamNode {
        self.world.host_mut(id(n)).expect("upstream's")
    }

    pub(crate) fn hostile(&self, n: usize) -> &HostilePeer {
        self.world.host(id(n)).expect("hostile")
    }

    pub(crate) fn ours(&self, n: usize) -> &Node {
        self.world.node(id(n)).expect("ours")
    }

    pub(crate) fn caller(&self, n: usize) -> &Caller {
        self.world.host(id(n)).expect("a caller")
    }

    fn note(&mut self, event: SimEvent) {
        match event {
            SimEvent::Finished { op, outcome, .. } => {
                let before = self.finished.insert(op, outcome);
                assert!(before.is_none(), "{op} finished twice");
            }
            SimEvent::Delivered {
                host,
                stream,
                bytes,
            } => {
                let all = self.delivered.entry((host.0, stream)).or_default();
                all.extend_from_slice(&bytes);
            }
            _ => {}
        }
    }
}

fn id(n: usize) -> HostId {
    HostId(u32::try_from(n).expect("few hosts"))
}

/// A peer that only sends bytes, one stream for each message.
#[derive(Clone)]
pub(crate) struct Caller {
    key: PublicKey,
    peer: PublicKey,
    now: Time,
    messages: VecDeque<Vec<u8>>,
    /// Answers on the stream of each message, in the order of the messages.
    pub(crate) answers: Vec<Vec<u8>>,
    /// Whether the peer closed each stream.
    pub(crate) closed: Vec<bool>,
    outputs: VecDeque<Output>,
}

impl Caller {
    /// A caller that sends these messages to `peer`.
    pub(crate) fn new(key: PublicKey, peer: PublicKey, messages: Vec<Vec<u8>>) -> Box<Self> {
        Box::new(Self {
            key,
            peer,
            now: Time::default(),
            answers: vec![Vec::new(); messages.len()],
            closed: vec![false; messages.len()],
            messages: messages.into(),
            outputs: VecDeque::new(),
        })
    }
}

impl Boot for Caller {
    fn key(&self) -> PublicKey {
        self.key
    }

    fn boot(&mut self, _: Start) -> Result<Box<dyn Host>, ConfigError> {
        Ok(Box::new(self.clone()))
    }
}

impl Host for Caller {
    fn key(&self) -> PublicKey {
        self.key
    }

    fn handle(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        let index = |stream: StreamId| (stream.0 / 2) as usize;
        match input {
            Input::TimerFired => {
                for n in 0..self.messages.len() {
                    self.outputs.push_back(Output::OpenStream {
                        stream: StreamId(2 * n as u64),
                        peer: self.peer,
                        addrs: Default::default(),
                        session: SessionUse::ReuseOrDial,
                    });
                }
            }
            Input::StreamOpened { stream, .. } => {
                let bytes = self.messages[index(stream)].clone().into();
                self.outputs.push_back(Output::Send { stream, bytes });
            }
            Input::Bytes { stream, bytes } => {
                self.answers[index(stream)].extend_from_slice(&bytes);
            }
            Input::StreamClosed { stream, .. } | Input::StreamFailed { stream, .. } => {
                self.closed[index(stream)] = true;
            }
            Input::StreamAccepted { stream, .. } => {
                let reason = CloseReason::Cancelled;
                self.outputs
                    .push_back(Output::CloseStream { stream, reason });
            }
            _ => {}
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Mono> {
        None
    }
}
