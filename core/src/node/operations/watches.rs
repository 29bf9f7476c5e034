//! Watches: a read, then long polls of holders until one has something newer, then a read again.
//!
//! A poll only says when to read: what a watch ends with was found and verified by a read of the
//! nearest holders. So a peer that lies can cost reads, one a second at most, or be silent, which
//! costs [`READ_EVERY`].

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::Target;
use crate::item::Seq;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::ids::{CallTag, OperationId, StopReason};
use crate::node::input::{GetRequest, ReadPolicy};
use crate::node::operations::state::{Operations, Phase, Watching, stopped};
use crate::node::outcome::{OperationError, Outcome};
use crate::node::peers::records::Dialect;
use crate::node::query::get::Get;
use crate::node::query::{Ended, Queries};
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::time::Mono;
use crate::wire::{LongPoll, Request, RequestExt, Response, Want, WireItem};

/// Maximum number of holders that one watch polls concurrently.
const POLLED: usize = 2;
/// The holders are read again at least this often: they change, and those polled may be silent.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Pause before the next read when no holder waits: upstream's answer immediately.
const PAUSE: Duration = Duration::from_secs(5);
/// Least time from one read to the next, whatever peers say.
const READ_AT_MOST_EVERY: Duration = Duration::from_secs(1);

impl Operations {
    /// A user wants the next version.
    pub(super) fn start_watch(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        (mut request, after): (GetRequest, Option<Seq>),
        started: Mono,
    ) {
        request.policy = ReadPolicy::Freshest;
        self.watches.insert((request.target, op));
        let watching = Box::new(Watching {
            request,
            after,
            started,
            last_read: started,
            polls: BTreeMap::new(),
            distrusted: BTreeSet::new(),
            suspects: Vec::new(),
        });
        self.read_for_watch(base, queries, op, watching);
    }

    fn read_for_watch(
        &mut self,
        base: &mut Base,
        queries: &mut Queries,
        op: OperationId,
        mut watching: Box<Watching>,
    ) {
        for call in core::mem::take(&mut watching.polls).into_keys() {
            base.abandon(call);
        }
        watching.last_read = base.cx.now.mono;
        let get = Box::new(Get::new(watching.request.clone(), true));
        let started = watching.started;
        if let Some(operation) = self.running.get_mut(&op) {
            operation.watching = Some(watching);
        }
        self.start_get(base, queries, op, get, started);
    }

    /// The read of a watch is over: it found something newer, or holders are polled for that.
    pub(super) fn watch_read(
        &mut self,
        base: &mut Base,
        op: OperationId,
        get: &Get,
        ended: &Ended,
    ) {
        let Ended { query, reason } = ended;
        let taken = self.running.get_mut(&op).and_then(|it| it.watching.take());
        let Some(mut watching) = taken else {
            return;
        };
        if let Some(error) = stopped(*reason) {
            return self.finish(&mut base.cx, op, Outcome::Watch(Err(error.into())));
        }
        let stats = query.stats(base.cx.now.mono);
        let best = get.outcome(query.started, stats, base.cx.now);
        if let Some(best) = best.filter(|best| Some(best.item.seq) > watching.after) {
            return self.finish(&mut base.cx, op, Outcome::Watch(Ok(best)));
        }
        watching.distrusted.extend(watching.suspects.drain(..));
        let full_nodes = base.peers.store.full_nodes();
        let mut holders: Vec<Candidate> = query
            .answered_closest()
            .filter(|peer| base.peers.store.dialect(&peer.key) == Dialect::Skydht)
            .filter(|peer| !watching.distrusted.contains(&peer.id))
            .cloned()
            .collect();
        // Full nodes hear of all items; the sort keeps the nearest of each kind first.
        holders.sort_by_key(|peer| !full_nodes.contains(&peer.key));
        holders.truncate(POLLED);
        for holder in holders {
            poll(base, op, &mut watching, holder);
        }
        // It may have come while others were asked.
        let held = base.items.store.get(base.cx.now, &watching.request.target);
        let news = held.is_some_and(|held| Some(held.item().seq) > watching.after);
        let pause = match (news, watching.polls.is_empty()) {
            (true, _) => READ_AT_MOST_EVERY,
            (false, true) => PAUSE,
            (false, false) => READ_EVERY,
        };
        let at = base.cx.now.mono.plus(pause);
        base.cx.timers.set(Timer::Watch(op), at);
        self.set_phase(op, Phase::Watching(watching));
    }

    /// A poll was answered, or not.
    pub(crate) fn poll_ended(&mut self, base: &mut Base, op: OperationId, ended: CallEnded) {
        let Some(operation) = self.running.get_mut(&op) else {
            return;
        };
        let Phase::Watching(watching) = &mut operation.phase else {
            return;
        };
        watching.polls.remove(&ended.id);
        let now = base.cx.now.mono;
        let item = match ended.result.map(|message| message.response) {
            Ok(Response::GetValue { item, .. }) => item,
            _ => return read_soon(base, op, watching),
        };
        let item = item.and_then(WireItem::into_item);
        if item.is_some_and(|item| Some(item.seq) > watching.after) {
            watching.suspects.push(ended.peer.id);
            let at = watching.last_read.plus(READ_AT_MOST_EVERY).max(now);
            return base.cx.timers.set_earlier(Timer::Watch(op), at);
        }
        if now.since(ended.started) >= poll_time(base) / 2 {
            poll(base, op, watching, ended.peer);
        }
        read_soon(base, op, watching);
    }

    /// What lies at a target has changed here: those who watch it read.
    pub(crate) fn item_changed(&mut self, base: &mut Base, target: Target) {
        let watching = self.watches.range((target, OperationId(0))..);
        let watching = watching.take_while(|(at, _)| *at == target);
        for (_, op) in watching {
            base.cx
                .timers
                .set_earlier(Timer::Watch(*op), base.cx.now.mono);
        }
    }

    /// It is time to read again, unless a read is under way.
    pub(crate) fn watch_due(&mut self, base: &mut Base, queries: &mut Queries, op: OperationId) {
        match self.take_phase(op) {
            Some(Phase::Watching(watching)) => self.read_for_watch(base, queries, op, watching),
            Some(other) => self.set_phase(op, other),
            None => {}
        }
    }

    /// A watch that polls ends without anything newer.
    pub(super) fn stop_watch(
        &mut self,
        base: &mut Base,
        op: OperationId,
        watching: Watching,
        reason: StopReason,
    ) {
        for call in watching.polls.into_keys() {
            base.abandon(call);
        }
        let error = stopped(reason).unwrap_or(OperationError::Timeout);
        self.finish(&mut base.cx, op, Outcome::Watch(Err(error.into())));
    }
}

/// With no poll out the next read comes soon.
fn read_soon(base: &mut Base, op: OperationId, watching: &Watching) {
    if watching.polls.is_empty() {
        let at = base.cx.now.mono.plus(PAUSE);
        base.cx.timers.set_earlier(Timer::Watch(op), at);
    }
}

/// How long a peer may wait: its answer must be here before the call is given up.
fn poll_time(base: &Base) -> Duration {
    base.cx.config.hard_deadline / 2
}

fn poll(base: &mut Base, op: OperationId, watching: &mut Watching, holder: Candidate) {
    let request = Request::GetValue {
        target: watching.request.target,
    };
    let ext = RequestExt {
        want: Want::Item,
        poll: Some(LongPoll {
            time: poll_time(base),
            after: watching.after,
        }),
        ..base.cx.request_ext()
    };
    let call = base.ask_with(holder, request, ext, CallTag::Poll(op));
    if let Some(call) = call {
        watching.polls.insert(call, holder);
    }
}
