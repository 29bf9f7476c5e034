//! Accepts connections and runs their handshakes within limits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use skydht_runtime::{Listener, Runtime};

use crate::half_open::{Begun, HalfOpen};

/// Pause after an accept that failed, mostly because the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the connections of a listener are handled.
pub trait Accept: Send + Sync + Sized + 'static {
    /// The runtime that its tasks run on.
    type Runtime: Runtime;
    /// Result of a successful handshake.
    type Established: Send;

    /// Returns the runtime that its tasks run on.
    fn runtime(&self) -> &Self::Runtime;
    /// Returns the handshakes in progress.
    fn acceptor(&self) -> &Acceptor;
    /// Counts a handshake that was dropped to make room for another one.
    fn count_displaced(&self);

    /// Performs the handshake with a timeout of its own, and calls [`Acceptor::greeted`] with `id`
    /// once the first message was valid. Returns `None` if it fails. Dropped when it must make
    /// room.
    fn handshake(
        &self,
        connection: <Self::Runtime as Runtime>::Connection,
        addr: SocketAddr,
        id: u64,
    ) -> impl Future<Output = Option<Self::Established>> + Send;

    /// Runs a connection after its handshake.
    fn run(
        self: &Arc<Self>,
        established: Self::Established,
        addr: SocketAddr,
    ) -> impl Future<Output = ()> + Send;
}

struct AcceptState {
    handshakes: HalfOpen,
    /// Ends the listener when dropped.
    listening: Option<oneshot::Sender<()>>,
    closed: bool,
}

/// The handshakes in progress on accepted connections.
pub struct Acceptor(Mutex<AcceptState>);

impl Acceptor {
    /// Creates an acceptor for `max` concurrent handshakes, `max_per_address` of them from one
    /// address.
    #[must_use]
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self(Mutex::new(AcceptState {
            handshakes: HalfOpen::new(max, max_per_address),
            listening: None,
            closed: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, AcceptState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of handshakes in progress.
    #[must_use]
    pub fn handshaking(&self) -> usize {
        self.state().handshakes.len()
    }

    /// Records that the first message of handshake `id` was valid.
    pub fn greeted(&self, id: u64) {
        self.state().handshakes.greeted(id);
    }

    /// Ends the listener and all handshakes.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.listening = None;
        state.handshakes.clear();
    }

    fn listen(&self) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        let mut state = self.state();
        if !state.closed {
            state.listening = Some(stop);
        }
        stopped
    }

    fn begin(&self, addr: SocketAddr) -> Option<Begun> {
        let mut state = self.state();
        (!state.closed).then(|| state.handshakes.begin(addr.ip()))
    }
}

/// Spawns a task that accepts connections until the acceptor is closed.
pub fn spawn<A: Accept>(accept: &Arc<A>, listener: <A::Runtime as Runtime>::Listener) {
    let mut stopped = accept.acceptor().listen();
    let accept = Arc::clone(accept);
    let runtime = accept.runtime().clone();
    runtime.spawn(Box::pin(async move {
        loop {
            match select(listener.accept(), &mut stopped).await {
                Either::Left((Ok((connection, addr)), _)) => begin(&accept, connection, addr),
                Either::Left((Err(_), _)) => accept.runtime().sleep(ACCEPT_PAUSE).await,
                Either::Right(_) => return,
            }
        }
    }));
}

fn begin<A: Accept>(
    accept: &Arc<A>,
    connection: <A::Runtime as Runtime>::Connection,
    addr: SocketAddr,
) {
    let Some(Begun {
        id,
        killed,
        displaced,
    }) = accept.acceptor().begin(addr)
    else {
        return;
    };
    if displaced {
        accept.count_displaced();
    }
    let accept = Arc::clone(accept);
    let runtime = accept.runtime().clone();
    runtime.spawn(Box::pin(async move {
        let handshake = Box::pin(accept.handshake(connection, addr, id));
        if let Either::Left((established, _)) = select(handshake, killed).await {
            accept.acceptor().state().handshakes.end(id);
            if let Some(established) = established {
                accept.run(established, addr).await;
            }
        }
    }));
}
