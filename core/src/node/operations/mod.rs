//! What users asked for: each operation ends in exactly one `Finished`.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::id::Target;
use crate::item::Item;
use crate::lookup::{Candidate, Lookup};
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::ids::{CallId, CallTag, JobId, OperationId, QueryId, StopReason, VerifyTag};
use crate::node::input::{Command, Misuse, Path, PutOptions, Reach};
use crate::node::items::intake::Rejection;
use crate::node::limits::Limit;
use crate::node::outcome::{
    FindNodeOutcome, GetError, OperationError, Outcome, PingError, PingOutcome,
};
use crate::node::output::{CloseReason, Output};
use crate::node::query::get::GetState;
use crate::node::query::replicas::PutPlan;
use crate::node::query::{Query, QueryCalls, QueryKind};
use crate::node::rpc::calls::{CallEnded, CallFailure};
use crate::node::timers::Timer;
use crate::node::verify::Verdict;
use crate::store::Candidate as StoreCandidate;
use crate::store::Via;
use crate::time::Mono;
use crate::wire::Request;

/// Which outcome an operation owes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Put,
    Get,
    FindNode,
    Ping,
}

impl Kind {
    fn failed(self, error: OperationError) -> Outcome {
        match self {
            Self::Put => Outcome::Put(Err(error.into())),
            Self::Get => Outcome::Get(Err(error.into())),
            Self::FindNode => Outcome::FindNode(Err(error)),
            Self::Ping => Outcome::Ping(Err(error.into())),
        }
    }
}

/// What an operation is busy with.
enum Busy {
    Nothing,
    /// The signature of what it was given is being checked.
    Verifying {
        item: Arc<Item>,
        options: Box<PutOptions>,
        started: Mono,
    },
    Query(QueryId),
    Call(CallId),
    /// Another put of the same own item is under way.
    Queued(Box<PutPlan>),
    /// The table is empty, but somebody has been asked who may enter it.
    Waiting {
        goal: QueryKind,
        target: Target,
        started: Mono,
    },
}

struct Operation {
    kind: Kind,
    busy: Busy,
    /// The own item that it puts.
    item: Option<Target>,
}

/// The operations under way.
#[derive(Default)]
pub(crate) struct Operations {
    running: BTreeMap<OperationId, Operation>,
    waiting: BTreeSet<OperationId>,
    /// Puts of each own item: the first is under way, the others wait for their turn.
    puts: BTreeMap<Target, VecDeque<OperationId>>,
    last: Option<OperationId>,
}

impl Operations {
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Whether nothing is under way or waits.
    #[cfg(test)]
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.puts.is_empty()
    }

    /// Puts a put of an own item in the queue; whether it is its turn.
    fn queue_put(&mut self, op: OperationId, item: Target) -> bool {
        if let Some(operation) = self.running.get_mut(&op) {
            operation.item = Some(item);
        }
        let puts = self.puts.entry(item).or_default();
        puts.push_back(op);
        puts.len() == 1
    }

    /// A put of an own item is over; whether it is the turn of another one.
    fn put_over(&mut self, op: OperationId, item: &Target) -> bool {
        let Some(puts) = self.puts.get_mut(item) else {
            return false;
        };
        let was_first = puts.front() == Some(&op);
        puts.retain(|other| *other != op);
        if puts.is_empty() {
            self.puts.remove(item);
            return false;
        }
        was_first
    }
}

impl Node {
    /// A user wants something.
    pub(crate) fn command(&mut self, op: OperationId, command: Command) -> Result<(), Misuse> {
        if self.operations.last.is_some_and(|last| op <= last) {
            return Err(Misuse::OperationNumber(op));
        }
        self.operations.last = Some(op);
        self.base.cx.counters.count(Counter::Operations);
        let (kind, timeout) = match &command {
            Command::Put { options, .. } | Command::PutSigned { options, .. } => {
                (Kind::Put, options.timeout)
            }
            Command::Get(request) => (Kind::Get, request.timeout),
            Command::FindNode { timeout, .. } => (Kind::FindNode, *timeout),
            Command::Ping { .. } => (Kind::Ping, None),
            Command::Shutdown => {
                self.shut_down();
                self.base.cx.output(Output::Finished {
                    op,
                    outcome: Outcome::Shutdown,
                });
                return Ok(());
            }
        };
        let refused = if self.base.cx.stopping {
            Some(OperationError::ShuttingDown)
        } else if self.operations.len() >= self.base.cx.config.limits.operations {
            self.base.cx.hit(Limit::operations);
            Some(OperationError::Busy(self.operations.len()))
        } else {
            None
        };
        if let Some(error) = refused {
            self.base.cx.output(Output::Finished {
                op,
                outcome: kind.failed(error),
            });
            return Ok(());
        }
        let now = self.base.cx.now.mono;
        let deadline = now.plus(timeout.unwrap_or(self.base.cx.config.operation_timeout));
        self.base.cx.timers.set(Timer::Operation(op), deadline);
        self.operations.running.insert(
            op,
            Operation {
                kind,
                busy: Busy::Nothing,
                item: None,
            },
        );
        self.start(op, command, now);
        Ok(())
    }

    fn start(&mut self, op: OperationId, command: Command, started: Mono) {
        match command {
            Command::Put {
                salt,
                value,
                options,
            } => {
                let target = Target::of(&self.base.cx.public, salt.as_bytes());
                let plan = Box::new(PutPlan::new(salt, value, options, started));
                // One after the other: each sees the one before it, and takes the next sequence.
                if self.operations.queue_put(op, target) {
                    self.start_put(op, plan);
                } else {
                    self.set_busy(op, Busy::Queued(plan));
                }
            }
            Command::PutSigned { item, options } => {
                let item = Arc::new(*item);
                if let Err(error) = item.check_sizes() {
                    return self.refuse_signed(op, error);
                }
                let public = self.base.cx.public;
                if !self.base.may_verify(&public) {
                    let busy = OperationError::Busy(self.base.jobs.len());
                    return self.finish(op, Outcome::Put(Err(busy.into())));
                }
                self.set_busy(
                    op,
                    Busy::Verifying {
                        item: item.clone(),
                        options: Box::new(options),
                        started,
                    },
                );
                let via = match item.key == self.base.cx.public {
                    true => Via::Local,
                    false => Via::Pulled(public),
                };
                let candidate = StoreCandidate::of_owner(item, via);
                self.base.verify(&public, candidate, VerifyTag::Signed(op));
            }
            Command::Get(request) => {
                let wrong = request
                    .owner
                    .as_ref()
                    .is_some_and(|(key, salt)| Target::of(key, salt.as_bytes()) != request.target);
                if wrong {
                    return self.finish(op, Outcome::Get(Err(GetError::WrongTarget)));
                }
                self.start_get(op, Box::new(GetState::new(request, None)), started);
            }
            Command::FindNode { target, .. } => {
                self.start_operation_query(op, QueryKind::Nodes, target, started);
            }
            Command::Ping { peer, addr } => {
                let candidate = Candidate {
                    key: peer,
                    id: peer.id(),
                    addr,
                };
                if let Some(addr) = addr {
                    self.base
                        .peers
                        .store
                        .set_address(&peer, addr, self.base.cx.now.mono);
                }
                match self.base.ask(candidate, Request::Ping, CallTag::Ping(op)) {
                    Some(call) => self.set_busy(op, Busy::Call(call)),
                    None => {
                        let busy = OperationError::Busy(self.base.calls.len());
                        self.finish(op, Outcome::Ping(Err(busy.into())));
                    }
                }
            }
            Command::Shutdown => {}
        }
    }

    /// The verdict on the item of a user's put came.
    pub(crate) fn signed_verified(&mut self, op: OperationId, job: JobId, verdict: Verdict) {
        let Some(operation) = self.operations.running.get_mut(&op) else {
            self.base.items.discard(job);
            return;
        };
        let busy = core::mem::replace(&mut operation.busy, Busy::Nothing);
        let Busy::Verifying {
            item,
            options,
            started,
        } = busy
        else {
            return;
        };
        match self.base.judge(job, verdict) {
            Ok(()) => self.publish_signed(op, item, &options, started, Ok(())),
            Err(Rejection::Store(refusal)) => {
                self.publish_signed(op, item, &options, started, Err(refusal));
            }
            Err(Rejection::Item(error)) => self.refuse_signed(op, error),
        }
    }

    /// It is the turn of the next put of an own item.
    pub(crate) fn start_next_put(&mut self, item: Target) {
        let Some(op) = self.operations.puts.get(&item).and_then(VecDeque::front) else {
            return;
        };
        let op = *op;
        let Some(operation) = self.operations.running.get_mut(&op) else {
            return;
        };
        match core::mem::replace(&mut operation.busy, Busy::Nothing) {
            Busy::Queued(plan) => self.start_put(op, plan),
            busy => operation.busy = busy,
        }
    }

    fn set_busy(&mut self, op: OperationId, busy: Busy) {
        if let Some(operation) = self.operations.running.get_mut(&op) {
            operation.busy = busy;
        }
    }

    /// Starts the search of an operation; with an empty table it waits for bootstrap peers and
    /// callers that are being asked.
    pub(crate) fn start_operation_query(
        &mut self,
        op: OperationId,
        goal: QueryKind,
        target: Target,
        started: Mono,
    ) {
        if self.may_soon_know_somebody() {
            self.operations.waiting.insert(op);
            return self.set_busy(
                op,
                Busy::Waiting {
                    goal,
                    target,
                    started,
                },
            );
        }
        // The search may end at once, and the operation with it: note it first.
        let search = self.next_query_id();
        self.set_busy(op, Busy::Query(search));
        self.start_query(goal, Some(op), target, started);
    }

    /// The table is empty, but bootstrap peers or callers are being asked. A node without
    /// bootstrap peers learns of others only by their calls.
    fn may_soon_know_somebody(&self) -> bool {
        let asking = self.upkeep.is_bootstrapping() || self.base.peers.probing.ping_backs() > 0;
        asking && self.base.peers.table.is_empty()
    }

    /// Somebody answered, or all failed: who waited goes on, or learns that there is nobody.
    pub(crate) fn resume_waiting(&mut self) {
        if self.may_soon_know_somebody() {
            return;
        }
        let waiting: Vec<OperationId> = self.operations.waiting.iter().copied().collect();
        for op in waiting {
            self.operations.waiting.remove(&op);
            let Some(operation) = self.operations.running.get_mut(&op) else {
                continue;
            };
            match core::mem::replace(&mut operation.busy, Busy::Nothing) {
                Busy::Waiting {
                    goal,
                    target,
                    started,
                } => {
                    self.start_operation_query(op, goal, target, started);
                }
                busy => operation.busy = busy,
            }
        }
    }

    /// A search that never asks anybody, to conclude with.
    pub(crate) fn idle_query(
        &self,
        goal: QueryKind,
        op: Option<OperationId>,
        target: Target,
        started: Mono,
    ) -> Query {
        Query {
            goal,
            op,
            target,
            lookup: Lookup::new(target, self.lookup_params(), [], self.base.cx.id),
            started,
            converged: Some(false),
            widened: true,
            alone_until: None,
            calls: QueryCalls::default(),
        }
    }

    /// Ends an operation.
    pub(crate) fn finish(&mut self, op: OperationId, outcome: Outcome) {
        if let Some(operation) = self.operations.running.remove(&op) {
            if let Some(item) = operation.item
                && self.operations.put_over(op, &item)
            {
                // Not here: puts that end at once must not nest.
                self.base
                    .cx
                    .timers
                    .set(Timer::Put(item), self.base.cx.now.mono);
            }
            self.operations.waiting.remove(&op);
            self.base.cx.timers.cancel(Timer::Operation(op));
            self.base.cx.output(Output::Finished { op, outcome });
        }
    }

    /// Ends an operation early, with what it has.
    pub(crate) fn end_operation(&mut self, op: OperationId, end: StopReason) {
        let Some(operation) = self.operations.running.get_mut(&op) else {
            return;
        };
        let kind = operation.kind;
        match core::mem::replace(&mut operation.busy, Busy::Nothing) {
            Busy::Query(search) => {
                if let Some(search_state) = self.queries.remove(&search) {
                    self.end_query(search, search_state, end);
                }
            }
            Busy::Waiting {
                goal,
                target,
                started,
            } => {
                let search = self.idle_query(goal, Some(op), target, started);
                let id = self.next_query_id();
                self.end_query(id, Box::new(search), end);
            }
            Busy::Call(call) => self.base.abandon(call),
            Busy::Nothing | Busy::Verifying { .. } | Busy::Queued(_) => {}
        }
        // Whatever the search did not finish itself.
        let error = match end {
            StopReason::Done | StopReason::Timeout => OperationError::Timeout,
            StopReason::Cancelled => OperationError::Cancelled,
            StopReason::Shutdown => OperationError::ShuttingDown,
        };
        self.finish(op, kind.failed(error));
    }

    /// A search for nodes is over.
    pub(crate) fn nodes_found(&mut self, search: &Query, end: StopReason) {
        let Some(op) = search.op else { return };
        let stats = search.stats(self.base.cx.now.mono);
        let closest: Vec<_> = search
            .lookup
            .answered_closest()
            .map(|peer| peer.key)
            .collect();
        let result = match end {
            StopReason::Cancelled => Err(OperationError::Cancelled),
            StopReason::Shutdown => Err(OperationError::ShuttingDown),
            StopReason::Timeout => Err(OperationError::Timeout),
            StopReason::Done if closest.is_empty() => Err(OperationError::NoPeers),
            StopReason::Done => Ok(FindNodeOutcome { closest, stats }),
        };
        self.finish(op, Outcome::FindNode(result));
    }

    /// A user's ping was answered, or not.
    pub(crate) fn ping_ended(&mut self, op: OperationId, ended: CallEnded) {
        if ended.result.is_ok() && !self.upkeep.ready {
            // A peer to join by, found by the user's word rather than by ours.
            self.look_around();
        }
        let result = match ended.result {
            Ok(_) => Ok(PingOutcome {
                rtt: self.base.cx.now.mono.since(ended.started),
                path: ended.path.unwrap_or(Path {
                    reach: Reach::Accepted,
                    remote: None,
                }),
            }),
            Err(CallFailure::Open(reason)) => Err(PingError::Open(reason)),
            Err(CallFailure::Lost) => Err(PingError::Lost),
            Err(_) => Err(PingError::NoAnswer),
        };
        self.finish(op, Outcome::Ping(result));
    }

    /// Ends everything.
    fn shut_down(&mut self) {
        self.base.cx.stopping = true;
        let running: Vec<OperationId> = self.operations.running.keys().copied().collect();
        for op in running {
            self.end_operation(op, StopReason::Shutdown);
        }
        let queries: Vec<QueryId> = self.queries.keys().copied().collect();
        for id in queries {
            if let Some(search) = self.queries.remove(&id) {
                self.end_query(id, search, StopReason::Shutdown);
            }
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
}
