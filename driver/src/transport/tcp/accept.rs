//! Listening: connections in, handshakes within their time, sessions out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use skydht_core::address::canonical;
use skydht_core::node::{Path, Reach};
use skydht_dmsg::half_open::Begun;
use skydht_dmsg::secure::{self, HandshakeError};
use skydht_dmsg::session::Role;
use skydht_runtime::{Listener, Runtime};

use super::{Shared, pump};

/// How long to wait after an accept that failed: mostly a process without file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the transport closes.
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
    let Some(Begun { id, killed, .. }) = begun else {
        return;
    };
    let handshaking = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        if let Either::Left(_) =
            select(Box::pin(finish(&handshaking, connection, addr, id)), killed).await
        {
            handshaking.table().end_handshake(id);
        }
    }));
}

async fn finish<R: Runtime>(
    shared: &Arc<Shared<R>>,
    connection: R::Connection,
    addr: SocketAddr,
    id: u64,
) {
    let greeted = || shared.table().greeted(id);
    let (secret, ephemeral) = (&shared.secret, shared.ephemeral());
    let handshake = secure::accept_greeted(connection, secret, ephemeral, greeted);
    let limit = shared.options.handshake_timeout;
    match shared.within(limit, handshake).await {
        Some(Ok((peer, secure))) => {
            let now = shared.runtime.clocks().monotonic;
            let refused_for = shared.table().refused_for(&peer, now);
            if let Some(duration) = refused_for {
                // Held and not read, so that it does not come again at once: a handshake costs
                // as much as what it was refused for. It goes when others need its place.
                shared.table().stats_mut().refused += 1;
                shared.runtime.sleep(duration).await;
                return drop(secure);
            }
            let path = Path {
                reach: Reach::Accepted,
                remote: Some(canonical(addr)),
            };
            // At a limit the connection is dropped, and counted there.
            if pump::establish(shared, peer, secure, Role::Server, path).is_ok() {
                shared.table().stats_mut().accepted += 1;
            }
        }
        Some(Err(HandshakeError::Closed)) => shared.table().stats_mut().handshakes_abandoned += 1,
        Some(Err(_)) | None => shared.table().stats_mut().handshakes_failed += 1,
    }
}
