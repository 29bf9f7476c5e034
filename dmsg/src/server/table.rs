//! The sessions of a server, by key and kind.

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

/// What a session is for. Its first object decides (specification of DMSG in 2026, §2.3). One key
/// may have one session of each kind: a server may also be another server's client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum SessionKind {
    /// No object was received yet. It is used as a client's, but does not replace an older client
    /// session.
    New,
    /// A client's session.
    Client,
    /// The session of a server that announced itself and may pass on requests.
    Peer,
    /// The session with a server that we dialled, which may also pass on requests.
    Link,
    /// The session of a server that announced itself and may not pass on requests.
    Refused,
}

impl SessionKind {
    const ALL: [Self; 5] = [
        Self::New,
        Self::Client,
        Self::Peer,
        Self::Link,
        Self::Refused,
    ];
}

/// Result of a server's announcement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct AnnounceOutcome {
    /// Whether the session may pass on requests.
    pub(super) accepted: bool,
    /// Whether it replaced another session of the same key.
    pub(super) superseded: bool,
}

struct LiveSession {
    key: PublicKey,
    session: Arc<DmsgSession>,
}

impl LiveSession {
    fn streams(&self) -> usize {
        let counters = self.session.mux().counters();
        counters.outbound + counters.inbound
    }
}

/// A session that was added to the table.
pub(super) struct Added {
    pub(super) id: u64,
    /// Completes when the session must end immediately.
    pub(super) killed: oneshot::Receiver<()>,
    /// Whether it replaced another session of the same key.
    pub(super) superseded: bool,
    /// Whether a session of another address had to make room for it.
    pub(super) displaced: bool,
    /// Whether the key also has a client session, see [`SessionTable::file`].
    pub(super) has_client_session: bool,
}

pub(super) struct SessionTable {
    running: Running<LiveSession>,
    /// Ids of the running sessions by key and kind.
    filed: BTreeMap<(PublicKey, SessionKind), u64>,
    max_peers: usize,
    accepted_peers: BTreeSet<PublicKey>,
    /// Number of sessions of the kind [`SessionKind::Peer`].
    peers: usize,
    published: Option<SignedEntry>,
    closed: bool,
}

impl SessionTable {
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
        self.running.all().map(LiveSession::streams).sum()
    }

    /// Returns for each session whether it is hybrid.
    pub(super) fn hybrid_sessions(&self) -> impl Iterator<Item = bool> {
        self.running.all().map(|live| live.session.is_hybrid())
    }

    /// Returns how many more sessions the limit allows.
    pub(super) fn room(&self) -> usize {
        self.running.room()
    }

    /// Returns the session over which a client is reached: its newest that is not closing.
    pub(super) fn session(&self, key: &PublicKey) -> Option<Arc<DmsgSession>> {
        self.route(key).map(|(_, session)| session)
    }

    /// Like [`Self::session`], with the session's id.
    pub(super) fn route(&self, key: &PublicKey) -> Option<(u64, Arc<DmsgSession>)> {
        self.live(key, SessionKind::New)
            .or_else(|| self.live(key, SessionKind::Client))
    }

    fn live(&self, key: &PublicKey, kind: SessionKind) -> Option<(u64, Arc<DmsgSession>)> {
        let id = *self.filed.get(&(*key, kind))?;
        let live = self.running.get(id)?;
        (!live.session.mux().is_closed()).then(|| (id, Arc::clone(&live.session)))
    }

    fn kind_of(&self, key: &PublicKey, id: u64) -> Option<SessionKind> {
        let is_filed = |kind: &SessionKind| self.filed.get(&(*key, *kind)) == Some(&id);
        SessionKind::ALL.into_iter().find(is_filed)
    }

    fn unfile(&mut self, key: &PublicKey, kind: SessionKind) -> Option<u64> {
        let id = self.filed.remove(&(*key, kind))?;
        self.peers -= usize::from(kind == SessionKind::Peer);
        Some(id)
    }

    /// Ends the session of a key and kind. Returns whether there was one.
    fn end(&mut self, key: &PublicKey, kind: SessionKind) -> bool {
        let id = self.unfile(key, kind);
        id.is_some_and(|id| self.running.remove(id).is_some())
    }

    /// Files a session under a key and kind. Returns whether it replaced another one: the newest
    /// stays, since an older one is most likely a dead connection and would lock the client out.
    fn file(&mut self, key: PublicKey, kind: SessionKind, id: u64) -> bool {
        let replaced = self.end(&key, kind);
        self.peers += usize::from(kind == SessionKind::Peer);
        self.filed.insert((key, kind), id);
        replaced
    }

    /// Makes room for a session from `ip` by ending one of the address with the most sessions, if
    /// that has at least two more: one without streams if there is any, otherwise the oldest.
    /// Addresses with equal shares do not displace each other: then the server is full, and its
    /// entry says so.
    fn displace(&mut self, ip: IpAddr) -> Option<()> {
        let id = self.running.largest_yields(ip, |live| live.streams() > 0)?;
        let key = self.running.get(id)?.key;
        self.ended(&key, id);
        Some(())
    }

    /// Adds a session. At the limit it replaces an older new or client session of its key, or else
    /// displaces one of another address that has more. `None` if there is neither, and once the
    /// server is closed.
    pub(super) fn add(&mut self, session: &Arc<DmsgSession>, ip: IpAddr) -> Option<Added> {
        let key = session.remote();
        if self.closed {
            return None;
        }
        let (mut superseded, mut displaced) = (false, false);
        if self.running.is_full() {
            superseded = self.end(&key, SessionKind::New) || self.end(&key, SessionKind::Client);
            if !superseded {
                self.displace(ip)?;
                displaced = true;
            }
        }
        // An older session that has sent no object so far counts as a client's from now on.
        if let Some(silent) = self.unfile(&key, SessionKind::New) {
            superseded |= self.file(key, SessionKind::Client, silent);
        }
        let session = Arc::clone(session);
        let started = self.running.add(Some(ip), |_| LiveSession { key, session });
        self.file(key, SessionKind::New, started.id);
        Some(Added {
            id: started.id,
            killed: started.killed,
            superseded,
            displaced,
            has_client_session: self.filed.contains_key(&(key, SessionKind::Client)),
        })
    }

    /// Files a new session as a client's, after it sent a request or was silent for a while.
    /// Returns whether it replaced another one.
    pub(super) fn file_client(&mut self, key: &PublicKey, id: u64) -> bool {
        if self.kind_of(key, id) != Some(SessionKind::New) {
            return false;
        }
        let id = self.unfile(key, SessionKind::New);
        id.is_some_and(|id| self.file(*key, SessionKind::Client, id))
    }

    /// Files a session that announced a server. Returns `None` if it has ended.
    pub(super) fn file_peer(&mut self, key: &PublicKey, id: u64) -> Option<AnnounceOutcome> {
        let kind = self.kind_of(key, id)?;
        let id = self.unfile(key, kind)?;
        let has_room = self.peers < self.max_peers;
        let is_allowed = self.accepted_peers.is_empty() || self.accepted_peers.contains(key);
        let accepted =
            is_allowed && (has_room || self.filed.contains_key(&(*key, SessionKind::Peer)));
        let kind = if accepted {
            SessionKind::Peer
        } else {
            SessionKind::Refused
        };
        let superseded = self.file(*key, kind, id);
        Some(AnnounceOutcome {
            accepted,
            superseded,
        })
    }

    /// Returns whether a session is a server's that may pass on requests.
    pub(super) fn is_peer(&self, key: &PublicKey, id: u64) -> bool {
        matches!(
            self.kind_of(key, id),
            Some(SessionKind::Peer | SessionKind::Link)
        )
    }

    /// Adds a session with a server that we dialled. Returns `None` if the table is full or closed.
    pub(super) fn add_link(&mut self, session: &Arc<DmsgSession>, ip: IpAddr) -> Option<Started> {
        if self.closed || self.running.is_full() {
            return None;
        }
        let (key, session) = (session.remote(), Arc::clone(session));
        let started = self.running.add(Some(ip), |_| LiveSession { key, session });
        self.file(key, SessionKind::Link, started.id);
        Some(started)
    }

    /// Returns whether there is a link with a server, whichever side dialled.
    pub(super) fn is_linked(&self, key: &PublicKey) -> bool {
        self.link(key).is_some()
    }

    /// Returns the link with a server; of two, the one that we dialled.
    pub(super) fn link(&self, key: &PublicKey) -> Option<(u64, Arc<DmsgSession>)> {
        self.live(key, SessionKind::Link)
            .or_else(|| self.live(key, SessionKind::Peer))
    }

    /// Returns one link with each server except `but`.
    pub(super) fn links(&self, but: Option<&PublicKey>) -> Vec<(u64, Arc<DmsgSession>)> {
        let keys = self.filed.keys();
        let keys = keys.filter(|(_, kind)| matches!(kind, SessionKind::Peer | SessionKind::Link));
        let mut keys: Vec<_> = keys.map(|(key, _)| key).collect();
        keys.dedup();
        let others = keys.into_iter().filter(|key| but != Some(*key));
        others.filter_map(|key| self.link(key)).collect()
    }

    /// Removes a session that has ended, or ends it.
    pub(super) fn ended(&mut self, key: &PublicKey, id: u64) {
        if let Some(kind) = self.kind_of(key, id) {
            self.end(key, kind);
        }
    }

    /// Marks the server as closed and returns the sessions to close.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        let sessions = self.running.all();
        sessions.map(|live| live.session.mux().clone()).collect()
    }

    /// Ends the tasks of all sessions.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.filed.clear();
        self.peers = 0;
    }
}

#[cfg(test)]
mod tests;
