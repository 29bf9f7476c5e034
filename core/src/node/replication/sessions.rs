//! Sessions with other full nodes: with each once it is met, then every minute, since that costs
//! two short messages where both hold the same; passes with upstream's every hour, since these cost
//! all that it holds.

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
use crate::node::replication::arrival::{Arrived, Taken, take};
use crate::node::replication::go::{GoPass, Step};
use crate::node::rpc::calls::{CallEnded, CallFailure};
use crate::node::timers::Timer;
use crate::node::verify::Verdict;
use crate::sync::{Received, Session, SessionError, SessionLimits, SessionOutput};
use crate::time::Mono;
use crate::wire::{Request, Response, ResponseMessage};

/// How often a full node reconciles with another one.
const SYNC_EVERY: Duration = Duration::from_secs(60);
/// How often with an upstream full node, as upstream does.
const GO_EVERY: Duration = Duration::from_secs(60 * 60);
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

/// What finds the differences.
enum Engine {
    /// A ping is out: whether the peer is a full node, and of which kind, stands in its answer.
    Unknown,
    Ours(Box<Session>),
    Go(Box<GoPass>),
}

/// How a session ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Done,
    /// The peer was not reached, or room was short here.
    Unreached,
    /// The limits of a session are reached; the next one goes on.
    Unfinished,
    /// The peer says that it is no full node.
    NotFullNode,
    /// The peer breaks the rules, or does not do what a full node does.
    Broken,
    /// This node is no full node any more.
    Stopped,
}

impl End {
    /// What is said of it to those who asked for the session.
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

/// A session under way.
struct Running {
    peer: PublicKey,
    engine: Engine,
    /// Items that came and are not judged yet: at most what one answer can hold.
    inbox: VecDeque<Arrived>,
    /// Signatures being checked.
    jobs: usize,
    /// The next request, until everything that came is judged.
    next: Option<Request>,
    /// Everything was asked and given.
    finished: bool,
    /// Items that came, of a pass.
    fetched: u64,
    forgeries: u8,
    /// A request is out.
    calling: bool,
    /// The peer's own session goes on instead: nothing more is asked.
    yielded: bool,
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
    /// Peers whose next session a user waits for.
    asked: BTreeSet<PublicKey>,
    /// What came of sessions that users wait for.
    ended: Vec<PeerSync>,
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

    /// Looks for the first peers.
    pub(crate) fn begin(base: &mut Base) {
        if base.cx.config.full_node {
            let at = base.cx.now.mono.plus(SYNC_EVERY);
            base.cx.timers.set(Timer::Reconcile, at);
        }
    }

    /// The full nodes that are known: those that said so, upstream's among the bootstrap peers (as
    /// upstream's rule is), and who advertises it.
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

    /// Starts sessions now, with one peer or with all full nodes that are known; those for which
    /// there is no room follow. Returns with whom.
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
            self.asked.insert(*peer);
            self.turns.entry(*peer).or_default().due = Mono(0);
        }
        self.start_due(base);
        peers
    }

    /// What came of sessions that users wait for.
    pub(crate) fn take_ended(&mut self) -> Vec<PeerSync> {
        core::mem::take(&mut self.ended)
    }

    /// The sessions under way: with whom, and what they have brought.
    pub(crate) fn progress(&self) -> impl Iterator<Item = (PublicKey, SyncProgress)> {
        let running = self.running.values();
        running.map(|running| (running.peer, running.progress()))
    }

    /// Starts sessions with the full nodes whose turn it is.
    pub(crate) fn start_due(&mut self, base: &mut Base) {
        if !base.cx.config.full_node || base.cx.stopping {
            return;
        }
        let now = base.cx.now.mono;
        if base.loading.is_worth_waiting(now) {
            // What storage has would all seem to be missing here.
            return Self::met_full_node(base);
        }
        let mut known = Self::peers(base);
        known.extend(&self.asked);
        self.turns.retain(|key, _| known.contains(key));
        let turn = |key| self.turns.get(key).map_or(Mono(0), |turn| turn.due);
        let mut due: Vec<(Mono, PublicKey)> = known.iter().map(|key| (turn(key), *key)).collect();
        // Who waited longest comes first.
        due.sort_unstable();
        let mut next = now.plus(SYNC_EVERY);
        for (at, key) in due {
            if at > now {
                next = next.min(at);
                break;
            }
            if !self.start(base, key) {
                // A session that ends makes room.
                break;
            }
        }
        let next = next.max(now.plus(SYNC_SOON));
        base.cx.timers.set_earlier(Timer::Reconcile, next);
    }

    /// Starts a session; returns whether there was room for it.
    fn start(&mut self, base: &mut Base, peer: PublicKey) -> bool {
        if self.running.len() >= base.cx.config.limits.sync_sessions {
            base.cx.hit(Limit::sync_sessions);
            return false;
        }
        let ours = base.peers.store.full_nodes().contains(&peer);
        let pause = if ours { SYNC_EVERY } else { GO_EVERY };
        let pause = base.cx.random.sync.jitter(pause);
        let turn = self.turns.entry(peer).or_default();
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
        base.cx.measured.task_ran(Task::Reconcile, now);
        self.last += 1;
        let id = SyncId(self.last);
        let running = Running {
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

    /// A peer compares its store with this one, in a session that it started. That brings to both
    /// what either lacks, so none is started from here for a while; where both have started one,
    /// the smaller key's goes on.
    pub(super) fn asked_by(&mut self, base: &mut Base, peer: PublicKey) {
        if !base.cx.config.full_node || self.asked.contains(&peer) {
            return;
        }
        let room = self.turns.len() < 2 * base.cx.config.limits.full_nodes;
        if room || self.turns.contains_key(&peer) {
            let turn = self.turns.entry(peer).or_default();
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

    /// Judges what came, and asks on when all is judged.
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
            match take(base, id, &running.peer, arrived) {
                Taken::Judged => {}
                Taken::Verifying => running.jobs += 1,
                Taken::Later(arrived) => {
                    running.inbox.push_front(arrived);
                    let at = base.cx.now.mono.plus(ROOM_PAUSE);
                    return base.cx.timers.set(Timer::SyncRoom(id), at);
                }
            }
        }
        if !running.inbox.is_empty() {
            // Work in one step is bounded.
            return base.cx.timers.set(Timer::SyncRoom(id), base.cx.now.mono);
        }
        if let (Engine::Go(pass), None, false) =
            (&mut running.engine, &running.next, running.calling)
        {
            let view = base.items.store.sync_view(base.cx.now);
            match pass.next(&view) {
                Step::Ask(request) => running.next = Some(request),
                Step::Again => {
                    return base.cx.timers.set(Timer::SyncRoom(id), base.cx.now.mono);
                }
                Step::Done => running.finished = true,
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
                self.end(base, id, End::Unreached);
            }
        } else if running.finished && running.jobs == 0 {
            self.end(base, id, End::Done);
        }
    }

    /// A request was answered, or not.
    pub(crate) fn call_ended(&mut self, base: &mut Base, id: SyncId, ended: CallEnded) {
        let Some(running) = self.running.get_mut(&id) else {
            return;
        };
        running.calling = false;
        if let (Engine::Unknown, Ok(message)) = (&running.engine, &ended.result) {
            let is_ours = message.ext.is_some();
            let engine = match is_ours {
                true if base.peers.store.full_nodes().contains(&running.peer) => new_session(base),
                true => return self.end(base, id, End::NotFullNode),
                false => Some(new_pass(base)),
            };
            return match engine {
                Some(engine) => {
                    running.engine = engine;
                    self.advance(base, id);
                }
                None => self.end(base, id, End::Unreached),
            };
        }
        let view = base.items.store.sync_view(base.cx.now);
        let broken = match (&mut running.engine, ended.result) {
            // What it lacks, it does not want.
            (Engine::Ours(_), Ok(message)) if !says_full(&message) => Some(End::NotFullNode),
            (Engine::Ours(session), Ok(message)) => match message.response {
                Response::Reconcile { message } => match session.handle(&view, &message) {
                    Ok(()) => None,
                    // Much is different: the next session goes on.
                    Err(
                        SessionError::Rounds(_) | SessionError::Bytes(_) | SessionError::Waiting(_),
                    ) => Some(End::Unfinished),
                    Err(_) => Some(End::Broken),
                },
                _ => Some(End::Broken),
            },
            // One of upstream's that is one of ours by now.
            (Engine::Go(_), Ok(message)) if message.ext.is_some() => Some(End::NotFullNode),
            (Engine::Go(pass), Ok(message)) => match pass.answered(message.response) {
                Some(items) => {
                    running.fetched += items.len() as u64;
                    running
                        .inbox
                        .extend(items.into_iter().map(|item| (item, None)));
                    None
                }
                None => Some(End::Broken),
            },
            (Engine::Ours(_), Err(CallFailure::Protocol)) => Some(End::Broken),
            (Engine::Ours(_) | Engine::Unknown, _) => Some(End::Unreached),
            (Engine::Go(_), Err(CallFailure::Open(_))) => Some(End::Unreached),
            (Engine::Go(pass), Err(_)) => (!pass.failed()).then_some(End::Broken),
        };
        match broken {
            None => self.advance(base, id),
            Some(end) => self.end(base, id, end),
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
            return self.end(base, id, End::Broken);
        }
        if running.jobs < SHARE / 2 {
            self.advance(base, id);
        }
    }

    /// A session is over.
    fn end(&mut self, base: &mut Base, id: SyncId, end: End) {
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
        if end == End::Done {
            let now = base.cx.now.mono;
            base.cx.measured.task_did(Task::Reconcile, now);
        }
        let counters = &mut base.cx.counters;
        let progress = running.progress();
        counters.add(Counter::SyncFetched, progress.fetched);
        counters.add(Counter::SyncGiven, progress.given);
        counters.add(Counter::SyncBytes, progress.bytes);
        if self.asked.remove(&running.peer) {
            self.ended.push(PeerSync {
                peer: running.peer,
                result: end.result(),
                progress,
            });
        }
        let turn = self.turns.entry(running.peer).or_default();
        let pause = match end {
            End::Done => {
                turn.failures = 0;
                // Others may wait for its room.
                Duration::ZERO
            }
            End::Unreached | End::Unfinished | End::Stopped => SYNC_EVERY,
            End::NotFullNode | End::Broken => {
                let pause = FAILED_PAUSE * 2_u32.pow(turn.failures.min(MAX_DOUBLINGS));
                turn.failures = turn.failures.saturating_add(1);
                pause
            }
        };
        let soon = base.cx.now.mono.plus(SYNC_SOON);
        base.cx.timers.set_earlier(Timer::Reconcile, soon);
        if end != End::Done {
            if end != End::Stopped {
                base.cx.counters.count(Counter::SyncsFailed);
            }
            turn.due = base.cx.now.mono.plus(base.cx.random.sync.jitter(pause));
        }
    }

    /// Nothing goes on. What is being checked is kept if it is valid.
    pub(crate) fn stop(&mut self, base: &mut Base) {
        let running: Vec<SyncId> = self.running.keys().copied().collect();
        for id in running {
            self.end(base, id, End::Stopped);
        }
        let progress = SyncProgress::default();
        let result = End::Stopped.result();
        let asked = core::mem::take(&mut self.asked).into_iter();
        self.ended.extend(asked.map(|peer| PeerSync {
            peer,
            result,
            progress,
        }));
        self.turns.clear();
    }
}

/// Whether an answer says that its sender is a full node.
pub(super) fn says_full(message: &ResponseMessage) -> bool {
    message.ext.as_ref().is_some_and(|ext| ext.full_node)
}

/// A session with one of ours, begun.
fn new_session(base: &mut Base) -> Option<Engine> {
    let salt = base.cx.random.sync.next().to_be_bytes();
    let view = base.items.store.sync_view(base.cx.now);
    let session = Session::start(&view, salt, SessionLimits::default()).ok()?;
    Some(Engine::Ours(session.into()))
}

/// A pass with one of upstream's, begun.
fn new_pass(base: &Base) -> Engine {
    Engine::Go(GoPass::new(base.cx.config.item_ttl).into())
}

impl Running {
    /// What it has cost and brought so far.
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

    /// Takes what a session of ours has to say.
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
