//! Configuration of a client.

use std::time::Duration;

use crate::discovery::KnownServer;
use crate::hybrid::Hybrid;

/// Configuration of a client. The defaults are upstream's unless a field says otherwise
/// (specification of DMSG, §7).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// Servers known in advance, besides those that the discovery lists.
    pub servers: Vec<KnownServer>,
    /// Number of sessions to keep; 0 keeps one with every known server.
    pub min_sessions: usize,
    /// Client type in the entry, for instance `visor`.
    pub client_type: String,
    /// Timeout of connecting to a server's address.
    pub connect_timeout: Duration,
    /// Timeout of a session's handshake, and of the first two bytes of an inbound stream.
    pub handshake_timeout: Duration,
    /// Timeout of opening a stream on one session.
    pub stream_timeout: Duration,
    /// Timeout of opening a stream on a session whose server may not know the destination:
    /// upstream's relay of April 2026 then does not answer. Also caps every attempt of
    /// [`Client::dial_local`](super::Client::dial_local).
    pub stray_timeout: Duration,
    /// Timeout of a whole dial, over all sessions and retries.
    pub dial_timeout: Duration,
    /// Timeout of one call to the discovery.
    pub discovery_timeout: Duration,
    /// Pause after a session's handshake before anything is sent, so that the server does not read
    /// the session's first bytes together with the last handshake message (code 203).
    pub settle: Duration,
    /// Interval between two keepalive pings on a session.
    pub keepalive: Duration,
    /// First and longest wait before a lost or unreachable server is dialled again. Upstream begins
    /// with 5 s.
    pub retry: (Duration, Duration),
    /// First and longest wait before a dial that was refused temporarily is repeated.
    pub redial: (Duration, Duration),
    /// Interval between two publications of an unchanged entry.
    pub update_interval: Duration,
    /// How long changes of the sessions are collected before the entry is published.
    pub debounce: Duration,
    /// Streams that may wait to be accepted by one listener.
    pub accept_queue: usize,
    /// Maximum number of concurrent streams of one session, in each direction.
    pub max_streams: usize,
    /// Whether handshakes of sessions and streams offer the post-quantum half, or require it.
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
