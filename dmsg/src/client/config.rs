//! How a client behaves.

use std::time::Duration;

use crate::discovery::KnownServer;
use crate::hybrid::Hybrid;

/// How a client behaves. The defaults are upstream's, unless they say why not (specification of
/// DMSG, §7).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Servers known beforehand, besides those of the discovery.
    pub servers: Vec<KnownServer>,
    /// Sessions to keep; 0: one with every server.
    pub min_sessions: usize,
    /// What kind of client the entry says, for instance `visor`.
    pub client_type: String,
    /// How long a server's address is tried.
    pub connect_timeout: Duration,
    /// How long the handshake of a session may take, and the first two bytes of a stream.
    pub handshake_timeout: Duration,
    /// How long the opening of a stream may take on one session.
    pub stream_timeout: Duration,
    /// The same where the session's server may not know the destination: upstream's relay of
    /// April 2026 then says nothing at all. And for every session in [`Client::dial_local`](super::Client::dial_local).
    pub stray_timeout: Duration,
    /// How long a dial goes on, over all sessions and tries.
    pub dial_timeout: Duration,
    /// How long one call to the discovery may take.
    pub discovery_timeout: Duration,
    /// How long we keep silent after the handshake of a session, so that its last message is not
    /// read together with the first of the session (code 203).
    pub settle: Duration,
    /// How often a session is tested.
    pub keepalive: Duration,
    /// The first and the longest wait before a lost or unreachable server is tried again.
    /// Upstream begins with 5 s.
    pub retry: (Duration, Duration),
    /// The first and the longest wait before a dial that was refused for the moment is repeated.
    pub redial: (Duration, Duration),
    /// How often the entry is published when nothing changes.
    pub update_interval: Duration,
    /// How long changes of sessions collect before the entry is published.
    pub debounce: Duration,
    /// Streams that may wait for one listener.
    pub accept_queue: usize,
    /// Streams of one session in each direction.
    pub max_streams: usize,
    /// Whether handshakes of sessions and streams offer the post-quantum half, or demand it.
    pub hybrid: Hybrid,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            servers: Vec::new(),
            min_sessions: 1,
            client_type: String::new(),
            connect_timeout: seconds(10),
            handshake_timeout: seconds(5),
            stream_timeout: seconds(10),
            stray_timeout: seconds(3),
            dial_timeout: seconds(30),
            discovery_timeout: seconds(10),
            settle: Duration::from_millis(20),
            keepalive: seconds(30),
            retry: (seconds(1), seconds(60)),
            redial: (Duration::from_millis(50), seconds(2)),
            update_interval: seconds(60),
            debounce: seconds(1),
            accept_queue: 20,
            max_streams: 2048,
            hybrid: Hybrid::default(),
        }
    }
}
