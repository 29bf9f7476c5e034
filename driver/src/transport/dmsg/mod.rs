//! Streams through DMSG relays, over the sessions of a client or a relay that runs anyway.
//!
//! Entries come only from what is at hand ([`LocalEntries`]): a dial made for the DHT can lead
//! to no other look-up, since its resolver has no way to the network (design §3.14).

mod refusals;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, Path, Reach, SessionUse};
use skydht_dmsg::client::{Client, DialError, LocalEntries};
use skydht_dmsg::endpoint::{DmsgStream, Listener, StreamError};
use skydht_dmsg::object::{Address, ErrorCode};
use skydht_dmsg::server::Server;
use skydht_dmsg::session::SessionError;
use skydht_runtime::{BoxFuture, Runtime};

use super::{Accepted, Transport, TransportStats};
use refusals::Refusals;

/// The port of the DHT.
pub const PORT: u16 = 100;

/// Whose sessions the streams run on.
pub enum Via<R: Runtime> {
    /// A client's.
    Client(Client<R>),
    /// A relay's own: it reaches the clients that have a session with it.
    Server(Server<R>),
}

impl<R: Runtime> Clone for Via<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Client(client) => Self::Client(client.clone()),
            Self::Server(server) => Self::Server(server.clone()),
        }
    }
}

impl<R: Runtime> Via<R> {
    /// The key that it proves.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        match self {
            Self::Client(client) => client.key(),
            Self::Server(server) => server.key(),
        }
    }

    /// As the client's or server's own `ready`.
    pub async fn ready(&self) {
        match self {
            Self::Client(client) => client.ready().await,
            Self::Server(server) => server.ready().await,
        }
    }

    fn listen(&self) -> Result<Listener, ErrorCode> {
        match self {
            Self::Client(client) => client.listen(PORT),
            Self::Server(server) => server.listen(PORT),
        }
    }
}

/// How a DMSG transport behaves.
#[derive(Clone)]
#[non_exhaustive]
pub struct DmsgOptions {
    /// The entries at hand besides those that the client has seen: the local store's, bootstrap
    /// data's.
    pub entries: Arc<dyn LocalEntries + Send + Sync>,
    /// How long a peer that said that it runs no DHT is not dialled. Any stream of its own ends
    /// that.
    pub refusal_life: Duration,
    /// Peers that are dialled whatever they said.
    pub bootstrap: BTreeSet<PublicKey>,
    /// Whether closing this transport closes the client or server too. Others may use it, so it
    /// does not unless told.
    pub close_sessions: bool,
}

impl Default for DmsgOptions {
    fn default() -> Self {
        Self {
            entries: Arc::new(()),
            refusal_life: Duration::from_secs(60),
            bootstrap: BTreeSet::new(),
            close_sessions: false,
        }
    }
}

struct Shared<R: Runtime> {
    runtime: R,
    via: Via<R>,
    options: DmsgOptions,
    refusals: Mutex<Refusals>,
    /// None once it is closed.
    listener: Mutex<Option<Listener>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Runtime> Shared<R> {
    fn now(&self) -> Duration {
        self.runtime.clocks().monotonic
    }

    fn is_closed(&self) -> bool {
        lock(&self.listener).is_none()
    }

    async fn open(&self, peer: PublicKey, session: SessionUse) -> Result<DmsgStream, OpenFailure> {
        if self.is_closed() {
            return Err(OpenFailure::Closing);
        }
        if peer == self.via.key() {
            return Err(OpenFailure::Unreachable);
        }
        peer.check_curve().map_err(|_| OpenFailure::InvalidKey)?;
        if lock(&self.refusals).avoid(&peer, self.now()) {
            return Err(OpenFailure::Unreachable);
        }
        let remote = Address {
            key: peer,
            port: PORT,
        };
        let dialled = match &self.via {
            Via::Client(client) => {
                let dial = session == SessionUse::ReuseOrDial;
                client
                    .dial_local(remote, &*self.options.entries, dial)
                    .await
            }
            Via::Server(server) => server.dial(remote).await.map_err(DialError::Stream),
        };
        if self.is_closed() {
            return Err(OpenFailure::Closing);
        }
        match &dialled {
            Ok(_) => lock(&self.refusals).clear(&peer),
            Err(DialError::Stream(StreamError::Refused(code))) if says_no_dht(*code) => {
                lock(&self.refusals).note(peer, self.now());
            }
            Err(_) => {}
        }
        dialled.map_err(|error| failure(&error))
    }
}

/// A refusal that the peer signed and that stays true for a while.
const fn says_no_dht(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NoListener | ErrorCode::NoReason)
}

fn failure(error: &DialError) -> OpenFailure {
    match error {
        DialError::NoRoute => OpenFailure::NoAddress,
        DialError::Closed => OpenFailure::Closing,
        DialError::Stream(error) => stream_failure(error),
        DialError::Timeout(StreamError::Session(SessionError::TooManyStreams)) => {
            OpenFailure::Overloaded
        }
        DialError::Timeout(_) => OpenFailure::Timeout,
        _ => OpenFailure::Unreachable,
    }
}

fn stream_failure(error: &StreamError) -> OpenFailure {
    match error {
        StreamError::Refused(ErrorCode::NoNextSession) => OpenFailure::NoAddress,
        // Our own ports are used up.
        StreamError::Refused(ErrorCode::PortOccupied)
        | StreamError::Session(SessionError::TooManyStreams) => OpenFailure::Overloaded,
        StreamError::Timeout => OpenFailure::Timeout,
        StreamError::Response(_) | StreamError::Sealing(_) | StreamError::Noise(_) => {
            OpenFailure::Handshake
        }
        _ => OpenFailure::Unreachable,
    }
}

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

/// The DHT's streams over DMSG. See [`DmsgTransport::new`].
pub struct DmsgTransport<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> DmsgTransport<R> {
    /// Listens on [`PORT`] from now on. It makes no session: the client's or relay's are used,
    /// and a client makes a new one only with a server of a peer that it has none in common with.
    ///
    /// # Errors
    /// [`ErrorCode::PortOccupied`] or [`ErrorCode::EntityClosed`].
    pub fn new(runtime: R, via: Via<R>, options: DmsgOptions) -> Result<Self, ErrorCode> {
        let listener = via.listen()?;
        let refusals = Refusals::new(options.refusal_life, options.bootstrap.clone());
        let shared = Shared {
            runtime,
            via,
            options,
            refusals: Mutex::new(refusals),
            listener: Mutex::new(Some(listener)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl<R: Runtime> Transport for DmsgTransport<R> {
    type Stream = DmsgStream;

    fn local_key(&self) -> PublicKey {
        self.shared.via.key()
    }

    /// None: peers find it by its key.
    fn local_addr(&self) -> Option<SocketAddr> {
        None
    }

    fn open(
        &self,
        peer: PublicKey,
        _: Addrs,
        session: SessionUse,
    ) -> BoxFuture<'static, Result<(DmsgStream, Path), OpenFailure>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok((shared.open(peer, session).await?, PATH)) })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Option<Accepted<DmsgStream>>> {
        let mut listener = lock(&self.shared.listener);
        let Some(listener) = &mut *listener else {
            return Poll::Ready(None);
        };
        listener.poll_accept(cx).map(|stream| {
            let stream = stream?;
            let peer = stream.remote().key;
            lock(&self.shared.refusals).clear(&peer);
            Some(Accepted {
                peer,
                path: PATH,
                stream,
            })
        })
    }

    fn probe(&self, _: PublicKey, _: SocketAddr) -> BoxFuture<'static, Result<(), OpenFailure>> {
        Box::pin(std::future::ready(Err(OpenFailure::NoAddress)))
    }

    /// Stops listening and opening; the client or server stays, unless
    /// [`DmsgOptions::close_sessions`].
    fn close(&self) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let listener = lock(&shared.listener).take();
            drop(listener);
            if !shared.options.close_sessions {
                return;
            }
            match &shared.via {
                Via::Client(client) => client.close().await,
                Via::Server(server) => server.close().await,
            }
        })
    }

    fn stats(&self) -> TransportStats {
        let mut stats = TransportStats::default();
        match &self.shared.via {
            Via::Client(client) => {
                let counted = client.stats();
                stats.sessions = client.servers().len();
                stats.dials = counted.connected;
                stats.dials_failed = counted.connects_failed;
                stats.lost = counted.lost;
            }
            Via::Server(server) => {
                let counted = server.stats();
                stats.sessions = counted.sessions;
                stats.accepted = counted.accepted;
            }
        }
        let refusals = lock(&self.shared.refusals);
        stats.without_dht = refusals.len();
        stats.avoided = refusals.avoided;
        stats.without_dht_evicted = refusals.evicted;
        stats
    }
}
