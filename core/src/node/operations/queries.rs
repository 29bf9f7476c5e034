//! Queries of operations: starting them, waiting for a first peer, and their results.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::id::Target;
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::ids::{OperationId, StopReason};
use crate::node::input::ReadPolicy;
use crate::node::operations::state::{OperationKind, OperationPhase, Operations, stopped};
use crate::node::outcome::{FindNodeOutcome, GetError, GetOutcome, OperationError, Outcome};
use crate::node::query::get::Get;
use crate::node::query::steps::ask_local;
use crate::node::query::{Ended, Queries, Query, QueryKind};
use crate::time::Mono;

impl Operations {
    /// Starts a read. The item in this node's own store takes part like a peer's answer.
    pub(super) fn start_get(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        mut get: Box<Get>,
        started: Mono,
    ) {
        let target = get.request.target;
        let enough = ask_local(base, op, &mut get);
        let kind = QueryKind::Get(get);
        if enough {
            let query = Query::idle(&base.cx, kind, op, target, started);
            queries.end(base, query, StopReason::Done);
        } else {
            self.start_query(base, queries, op, kind, target, started);
        }
    }

    /// Starts the query of an operation. With an empty table it first waits for the bootstrap peers
    /// and callers that are being pinged.
    pub(super) fn start_query(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        kind: QueryKind,
        target: Target,
        started: Mono,
    ) {
        if base.peers.awaits_first_peer() {
            self.waiting.insert(op);
            let waiting = OperationPhase::Waiting {
                kind,
                target,
                started,
            };
            return self.set_phase(op, waiting);
        }
        self.set_phase(op, OperationPhase::Query(queries.next_id()));
        queries.start(base, kind, Some(op), target, started);
    }

    /// Starts the query of an operation that waited for a first peer, successful or not.
    pub(crate) fn resume(&mut self, base: &mut Base, queries: &mut Queries, op: OperationId) {
        match self.take_phase(op) {
            Some(OperationPhase::Waiting {
                kind,
                target,
                started,
            }) => self.start_query(base, queries, op, kind, target, started),
            Some(phase) => self.set_phase(op, phase),
            None => {}
        }
    }

    /// Takes the result of an operation's query.
    pub(crate) fn query_ended(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        ended: &Ended,
    ) {
        let Ended { query, reason } = ended;
        let kind = self.running.get(&op).map(|it| it.kind);
        match &query.kind {
            QueryKind::Get(get) if kind == Some(OperationKind::Put) => {
                self.put_after_read(base, queries, op, get, *reason);
            }
            QueryKind::Get(get) if kind == Some(OperationKind::Watch) => {
                self.watch_read(base, op, get, ended);
            }
            QueryKind::Get(get) => {
                let outcome = Outcome::Get(get_result(&base.cx, query, get, *reason));
                self.finish(&mut base.cx, op, outcome);
            }
            QueryKind::Put(put) => self.put_ended(base, queries, op, put, ended),
            _ => {
                let outcome = Outcome::FindNode(nodes_result(&base.cx, query, *reason));
                self.finish(&mut base.cx, op, outcome);
            }
        }
    }
}

/// The result of a read.
fn get_result(
    cx: &Context,
    query: &Query,
    get: &Get,
    reason: StopReason,
) -> Result<GetOutcome, GetError> {
    let stats = query.stats(cx.now.mono);
    let best = get.outcome(query.started, stats, cx.now);
    match (reason, best) {
        (StopReason::Timeout, best) => {
            let best = best.filter(|best| !best.item.reads_as_deleted());
            Err(GetError::Timeout {
                best: best.map(Box::new),
                stats,
            })
        }
        (StopReason::Cancelled, _) => Err(OperationError::Cancelled.into()),
        (StopReason::Shutdown, _) => Err(OperationError::ShuttingDown.into()),
        (StopReason::Done, Some(best)) if best.item.reads_as_deleted() => Err(GetError::Deleted {
            seq: best.item.seq,
            stats,
        }),
        (StopReason::Done, Some(best)) => Ok(best),
        (StopReason::Done, None)
            if stats.answered == 0 && get.request.policy != ReadPolicy::Local =>
        {
            Err(OperationError::NoPeers.into())
        }
        (StopReason::Done, None) => Err(GetError::NotFound { stats }),
    }
}

/// The result of a query for the nearest nodes.
fn nodes_result(
    cx: &Context,
    query: &Query,
    reason: StopReason,
) -> Result<FindNodeOutcome, OperationError> {
    if let Some(error) = stopped(reason) {
        return Err(error);
    }
    let closest: Vec<_> = query.answered_closest().map(|peer| peer.key).collect();
    if closest.is_empty() {
        return Err(OperationError::NoPeers);
    }
    let stats = query.stats(cx.now.mono);
    Ok(FindNodeOutcome { closest, stats })
}
