//! Who has a session here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use futures::channel::oneshot;
use skydht_core::key::PublicKey;

use super::ServerConfig;
use crate::dmsg_session::DmsgSession;
use crate::entry::SignedEntry;
use crate::half_open::{Begun, HalfOpen};
use crate::shares::Shares;

/// What a session is for. Its first object tells (specification of DMSG in 2026, §2.3), and one
/// of each kind may live at once: a server may be another server's client, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    /// It has sent no object yet. It serves as a client's session, but ends no other one.
    New,
    /// A client's.
    Client,
    /// A server's that announced itself and may pass on requests.
    Peer,
    /// A server's that may not.
    Refused,
}

impl Kind {
    const ALL: [Self; 4] = [Self::New, Self::Client, Self::Peer, Self::Refused];
}

/// What became of an announcement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filed {
    /// The session may pass on requests.
    pub(super) accepted: bool,
    /// It replaced another one of the same key.
    pub(super) superseded: bool,
}

struct Live {
    id: u64,
    session: Arc<DmsgSession>,
    /// What it counts for: see [`crate::shares::source`].
    address: IpAddr,
    _kill: oneshot::Sender<()>,
}

impl Live {
    fn streams(&self) -> usize {
        let counters = self.session.mux().counters();
        counters.outbound + counters.inbound
    }
}

/// What became of a new session.
pub(super) struct Added {
    pub(super) id: u64,
    /// Completes when the session must end at once.
    pub(super) killed: oneshot::Receiver<()>,
    /// It replaced another one of the same key.
    pub(super) superseded: bool,
    /// One of another address had to make room for it.
    pub(super) displaced: bool,
    /// There is a client's session of the same key: see [`Table::file`].
    pub(super) has_rival: bool,
}

pub(super) struct Table {
    sessions: BTreeMap<(PublicKey, Kind), Live>,
    shares: Shares<()>,
    max_sessions: usize,
    max_peers: usize,
    /// Sessions of the kind [`Kind::Peer`].
    peers: usize,
    handshakes: HalfOpen,
    next_id: u64,
    /// Ends the listener when dropped.
    listening: Option<oneshot::Sender<()>>,
    published: Option<SignedEntry>,
    closed: bool,
}

impl Table {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            sessions: BTreeMap::new(),
            shares: Shares::default(),
            max_sessions: config.max_sessions,
            max_peers: config.max_peers,
            peers: 0,
            handshakes: HalfOpen::new(config.max_handshakes, config.max_handshakes_per_address),
            next_id: 0,
            listening: None,
            published: None,
            closed: false,
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_ready(&self) -> bool {
        self.closed || self.published.is_some()
    }

    pub(super) fn set_published(&mut self, entry: SignedEntry) {
        self.published = Some(entry);
    }

    pub(super) fn take_published(&mut self) -> Option<SignedEntry> {
        self.published.take()
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Streams of all sessions, in both directions.
    pub(super) fn streams(&self) -> usize {
        self.sessions.values().map(Live::streams).sum()
    }

    /// Handshakes under way.
    pub(super) fn handshaking(&self) -> usize {
        self.handshakes.len()
    }

    /// How many more sessions there may be.
    pub(super) fn room(&self) -> usize {
        self.max_sessions.saturating_sub(self.sessions.len())
    }

    /// The session over which a client is reached: the newest that lives.
    pub(super) fn session(&self, key: &PublicKey) -> Option<Arc<DmsgSession>> {
        self.route(key).map(|(_, session)| session)
    }

    /// The same, with its number.
    pub(super) fn route(&self, key: &PublicKey) -> Option<(u64, Arc<DmsgSession>)> {
        let of_kind = |kind| {
            let live = self.sessions.get(&(*key, kind))?;
            (!live.session.mux().is_closed()).then(|| (live.id, Arc::clone(&live.session)))
        };
        of_kind(Kind::New).or_else(|| of_kind(Kind::Client))
    }

    /// Completes when listening must end.
    pub(super) fn listen(&mut self) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        if !self.closed {
            self.listening = Some(stop);
        }
        stopped
    }

    /// A handshake with somebody at `ip` begins. `None` once closed.
    pub(super) fn begin_handshake(&mut self, ip: IpAddr) -> Option<Begun> {
        (!self.closed).then(|| self.handshakes.begin(ip))
    }

    /// A handshake's first message was valid.
    pub(super) fn greeted(&mut self, id: u64) {
        self.handshakes.greeted(id);
    }

    pub(super) fn end_handshake(&mut self, id: u64) {
        self.handshakes.end(id);
    }

    fn kind_of(&self, key: &PublicKey, id: u64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| {
            self.sessions
                .get(&(*key, *kind))
                .is_some_and(|it| it.id == id)
        })
    }

    fn take(&mut self, key: &PublicKey, kind: Kind) -> Option<Live> {
        let live = self.sessions.remove(&(*key, kind))?;
        self.peers -= usize::from(kind == Kind::Peer);
        self.shares.remove(live.address, (), live.id);
        Some(live)
    }

    /// Files a session; whether it replaced another one. The newest of a key and kind wins: an
    /// older one is most likely a dead connection, and would lock the client out.
    fn put(&mut self, key: PublicKey, kind: Kind, live: Live) -> bool {
        let replaced = self.take(&key, kind).is_some();
        self.peers += usize::from(kind == Kind::Peer);
        self.shares.insert(live.address, (), live.id);
        self.sessions.insert((key, kind), live);
        replaced
    }

    /// Makes room for a session of `address`: at the cost of an address that has several and more
    /// than this one. Of its sessions one without streams goes first, then the oldest. Equals do
    /// not displace each other: then the server is full, and its entry says so.
    fn displace(&mut self, address: IpAddr) -> Option<()> {
        let largest = self.shares.yields_to(address)?;
        let of_largest = self.sessions.iter();
        let of_largest = of_largest.filter(|(_, live)| live.address == largest);
        let order = |(_, live): &(_, &Live)| (live.streams() > 0, live.id);
        let (key, kind) = *of_largest.min_by_key(order)?.0;
        self.take(&key, kind).map(drop)
    }

    /// Enters a session. At the limit it takes the place of an older one of its key, whatever it
    /// is for, or else of one of another address that has more. `None` if there is none, and once
    /// closed.
    pub(super) fn add(&mut self, session: &Arc<DmsgSession>, address: IpAddr) -> Option<Added> {
        let key = session.remote();
        if self.closed {
            return None;
        }
        let (mut superseded, mut displaced) = (false, false);
        if self.room() == 0 {
            let older = self.take(&key, Kind::New);
            superseded = older.or_else(|| self.take(&key, Kind::Client)).is_some();
            if !superseded {
                self.displace(address)?;
                displaced = true;
            }
        }
        // One that has said nothing so far is taken for a client's.
        if let Some(silent) = self.take(&key, Kind::New) {
            superseded |= self.put(key, Kind::Client, silent);
        }
        let id = self.fresh_id();
        let (kill, killed) = oneshot::channel();
        let live = Live {
            id,
            session: Arc::clone(session),
            address,
            _kill: kill,
        };
        self.put(key, Kind::New, live);
        Some(Added {
            id,
            killed,
            superseded,
            displaced,
            has_rival: self.sessions.contains_key(&(key, Kind::Client)),
        })
    }

    /// A session has sent a request, or nothing for a while: if it was new, it is a client's from
    /// now on. Whether it replaced another one.
    pub(super) fn file_client(&mut self, key: &PublicKey, id: u64) -> bool {
        if self.kind_of(key, id) != Some(Kind::New) {
            return false;
        }
        let live = self.take(key, Kind::New);
        live.is_some_and(|live| self.put(*key, Kind::Client, live))
    }

    /// A session has announced a server: it is no client's from now on. `None` if it has ended.
    pub(super) fn file_peer(&mut self, key: &PublicKey, id: u64) -> Option<Filed> {
        let kind = self.kind_of(key, id)?;
        let live = self.take(key, kind)?;
        let has_room = self.peers < self.max_peers;
        let accepted = has_room || self.sessions.contains_key(&(*key, Kind::Peer));
        let kind = if accepted { Kind::Peer } else { Kind::Refused };
        let superseded = self.put(*key, kind, live);
        Some(Filed {
            accepted,
            superseded,
        })
    }

    /// Whether a session is a server's that may pass on requests.
    pub(super) fn is_peer(&self, key: &PublicKey, id: u64) -> bool {
        self.kind_of(key, id) == Some(Kind::Peer)
    }

    /// A session has ended.
    pub(super) fn ended(&mut self, key: &PublicKey, id: u64) {
        if let Some(kind) = self.kind_of(key, id) {
            self.take(key, kind);
        }
    }

    /// Takes nothing new, and returns the sessions to be closed.
    pub(super) fn close(&mut self) -> Vec<Arc<DmsgSession>> {
        self.closed = true;
        self.listening = None;
        self.handshakes.clear();
        let sessions = self.sessions.values();
        sessions.map(|live| Arc::clone(&live.session)).collect()
    }

    /// Ends the sessions' tasks.
    pub(super) fn kill_all(&mut self) {
        self.sessions.clear();
        self.shares.clear();
        self.peers = 0;
    }
}
