//! A DMSG server: relays streams between its clients, and serves its own key like one of them.
//!
//! It sees who wants to talk to whom, checks that (specification of DMSG, §9), and copies bytes
//! that it cannot read. A service on the server's own key listens in the same process: no session
//! of the server with itself is needed (§9.1).

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
mod stats;
mod table;
mod ways;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_runtime::{Listener as _, Runtime, within};

pub use config::ServerConfig;
pub use notice::{Notice, Notify};
pub use stats::ServerStats;

use link_table::Links;
use notice::SmuxPace;
use relayed::Relayed;
use stats::Counters;
use table::Table;

use crate::discovery::Discovery;
use crate::endpoint::{DmsgStream, Endpoint, Listener, StreamError};
use crate::handshake::EphemeralSource;
use crate::hybrid::HybridStats;
use crate::object::{Address, ErrorCode};
use crate::session::{ReceiveBudget, SendBudget};
use crate::session_layer::{self, Acceptor, CLOSE_GRACE};
use crate::signal::Signal;

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
    links: Mutex<Links>,
    smux_pace: SmuxPace,
    /// Sessions came or went, the entry was published, or the server closes.
    changes: Signal,
}

impl<R: Runtime> Shared<R> {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.runtime.clocks().monotonic
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
            endpoint: Endpoint::new(secret, EphemeralSource::new(entropy, config.hybrid)),
            discovery: Arc::new(discovery),
            acceptor: Acceptor::new(config.max_handshakes, config.max_handshakes_per_address),
            table: Mutex::new(Table::new(&config)),
            counters: Counters::default(),
            send_budget: SendBudget::new(config.send_budget),
            receive_budget: ReceiveBudget::new(config.receive_budget),
            relayed: Relayed::new(&config),
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
        let shared = self.shared();
        ServerStats {
            handshaking: shared.acceptor.handshaking(),
            relaying: shared.relayed.len(),
            unread_bytes: shared.receive_budget.held(),
            cut_streams: shared.receive_budget.cut(),
            ..shared.counters.snapshot(&shared.table())
        }
    }

    /// How much of its sessions and streams is hybrid.
    #[must_use]
    pub fn hybrid_stats(&self) -> HybridStats {
        let shared = self.shared();
        let table = shared.table();
        shared.endpoint.hybrid_stats(table.hybrid_sessions())
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
