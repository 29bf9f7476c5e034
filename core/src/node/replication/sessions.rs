//! Sessions with other full nodes. With each one as soon as it is met, then every minute, since
//! that costs two short messages if both have the same items. Passes with upstream's full nodes
//! every hour, since each transfers all their items.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::{CallTag, JobId, SyncId};
use crate::node::items::intake::Rejection;
use crate::node::limits::Limit;
use crate::node::measurements::{SyncKind, SyncResult, Task};
use crate::node::outcome::{PeerSync, SyncFailure, SyncProgress};
use crate::node::peers::records::Dialect;
use crate::node::replication::adverts;
use crate::node::replication::arrival::{Arrived, Intake, submit};
use crate::node::replication::go::{GoPass, PassStep};
use crate::node::rpc::calls::{CallEnded, CallFailure};
use crate::node::timers::Timer;
use crate::node::verify::Verdict;
use crate::sync::{Received, Session, SessionError, SessionLimits, SessionOutput};
use crate::time::Mono;
use crate::wire::{Request, Response, ResponseMessage};

/// Interval between sessions with a full node.
const SYNC_EVERY: Duration = Duration::from_secs(60);
/// Interval between passes with an upstream full node, as in upstream.
const GO_EVERY: Duration = Duration::from_secs(60 * 60);
/// Delay before a session with a full node that has just been met.
const SYNC_SOON: Duration = Duration::from_millis(500);
/// Pause before a session tries again to start a verification when the limit on jobs is reached.
const ROOM_PAUSE: Duration = Duration::from_millis(50);
/// Maximum number of signatures of one session being checked, and of items judged in one step.
const SHARE: usize = 32;
/// Number of invalid signatures after which a session ends.
const MAX_FORGERIES: u8 = 3;
/// First pause after a failed session with a peer; doubles with each failure.
const FAILED_PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of doublings of that pause.
const MAX_DOUBLINGS: u32 = 6;

/// The protocol that finds the differences.
enum Engine {
    /// A ping is in progress: its answer says whether the peer is a full node, and of which kind.
    Unknown,
    Ours(Box<Session>),
    Go(Box<GoPass>),
}

/// The result of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SessionEnd {
    Done,
    /// The peer was not reached, or a local limit prevented the session.
    Unreached,
    /// The limits of a session were reached; the next one continues.
    Unfinished,
    /// The peer says that it is not a full node.
    NotFullNode,
    /// The peer violates the protocol, or does not do what a full node does.
    Broken,
    /// This node is no longer a full node.
    Stopped,
}

impl SessionEnd {
    /// The result for the users who requested the session.
    const fn result(self) -> Result<(), SyncFailure> {
        match self {
            Self::Done => Ok(()),
            Self::Unreached => Err(SyncFailure::Unreached),
            Self::Unfinished => Err(SyncFailure::Unfinished),
            Self::NotFullNode => Err(SyncFailure::NotFullNode),
            Self::Broken => Err(SyncFailure::Broken),
            Self::Stopped => Err(SyncFailure::Stopped),
        }
    }

    const fn measured(self) -> SyncResult {
        match self {
            Self::Done => SyncResult::Done,
            Self::Unreached => SyncResult::Unreached,
            Self::Unfinished => SyncResult::Unfinished,
            Self::NotFullNode => SyncResult::NotFullNode,
            Self::Broken => SyncResult::Broken,
            Self::Stopped => SyncResult::Stopped,
        }
    }
}

/// A running session.
struct RunningSession {
    peer: PublicKey,
    engine: Engine,
    /// Fetched items that are not judged yet: at most the content of one answer.
    inbox: VecDeque<Arrived>,
    /// Signatures being checked.
    jobs: usize,
    /// The next request, kept back until every fetched item is judged.
    next: Option<Request>,
    /// Everything has been requested and given.
    finished: bool,
    /// Number of items fetched by a pass.
    fetched: u64,
    forgeries: u8,
    /// Whether a request is in progress.
    calling: bool,
    /// Whether the session ends in favour of the peer's own session, without further requests.
    yielded: bool,
}

/// When a peer may be reconciled with again.
#[derive(Clone, Copy, Default)]
struct PeerSchedule {
    /// Earliest time of the next session.
    due: Mono,
    /// Consecutive failed sessions.
    failures: u32,
}

/// The sessions that this node starts.
#[derive(Default)]
pub(crate) struct Sessions {
    running: BTreeMap<SyncId, RunningSession>,
    last: u64,
    schedules: BTreeMap<PublicKey, PeerSchedule>,
    /// Peers whose next session a user has requested.
    requested: BTreeSet<PublicKey>,
    /// Results of sessions that users requested.
    ended: Vec<PeerSync>,
}

impl Sessions {
    /// Number of running sessions.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Schedules the next session soon, after a full node has been met.
    pub(crate) fn schedule_soon(base: &mut Base) {
        if base.cx.config.full_node {
            let soon = base.cx.now.mono.plus(SYNC_SOON);
            base.cx.timers.set_earlier(Timer::Reconcile, soon);
        }
    }

    /// Schedules the first sessions.
    pub(crate) fn schedule_first(base: &mut Base) {
        if base.cx.config.full_node {
            let at = base.cx.now.mono.plus(SYNC_EVERY);
            base.cx.timers.set(Timer::Reconcile, at);
        }
    }

    /// The known full nodes: peers that said so, upstream's nodes among the bootstrap peers (as in
    /// upstream), and signers of adverts.
    fn peers(base: &Base) -> BTreeSet<PublicKey> {
        let most = base.cx.config.limits.full_nodes;
        let mut peers = adverts::signers(base, most);
        let go = base.cx.config.bootstrap.iter().map(|peer| peer.key);
        let go = go.filter(|key| base.peers.store.dialect(key) == Dialect::Go);
        peers.extend(go);
        peers.extend(base.peers.store.full_nodes());
        peers.remove(&base.cx.public);
        peers
    }

    /// Starts sessions immediately with one peer or with all known full nodes; those above the
    /// limit follow. Returns the peers.
    pub(crate) fn request(
        &mut self,
        base: &mut Base,
        peer: Option<PublicKey>,
    ) -> BTreeSet<PublicKey> {
        let peers = match peer {
            Some(peer) => BTreeSet::from([peer]),
            None => Self::peers(base),
        };
        for peer in &peers {
            self.requested.insert(*peer);
            self.schedules.entry(*peer).or_default().due = Mono(0);
        }
        self.start_due(base);
        peers
    }

    /// Takes the results of sessions that users requested.
    pub(crate) fn take_ended(&mut self) -> Vec<PeerSync> {
        core::mem::take(&mut self.ended)
    }

    /// The running sessions: the peer, and the progress of each.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (PublicKey, SyncProgress)> {
        let running = self.running.values();
        running.map(|running| (running.peer, running.progress()))
    }

    /// Starts sessions with the full nodes that are due.
    pub(crate) fn start_due(&mut self, base: &mut Base) {
        if !base.cx.config.full_node || base.cx.stopping {
            return;
        }
        let now = base.cx.now.mono;
        if base.loading.is_worth_waiting(now) {
            // Everything in storage would appear to be missing here.
            return Self::schedule_soon(base);
        }
        let mut known = Self::peers(base);
        known.extend(&self.requested);
        self.schedules.retain(|key, _| known.contains(key));
        let turn = |key| self.schedules.get(key).map_or(Mono(0), |turn| turn.due);
        let mut due: Vec<(Mono, PublicKey)> = known.iter().map(|key| (turn(key), *key)).collect();
        // The longest-waiting peer comes first.
        due.sort_unstable();
        let mut next = now.plus(SYNC_EVERY);
        for (at, key) in due {
            if at > now {
                next = next.min(at);
                break;
            }
            if !self.start(base, key) {
                // The end of a running session frees its slot.
                break;
            }
        }
        let next = next.max(now.plus(SYNC_SOON));
        base.cx.timers.set_earlier(Timer::Reconcile, next);
    }

    /// Starts a session. Returns false if the limit on sessions is reached.
    fn start(&mut self, base: &mut Base, peer: PublicKey) -> bool {
        if self.running.len() >= base.cx.config.limits.sync_sessions {
            base.cx.hit(Limit::sync_sessions);
            return false;
        }
        let ours = base.peers.store.full_nodes().contains(&peer);
        let pause = if ours { SYNC_EVERY } else { GO_EVERY };
        let pause = base.cx.random.sync.jitter(pause);
        let turn = self.schedules.entry(peer).or_default();
        turn.due = base.cx.now.mono.plus(pause);
        if self.running.values().any(|running| running.peer == peer) {
            return true;
        }
        let (engine, next) = match base.peers.store.dialect(&peer) {
            _ if ours => match new_session(base) {
                Some(engine) => (engine, None),
                None => return true,
            },
            Dialect::Go => (new_pass(base), None),
            Dialect::Unknown | Dialect::Skydht => (Engine::Unknown, Some(Request::Ping)),
        };
        base.cx.counters.count(Counter::SyncsStarted);
        let now = base.cx.now.mono;
        base.cx.measured.task_started(Task::Reconcile, now);
        self.last += 1;
        let id = SyncId(self.last);
        let running = RunningSession {
            peer,
            engine,
            inbox: VecDeque::new(),
            jobs: 0,
            next,
            finished: false,
            fetched: 0,
            forgeries: 0,
            calling: false,
            yielded: false,
        };
        self.running.insert(id, running);
        self.advance(base, id);
        true
    }

    /// Takes note of a session that a peer runs with this node. It brings both up to date, so this
    /// node starts none for a while. If both have started one, that of the smaller key continues.
    pub(super) fn on_peer_session(&mut self, base: &mut Base, peer: PublicKey) {
        if !base.cx.config.full_node || self.requested.contains(&peer) {
            return;
        }
        let room = self.schedules.len() < 2 * base.cx.config.limits.full_nodes;
        if room || self.schedules.contains_key(&peer) {
            let turn = self.schedules.entry(peer).or_default();
            turn.due = turn.due.max(base.cx.now.mono.plus(SYNC_EVERY));
        }
        if peer > base.cx.public {
            return;
        }
        let mut running = self.running.iter_mut();
        let running = running.find(|(_, running)| running.peer == peer && !running.yielded);
        let Some((id, running)) = running else {
            return;
        };
        if matches!(running.engine, Engine::Ours(_)) {
            running.yielded = true;
            let id = *id;
            self.advance(base, id);
        }
    }

    /// Judges fetched items, and sends the next request when all are judged.
    pub(crate) fn advance(&mut self, base: &mut Base, id: SyncId) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        running.drain();
        if running.yielded {
            running.next = None;
            running.finished = !running.calling;
        }
        for _ in 0..SHARE {
            if running.jobs >= SHARE {
                return;
            }
            let Some(arrived) = running.inbox.pop_front() else {
                break;
            };
            match submit(base, id, &running.peer, arrived) {
                Intake::Judged => {}
                Intake::Verifying => running.jobs += 1,
                Intake::Later(arrived) => {
                    running.inbox.push_front(arrived);
                    let at = base.cx.now.mono.plus(ROOM_PAUSE);
                    return base.cx.timers.set(Timer::SyncRoom(id), at);
                }
            }
        }
        if !running.inbox.is_empty() {
            // The work of one step is bounded.
            return base.cx.timers.set(Timer::SyncRoom(id), base.cx.now.mono);
        }
        if let (Engine::Go(pass), None, false) =
            (&mut running.engine, &running.next, running.calling)
        {
            let view = base.items.store.sync_view(base.cx.now);
            match pass.next(&view) {
                PassStep::Ask(request) => running.next = Some(request),
                PassStep::Again => {
                    return base.cx.timers.set(Timer::SyncRoom(id), base.cx.now.mono);
                }
                PassStep::Done => running.finished = true,
            }
        }
        if let Some(request) = running.next.take() {
            let peer = Candidate {
                key: running.peer,
                id: running.peer.id(),
                addr: None,
            };
            running.calling = true;
            if base.ask(peer, request, CallTag::Reconcile(id)).is_none() {
                self.end(base, id, SessionEnd::Unreached);
            }
        } else if running.finished && running.jobs == 0 {
            self.end(base, id, SessionEnd::Done);
        }
    }

    /// Takes the result of a request.
    pub(crate) fn call_ended(&mut self, base: &mut Base, id: SyncId, ended: CallEnded) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        running.calling = false;
        if let (Engine::Unknown, Ok(message)) = (&running.engine, &ended.result) {
            let is_ours = message.ext.is_some();
            let engine = match is_ours {
                true if base.peers.store.full_nodes().contains(&running.peer) => new_session(base),
                true => return self.end(base, id, SessionEnd::NotFullNode),
                false => Some(new_pass(base)),
            };
            return match engine {
                Some(engine) => {
                    running.engine = engine;
                    self.advance(base, id);
                }
                None => self.end(base, id, SessionEnd::Unreached),
            };
        }
        let view = base.items.store.sync_view(base.cx.now);
        let broken = match (&mut running.engine, ended.result) {
            // A peer that is no longer a full node does not need what it lacks.
            (Engine::Ours(_), Ok(message)) if !announces_full_node(&message) => {
                Some(SessionEnd::NotFullNode)
            }
            (Engine::Ours(session), Ok(message)) => match message.response {
                Response::Reconcile { message } => match session.handle(&view, &message) {
                    Ok(()) => None,
                    // The sets differ by much; the next session continues.
                    Err(
                        SessionError::Rounds(_) | SessionError::Bytes(_) | SessionError::Waiting(_),
                    ) => Some(SessionEnd::Unfinished),
                    Err(_) => Some(SessionEnd::Broken),
                },
                _ => Some(SessionEnd::Broken),
            },
            // The peer has switched from upstream's implementation to this one.
            (Engine::Go(_), Ok(message)) if message.ext.is_some() => Some(SessionEnd::NotFullNode),
            (Engine::Go(pass), Ok(message)) => match pass.answered(message.response) {
                Some(items) => {
                    running.fetched += items.len() as u64;
                    running
                        .inbox
                        .extend(items.into_iter().map(|item| (item, None)));
                    None
                }
                None => Some(SessionEnd::Broken),
            },
            (Engine::Ours(_), Err(CallFailure::Protocol)) => Some(SessionEnd::Broken),
            (Engine::Ours(_) | Engine::Unknown, _) => Some(SessionEnd::Unreached),
            (Engine::Go(_), Err(CallFailure::Open(_))) => Some(SessionEnd::Unreached),
            (Engine::Go(pass), Err(_)) => (!pass.failed()).then_some(SessionEnd::Broken),
        };
        match broken {
            None => self.advance(base, id),
            Some(end) => self.end(base, id, end),
        }
    }

    /// Takes the verdict on a fetched item. A valid item is stored even if the session has ended.
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
            return self.end(base, id, SessionEnd::Broken);
        }
        if running.jobs < SHARE / 2 {
            self.advance(base, id);
        }
    }

    /// Ends a session.
    fn end(&mut self, base: &mut Base, id: SyncId, end: SessionEnd) {
        let Some(running) = self.running.remove(&id) else {
            return;
        };
        base.cx.timers.cancel(Timer::SyncRoom(id));
        let kind = match running.engine {
            Engine::Unknown => SyncKind::Unknown,
            Engine::Ours(_) => SyncKind::Reconcile,
            Engine::Go(_) => SyncKind::Pages,
        };
        let measured = (kind, end.measured());
        base.cx.measured.syncs.count(measured);
        if end == SessionEnd::Done {
            let now = base.cx.now.mono;
            base.cx.measured.task_succeeded(Task::Reconcile, now);
        }
        let counters = &mut base.cx.counters;
        let progress = running.progress();
        counters.add(Counter::SyncFetched, progress.fetched);
        counters.add(Counter::SyncGiven, progress.given);
        counters.add(Counter::SyncBytes, progress.bytes);
        if self.requested.remove(&running.peer) {
            self.ended.push(PeerSync {
                peer: running.peer,
                result: end.result(),
                progress,
            });
        }
        let turn = self.schedules.entry(running.peer).or_default();
        let pause = match end {
            SessionEnd::Done => {
                turn.failures = 0;
                // Others may wait for its slot.
                Duration::ZERO
            }
            SessionEnd::Unreached | SessionEnd::Unfinished | SessionEnd::Stopped => SYNC_EVERY,
            SessionEnd::NotFullNode | SessionEnd::Broken => {
                let pause = FAILED_PAUSE * 2_u32.pow(turn.failures.min(MAX_DOUBLINGS));
                turn.failures = turn.failures.saturating_add(1);
                pause
            }
        };
        let soon = base.cx.now.mono.plus(SYNC_SOON);
        base.cx.timers.set_earlier(Timer::Reconcile, soon);
        if end != SessionEnd::Done {
            if end != SessionEnd::Stopped {
                base.cx.counters.count(Counter::SyncsFailed);
            }
            turn.due = base.cx.now.mono.plus(base.cx.random.sync.jitter(pause));
        }
    }

    /// Stops all sessions. Items being checked are still stored if valid.
    pub(crate) fn stop(&mut self, base: &mut Base) {
        let running: Vec<SyncId> = self.running.keys().copied().collect();
        for id in running {
            self.end(base, id, SessionEnd::Stopped);
        }
        let progress = SyncProgress::default();
        let result = SessionEnd::Stopped.result();
        let asked = core::mem::take(&mut self.requested).into_iter();
        self.ended.extend(asked.map(|peer| PeerSync {
            peer,
            result,
            progress,
        }));
        self.schedules.clear();
    }
}

/// Whether an answer says that its sender is a full node.
pub(super) fn announces_full_node(message: &ResponseMessage) -> bool {
    message.ext.as_ref().is_some_and(|ext| ext.full_node)
}

/// Starts a reconciliation session. `None` if the store does not fit its limits.
fn new_session(base: &mut Base) -> Option<Engine> {
    let salt = base.cx.random.sync.next().to_be_bytes();
    let view = base.items.store.sync_view(base.cx.now);
    let session = Session::start(&view, salt, SessionLimits::default()).ok()?;
    Some(Engine::Ours(session.into()))
}

/// Starts a pass with an upstream node.
fn new_pass(base: &Base) -> Engine {
    Engine::Go(GoPass::new(base.cx.config.item_ttl).into())
}

impl RunningSession {
    /// Cost and yield so far.
    fn progress(&self) -> SyncProgress {
        match &self.engine {
            Engine::Unknown => SyncProgress::default(),
            Engine::Ours(session) => {
                let summary = session.summary();
                SyncProgress {
                    rounds: summary.rounds,
                    fetched: summary.fetched,
                    given: summary.given,
                    bytes: summary.bytes_in + summary.bytes_out,
                    item_bytes: summary.item_bytes,
                }
            }
            Engine::Go(pass) => SyncProgress {
                rounds: pass.requests,
                fetched: self.fetched,
                given: pass.given,
                ..SyncProgress::default()
            },
        }
    }

    /// Takes the outputs of a reconciliation session.
    fn drain(&mut self) {
        let Engine::Ours(session) = &mut self.engine else {
            return;
        };
        while let Some(output) = session.poll_output() {
            match output {
                SessionOutput::Send(message) => self.next = Some(Request::Reconcile { message }),
                SessionOutput::Item(Received { item, life }) => {
                    self.inbox.push_back((item, Some(life)));
                }
                SessionOutput::Finished(_) => self.finished = true,
            }
        }
    }
}
