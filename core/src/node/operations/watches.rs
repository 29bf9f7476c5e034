//! Watches: a read, then long polls of holders until one announces a newer version, then a read
//! again.
//!
//! A poll only decides when to read: the result of a watch was found and verified by a read of the
//! nearest holders. So a peer that lies can cause reads, at most one per second, or stay silent,
//! which costs at most [`READ_EVERY`].

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
use crate::node::operations::state::{OperationPhase, Operations, Watching, stopped};
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
/// Maximum interval between reads: the set of holders changes, and those polled may be silent.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Pause before the next read if no holder supports long polls: upstream's answer immediately.
const PAUSE: Duration = Duration::from_secs(5);
/// Minimum interval between reads, whatever peers announce.
const READ_AT_MOST_EVERY: Duration = Duration::from_secs(1);

impl Operations {
    /// Starts a watch with a read.
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

    /// Takes the result of a watch's read: ends the watch, or polls holders for a newer version.
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
        // Full nodes receive all items. The sort is stable, so the nearest of each kind stay first.
        holders.sort_by_key(|peer| !full_nodes.contains(&peer.key));
        holders.truncate(POLLED);
        for holder in holders {
            poll(base, op, &mut watching, holder);
        }
        // A newer version may have arrived while peers were asked.
        let held = base.items.store.get(base.cx.now, &watching.request.target);
        let news = held.is_some_and(|held| Some(held.item().seq) > watching.after);
        let pause = match (news, watching.polls.is_empty()) {
            (true, _) => READ_AT_MOST_EVERY,
            (false, true) => PAUSE,
            (false, false) => READ_EVERY,
        };
        let at = base.cx.now.mono.plus(pause);
        base.cx.timers.set(Timer::Watch(op), at);
        self.set_phase(op, OperationPhase::Watching(watching));
    }

    /// Takes the result of a poll.
    pub(crate) fn poll_ended(&mut self, base: &mut Base, op: OperationId, ended: CallEnded) {
        let Some(operation) = self.running.get_mut(&op) else {
            return;
        };
        let OperationPhase::Watching(watching) = &mut operation.phase else {
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

    /// Makes the watches of a target read, after its item has changed on this node.
    pub(crate) fn item_changed(&mut self, base: &mut Base, target: Target) {
        let watching = self.watches.range((target, OperationId(0))..);
        let watching = watching.take_while(|(at, _)| *at == target);
        for (_, op) in watching {
            base.cx
                .timers
                .set_earlier(Timer::Watch(*op), base.cx.now.mono);
        }
    }

    /// Reads again, unless a read is in progress.
    pub(crate) fn watch_due(&mut self, base: &mut Base, queries: &mut Queries, op: OperationId) {
        match self.take_phase(op) {
            Some(OperationPhase::Watching(watching)) => {
                self.read_for_watch(base, queries, op, watching)
            }
            Some(other) => self.set_phase(op, other),
            None => {}
        }
    }

    /// Ends a watch without a newer version.
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

/// Schedules the next read soon if no poll is in progress.
fn read_soon(base: &mut Base, op: OperationId, watching: &Watching) {
    if watching.polls.is_empty() {
        let at = base.cx.now.mono.plus(PAUSE);
        base.cx.timers.set_earlier(Timer::Watch(op), at);
    }
}

/// Time that a peer may wait before it answers: less than the hard deadline of the call.
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
