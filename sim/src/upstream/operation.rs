//! Upstream's put, get, search and ping.

use std::sync::Arc;
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::item::{Item, ItemError, Salt, Seq, Value};
use skydht_core::key::PublicKey;
use skydht_core::node::{
    Command, Event, GetError, GetOutcome, GetRequest, LookupStats, OperationError, OperationId,
    Outcome, Output, PingError, PingOutcome, PutError, PutOptions, ReadPolicy, Source, SyncError,
};
use skydht_core::wire::{Request, Response, WireItem};

use super::checks;
use super::lookup::Lookup;
use super::state::{CallFailure, Ended, Reply, Timer, UpstreamNode};
use super::store::GoError;
use super::table::{Contact, K};
use super::task::{Own, Purpose, Push, Task, TaskId, Then, Work, next_seq};

impl UpstreamNode {
    pub(super) fn command(&mut self, op: OperationId, command: Command) {
        match command {
            Command::Shutdown => self.shut_down(op),
            command if self.is_over() => {
                self.finish(op, refused(&command, OperationError::ShuttingDown));
            }
            Command::Put {
                salt,
                value,
                options,
            } => self.put(op, salt, value, &options),
            Command::PutSigned { item, options } => {
                let item = Arc::new(*item);
                match checks::verify(&WireItem::from(&item)) {
                    Ok(()) => self.publish(Purpose::Operation(op), item, &options),
                    Err(error) => self.finish(op, Outcome::Put(Err(PutError::Item(error)))),
                }
            }
            Command::Get(request) => self.get(op, &request),
            Command::FindNode { target, timeout } => {
                let task = self.task(Purpose::Operation(op), timeout);
                self.look(task, Purpose::Operation(op), target, false, Then::FindNode);
            }
            Command::Ping { peer, .. } => {
                let task = self.task(Purpose::Operation(op), None);
                self.insert(task, Purpose::Operation(op), Work::Ping);
                let contact = Contact::of(&peer, self.now.unix);
                self.call(task, contact, Request::Ping);
            }
            // Upstream has no watches.
            Command::Watch { .. } => {
                let error = OperationError::NoPeers;
                self.finish(op, Outcome::Watch(Err(error.into())));
            }
            // Upstream only reconciles by itself.
            Command::Sync { .. } => {
                self.finish(op, Outcome::Sync(Err(SyncError::NoFullNodes)));
            }
        }
    }

    fn put(&mut self, op: OperationId, salt: Salt, value: Value, options: &PutOptions) {
        let own = self.own.get(&salt);
        let seq = options.seq;
        let seq = seq.unwrap_or_else(|| next_seq(own, self.now.unix.0));
        let Some(item) = self.sign(seq, value, &salt) else {
            return self.finish(op, Outcome::Put(Err(PutError::NoSecretKey)));
        };
        if let Err(error) = item.check_sizes() {
            return self.finish(op, Outcome::Put(Err(PutError::Item(error))));
        }
        let repeated = !options.once && !options.local_only;
        self.own_item(salt, item.clone(), repeated);
        self.publish(Purpose::Operation(op), item, options);
    }

    /// Remembers the item that it publishes under a salt.
    pub(super) fn own_item(&mut self, salt: Salt, item: Arc<Item>, repeated: bool) {
        self.own.insert(salt, Own { item, repeated });
    }

    pub(super) fn sign(&self, seq: Seq, value: Value, salt: &Salt) -> Option<Arc<Item>> {
        let secret = self.secret.as_ref()?;
        Some(Arc::new(Item::sign(secret, seq, value, salt.clone())))
    }

    /// Stores the item locally, ignores errors of that (defect 17), looks for the holders, and
    /// continues.
    pub(super) fn publish(&mut self, purpose: Purpose, item: Arc<Item>, options: &PutOptions) {
        let stored = self.store.put(self.now.mono, &WireItem::from(&item));
        let task = self.task(purpose, options.timeout);
        let push = Box::new(Push::new(item, stored.is_ok()));
        if options.local_only {
            self.insert(task, purpose, Work::Push(push));
            return self.push_next(task);
        }
        self.look(task, purpose, push.target(), false, Then::Push(push));
    }

    fn get(&mut self, op: OperationId, request: &GetRequest) {
        let target = request.target;
        if let Some((owner, salt)) = &request.owner
            && Target::of(owner, salt.as_bytes()) != target
        {
            return self.finish(op, Outcome::Get(Err(GetError::WrongTarget)));
        }
        // The own store is read first, even if its item is old (defect 15).
        if let Some(item) = self.store.get(self.now.mono, &target) {
            let item = item.clone();
            let found = GetOutcome {
                target,
                origin: item.origin_at(&target),
                item,
                age: None,
                source: Source::Store,
                agree: 0,
                asked: 0,
                first_value: Duration::ZERO,
                stats: LookupStats::default(),
            };
            self.first_value(op, &found, None);
            return self.finish(op, Outcome::Get(Ok(found)));
        }
        if request.policy == ReadPolicy::Local {
            let stats = LookupStats::default();
            return self.finish(op, Outcome::Get(Err(GetError::NotFound { stats })));
        }
        let task = self.task(Purpose::Operation(op), request.timeout);
        self.look(task, Purpose::Operation(op), target, true, Then::Get);
    }

    /// Returns a number for a task and sets its deadline.
    pub(super) fn task(&mut self, purpose: Purpose, timeout: Option<Duration>) -> TaskId {
        let task = TaskId(self.next_task);
        self.next_task += 1;
        if let Purpose::Operation(op) = purpose {
            let timeout = timeout.unwrap_or(self.config.operation_timeout);
            self.timers
                .set(Timer::Task(task), self.now.mono.plus(timeout));
            self.operations.insert(op, task);
        }
        task
    }

    pub(super) fn insert(&mut self, task: TaskId, purpose: Purpose, work: Work) {
        let started = self.now.mono;
        let value = Task {
            purpose,
            started,
            work,
        };
        self.tasks.insert(task, value);
    }

    pub(super) fn look(
        &mut self,
        task: TaskId,
        purpose: Purpose,
        target: Target,
        wants_item: bool,
        then: Then,
    ) {
        let seeds = self.table.closest(&target, K);
        let lookup = Lookup::new(self.id, target, wants_item, seeds);
        self.insert(task, purpose, Work::Look(Box::new(lookup), then));
        self.continue_lookup(task);
    }

    /// Starts the next round or ends the lookup.
    fn continue_lookup(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Work::Look(lookup, _) = &mut task.work else {
            return;
        };
        let round = lookup.next_round();
        if round.is_empty() {
            if !lookup.is_waiting() {
                self.lookup_ended(id);
            }
            return;
        }
        let (target, wants_item) = (lookup.target, lookup.wants_item);
        for contact in round {
            let request = match wants_item {
                true => Request::GetValue { target },
                false => Request::FindNode { target },
            };
            self.call(id, contact, request);
        }
    }

    /// A request of a task ended.
    pub(super) fn call_done(&mut self, ended: Ended) {
        let id = ended.task;
        let now = self.now.unix;
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        match &mut task.work {
            Work::Look(lookup, _) => {
                match ended.result.map(|reply| reply.response) {
                    Ok(Response::FindNode { closest }) => {
                        lookup.answered(&ended.peer, None, &closest.peers, now);
                    }
                    Ok(Response::GetValue { item, closest }) => {
                        lookup.answered(&ended.peer, item, &closest.peers, now);
                    }
                    _ => lookup.failed(&ended.peer),
                }
                self.continue_lookup(id);
            }
            Work::Push(push) => {
                pushed(push, ended.result);
                self.push_next(id);
            }
            Work::Ping => self.pinged(id, ended.result),
            Work::Bootstrap { any, .. } => {
                *any |= ended.result.is_ok();
                self.bootstrap_next(id);
            }
            Work::Reconcile(_) => self.reconciled(id, ended.result),
        }
    }

    /// A lookup has ended.
    fn lookup_ended(&mut self, id: TaskId) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let elapsed = self.now.mono.since(task.started);
        let Work::Look(lookup, then) = task.work else {
            return;
        };
        match then {
            Then::FindNode => {
                let outcome = Outcome::FindNode(Ok(lookup.found(elapsed)));
                self.end(id, task.purpose, Some(outcome));
            }
            Then::Get => {
                let outcome = self.judge_found(task.purpose, &lookup, elapsed);
                self.end(id, task.purpose, Some(Outcome::Get(outcome)));
            }
            Then::Push(mut push) => {
                push.stats = lookup.stats(elapsed);
                push.left = lookup.closest().iter().copied().collect();
                let work = Work::Push(push);
                self.tasks.insert(id, Task { work, ..task });
                self.push_next(id);
            }
        }
    }

    /// Verifies the item that was kept, stores it at *its own* target (defect 8), and treats it as
    /// the requested item.
    fn judge_found(
        &mut self,
        purpose: Purpose,
        lookup: &Lookup,
        elapsed: Duration,
    ) -> Result<GetOutcome, GetError> {
        let stats = lookup.stats(elapsed);
        let Some(best) = &lookup.best else {
            return Err(GetError::NotFound { stats });
        };
        let verdict: Result<(), ItemError> = checks::verify(&best.item);
        let (Ok(()), Some(item)) = (verdict, best.item.item()) else {
            self.counters.gets_forged += 1;
            return Err(GetError::NotFound { stats });
        };
        let _: Result<(), GoError> = self.store.put(self.now.mono, &best.item);
        let found = GetOutcome {
            target: lookup.target,
            item: item.clone(),
            origin: item.origin_at(&lookup.target),
            age: None,
            source: Source::Network,
            agree: best.agree,
            asked: stats.answered,
            first_value: elapsed,
            stats,
        };
        if let Purpose::Operation(op) = purpose {
            self.first_value(op, &found, best.from);
        }
        Ok(found)
    }

    /// Nothing is reported before the end.
    fn first_value(&mut self, op: OperationId, found: &GetOutcome, from: Option<PublicKey>) {
        self.output(Output::Event(Event::FirstValue {
            op,
            item: found.item.clone(),
            origin: found.origin,
            from,
        }));
    }

    /// Sends the item to the next peer, or ends the put.
    pub(super) fn push_next(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id) else {
            return;
        };
        let Work::Push(push) = &mut task.work else {
            return;
        };
        if let Some(contact) = push.left.pop_front() {
            push.stats.requests = push.stats.requests.saturating_add(1);
            let request = Request::PutValue {
                item: WireItem::from(&push.item),
                mirror_target: push.mirror_target,
            };
            return self.call(id, contact, request);
        }
        let outcome = push.outcome(self.now.mono.since(task.started));
        let purpose = task.purpose;
        self.tasks.remove(&id);
        self.end(id, purpose, Some(Outcome::Put(outcome)));
    }

    fn pinged(&mut self, id: TaskId, result: Result<Reply, CallFailure>) {
        let Some(task) = self.tasks.remove(&id) else {
            return;
        };
        let outcome = match result {
            Ok(reply) => Ok(PingOutcome {
                rtt: reply.elapsed,
                path: reply.path,
            }),
            Err(CallFailure::Dial(reason)) => Err(PingError::Open(reason)),
            Err(CallFailure::NoAnswer) => Err(PingError::NoAnswer),
        };
        self.end(id, task.purpose, Some(Outcome::Ping(outcome)));
    }

    /// Ends a task that has been removed from the table.
    pub(super) fn end(&mut self, id: TaskId, purpose: Purpose, outcome: Option<Outcome>) {
        self.timers.cancel(Timer::Task(id));
        match purpose {
            Purpose::Operation(op) => {
                if let Some(outcome) = outcome {
                    self.finish(op, outcome);
                }
            }
            Purpose::Republish => self.republishing = true,
            Purpose::Mirror => self.mirroring = true,
            Purpose::Bootstrap => self.bootstrapped(),
            Purpose::FullNode => {}
        }
    }

    /// Ends a task early.
    pub(super) fn cut(&mut self, id: TaskId, why: OperationError) {
        if let Some(task) = self.tasks.remove(&id) {
            self.cancel_calls(id);
            let outcome = task.cut(self.now.mono, why);
            self.end(id, task.purpose, Some(outcome));
        }
    }

    pub(super) fn cancel(&mut self, op: OperationId) {
        if let Some(task) = self.operations.get(&op).copied() {
            self.cut(task, OperationError::Cancelled);
        }
    }

    pub(super) fn finish(&mut self, op: OperationId, outcome: Outcome) {
        self.operations.remove(&op);
        self.output(Output::Finished { op, outcome });
    }
}

fn pushed(push: &mut Push, result: Result<Reply, CallFailure>) {
    match result.map(|reply| reply.response) {
        Ok(Response::PutValue { stored: true, .. }) => push.stored = push.stored.saturating_add(1),
        Ok(Response::PutValue { error, .. }) => {
            let count = push.refused.entry(GoError::refusal(&error)).or_default();
            *count = count.saturating_add(1);
        }
        Err(CallFailure::Dial(_)) => push.failed = push.failed.saturating_add(1),
        _ => {
            push.failed = push.failed.saturating_add(1);
            push.unknown = push.unknown.saturating_add(1);
        }
    }
}

/// Outcome of a command that is not started.
fn refused(command: &Command, why: OperationError) -> Outcome {
    match command {
        Command::Put { .. } | Command::PutSigned { .. } => Outcome::Put(Err(why.into())),
        Command::Get(_) => Outcome::Get(Err(why.into())),
        Command::FindNode { .. } => Outcome::FindNode(Err(why)),
        Command::Ping { .. } => Outcome::Ping(Err(why.into())),
        Command::Sync { .. } => Outcome::Sync(Err(why.into())),
        Command::Watch { .. } => Outcome::Watch(Err(why.into())),
        Command::Shutdown => Outcome::Shutdown,
    }
}
