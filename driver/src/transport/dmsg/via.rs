//! The client, the relay, or both, whose sessions a transport uses.

use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, ClientStats, DialError, LocalEntries};
use skydht_dmsg::endpoint::{DmsgStream, Listener, StreamError};
use skydht_dmsg::object::{Address, ErrorCode};
use skydht_dmsg::server::{Server, ServerStats};
use skydht_runtime::Runtime;

use super::PORT;
use crate::transport::TransportStats;

/// The client or relay whose sessions carry the streams.
pub enum Via<R: Runtime> {
    /// The sessions of a client.
    Client(Client<R>),
    /// The sessions of a relay, which reaches the clients that have a session with it.
    Server(Server<R>),
    /// The sessions of a relay, and those that it has with other relays as their client.
    Relay(Relay<R>),
}

/// A relay that also has sessions with other relays, as their client and under the same key.
/// Without them, two relays reach each other only if one is the other's client.
///
/// A discovery has one entry per key, which must be the server's here: give the client a discovery
/// that publishes nothing, such as [`FixedServers`](skydht_dmsg::discovery::FixedServers) with the
/// other relays.
pub struct Relay<R: Runtime> {
    server: Server<R>,
    client: Client<R>,
}

/// The client of a [`Relay`] has another key than its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a relay's client must have the relay's own key")]
pub struct OtherKey;

impl<R: Runtime> Relay<R> {
    /// Combines the server and the client of one key.
    ///
    /// # Errors
    /// [`OtherKey`].
    pub fn new(server: Server<R>, client: Client<R>) -> Result<Self, OtherKey> {
        if server.key() != client.key() {
            return Err(OtherKey);
        }
        Ok(Self { server, client })
    }

    /// Dials a client of this relay directly, and any other key through the other relays.
    async fn dial(
        &self,
        remote: Address,
        entries: &dyn LocalEntries,
        new_sessions: bool,
    ) -> Result<DmsgStream, DialError> {
        match self.server.dial(remote).await {
            Ok(stream) => Ok(stream),
            // The destination itself refused, so other routes would not help.
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

    /// Returns the key that it proves.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        match self {
            Self::Client(client) => client.key(),
            Self::Server(server) => server.key(),
            Self::Relay(relay) => relay.server.key(),
        }
    }

    /// Waits like the client's or server's own `ready`. A relay does not wait for other relays.
    pub async fn ready(&self) {
        match self {
            Self::Client(client) => client.ready().await,
            Self::Server(server) => server.ready().await,
            Self::Relay(relay) => relay.server.ready().await,
        }
    }

    /// Completes once there is a session to reach others over. A relay does not wait for one.
    pub async fn connected(&self) {
        if let Self::Client(client) = self {
            client.connected().await;
        }
    }

    /// Opens [`PORT`] on everything that accepts streams to this key.
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
        sum(
            self.client().map(Client::stats),
            self.server().map(Server::stats),
        )
    }
}

/// Combines the counters of a client and a server to those of one transport.
fn sum(client: Option<ClientStats>, server: Option<ServerStats>) -> TransportStats {
    let (client, server) = (client.unwrap_or_default(), server.unwrap_or_default());
    TransportStats {
        sessions: client.sessions + server.sessions,
        streams: client.streams + server.streams,
        dialling: client.connecting,
        dials: client.connected,
        dials_failed: client.connects_failed,
        dials_shared: client.connects_shared,
        handshaking: server.handshaking,
        accepted: server.accepted,
        handshakes_failed: server.handshakes_failed,
        handshakes_abandoned: server.handshakes_abandoned,
        refused: server.refused_sessions + server.refused_smux + server.handshakes_dropped,
        superseded: server.superseded,
        lost: client.lost + server.lost,
        ..TransportStats::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_counts_what_it_does_in_both_roles() {
        let mut client = ClientStats::default();
        (client.sessions, client.streams, client.connecting) = (1, 2, 3);
        (client.connected, client.connects_failed) = (4, 5);
        (client.connects_shared, client.lost) = (6, 7);
        let mut server = ServerStats::default();
        (server.sessions, server.streams, server.handshaking) = (10, 20, 30);
        (server.accepted, server.handshakes_failed) = (40, 50);
        (server.handshakes_abandoned, server.refused_sessions) = (60, 70);
        (server.refused_smux, server.handshakes_dropped) = (700, 7_000);
        (server.superseded, server.lost) = (80, 90);
        let expected = TransportStats {
            sessions: 11,
            streams: 22,
            dialling: 3,
            dials: 4,
            dials_failed: 5,
            dials_shared: 6,
            handshaking: 30,
            accepted: 40,
            handshakes_failed: 50,
            handshakes_abandoned: 60,
            refused: 7_770,
            superseded: 80,
            lost: 97,
            ..TransportStats::default()
        };
        assert_eq!(sum(Some(client), Some(server)), expected);
        let alone = sum(Some(client), None);
        assert_eq!((alone.sessions, alone.accepted, alone.lost), (1, 0, 7));
        let alone = sum(None, Some(server));
        assert_eq!((alone.sessions, alone.dials, alone.lost), (10, 0, 90));
    }
}
