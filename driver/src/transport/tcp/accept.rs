//! Accepting connections: handshakes within limits, then sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use skydht_core::address::canonical;
use skydht_core::key::PublicKey;
use skydht_core::node::{Path, Reach};
use skydht_dmsg::secure::{self, HandshakeError, Secure};
use skydht_dmsg::session::Role;
use skydht_dmsg::session_layer::{Accept, Acceptor};
use skydht_runtime::Runtime;

use super::{TcpInner, session_task};

impl<R: Runtime> Accept for TcpInner<R> {
    type Runtime = R;
    type Established = (PublicKey, Secure<R::Connection>);

    fn runtime(&self) -> &R {
        &self.runtime
    }

    fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    fn count_displaced(&self) {
        self.table().stats_mut().handshakes_dropped += 1;
    }

    async fn handshake(
        &self,
        connection: R::Connection,
        _: SocketAddr,
        id: u64,
    ) -> Option<Self::Established> {
        let greeted = || self.acceptor.greeted(id);
        let (secret, ephemeral) = (&self.secret, self.ephemeral());
        let handshake = secure::accept_greeted(connection, secret, ephemeral, greeted);
        let done = self.within(self.options.handshake_timeout, handshake).await;
        let (peer, secure) = match done {
            Some(Ok(established)) => established,
            Some(Err(HandshakeError::Closed)) => {
                self.table().stats_mut().handshakes_abandoned += 1;
                return None;
            }
            Some(Err(_)) | None => {
                self.table().stats_mut().handshakes_failed += 1;
                return None;
            }
        };
        let now = self.runtime.clocks().monotonic;
        let refused_for = self.table().refused_for(&peer, now);
        if let Some(duration) = refused_for {
            // Keep the connection open without reading it, so that the peer does not reconnect
            // immediately: a handshake costs as much as the requests it was refused for. It is
            // dropped when others need room.
            self.table().stats_mut().refused += 1;
            self.runtime.sleep(duration).await;
            return None;
        }
        Some((peer, secure))
    }

    async fn run(self: &Arc<Self>, (peer, secure): Self::Established, addr: SocketAddr) {
        let path = Path {
            reach: Reach::Accepted,
            remote: Some(canonical(addr)),
        };
        // If a limit is reached, `establish` drops the connection and counts it.
        if session_task::establish(self, peer, secure, Role::Server, path).is_ok() {
            self.table().stats_mut().accepted += 1;
        }
    }
}
