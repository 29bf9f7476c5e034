//! Establishing a session with a server, up to the first sign that the server runs it.

use std::time::Duration;

use skydht_runtime::{Runtime, within};

use crate::discovery::KnownServer;
use crate::dmsg_session::{self, Established};
use crate::endpoint::Endpoint;
use crate::session::SessionConfig;
use crate::session_task;

/// Timeouts of the steps.
#[derive(Clone, Copy)]
pub(crate) struct ConnectTimeouts {
    /// Connecting to the address.
    pub(crate) connect: Duration,
    /// The handshake, and then the first sign of the session.
    pub(crate) handshake: Duration,
    /// Pause after the handshake, so that the server does not read the session's first bytes
    /// together with the last handshake message (code 203).
    pub(crate) settle: Duration,
}

/// Establishes a session and measures the distance of its server. The error is a text for users.
pub(crate) async fn connect<R: Runtime>(
    runtime: &R,
    endpoint: &Endpoint,
    server: KnownServer,
    timeouts: ConnectTimeouts,
    limits: &SessionConfig,
) -> Result<(Established<R::Connection>, Duration), String> {
    let connecting = runtime.connect(server.address);
    let connection = within(runtime, timeouts.connect, connecting).await;
    let connection = connection
        .ok_or_else(|| format!("no connection within {:?}", timeouts.connect))?
        .map_err(|error| error.kind().to_string())?;
    let handshake = dmsg_session::connect(
        connection,
        endpoint.secret(),
        server.key,
        endpoint.ephemerals().next(),
        limits,
    );
    let done = within(runtime, timeouts.handshake, handshake).await;
    let silent = || {
        let limit = timeouts.handshake;
        format!("takes the connection, but no handshake within {limit:?}")
    };
    let mut established = done
        .ok_or_else(silent)?
        .map_err(|error| format!("another key answers there, or no DMSG server: {error}"))?;
    // The driver is not polled yet, so nothing is sent.
    runtime.sleep(timeouts.settle).await;
    // The server must know the session before our entry names the server.
    let now = || runtime.clocks().monotonic;
    let begun = now();
    let sign = session_task::first_sign(&mut established.driver);
    within(runtime, timeouts.handshake, sign)
        .await
        .ok_or_else(silent)?
        .map_err(|error| format!("the session ended immediately: {error}"))?;
    Ok((established, now().saturating_sub(begun)))
}
