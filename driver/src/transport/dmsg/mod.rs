//! Streams through DMSG relays, over the sessions of an existing client or relay.
//!
//! Entries come only from local sources ([`LocalEntries`]): a dial made for the DHT must not cause
//! another lookup, so its resolver cannot use the network (docs/architecture.md, "Dials made for
//! the DHT").

mod failure;
mod refusals;
mod via;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, Path, Reach, SessionUse};
use skydht_dmsg::client::LocalEntries;
use skydht_dmsg::endpoint::{DmsgStream, Listener};
use skydht_dmsg::object::{Address, ErrorCode};
use skydht_runtime::{BoxFuture, Runtime};

pub use via::{OtherKey, Relay, Via};

use super::failures::Failures;
use super::{Accepted, DialFailure, Transport, TransportStats};
use refusals::Refusals;

/// The DMSG port of the DHT.
pub const PORT: u16 = 100;

/// Options of a DMSG transport.
#[derive(Clone)]
#[non_exhaustive]
pub struct DmsgOptions {
    /// Local entries besides those that the client has cached: from the local store and the
    /// bootstrap data.
    pub entries: Arc<dyn LocalEntries + Send + Sync>,
    /// How long a peer that refused because it runs no DHT is not dialled. Ends early when the peer
    /// opens a stream.
    pub refusal_life: Duration,
    /// Peers that are dialled even if they have refused.
    pub bootstrap: BTreeSet<PublicKey>,
    /// Whether closing this transport also closes the client or server, which others may be using.
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

struct DmsgInner<R: Runtime> {
    runtime: R,
    via: Via<R>,
    options: DmsgOptions,
    refusals: Mutex<Refusals>,
    failures: Failures,
    /// `None` once the transport is closed.
    listeners: Mutex<Option<Vec<Listener>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Runtime> DmsgInner<R> {
    fn now(&self) -> Duration {
        self.runtime.clocks().monotonic
    }

    fn is_closed(&self) -> bool {
        lock(&self.listeners).is_none()
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
        let may_dial = session == SessionUse::ReuseOrDial;
        let dialling = self.via.dial(remote, &*self.options.entries, may_dial);
        let dialled = dialling.await;
        if self.is_closed() {
            return Err(OpenFailure::Closing);
        }
        self.failures.begin(&peer);
        if let Err(error) = &dialled {
            self.failures.note(&peer, None, || error.to_string());
        }
        match &dialled {
            Ok(_) => lock(&self.refusals).clear(&peer),
            Err(error) if failure::says_no_dht(error) => {
                lock(&self.refusals).record(peer, self.now());
            }
            Err(_) => {}
        }
        dialled.map_err(|error| failure::to_open_failure(&error))
    }
}

const PATH: Path = Path {
    reach: Reach::Relayed,
    remote: None,
};

/// The DHT's streams over DMSG. See [`DmsgTransport::new`].
pub struct DmsgTransport<R: Runtime> {
    shared: Arc<DmsgInner<R>>,
}

impl<R: Runtime> DmsgTransport<R> {
    /// Starts listening on [`PORT`]. It uses the sessions of the client or relay; a client
    /// establishes a new session only with a server of a peer with which it has no server in
    /// common.
    ///
    /// # Errors
    /// [`ErrorCode::PortOccupied`] or [`ErrorCode::EntityClosed`].
    pub fn new(runtime: R, via: Via<R>, options: DmsgOptions) -> Result<Self, ErrorCode> {
        let listeners = via.listen()?;
        let refusals = Refusals::new(options.refusal_life, options.bootstrap.clone());
        let shared = DmsgInner {
            runtime,
            via,
            failures: Failures::of(options.bootstrap.clone()),
            options,
            refusals: Mutex::new(refusals),
            listeners: Mutex::new(Some(listeners)),
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

    /// Returns `None`: peers find the node by its key.
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
        let mut listeners = lock(&self.shared.listeners);
        let Some(listeners) = &mut *listeners else {
            return Poll::Ready(None);
        };
        let mut ended = true;
        for _ in 0..listeners.len() {
            listeners.rotate_left(1); // in turn
            match listeners[0].poll_accept(cx) {
                Poll::Ready(Some(stream)) => {
                    let peer = stream.remote().key;
                    lock(&self.shared.refusals).clear(&peer);
                    return Poll::Ready(Some(Accepted {
                        peer,
                        path: PATH,
                        stream,
                    }));
                }
                Poll::Ready(None) => {}
                Poll::Pending => ended = false,
            }
        }
        if ended {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }

    fn probe(&self, _: PublicKey, _: SocketAddr) -> BoxFuture<'static, Result<(), OpenFailure>> {
        Box::pin(std::future::ready(Err(OpenFailure::NoAddress)))
    }

    /// Stops listening and opening. The client or server keeps running, unless
    /// [`DmsgOptions::close_sessions`] is set.
    fn close(&self) -> BoxFuture<'static, ()> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let listeners = lock(&shared.listeners).take();
            drop(listeners);
            if shared.options.close_sessions {
                shared.via.close().await;
            }
        })
    }

    /// Counts all sessions, streams and dials of the client or relay, whatever they are used for.
    fn stats(&self) -> TransportStats {
        let mut stats = self.shared.via.stats();
        let refusals = lock(&self.shared.refusals);
        stats.without_dht = refusals.len();
        stats.avoided = refusals.avoided;
        stats.without_dht_evicted = refusals.evicted;
        stats
    }

    fn dial_failures(&self) -> Vec<DialFailure> {
        self.shared.failures.all()
    }
}
