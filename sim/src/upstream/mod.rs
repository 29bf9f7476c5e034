//! A node of upstream as it was in late April 2026, with all its known defects.
//!
//! It is a [`Host`] like any other, so a scenario can contain any share of such nodes and measure
//! what their behaviour costs. It answers the six methods byte for byte as Go does; the golden
//! vectors `store_trace.json` and `frames.json` hold for it without exception. Where Go's process
//! panics, the model closes everything and is [`crashed`](UpstreamNode::crashed).
//!
//! | question | module |
//! |---|---|
//! | known peers | [`table`] |
//! | stored items | [`store`] |
//! | state of the node | `state` |
//! | how requests are answered | `serve` |
//! | how requests are sent | `calls` |
//! | how a lookup proceeds | `lookup` |
//! | how commands are processed | `operation`, `task` |
//! | work without a command | `upkeep`, `reconcile` |
//!
//! Peers are dialled by key, as over DMSG: in a world, each host that communicates with such a node
//! needs [`Access::relayed`](crate::network::Access::relayed), or an address and `relayed`.
//!
//! Not modelled: the carrier over skywire transports (defects 26, 27), storage back-ends (31), the
//! visor's adapters (29, 30, 35). Only the first 64 peers of an answer are read, and the 20 nearest
//! kept. A bad key that a later duplicate field overwrites does not cause a panic.

mod calls;
pub(crate) mod checks;
mod config;
pub(crate) mod frame;
mod lookup;
mod operation;
mod reconcile;
mod serve;
mod state;
pub mod store;
pub mod table;
mod task;
pub(crate) mod timers;
mod upkeep;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    CloseReason, ConfigError, Identity, Input, OperationError, OperationId, Outcome, Output,
    StreamId,
};
use skydht_core::time::{Mono, Time};

use crate::host::{Boot, Host, Start};
pub use config::{Counters, MirrorConfig, UpstreamConfig};
pub use state::UpstreamNode;
use state::{CallFailure, Stream, Timer};
use store::Store;
use table::{Contact, Table, Update};
use timers::Timers;

impl UpstreamNode {
    /// A process that starts now, with an empty store. Several nodes may share a configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<UpstreamConfig>>, identity: Identity, now: Time) -> Self {
        let config = config.into();
        let (key, secret) = match identity {
            Identity::PublicOnly(key) => (key, None),
            Identity::Keyed(secret) => (secret.public(), Some(secret)),
        };
        let id = key.id();
        let mut store = Store::new(config.limits.clone(), config.full_node);
        store.set_trust(config.whitelisted.clone(), config.trusted.clone());
        let mut node = Self {
            config,
            secret,
            key,
            id,
            now,
            table: Table::new(id),
            store,
            streams: BTreeMap::new(),
            next_stream: 2,
            handlers: 0,
            backlog: VecDeque::new(),
            no_dht: BTreeMap::new(),
            tasks: BTreeMap::new(),
            next_task: 1,
            operations: BTreeMap::new(),
            ended: VecDeque::new(),
            own: BTreeMap::new(),
            to_republish: VecDeque::new(),
            republish_due: now.mono,
            republishing: false,
            to_mirror: VecDeque::new(),
            mirror_item: None,
            mirror_until: now.mono,
            mirroring: false,
            timers: Timers::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            crashed: false,
            stopped: false,
        };
        node.start_timers();
        node
    }

    /// Whether a message has ended the process (defect 36). From then on it resets every stream.
    /// Its supervisor starts a new process, with [`World::crash`](crate::world::World::crash) and
    /// [`World::start`](crate::world::World::start).
    #[must_use]
    pub const fn crashed(&self) -> bool {
        self.crashed
    }

    /// The routing table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The store, for preparation by a scenario.
    pub const fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Counters since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// An unused number for a stream that the node does not open itself.
    pub(crate) const fn fresh_stream(&mut self) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 2;
        stream
    }

    /// Adds a caller to the table, without any message from it.
    pub(crate) fn add_caller(&mut self, caller: &PublicKey, now: Time) {
        self.now = now;
        self.add_peer(Contact::of(caller, now.unix));
    }

    const fn is_over(&self) -> bool {
        self.crashed || self.stopped
    }

    /// Adds a peer to the table if there is room. Peers never leave the table.
    fn add_peer(&mut self, contact: Contact) {
        if let Update::Full { .. } = self.table.update(contact) {
            self.counters.newcomers_dropped += 1;
        }
    }

    fn timer_fired(&mut self) {
        while !self.is_over()
            && let Some(timer) = self.timers.due(self.now.mono)
        {
            match timer {
                Timer::Call(stream) => self.call_timed_out(stream),
                Timer::Task(task) => self.task_timed_out(task),
                Timer::Bootstrap => self.bootstrap(),
                Timer::Tick => self.tick(),
                Timer::Republish => self.republish(),
                Timer::Mirror => self.mirror(),
                Timer::Advert => self.advertise(),
                Timer::Reconcile => self.reconcile(),
            }
            self.settle();
        }
    }

    fn closed(&mut self, stream: StreamId) {
        match self.streams.get(&stream) {
            Some(Stream::Call(_)) => self.end_call(stream, Err(CallFailure::NoAnswer), false),
            Some(Stream::Served(_)) => self.forget_served(stream),
            None => {}
        }
    }

    /// Notifies tasks of the ends of their requests until none is left.
    fn settle(&mut self) {
        loop {
            if let Some(ended) = self.ended.pop_front() {
                self.call_done(ended);
            } else if std::mem::take(&mut self.republishing) {
                self.republish_next();
            } else if std::mem::take(&mut self.mirroring) {
                self.mirror_next();
            } else {
                break;
            }
        }
        self.serve_waiting();
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// The process ends, and with it every stream and operation.
    fn crash(&mut self) {
        self.crashed = true;
        self.abandon(CloseReason::Protocol);
    }

    fn shut_down(&mut self, op: OperationId) {
        if !self.is_over() {
            self.stopped = true;
            self.abandon(CloseReason::Shutdown);
        }
        self.finish(op, Outcome::Shutdown);
    }

    fn abandon(&mut self, reason: CloseReason) {
        self.timers.clear();
        self.backlog.clear();
        self.ended.clear();
        self.to_republish.clear();
        self.to_mirror.clear();
        self.handlers = 0;
        for stream in std::mem::take(&mut self.streams).into_keys() {
            self.output(Output::CloseStream { stream, reason });
        }
        self.operations.clear();
        for task in std::mem::take(&mut self.tasks).into_values() {
            if let task::Purpose::Operation(op) = task.purpose {
                let outcome = task.cut(self.now.mono, OperationError::ShuttingDown);
                self.output(Output::Finished { op, outcome });
            }
        }
    }
}

impl Host for UpstreamNode {
    fn key(&self) -> PublicKey {
        self.key
    }

    fn handle(&mut self, now: Time, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Command { op, command } => self.command(op, command),
            Input::StreamAccepted { stream, .. } if self.is_over() => {
                let reason = CloseReason::Cancelled;
                self.output(Output::CloseStream { stream, reason });
            }
            _ if self.is_over() => {}
            Input::StreamOpened { stream, path } => self.call_opened(stream, path),
            Input::StreamFailed { stream, reason } => {
                self.end_call(stream, Err(CallFailure::Dial(reason)), false);
            }
            Input::StreamAccepted { stream, peer, .. } => self.accepted(stream, peer),
            Input::Bytes { stream, bytes } => match self.streams.get(&stream) {
                Some(Stream::Call(_)) => self.call_bytes(stream, &bytes),
                Some(Stream::Served(_)) => self.served_bytes(stream, &bytes),
                None => {}
            },
            Input::StreamClosed { stream, .. } => self.closed(stream),
            Input::Cancel { op } => self.cancel(op),
            Input::TimerFired => self.timer_fired(),
            // It has no verification jobs, storage or probes of its own.
            _ => {}
        }
        self.settle();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.timers.next()
    }
}

/// How such a node starts, each time. The items that it held are lost.
#[derive(Clone, Debug)]
pub struct UpstreamBoot {
    /// Configuration of the node. Several nodes may share it.
    pub config: Arc<UpstreamConfig>,
    /// Identity of the node.
    pub secret: SecretKey,
}

impl Boot for UpstreamBoot {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError> {
        let identity = Identity::Keyed(self.secret.clone());
        let node = UpstreamNode::new(self.config.clone(), identity, start.now);
        Ok(Box::new(node))
    }
}
