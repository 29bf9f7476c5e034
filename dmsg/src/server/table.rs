//! Who has a session here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use futures::channel::oneshot;
use skydht_core::key::PublicKey;

use super::config::ServerConfig;
use crate::dmsg_session::DmsgSession;
use crate::entry::SignedEntry;
use crate::session::Session;
use crate::session_layer::{Running, Started};

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
    /// A server's that we dialled, and that may pass on requests, too.
    Link,
    /// A server's that may not.
    Refused,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::New,
        Self::Client,
        Self::Peer,
        Self::Link,
        Self::Refused,
    ];
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
    key: PublicKey,
    session: Arc<DmsgSession>,
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
    running: Running<Live>,
    /// What the running ones are for.
    filed: BTreeMap<(PublicKey, Kind), u64>,
    max_peers: usize,
    accepted_peers: BTreeSet<PublicKey>,
    /// Sessions of the kind [`Kind::Peer`].
    peers: usize,
    published: Option<SignedEntry>,
    closed: bool,
}

impl Table {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            running: Running::new(config.max_sessions),
            filed: BTreeMap::new(),
            max_peers: config.max_peers,
            accepted_peers: config.accepted_peers.clone(),
            peers: 0,
            published: None,
            closed: false,
        }
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
        self.running.len()
    }

    /// Streams of all sessions, in both directions.
    pub(super) fn streams(&self) -> usize {
        self.running.all().map(Live::streams).sum()
    }

    /// Of each session whether it is hybrid.
    pub(super) fn hybrid_sessions(&self) -> impl Iterator<Item = bool> {
        self.running.all().map(|live| live.session.is_hybrid())
    }

    /// How many more sessions there may be.
    pub(super) fn room(&self) -> usize {
        self.running.room()
    }

    /// The session over which a client is reached: the newest that lives.
    pub(super) fn session(&self, key: &PublicKey) -> Option<Arc<DmsgSession>> {
        self.route(key).map(|(_, session)| session)
    }

    /// The same, with its number.
    pub(super) fn route(&self, key: &PublicKey) -> Option<(u64, Arc<DmsgSession>)> {
        self.live(key, Kind::New)
            .or_else(|| self.live(key, Kind::Client))
    }

    fn live(&self, key: &PublicKey, kind: Kind) -> Option<(u64, Arc<DmsgSession>)> {
        let id = *self.filed.get(&(*key, kind))?;
        let live = self.running.get(id)?;
        (!live.session.mux().is_closed()).then(|| (id, Arc::clone(&live.session)))
    }

    fn kind_of(&self, key: &PublicKey, id: u64) -> Option<Kind> {
        let is_filed = |kind: &Kind| self.filed.get(&(*key, *kind)) == Some(&id);
        Kind::ALL.into_iter().find(is_filed)
    }

    fn unfile(&mut self, key: &PublicKey, kind: Kind) -> Option<u64> {
        let id = self.filed.remove(&(*key, kind))?;
        self.peers -= usize::from(kind == Kind::Peer);
        Some(id)
    }

    /// Ends the session of a key and kind; whether there was one.
    fn end(&mut self, key: &PublicKey, kind: Kind) -> bool {
        let id = self.unfile(key, kind);
        id.is_some_and(|id| self.running.remove(id).is_some())
    }

    /// Files a session; whether it replaced another one. The newest of a key and kind wins: an
    /// older one is most likely a dead connection, and would lock the client out.
    fn file(&mut self, key: PublicKey, kind: Kind, id: u64) -> bool {
        let replaced = self.end(&key, kind);
        self.peers += usize::from(kind == Kind::Peer);
        self.filed.insert((key, kind), id);
        replaced
    }

    /// Makes room for a session from `ip`: at the cost of an address that has several and more
    /// than this one. Of its sessions one without streams goes first, then the oldest. Equals do
    /// not displace each other: then the server is full, and its entry says so.
    fn displace(&mut self, ip: IpAddr) -> Option<()> {
        let id = self.running.largest_yields(ip, |live| live.streams() > 0)?;
        let key = self.running.get(id)?.key;
        self.ended(&key, id);
        Some(())
    }

    /// Enters a session. At the limit it takes the place of an older one of its key, whatever it
    /// is for, or else of one of another address that has more. `None` if there is none, and once
    /// closed.
    pub(super) fn add(&mut self, session: &Arc<DmsgSession>, ip: IpAddr) -> Option<Added> {
        let key = session.remote();
        if self.closed {
            return None;
        }
        let (mut superseded, mut displaced) = (false, false);
        if self.running.is_full() {
            superseded = self.end(&key, Kind::New) || self.end(&key, Kind::Client);
            if !superseded {
                self.displace(ip)?;
                displaced = true;
            }
        }
        // One that has said nothing so far is taken for a client's.
        if let Some(silent) = self.unfile(&key, Kind::New) {
            superseded |= self.file(key, Kind::Client, silent);
        }
        let session = Arc::clone(session);
        let started = self.running.add(Some(ip), |_| Live { key, session });
        self.file(key, Kind::New, started.id);
        Some(Added {
            id: started.id,
            killed: started.killed,
            superseded,
            displaced,
            has_rival: self.filed.contains_key(&(key, Kind::Client)),
        })
    }

    /// A session has sent a request, or nothing for a while: if it was new, it is a client's from
    /// now on. Whether it replaced another one.
    pub(super) fn file_client(&mut self, key: &PublicKey, id: u64) -> bool {
        if self.kind_of(key, id) != Some(Kind::New) {
            return false;
        }
        let id = self.unfile(key, Kind::New);
        id.is_some_and(|id| self.file(*key, Kind::Client, id))
    }

    /// A session has announced a server: it is no client's from now on. `None` if it has ended.
    pub(super) fn file_peer(&mut self, key: &PublicKey, id: u64) -> Option<Filed> {
        let kind = self.kind_of(key, id)?;
        let id = self.unfile(key, kind)?;
        let has_room = self.peers < self.max_peers;
        let is_let = self.accepted_peers.is_empty() || self.accepted_peers.contains(key);
        let accepted = is_let && (has_room || self.filed.contains_key(&(*key, Kind::Peer)));
        let kind = if accepted { Kind::Peer } else { Kind::Refused };
        let superseded = self.file(*key, kind, id);
        Some(Filed {
            accepted,
            superseded,
        })
    }

    /// Whether a session is a server's that may pass on requests.
    pub(super) fn is_peer(&self, key: &PublicKey, id: u64) -> bool {
        matches!(self.kind_of(key, id), Some(Kind::Peer | Kind::Link))
    }

    /// Enters a session with a server that we dialled. `None` when there is no room for it, and
    /// once closed.
    pub(super) fn add_link(&mut self, session: &Arc<DmsgSession>, ip: IpAddr) -> Option<Started> {
        if self.closed || self.running.is_full() {
            return None;
        }
        let (key, session) = (session.remote(), Arc::clone(session));
        let started = self.running.add(Some(ip), |_| Live { key, session });
        self.file(key, Kind::Link, started.id);
        Some(started)
    }

    /// Whether there is a link with a server, from either side.
    pub(super) fn is_linked(&self, key: &PublicKey) -> bool {
        self.link(key).is_some()
    }

    /// The link with a server: of two, the one that we dialled.
    pub(super) fn link(&self, key: &PublicKey) -> Option<(u64, Arc<DmsgSession>)> {
        self.live(key, Kind::Link)
            .or_else(|| self.live(key, Kind::Peer))
    }

    /// One link with each server, but not with this one.
    pub(super) fn links(&self, but: Option<&PublicKey>) -> Vec<(u64, Arc<DmsgSession>)> {
        let keys = self.filed.keys();
        let keys = keys.filter(|(_, kind)| matches!(kind, Kind::Peer | Kind::Link));
        let mut keys: Vec<_> = keys.map(|(key, _)| key).collect();
        keys.dedup();
        let others = keys.into_iter().filter(|key| but != Some(*key));
        others.filter_map(|key| self.link(key)).collect()
    }

    /// A session has ended.
    pub(super) fn ended(&mut self, key: &PublicKey, id: u64) {
        if let Some(kind) = self.kind_of(key, id) {
            self.end(key, kind);
        }
    }

    /// Takes nothing new, and returns the sessions to be closed.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        let sessions = self.running.all();
        sessions.map(|live| live.session.mux().clone()).collect()
    }

    /// Ends the sessions' tasks.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.filed.clear();
        self.peers = 0;
    }
}

#[cfg(test)]
mod tests;
