//! Sessions with other full nodes: one at start and whenever a full node is met, then every five
//! minutes with one of them in turn.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, JobId, SyncId, VerifyTag};
use crate::node::items::intake::Rejection;
use crate::node::limits::Limit;
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::node::verify::Verdict;
use crate::store::{Candidate as StoreCandidate, Precheck, Refusal, Via};
use crate::sync::{Received, Session, SessionLimits, SessionOutput, Summary};
use crate::time::Mono;
use crate::wire::{Request, Response};

/// How often a full node reconciles with another one.
const SYNC_EVERY: Duration = Duration::from_secs(5 * 60);
/// How soon with one that has just been met.
const SYNC_SOON: Duration = Duration::from_millis(500);
/// How long a session waits for room among the signatures being checked.
const ROOM_PAUSE: Duration = Duration::from_millis(50);
/// Signatures of one session being checked at a time, and items judged in one step.
const SHARE: usize = 32;
/// Invalid signatures after which a session ends.
const MAX_FORGERIES: u8 = 3;
/// The first pause after a session with a peer failed; doubles.
const FAILED_PAUSE: Duration = Duration::from_secs(60);
/// Doublings of that pause.
const MAX_DOUBLINGS: u32 = 6;

/// A session under way.
struct Running {
    peer: PublicKey,
    session: Session,
    /// Items that came and are not judged yet: at most what one answer can hold.
    inbox: VecDeque<Received>,
    /// Signatures being checked.
    jobs: usize,
    /// The next request, until everything that came is judged.
    next: Option<alloc::vec::Vec<u8>>,
    finished: Option<Summary>,
    forgeries: u8,
}

/// When a peer may be reconciled with again.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// Not before.
    due: Mono,
    /// Sessions in a row that failed.
    failures: u32,
}

/// The sessions that this node started.
#[derive(Default)]
pub(crate) struct Sessions {
    running: BTreeMap<SyncId, Running>,
    last: u64,
    turns: BTreeMap<PublicKey, Turn>,
}

impl Sessions {
    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Looks for the next peer soon: a full node has been met.
    pub(crate) fn met_full_node(base: &mut Base) {
        if base.cx.config.full_node {
            let soon = base.cx.now.mono.plus(SYNC_SOON);
            base.cx.timers.set_earlier(Timer::Reconcile, soon);
        }
    }

    /// Starts sessions with the full nodes whose turn it is.
    pub(crate) fn start_due(&mut self, base: &mut Base) {
        if !base.cx.config.full_node || base.cx.stopping {
            return;
        }
        let now = base.cx.now.mono;
        let known = base.peers.store.full_nodes();
        self.turns.retain(|key, _| known.contains(key));
        let mut due: alloc::vec::Vec<(Mono, PublicKey)> = known
            .iter()
            .map(|key| (self.turns.get(key).map_or(Mono(0), |turn| turn.due), *key))
            .collect();
        // Who waited longest comes first.
        due.sort_unstable();
        for (at, key) in &due {
            if *at > now || !self.start(base, *key) {
                break;
            }
        }
        let next = due.iter().find(|(at, _)| *at > now).map(|(at, _)| *at);
        let next = next.unwrap_or_else(|| now.plus(SYNC_EVERY));
        let next = next.max(now.plus(SYNC_SOON));
        base.cx.timers.set_earlier(Timer::Reconcile, next);
    }

    /// Starts a session; returns whether there was room for it.
    fn start(&mut self, base: &mut Base, peer: PublicKey) -> bool {
        if self.running.len() >= base.cx.config.limits.sync_sessions {
            base.cx.hit(Limit::sync_sessions);
            return false;
        }
        let pause = base.cx.random.sync.jitter(SYNC_EVERY);
        let turn = self.turns.entry(peer).or_default();
        turn.due = base.cx.now.mono.plus(pause);
        if self.running.values().any(|running| running.peer == peer) {
            return true;
        }
        let salt = base.cx.random.sync.next().to_be_bytes();
        let view = base.items.store.sync_view(base.cx.now);
        let Ok(session) = Session::start(&view, salt, SessionLimits::default()) else {
            return true;
        };
        base.cx.counters.count(Counter::SyncsStarted);
        self.last += 1;
        let id = SyncId(self.last);
        let running = Running {
            peer,
            session,
            inbox: VecDeque::new(),
            jobs: 0,
            next: None,
            finished: None,
            forgeries: 0,
        };
        self.running.insert(id, running);
        self.advance(base, id);
        true
    }

    /// Judges what came, and asks on when all is judged.
    pub(crate) fn advance(&mut self, base: &mut Base, id: SyncId) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        while let Some(output) = running.session.poll_output() {
            match output {
                SessionOutput::Send(message) => running.next = Some(message),
                SessionOutput::Item(received) => running.inbox.push_back(received),
                SessionOutput::Finished(summary) => running.finished = Some(summary),
            }
        }
        for _ in 0..SHARE {
            if running.jobs >= SHARE {
                return;
            }
            let Some(received) = running.inbox.pop_front() else {
                break;
            };
            match take(base, id, &running.peer, received) {
                Taken::Judged => {}
                Taken::Verifying => running.jobs += 1,
                Taken::Later(received) => {
                    running.inbox.push_front(received);
                    let at = base.cx.now.mono.plus(ROOM_PAUSE);
                    return base.cx.timers.set(Timer::SyncRoom(id), at);
                }
            }
        }
        if !running.inbox.is_empty() {
            // Work in one step is bounded.
            return base.cx.timers.set(Timer::SyncRoom(id), base.cx.now.mono);
        }
        if let Some(message) = running.next.take() {
            let peer = Candidate {
                key: running.peer,
                id: running.peer.id(),
                addr: None,
            };
            let request = Request::Reconcile { message };
            if base.ask(peer, request, CallTag::Reconcile(id)).is_none() {
                self.end(base, id, false);
            }
        } else if running.finished.is_some() && running.jobs == 0 {
            self.end(base, id, true);
        }
    }

    /// A request was answered, or not.
    pub(crate) fn call_ended(&mut self, base: &mut Base, id: SyncId, ended: CallEnded) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        let view = base.items.store.sync_view(base.cx.now);
        let goes_on = match ended.result.map(|message| message.response) {
            Ok(Response::Reconcile { message }) => running.session.handle(&view, &message).is_ok(),
            _ => false,
        };
        if goes_on {
            self.advance(base, id);
        } else {
            self.end(base, id, false);
        }
    }

    /// A verdict on an item that a session brought; it is kept if valid, whether or not the session
    /// still runs.
    pub(crate) fn verified(&mut self, base: &mut Base, id: SyncId, job: JobId, verdict: Verdict) {
        let result = base.judge(job, verdict);
        let forged = matches!(result, Err(Rejection::Item(_)));
        match result {
            Ok(()) => {}
            Err(Rejection::Store(refusal)) => base.cx.count_refusal(refusal),
            Err(Rejection::Item(_)) => base.cx.counters.count(Counter::ForgedItems),
        }
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        running.jobs -= 1;
        running.forgeries += u8::from(forged);
        if running.forgeries >= MAX_FORGERIES {
            return self.end(base, id, false);
        }
        if running.jobs < SHARE / 2 {
            self.advance(base, id);
        }
    }

    /// A session is over.
    fn end(&mut self, base: &mut Base, id: SyncId, done: bool) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        base.cx.timers.cancel(Timer::SyncRoom(id));
        let summary = running.session.summary();
        let counters = &mut base.cx.counters;
        counters.add(Counter::SyncFetched, summary.fetched);
        counters.add(Counter::SyncGiven, summary.given);
        counters.add(Counter::SyncBytes, summary.bytes_in + summary.bytes_out);
        let turn = self.turns.entry(running.peer).or_default();
        if done {
            turn.failures = 0;
            return;
        }
        counters.count(Counter::SyncsFailed);
        let pause = FAILED_PAUSE * 2_u32.pow(turn.failures.min(MAX_DOUBLINGS));
        turn.failures = turn.failures.saturating_add(1);
        turn.due = base.cx.now.mono.plus(base.cx.random.sync.jitter(pause));
        base.cx.timers.set_earlier(Timer::Reconcile, turn.due);
    }

    /// Nothing goes on.
    pub(crate) fn stop(&mut self) {
        self.running.clear();
    }
}

/// What became of an item that came.
enum Taken {
    Judged,
    Verifying,
    Later(Received),
}

/// Sends an item on its way into the store.
fn take(base: &mut Base, id: SyncId, peer: &PublicKey, received: Received) -> Taken {
    if received.item.check_sizes().is_err() {
        return Taken::Judged;
    }
    let mut candidate = StoreCandidate::of_owner(received.item.clone(), Via::Pulled(*peer));
    candidate.life = Some(received.life);
    let nearer = base.nearer(&candidate.target);
    match base.items.precheck(&mut base.cx, &candidate, nearer) {
        Ok(Precheck::Held) => Taken::Judged,
        Err(Refusal::Busy) => Taken::Later(received),
        Err(refusal) => {
            base.cx.count_refusal(refusal);
            Taken::Judged
        }
        Ok(Precheck::Verify) => {
            if !base.may_verify(peer) {
                return Taken::Later(received);
            }
            base.verify(peer, candidate, VerifyTag::Synced(id));
            Taken::Verifying
        }
    }
}
