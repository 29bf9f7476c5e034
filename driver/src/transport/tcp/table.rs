//! Which sessions there are, which dials are under way, and who waits for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, Path, SessionUse};
use skydht_core::time::nanos;
use skydht_dmsg::half_open::{Begun, HalfOpen};
use skydht_dmsg::session::{Keep, Role, Session, keep_which};
use skydht_runtime::Runtime;

use crate::transport::TransportStats;

/// Peers being dialled at once.
const MAX_DIALS: usize = 256;
/// Addresses of one dial; those who join it bring their own.
const MAX_DIAL_ADDRS: usize = 8;
/// Peers that are refused. When there are more, the others' streams are reset one by one.
const MAX_REFUSED: usize = 1_024;
/// Two sessions made within this were dialled at once, and both sides choose between them by
/// rule. Otherwise the newer stays: whoever dials has no session, so the older is dead.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A session that is used for new streams.
#[derive(Clone)]
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) session: Session,
    pub(super) path: Path,
    role: Role,
    since: Duration,
    /// When a stream was last opened, in monotonic nanoseconds.
    used: Arc<AtomicU64>,
}

impl Live {
    /// It is in use now.
    pub(super) fn touch<R: Runtime>(&self, runtime: &R) {
        let now = nanos(runtime.clocks().monotonic);
        self.used.store(now, Ordering::Relaxed);
    }

    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    fn streams(&self) -> usize {
        let counters = self.session.counters();
        counters.outbound + counters.inbound
    }

    pub(super) fn has_streams(&self) -> bool {
        self.streams() > 0
    }
}

type Dialled = Result<(), OpenFailure>;

/// A dial under way, and who waits for it.
struct Dial {
    addrs: Vec<SocketAddr>,
    tried: usize,
    waiting: Vec<oneshot::Sender<Dialled>>,
}

/// What there is for one peer.
#[derive(Default)]
struct Peer {
    live: Option<Live>,
    /// A session that another one replaced and that still has streams.
    retired: Option<u64>,
    dial: Option<Dial>,
}

/// A session's task, to end it.
struct Running {
    peer: PublicKey,
    live: Live,
    _kill: oneshot::Sender<()>,
}

/// How an open goes on.
pub(super) enum Joined {
    /// There is a session.
    Live(Live),
    /// Somebody dials already.
    Dialling(oneshot::Receiver<Dialled>),
    /// The caller dials.
    Dial(oneshot::Receiver<Dialled>),
}

/// What became of a new session.
pub(super) struct Added {
    pub(super) live: Live,
    /// Completes when the session must end at once.
    pub(super) killed: oneshot::Receiver<()>,
    /// It, or the one that it replaced, ends when its streams have.
    pub(super) retired: Option<Live>,
}

pub(super) struct Table {
    peers: BTreeMap<PublicKey, Peer>,
    /// Peers whose sessions are not wanted, and until when.
    refused: BTreeMap<PublicKey, Duration>,
    running: BTreeMap<u64, Running>,
    dials: usize,
    max_sessions: usize,
    /// Handshakes of peers under way.
    handshakes: HalfOpen,
    next_id: u64,
    /// Ends the listener when dropped.
    listening: Option<oneshot::Sender<()>>,
    closed: bool,
    stats: TransportStats,
}

impl Table {
    pub(super) fn new(max_sessions: usize, handshakes: HalfOpen) -> Self {
        Self {
            peers: BTreeMap::new(),
            refused: BTreeMap::new(),
            running: BTreeMap::new(),
            dials: 0,
            max_sessions,
            handshakes,
            next_id: 0,
            listening: None,
            closed: false,
            stats: TransportStats::default(),
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn stats(&self) -> TransportStats {
        TransportStats {
            sessions: self.running.len(),
            streams: self.running.values().map(|it| it.live.streams()).sum(),
            dialling: self.dials,
            handshaking: self.handshakes.len(),
            ..self.stats
        }
    }

    pub(super) fn stats_mut(&mut self) -> &mut TransportStats {
        &mut self.stats
    }

    /// Finds a way to `peer`, or waits with others for one.
    pub(super) fn join(
        &mut self,
        peer: &PublicKey,
        addrs: &[SocketAddr],
        session: SessionUse,
    ) -> Result<Joined, OpenFailure> {
        if self.closed {
            return Err(OpenFailure::Closing);
        }
        let entry = self.peers.get_mut(peer);
        if let Some(live) = entry.as_ref().and_then(|peer| peer.live.as_ref())
            && !live.session.is_closed()
        {
            return Ok(Joined::Live(live.clone()));
        }
        if session == SessionUse::ReuseOnly {
            return Err(OpenFailure::NoAddress);
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(dial) = entry.and_then(|peer| peer.dial.as_mut()) {
            for addr in addrs {
                if dial.addrs.len() < MAX_DIAL_ADDRS && !dial.addrs.contains(addr) {
                    dial.addrs.push(*addr);
                }
            }
            dial.waiting.push(sender);
            self.stats.dials_shared += 1;
            return Ok(Joined::Dialling(receiver));
        }
        if addrs.is_empty() {
            return Err(OpenFailure::NoAddress);
        }
        if self.dials >= MAX_DIALS {
            return Err(OpenFailure::Overloaded);
        }
        // Not after a handshake that is for nothing, and that leaves the peer with a session.
        if self.running.len() >= self.max_sessions && self.idle().is_none() {
            self.stats.refused += 1;
            return Err(OpenFailure::Overloaded);
        }
        self.dials += 1;
        self.peers.entry(*peer).or_default().dial = Some(Dial {
            addrs: addrs.iter().copied().take(MAX_DIAL_ADDRS).collect(),
            tried: 0,
            waiting: vec![sender],
        });
        Ok(Joined::Dial(receiver))
    }

    /// The next address of a dial that somebody still waits for.
    pub(super) fn next_addr(&mut self, peer: &PublicKey) -> Option<SocketAddr> {
        let dial = self.peers.get_mut(peer)?.dial.as_mut()?;
        if dial.waiting.iter().all(oneshot::Sender::is_canceled) {
            return None;
        }
        let addr = dial.addrs.get(dial.tried).copied()?;
        dial.tried += 1;
        Some(addr)
    }

    /// Ends a dial and tells who waits.
    pub(super) fn dialled(&mut self, peer: &PublicKey, result: Dialled) {
        let Some(entry) = self.peers.get_mut(peer) else {
            return;
        };
        let Some(dial) = entry.dial.take() else {
            return;
        };
        self.dials -= 1;
        match result {
            Ok(()) => self.stats.dials += 1,
            Err(_) => self.stats.dials_failed += 1,
        }
        for waiting in dial.waiting {
            let _ = waiting.send(result);
        }
        self.sweep(peer);
    }

    /// Enters a new session, unless a limit forbids it.
    pub(super) fn add(
        &mut self,
        now: Duration,
        local: &PublicKey,
        peer: PublicKey,
        session: Session,
        role: Role,
        path: Path,
    ) -> Result<Added, OpenFailure> {
        if self.closed {
            return Err(OpenFailure::Closing);
        }
        let unwanted = self.refused_for(&peer, now).is_some();
        if unwanted || self.running.len() >= self.max_sessions && !self.evict() {
            self.stats.refused += 1;
            return Err(OpenFailure::Overloaded);
        }
        let live = Live {
            id: self.fresh_id(),
            session,
            path,
            role,
            since: now,
            used: Arc::new(AtomicU64::new(nanos(now))),
        };
        let (kill, killed) = oneshot::channel();
        self.running.insert(
            live.id,
            Running {
                peer,
                live: live.clone(),
                _kill: kill,
            },
        );
        let entry = self.peers.entry(peer).or_default();
        let mut retired = None;
        match entry.live.take().filter(|old| !old.session.is_closed()) {
            None => entry.live = Some(live.clone()),
            Some(old) => {
                self.stats.superseded += 1;
                let at_once = now.saturating_sub(old.since) < AT_ONCE;
                let (kept, loser) = match keep_which(local, &peer, old.role, role) {
                    Keep::Old if at_once => (old, live.clone()),
                    Keep::Old | Keep::New => (live.clone(), old),
                };
                entry.live = Some(kept);
                // One that was retired before is given no more time.
                if let Some(before) = entry.retired.replace(loser.id) {
                    self.running.remove(&before);
                }
                retired = Some(loser);
            }
        }
        // Whoever waits for a dial has a session now. The dial itself goes on: the peer may
        // have seen it already, and both sides must choose between the same two.
        if let Some(dial) = self
            .peers
            .get_mut(&peer)
            .and_then(|peer| peer.dial.as_mut())
        {
            for waiting in dial.waiting.drain(..) {
                let _ = waiting.send(Ok(()));
            }
        }
        Ok(Added {
            live,
            killed,
            retired,
        })
    }

    /// The session without streams that was used least recently.
    fn idle(&self) -> Option<&Running> {
        let idle = self.running.values().filter(|it| !it.live.has_streams());
        idle.min_by_key(|it| (it.live.used(), it.live.id))
    }

    /// Ends that one. Whether there was one.
    fn evict(&mut self) -> bool {
        let Some(oldest) = self.idle() else {
            return false;
        };
        let (peer, id) = (oldest.peer, oldest.live.id);
        self.stats.idle_closed += 1;
        self.ended(&peer, id);
        true
    }

    /// Uses a session for nothing new.
    pub(super) fn forget(&mut self, peer: &PublicKey, id: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.live.take_if(|live| live.id == id);
            entry.retired.take_if(|retired| *retired == id);
            self.sweep(peer);
        }
    }

    /// Whether another session took its place: then its end is no loss.
    pub(super) fn is_retired(&self, peer: &PublicKey, id: u64) -> bool {
        let entry = self.peers.get(peer);
        entry.is_some_and(|entry| entry.retired == Some(id))
    }

    /// Ends the sessions with `peer` and takes none until then.
    pub(super) fn refuse(&mut self, peer: PublicKey, now: Duration, until: Duration) {
        let ended = self.peers.get_mut(&peer).map(|entry| {
            let live = entry.live.take().map(|live| live.id);
            [live, entry.retired.take()]
        });
        for id in ended.into_iter().flatten().flatten() {
            self.running.remove(&id);
        }
        self.sweep(&peer);
        self.refused.retain(|_, until| now < *until);
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(peer, until);
        }
    }

    /// For how long no session with `peer` is wanted.
    pub(super) fn refused_for(&self, peer: &PublicKey, now: Duration) -> Option<Duration> {
        let until = self.refused.get(peer)?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// A session has ended, or must at once.
    pub(super) fn ended(&mut self, peer: &PublicKey, id: u64) {
        self.running.remove(&id);
        self.forget(peer, id);
    }

    fn sweep(&mut self, peer: &PublicKey) {
        let unused =
            |peer: &Peer| peer.live.is_none() && peer.retired.is_none() && peer.dial.is_none();
        if self.peers.get(peer).is_some_and(unused) {
            self.peers.remove(peer);
        }
    }

    /// A peer at `ip` begins a handshake. `None` once closed.
    pub(super) fn begin_handshake(&mut self, ip: IpAddr) -> Option<Begun> {
        if self.closed {
            return None;
        }
        let begun = self.handshakes.begin(ip);
        self.stats.handshakes_dropped += u64::from(begun.displaced);
        Some(begun)
    }

    /// A handshake's first message was valid.
    pub(super) fn greeted(&mut self, id: u64) {
        self.handshakes.greeted(id);
    }

    pub(super) fn end_handshake(&mut self, id: u64) {
        self.handshakes.end(id);
    }

    /// Completes when listening must end.
    pub(super) fn listen(&mut self) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        if !self.closed {
            self.listening = Some(stop);
        }
        stopped
    }

    /// Takes nothing new, and returns the sessions to be closed.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        self.listening = None;
        self.handshakes.clear();
        for peer in self.peers.values_mut() {
            for waiting in peer.dial.iter_mut().flat_map(|dial| dial.waiting.drain(..)) {
                let _ = waiting.send(Err(OpenFailure::Closing));
            }
        }
        let running = self.running.values();
        running.map(|it| it.live.session.clone()).collect()
    }

    /// Ends every session that is still there.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.peers.clear();
        self.dials = 0;
    }
}
