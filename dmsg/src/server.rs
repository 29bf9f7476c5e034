//! A DMSG server: relays streams between its clients, and serves its own key like one of them.
//!
//! It sees who wants to talk to whom, checks that (specification of DMSG, §9), and copies bytes
//! that it cannot read. A service on the server's own key listens in the same process: no session
//! of the server with itself is needed (§9.1).

mod accept;
mod copy;
mod notice;
mod pace;
mod publish;
mod relay;
mod relayed;
mod stats;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_runtime::{Listener as _, Runtime, within};

pub use notice::{Notice, Notify};
pub use stats::ServerStats;

use notice::SmuxPace;
use relayed::Relayed;
use stats::Counters;
use table::Table;

use crate::discovery::Discovery;
use crate::endpoint::{DmsgStream, Endpoint, Listener, StreamError};
use crate::handshake::EphemeralSource;
use crate::object::{Address, ErrorCode};
use crate::session::{ReceiveBudget, SendBudget};
use crate::session_layer::{self, Acceptor, CLOSE_GRACE};
use crate::signal::Signal;

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
    /// beyond, streams are reset that were read longest ago, of whoever has the most such bytes.
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
            notify: Notify::default(),
        }
    }
}

struct Shared<R: Runtime> {
    runtime: R,
    discovery: Arc<dyn Discovery>,
    endpoint: Endpoint,
    config: ServerConfig,
    address: String,
    local_addr: SocketAddr,
    acceptor: Acceptor,
    table: Mutex<Table>,
    counters: Counters,
    send_budget: SendBudget,
    receive_budget: ReceiveBudget,
    relayed: Relayed,
    smux_pace: SmuxPace,
    /// Sessions came or went, the entry was published, or the server closes.
    changes: Signal,
}

impl<R: Runtime> Shared<R> {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timestamp(&self) -> i64 {
        i64::try_from(self.runtime.clocks().unix.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// A handle on a running server. When the last clone is dropped, the server stops at once;
/// [`Server::close`] does it in order.
pub struct Server<R: Runtime>(Arc<Handle<R>>);

struct Handle<R: Runtime>(Arc<Shared<R>>);

impl<R: Runtime> Clone for Server<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.0.endpoint.close();
        self.0.acceptor.close();
        self.0.table().close();
        self.0.table().kill_all();
        self.0.changes.raise();
    }
}

impl<R: Runtime> Server<R> {
    /// Listens and starts to serve. Draw `entropy` from the operating system and keep it secret;
    /// in a simulation, from its seed.
    ///
    /// # Errors
    /// What listening brought.
    pub async fn start(
        runtime: R,
        secret: SecretKey,
        entropy: [u8; 32],
        discovery: impl Discovery,
        config: ServerConfig,
    ) -> io::Result<Self> {
        let listener = runtime.listen(config.listen).await?;
        let local_addr = listener.local_addr();
        let address = config.public_address.clone();
        let shared = Arc::new(Shared {
            address: address.unwrap_or_else(|| local_addr.to_string()),
            local_addr,
            endpoint: Endpoint::new(secret, EphemeralSource::new(entropy)),
            discovery: Arc::new(discovery),
            acceptor: Acceptor::new(config.max_handshakes, config.max_handshakes_per_address),
            table: Mutex::new(Table::new(&config)),
            counters: Counters::default(),
            send_budget: SendBudget::new(config.send_budget),
            receive_budget: ReceiveBudget::new(config.receive_budget),
            relayed: Relayed::new(&config),
            smux_pace: SmuxPace::default(),
            changes: Signal::default(),
            config,
            runtime,
        });
        session_layer::spawn(&shared, listener);
        publish::spawn(&shared);
        Ok(Self(Arc::new(Handle(shared))))
    }

    fn shared(&self) -> &Arc<Shared<R>> {
        &self.0.0
    }

    /// Our key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.shared().endpoint.key()
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().local_addr
    }

    /// Completes once the discovery has taken our entry, or once the server is closed.
    pub async fn ready(&self) {
        let shared = self.shared();
        shared.changes.until(|| shared.table().is_ready()).await;
    }

    /// Opens a port of the server's own key to its clients.
    ///
    /// # Errors
    /// [`ErrorCode::PortOccupied`] or [`ErrorCode::EntityClosed`].
    pub fn listen(&self, port: u16) -> Result<Listener, ErrorCode> {
        let shared = self.shared();
        shared.endpoint.listen(port, shared.config.accept_queue)
    }

    /// Opens a stream from the server's own key to a client that has a session here.
    ///
    /// # Errors
    /// [`StreamError`]; [`ErrorCode::NoNextSession`] when it has none.
    pub async fn dial(&self, remote: Address) -> Result<DmsgStream, StreamError> {
        let shared = self.shared();
        let session = shared.table().session(&remote.key);
        let session = session.ok_or(StreamError::Refused(ErrorCode::NoNextSession))?;
        let dialling = shared.endpoint.dial(&session, remote, shared.timestamp());
        let dialled = within(&shared.runtime, shared.config.stream_timeout, dialling).await;
        dialled.unwrap_or(Err(StreamError::Timeout))
    }

    /// Whether this key has a session here.
    #[must_use]
    pub fn has_session(&self, key: &PublicKey) -> bool {
        self.shared().table().session(key).is_some()
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        Counters::snapshot(self.shared())
    }

    /// Closes: stops listening, removes the entry, ends listeners and sessions, sends what is
    /// queued. Takes a few seconds at most.
    pub async fn close(&self) {
        let shared = self.shared();
        shared.endpoint.close();
        shared.acceptor.close();
        let sessions = shared.table().close();
        shared.changes.raise();
        within(&shared.runtime, CLOSE_GRACE, publish::remove(shared)).await;
        session_layer::close_all(&shared.runtime, &sessions).await;
        shared.table().kill_all();
    }
}
