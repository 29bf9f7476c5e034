//! State of a client: its sessions, servers, routes and cached entries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::key::PublicKey;

use super::config::ClientConfig;
use super::hosts::HostBackoff;
use crate::discovery::KnownServer;
use crate::dmsg_session::DmsgSession;
use crate::entry::SignedEntry;
use crate::session::Session;
use crate::session_layer::{Dials, Joined, Running, Started};
use crate::shares::source;

/// Maximum number of servers remembered.
const MAX_SERVERS: usize = 1024;
/// Maximum number of destinations with a cached route, and of those with a cached entry.
const MAX_DESTINATIONS: usize = 4096;
/// How long a cached entry is used.
const ENTRY_LIFE: Duration = Duration::from_secs(60);
/// A session that lasted this long clears the retry state of its server.
const GOOD_SESSION: Duration = Duration::from_secs(60);

/// Counters of a client, all since its start, except `sessions`, `streams` and `connecting`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ClientStats {
    /// Sessions that exist now.
    pub sessions: usize,
    /// Streams of these sessions, in both directions, those being opened included.
    pub streams: usize,
    /// Servers with which a session is being established now.
    pub connecting: usize,
    /// Sessions that were made.
    pub connected: u64,
    /// Attempts to establish a session that failed.
    pub connects_failed: u64,
    /// Dials that waited for a session that another dial was making.
    pub connects_shared: u64,
    /// Sessions closed by the peer or the network.
    pub lost: u64,
    /// Streams that we opened to other keys.
    pub dialled: u64,
    /// Dials that failed after all retries.
    pub dials_failed: u64,
    /// Dial rounds repeated because the destination was overloaded or closed the stream without a
    /// reason.
    pub redials: u64,
    /// Streams that other keys opened to us.
    pub accepted: u64,
    /// Stream requests that we refused with a signed response.
    pub refused: u64,
    /// Stream requests that were invalid or did not arrive in time.
    pub invalid: u64,
    /// Pings of servers that were answered.
    pub pings: u64,
    /// Times that the entry was published.
    pub published: u64,
    /// Attempts to publish the entry that failed.
    pub publish_failed: u64,
}

/// A session in use.
struct LiveSession {
    session: Arc<DmsgSession>,
    /// How long the first ping took, as a measure of the server's distance.
    distance: Duration,
    since: Duration,
}

impl LiveSession {
    fn streams(&self) -> usize {
        let counters = self.session.mux().counters();
        counters.outbound + counters.inbound
    }
}

/// When a server may be dialled again, and why the last attempt or session failed.
#[derive(Clone, Default)]
struct Retry {
    at: Duration,
    wait: Duration,
    cause: String,
}

/// A server and the state of our session with it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServerState {
    /// Its key and its address.
    pub server: KnownServer,
    /// Whether there is a session with it.
    pub connected: bool,
    /// Whether there was a session with it that is gone.
    pub lost: bool,
    /// Why the last session ended or could not be made; `None` while connected, or if nothing
    /// failed.
    pub failure: Option<String>,
}

/// Result of requesting a session with a server.
pub(super) enum SessionRequest {
    Connected(Arc<DmsgSession>),
    Dial(Joined<Arc<DmsgSession>>),
    Closed,
}

pub(super) struct ClientTable {
    running: Running<LiveSession>,
    sessions: BTreeMap<PublicKey, u64>,
    connecting: Dials<PublicKey, (), Arc<DmsgSession>>,
    servers: BTreeMap<PublicKey, SocketAddr>,
    retries: BTreeMap<PublicKey, Retry>,
    hosts: HostBackoff,
    /// See [`ClientConfig::retry`].
    waits: (Duration, Duration),
    /// Servers in `servers` with which there was a session at any time.
    had_session: BTreeSet<PublicKey>,
    /// The server over which each destination was last reached.
    routes: BTreeMap<PublicKey, PublicKey>,
    /// The servers of each destination, with when its entry was fetched.
    entries: BTreeMap<PublicKey, (Duration, Arc<[PublicKey]>)>,
    closed: bool,
    /// Whether the first attempt to publish was answered.
    publish_tried: bool,
    published: Option<SignedEntry>,
    stats: ClientStats,
}

impl ClientTable {
    pub(super) fn new(config: &ClientConfig) -> Self {
        let mut table = Self {
            running: Running::new(usize::MAX),
            sessions: BTreeMap::new(),
            connecting: Dials::default(),
            servers: BTreeMap::new(),
            retries: BTreeMap::new(),
            hosts: HostBackoff::default(),
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
            streams: self.running.all().map(LiveSession::streams).sum(),
            connecting: self.connecting.len(),
            ..self.stats
        }
    }

    /// Returns for each session whether it is hybrid.
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

    /// Marks the client as closed and returns the sessions to close.
    pub(super) fn close(&mut self) -> Vec<Session> {
        self.closed = true;
        self.connecting.clear();
        let sessions = self.running.all();
        sessions.map(|live| live.session.mux().clone()).collect()
    }

    /// Ends the tasks of all sessions.
    pub(super) fn kill_all(&mut self) {
        self.running.clear();
        self.sessions.clear();
    }

    /// Adds servers or updates their addresses. At [`MAX_SERVERS`], a new one replaces one that
    /// failed.
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

    /// Forgets, of the servers with which there never was a session, the one with the longest retry
    /// wait.
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

    /// Returns whether a server may be dialled: its host is not backed off, or there has been a
    /// session with it.
    pub(super) fn may_dial(&self, server: &KnownServer, now: Duration) -> bool {
        self.had_session.contains(&server.key)
            || self.connecting.contains(&server.key)
            || self.hosts.dials_allowed(server.address.ip(), now) > 0
    }

    pub(super) fn address(&self, server: &PublicKey) -> Option<SocketAddr> {
        self.servers.get(server).copied()
    }

    /// Returns the servers without a session that may be dialled now, and when the next one may be.
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
                    if !proven && *of_host >= self.hosts.dials_allowed(ip, now) {
                        // Check again when the due dials to this host have ended, or its backoff
                        // has.
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

    /// Returns the session with a server, unless it is closing.
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

    /// Returns the servers with sessions, nearest first.
    pub(super) fn by_distance(&self) -> Vec<PublicKey> {
        let live = self.sessions.iter().filter_map(|(key, id)| {
            let live = self.running.get(*id)?;
            Some((live.distance, *key))
        });
        let mut servers: Vec<_> = live.collect();
        servers.sort_unstable();
        servers.into_iter().map(|(_, key)| key).collect()
    }

    /// Returns the session with a server, or joins the dial for one.
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

    /// Adds a new session. Returns `None` if the client is closed.
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
        let started = self.running.add(None, |_| LiveSession {
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

    /// Records a failed dial. `wait` computes the next wait from the last one.
    pub(super) fn connect_failed(
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
        self.schedule_retry(&server.key, now, cause, wait);
    }

    fn schedule_retry(
        &mut self,
        server: &PublicKey,
        now: Duration,
        cause: String,
        wait: impl FnOnce(Duration) -> Duration,
    ) {
        if !self.servers.contains_key(server) {
            return; // forgotten, so the keeper does not dial it
        }
        let retry = self.retries.entry(*server).or_default();
        retry.wait = wait(retry.wait);
        retry.at = now + retry.wait;
        retry.cause = cause;
    }

    /// Removes a session that has ended, with the routes over it, and schedules the next dial.
    pub(super) fn ended(
        &mut self,
        server: &PublicKey,
        id: u64,
        now: Duration,
        wait: impl FnOnce(Duration) -> Duration,
    ) {
        let Some(LiveSession { since, .. }) = self.running.remove(id) else {
            return;
        };
        self.sessions.remove(server);
        self.routes.retain(|_, via| via != server);
        if now.saturating_sub(since) >= GOOD_SESSION {
            self.retries.remove(server);
        }
        if !self.closed {
            self.stats.lost += 1;
            self.schedule_retry(server, now, "the session was lost".to_owned(), wait);
        }
    }

    /// Returns the session over which a destination was last reached.
    pub(super) fn route(&self, destination: &PublicKey) -> Option<Arc<DmsgSession>> {
        self.session(self.routes.get(destination)?)
    }

    pub(super) fn set_route(&mut self, destination: PublicKey, server: PublicKey) {
        make_room(&mut self.routes, &destination);
        self.routes.insert(destination, server);
    }

    /// Returns the servers of a destination, if its entry was fetched within [`ENTRY_LIFE`].
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

    /// Drops the route and entry of a destination, so that the next dial fetches the entry again.
    pub(super) fn forget_delegated(&mut self, key: &PublicKey) {
        self.entries.remove(key);
        self.routes.remove(key);
    }
}

/// Removes the lowest key from a full map, so that `key` can be inserted.
fn make_room<T>(map: &mut BTreeMap<PublicKey, T>, key: &PublicKey) {
    if map.len() >= MAX_DESTINATIONS && !map.contains_key(key) {
        map.pop_first();
    }
}

#[cfg(test)]
mod tests;
