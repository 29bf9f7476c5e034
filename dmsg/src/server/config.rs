//! How a server behaves.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use skydht_core::key::PublicKey;

use super::notice::Notify;
use crate::discovery::KnownServer;
use crate::hybrid::Hybrid;

/// How a server behaves. The defaults are upstream's, unless they say why not (specification of
/// DMSG, §7).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The address that the entry tells, `host:port`; none: the one that is listened on.
    pub public_address: Option<String>,
    /// Sessions at once. Upstream only logs more; here one of an address with several makes room
    /// for one of an address with fewer, or the new one is refused.
    pub max_sessions: usize,
    /// Handshakes of sessions under way. At the limit one of the address with the most makes
    /// room: see [`crate::half_open`]. Each takes an open file.
    pub max_handshakes: usize,
    /// The same for one address. Many clients may share one.
    pub max_handshakes_per_address: usize,
    /// Streams of one session in each direction; more are reset.
    pub max_streams: usize,
    /// Bytes of data that may wait in all sessions together until the connections take them;
    /// beyond, each may hold 32 KiB.
    pub send_budget: usize,
    /// Bytes of data that may have come in all sessions together without being read or passed on;
    /// beyond, streams are reset that were read longest ago, of the peer with the most such bytes.
    pub receive_budget: usize,
    /// The same for one session.
    pub receive_queue: usize,
    /// Relayed streams at once, over all sessions. At the limit one makes room of the address and
    /// session with the most, unless that is the one that asks for more. Upstream set 4096 later.
    pub max_relayed: usize,
    /// Relayed streams at once of one session to one destination; more are reset.
    pub max_relayed_per_pair: usize,
    /// Streams of one session that are served a second, over time; more wait. 0: no limit, as
    /// upstream.
    pub streams_per_second: u32,
    /// As many are served at once after a pause.
    pub stream_burst: u32,
    /// Streams that may wait for one listener of our own.
    pub accept_queue: usize,
    /// Links of other servers at once that may pass on requests; more are refused. 0: none may.
    pub max_peers: usize,
    /// The servers that may pass on requests; none: any.
    pub accepted_peers: BTreeSet<PublicKey>,
    /// Servers that are dialled and announced to, so that each passes on requests for the other's
    /// clients.
    pub peers: Vec<KnownServer>,
    /// Whether all servers of the discovery are, too; upstream's are since August 2026.
    pub links_all: bool,
    /// Concurrent streams whose request another server passed on, or a client in another's name.
    pub max_passed_on: usize,
    /// Whether a client may pass on what another key has signed. Upstream's may since September
    /// 2026.
    pub clients_pass_on: bool,
    /// How long the handshake of a session may take, its first object when there is another
    /// session of the same key, and the first two bytes of a stream.
    pub handshake_timeout: Duration,
    /// How long a stream may take until the destination has answered.
    pub stream_timeout: Duration,
    /// How long one direction of a relayed stream goes on after the other has ended.
    pub linger: Duration,
    /// How often a session is tested.
    pub keepalive: Duration,
    /// How often the entry is published when nothing changes. The discovery forgets it after
    /// two minutes.
    pub update_interval: Duration,
    /// How long changes collect before the entry is published.
    pub debounce: Duration,
    /// The first and the longest wait after the discovery did not take the entry.
    pub retry: (Duration, Duration),
    /// How long one call to the discovery may take.
    pub discovery_timeout: Duration,
    /// What the entry says of our kind; the discovery may overwrite it.
    pub server_type: String,
    /// Whether the entry says that we are a bootstrap node of the DHT.
    pub dht_bootstrap: bool,
    /// As upstream's relays of April 2026: a stream whose destination has no session is left open
    /// without an answer, rather than reset. For tests of what dials through them.
    pub leaves_unknown_open: bool,
    /// Whether handshakes of sessions and of our own streams offer the post-quantum half, or
    /// demand it.
    pub hybrid: Hybrid,
    /// Who is called when there is something that the operator should know.
    pub notify: Notify,
}

impl ServerConfig {
    /// The defaults, listening at `listen`.
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
