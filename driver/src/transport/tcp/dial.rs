//! Dialling: addresses in order, each with its time, then the handshake.

use std::net::SocketAddr;
use std::sync::Arc;

use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, Path, Reach};
use skydht_dmsg::secure::{self, HandshakeError};
use skydht_dmsg::session::Role;
use skydht_runtime::Runtime;

use super::{Shared, pump};

/// Dials `peer` at the addresses that the table holds for it, and tells who waits.
pub(super) fn spawn<R: Runtime>(shared: &Arc<Shared<R>>, peer: PublicKey) {
    let dialling = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        let result = dial(&dialling, peer).await;
        dialling.table().dialled(&peer, result);
    }));
}

async fn dial<R: Runtime>(shared: &Arc<Shared<R>>, peer: PublicKey) -> Result<(), OpenFailure> {
    // Of several failures the one that says most: somebody answering beats silence.
    let mut failure = OpenFailure::NoAddress;
    loop {
        let next = shared.table().next_addr(&peer);
        let Some(addr) = next else {
            return Err(failure);
        };
        match session(shared, peer, addr).await {
            Ok(()) => return Ok(()),
            Err(reason @ (OpenFailure::InvalidKey | OpenFailure::Closing)) => return Err(reason),
            Err(reason) => failure = failure.max(reason),
        }
    }
}

async fn session<R: Runtime>(
    shared: &Arc<Shared<R>>,
    peer: PublicKey,
    addr: SocketAddr,
) -> Result<(), OpenFailure> {
    let connection = connect(shared, peer, addr).await?;
    let handshake = secure::connect(connection, &shared.secret, peer, shared.ephemeral());
    let limit = shared.options.handshake_timeout;
    let done = shared.within(limit, handshake).await;
    let secure = done.ok_or(OpenFailure::Timeout)?.map_err(failure)?;
    let path = Path {
        reach: Reach::Dialled,
        remote: Some(addr),
    };
    pump::establish(shared, peer, secure, Role::Client, path)
}

async fn connect<R: Runtime>(
    shared: &Arc<Shared<R>>,
    peer: PublicKey,
    addr: SocketAddr,
) -> Result<R::Connection, OpenFailure> {
    peer.check_curve().map_err(|_| OpenFailure::InvalidKey)?;
    let connecting = shared.runtime.connect(addr);
    let limit = shared.options.connect_timeout;
    match shared.within(limit, connecting).await {
        Some(Ok(connection)) => Ok(connection),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::TimedOut => {
            Err(OpenFailure::Timeout)
        }
        Some(Err(_)) => Err(OpenFailure::Unreachable),
        None => Err(OpenFailure::Timeout),
    }
}

/// Whether `peer` answers at `addr`, over a connection of its own.
pub(super) async fn probe<R: Runtime>(
    shared: Arc<Shared<R>>,
    peer: PublicKey,
    addr: SocketAddr,
) -> Result<(), OpenFailure> {
    let connection = connect(&shared, peer, addr).await?;
    let probe = secure::probe(connection, &shared.secret, peer, shared.ephemeral());
    let limit = shared.options.handshake_timeout;
    let done = shared.within(limit, probe).await;
    done.ok_or(OpenFailure::Timeout)?.map_err(failure)
}

/// Somebody answered, but not as the peer would.
fn failure(error: HandshakeError) -> OpenFailure {
    match error {
        HandshakeError::Noise(_)
        | HandshakeError::Frame(_)
        // A node that holds another key hangs up after the first message.
        | HandshakeError::Closed => OpenFailure::Handshake,
        _ => OpenFailure::Unreachable,
    }
}
