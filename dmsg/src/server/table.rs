//! Who has a session here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::channel::oneshot;
use skydht_core::key::PublicKey;

use crate::dmsg_session::DmsgSession;
use crate::entry::SignedEntry;

struct Live {
    id: u64,
    session: Arc<DmsgSession>,
    _kill: oneshot::Sender<()>,
}

/// What became of a new session.
pub(super) struct Added {
    pub(super) id: u64,
    /// Completes when the session must end at once.
    pub(super) killed: oneshot::Receiver<()>,
    /// It replaced another one of the same key.
    pub(super) superseded: bool,
}

pub(super) struct Table {
    sessions: BTreeMap<PublicKey, Live>,
    max_sessions: usize,
    /// Handshakes under way, oldest first.
    handshakes: BTreeMap<u64, oneshot::Sender<()>>,
    max_handshakes: usize,
    next_id: u64,
    /// Ends the listener when dropped.
    listening: Option<oneshot::Sender<()>>,
    published: Option<SignedEntry>,
    closed: bool,
}

impl Table {
    pub(super) fn new(max_sessions: usize, max_handshakes: usize) -> Self {
        Self {
            sessions: BTreeMap::new(),
            max_sessions,
            handshakes: BTreeMap::new(),
            max_handshakes: max_handshakes.max(1),
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
        let sessions = self.sessions.values();
        let counters = sessions.map(|live| live.session.mux().counters());
        counters.map(|it| it.outbound + it.inbound).sum()
    }

    /// Handshakes under way.
    pub(super) fn handshaking(&self) -> usize {
        self.handshakes.len()
    }

    /// How many more sessions there may be.
    pub(super) fn room(&self) -> usize {
        self.max_sessions.saturating_sub(self.sessions.len())
    }

    pub(super) fn session(&self, key: &PublicKey) -> Option<Arc<DmsgSession>> {
        let live = self.sessions.get(key)?;
        (!live.session.mux().is_closed()).then(|| Arc::clone(&live.session))
    }

    /// Completes when listening must end.
    pub(super) fn listen(&mut self) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        if !self.closed {
            self.listening = Some(stop);
        }
        stopped
    }

    /// A handshake begins; completes when it must make room. The flag says whether another one
    /// had to. `None` once closed.
    pub(super) fn begin_handshake(&mut self) -> Option<(u64, oneshot::Receiver<()>, bool)> {
        if self.closed {
            return None;
        }
        let full = self.handshakes.len() >= self.max_handshakes;
        if full {
            self.handshakes.pop_first();
        }
        let id = self.fresh_id();
        let (kill, killed) = oneshot::channel();
        self.handshakes.insert(id, kill);
        Some((id, killed, full))
    }

    pub(super) fn end_handshake(&mut self, id: u64) {
        self.handshakes.remove(&id);
    }

    /// Enters a session. The newest of a key wins: an older one is most likely a dead connection,
    /// and would lock the client out. `None` at the limit, and once closed.
    pub(super) fn add(&mut self, session: &Arc<DmsgSession>) -> Option<Added> {
        let key = session.remote();
        let known = self.sessions.contains_key(&key);
        if self.closed || (!known && self.room() == 0) {
            return None;
        }
        let id = self.fresh_id();
        let (kill, killed) = oneshot::channel();
        let live = Live {
            id,
            session: Arc::clone(session),
            _kill: kill,
        };
        let superseded = self.sessions.insert(key, live).is_some();
        Some(Added {
            id,
            killed,
            superseded,
        })
    }

    /// A session has ended.
    pub(super) fn ended(&mut self, key: &PublicKey, id: u64) {
        if self.sessions.get(key).is_some_and(|live| live.id == id) {
            self.sessions.remove(key);
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
    }
}
