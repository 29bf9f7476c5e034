//! Configuration of a server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use skydht_core::key::PublicKey;

use super::notice::Notify;
use crate::discovery::KnownServer;
use crate::hybrid::Hybrid;

/// Configuration of a server. The defaults are upstream's unless a field says otherwise
/// (specification of DMSG, §7).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address in the entry, `host:port`; `None` is the one that is listened on.
    pub public_address: Option<String>,
    /// Maximum number of concurrent sessions. Upstream only logs when there are more. Here a
    /// session of an address with several makes room for one of an address with fewer, or the new
    /// one is refused.
    pub max_sessions: usize,
    /// Maximum number of concurrent session handshakes. At the limit, one of the address with the
    /// most makes room: see [`crate::half_open`]. Each takes a file descriptor.
    pub max_handshakes: usize,
    /// Maximum number of concurrent handshakes from one address, which many clients may share.
    pub max_handshakes_per_address: usize,
    /// Maximum number of concurrent streams of one session, in each direction; further ones are
    /// reset.
    pub max_streams: usize,
    /// Bytes of outgoing data that may wait for the connections of all sessions; beyond, each
    /// session may queue 32 KiB.
    pub send_budget: usize,
    /// Bytes of received data in all sessions that may wait to be read or relayed; beyond, streams
    /// of the peer with the most such bytes are reset, those that were read least recently first.
    pub receive_budget: usize,
    /// Bytes of received data in one session that may wait to be read or relayed.
    pub receive_queue: usize,
    /// Maximum number of relayed streams over all sessions. At the limit, the address and session
    /// with the most make room, unless they ask for more. Upstream later chose 4096.
    pub max_relayed: usize,
    /// Maximum number of relayed streams from one session to one destination; further ones are
    /// reset.
    pub max_relayed_per_pair: usize,
    /// Streams of one session that are served per second, on average; further ones wait. 0 is no
    /// limit, as upstream.
    pub streams_per_second: u32,
    /// Streams that may be served without delay after a pause.
    pub stream_burst: u32,
    /// Streams that may wait to be accepted by one listener of the server's own key.
    pub accept_queue: usize,
    /// Maximum number of announced servers that may pass on requests; further ones are refused. 0
    /// allows none.
    pub max_peers: usize,
    /// Servers that may pass on requests; empty allows any.
    pub accepted_peers: BTreeSet<PublicKey>,
    /// Servers to dial and announce to, so that each passes on requests for the other's clients.
    pub peers: Vec<KnownServer>,
    /// Whether to dial all servers of the discovery, too, as upstream does since August 2026.
    pub links_all: bool,
    /// Maximum number of concurrent streams whose request was signed by another key than the
    /// session's: passed on by a server, or sent by a client for another key.
    pub max_passed_on: usize,
    /// Whether a client may pass on requests that another key signed. Upstream allows it since
    /// September 2026.
    pub clients_pass_on: bool,
    /// Timeout of a session's handshake, of its first object when the same key has another session,
    /// and of the first two bytes of a stream.
    pub handshake_timeout: Duration,
    /// Timeout of opening a stream, until the destination has answered.
    pub stream_timeout: Duration,
    /// How long one direction of a relayed stream may continue after the other has ended.
    pub linger: Duration,
    /// Interval between two keepalive pings on a session.
    pub keepalive: Duration,
    /// Interval between two publications of an unchanged entry. The discovery forgets an entry
    /// after two minutes.
    pub update_interval: Duration,
    /// How long changes are collected before the entry is published.
    pub debounce: Duration,
    /// First and longest wait after a failed publication.
    pub retry: (Duration, Duration),
    /// Timeout of one call to the discovery.
    pub discovery_timeout: Duration,
    /// Server type in the entry; the discovery may overwrite it.
    pub server_type: String,
    /// Whether the entry says that we are a bootstrap node of the DHT.
    pub dht_bootstrap: bool,
    /// Leaves a stream open without an answer, rather than resetting it, if its destination has no
    /// session, as upstream's relays of April 2026 do. For tests of dialers.
    pub leaves_unknown_open: bool,
    /// Whether handshakes of sessions and of the server's own streams offer the post-quantum half,
    /// or require it.
    pub hybrid: Hybrid,
    /// Called with what the operator should know.
    pub notify: Notify,
}

impl ServerConfig {
    /// Returns the default configuration with this listening address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        let seconds = Duration::from_secs;
        Self {
            listen,
            public_address: None,
            max_sessions: 2048,
            max_handshakes: 1_024,
            max_handshakes_per_address: 512,
            max_streams: 2048,
            send_budget: 64 << 20,
            receive_budget: 64 << 20,
            receive_queue: 16 << 20,
            max_relayed: 8192,
            max_relayed_per_pair: 512,
            max_peers: 512,
            accepted_peers: BTreeSet::new(),
            peers: Vec::new(),
            links_all: false,
            max_passed_on: 4096,
            clients_pass_on: false,
            streams_per_second: 1000,
            stream_burst: 256,
            accept_queue: 20,
            handshake_timeout: seconds(5),
            stream_timeout: seconds(10),
            linger: seconds(30),
            keepalive: seconds(30),
            update_interval: seconds(60),
            debounce: seconds(5),
            retry: (seconds(1), seconds(30)),
            discovery_timeout: seconds(10),
            server_type: String::new(),
            dht_bootstrap: false,
            leaves_unknown_open: false,
            hybrid: Hybrid::default(),
            notify: Notify::default(),
        }
    }
}
