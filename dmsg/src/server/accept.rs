//! Connections in, handshakes within their time, sessions out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use skydht_core::key::PublicKey;
use skydht_runtime::{Listener, Runtime, within};

use super::{Notice, Shared, relay};
use crate::dmsg_session::{self, Established};
use crate::half_open::Begun;
use crate::session::{CloseReason, SessionConfig};
use crate::session_task;
use crate::shares::source;
use crate::talk::HandshakeError;

/// How long to wait after an accept that failed: mostly a process without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the server closes.
pub(super) fn spawn<R: Runtime>(shared: &Arc<Shared<R>>, listener: R::Listener) {
    let mut stopped = shared.table().listen();
    let accepting = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        loop {
            match select(listener.accept(), &mut stopped).await {
                Either::Left((Ok((connection, addr)), _)) => begin(&accepting, connection, addr),
                Either::Left((Err(_), _)) => accepting.runtime.sleep(ACCEPT_PAUSE).await,
                Either::Right(_) => return,
            }
        }
    }));
}

fn begin<R: Runtime>(shared: &Arc<Shared<R>>, connection: R::Connection, addr: SocketAddr) {
    let begun = shared.table().begin_handshake(addr.ip());
    let Some(Begun {
        id,
        killed,
        displaced,
    }) = begun
    else {
        return;
    };
    if displaced {
        shared.counters.handshakes_dropped.count();
    }
    let handshaking = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        let handshake = Box::pin(handshake(&handshaking, connection, addr, id));
        if let Either::Left((established, _)) = select(handshake, killed).await {
            handshaking.table().end_handshake(id);
            if let Some(established) = established {
                run(&handshaking, established, addr).await;
            }
        }
    }));
}

async fn handshake<R: Runtime>(
    shared: &Shared<R>,
    connection: R::Connection,
    addr: SocketAddr,
    id: u64,
) -> Option<Established<R::Connection>> {
    let endpoint = &shared.endpoint;
    let mut limits = SessionConfig::with_pings(shared.config.max_streams);
    limits.send_budget = shared.send_budget.clone();
    limits.receive_queue = shared.config.receive_queue;
    limits.receive_budget = shared.receive_budget.clone();
    limits.source = Some(source(addr.ip()));
    let ephemeral = endpoint.ephemerals().next();
    let greeted = || shared.table().greeted(id);
    let (secret, limits) = (endpoint.secret(), &limits);
    let accepting = dmsg_session::accept_greeted(connection, secret, ephemeral, limits, greeted);
    match within(&shared.runtime, shared.config.handshake_timeout, accepting).await {
        Some(Ok(established)) => return Some(established),
        Some(Err(HandshakeError::Closed)) => shared.counters.handshakes_abandoned.count(),
        Some(Err(_)) | None => shared.counters.handshakes_failed.count(),
    }
    None
}

/// Runs a session to its end.
async fn run<R: Runtime>(
    shared: &Arc<Shared<R>>,
    established: Established<R::Connection>,
    addr: SocketAddr,
) {
    let Established {
        session,
        incoming,
        driver,
    } = established;
    let session = Arc::new(session);
    let address = source(addr.ip());
    let added = shared.table().add(&session, address);
    let Some(added) = added else {
        return shared.counters.refused_sessions.count();
    };
    shared.counters.accepted.count();
    if added.superseded {
        shared.counters.superseded.count();
    }
    if added.displaced {
        shared.counters.displaced_sessions.count();
    }
    shared.changes.raise();
    let (key, pulse) = (session.remote(), session.pulse().clone());
    relay::spawn(shared, session, added.id, incoming, addr.ip());
    if added.has_rival {
        file_in_time(shared, key, added.id);
    }
    let (runtime, keepalive) = (shared.runtime.clone(), shared.config.keepalive);
    let reason = session_task::run(runtime, driver, pulse, keepalive, added.killed).await;
    match reason {
        CloseReason::Io(_) | CloseReason::Protocol(_) => shared.counters.lost.count(),
        CloseReason::Smux => refuse_smux(shared, key, addr),
        _ => {}
    }
    shared.table().ended(&key, added.id);
    shared.changes.raise();
}

/// A client that only waits to be dialled sends nothing: its session is filed when it has had the
/// time to announce a server.
fn file_in_time<R: Runtime>(shared: &Arc<Shared<R>>, key: PublicKey, id: u64) {
    let filing = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        let limit = filing.config.handshake_timeout;
        filing.runtime.sleep(limit).await;
        if filing.table().file_client(&key, id) {
            filing.counters.superseded.count();
        }
    }));
}

fn refuse_smux<R: Runtime>(shared: &Shared<R>, key: PublicKey, address: SocketAddr) {
    shared.counters.refused_smux.count();
    if let Some(others) = shared.smux_pace.due(shared.runtime.clocks().monotonic) {
        shared.config.notify.call(&Notice::Smux {
            key,
            address,
            others,
        });
    }
}
