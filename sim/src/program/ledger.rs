//! What is seen at the one door of every node, and what users were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::journal::{Digest, Header, RunDigest};
use skydht_core::key::Signature;
use skydht_core::node::{
    CloseReason, Command, Deadline, Input, OPERATION_TIMEOUT, OpenFailure, Output, StoreChange,
    StreamEnd, StreamId,
};
use skydht_core::record::StoredRecord;
use skydht_core::time::{Mono, Time};
use skydht_driver::Recorder;

use super::users::Ended;
use crate::clock::SimTime;
use crate::coverage::Coverage;
use crate::network::HostId;
use crate::oracle::Violations;
use crate::oracle::holdings::Holdings;
use crate::oracle::operations::Operations;

/// An open that takes longer counts as slow: within it one address is tried and given up.
const SLOW_OPEN: Duration = Duration::from_secs(8);

/// Virtual time is the world's; every host's monotonic clock shows it.
pub(super) const fn sim_time(mono: Mono) -> SimTime {
    SimTime(mono.0)
}

/// What one host left behind, over all its lives.
#[derive(Default)]
pub(super) struct Seen {
    /// What its node asked to persist.
    pub(super) disk: BTreeMap<Target, StoredRecord>,
    /// Operations of the node that runs.
    pub(super) operations: Operations,
    /// Users that wait for an answer of that node.
    pub(super) asking: usize,
    /// It shuts down.
    pub(super) stopping: bool,
}

/// Everything that was seen, on all hosts.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) hosts: Vec<Seen>,
    pub(super) holdings: Holdings,
    pub(super) evicted: bool,
    pub(super) violations: Violations,
    pub(super) coverage: Coverage,
    pub(super) ended: Vec<Ended>,
    pub(super) inputs: u64,
    /// Of each life of each host: how many inputs, and the running digest of its outputs.
    pub(super) lives: BTreeMap<(HostId, u32), (u64, Digest)>,
}

/// The ledger, shared by all nodes. One thread runs them, so nobody ever waits for it.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<Ledger>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches one life of a host.
    pub(super) fn watch(&self, host: HostId, life: u32) -> Box<dyn Recorder> {
        let seen = &mut self.lock().hosts[host.index()];
        seen.operations = Operations::default();
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
    shared: Shared,
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
            Input::Command { op, command } => {
                let seen = &mut ledger.hosts[self.host.index()];
                match command {
                    Command::Shutdown => seen.stopping = true,
                    _ => seen.operations.started(at, *op, OPERATION_TIMEOUT),
                }
            }
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
                let (host, evicted, unix) = (self.host, ledger.evicted, self.now.unix);
                let violations = &mut ledger.violations;
                ledger
                    .holdings
                    .changed(at, host, unix, what, evicted, violations);
            }
            Output::Finished { op, outcome } => {
                let seen = &mut ledger.hosts[self.host.index()];
                if *outcome != skydht_core::node::Outcome::Shutdown {
                    seen.operations.finished(at, *op, &mut ledger.violations);
                }
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
