//! Links to other servers: dialled, announced and kept, so that each passes on requests for the
//! other's clients (specification of DMSG in 2026, §2.3). One link serves both sides; there are two
//! only if both servers dialled each other at the same time.

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use futures::future::select;
use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::link_table::REDIAL;
use super::{Notice, ServerInner, relay};
use crate::discovery::KnownServer;
use crate::dmsg_session::{DmsgSession, Established};
use crate::object::PeerAnnounce;
use crate::server_session::{self, ConnectTimeouts};
use crate::session::{Incoming, SessionConfig};
use crate::session_layer::Started;
use crate::session_task;
use crate::shares::source;

/// Delay from the start to the first query for servers.
const FIRST_QUERY_DELAY: Duration = Duration::from_secs(10);
/// Timeout of the answer to an announcement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause of the task that keeps the links.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a server is dialled after the discovery named it last.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);
const TIMEOUTS: ConnectTimeouts = ConnectTimeouts {
    connect: Duration::from_secs(10),
    handshake: Duration::from_secs(5),
    settle: Duration::from_millis(20),
};

/// Spawns the task that keeps links until the server closes.
pub(super) fn spawn<R: Runtime>(shared: &Arc<ServerInner<R>>) {
    let config = &shared.config;
    if config.peers.is_empty() && !config.links_all {
        return;
    }
    let (now, own) = (shared.now(), shared.endpoint.key());
    // One list may be configured on all servers of an operator, this one included.
    for server in config.peers.iter().filter(|it| it.key != own) {
        shared.links().learn(*server, now, None);
    }
    let keeping = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(Box::pin(async move { keep_links(keeping).await }));
}

async fn keep_links<R: Runtime>(shared: Arc<ServerInner<R>>) {
    let own = shared.endpoint.key();
    let mut next_query = shared.now() + FIRST_QUERY_DELAY;
    loop {
        let seen = shared.changes.version();
        if shared.table().is_closed() {
            return;
        }
        let now = shared.now();
        if shared.config.links_all && now >= next_query {
            next_query = now + shared.config.update_interval;
            let asked = shared.discovery.servers();
            let limit = shared.config.discovery_timeout;
            if let Some(Ok(servers)) = within(&shared.runtime, limit, asked).await {
                let (now, mut links) = (shared.now(), shared.links());
                let others = servers.into_iter().filter(|it| it.key != own);
                others.for_each(|it| links.learn(it, now, Some(now + FORGET_AFTER)));
            }
        }
        let begun = {
            let table = shared.table();
            let is_linked = |key: &PublicKey| table.is_linked(key);
            shared.links().begin(shared.now(), is_linked)
        };
        for server in begun {
            let linking = Arc::clone(&shared);
            shared.runtime.spawn(Box::pin(async move {
                let (begun, key) = (linking.now(), server.key);
                let linked = run_link(&linking, server).await;
                let now = linking.now();
                let lived = if linked {
                    now.saturating_sub(begun)
                } else {
                    Duration::ZERO
                };
                linking.links().ended(now, &key, lived);
                linking.changes.raise();
            }));
        }
        let now = shared.now();
        let query = shared.config.links_all.then_some(next_query);
        let next = shared.links().next().into_iter().chain(query).min();
        // A server that dialled us stays due without being dialled: the minimum prevents a busy
        // loop.
        let pause = next.map_or(LONGEST_PAUSE, |at| at.saturating_sub(now).max(REDIAL.0));
        let changed = std::pin::pin!(shared.changes.above(seen));
        select(changed, shared.runtime.sleep(pause)).await;
    }
}

/// Dials a server and runs the link until it ends. Returns whether it was made.
async fn run_link<R: Runtime>(shared: &Arc<ServerInner<R>>, server: KnownServer) -> bool {
    let counters = &shared.counters;
    let ip = server.address.ip();
    let mut limits = SessionConfig::with_pings(shared.config.max_streams);
    limits.send_budget = shared.send_budget.clone();
    limits.receive_queue = shared.config.receive_queue;
    limits.receive_budget = shared.receive_budget.clone();
    limits.source = Some(source(ip));
    let made =
        server_session::connect(&shared.runtime, &shared.endpoint, server, TIMEOUTS, &limits);
    let Ok((established, _)) = made.await else {
        counters.links_failed.count();
        return false;
    };
    let Established {
        session,
        incoming,
        driver,
    } = established;
    let session = Arc::new(session);
    let added = shared.table().add_link(&session, ip);
    let Some(Started { id, killed }) = added else {
        counters.refused_sessions.count();
        return false;
    };
    counters.links_made.count();
    shared.links().routes.forget_missing();
    let announcing = Arc::clone(shared);
    shared.runtime.spawn(Box::pin(async move {
        announce(&announcing, session, incoming, server, id).await;
    }));
    shared.changes.raise();
    let (runtime, interval) = (shared.runtime.clone(), shared.config.keepalive);
    session_task::run(runtime, driver, interval, killed).await;
    shared.table().ended(&server.key, id);
    true
}

/// Announces us as a server on the link's first stream, and serves the streams that come over the
/// link. Ends the link if the server does not let us pass on requests.
async fn announce<R: Runtime>(
    shared: &Arc<ServerInner<R>>,
    session: Arc<DmsgSession>,
    incoming: Incoming,
    server: KnownServer,
    id: u64,
) {
    let object = PeerAnnounce {
        timestamp: shared.timestamp(),
        source: *shared.endpoint.key().as_bytes(),
    }
    .sign(shared.endpoint.secret());
    let asking = async {
        let mut stream = session.mux().open().await.ok()?;
        session.write_object(&mut stream, &object).await.ok()?;
        let answer = session.read_object(&mut stream).await.ok()?;
        let _ = stream.close().await;
        let response = answer.verify_response(&object.hash(), &server.key).ok()?;
        Some(response.accepted)
    };
    relay::spawn(
        shared,
        Arc::clone(&session),
        id,
        incoming,
        server.address.ip(),
    );
    match within(&shared.runtime, ANSWER_TIMEOUT, asking)
        .await
        .flatten()
    {
        Some(true) => {}
        Some(false) => {
            shared.counters.links_refused.count();
            shared.table().ended(&server.key, id);
        }
        // Servers from before August 2026 do not know announcements, and may have closed the
        // stream.
        None => {
            shared.counters.links_unanswered.count();
            shared
                .config
                .notify
                .call(&Notice::Unanswered { key: server.key });
        }
    }
}
