//! The sessions, the dials in progress, and the callers that wait for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, Path, SessionUse};
use skydht_core::time::nanos;
use skydht_dmsg::session::{Keep, Role, Session, keep_which};
use skydht_dmsg::session_layer::{Dials, Joined, Running, Started};
use skydht_runtime::Runtime;

use crate::transport::TransportStats;

/// Maximum number of peers being dialled concurrently.
const MAX_DIALS: usize = 256;
/// Maximum number of addresses of one dial; callers that join it add their own.
const MAX_DIAL_ADDRS: usize = 8;
/// Maximum number of refused peers. The streams of further ones are reset one by one.
const MAX_REFUSED: usize = 1_024;
/// Two sessions established within this time were dialled concurrently, and both sides choose by
/// rule. Otherwise the newer stays: its dialer had no session, so the older one is dead.
const CONCURRENT_DIAL_WINDOW: Duration = Duration::from_secs(10);

/// A session that new streams may use.
#[derive(Clone)]
pub(super) struct LiveSession {
    pub(super) id: u64,
    pub(super) session: Session,
    pub(super) path: Path,
    role: Role,
    /// When it was established.
    since: Duration,
    /// When a stream was last opened or in use, in monotonic nanoseconds.
    used: Arc<AtomicU64>,
}

impl LiveSession {
    /// Marks the session as in use now.
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

/// The addresses of a dial, of which the first `tried` were returned already.
struct Addresses {
    all: Vec<SocketAddr>,
    tried: usize,
}

/// The sessions with one peer.
#[derive(Default)]
struct Peer {
    live: Option<LiveSession>,
    /// A session that another one replaced and whose streams may not have ended.
    retired: Option<u64>,
}

/// A session whose task is running.
struct RunningSession {
    peer: PublicKey,
    live: LiveSession,
}

/// Result of requesting a session.
pub(super) enum SessionRequest {
    Connected(LiveSession),
    Dial(Joined<Dialled>),
}

/// A session that was added to the table.
pub(super) struct Added {
    pub(super) live: LiveSession,
    /// Completes when the session must end immediately.
    pub(super) killed: oneshot::Receiver<()>,
    /// The replaced session or this one, to be closed when its streams have ended.
    pub(super) retired: Option<LiveSession>,
}

pub(super) struct SessionTable {
    running: Running<RunningSession>,
    peers: BTreeMap<PublicKey, Peer>,
    dials: Dials<PublicKey, Addresses, Dialled>,
    /// Refused peers, and until when.
    refused: BTreeMap<PublicKey, Duration>,
    closed: bool,
    stats: TransportStats,
}

impl SessionTable {
    pub(super) fn new(max_sessions: usize) -> Self {
        Self {
            running: Running::new(max_sessions),
            peers: BTreeMap::new(),
            dials: Dials::default(),
            refused: BTreeMap::new(),
            closed: false,
            stats: TransportStats::default(),
        }
    }

    pub(super) fn stats(&self) -> TransportStats {
        TransportStats {
            sessions: self.running.len(),
            streams: self.running.all().map(|it| it.live.streams()).sum(),
            dialling: self.dials.len(),
            ..self.stats
        }
    }

    pub(super) fn stats_mut(&mut self) -> &mut TransportStats {
        &mut self.stats
    }

    /// Returns the session with `peer`, or joins or registers a dial.
    pub(super) fn request(
        &mut self,
        peer: &PublicKey,
        addrs: &[SocketAddr],
        session: SessionUse,
    ) -> Result<SessionRequest, OpenFailure> {
        if self.closed {
            return Err(OpenFailure::Closing);
        }
        let live = self.peers.get(peer).and_then(|peer| peer.live.as_ref());
        if let Some(live) = live.filter(|live| !live.session.is_closed()) {
            return Ok(SessionRequest::Connected(live.clone()));
        }
        if session == SessionUse::ReuseOnly {
            return Err(OpenFailure::NoAddress);
        }
        if let Some(dial) = self.dials.get_mut(peer) {
            for addr in addrs {
                if dial.all.len() < MAX_DIAL_ADDRS && !dial.all.contains(addr) {
                    dial.all.push(*addr);
                }
            }
            self.stats.dials_shared += 1;
        } else {
            let first = addrs.first().ok_or(OpenFailure::NoAddress)?;
            if self.dials.len() >= MAX_DIALS {
                return Err(OpenFailure::Overloaded);
            }
            // Check before the handshake, which would be wasted and leave the peer with a session.
            if self.running.is_full() && self.victim(Some(first.ip())).is_none() {
                self.stats.refused += 1;
                return Err(OpenFailure::Overloaded);
            }
        }
        let joined = self.dials.join(*peer, || Addresses {
            all: addrs.iter().copied().take(MAX_DIAL_ADDRS).collect(),
            tried: 0,
        });
        Ok(SessionRequest::Dial(joined))
    }

    /// Returns the next address of a dial, while a caller still waits for it.
    pub(super) fn next_addr(&mut self, peer: &PublicKey) -> Option<SocketAddr> {
        if !self.dials.is_wanted(peer) {
            return None;
        }
        let dial = self.dials.get_mut(peer)?;
        let addr = dial.all.get(dial.tried).copied()?;
        dial.tried += 1;
        Some(addr)
    }

    /// Ends a dial and answers its waiters.
    pub(super) fn dialled(&mut self, peer: &PublicKey, result: Dialled) {
        if !self.dials.finish(peer, &result) {
            return;
        }
        match result {
            Ok(()) => self.stats.dials += 1,
            Err(_) => self.stats.dials_failed += 1,
        }
    }

    /// Adds a new session, unless a limit is reached or its peer is refused.
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
        let ip = path.remote.map(|addr| addr.ip());
        if unwanted || self.running.is_full() && !self.evict(ip) {
            self.stats.refused += 1;
            return Err(OpenFailure::Overloaded);
        }
        let live = |id| LiveSession {
            id,
            session,
            path,
            role,
            since: now,
            used: Arc::new(AtomicU64::new(nanos(now))),
        };
        let mut entered = None;
        let Started { killed, .. } = self.running.add(ip, |id| {
            let live = entered.insert(live(id)).clone();
            RunningSession { peer, live }
        });
        let Some(live) = entered else {
            return Err(OpenFailure::Closing); // unreachable: `add` calls the closure
        };
        let entry = self.peers.entry(peer).or_default();
        let mut retired = None;
        match entry.live.take().filter(|old| !old.session.is_closed()) {
            None => entry.live = Some(live.clone()),
            Some(old) => {
                self.stats.superseded += 1;
                let is_concurrent = now.saturating_sub(old.since) < CONCURRENT_DIAL_WINDOW;
                let (kept, loser) = match keep_which(local, &peer, old.role, role) {
                    Keep::Old if is_concurrent => (old, live.clone()),
                    Keep::Old | Keep::New => (live.clone(), old),
                };
                entry.live = Some(kept);
                // End a session that was retired before, since only one is tracked.
                if let Some(before) = entry.retired.replace(loser.id) {
                    self.running.remove(before);
                }
                retired = Some(loser);
            }
        }
        // The waiters have a session now. The dial itself continues: the peer may have seen it
        // already, and both sides must choose between the same two sessions.
        self.dials.answer(&peer, &Ok(()));
        Ok(Added {
            live,
            killed,
            retired,
        })
    }

    /// Returns the session that makes room for one from `ip`: one of the address with the most, or
    /// else one without streams of an address that has more; in both cases the least recently used.
    fn victim(&self, ip: Option<IpAddr>) -> Option<u64> {
        let order = |it: &RunningSession| (it.live.has_streams(), it.live.used());
        let of_largest = ip.and_then(|ip| self.running.largest_yields(ip, order));
        of_largest.or_else(|| {
            let is_idle = |it: &RunningSession| !it.live.has_streams();
            self.running.equal_yields(ip, is_idle, order)
        })
    }

    /// Ends the session that makes room. Returns whether there was one.
    fn evict(&mut self, ip: Option<IpAddr>) -> bool {
        let victim = self.victim(ip);
        let Some(RunningSession { peer, live }) = victim.and_then(|id| self.running.remove(id))
        else {
            return false;
        };
        match live.has_streams() {
            true => self.stats.displaced += 1,
            false => self.stats.idle_closed += 1,
        }
        self.forget(&peer, live.id);
        true
    }

    /// Stops using a session for new streams.
    pub(super) fn forget(&mut self, peer: &PublicKey, id: u64) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.live.take_if(|live| live.id == id);
            entry.retired.take_if(|retired| *retired == id);
            self.remove_unused(peer);
        }
    }

    /// Returns whether another session has replaced it, so that its end does not count as a loss.
    pub(super) fn is_retired(&self, peer: &PublicKey, id: u64) -> bool {
        let entry = self.peers.get(peer);
        entry.is_some_and(|entry| entry.retired == Some(id))
    }

    /// Ends the sessions with `peer` and refuses further ones until then.
    pub(super) fn refuse(&mut self, peer: PublicKey, now: Duration, until: Duration) {
        let ended = self.peers.get_mut(&peer).map(|entry| {
            let live = entry.live.take().map(|live| live.id);
            [live, entry.retired.take()]
        });
        for id in ended.into_iter().flatten().flatten() {
            self.running.remove(id);
        }
        self.remove_unused(&peer);
        self.refused.retain(|_, until| now < *until);
        if self.refused.len() < MAX_REFUSED {
            self.refused.insert(peer, until);
        }
    }

    /// Returns for how long `peer` is still refused.
    pub(super) fn refused_for(&self, peer: &PublicKey, now: Duration) -> Option<Duration> {
        let until = self.refused.get(peer)?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }

    /// Removes a session that has ended, or ends it immediately.
    pub(super) fn ended(&mut self, peer: &PublicKey, id: u64) {
        self.running.remove(id);
        self.forget(peer, id);
    }

    fn remove_unused(&mut self, peer: &PublicKey) {
        let unused = |peer: &Peer| peer.live.is_none() && peer.retired.is_none();
        if self.peers.get(peer).is_some_and(unused) {
            self.peers.remove(peer);
        }
    }

    /// Marks the transport as closed and returns the sessions to close.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        self.dials.answer_all(&Err(OpenFailure::Closing));
        let running = self.running.all();
        running.map(|it| it.live.session.clone()).collect()
    }

    /// Ends the tasks of all sessions.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.peers.clear();
        self.dials.clear();
    }
}

#[cfg(test)]
mod tests;
