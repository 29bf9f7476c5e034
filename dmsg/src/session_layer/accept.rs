//! Connections in, handshakes within their time, sessions out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;
use futures::future::{Either, select};
use skydht_runtime::{Listener, Runtime};

use crate::half_open::{Begun, HalfOpen};

/// How long to wait after an accept that failed: mostly a process without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is done with the connections of a listener.
pub trait Accept: Send + Sync + Sized + 'static {
    /// Where it runs.
    type Runtime: Runtime;
    /// What a handshake brings.
    type Established: Send;

    /// Where it runs.
    fn runtime(&self) -> &Self::Runtime;
    /// Its handshakes.
    fn acceptor(&self) -> &Acceptor;
    /// A handshake had to make room for another one.
    fn count_displaced(&self);

    /// Performs the handshake within its time, and calls [`Acceptor::greeted`] for `id` in it.
    /// Dropped when it must make room.
    fn handshake(
        &self,
        connection: <Self::Runtime as Runtime>::Connection,
        addr: SocketAddr,
        id: u64,
    ) -> impl Future<Output = Option<Self::Established>> + Send;

    /// Goes on with a connection that is no longer one of the handshakes.
    fn run(
        self: &Arc<Self>,
        established: Self::Established,
        addr: SocketAddr,
    ) -> impl Future<Output = ()> + Send;
}

struct State {
    handshakes: HalfOpen,
    /// Ends the listener when dropped.
    listening: Option<oneshot::Sender<()>>,
    closed: bool,
}

/// The handshakes of connections that were accepted.
pub struct Acceptor(Mutex<State>);

impl Acceptor {
    /// Room for `max` handshakes, and for `max_per_address` of one address.
    #[must_use]
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self(Mutex::new(State {
            handshakes: HalfOpen::new(max, max_per_address),
            listening: None,
            closed: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handshakes under way.
    #[must_use]
    pub fn handshaking(&self) -> usize {
        self.state().handshakes.len()
    }

    /// A handshake's first message was valid.
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

/// Accepts until the acceptor is closed.
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
