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
use skydht_dmsg::session::{Keep, Role, Session, keep_which};
use skydht_dmsg::session_layer::{Dials, Joined, Running, Started};
use skydht_runtime::Runtime;

use crate::transport::TransportStats;

/// Peers being dialled at once.
const MAX_DIALS: usize = 256;
/// Addresses of one dial; those who join it bring their own.
const MAX_DIAL_ADDRS: usize = 8;
/// Peers that are refused. When there are more, the others' streams are reset one by one.
const MAX_REFUSED: usize = 1_024;
/// Two sessions made within this were dialled at once, and both sides choose between them by
/// rule. Otherwise the newer stays: the dialler has no session, so the older is dead.
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

/// The addresses of a dial.
struct Addresses {
    all: Vec<SocketAddr>,
    tried: usize,
}

/// The sessions with one peer.
#[derive(Default)]
struct Peer {
    live: Option<Live>,
    /// A session that another one replaced and that still has streams.
    retired: Option<u64>,
}

/// A session whose task runs.
struct Open {
    peer: PublicKey,
    live: Live,
}

/// Result of requesting a session.
pub(super) enum SessionRequest {
    Connected(Live),
    Dial(Joined<Dialled>),
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
    running: Running<Open>,
    peers: BTreeMap<PublicKey, Peer>,
    dials: Dials<PublicKey, Addresses, Dialled>,
    /// Peers whose sessions are not wanted, and until when.
    refused: BTreeMap<PublicKey, Duration>,
    closed: bool,
    stats: TransportStats,
}

impl Table {
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

    /// Finds a way to `peer`, or waits with others for one.
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
            // Not after a handshake that is for nothing, and that leaves the peer with a session.
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

    /// The next address of a dial that a caller still waits for.
    pub(super) fn next_addr(&mut self, peer: &PublicKey) -> Option<SocketAddr> {
        if !self.dials.is_wanted(peer) {
            return None;
        }
        let dial = self.dials.get_mut(peer)?;
        let addr = dial.all.get(dial.tried).copied()?;
        dial.tried += 1;
        Some(addr)
    }

    /// Ends a dial and tells who waits.
    pub(super) fn dialled(&mut self, peer: &PublicKey, result: Dialled) {
        if !self.dials.finish(peer, &result) {
            return;
        }
        match result {
            Ok(()) => self.stats.dials += 1,
            Err(_) => self.stats.dials_failed += 1,
        }
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
        let ip = path.remote.map(|addr| addr.ip());
        if unwanted || self.running.is_full() && !self.evict(ip) {
            self.stats.refused += 1;
            return Err(OpenFailure::Overloaded);
        }
        let live = |id| Live {
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
            Open { peer, live }
        });
        let Some(live) = entered else {
            return Err(OpenFailure::Closing); // never: it was entered just now
        };
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
                    self.running.remove(before);
                }
                retired = Some(loser);
            }
        }
        // The callers that wait for a dial have a session now. The dial itself goes on: the peer
        // may have seen it already, and both sides must choose between the same two.
        self.dials.answer(&peer, &Ok(()));
        Ok(Added {
            live,
            killed,
            retired,
        })
    }

    /// The session that makes room for one with `ip`: of the address with the most, or else one
    /// without streams of an address that has more, each time the one used least recently.
    fn victim(&self, ip: Option<IpAddr>) -> Option<u64> {
        let order = |it: &Open| (it.live.has_streams(), it.live.used());
        let of_largest = ip.and_then(|ip| self.running.largest_yields(ip, order));
        of_largest.or_else(|| {
            let is_idle = |it: &Open| !it.live.has_streams();
            self.running.equal_yields(ip, is_idle, order)
        })
    }

    /// Ends that one. Whether there was one.
    fn evict(&mut self, ip: Option<IpAddr>) -> bool {
        let victim = self.victim(ip);
        let Some(Open { peer, live }) = victim.and_then(|id| self.running.remove(id)) else {
            return false;
        };
        match live.has_streams() {
            true => self.stats.displaced += 1,
            false => self.stats.idle_closed += 1,
        }
        self.forget(&peer, live.id);
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
            self.running.remove(id);
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
        self.running.remove(id);
        self.forget(peer, id);
    }

    fn sweep(&mut self, peer: &PublicKey) {
        let unused = |peer: &Peer| peer.live.is_none() && peer.retired.is_none();
        if self.peers.get(peer).is_some_and(unused) {
            self.peers.remove(peer);
        }
    }

    /// Takes nothing new, and returns the sessions to be closed.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        self.dials.answer_all(&Err(OpenFailure::Closing));
        let running = self.running.all();
        running.map(|it| it.live.session.clone()).collect()
    }

    /// Ends every session that is still there.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.peers.clear();
        self.dials.clear();
    }
}

#[cfg(test)]
mod tests;
