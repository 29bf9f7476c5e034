//! Reconciliations that users request: the full nodes they wait for, and the results.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::key::PublicKey;
use crate::node::base::Base;
use crate::node::context::Context;
use crate::node::ids::{OperationId, StopReason};
use crate::node::operations::state::{OperationPhase, Operations, Syncing};
use crate::node::outcome::{Outcome, PeerSync, SyncError, SyncFailure, SyncOutcome, SyncProgress};

impl Operations {
    /// Whether sessions are to be started for this operation. On a regular node it fails here.
    pub(crate) fn wants_sync(&mut self, base: &mut Base, op: OperationId) -> bool {
        if !self.running.contains_key(&op) {
            return false;
        }
        if !base.cx.config.full_node {
            let outcome = Outcome::Sync(Err(SyncError::NotFullNode));
            self.finish(&mut base.cx, op, outcome);
            return false;
        }
        true
    }

    /// Records the full nodes whose sessions the operation waits for.
    pub(crate) fn sync_started(
        &mut self,
        cx: &mut Context,
        op: OperationId,
        waiting: BTreeSet<PublicKey>,
    ) {
        if waiting.is_empty() {
            return self.finish(cx, op, Outcome::Sync(Err(SyncError::NoFullNodes)));
        }
        let syncing = Syncing {
            waiting,
            done: Vec::new(),
            started: cx.now.mono,
        };
        self.set_phase(op, OperationPhase::Syncing(Box::new(syncing)));
    }

    /// Takes the result of a requested session.
    pub(crate) fn sync_ended(&mut self, cx: &mut Context, ended: PeerSync) {
        let mut over = Vec::new();
        for (op, operation) in &mut self.running {
            let OperationPhase::Syncing(syncing) = &mut operation.phase else {
                continue;
            };
            if syncing.waiting.remove(&ended.peer) {
                syncing.done.push(ended);
            }
            if syncing.waiting.is_empty() {
                over.push(*op);
            }
        }
        for op in over {
            if let Some(OperationPhase::Syncing(syncing)) = self.take_phase(op) {
                self.finish_sync(cx, op, *syncing);
            }
        }
    }

    /// Ends a reconciliation at its deadline with the results so far; other reasons make it fail.
    pub(super) fn stop_sync(
        &mut self,
        cx: &mut Context,
        op: OperationId,
        mut syncing: Syncing,
        reason: StopReason,
    ) {
        if reason != StopReason::Timeout {
            return;
        }
        let unfinished = core::mem::take(&mut syncing.waiting);
        syncing
            .done
            .extend(unfinished.into_iter().map(|peer| PeerSync {
                peer,
                result: Err(SyncFailure::Unfinished),
                progress: SyncProgress::default(),
            }));
        self.finish_sync(cx, op, syncing);
    }

    fn finish_sync(&mut self, cx: &mut Context, op: OperationId, syncing: Syncing) {
        let outcome = SyncOutcome {
            peers: syncing.done,
            elapsed: cx.now.mono.since(syncing.started),
        };
        self.finish(cx, op, Outcome::Sync(Ok(outcome)));
    }
}
