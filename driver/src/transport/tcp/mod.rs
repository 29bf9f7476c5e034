//! Direct TCP: one session per peer, encrypted with Noise XK, with many streams inside.
//!
//! A session serves both directions, whichever side dialled. Concurrent opens to a peer share one
//! dial. When two peers dial each other concurrently, both keep the same one of the two sessions.

mod accept;
mod dial;
mod session_task;
mod table;

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Addrs, OpenFailure, Path, SessionUse};
use skydht_dmsg::accept_queue::AcceptQueue;
use skydht_dmsg::handshake::{Ephemeral, EphemeralSource};
use skydht_dmsg::hybrid::Hybrid;
use skydht_dmsg::session::{self, ReceiveBudget, SendBudget, SessionConfig, SessionError};
use skydht_dmsg::session_layer::{self, Acceptor, Joined};
use skydht_runtime::{BoxFuture, Listener as _, Runtime};

use super::failures::Failures;
use super::{Accepted, DialFailure, Transport, TransportStats};
use table::{SessionRequest, SessionTable};

/// How many sessions one open may find closed before it fails.
const OPEN_ATTEMPTS: usize = 3;

/// Options of a TCP transport.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Address to listen on; `None` for a node that only dials.
    pub listen: Option<SocketAddr>,
    /// Timeout of connecting to one address.
    pub connect_timeout: Duration,
    /// Timeout of a handshake, on either side.
    pub handshake_timeout: Duration,
    /// A session without streams is closed after this time, at the next keepalive.
    pub idle_timeout: Duration,
    /// Interval between keepalives on a session. A peer that is silent for three intervals is lost.
    pub keepalive: Duration,
    /// Maximum number of concurrent sessions. At the limit, a session of the address with the most
    /// makes room, or else one without streams.
    pub max_sessions: usize,
    /// Maximum number of incoming connections in their handshake. At the limit, one of the address
    /// with the most makes room: see [`skydht_dmsg::half_open`]. Each takes a file descriptor.
    pub max_handshakes: usize,
    /// Maximum number of incoming handshakes from one address, which many peers may share.
    pub max_handshakes_per_address: usize,
    /// Maximum number of concurrent streams of one session, in each direction.
    pub max_streams: usize,
    /// Peers for which the causes of failed dials are remembered.
    pub bootstrap: BTreeSet<PublicKey>,
    /// Maximum number of peers' streams that wait for the event loop; beyond it, sessions wait.
    pub accept_queue: usize,
    /// Bytes of outgoing data that may wait for the connections of all sessions; beyond, each
    /// session may queue 32 KiB.
    pub send_budget: usize,
    /// Bytes of received data in all sessions that may wait to be read; beyond, streams of the
    /// address with the most such bytes are reset.
    pub receive_budget: usize,
    /// Whether handshakes offer the post-quantum half, or require it.
    pub hybrid: Hybrid,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            listen: None,
            connect_timeout: Duration::from_secs(3),
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(180),
            keepalive: Duration::from_secs(30),
            max_sessions: 1_024,
            max_handshakes: 1_024,
            max_handshakes_per_address: 512,
            max_streams: 128,
            bootstrap: BTreeSet::new(),
            accept_queue: 1_024,
            send_budget: 32 << 20,
            receive_budget: 64 << 20,
            hybrid: Hybrid::default(),
        }
    }
}

struct TcpInner<R: Runtime> {
    runtime: R,
    secret: SecretKey,
    key: PublicKey,
    options: TcpOptions,
    ephemerals: EphemeralSource,
    acceptor: Acceptor,
    table: Mutex<SessionTable>,
    failures: Failures,
    inbox: AcceptQueue<Accepted<session::Stream>>,
    send_budget: SendBudget,
    receive_budget: ReceiveBudget,
}

impl<R: Runtime> TcpInner<R> {
    fn table(&self) -> MutexGuard<'_, SessionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a fresh key for one handshake.
    fn ephemeral(&self) -> Ephemeral {
        self.ephemerals.next()
    }

    fn session_config(&self, path: Path) -> SessionConfig {
        let mut config = SessionConfig::with_streams(self.options.max_streams);
        config.send_budget = self.send_budget.clone();
        config.receive_budget = self.receive_budget.clone();
        config.source = path.remote.map(|addr| addr.ip());
        config
    }

    /// Returns the result of `future`, unless it takes longer than `limit`.
    async fn within<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
        skydht_runtime::within(&self.runtime, limit, future).await
    }
}

/// Direct TCP. See [`TcpTransport::start`].
pub struct TcpTransport<R: Runtime> {
    shared: Arc<TcpInner<R>>,
    local_addr: Option<SocketAddr>,
}

impl<R: Runtime> TcpTransport<R> {
    /// Starts listening, if an address is configured.
    ///
    /// `entropy` seeds the handshakes' ephemeral keys: draw it from the operating system, keep it
    /// secret, and never pass the node's seed, since journals contain that one.
    ///
    /// # Errors
    /// Errors of listening.
    pub async fn start(
        runtime: R,
        secret: SecretKey,
        entropy: [u8; 32],
        options: TcpOptions,
    ) -> io::Result<Self> {
        let listener = match options.listen {
            Some(addr) => Some(runtime.listen(addr).await?),
            None => None,
        };
        let local_addr = listener.as_ref().map(|listener| listener.local_addr());
        let shared = Arc::new(TcpInner {
            key: secret.public(),
            secret,
            ephemerals: EphemeralSource::new(entropy, options.hybrid),
            acceptor: Acceptor::new(options.max_handshakes, options.max_handshakes_per_address),
            table: Mutex::new(SessionTable::new(options.max_sessions)),
            failures: Failures::of(options.bootstrap.clone()),
            inbox: AcceptQueue::new(options.accept_queue),
            send_budget: SendBudget::new(options.send_budget),
            receive_budget: ReceiveBudget::new(options.receive_budget),
            runtime,
            options,
        });
        if let Some(listener) = listener {
            session_layer::spawn(&shared, listener);
        }
        Ok(Self { shared, local_addr })
    }
}

/// Opens a stream over an existing session, or over one that a dial establishes.
async fn open<R: Runtime>(
    shared: Arc<TcpInner<R>>,
    peer: PublicKey,
    addrs: Addrs,
    session: SessionUse,
) -> Result<(session::Stream, Path), OpenFailure> {
    if peer == shared.key {
        return Err(OpenFailure::Unreachable);
    }
    for _ in 0..OPEN_ATTEMPTS {
        let request = shared.table().request(&peer, &addrs, session)?;
        match request {
            SessionRequest::Connected(live) => match live.session.open().await {
                Ok(stream) => {
                    live.touch(&shared.runtime);
                    return Ok((stream, live.path));
                }
                Err(SessionError::TooManyStreams) => return Err(OpenFailure::Overloaded),
                // The session has ended since the lookup.
                Err(_) => shared.table().forget(&peer, live.id),
            },
            SessionRequest::Dial(Joined::Pending(session)) => {
                session.await.unwrap_or(Err(OpenFailure::Closing))?
            }
            SessionRequest::Dial(Joined::MustDial(session)) => {
                dial::spawn(&shared, peer);
                session.await.unwrap_or(Err(OpenFailure::Closing))?;
            }
        }
    }
    Err(OpenFailure::Unreachable)
}

impl<R: Runtime> Transport for TcpTransport<R> {
    type Stream = session::Stream;

    fn local_key(&self) -> PublicKey {
        self.shared.key
    }

    fn local_addr(&self) -> Option<SocketAddr> {
        self.local_addr
    }

    fn open(
        &self,
        peer: PublicKey,
        addrs: Addrs,
        session: SessionUse,
    ) -> BoxFuture<'static, Result<(Self::Stream, Path), OpenFailure>> {
        Box::pin(open(Arc::clone(&self.shared), peer, addrs, session))
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<Self::Stream>>> {
        self.shared.inbox.poll_pop(cx)
    }

    fn probe(
        &self,
        peer: PublicKey,
        addr: SocketAddr,
    ) -> BoxFuture<'static, Result<(), OpenFailure>> {
        Box::pin(dial::probe(Arc::clone(&self.shared), peer, addr))
    }

    fn refuse(&self, peer: PublicKey, duration: Duration) {
        let now = self.shared.runtime.clocks().monotonic;
        self.shared
            .table()
            .refuse(peer, now, now.saturating_add(duration));
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let sessions = shared.begin_close();
            session_layer::close_all(&shared.runtime, &sessions).await;
            shared.table().kill_all();
        })
    }

    fn stats(&self) -> TransportStats {
        TransportStats {
            handshaking: self.shared.acceptor.handshaking(),
            accepts_held: self.shared.inbox.held(),
            queued_bytes: self.shared.send_budget.queued(),
            ..self.shared.table().stats()
        }
    }

    fn dial_failures(&self) -> Vec<DialFailure> {
        self.shared.failures.all()
    }
}

impl<R: Runtime> TcpInner<R> {
    fn begin_close(&self) -> Vec<session::Session> {
        self.acceptor.close();
        let sessions = self.table().close();
        self.inbox.close();
        sessions
    }
}

impl<R: Runtime> Drop for TcpTransport<R> {
    fn drop(&mut self) {
        self.shared.begin_close();
        self.shared.table().kill_all();
    }
}
