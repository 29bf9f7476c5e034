//! A session with a server, from the connection to the first sign that the server runs it.

use std::time::Duration;

use skydht_runtime::{Runtime, within};

use crate::discovery::KnownServer;
use crate::dmsg_session::{self, Established};
use crate::endpoint::Endpoint;
use crate::session::SessionConfig;
use crate::session_task;

/// How long each step may take.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// The connection.
    pub(crate) connect: Duration,
    /// The handshake, and the first sign after it.
    pub(crate) handshake: Duration,
    /// How long we keep silent after the handshake, so that its last message is not read together
    /// with the first of the session (code 203).
    pub(crate) settle: Duration,
}

/// Makes a session, and measures how far away its server is. A failure is for people.
pub(crate) async fn connect<R: Runtime>(
    runtime: &R,
    endpoint: &Endpoint,
    server: KnownServer,
    times: Times,
    limits: &SessionConfig,
) -> Result<(Established<R::Connection>, Duration), String> {
    let connecting = runtime.connect(server.address);
    let connection = within(runtime, times.connect, connecting).await;
    let connection = connection
        .ok_or_else(|| format!("no connection within {:?}", times.connect))?
        .map_err(|error| error.kind().to_string())?;
    let handshake = dmsg_session::connect(
        connection,
        endpoint.secret(),
        server.key,
        endpoint.ephemerals().next(),
        limits,
    );
    let done = within(runtime, times.handshake, handshake).await;
    let silent = || {
        let limit = times.handshake;
        format!("takes the connection, but no handshake within {limit:?}")
    };
    let mut established = done
        .ok_or_else(silent)?
        .map_err(|error| format!("another key answers there, or no DMSG server: {error}"))?;
    // The driver does not run yet, so nothing is sent.
    runtime.sleep(times.settle).await;
    // Before the session is published, its server must know of it.
    let now = || runtime.clocks().monotonic;
    let begun = now();
    let sign = session_task::first_sign(&mut established.driver);
    within(runtime, times.handshake, sign)
        .await
        .ok_or_else(silent)?
        .map_err(|error| format!("the session ended immediately: {error}"))?;
    Ok((established, now().saturating_sub(begun)))
}
