//! A DMSG server: relays streams between its clients, and accepts streams to its own key.
//!
//! It sees which keys talk to each other, verifies their requests (specification of DMSG, §9), and
//! copies bytes that it cannot read. A service on the server's own key listens in the same process;
//! the server needs no session with itself (§9.1).

mod accept;
mod config;
mod copy;
mod link_table;
mod links;
mod notice;
mod pace;
mod publish;
mod relay;
mod relayed;
mod routes;
mod stats;
mod table;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_runtime::{Listener as _, Runtime, within};

pub use config::ServerConfig;
pub use notice::{Notice, Notify};
pub use stats::ServerStats;

use link_table::LinkTable;
use notice::SmuxPace;
use relayed::RelayTable;
use stats::Counters;
use table::SessionTable;

use crate::discovery::Discovery;
use crate::endpoint::{DmsgStream, Endpoint, Listener, StreamError};
use crate::handshake::EphemeralSource;
use crate::hybrid::HybridStats;
use crate::object::{Address, ErrorCode};
use crate::session::{ReceiveBudget, SendBudget};
use crate::session_layer::{self, Acceptor, CLOSE_GRACE};
use crate::signal::Signal;

struct ServerInner<R: Runtime> {
    runtime: R,
    discovery: Arc<dyn Discovery>,
    endpoint: Endpoint,
    config: ServerConfig,
    address: String,
    local_addr: SocketAddr,
    acceptor: Acceptor,
    table: Mutex<SessionTable>,
    counters: Counters,
    send_budget: SendBudget,
    receive_budget: ReceiveBudget,
    relayed: RelayTable,
    links: Mutex<LinkTable>,
    smux_pace: SmuxPace,
    /// Raised when a session starts or ends, when an attempt to publish was answered, and when the
    /// server closes.
    changes: Signal,
}

impl<R: Runtime> ServerInner<R> {
    fn table(&self) -> MutexGuard<'_, SessionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, LinkTable> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.runtime.clocks().monotonic
    }

    /// Returns the wall clock in nanoseconds since the Unix epoch, as objects and entries encode
    /// it.
    fn timestamp(&self) -> i64 {
        i64::try_from(self.runtime.clocks().unix.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// A handle to a running server. Dropping the last clone stops the server immediately;
/// [`Server::close`] withdraws the entry and flushes the sessions first.
pub struct Server<R: Runtime>(Arc<Handle<R>>);

struct Handle<R: Runtime>(Arc<ServerInner<R>>);

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
    /// Listens and starts serving. Draw `entropy` from the operating system and keep it secret; in
    /// a simulation, draw it from the seed.
    ///
    /// # Errors
    /// Errors of listening.
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
        let shared = Arc::new(ServerInner {
            address: address.unwrap_or_else(|| local_addr.to_string()),
            local_addr,
            endpoint: Endpoint::new(secret, EphemeralSource::new(entropy, config.hybrid)),
            discovery: Arc::new(discovery),
            acceptor: Acceptor::new(config.max_handshakes, config.max_handshakes_per_address),
            table: Mutex::new(SessionTable::new(&config)),
            counters: Counters::default(),
            send_budget: SendBudget::new(config.send_budget),
            receive_budget: ReceiveBudget::new(config.receive_budget),
            relayed: RelayTable::new(&config),
            links: Mutex::default(),
            smux_pace: SmuxPace::default(),
            changes: Signal::default(),
            config,
            runtime,
        });
        session_layer::spawn(&shared, listener);
        publish::spawn(&shared);
        links::spawn(&shared);
        Ok(Self(Arc::new(Handle(shared))))
    }

    fn shared(&self) -> &Arc<ServerInner<R>> {
        &self.0.0
    }

    /// Returns the public key of the server.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.shared().endpoint.key()
    }

    /// Returns the address that the server listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().local_addr
    }

    /// Completes once the entry was published, or once the server is closed.
    pub async fn ready(&self) {
        let shared = self.shared();
        shared.changes.until(|| shared.table().is_ready()).await;
    }

    /// Opens a port of the server's own key to its clients.
    ///
    /// # Errors
    /// [`ErrorCode::PortOccupied`] if the port is 0 or in use, [`ErrorCode::EntityClosed`] once the
    /// server is closed.
    pub fn listen(&self, port: u16) -> Result<Listener, ErrorCode> {
        let shared = self.shared();
        shared.endpoint.listen(port, shared.config.accept_queue)
    }

    /// Opens a stream from the server's own key to a client that has a session here.
    ///
    /// # Errors
    /// [`StreamError`]; [`ErrorCode::NoNextSession`] if the key has no session here.
    pub async fn dial(&self, remote: Address) -> Result<DmsgStream, StreamError> {
        let shared = self.shared();
        let session = shared.table().session(&remote.key);
        let session = session.ok_or(StreamError::Refused(ErrorCode::NoNextSession))?;
        let dialling = shared.endpoint.dial(&session, remote, shared.timestamp());
        let dialled = within(&shared.runtime, shared.config.stream_timeout, dialling).await;
        dialled.unwrap_or(Err(StreamError::Timeout))
    }

    /// Returns whether this key has a client session here.
    #[must_use]
    pub fn has_session(&self, key: &PublicKey) -> bool {
        self.shared().table().session(key).is_some()
    }

    /// Returns the server's counters.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let shared = self.shared();
        ServerStats {
            handshaking: shared.acceptor.handshaking(),
            relaying: shared.relayed.len(),
            unread_bytes: shared.receive_budget.held(),
            cut_streams: shared.receive_budget.cut(),
            ..shared.counters.snapshot(&shared.table())
        }
    }

    /// Counts how many of the server's sessions and streams are hybrid.
    #[must_use]
    pub fn hybrid_stats(&self) -> HybridStats {
        let shared = self.shared();
        let table = shared.table();
        shared.endpoint.hybrid_stats(table.hybrid_sessions())
    }

    /// Closes the server: stops listening, withdraws its entry, closes listeners and sessions, and
    /// sends what they have queued. Takes at most twice [`CLOSE_GRACE`].
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
