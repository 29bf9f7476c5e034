//! Hosts joined by perfect streams of one latency, for unit tests.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{
    Command, Input, OpenFailure, OperationId, Outcome, Output, Path, Reach, StreamEnd, StreamId,
};
use skydht_core::time::{Mono, Time, Unix};

use crate::host::Host;

/// One way.
pub(crate) const LATENCY: Duration = Duration::from_millis(50);
const START: u64 = 1_000_000_000;

/// Where a stream's other end is.
type End = (usize, StreamId);

/// What arrives.
enum Arrival {
    Opened(StreamId),
    Failed(StreamId, OpenFailure),
    Accept(usize, StreamId),
    Bytes(StreamId, Vec<u8>),
    Closed(StreamId, StreamEnd),
    Verified(Input<'static>),
}

/// The hosts and everything between them.
pub(crate) struct Exchange<H> {
    pub(crate) hosts: Vec<H>,
    now: Mono,
    /// Hosts that had their first input.
    started: usize,
    serial: u64,
    arrivals: BTreeMap<(Mono, u64), (usize, Arrival)>,
    ends: BTreeMap<End, End>,
    next_accepted: u64,
    next_op: u64,
    finished: BTreeMap<OperationId, Outcome>,
    /// Keys that nothing reaches and whose dials never end.
    pub(crate) black_holes: BTreeSet<PublicKey>,
    /// Streams that each host asked for.
    pub(crate) dials: Vec<(usize, PublicKey)>,
    /// What each host sent, by host and stream.
    pub(crate) sent: BTreeMap<End, Vec<u8>>,
}

impl<H: Host> Exchange<H> {
    pub(crate) fn new(hosts: Vec<H>) -> Self {
        Self {
            hosts,
            now: Mono(START),
            started: 0,
            serial: 0,
            arrivals: BTreeMap::new(),
            ends: BTreeMap::new(),
            next_accepted: 1,
            next_op: 1,
            finished: BTreeMap::new(),
            black_holes: BTreeSet::new(),
            dials: Vec::new(),
            sent: BTreeMap::new(),
        }
    }

    /// The start, for making hosts.
    pub(crate) fn start() -> Time {
        Self::time(Mono(START))
    }

    fn time(mono: Mono) -> Time {
        let unix = Unix(Unix::BUILD.0 + 100 * 86_400_000_000_000 + mono.0);
        Time { mono, unix }
    }

    pub(crate) fn now(&self) -> Time {
        Self::time(self.now)
    }

    /// Runs until something was asked for or `time` is over.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// A node does nothing before its first input.
    fn begin_all(&mut self) {
        while self.started < self.hosts.len() {
            self.started += 1;
            self.input(self.started - 1, Input::TimerFired);
        }
    }

    /// A command, to its end.
    pub(crate) fn ask(&mut self, host: usize, command: Command) -> (Outcome, Duration) {
        let op = self.begin(host, command);
        let began = self.now;
        self.run_until(Duration::from_secs(3_600), |it| {
            it.finished.contains_key(&op)
        });
        let outcome = self.finished.remove(&op).expect("finished in an hour");
        (outcome, self.now.since(began))
    }

    pub(crate) fn begin(&mut self, host: usize, command: Command) -> OperationId {
        self.begin_all();
        let op = OperationId(self.next_op);
        self.next_op += 1;
        self.input(host, Input::Command { op, command });
        op
    }

    /// How an operation ended, if it did.
    pub(crate) fn outcome(&mut self, op: OperationId) -> Option<Outcome> {
        self.finished.remove(&op)
    }

    /// Opens a stream from nowhere to `host` and gives it these bytes; the answer is in `sent`.
    pub(crate) fn knock(&mut self, host: usize, peer: PublicKey, bytes: &[u8]) -> StreamId {
        let stream = self.accepted();
        let path = path();
        self.input(host, Input::StreamAccepted { stream, peer, path });
        let bytes = Cow::Owned(bytes.to_vec());
        self.input(host, Input::Bytes { stream, bytes });
        stream
    }

    fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) {
        self.begin_all();
        let end = self.now.plus(time);
        while !done(self) {
            let timers = self.hosts.iter().enumerate();
            let timer = timers
                .filter_map(|(i, it)| Some((it.next_deadline()?, i)))
                .min();
            let arrival = self.arrivals.first_key_value().map(|((at, _), _)| *at);
            let next = timer.map(|(at, _)| at).into_iter().chain(arrival).min();
            let Some(next) = next.filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if arrival == Some(next) {
                let Some((_, (host, arrival))) = self.arrivals.pop_first() else {
                    return;
                };
                self.arrive(host, arrival);
            } else if let Some((_, host)) = timer {
                self.input(host, Input::TimerFired);
            }
        }
    }

    fn arrive(&mut self, host: usize, arrival: Arrival) {
        let path = path();
        match arrival {
            Arrival::Opened(stream) if self.ends.contains_key(&(host, stream)) => {
                self.input(host, Input::StreamOpened { stream, path });
            }
            Arrival::Accept(from, ours) if self.ends.contains_key(&(from, ours)) => {
                let Some((_, stream)) = self.ends.get(&(from, ours)).copied() else {
                    return;
                };
                let peer = self.hosts[from].key();
                self.input(host, Input::StreamAccepted { stream, peer, path });
            }
            Arrival::Failed(stream, reason) => {
                self.input(host, Input::StreamFailed { stream, reason });
            }
            Arrival::Bytes(stream, bytes) if self.ends.contains_key(&(host, stream)) => {
                let bytes = Cow::Owned(bytes);
                self.input(host, Input::Bytes { stream, bytes });
            }
            Arrival::Closed(stream, end) if self.ends.remove(&(host, stream)).is_some() => {
                self.input(host, Input::StreamClosed { stream, end });
            }
            Arrival::Verified(input) => self.input(host, input),
            _ => {}
        }
    }

    fn accepted(&mut self) -> StreamId {
        self.next_accepted += 2;
        StreamId(self.next_accepted)
    }

    fn later(&mut self, times: u32, host: usize, arrival: Arrival) {
        self.serial += 1;
        let at = self.now.plus(LATENCY * times);
        self.arrivals.insert((at, self.serial), (host, arrival));
    }

    fn input(&mut self, host: usize, input: Input<'_>) {
        let now = self.now();
        self.hosts[host].handle(now, input);
        while let Some(output) = self.hosts[host].poll_output() {
            self.output(host, output);
        }
    }

    fn output(&mut self, host: usize, output: Output) {
        match output {
            Output::OpenStream { stream, peer, .. } => {
                self.dials.push((host, peer));
                let other = self.hosts.iter().position(|it| it.key() == peer);
                match other {
                    _ if self.black_holes.contains(&peer) => {}
                    Some(other) => {
                        let accepted = (other, self.accepted());
                        self.ends.insert((host, stream), accepted);
                        self.ends.insert(accepted, (host, stream));
                        self.later(1, other, Arrival::Accept(host, stream));
                        self.later(2, host, Arrival::Opened(stream));
                    }
                    None => {
                        let reason = OpenFailure::Unreachable;
                        self.later(2, host, Arrival::Failed(stream, reason));
                    }
                }
            }
            Output::Send { stream, bytes } => {
                let sent = self.sent.entry((host, stream)).or_default();
                sent.extend_from_slice(&bytes);
                if let Some((other, theirs)) = self.ends.get(&(host, stream)).copied() {
                    self.later(1, other, Arrival::Bytes(theirs, bytes.to_vec()));
                }
                self.input(host, Input::Sent { stream });
            }
            Output::CloseStream { stream, reason } => {
                let end = match reason.is_graceful() {
                    true => StreamEnd::Finished,
                    false => StreamEnd::Reset,
                };
                if let Some((other, theirs)) = self.ends.remove(&(host, stream)) {
                    self.later(1, other, Arrival::Closed(theirs, end));
                }
            }
            Output::Verify { job, work } => {
                let verdict = work.run();
                let verified = Input::Verified { job, verdict };
                self.later(0, host, Arrival::Verified(verified));
            }
            Output::Finished { op, outcome } => {
                let before = self.finished.insert(op, outcome);
                assert!(before.is_none(), "{op} finished twice");
            }
            _ => {}
        }
    }
}

fn path() -> Path {
    Path {
        reach: Reach::Relayed,
        remote: None,
    }
}
