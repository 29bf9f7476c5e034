//! Whose sessions a transport uses: a client's, a relay's, or a relay's in both roles.

use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, DialError, LocalEntries};
use skydht_dmsg::endpoint::{DmsgStream, Listener, StreamError};
use skydht_dmsg::object::{Address, ErrorCode};
use skydht_dmsg::server::Server;
use skydht_runtime::Runtime;

use super::PORT;
use crate::transport::TransportStats;

/// Whose sessions the streams run on.
pub enum Via<R: Runtime> {
    /// A client's.
    Client(Client<R>),
    /// A relay's own: it reaches the clients that have a session with it.
    Server(Server<R>),
    /// A relay's own, and those that it has with other relays.
    Relay(Relay<R>),
}

/// A relay that has sessions with other relays, too, as their client and under the same key.
/// Without them two relays reach each other only when one is the other's client.
///
/// A discovery holds one entry for a key, and that is the server's: give the client one that
/// publishes nothing, as [`FixedServers`](skydht_dmsg::discovery::FixedServers) with the others.
pub struct Relay<R: Runtime> {
    server: Server<R>,
    client: Client<R>,
}

/// The client of a [`Relay`] has another key than its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a relay's client must have the relay's own key")]
pub struct OtherKey;

impl<R: Runtime> Relay<R> {
    /// Both roles of one key.
    ///
    /// # Errors
    /// [`OtherKey`].
    pub fn new(server: Server<R>, client: Client<R>) -> Result<Self, OtherKey> {
        if server.key() != client.key() {
            return Err(OtherKey);
        }
        Ok(Self { server, client })
    }

    /// To a client of ours if it is one, else through the other relays.
    async fn dial(
        &self,
        remote: Address,
        entries: &dyn LocalEntries,
        new_sessions: bool,
    ) -> Result<DmsgStream, DialError> {
        match self.server.dial(remote).await {
            Ok(stream) => Ok(stream),
            // Its own word.
            Err(StreamError::Refused(code)) if code != ErrorCode::NoNextSession => {
                Err(DialError::Stream(StreamError::Refused(code)))
            }
            Err(_) => self.client.dial_local(remote, entries, new_sessions).await,
        }
    }
}

impl<R: Runtime> Clone for Relay<R> {
    fn clone(&self) -> Self {
        Self {
            server: self.server.clone(),
            client: self.client.clone(),
        }
    }
}

impl<R: Runtime> Clone for Via<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Client(client) => Self::Client(client.clone()),
            Self::Server(server) => Self::Server(server.clone()),
            Self::Relay(relay) => Self::Relay(relay.clone()),
        }
    }
}

impl<R: Runtime> Via<R> {
    fn client(&self) -> Option<&Client<R>> {
        match self {
            Self::Client(client) => Some(client),
            Self::Server(_) => None,
            Self::Relay(relay) => Some(&relay.client),
        }
    }

    fn server(&self) -> Option<&Server<R>> {
        match self {
            Self::Client(_) => None,
            Self::Server(server) => Some(server),
            Self::Relay(relay) => Some(&relay.server),
        }
    }

    /// The key that it proves.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        match self {
            Self::Client(client) => client.key(),
            Self::Server(server) => server.key(),
            Self::Relay(relay) => relay.server.key(),
        }
    }

    /// As the client's or server's own `ready`. A relay does not wait for others.
    pub async fn ready(&self) {
        match self {
            Self::Client(client) => client.ready().await,
            Self::Server(server) => server.ready().await,
            Self::Relay(relay) => relay.server.ready().await,
        }
    }

    /// Completes once there is a session to reach others by. A relay does not wait for others.
    pub async fn connected(&self) {
        if let Self::Client(client) = self {
            client.connected().await;
        }
    }

    /// Opens the port wherever streams to this key can come from.
    pub(super) fn listen(&self) -> Result<Vec<Listener>, ErrorCode> {
        let server = self.server().map(|server| server.listen(PORT));
        let client = self.client().map(|client| client.listen(PORT));
        server.into_iter().chain(client).collect()
    }

    pub(super) async fn dial(
        &self,
        remote: Address,
        entries: &dyn LocalEntries,
        new_sessions: bool,
    ) -> Result<DmsgStream, DialError> {
        match self {
            Self::Client(client) => client.dial_local(remote, entries, new_sessions).await,
            Self::Server(server) => server.dial(remote).await.map_err(DialError::Stream),
            Self::Relay(relay) => relay.dial(remote, entries, new_sessions).await,
        }
    }

    pub(super) async fn close(&self) {
        if let Some(client) = self.client() {
            client.close().await;
        }
        if let Some(server) = self.server() {
            server.close().await;
        }
    }

    pub(super) fn stats(&self) -> TransportStats {
        let mut stats = TransportStats::default();
        if let Some(counted) = self.client().map(Client::stats) {
            stats.sessions += counted.sessions;
            stats.streams += counted.streams;
            stats.dialling += counted.connecting;
            stats.dials += counted.connected;
            stats.dials_failed += counted.connects_failed;
            stats.dials_shared += counted.connects_shared;
            stats.lost += counted.lost;
        }
        if let Some(counted) = self.server().map(Server::stats) {
            stats.sessions += counted.sessions;
            stats.streams += counted.streams;
            stats.handshaking += counted.handshaking;
            stats.accepted += counted.accepted;
            stats.handshakes_failed += counted.handshakes_failed;
            stats.handshakes_abandoned += counted.handshakes_abandoned;
            stats.refused +=
                counted.refused_sessions + counted.refused_smux + counted.handshakes_dropped;
            stats.superseded += counted.superseded;
            stats.lost += counted.lost;
        }
        stats
    }
}
