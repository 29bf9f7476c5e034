//! Accepts connections, and runs their sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::{Notice, ServerInner, relay};
use crate::dmsg_session::{self, Established};
use crate::handshake_io::HandshakeError;
use crate::session::{CloseReason, SessionConfig};
use crate::session_layer::{Accept, Acceptor};
use crate::session_task;
use crate::shares::source;

impl<R: Runtime> Accept for ServerInner<R> {
    type Runtime = R;
    type Established = Established<R::Connection>;

    fn runtime(&self) -> &R {
        &self.runtime
    }

    fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn count_displaced(&self) {
        self.counters.handshakes_dropped.count();
    }

    async fn handshake(
        &self,
        connection: R::Connection,
        addr: SocketAddr,
        id: u64,
    ) -> Option<Established<R::Connection>> {
        let endpoint = &self.endpoint;
        let mut limits = SessionConfig::with_pings(self.config.max_streams);
        limits.send_budget = self.send_budget.clone();
        limits.receive_queue = self.config.receive_queue;
        limits.receive_budget = self.receive_budget.clone();
        limits.source = Some(source(addr.ip()));
        let ephemeral = endpoint.ephemerals().next();
        let greeted = || self.acceptor.greeted(id);
        let (secret, limits) = (endpoint.secret(), &limits);
        let accepting =
            dmsg_session::accept_greeted(connection, secret, ephemeral, limits, greeted);
        match within(&self.runtime, self.config.handshake_timeout, accepting).await {
            Some(Ok(established)) => return Some(established),
            Some(Err(HandshakeError::Closed)) => self.counters.handshakes_abandoned.count(),
            Some(Err(_)) | None => self.counters.handshakes_failed.count(),
        }
        None
    }

    /// Runs a session until it ends.
    async fn run(self: &Arc<Self>, established: Established<R::Connection>, addr: SocketAddr) {
        let Established {
            session,
            incoming,
            driver,
        } = established;
        let session = Arc::new(session);
        let added = self.table().add(&session, addr.ip());
        let Some(added) = added else {
            return self.counters.refused_sessions.count();
        };
        self.counters.accepted.count();
        if added.superseded {
            self.counters.superseded.count();
        }
        if added.displaced {
            self.counters.displaced_sessions.count();
        }
        self.changes.raise();
        let key = session.remote();
        relay::spawn(self, session, added.id, incoming, addr.ip());
        if added.has_client_session {
            file_client_after_timeout(self, key, added.id);
        }
        let (runtime, interval) = (self.runtime.clone(), self.config.keepalive);
        let reason = session_task::run(runtime, driver, interval, added.killed).await;
        match reason {
            CloseReason::Io(_) | CloseReason::Protocol(_) => self.counters.lost.count(),
            CloseReason::Smux => refuse_smux(self, key, addr),
            _ => {}
        }
        self.table().ended(&key, added.id);
        self.changes.raise();
    }
}

/// Treats a session as a client's once it had time to announce a server. A client that only waits
/// to be dialled sends nothing that would show it.
fn file_client_after_timeout<R: Runtime>(shared: &Arc<ServerInner<R>>, key: PublicKey, id: u64) {
    let filing = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        let limit = filing.config.handshake_timeout;
        filing.runtime.sleep(limit).await;
        if filing.table().file_client(&key, id) {
            filing.counters.superseded.count();
        }
    }));
}

fn refuse_smux<R: Runtime>(shared: &ServerInner<R>, key: PublicKey, address: SocketAddr) {
    shared.counters.refused_smux.count();
    if let Some(others) = shared.smux_pace.due(shared.runtime.clocks().monotonic) {
        shared.config.notify.call(&Notice::Smux {
            key,
            address,
            others,
        });
    }
}
