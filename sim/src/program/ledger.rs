//! Records what the watchers of nodes see and which answers users get.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use skydht_core::id::Target;
use skydht_core::item::Seq;
use skydht_core::journal::{Digest, Header, RunDigest};
use skydht_core::key::Signature;
use skydht_core::node::{
    CloseReason, Command, Deadline, FindNodeOutcome, GetError, GetOutcome, Input, OpenFailure,
    OperationError, OperationId, Outcome, Output, PingError, PingOutcome, PutError, PutOutcome,
    StoreChange, StreamEnd, StreamId,
};
use skydht_core::record::StoredRecord;
use skydht_core::time::{Mono, Time, Unix};
use skydht_driver::Recorder;

use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::network::HostId;
use crate::oracle::Violations;

/// An open that takes longer counts as slow. In this time one address is tried and given up.
const SLOW_OPEN: Duration = Duration::from_secs(8);

/// Simulated time of the world. Every host's monotonic clock shows the same.
pub(super) const fn sim_time(mono: Mono) -> SimTime {
    SimTime(mono.0)
}

/// Records about one host, over all its lives.
#[derive(Default)]
pub(super) struct HostRecord {
    /// What its node asked to persist.
    pub(super) disk: BTreeMap<Target, StoredRecord>,
    /// Number of users that wait for an answer of the node.
    pub(super) asking: usize,
    /// The node is shutting down.
    pub(super) stopping: bool,
}

/// The answer to a user's command.
#[derive(Serialize)]
pub(super) enum UserAnswer {
    Put(Result<PutOutcome, PutError>),
    Get(Result<GetOutcome, GetError>),
    /// Result of a watch for versions newer than this sequence number.
    Seen(Option<Seq>, Result<GetOutcome, GetError>),
    Found(Result<FindNodeOutcome, OperationError>),
    Pinged(Result<PingOutcome, PingError>),
    /// The user dropped the future.
    GaveUp,
}

impl UserAnswer {
    /// Whether the node was too busy to begin.
    pub(super) const fn was_busy(&self) -> bool {
        matches!(
            self,
            Self::Put(Err(PutError::Operation(OperationError::Busy(_))))
                | Self::Get(Err(GetError::Operation(OperationError::Busy(_))))
                | Self::Seen(_, Err(GetError::Operation(OperationError::Busy(_))))
                | Self::Found(Err(OperationError::Busy(_)))
                | Self::Pinged(Err(PingError::Operation(OperationError::Busy(_))))
        )
    }
}

/// The end of the command with number `id`.
pub(super) struct Ended {
    pub(super) id: u64,
    pub(super) host: HostId,
    pub(super) at: SimTime,
    pub(super) answer: UserAnswer,
}

/// An event for the reference model.
pub(super) enum Event {
    /// A new life begins: operations of the previous one never end.
    Born,
    Began(OperationId),
    Finished(OperationId),
    /// A change was persisted when the wall clock showed this time.
    Stored(Unix, StoreChange),
}

/// Everything recorded about all hosts.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) hosts: Vec<HostRecord>,
    /// Events that the reference model has not processed yet.
    pub(super) events: Vec<(SimTime, HostId, Event)>,
    pub(super) violations: Violations,
    pub(super) coverage: Coverage,
    pub(super) ended: Vec<Ended>,
    pub(super) inputs: u64,
    /// For each life of each host: number of inputs and digest of the outputs so far.
    pub(super) lives: BTreeMap<(HostId, u32), (u64, Digest)>,
}

/// The ledger, shared by all nodes. One thread runs them all, so the lock is always free.
#[derive(Clone, Default)]
pub(super) struct SharedLedger(Arc<Mutex<Ledger>>);

impl SharedLedger {
    /// A ledger for this number of hosts.
    pub(super) fn of(hosts: usize) -> Self {
        let shared = Self::default();
        shared.lock().hosts.resize_with(hosts, HostRecord::default);
        shared
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches one life of a host.
    pub(super) fn watch(&self, host: HostId, life: u32) -> Box<dyn Recorder> {
        let mut ledger = self.lock();
        ledger.events.push((SimTime::ZERO, host, Event::Born));
        let seen = &mut ledger.hosts[host.index()];
        seen.asking = 0;
        seen.stopping = false;
        Box::new(Watcher {
            shared: self.clone(),
            host,
            life,
            now: Time::default(),
            inputs: 0,
            digest: RunDigest::default(),
            opening: BTreeMap::new(),
        })
    }
}

struct Watcher {
    shared: SharedLedger,
    host: HostId,
    life: u32,
    now: Time,
    inputs: u64,
    digest: RunDigest,
    opening: BTreeMap<StreamId, Mono>,
}

impl Watcher {
    fn opened(&mut self, stream: StreamId, ledger: &mut Ledger) {
        if let Some(since) = self.opening.remove(&stream)
            && self.now.mono.since(since) > SLOW_OPEN
        {
            ledger.coverage.count("slow_opens", 1);
        }
    }
}

impl Recorder for Watcher {
    fn start(&mut self, _: Header) {}

    fn input(&mut self, now: Time, input: &Input<'_>) {
        self.now = now;
        self.inputs += 1;
        let at = sim_time(now.mono);
        let shared = self.shared.clone();
        let mut ledger = shared.lock();
        ledger.inputs += 1;
        match input {
            Input::Command { op, command } => match command {
                Command::Shutdown => ledger.hosts[self.host.index()].stopping = true,
                _ => ledger.events.push((at, self.host, Event::Began(*op))),
            },
            Input::StreamOpened { stream, .. } => self.opened(*stream, &mut ledger),
            Input::StreamFailed { stream, reason } => {
                self.opened(*stream, &mut ledger);
                let name = match reason {
                    OpenFailure::NoAddress => "failed_no_address",
                    OpenFailure::Unreachable => "failed_unreachable",
                    OpenFailure::Timeout => "failed_timeout",
                    OpenFailure::Handshake => "failed_handshake",
                    OpenFailure::InvalidKey => "failed_invalid_key",
                    OpenFailure::Overloaded => "failed_overloaded",
                    OpenFailure::Closing => "failed_closing",
                    _ => "failed_otherwise",
                };
                ledger.coverage.count(name, 1);
                let (host, stopping) = (self.host, ledger.hosts[self.host.index()].stopping);
                if *reason == OpenFailure::Closing && !stopping {
                    let what = format_args!("{host}: an open failed as if the host shut down");
                    ledger.violations.note(at, what);
                }
            }
            Input::StreamClosed { end, .. } => match end {
                StreamEnd::Finished => {}
                StreamEnd::Reset => ledger.coverage.count("streams_reset", 1),
                StreamEnd::Lost => ledger.coverage.count("streams_lost", 1),
            },
            _ => {}
        }
    }

    fn output(&mut self, output: &Output) {
        self.digest.output(output);
        let at = sim_time(self.now.mono);
        let shared = self.shared.clone();
        let mut guard = shared.lock();
        let ledger = &mut *guard;
        match output {
            Output::OpenStream { stream, .. } => {
                self.opening.insert(*stream, self.now.mono);
            }
            Output::CloseStream { stream, reason } => {
                let name = match reason {
                    CloseReason::Cancelled => "opens_cancelled",
                    _ => "opens_given_up",
                };
                let opening = self.opening.remove(stream).is_some();
                ledger.coverage.count(name, u64::from(opening));
            }
            Output::Persist { what, .. } => {
                let seen = &mut ledger.hosts[self.host.index()];
                match what {
                    StoreChange::Keep(record) => {
                        seen.disk.insert(record.target, (**record).clone());
                    }
                    StoreChange::Forget(target) => drop(seen.disk.remove(target)),
                }
                let event = Event::Stored(self.now.unix, what.clone());
                ledger.events.push((at, self.host, event));
            }
            Output::Finished { op, outcome } if *outcome != Outcome::Shutdown => {
                ledger.events.push((at, self.host, Event::Finished(*op)));
            }
            _ => {}
        }
    }

    fn drained(&mut self, deadline: Option<Deadline>, _: Vec<Signature>) {
        self.digest.deadline(deadline);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let value = (self.inputs, self.digest.value());
        let mut ledger = self.shared.lock();
        ledger.lives.insert((self.host, self.life), value);
    }
}
