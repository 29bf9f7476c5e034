//! What a client knows: its sessions, servers, routes and entries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::key::PublicKey;

use super::config::ClientConfig;
use super::hosts::Hosts;
use crate::discovery::KnownServer;
use crate::dmsg_session::DmsgSession;
use crate::entry::SignedEntry;
use crate::session::Session;
use crate::session_layer::{Dials, Joined, Running, Started};
use crate::shares::source;

/// Servers remembered.
const MAX_SERVERS: usize = 1024;
/// Destinations whose route or entry is remembered.
const MAX_DESTINATIONS: usize = 4096;
/// How long an entry is believed.
const ENTRY_LIFE: Duration = Duration::from_secs(60);
/// A session that lasted this long clears its server's record of failures.
const GOOD_SESSION: Duration = Duration::from_secs(60);

/// What a client counts; all since its start, except `sessions`, `streams` and `connecting`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ClientStats {
    /// Sessions now.
    pub sessions: usize,
    /// Streams of these sessions, in both directions, those being opened included.
    pub streams: usize,
    /// Servers that a session is being made with now.
    pub connecting: usize,
    /// Sessions that were made.
    pub connected: u64,
    /// Attempts to make one that failed.
    pub connects_failed: u64,
    /// Dials that waited for a session that another dial was making.
    pub connects_shared: u64,
    /// Sessions that ended without our doing.
    pub lost: u64,
    /// Streams that were opened to others.
    pub dialled: u64,
    /// Dials that failed in the end.
    pub dials_failed: u64,
    /// Dials that were repeated because the destination was overloaded, or said nothing.
    pub redials: u64,
    /// Streams that others opened.
    pub accepted: u64,
    /// Requests of others that we refused, with a signed answer.
    pub refused: u64,
    /// Requests of others that were invalid or did not come in time.
    pub invalid: u64,
    /// Pings of servers that were answered.
    pub pings: u64,
    /// Times that our entry was published.
    pub published: u64,
    /// Times that the discovery did not take it.
    pub publish_failed: u64,
}

/// A session that is used.
struct Live {
    session: Arc<DmsgSession>,
    /// How long a ping took: how far away the server is.
    distance: Duration,
    since: Duration,
}

impl Live {
    fn streams(&self) -> usize {
        let counters = self.session.mux().counters();
        counters.outbound + counters.inbound
    }
}

/// When a server may be tried again, and why it must be.
#[derive(Clone, Default)]
struct Retry {
    at: Duration,
    wait: Duration,
    cause: String,
}

/// A server, and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServerState {
    /// Its key and where it listens.
    pub server: KnownServer,
    /// Whether there is a session with it.
    pub connected: bool,
    /// Whether there was one, and it was lost.
    pub lost: bool,
    /// Why the last session ended or could not be made; none if nothing failed.
    pub failure: Option<String>,
}

/// Result of requesting a session with a server.
pub(super) enum SessionRequest {
    Connected(Arc<DmsgSession>),
    Dial(Joined<Arc<DmsgSession>>),
    Closed,
}

pub(super) struct Table {
    running: Running<Live>,
    sessions: BTreeMap<PublicKey, u64>,
    connecting: Dials<PublicKey, (), Arc<DmsgSession>>,
    servers: BTreeMap<PublicKey, SocketAddr>,
    retries: BTreeMap<PublicKey, Retry>,
    hosts: Hosts,
    /// See [`ClientConfig::retry`].
    waits: (Duration, Duration),
    /// Servers of `servers` that there has been a session with.
    had_session: BTreeSet<PublicKey>,
    /// The server over which a destination was last reached.
    routes: BTreeMap<PublicKey, PublicKey>,
    entries: BTreeMap<PublicKey, (Duration, Arc<[PublicKey]>)>,
    closed: bool,
    /// The first attempt to publish was answered.
    publish_tried: bool,
    published: Option<SignedEntry>,
    stats: ClientStats,
}

impl Table {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let mut table = Self {
            running: Running::new(usize::MAX),
            sessions: BTreeMap::new(),
            connecting: Dials::default(),
            servers: BTreeMap::new(),
            retries: BTreeMap::new(),
            hosts: Hosts::default(),
            waits: config.retry,
            had_session: BTreeSet::new(),
            routes: BTreeMap::new(),
            entries: BTreeMap::new(),
            closed: false,
            publish_tried: false,
            published: None,
            stats: ClientStats::default(),
        };
        table.learn(&config.servers);
        table
    }

    pub(super) fn stats(&self) -> ClientStats {
        ClientStats {
            sessions: self.sessions.len(),
            streams: self.running.all().map(Live::streams).sum(),
            connecting: self.connecting.len(),
            ..self.stats
        }
    }

    /// Of each session whether it is hybrid.
    pub(super) fn hybrid_sessions(&self) -> impl Iterator<Item = bool> {
        self.running.all().map(|live| live.session.is_hybrid())
    }

    pub(super) fn stats_mut(&mut self) -> &mut ClientStats {
        &mut self.stats
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn is_ready(&self) -> bool {
        self.closed || (self.publish_tried && !self.sessions.is_empty())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.closed || !self.sessions.is_empty()
    }

    pub(super) fn server_states(&self) -> Vec<ServerState> {
        let states = self.servers.iter().map(|(key, address)| {
            let connected = self.sessions.contains_key(key);
            let retry = self.retries.get(key).filter(|_| !connected);
            ServerState {
                server: KnownServer {
                    key: *key,
                    address: *address,
                },
                connected,
                lost: !connected && self.had_session.contains(key),
                failure: retry.map(|retry| retry.cause.clone()),
            }
        });
        states.collect()
    }

    pub(super) fn set_publish_tried(&mut self) {
        self.publish_tried = true;
    }

    pub(super) fn set_published(&mut self, entry: SignedEntry) {
        self.stats.published += 1;
        self.published = Some(entry);
    }

    pub(super) fn take_published(&mut self) -> Option<SignedEntry> {
        self.published.take()
    }

    /// The servers with sessions, in the order of keys.
    pub(super) fn servers(&self) -> Vec<PublicKey> {
        self.sessions.keys().copied().collect()
    }

    /// Takes nothing new, and returns the sessions to be closed.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        self.connecting.clear();
        let sessions = self.running.all();
        sessions.map(|live| live.session.mux().clone()).collect()
    }

    /// Ends the sessions' tasks.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.sessions.clear();
    }

    /// Servers and where they are.
    pub(super) fn learn(&mut self, servers: &[KnownServer]) {
        for server in servers {
            if self.servers.len() >= MAX_SERVERS && !self.servers.contains_key(&server.key) {
                self.forget_server();
            }
            if self.servers.len() < MAX_SERVERS || self.servers.contains_key(&server.key) {
                self.servers.insert(server.key, server.address);
            }
        }
    }

    /// Forgets the server that failed longest of those that there never was a session with.
    fn forget_server(&mut self) {
        let failed = self.retries.iter();
        let failed = failed
            .filter(|(key, _)| !self.had_session.contains(key) && !self.connecting.contains(key));
        let worst = failed.max_by_key(|(_, retry)| retry.wait);
        if let Some(key) = worst.map(|(key, _)| *key) {
            self.servers.remove(&key);
            self.retries.remove(&key);
        }
    }

    /// Whether a server may be dialled: not if its host was dialled in vain too often, unless there
    /// has been a session with it.
    pub(super) fn may_dial(&self, server: &KnownServer, now: Duration) -> bool {
        self.had_session.contains(&server.key)
            || self.connecting.contains(&server.key)
            || self.hosts.tries(server.address.ip(), now) > 0
    }

    pub(super) fn address(&self, server: &PublicKey) -> Option<SocketAddr> {
        self.servers.get(server).copied()
    }

    /// Servers without a session whose time has come, and when the next one's will.
    pub(super) fn due(&self, now: Duration) -> (Vec<KnownServer>, Option<Duration>) {
        let mut due = Vec::new();
        let mut next = None::<Duration>;
        let mut begun = BTreeMap::new();
        for (key, address) in &self.servers {
            if self.sessions.contains_key(key) || self.connecting.contains(key) {
                continue;
            }
            match self.retries.get(key) {
                Some(retry) if retry.at > now => {
                    next = Some(next.map_or(retry.at, |next| next.min(retry.at)));
                }
                _ => {
                    let (proven, ip) = (self.had_session.contains(key), address.ip());
                    let of_host = begun.entry(source(ip)).or_insert(0);
                    if !proven && *of_host >= self.hosts.tries(ip, now) {
                        // Once those begin that are due, or the host has waited.
                        let at = self.hosts.until(ip).max(now + self.waits.0);
                        next = Some(next.map_or(at, |next| next.min(at)));
                        continue;
                    }
                    *of_host += u32::from(!proven);
                    due.push(KnownServer {
                        key: *key,
                        address: *address,
                    });
                }
            }
        }
        (due, next)
    }

    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The session with a server, if it is there.
    pub(super) fn session(&self, server: &PublicKey) -> Option<Arc<DmsgSession>> {
        let live = self.running.get(*self.sessions.get(server)?)?;
        (!live.session.mux().is_closed()).then(|| Arc::clone(&live.session))
    }

    pub(super) fn session_or_any(&self, server: Option<PublicKey>) -> Option<Arc<DmsgSession>> {
        match server {
            Some(server) => self.session(&server),
            None => self.by_distance().iter().find_map(|it| self.session(it)),
        }
    }

    /// The servers with sessions, nearest first.
    pub(super) fn by_distance(&self) -> Vec<PublicKey> {
        let live = self.sessions.iter().filter_map(|(key, id)| {
            let live = self.running.get(*id)?;
            Some((live.distance, *key))
        });
        let mut servers: Vec<_> = live.collect();
        servers.sort_unstable();
        servers.into_iter().map(|(_, key)| key).collect()
    }

    /// Finds a session with a server, or waits with others for one.
    pub(super) fn request(&mut self, server: &PublicKey) -> SessionRequest {
        if self.closed {
            return SessionRequest::Closed;
        }
        if let Some(session) = self.session(server) {
            return SessionRequest::Connected(session);
        }
        let joined = self.connecting.join(*server, || ());
        self.stats.connects_shared += u64::from(matches!(joined, Joined::Pending(_)));
        SessionRequest::Dial(joined)
    }

    /// A session was made. `None`: closed.
    pub(super) fn connected(
        &mut self,
        session: &Arc<DmsgSession>,
        distance: Duration,
        now: Duration,
    ) -> Option<Started> {
        let server = session.remote();
        if self.closed {
            self.connecting.clear();
            return None;
        }
        self.stats.connected += 1;
        let started = self.running.add(None, |_| Live {
            session: Arc::clone(session),
            distance,
            since: now,
        });
        if let Some(old) = self.sessions.insert(server, started.id) {
            self.running.remove(old);
        }
        if let Some(address) = self.servers.get(&server) {
            self.hosts.succeeded(address.ip());
            self.had_session.insert(server);
        }
        self.connecting.finish(&server, session);
        Some(started)
    }

    /// No session was made; `wait` makes the next wait of the last.
    pub(super) fn not_connected(
        &mut self,
        server: &KnownServer,
        now: Duration,
        cause: String,
        wait: impl FnOnce(Duration) -> Duration,
    ) {
        self.connecting.forget(&server.key);
        self.stats.connects_failed += 1;
        if !self.had_session.contains(&server.key) {
            self.hosts.failed(server.address.ip(), now, self.waits);
        }
        self.put_off(&server.key, now, cause, wait);
    }

    fn put_off(
        &mut self,
        server: &PublicKey,
        now: Duration,
        cause: String,
        wait: impl FnOnce(Duration) -> Duration,
    ) {
        if !self.servers.contains_key(server) {
            return; // not one that we would try by ourselves
        }
        let retry = self.retries.entry(*server).or_default();
        retry.wait = wait(retry.wait);
        retry.at = now + retry.wait;
        retry.cause = cause;
    }

    /// A session has ended.
    pub(super) fn ended(
        &mut self,
        server: &PublicKey,
        id: u64,
        now: Duration,
        wait: impl FnOnce(Duration) -> Duration,
    ) {
        let Some(Live { since, .. }) = self.running.remove(id) else {
            return;
        };
        self.sessions.remove(server);
        self.routes.retain(|_, via| via != server);
        if now.saturating_sub(since) >= GOOD_SESSION {
            self.retries.remove(server);
        }
        if !self.closed {
            self.stats.lost += 1;
            self.put_off(server, now, "the session was lost".to_owned(), wait);
        }
    }

    /// The session over which a destination was reached last.
    pub(super) fn route(&self, destination: &PublicKey) -> Option<Arc<DmsgSession>> {
        self.session(self.routes.get(destination)?)
    }

    pub(super) fn set_route(&mut self, destination: PublicKey, server: PublicKey) {
        make_room(&mut self.routes, &destination);
        self.routes.insert(destination, server);
    }

    /// The servers of a destination, if its entry was seen lately.
    pub(super) fn delegated(&self, key: &PublicKey, now: Duration) -> Option<Arc<[PublicKey]>> {
        let (at, delegated) = self.entries.get(key)?;
        (now.saturating_sub(*at) < ENTRY_LIFE).then(|| Arc::clone(delegated))
    }

    pub(super) fn set_delegated(
        &mut self,
        key: PublicKey,
        delegated: Arc<[PublicKey]>,
        now: Duration,
    ) {
        make_room(&mut self.entries, &key);
        self.entries.insert(key, (now, delegated));
    }

    /// The entry led nowhere: it is asked for again.
    pub(super) fn forget_delegated(&mut self, key: &PublicKey) {
        self.entries.remove(key);
        self.routes.remove(key);
    }
}

/// Removes something arbitrary, but always the same, from a map that is full.
fn make_room<T>(map: &mut BTreeMap<PublicKey, T>, key: &PublicKey) {
    if map.len() >= MAX_DESTINATIONS && !map.contains_key(key) {
        map.pop_first();
    }
}

#[cfg(test)]
mod tests;
