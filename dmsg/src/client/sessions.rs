//! Sessions with servers: dialled while there are too few, and run until they end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, select};
use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::ClientInner;
use super::table::SessionRequest;
use crate::discovery::KnownServer;
use crate::dmsg_session::{DmsgSession, Established};
use crate::endpoint::{self, Opening, StreamError};
use crate::server_session::{self, ConnectTimeouts};
use crate::session::{self, Incoming, SessionConfig, SessionError};
use crate::session_layer::{Joined, Started};
use crate::session_task;

/// Spawns the task that keeps [`ClientConfig::min_sessions`](super::ClientConfig::min_sessions)
/// sessions until the client closes.
pub(super) fn spawn_keeper<R: Runtime>(shared: &Arc<ClientInner<R>>) {
    let keeping = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        loop {
            let seen = keeping.changes.version();
            if keeping.table().is_closed() {
                return;
            }
            let pause = dial_missing(&keeping).await;
            let changed = std::pin::pin!(keeping.changes.above(seen));
            match pause {
                None => changed.await,
                Some(pause) => drop(select(changed, keeping.runtime.sleep(pause)).await),
            }
        }
    }));
}

/// Dials the missing sessions. Returns the longest wait before the next call, or `None` if no
/// session is missing.
async fn dial_missing<R: Runtime>(shared: &Arc<ClientInner<R>>) -> Option<Duration> {
    let config = &shared.config;
    let missing = match config.min_sessions {
        0 => usize::MAX,
        wanted => wanted.saturating_sub(shared.table().session_count()),
    };
    if missing == 0 {
        return None;
    }
    let asked = shared.discovery.servers();
    let found = within(&shared.runtime, config.discovery_timeout, asked).await;
    if let Some(Ok(servers)) = found {
        shared.table().learn(&servers);
    }
    let now = shared.now();
    let (mut due, next) = shared.table().due(now);
    // Shuffle, so that clients do not all choose the same servers.
    for i in (1..due.len()).rev() {
        let j = shared.draw() % (i as u64 + 1);
        due.swap(i, usize::try_from(j).unwrap_or(i)); // at most i
    }
    due.truncate(missing);
    let tried = !due.is_empty();
    join_all(due.iter().map(|server| session_with(shared, *server))).await;
    if tried {
        return Some(Duration::ZERO); // check immediately whether more servers are due
    }
    let retry = match next {
        Some(at) => at.saturating_sub(now),
        None if config.min_sessions == 0 => config.update_interval,
        None => config.retry.0,
    };
    Some(retry.min(config.update_interval))
}

/// Returns the session with a server, existing or new. `None` if the server may not be dialled now,
/// the dial failed, or the client is closed.
pub(super) async fn session_with<R: Runtime>(
    shared: &Arc<ClientInner<R>>,
    server: KnownServer,
) -> Option<Arc<DmsgSession>> {
    let request = {
        let mut table = shared.table();
        if table.session(&server.key).is_none() && !table.may_dial(&server, shared.now()) {
            return None;
        }
        table.request(&server.key)
    };
    let session = match request {
        SessionRequest::Closed => return None,
        SessionRequest::Connected(session) => return Some(session),
        SessionRequest::Dial(Joined::Pending(session)) => session,
        SessionRequest::Dial(Joined::MustDial(session)) => {
            let connecting = Arc::clone(shared);
            shared.runtime.spawn(Box::pin(async move {
                connect(&connecting, server).await;
            }));
            session
        }
    };
    session.await.ok()
}

async fn connect<R: Runtime>(shared: &Arc<ClientInner<R>>, known: KnownServer) {
    let server = known.key;
    let next_wait = |last| shared.next_backoff(last);
    let config = &shared.config;
    let timeouts = ConnectTimeouts {
        connect: config.connect_timeout,
        handshake: config.handshake_timeout,
        settle: config.settle,
    };
    let limits = SessionConfig::with_pings(config.max_streams);
    let made = server_session::connect(&shared.runtime, &shared.endpoint, known, timeouts, &limits);
    let (established, distance) = match made.await {
        Ok(made) => made,
        Err(cause) => {
            let now = shared.now();
            let mut table = shared.table();
            return table.connect_failed(&known, now, cause, next_wait);
        }
    };
    let Established {
        session,
        incoming,
        driver,
    } = established;
    let session = Arc::new(session);
    let now = shared.now();
    let Some(Started { id, killed }) = shared.table().connected(&session, distance, now) else {
        return;
    };
    shared.changes.raise();
    spawn_answering(shared, session, incoming);
    let interval = shared.config.keepalive;
    session_task::run(shared.runtime.clone(), driver, interval, killed).await;
    let now = shared.now();
    shared.table().ended(&server, id, now, next_wait);
    shared.changes.raise();
}

/// Spawns a task that answers the streams that the server opens on a session.
fn spawn_answering<R: Runtime>(
    shared: &Arc<ClientInner<R>>,
    session: Arc<DmsgSession>,
    mut incoming: Incoming,
) {
    let serving = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        while let Some(stream) = incoming.next().await {
            let (answering, session) = (Arc::clone(&serving), Arc::clone(&session));
            serving.runtime.spawn(Box::pin(async move {
                answer(&answering, &session, stream).await;
            }));
        }
    }));
}

/// What an inbound stream was.
enum Answered {
    Ping,
    /// A stream request that this key signed.
    Request(PublicKey),
}

async fn answer<R: Runtime>(
    shared: &ClientInner<R>,
    session: &DmsgSession,
    mut stream: session::Stream,
) {
    let (runtime, config) = (&shared.runtime, &shared.config);
    let answering = async {
        let opening = endpoint::read_opening(&mut stream);
        let opening = within(runtime, config.handshake_timeout, opening).await;
        let Opening::Object(len) = opening.unwrap_or(Err(StreamError::Timeout))? else {
            endpoint::answer_ping(stream).await?;
            return Ok(Answered::Ping);
        };
        if stream.is_spare() {
            return Err(SessionError::TooManyStreams.into());
        }
        stream.keeps(len.into()); // the record is buffered until it is complete
        let object = session.read_sealed(&mut stream, len).await?;
        stream.keeps(0);
        let request = object.verify_request().map_err(StreamError::Response)?;
        let source = request.source.key;
        shared.endpoint.answer(session, stream, request).await?;
        Ok(Answered::Request(source))
    };
    let answered = within(runtime, config.stream_timeout, answering).await;
    let mut table = shared.table();
    if let Some(Ok(Answered::Request(source))) = answered {
        // The peer is reachable over this session now, whatever route was cached.
        table.set_route(source, session.remote());
    }
    let stats = table.stats_mut();
    match answered {
        Some(Ok(Answered::Ping)) => stats.pings += 1,
        Some(Ok(Answered::Request(_))) => stats.accepted += 1,
        Some(Err(StreamError::Refused(_))) => stats.refused += 1,
        Some(Err(_)) | None => stats.invalid += 1,
    }
}
