//! Dialling: which sessions lead to a key, in which order they are tried, and when to retry.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::{ClientConfig, ClientInner, sessions};
use crate::discovery::{DiscoveryError, KnownServer};
use crate::dmsg_session::DmsgSession;
use crate::endpoint::{DmsgStream, StreamError};
use crate::entry::Entry;
use crate::object::{Address, ErrorCode};
use crate::session::SessionError;

/// Maximum number of existing sessions that one round tries with the destination's servers, and
/// again with other servers.
const MAX_SESSIONS: usize = 16;
/// Maximum number of the destination's servers that one round connects to.
const MAX_NEW: usize = 2;
/// Rounds that may end with streams closed without an error code. Go peers refuse this way, also
/// when a listener is only overloaded, so a few retries are worthwhile.
const SILENT_ROUNDS: usize = 3;

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No session leads to the destination, and none can be made.
    #[error("no server leads to the destination")]
    NoRoute,
    /// The most specific error of the routes that were tried.
    #[error(transparent)]
    Stream(StreamError),
    /// The dial did not succeed within [`super::ClientConfig::dial_timeout`]; holds the last error.
    #[error("not within the time: {0}")]
    Timeout(StreamError),
    /// The client is closed.
    #[error("client closed")]
    Closed,
    /// The server saw us at an address that is not public, or reported none.
    #[error("{}", not_public(*.0))]
    NotPublic(Option<IpAddr>),
}

fn not_public(seen: Option<IpAddr>) -> String {
    match seen {
        Some(ip) => format!("the server sees us at {ip}, which is no public address"),
        None => "the server told no address".to_owned(),
    }
}

/// Entries available without asking another host, for dials that must not cause further dials.
pub trait LocalEntries: Sync {
    /// Returns the entry of `key` if it is available locally.
    fn entry(&self, key: &PublicKey) -> Option<Entry>;
}

impl LocalEntries for () {
    fn entry(&self, _: &PublicKey) -> Option<Entry> {
        None
    }
}

/// Source of the destination's entry.
pub(super) enum Resolve<'a> {
    Discovery,
    Local(&'a dyn LocalEntries),
}

impl Resolve<'_> {
    /// Returns the timeout of one attempt on a session that leads to the destination. A local dial
    /// is one step of an operation with its own deadline: a silent server must leave time for the
    /// next one.
    fn attempt_timeout(&self, config: &ClientConfig) -> Duration {
        match self {
            Self::Discovery => config.stream_timeout,
            Self::Local(_) => config.stream_timeout.min(config.stray_timeout),
        }
    }
}

/// How a round without a stream ended. Of several attempts, the one with the highest [`Self::rank`]
/// is reported.
enum RoundFailure {
    NoRoute,
    /// Timed out. Another round would only take as long again.
    Late(StreamError),
    /// Closed without an error code.
    Silent(StreamError),
    /// The destination's accept queue or the session is full.
    Busy(StreamError),
    /// The destination refused, or a retry cannot help.
    Final(StreamError),
}

impl RoundFailure {
    const fn rank(&self) -> u8 {
        match self {
            Self::NoRoute => 0,
            Self::Late(_) => 1,
            Self::Silent(_) => 2,
            Self::Busy(_) => 3,
            Self::Final(_) => 4,
        }
    }
}

pub(super) async fn dial<R: Runtime>(
    shared: &Arc<ClientInner<R>>,
    remote: Address,
    resolve: &Resolve<'_>,
    new_sessions: bool,
) -> Result<DmsgStream, DialError> {
    let result = dial_in_rounds(shared, remote, resolve, new_sessions).await;
    let mut table = shared.table();
    match &result {
        Ok(_) => table.stats_mut().dialled += 1,
        Err(_) => table.stats_mut().dials_failed += 1,
    }
    result
}

async fn dial_in_rounds<R: Runtime>(
    shared: &Arc<ClientInner<R>>,
    remote: Address,
    resolve: &Resolve<'_>,
    new_sessions: bool,
) -> Result<DmsgStream, DialError> {
    let deadline = shared.now() + shared.config.dial_timeout;
    let (first, longest) = shared.config.redial;
    let mut wait = first;
    let mut silent = 0;
    loop {
        if shared.table().is_closed() {
            return Err(DialError::Closed);
        }
        let dial = Dial {
            shared,
            remote,
            resolve,
            new_sessions,
            tried: BTreeSet::new(),
            ended: RoundFailure::NoRoute,
        };
        let left = deadline.saturating_sub(shared.now());
        let round = within(&shared.runtime, left, dial.round()).await;
        let error = match round {
            None => return Err(DialError::Timeout(StreamError::Timeout)),
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(RoundFailure::NoRoute)) => return Err(DialError::NoRoute),
            Some(Err(RoundFailure::Final(error) | RoundFailure::Late(error))) => {
                return Err(DialError::Stream(error));
            }
            Some(Err(RoundFailure::Busy(error))) => error,
            Some(Err(RoundFailure::Silent(error))) => {
                // The cached entry may be out of date.
                shared.table().forget_delegated(&remote.key);
                silent += 1;
                if silent == SILENT_ROUNDS {
                    return Err(DialError::Stream(error));
                }
                error
            }
        };
        let pause = shared.jittered(wait);
        if shared.now() + pause >= deadline {
            return Err(DialError::Timeout(error));
        }
        shared.table().stats_mut().redials += 1;
        shared.runtime.sleep(pause).await;
        wait = (wait * 2).min(longest);
    }
}

/// One round over all routes to a destination.
struct Dial<'a, R: Runtime> {
    shared: &'a Arc<ClientInner<R>>,
    remote: Address,
    resolve: &'a Resolve<'a>,
    new_sessions: bool,
    /// Servers tried in this round.
    tried: BTreeSet<PublicKey>,
    ended: RoundFailure,
}

/// `Ok(Some)` ends the round with a stream, `Ok(None)` continues with the next route, `Err` ends
/// the round.
type Step = Result<Option<DmsgStream>, RoundFailure>;

impl<R: Runtime> Dial<'_, R> {
    /// Tries the routes in the order of the specification, §8.
    async fn round(mut self) -> Result<DmsgStream, RoundFailure> {
        match self.try_routes().await? {
            Some(stream) => Ok(stream),
            None => Err(self.ended),
        }
    }

    async fn try_routes(&mut self) -> Step {
        let destination = self.remote.key;
        let full = self.resolve.attempt_timeout(&self.shared.config);
        // The route that worked last time, then a session with the destination itself, if it is a
        // server.
        let known = {
            let table = self.shared.table();
            [table.route(&destination), table.session(&destination)]
        };
        for session in known.into_iter().flatten() {
            if let Some(stream) = self.attempt(&session, full).await? {
                return Ok(Some(stream));
            }
        }
        let delegated = self.delegated().await;
        let near = self.shared.table().by_distance();
        let (common, others): (Vec<_>, Vec<_>) = near
            .into_iter()
            .partition(|server| delegated.contains(server));
        for server in common.iter().take(MAX_SESSIONS) {
            if let Some(stream) = self.attempt_server(server, full).await? {
                return Ok(Some(stream));
            }
        }
        let stray = self.shared.config.stray_timeout;
        for server in others.iter().take(MAX_SESSIONS) {
            if let Some(stream) = self.attempt_server(server, stray).await? {
                return Ok(Some(stream));
            }
        }
        if self.new_sessions {
            return self.connect(&delegated).await;
        }
        Ok(None)
    }

    /// Connects to some of the destination's servers and tries the new sessions.
    async fn connect(&mut self, delegated: &[PublicKey]) -> Step {
        let mut connected = 0;
        for server in delegated {
            if connected == MAX_NEW {
                break;
            }
            if self.tried.contains(server) {
                continue;
            }
            let Some(server) = self.find_server(server).await else {
                continue;
            };
            connected += 1;
            let Some(session) = sessions::session_with(self.shared, server).await else {
                continue;
            };
            let limit = self.resolve.attempt_timeout(&self.shared.config);
            if let Some(stream) = self.attempt(&session, limit).await? {
                return Ok(Some(stream));
            }
        }
        Ok(None)
    }

    async fn attempt_server(&mut self, server: &PublicKey, limit: Duration) -> Step {
        let session = self.shared.table().session(server);
        match session {
            Some(session) => self.attempt(&session, limit).await,
            None => Ok(None),
        }
    }

    /// Tries to open a stream over `session`, unless this round has tried its server.
    async fn attempt(&mut self, session: &DmsgSession, limit: Duration) -> Step {
        if !self.tried.insert(session.remote()) {
            return Ok(None);
        }
        let shared = self.shared;
        let opening = shared
            .endpoint
            .dial(session, self.remote, shared.timestamp());
        let opened = within(&shared.runtime, limit, opening).await;
        let error = match opened.unwrap_or(Err(StreamError::Timeout)) {
            Ok(stream) => {
                let mut table = shared.table();
                table.set_route(self.remote.key, session.remote());
                return Ok(Some(stream));
            }
            Err(error) => error,
        };
        let ended = match error {
            // The accept queue is the destination's: it is full over every route.
            StreamError::Refused(ErrorCode::AcceptQueueFull) => {
                return Err(RoundFailure::Busy(error));
            }
            StreamError::Refused(_) | StreamError::Noise(_) => {
                return Err(RoundFailure::Final(error));
            }
            StreamError::Session(SessionError::TooManyStreams) => RoundFailure::Busy(error),
            StreamError::Timeout => {
                // Old relays leave the stream open when the destination has moved to other servers.
                shared.table().forget_delegated(&self.remote.key);
                RoundFailure::Late(error)
            }
            _ => RoundFailure::Silent(error),
        };
        if ended.rank() > self.ended.rank() {
            self.ended = ended;
        }
        Ok(None)
    }

    /// Returns the destination's servers, or the destination itself if it is a server. Empty if no
    /// source has its entry.
    async fn delegated(&self) -> Arc<[PublicKey]> {
        let key = self.remote.key;
        let shared = self.shared;
        let known = shared.table().delegated(&key, shared.now());
        if let Some(known) = known {
            return known;
        }
        let Some(entry) = self.entry(key).await else {
            return Arc::default();
        };
        let delegated: Arc<[PublicKey]> = match KnownServer::of(&entry) {
            Some(server) => {
                shared.table().learn(&[server]);
                Arc::new([key])
            }
            None => entry.delegated_servers().into(),
        };
        let now = shared.now();
        let mut table = shared.table();
        table.set_delegated(key, Arc::clone(&delegated), now);
        delegated
    }

    async fn find_server(&self, key: &PublicKey) -> Option<KnownServer> {
        let known = self.shared.table().address(key);
        if let Some(address) = known {
            return Some(KnownServer { key: *key, address });
        }
        let server = KnownServer::of(&self.entry(*key).await?)?;
        self.shared.table().learn(&[server]);
        Some(server)
    }

    async fn entry(&self, key: PublicKey) -> Option<Entry> {
        match self.resolve {
            Resolve::Local(entries) => entries.entry(&key),
            Resolve::Discovery => {
                let asked = self.shared.discovery.entry(key);
                let limit = self.shared.config.discovery_timeout;
                let found = within(&self.shared.runtime, limit, asked).await;
                found.and_then(|found: Result<Entry, DiscoveryError>| found.ok())
            }
        }
    }
}
