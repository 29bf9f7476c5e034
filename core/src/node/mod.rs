//! The node: every event enters through [`Node::handle`], every action leaves through
//! [`Node::poll_output`], and [`Node::next_deadline`] says when to call `handle` again.
//!
//! `docs/architecture.md` describes the layers, from `ids` and `context` at the bottom to
//! `operations` at the top; this module passes inputs to layers, and results to their initiators.

mod base;
mod config;
mod context;
mod counters;
mod ids;
mod inbound;
mod input;
mod items;
mod limits;
mod loading;
mod lru_map;
mod measurements;
mod operations;
mod outcome;
mod output;
mod peers;
mod query;
mod refusal_text;
mod replication;
mod rpc;
mod snapshot;
mod timers;
mod upkeep;
mod verify;

use alloc::vec::Vec;
use core::time::Duration;

pub use config::*;
pub use counters::*;
pub use ids::{ChangeId, JobId, OperationId, ProbeId, StreamId};
pub use input::*;
pub use limits::*;
pub use measurements::{
    By, CallOutcome, Direction, Histogram, Key, Label, Measurements, OperationKind,
    OperationOutcome, RepairOutcome, Scale, ServedOutcome, Side, SyncKind, SyncResult, Task,
    VerifyOutcome,
};
pub use outcome::*;
pub use output::*;
pub use peers::{PACE, PROVE_AFTER, PROVE_GRACE, PeersClock};
pub use snapshot::*;
pub use verify::*;

use crate::key::{PublicKey, Signature};
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::ids::{CallTag, StopReason, VerifyTag};
use crate::node::inbound::Inbound;
use crate::node::operations::Operations;
use crate::node::query::Queries;
use crate::node::replication::{Replication, Sessions, adverts};
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::node::upkeep::Upkeep;
use crate::random::Seed;
use crate::time::{Mono, Time};
use crate::wire::Response;

/// The monotonic clock has jumped if it reads this much later than the deadline that was due.
const CLOCK_JUMP: Duration = Duration::from_secs(60);
/// Maximum number of timers fired in one `handle`.
const TIMER_STEP: usize = 256;

/// The DHT as a state machine.
///
/// After every [`Node::handle`], drain [`Node::poll_output`] until it is empty, then sleep until
/// [`Node::next_deadline`].
pub struct Node {
    base: Base,
    started: bool,
    inbound: Inbound,
    queries: Queries,
    operations: Operations,
    upkeep: Upkeep,
    replication: Replication,
}

impl Node {
    /// Creates a node at `now`. It does nothing before the first [`Node::handle`].
    ///
    /// # Errors
    /// The first field of `config` that is out of its range or holds an invalid key.
    pub fn new(
        config: Config,
        identity: Identity,
        seed: Seed,
        now: Time,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let cx = Context::new(config, identity, &seed, now);
        let hash_seed = seed.stream("hash").next();
        Ok(Self {
            base: Base::new(cx, &seed, hash_seed),
            started: false,
            inbound: Inbound::new(hash_seed),
            queries: Queries::default(),
            operations: Operations::default(),
            upkeep: Upkeep::default(),
            replication: Replication::default(),
        })
    }

    /// Takes one input and does a bounded amount of work.
    ///
    /// Timers and expiry run in steps; while any are due, [`Node::next_deadline`] is in the past.
    ///
    /// # Errors
    /// The driver broke the contract, see [`Misuse`]. The input was not taken.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Result<(), Misuse> {
        if self.base.cx.outputs.len() >= self.base.cx.config.limits.outputs {
            self.base.cx.hit(Limit::outputs);
            return Err(Misuse::OutputNotDrained(self.base.cx.outputs.len()));
        }
        self.advance_clock(now);
        if !self.started {
            self.started = true;
            self.bootstrap();
            self.upkeep.start(&mut self.base);
            Sessions::schedule_first(&mut self.base);
            adverts::start(&mut self.base);
        }
        match input {
            Input::StreamOpened { stream, path } => {
                let opened = self
                    .base
                    .calls
                    .stream_opened(&mut self.base.cx, stream, path);
                if let Some(peer) = opened {
                    self.base.peers.note_path(&self.base.cx, &peer, path);
                }
            }
            Input::StreamFailed { stream, reason } => {
                let calls = &mut self.base.calls;
                let ended = calls.stream_failed(&mut self.base.cx, stream, reason);
                self.call_ended(ended);
            }
            Input::StreamAccepted { stream, peer, path } => {
                if !self.inbound.is_fresh(stream) {
                    return Err(Misuse::StreamNumber(stream));
                }
                self.inbound.accept(&mut self.base, stream, peer, path);
            }
            Input::Bytes { stream, bytes } => {
                let cx = &mut self.base.cx;
                cx.counters.add(Counter::BytesIn, bytes.len() as u64);
                if stream.is_ours() {
                    let ended = self.base.calls.bytes(cx, stream, &bytes);
                    self.call_ended(ended);
                } else {
                    self.inbound.bytes(&mut self.base, stream, &bytes);
                }
            }
            Input::Sent { stream } => self.inbound.sent(&mut self.base, stream),
            Input::StreamClosed { stream, end } => {
                let Base {
                    cx, calls, peers, ..
                } = &mut self.base;
                if stream.is_ours() {
                    let ended = calls.stream_closed(cx, &mut peers.store, stream, end);
                    self.call_ended(ended);
                } else {
                    self.inbound.stream_closed(cx, stream);
                }
            }
            Input::Command { op, command } => self.command(op, command)?,
            Input::Cancel { op } => self.stop_operation(op, StopReason::Cancelled),
            Input::Verified { job, verdict } => self.verified(job, verdict)?,
            Input::Loaded { record, proven } => self.base.load(*record, proven),
            Input::MarkLoaded { mark } => {
                let Base { cx, items, .. } = &mut self.base;
                items.load_mark(cx, &mark);
            }
            Input::LoadedUpTo { next } => {
                let Base { cx, loading, .. } = &mut self.base;
                loading.advance(cx, next);
            }
            Input::TargetLoaded { target, read } => {
                let Base { cx, loading, .. } = &mut self.base;
                loading.answered(cx, target, read);
            }
            Input::Persisted { change, durable } => {
                if !self.base.items.is_change(change) {
                    return Err(Misuse::UnknownChange(change));
                }
                if !durable {
                    self.base.cx.counters.count(Counter::NotDurable);
                }
            }
            Input::Probed { probe, result } => {
                self.base.peers.probed(&mut self.base.cx, probe, result)?;
            }
            Input::TimerFired => self.inbound.run_backlog(&mut self.base),
            Input::SetFullNode { full_node } => {
                let (base, queries) = (&mut self.base, &mut self.queries);
                self.replication.set_full_node(base, queries, full_node);
                self.queries_ended();
            }
        }
        self.loads_ended();
        for notice in self.inbound.take_sync_notices() {
            self.replication.on_sync_notice(&mut self.base, &notice);
        }
        self.syncs_ended();
        if self.base.cx.stopping {
            // A late verdict still stores its item, but nothing is scheduled any more.
            self.base.cx.timers.clear();
        } else {
            self.replication.offers.gather(&mut self.base);
            self.replication.handover.note(&mut self.base);
            self.items_changed();
            self.fire_timers();
            self.syncs_ended();
        }
        self.items_changed();
        let Base { cx, items, .. } = &mut self.base;
        items.persist_marks(cx);
        Ok(())
    }

    /// Returns the next action for the driver. Drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.base.cx.outputs.pop_front()
    }

    /// When to send [`Input::TimerFired`]; `None` while nothing is scheduled.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        let timer = self.base.cx.timers.next();
        if self.base.cx.stopping {
            return timer;
        }
        let at = |at, why| Deadline { at, why };
        if self.inbound.requests_due(&self.base) {
            return Some(at(self.base.cx.now.mono, WakeReason::Requests));
        }
        let call = self.base.calls.next_deadline();
        let call = call.map(|(due, _)| at(due, WakeReason::Call));
        let stream = self.next_stream_deadline();
        let stream = stream.map(|(due, _)| at(due, WakeReason::Stream));
        let relief = self.inbound.next_relief();
        let relief = relief.map(|due| at(due.max(self.base.cx.now.mono), WakeReason::Requests));
        let all = [call, stream, relief, timer].into_iter().flatten();
        all.min_by_key(|deadline| deadline.at)
    }

    fn next_stream_deadline(&self) -> Option<(Mono, StreamId)> {
        let kept = self.base.calls.next_stream_deadline();
        let accepted = self.inbound.next_deadline();
        kept.into_iter().chain(accepted).min()
    }

    /// Sets the time, whose monotonic part never goes back, and detects a jump of the clock.
    fn advance_clock(&mut self, mut now: Time) {
        if now.mono < self.base.cx.now.mono {
            self.base.cx.counters.count(Counter::ClockWentBack);
            now.mono = self.base.cx.now.mono;
        }
        let due = self.next_deadline();
        let due = due.map(|deadline| deadline.at.max(self.base.cx.now.mono));
        self.base.cx.now = now;
        if self.started && due.is_some_and(|due| now.mono.since(due) > CLOCK_JUMP) {
            self.upkeep.clock_jumped(&mut self.base);
        }
    }

    fn fire_timers(&mut self) {
        for _ in 0..TIMER_STEP {
            let now = self.base.cx.now.mono;
            let call = self.base.calls.next_deadline();
            if let Some((_, call)) = call.filter(|(at, _)| *at <= now) {
                let ended = self.base.calls.timed_out(&mut self.base.cx, call);
                self.call_ended(ended);
                continue;
            }
            if let Some((_, stream)) = self.next_stream_deadline().filter(|(at, _)| *at <= now) {
                if stream.is_ours() {
                    let cx = &mut self.base.cx;
                    self.base.calls.close(cx, stream, CloseReason::Idle);
                } else {
                    self.inbound.timed_out(&mut self.base, stream);
                }
                continue;
            }
            let Some(timer) = self.base.cx.timers.pop(now) else {
                return;
            };
            self.timer_fired(timer);
            self.queries_ended();
        }
    }

    fn timer_fired(&mut self, timer: Timer) {
        let Self {
            base,
            queries,
            operations,
            upkeep,
            replication,
            ..
        } = self;
        match timer {
            Timer::Query(query) => queries.advance(base, query),
            Timer::Operation(op) => self.stop_operation(op, StopReason::Timeout),
            Timer::Load(op) => {
                base.cx.counters.count(Counter::LoadsLate);
                operations.start_loaded(base, queries, op);
            }
            Timer::Watch(op) => operations.watch_due(base, queries, op),
            Timer::Put(target) => operations.start_next_put(base, queries, target),
            Timer::Bootstrap => self.bootstrap(),
            Timer::SelfLookup => upkeep.look_up_self(base, queries),
            Timer::Refresh => upkeep.refresh(base, queries),
            Timer::Prove => base.prove_peers(),
            Timer::Reconcile => replication.sessions.start_due(base),
            Timer::SyncRoom(sync) => replication.sessions.advance(base, sync),
            Timer::Offer => replication.offers.send(base),
            Timer::HandOver => replication.handover.advance(base),
            Timer::Advert => adverts::publish(base, queries),
            Timer::Expiry => base.expire(),
            Timer::Trim => base.trim_store(),
            Timer::Renewal(target) => {
                if let Some((placed, mode)) = base.items.renew_own(&mut base.cx, target) {
                    queries.renew(base, placed, mode);
                }
            }
        }
    }

    fn loads_ended(&mut self) {
        for need in self.base.loading.take_ended() {
            self.inbound.loaded(&mut self.base, need);
            for op in self.operations.waiting_for(need) {
                self.operations
                    .start_loaded(&mut self.base, &mut self.queries, op);
                self.queries_ended();
            }
        }
    }

    /// Passes the results of finished queries to their operations, which may start further queries.
    fn queries_ended(&mut self) {
        while let Some(ended) = self.queries.pop_ended() {
            match ended.query.op {
                Some(op) => {
                    let (base, queries) = (&mut self.base, &mut self.queries);
                    self.operations.query_ended(base, queries, op, &ended);
                }
                None => self.upkeep.self_lookup_ended(&mut self.base, &ended),
            }
        }
    }

    /// Informs waiting requests and watches of items that have changed.
    fn items_changed(&mut self) {
        while let Some(target) = self.base.items.pop_changed_target() {
            self.inbound.item_changed(&mut self.base, target);
            self.operations.item_changed(&mut self.base, target);
        }
    }

    /// Passes the results of reconciliation sessions to the operations that wait for them.
    fn syncs_ended(&mut self) {
        for ended in self.replication.sessions.take_ended() {
            self.operations.sync_ended(&mut self.base.cx, ended);
        }
    }

    fn bootstrap(&mut self) {
        self.upkeep.bootstrap(&mut self.base);
        self.bootstrap_step_ended();
    }

    fn bootstrap_ended(&mut self, peer: &PublicKey, answered: bool) {
        self.upkeep.bootstrap_ended(&mut self.base, peer, answered);
        if answered {
            self.resume_waiting();
            self.join();
        }
        self.bootstrap_step_ended();
    }

    fn bootstrap_step_ended(&mut self) {
        if self.base.peers.probing.bootstrapping > 0 {
            return;
        }
        let pause = self.upkeep.end_bootstrap_round(&self.base);
        if self.base.peers.table.has_live() {
            // Possibly no bootstrap peer answered, but other peers have found this node.
            self.join();
        }
        self.resume_waiting();
        self.upkeep.schedule_bootstrap(&mut self.base, pause);
    }

    fn join(&mut self) {
        if !self.upkeep.is_ready() {
            self.upkeep.look_up_self(&mut self.base, &mut self.queries);
            self.queries_ended();
        }
    }

    /// Resumes operations that waited for a first peer, once one is known or no attempt is left.
    fn resume_waiting(&mut self) {
        if self.base.peers.awaits_first_peer() {
            return;
        }
        for op in self.operations.take_waiting() {
            let (base, queries) = (&mut self.base, &mut self.queries);
            self.operations.resume(base, queries, op);
            self.queries_ended();
        }
    }

    fn stop_operation(&mut self, op: OperationId, reason: StopReason) {
        let (base, queries) = (&mut self.base, &mut self.queries);
        self.operations.stop(base, queries, op, reason);
        self.queries_ended();
        let cx = &mut self.base.cx;
        self.operations.finish_stopped(cx, op, reason);
    }

    fn command(&mut self, op: OperationId, command: Command) -> Result<(), Misuse> {
        self.operations.number(op)?;
        self.base.cx.counters.count(Counter::Operations);
        if matches!(command, Command::Shutdown) {
            self.shut_down();
            let outcome = Outcome::Shutdown;
            self.base.cx.output(Output::Finished { op, outcome });
        } else {
            let sync = match command {
                Command::Sync { peer, .. } => Some(peer),
                _ => None,
            };
            let (base, queries) = (&mut self.base, &mut self.queries);
            self.operations.command(base, queries, op, command);
            if let Some(peer) = sync
                && self.operations.wants_sync(&mut self.base, op)
            {
                let peers = self.replication.sessions.request(&mut self.base, peer);
                self.operations.sync_started(&mut self.base.cx, op, peers);
            }
            self.queries_ended();
        }
        Ok(())
    }

    fn shut_down(&mut self) {
        self.base.cx.stopping = true;
        for op in self.operations.ids() {
            self.stop_operation(op, StopReason::Shutdown);
        }
        self.replication.sessions.stop(&mut self.base);
        self.replication.offers.stop();
        for query in self.queries.ids() {
            let base = &mut self.base;
            self.queries.stop(base, query, StopReason::Shutdown);
            self.queries_ended();
        }
        for call in self.base.calls.ids() {
            self.base.abandon(call);
        }
        let mut streams = self.base.calls.stream_ids();
        streams.extend(self.inbound.stream_ids());
        streams.sort_unstable();
        for stream in streams {
            let cx = &mut self.base.cx;
            if stream.is_ours() {
                self.base.calls.close(cx, stream, CloseReason::Shutdown);
            } else {
                self.inbound.close(cx, stream, CloseReason::Shutdown);
            }
        }
        self.base.cx.timers.clear();
    }

    /// Records what a finished call says about its peer, then passes the answer to its caller.
    fn call_ended(&mut self, ended: Option<CallEnded>) {
        let Some(ended) = ended else { return };
        let Base {
            cx, calls, peers, ..
        } = &mut self.base;
        peers.note_call(cx, calls, &ended);
        let (answered, key) = (ended.result.is_ok(), ended.peer.key);
        if let Ok(message) = &ended.result {
            let full = message.ext.as_ref().is_some_and(|ext| ext.full_node);
            let most = cx.config.limits.full_nodes;
            if peers.store.note_full_node(&key, full, most) {
                Sessions::schedule_soon(&mut self.base);
            }
        }
        let Base { cx, peers, .. } = &mut self.base;
        match ended.tag {
            CallTag::Step(query) => {
                if let Ok(message) = &ended.result
                    && let Response::FindNode { closest } = &message.response
                    && self.queries.is_self_lookup(query)
                {
                    self.upkeep
                        .filler
                        .collect_candidates(&self.base, &closest.peers);
                }
                self.queries.step_ended(&mut self.base, query, ended);
            }
            CallTag::Replica { query, step } => {
                self.queries
                    .replica_ended(&mut self.base, query, step, ended);
            }
            CallTag::Ping(op) => {
                if answered {
                    // The user named a peer through which this node can join the network.
                    self.join();
                }
                self.operations.ping_ended(&mut self.base.cx, op, &ended);
            }
            CallTag::Poll(op) => self.operations.poll_ended(&mut self.base, op, ended),
            CallTag::Bootstrap => self.bootstrap_ended(&key, answered),
            CallTag::PingBack => {
                peers.ping_back_ended(cx, &key, answered);
                self.resume_waiting();
            }
            CallTag::Reconcile(sync) => {
                let sessions = &mut self.replication.sessions;
                sessions.call_ended(&mut self.base, sync, ended);
            }
            CallTag::Offer(sync) => {
                let offers = &mut self.replication.offers;
                offers.call_ended(&mut self.base, sync, ended);
            }
            CallTag::Proof if answered => cx.measured.task_succeeded(Task::Prove, cx.now.mono),
            CallTag::Eviction | CallTag::Proof | CallTag::Fill | CallTag::Given => {}
            CallTag::Repair => cx.measured.repaired(ended.result.as_ref().ok()),
            CallTag::HandOver => {
                let handover = &mut self.replication.handover;
                handover.call_ended(&mut self.base, &ended);
            }
        }
        self.queries_ended();
    }

    /// Passes the verdict on a signature to whatever waits for it.
    fn verified(&mut self, job: JobId, verdict: Verdict) -> Result<(), Misuse> {
        let (peer, tag) = {
            let Base { cx, jobs, .. } = &mut self.base;
            jobs.end(cx, job, &verdict)?
        };
        self.inbound.job_ended(&peer);
        match tag {
            VerifyTag::Get(query) => self.queries.verified(&mut self.base, query, job, &verdict),
            VerifyTag::Put(stream) => {
                self.inbound
                    .put_verified(&mut self.base, stream, &peer, job, verdict);
            }
            VerifyTag::Batch { stream, index } => {
                let place = (stream, index);
                self.inbound
                    .batch_verified(&mut self.base, place, &peer, job, verdict);
            }
            VerifyTag::Signed(op) => {
                let (base, queries) = (&mut self.base, &mut self.queries);
                self.operations
                    .signed_verified(base, queries, op, job, verdict);
            }
            VerifyTag::Loaded => self.base.load_verified(job, verdict),
            VerifyTag::Synced(sync) => {
                let sessions = &mut self.replication.sessions;
                sessions.verified(&mut self.base, sync, job, verdict);
            }
        }
        self.queries_ended();
        self.base.jobs.hand_out(&mut self.base.cx);
        Ok(())
    }

    /// Keeps every signature that the node makes from now on for [`Node::take_signatures`], so that
    /// a journal can be replayed without the secret key. Call it before the first input.
    pub fn record_signatures(&mut self) {
        self.base.cx.record_signatures();
    }

    /// Returns the signatures made since the last call; empty unless [`Node::record_signatures`]
    /// was called. A recorder calls this after each drain, which keeps the list short.
    pub fn take_signatures(&mut self) -> Vec<Signature> {
        self.base.cx.take_signatures()
    }

    /// Supplies signatures to use, in this order, in place of signing.
    pub(crate) fn load_signatures(&mut self, signatures: &[Signature]) {
        self.base.cx.load_signatures(signatures);
    }
}

#[cfg(test)]
mod tests;
