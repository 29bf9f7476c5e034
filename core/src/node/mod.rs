//! The node: one door in, one door out.
//!
//! [`Node::handle`] takes everything that can happen, [`Node::poll_output`] gives everything to
//! be done, [`Node::next_deadline`] says when to come back. From the ground up: `ids` (numbers and
//! tags), `rpc` (streams, calls, signatures being checked), `peers` (what is remembered of them,
//! who enters the table), `items` (their way into the store, own items), `inbound` (requests of
//! peers), `query` (lookups and what they are for), `upkeep` (bootstrap, refresh), `operations`
//! (what users asked for).

mod config;
mod context;
mod counters;
mod ids;
mod inbound;
mod input;
mod items;
mod limits;
mod lru_map;
mod operations;
mod outcome;
mod output;
mod peers;
mod query;
mod refusal_text;
mod rpc;
mod snapshot;
mod timers;
mod upkeep;
mod verify;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

pub use config::*;
pub use counters::*;
pub use ids::{ChangeId, JobId, OperationId, ProbeId, StreamId};
pub use input::*;
pub use limits::*;
pub use outcome::*;
pub use output::*;
pub use peers::{PACE, PROVE_AFTER, PROVE_GRACE, PeersClock};
pub use snapshot::*;
pub use verify::*;

use crate::key::Signature;
use crate::node::context::Context;
use crate::node::ids::{CallId, QueryId, StopReason};
use crate::node::inbound::backlog::Backlog;
use crate::node::items::Items;
use crate::node::operations::Operations;
use crate::node::peers::Probing;
use crate::node::peers::clocks::PeerClocks;
use crate::node::peers::records::PeerStore;
use crate::node::query::Query;
use crate::node::rpc::callers::Callers;
use crate::node::rpc::calls::Call;
use crate::node::rpc::jobs::Jobs;
use crate::node::rpc::streams::{State, Streams};
use crate::node::timers::Timer;
use crate::node::upkeep::Upkeep;
use crate::random::Seed;
use crate::routing::Table;
use crate::time::{Mono, Time};

/// A monotonic clock that is this far beyond the deadline it was woken for has jumped.
const CLOCK_JUMP: Duration = Duration::from_secs(60);
/// Timers fired in one `handle`.
const TIMER_STEP: usize = 256;

/// The DHT as a state machine. After every [`Node::handle`], drain [`Node::poll_output`]
/// until it is empty, then sleep until [`Node::next_deadline`].
pub struct Node {
    cx: Context,
    started: bool,
    table: Table,
    book: PeerStore,
    streams: Streams,
    /// Boxed, as queries are: a tree keeps room for eleven, most nodes have one or none.
    calls: BTreeMap<CallId, Box<Call>>,
    /// The call whose hard deadline is next.
    first_call: Option<(Mono, CallId)>,
    next_call: u64,
    queries: BTreeMap<QueryId, Box<Query>>,
    next_query: u64,
    operations: Operations,
    jobs: Jobs,
    /// Slots that are taken.
    serving: usize,
    backlog: Backlog,
    callers: Callers,
    items: Items,
    probing: Probing,
    peer_clocks: PeerClocks,
    upkeep: Upkeep,
}

impl Node {
    /// A node at `now`. It does nothing before the first [`Node::handle`].
    ///
    /// # Errors
    /// A field of `config` that cannot be.
    pub fn new(
        config: Config,
        identity: Identity,
        seed: Seed,
        now: Time,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let cx = Context::new(config, identity, &seed, now);
        let (config, id) = (&cx.config, cx.id);
        let limits = &config.limits;
        let mut book = PeerStore::new(limits.known_peers, seed.stream("book").next());
        for peer in &config.bootstrap {
            book.pin(peer.key, &peer.addrs);
        }
        Ok(Self {
            started: false,
            table: Table::new(id, config.k, limits.replacements),
            book,
            streams: Streams::new(seed.stream("hash").next()),
            calls: BTreeMap::new(),
            first_call: None,
            next_call: 0,
            queries: BTreeMap::new(),
            next_query: 0,
            operations: Operations::default(),
            jobs: Jobs::default(),
            serving: 0,
            backlog: Backlog::default(),
            callers: Callers::new(limits.callers, seed.stream("callers").next()),
            items: Items::new(&cx),
            probing: Probing::default(),
            peer_clocks: PeerClocks::default(),
            upkeep: Upkeep::default(),
            cx,
        })
    }

    /// Takes one input. Bounded work: timers and expiry go in steps, and the deadline stays in
    /// the past until they are done.
    ///
    /// # Errors
    /// Only when the driver broke the contract; the input was not taken.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Result<(), Misuse> {
        if self.cx.outputs.len() >= self.cx.config.limits.outputs {
            self.cx.hit(Limit::outputs);
            return Err(Misuse::OutputNotDrained(self.cx.outputs.len()));
        }
        self.advance_clock(now);
        if !self.started {
            self.started = true;
            self.start_upkeep();
        }
        match input {
            Input::StreamOpened { stream, path } => self.stream_opened(stream, path),
            Input::StreamFailed { stream, reason } => self.stream_failed(stream, reason),
            Input::StreamAccepted { stream, peer, path } => {
                if !self.streams.is_fresh_theirs(stream) {
                    return Err(Misuse::StreamNumber(stream));
                }
                self.stream_accepted(stream, peer, path);
            }
            Input::Bytes { stream, bytes } => self.bytes(stream, &bytes),
            Input::Sent { stream } => self.served_sent(stream),
            Input::StreamClosed { stream, end } => self.stream_closed(stream, end),
            Input::Command { op, command } => self.command(op, command)?,
            Input::Cancel { op } => self.end_operation(op, StopReason::Cancelled),
            Input::Verified { job, verdict } => self.verified(job, verdict)?,
            Input::Loaded { record } => self.load(record),
            Input::Persisted { change, durable } => {
                if !self.items.is_change(change) {
                    return Err(Misuse::UnknownChange(change));
                }
                if !durable {
                    self.cx.counters.count(Counter::NotDurable);
                }
            }
            Input::Probed { probe, result } => self.probed(probe, result)?,
            Input::TimerFired => self.run_backlog(),
        }
        if self.cx.stopping {
            // A verdict that comes late still stores, but nothing is scheduled any more.
            self.cx.timers.clear();
            self.streams.clear_deadlines();
        } else {
            self.fire_timers();
        }
        Ok(())
    }

    /// The next thing to do. Drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.outputs.pop_front()
    }

    /// When to send [`Input::TimerFired`]; none while nothing will ever be due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        let timer = self.cx.timers.next();
        if self.cx.stopping {
            return timer;
        }
        let at = |at, why| Deadline { at, why };
        if self.requests_due() {
            return Some(at(self.cx.now.mono, WakeReason::Requests));
        }
        let call = self.first_call;
        let stream = self.streams.next_deadline();
        let call = call.map(|(due, _)| at(due, WakeReason::Call));
        let stream = stream.map(|(due, _)| at(due, WakeReason::Stream));
        let relief = self.next_relief();
        let relief = relief.map(|due| at(due.max(self.cx.now.mono), WakeReason::Requests));
        let all = [call, stream, relief, timer].into_iter().flatten();
        all.min_by_key(|deadline| deadline.at)
    }

    fn advance_clock(&mut self, mut now: Time) {
        if now.mono < self.cx.now.mono {
            self.cx.counters.count(Counter::ClockWentBack);
            now.mono = self.cx.now.mono;
        }
        let due = self
            .next_deadline()
            .map(|deadline| deadline.at.max(self.cx.now.mono));
        self.cx.now = now;
        if self.started && due.is_some_and(|due| now.mono.since(due) > CLOCK_JUMP) {
            self.clock_jumped();
        }
    }

    fn fire_timers(&mut self) {
        for _ in 0..TIMER_STEP {
            let now = self.cx.now.mono;
            if let Some((_, call)) = self.first_call.filter(|(at, _)| *at <= now) {
                self.call_timed_out(call);
                continue;
            }
            if let Some((_, stream)) = self.streams.next_deadline().filter(|(at, _)| *at <= now) {
                self.stream_timed_out(stream);
                continue;
            }
            let Some(timer) = self.cx.timers.pop(now) else {
                return;
            };
            match timer {
                Timer::Query(search) => self.advance_query(search),
                Timer::Operation(op) => self.end_operation(op, StopReason::Timeout),
                Timer::Put(target) => self.start_next_put(target),
                Timer::Bootstrap => self.bootstrap(),
                Timer::SelfLookup => self.look_around(),
                Timer::Refresh => self.refresh_buckets(),
                Timer::Prove => self.prove_peers(),
                Timer::Expiry => self.items.expire(&mut self.cx),
                Timer::Renewal(target) => {
                    if let Some((item, mode)) = self.items.renew_own(&mut self.cx, target) {
                        self.renew(target, item, mode);
                    }
                }
            }
        }
    }

    fn stream_opened(&mut self, id: StreamId, path: Path) {
        match self.streams.get(id).map(|stream| &stream.state) {
            Some(State::Opening(call)) => {
                let call = *call;
                self.call_opened(call, path);
            }
            _ => self.cx.counters.count(Counter::LateEvents),
        }
    }

    fn stream_failed(&mut self, id: StreamId, reason: OpenFailure) {
        match self.streams.get(id).map(|stream| &stream.state) {
            Some(State::Opening(call)) => {
                let call = *call;
                self.streams.remove(id);
                self.call_not_opened(call, reason);
            }
            _ => self.cx.counters.count(Counter::LateEvents),
        }
    }

    fn bytes(&mut self, id: StreamId, bytes: &[u8]) {
        self.cx.counters.add(Counter::BytesIn, bytes.len() as u64);
        match self.streams.get(id).map(|stream| &stream.state) {
            Some(State::Calling(call)) => {
                let call = *call;
                self.call_bytes(call, id, bytes);
            }
            Some(State::Served(_)) => self.served_bytes(id, bytes),
            // An answer that nobody asked for.
            Some(State::Kept) => {
                self.cx.counters.count(Counter::WrongMethod);
                self.close(id, CloseReason::Protocol);
            }
            Some(State::Opening(_)) | None => self.cx.counters.count(Counter::LateEvents),
        }
    }

    fn stream_closed(&mut self, id: StreamId, end: StreamEnd) {
        let Some(stream) = self.remove_stream(id) else {
            return self.cx.counters.count(Counter::LateEvents);
        };
        let mid_frame = stream.decoder.is_mid_frame();
        match stream.state {
            State::Calling(call) => self.call_closed(call, end, mid_frame),
            State::Opening(call) => self.call_not_opened(call, OpenFailure::Unreachable),
            State::Kept => {}
            State::Served(_) if mid_frame => self.cx.counters.count(Counter::FrameTruncated),
            State::Served(_) => {}
        }
    }

    /// Forgets a stream and what it used.
    fn remove_stream(&mut self, id: StreamId) -> Option<Box<rpc::streams::Stream>> {
        let stream = self.streams.remove(id)?;
        self.forget_request(id, &stream);
        Some(stream)
    }

    /// Closes a stream, unless it is gone.
    fn close(&mut self, stream: StreamId, reason: CloseReason) {
        if self.remove_stream(stream).is_some() {
            self.cx.output(Output::CloseStream { stream, reason });
        }
    }

    fn send(&mut self, stream: StreamId, bytes: Arc<[u8]>) {
        self.cx.counters.add(Counter::BytesOut, bytes.len() as u64);
        self.cx.output(Output::Send { stream, bytes });
    }

    /// From now on every signature that the node makes is kept for
    /// [`Node::take_signatures`], so that a journal can replay without the secret key. To be
    /// called before the first input.
    pub fn record_signatures(&mut self) {
        self.cx.record_signatures();
    }

    /// The signatures made since the last call; none unless [`Node::record_signatures`] was
    /// called. A recorder takes them after each drain, so that they stay few.
    pub fn take_signatures(&mut self) -> Vec<Signature> {
        self.cx.take_signatures()
    }

    /// Signatures to use instead of making them, in this order.
    pub(crate) fn load_signatures(&mut self, signatures: &[Signature]) {
        self.cx.load_signatures(signatures);
    }
}

#[cfg(test)]
mod tests;
