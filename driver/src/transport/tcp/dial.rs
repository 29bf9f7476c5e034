//! Dialling: tries addresses in order without waiting for a silent one, then performs the
//! handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, StreamExt as _};
use skydht_core::address::canonical;
use skydht_core::key::PublicKey;
use skydht_core::node::{OpenFailure, Path, Reach};
use skydht_dmsg::secure::{self, HandshakeError};
use skydht_dmsg::session::Role;
use skydht_runtime::Runtime;

use super::{TcpInner, TcpOptions, session_task};

/// Spawns a dial of `peer` at the addresses that the table has for it, and answers its waiters.
pub(super) fn spawn<R: Runtime>(shared: &Arc<TcpInner<R>>, peer: PublicKey) {
    let dialling = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        let result = dial(&dialling, peer).await;
        dialling.table().dialled(&peer, result);
    }));
}

/// How long an address may be silent before the next one is tried concurrently (RFC 8305, section
/// 5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

async fn dial<R: Runtime>(shared: &Arc<TcpInner<R>>, peer: PublicKey) -> Result<(), OpenFailure> {
    shared.failures.begin(&peer);
    // The most specific of several failures: any answer outranks silence.
    let mut failure = OpenFailure::NoAddress;
    let mut attempts = FuturesUnordered::new();
    loop {
        let next = shared.table().next_addr(&peer).map(canonical);
        attempts.extend(next.map(|addr| async move { (addr, session(shared, peer, addr).await) }));
        let (addr, reason) =
            match select(attempts.next(), shared.runtime.sleep(ATTEMPT_DELAY)).await {
                Either::Right(_) => continue,
                Either::Left((None, _)) => return Err(failure),
                Either::Left((Some((_, Ok(()))), _)) => {
                    shared.failures.begin(&peer);
                    return Ok(());
                }
                Either::Left((Some((addr, Err(reason))), _)) => (addr, reason),
            };
        shared
            .failures
            .note(&peer, Some(addr), || reason.text(&shared.options));
        match reason.means {
            reason @ (OpenFailure::InvalidKey | OpenFailure::Closing) => return Err(reason),
            reason => failure = failure.max(reason),
        }
    }
}

/// Why the attempt at one address failed.
struct AttemptError {
    means: OpenFailure,
    /// Error of connecting, if that failed.
    io: Option<io::ErrorKind>,
}

impl From<OpenFailure> for AttemptError {
    fn from(means: OpenFailure) -> Self {
        Self { means, io: None }
    }
}

impl AttemptError {
    /// Returns the failure as text for users.
    fn text(&self, options: &TcpOptions) -> String {
        match (self.io, self.means) {
            (Some(io::ErrorKind::TimedOut), _) => {
                format!("no connection within {:?}", options.connect_timeout)
            }
            (Some(kind), _) => kind.to_string(),
            (None, OpenFailure::Handshake) => {
                "another key answers there, or no node at all".to_owned()
            }
            (None, OpenFailure::Timeout) => format!(
                "takes the connection, but no handshake within {:?}",
                options.handshake_timeout
            ),
            (None, OpenFailure::Unreachable) => "the connection broke in the handshake".to_owned(),
            (None, other) => other.to_string(),
        }
    }
}

async fn session<R: Runtime>(
    shared: &Arc<TcpInner<R>>,
    peer: PublicKey,
    addr: SocketAddr,
) -> Result<(), AttemptError> {
    let connection = connect(shared, peer, addr).await?;
    let handshake = secure::connect(connection, &shared.secret, peer, shared.ephemeral());
    let limit = shared.options.handshake_timeout;
    let done = shared.within(limit, handshake).await;
    let secure = done.ok_or(OpenFailure::Timeout)?.map_err(failure)?;
    let path = Path {
        reach: Reach::Dialled,
        remote: Some(addr),
    };
    Ok(session_task::establish(
        shared,
        peer,
        secure,
        Role::Client,
        path,
    )?)
}

async fn connect<R: Runtime>(
    shared: &Arc<TcpInner<R>>,
    peer: PublicKey,
    addr: SocketAddr,
) -> Result<R::Connection, AttemptError> {
    peer.check_curve().map_err(|_| OpenFailure::InvalidKey)?;
    let connecting = shared.runtime.connect(canonical(addr));
    let limit = shared.options.connect_timeout;
    let error = match shared.within(limit, connecting).await {
        Some(Ok(connection)) => return Ok(connection),
        Some(Err(error)) => error.kind(),
        None => io::ErrorKind::TimedOut,
    };
    Err(AttemptError {
        means: connect_failure(&addr, error),
        io: Some(error),
    })
}

/// Maps an error of connecting. An address of a family that this host cannot reach counts as no
/// address: it says nothing about the peer, so any other failure outranks it.
fn connect_failure(addr: &SocketAddr, error: io::ErrorKind) -> OpenFailure {
    match error {
        io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable => OpenFailure::NoAddress,
        io::ErrorKind::NetworkUnreachable if addr.is_ipv6() => OpenFailure::NoAddress,
        io::ErrorKind::TimedOut => OpenFailure::Timeout,
        _ => OpenFailure::Unreachable,
    }
}

/// Tests whether `peer` answers at `addr`, over a separate connection.
pub(super) async fn probe<R: Runtime>(
    shared: Arc<TcpInner<R>>,
    peer: PublicKey,
    addr: SocketAddr,
) -> Result<(), OpenFailure> {
    let connecting = connect(&shared, peer, addr).await;
    let connection = connecting.map_err(|reason| reason.means)?;
    let probe = secure::probe(connection, &shared.secret, peer, shared.ephemeral());
    let limit = shared.options.handshake_timeout;
    let done = shared.within(limit, probe).await;
    done.ok_or(OpenFailure::Timeout)?.map_err(failure)
}

/// Maps an error of the handshake.
fn failure(error: HandshakeError) -> OpenFailure {
    match error {
        HandshakeError::Noise(_)
        | HandshakeError::Frame(_)
        // A node with another key closes the connection after the first message.
        | HandshakeError::Closed => OpenFailure::Handshake,
        _ => OpenFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_a_family_that_the_host_lacks_says_less_than_any_other() {
        let [v4, v6]: [SocketAddr; 2] =
            ["192.0.2.1:1", "[2001:db8::1]:1"].map(|addr| addr.parse().unwrap());
        for (addr, kind, expected) in [
            (
                v6,
                io::ErrorKind::NetworkUnreachable,
                OpenFailure::NoAddress,
            ),
            (v6, io::ErrorKind::AddrNotAvailable, OpenFailure::NoAddress),
            (v6, io::ErrorKind::Unsupported, OpenFailure::NoAddress),
            (
                v4,
                io::ErrorKind::NetworkUnreachable,
                OpenFailure::Unreachable,
            ),
            (
                v4,
                io::ErrorKind::ConnectionRefused,
                OpenFailure::Unreachable,
            ),
            (
                v6,
                io::ErrorKind::ConnectionRefused,
                OpenFailure::Unreachable,
            ),
            (v4, io::ErrorKind::TimedOut, OpenFailure::Timeout),
        ] {
            assert_eq!(connect_failure(&addr, kind), expected, "{addr} {kind}");
        }
        let others = [
            OpenFailure::Unreachable,
            OpenFailure::Timeout,
            OpenFailure::Handshake,
        ];
        assert!(
            others
                .iter()
                .all(|it| it.max(&OpenFailure::NoAddress) == it)
        );
    }
}
