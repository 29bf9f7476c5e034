//! Commands of users: starting and stopping operations.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;

use crate::id::Target;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::ids::{CallTag, JobId, OperationId, StopReason, VerifyTag};
use crate::node::input::{Command, Path, Reach};
use crate::node::items::intake::Rejection;
use crate::node::limits::Limit;
use crate::node::operations::state::{
    Operation, OperationKind, OperationPhase, Operations, PutPlan, stopped,
};
use crate::node::outcome::{GetError, OperationError, Outcome, PingError, PingOutcome, PutError};
use crate::node::output::Output;
use crate::node::query::get::Get;
use crate::node::query::{Queries, Query, QueryKind};
use crate::node::rpc::calls::{CallEnded, CallFailure};
use crate::node::timers::Timer;
use crate::node::verify::Verdict;
use crate::store::{Candidate as StoreCandidate, Via};
use crate::time::Mono;
use crate::wire::Request;

impl Operations {
    /// Starts the operation of a command other than [`Command::Shutdown`].
    pub(crate) fn command(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        command: Command,
    ) {
        let cx = &mut base.cx;
        let (kind, timeout) = match &command {
            Command::Put { options, .. } | Command::PutSigned { options, .. } => {
                (OperationKind::Put, options.timeout)
            }
            Command::Get(request) => (OperationKind::Get, request.timeout),
            Command::FindNode { timeout, .. } => (OperationKind::FindNode, *timeout),
            Command::Ping { .. } => (OperationKind::Ping, None),
            Command::Sync { timeout, .. } => (OperationKind::Sync, *timeout),
            Command::Watch { request, .. } => (OperationKind::Watch, request.timeout),
            Command::Shutdown => return,
        };
        let refused = if cx.stopping {
            Some(OperationError::ShuttingDown)
        } else if self.running.len() >= cx.config.limits.operations {
            cx.hit(Limit::operations);
            Some(OperationError::Busy(self.running.len()))
        } else {
            None
        };
        if let Some(error) = refused {
            let outcome = kind.failed(error);
            let result = cx.measured.finished(&outcome);
            cx.measured.operations.count((kind, result));
            return cx.output(Output::Finished { op, outcome });
        }
        let now = cx.now.mono;
        let deadline = now.plus(timeout.unwrap_or(cx.config.operation_timeout));
        cx.timers.set(Timer::Operation(op), deadline);
        let operation = Operation {
            kind,
            phase: OperationPhase::New,
            started: now,
            item: None,
            plan: None,
            watching: None,
        };
        self.running.insert(op, operation);
        if let Some(command) = self.await_load(base, op, command, now) {
            self.start(base, queries, op, command, now);
        }
    }

    pub(super) fn start(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        command: Command,
        started: Mono,
    ) {
        match command {
            Command::Put {
                salt,
                value,
                options,
            } => {
                let target = options.target(&base.cx.public, &salt);
                let plan = Box::new(PutPlan::new(salt, value, options, started));
                // Puts of one item run one after another, so that each takes the sequence after the
                // previous.
                if self.queue_put(op, target) {
                    self.start_put(base, queries, op, plan);
                } else {
                    self.set_plan(op, plan);
                    self.set_phase(op, OperationPhase::Queued);
                }
            }
            Command::PutSigned { item, options } => {
                let item = Arc::new(*item);
                if let Err(error) = item.check_sizes() {
                    return self.put_failed(base, op, PutError::Item(error));
                }
                let public = base.cx.public;
                if !base.may_verify(&public) {
                    let busy = OperationError::Busy(base.jobs.len());
                    return self.put_failed(base, op, busy.into());
                }
                let via = if item.key == public {
                    Via::Local
                } else {
                    Via::Pulled(public)
                };
                let verifying = OperationPhase::Verifying {
                    item: item.clone(),
                    options: Box::new(options),
                    started,
                };
                self.set_phase(op, verifying);
                let candidate = StoreCandidate::of_owner(item, via);
                base.verify(&public, candidate, VerifyTag::Signed(op));
            }
            Command::Get(request) if !request.is_consistent() => {
                let outcome = Outcome::Get(Err(GetError::WrongTarget));
                self.finish(&mut base.cx, op, outcome);
            }
            Command::Watch { request, .. } if !request.is_consistent() => {
                let outcome = Outcome::Watch(Err(GetError::WrongTarget));
                self.finish(&mut base.cx, op, outcome);
            }
            Command::Watch { request, after } => {
                self.start_watch(base, queries, op, (request, after), started);
            }
            Command::Get(request) => {
                let get = Box::new(Get::new(request, false));
                self.start_get(base, queries, op, get, started);
            }
            Command::FindNode { target, .. } => {
                self.start_query(base, queries, op, QueryKind::Nodes, target, started);
            }
            Command::Ping { peer, addr } => {
                let candidate = Candidate {
                    key: peer,
                    id: peer.id(),
                    addr,
                };
                if let Some(addr) = addr {
                    let store = &mut base.peers.store;
                    store.set_address(&peer, addr, base.cx.now.mono);
                }
                match base.ask(candidate, Request::Ping, CallTag::Ping(op)) {
                    Some(call) => self.set_phase(op, OperationPhase::Call(call)),
                    None => {
                        let busy = OperationError::Busy(base.calls.len());
                        let outcome = Outcome::Ping(Err(busy.into()));
                        self.finish(&mut base.cx, op, outcome);
                    }
                }
            }
            // The caller starts the sessions, see [`Operations::wants_sync`].
            Command::Sync { .. } | Command::Shutdown => {}
        }
    }

    /// Takes the verdict on the item of a user's put.
    pub(crate) fn signed_verified(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        job: JobId,
        verdict: Verdict,
    ) {
        let Some(OperationPhase::Verifying {
            item,
            options,
            started,
        }) = self.take_phase(op)
        else {
            // The operation was cancelled meanwhile.
            base.items.discard(job);
            return;
        };
        let admitted = match base.judge(job, verdict) {
            Ok(()) => Ok(()),
            Err(Rejection::Store(refusal)) => Err(refusal),
            Err(Rejection::Item(error)) => {
                return self.put_failed(base, op, PutError::Item(error));
            }
        };
        self.publish_signed(base, queries, op, (item, &options, started), admitted);
    }

    /// Starts the next queued put of an own item.
    pub(crate) fn start_next_put(&mut self, base: &mut Base, queries: &mut Queries, item: Target) {
        let Some(op) = self.puts.get(&item).and_then(VecDeque::front).copied() else {
            return;
        };
        let operation = self.running.get_mut(&op);
        let queued = operation.filter(|it| matches!(it.phase, OperationPhase::Queued));
        if let Some(plan) = queued.and_then(|operation| operation.plan.take()) {
            self.set_phase(op, OperationPhase::New);
            self.start_put(base, queries, op, plan);
        }
    }

    /// Stops what an operation waits for; its query ends with the result so far. The caller then
    /// finishes the operation with [`Operations::finish_stopped`].
    pub(crate) fn stop(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        reason: StopReason,
    ) {
        match self.take_phase(op) {
            Some(OperationPhase::Query(query)) => queries.stop(base, query, reason),
            Some(OperationPhase::Waiting {
                kind,
                target,
                started,
            }) => {
                let query = Query::idle(&base.cx, kind, op, target, started);
                queries.end(base, query, reason);
            }
            Some(OperationPhase::Call(call)) => base.abandon(call),
            Some(OperationPhase::Loading { need, .. }) => {
                self.loads.remove(&(need, op));
                base.cx.timers.cancel(Timer::Load(op));
            }
            Some(OperationPhase::Syncing(syncing)) => {
                self.stop_sync(&mut base.cx, op, *syncing, reason);
            }
            Some(OperationPhase::Watching(watching)) => {
                self.stop_watch(base, op, *watching, reason)
            }
            Some(
                OperationPhase::New | OperationPhase::Verifying { .. } | OperationPhase::Queued,
            )
            | None => {}
        }
    }

    /// Finishes a stopped operation, unless the end of its query has already finished it.
    pub(crate) fn finish_stopped(&mut self, cx: &mut Context, op: OperationId, why: StopReason) {
        if let Some(operation) = self.running.get(&op) {
            let error = stopped(why).unwrap_or(OperationError::Timeout);
            let outcome = operation.kind.failed(error);
            self.finish(cx, op, outcome);
        }
    }

    /// Finishes a ping with the result of its call.
    pub(crate) fn ping_ended(&mut self, cx: &mut Context, op: OperationId, ended: &CallEnded) {
        let result = match ended.result {
            Ok(_) => Ok(PingOutcome {
                rtt: cx.now.mono.since(ended.started),
                path: ended.path.unwrap_or(Path {
                    reach: Reach::Accepted,
                    remote: None,
                }),
            }),
            Err(CallFailure::Open(reason)) => Err(PingError::Open(reason)),
            Err(CallFailure::Lost) => Err(PingError::Lost),
            Err(_) => Err(PingError::NoAnswer),
        };
        self.finish(cx, op, Outcome::Ping(result));
    }
}
