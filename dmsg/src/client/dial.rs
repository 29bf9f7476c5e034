//! Dialling: which session leads to a key, in which order they are tried, and when to try again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::{ClientConfig, Shared, sessions};
use crate::discovery::{DiscoveryError, KnownServer};
use crate::dmsg_session::DmsgSession;
use crate::endpoint::{DmsgStream, StreamError};
use crate::entry::Entry;
use crate::object::{Address, ErrorCode};
use crate::session::SessionError;

/// Sessions of each kind that one round tries.
const MAX_SESSIONS: usize = 16;
/// Servers of the destination's that one round connects to.
const MAX_NEW: usize = 2;
/// Rounds in which no route says more than to close the stream: Go's refusals look like that, those
/// of a listener that is overloaded, too.
const SILENT_ROUNDS: usize = 3;

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No session leads there, and none can be made.
    #[error("no server leads to the destination")]
    NoRoute,
    /// What the route said that said most.
    #[error(transparent)]
    Stream(StreamError),
    /// Not within [`super::ClientConfig::dial_timeout`], though tried again and again.
    #[error("not within the time: {0}")]
    Timeout(StreamError),
    /// The client is closed.
    #[error("client closed")]
    Closed,
    /// The server saw us at an address that is not public, or told none.
    #[error("{}", not_public(*.0))]
    NotPublic(Option<IpAddr>),
}

fn not_public(seen: Option<IpAddr>) -> String {
    match seen {
        Some(ip) => format!("the server sees us at {ip}, which is no public address"),
        None => "the server told no address".to_owned(),
    }
}

/// Entries at hand, without asking another host: for dials that must not lead to other dials.
pub trait LocalEntries: Sync {
    /// The entry of a key, if it is at hand.
    fn entry(&self, key: &PublicKey) -> Option<Entry>;
}

impl LocalEntries for () {
    fn entry(&self, _: &PublicKey) -> Option<Entry> {
        None
    }
}

/// Who knows where a destination is.
pub(super) enum Resolve<'a> {
    Discovery,
    Local(&'a dyn LocalEntries),
}

impl Resolve<'_> {
    /// How long one attempt may take on a session that leads to the destination. A local dial is
    /// a step of something that has a deadline itself: a server that is silent must leave time
    /// for the next.
    fn patience(&self, config: &ClientConfig) -> Duration {
        match self {
            Self::Discovery => config.stream_timeout,
            Self::Local(_) => config.stream_timeout.min(config.stray_timeout),
        }
    }
}

/// How a round ended that brought no stream; of several, the last one here counts.
enum Round {
    NoRoute,
    /// Not in time: trying again would only take as long again.
    Late(StreamError),
    /// Closed without a word.
    Silent(StreamError),
    /// The destination or a session is overloaded.
    Busy(StreamError),
    /// The destination said so, or trying again is of no use.
    Final(StreamError),
}

impl Round {
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
    shared: &Arc<Shared<R>>,
    remote: Address,
    resolve: &Resolve<'_>,
    new_sessions: bool,
) -> Result<DmsgStream, DialError> {
    let result = rounds(shared, remote, resolve, new_sessions).await;
    let mut table = shared.table();
    match &result {
        Ok(_) => table.stats_mut().dialled += 1,
        Err(_) => table.stats_mut().dials_failed += 1,
    }
    result
}

async fn rounds<R: Runtime>(
    shared: &Arc<Shared<R>>,
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
            ended: Round::NoRoute,
        };
        let left = deadline.saturating_sub(shared.now());
        let round = within(&shared.runtime, left, dial.round()).await;
        let error = match round {
            None => return Err(DialError::Timeout(StreamError::Timeout)),
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(Round::NoRoute)) => return Err(DialError::NoRoute),
            Some(Err(Round::Final(error) | Round::Late(error))) => {
                return Err(DialError::Stream(error));
            }
            Some(Err(Round::Busy(error))) => error,
            Some(Err(Round::Silent(error))) => {
                // Its entry may have changed.
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

/// One round over the routes.
struct Dial<'a, R: Runtime> {
    shared: &'a Arc<Shared<R>>,
    remote: Address,
    resolve: &'a Resolve<'a>,
    new_sessions: bool,
    /// Servers that were tried.
    tried: BTreeSet<PublicKey>,
    ended: Round,
}

/// A stream, or go on, or stop here.
type Step = Result<Option<DmsgStream>, Round>;

impl<R: Runtime> Dial<'_, R> {
    /// The ladder of the specification, §8.
    async fn round(mut self) -> Result<DmsgStream, Round> {
        match self.ladder().await? {
            Some(stream) => Ok(stream),
            None => Err(self.ended),
        }
    }

    async fn ladder(&mut self) -> Step {
        let destination = self.remote.key;
        let full = self.resolve.patience(&self.shared.config);
        // The way that was good last time; and a server is its own way.
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

    /// Connects to servers of the destination's.
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
            let limit = self.resolve.patience(&self.shared.config);
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

    /// Tries one session.
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
            // The queue is full for every dial, through every server.
            StreamError::Refused(ErrorCode::AcceptQueueFull) => return Err(Round::Busy(error)),
            StreamError::Refused(_) | StreamError::Noise(_) => return Err(Round::Final(error)),
            StreamError::Session(SessionError::TooManyStreams) => Round::Busy(error),
            StreamError::Timeout => {
                // An old relay leaves a stream open whose destination has gone elsewhere.
                shared.table().forget_delegated(&self.remote.key);
                Round::Late(error)
            }
            _ => Round::Silent(error),
        };
        if ended.rank() > self.ended.rank() {
            self.ended = ended;
        }
        Ok(None)
    }

    /// The destination's servers: itself, if it is one. `None` if no source knows.
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
