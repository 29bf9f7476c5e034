//! Links to other servers: dialled, announced, kept, so that each passes on requests for the
//! other's clients (specification of DMSG in 2026, §2.3). One link serves both sides; only two
//! servers that dial each other at the same time have two.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::AsyncWriteExt as _;
use futures::future::select;
use skydht_core::key::PublicKey;
use skydht_runtime::{Runtime, within};

use super::ways::Ways;
use super::{Notice, Shared, relay};
use crate::discovery::KnownServer;
use crate::dmsg_session::{DmsgSession, Established};
use crate::object::PeerAnnounce;
use crate::server_session::{self, Times};
use crate::session::{Incoming, SessionConfig};
use crate::session_layer::Started;
use crate::session_task;
use crate::shares::source;

/// The discovery is asked for servers so long after the start.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// The first and the longest wait before a server is dialled again; each is 1.5 times the last.
const REDIAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// A link that lived as long begins anew with the first wait.
const GOOD: Duration = Duration::from_secs(30);
/// How long the answer to an announcement is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the keeper rests when there is nothing to do.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Servers remembered. A discovery may name as many.
const MOST_SERVERS: usize = 512;
/// A server that the discovery no longer names is dialled for as long.
const REMEMBERED: Duration = Duration::from_secs(10 * 60);
/// Servers dialled at a time.
const MOST_DIALS: usize = 16;
const TIMES: Times = Times {
    connect: Duration::from_secs(10),
    handshake: Duration::from_secs(5),
    settle: Duration::from_millis(20),
};

struct Known {
    server: KnownServer,
    /// Until when it is dialled; none: for ever.
    until: Option<Duration>,
    wait: Duration,
    due: Duration,
    dialling: bool,
}

/// The servers to be linked with, and where their clients were.
#[derive(Default)]
pub(super) struct Links {
    known: BTreeMap<PublicKey, Known>,
    pub(super) ways: Ways,
}

impl Links {
    fn learn(&mut self, server: KnownServer, now: Duration, until: Option<Duration>) {
        if let Some(known) = self.known.get_mut(&server.key) {
            known.server = server;
            known.until = known.until.and(until);
            return;
        }
        if self.known.len() < MOST_SERVERS {
            let known = Known {
                server,
                until,
                wait: Duration::ZERO,
                due: now,
                dialling: false,
            };
            self.known.insert(server.key, known);
        }
    }

    /// Who is dialled now; they count as such until [`Links::ended`].
    fn begin(&mut self, now: Duration, is_linked: impl Fn(&PublicKey) -> bool) -> Vec<KnownServer> {
        self.known
            .retain(|_, it| it.dialling || it.until.is_none_or(|until| until > now));
        let mut room = MOST_DIALS.saturating_sub(self.dialling(&is_linked));
        let mut begun = Vec::new();
        for known in self.known.values_mut() {
            if room > 0 && !known.dialling && known.due <= now && !is_linked(&known.server.key) {
                room -= 1;
                known.dialling = true;
                begun.push(known.server);
            }
        }
        begun
    }

    /// Servers that are dialled and not linked yet.
    fn dialling(&self, is_linked: impl Fn(&PublicKey) -> bool) -> usize {
        let dialled = self.known.values().filter(|it| it.dialling);
        dialled.filter(|it| !is_linked(&it.server.key)).count()
    }

    /// When the next is due at the latest.
    fn next(&self) -> Option<Duration> {
        let waiting = self.known.values().filter(|it| !it.dialling);
        waiting.map(|it| it.due).min()
    }

    /// A link ended, or was not made.
    fn ended(&mut self, now: Duration, key: &PublicKey, lived: Duration) {
        let Some(known) = self.known.get_mut(key) else {
            return;
        };
        let longer = (known.wait * 3 / 2).clamp(REDIAL.0, REDIAL.1);
        known.wait = if lived >= GOOD { REDIAL.0 } else { longer };
        (known.due, known.dialling) = (now + known.wait, false);
    }
}

/// Keeps links until the server closes.
pub(super) fn spawn<R: Runtime>(shared: &Arc<Shared<R>>) {
    let config = &shared.config;
    if config.peers.is_empty() && !config.links_all {
        return;
    }
    let (now, own) = (shared.now(), shared.endpoint.key());
    // One list may serve all servers of an operator.
    for server in config.peers.iter().filter(|it| it.key != own) {
        shared.links().learn(*server, now, None);
    }
    let keeping = Arc::clone(shared);
    let runtime = shared.runtime.clone();
    runtime.spawn(Box::pin(async move { keep(keeping).await }));
}

async fn keep<R: Runtime>(shared: Arc<Shared<R>>) {
    let own = shared.endpoint.key();
    let mut next_look = shared.now() + FIRST_LOOK;
    loop {
        let seen = shared.changes.version();
        if shared.table().is_closed() {
            return;
        }
        let now = shared.now();
        if shared.config.links_all && now >= next_look {
            next_look = now + shared.config.update_interval;
            let asked = shared.discovery.servers();
            let limit = shared.config.discovery_timeout;
            if let Some(Ok(servers)) = within(&shared.runtime, limit, asked).await {
                let (now, mut links) = (shared.now(), shared.links());
                let others = servers.into_iter().filter(|it| it.key != own);
                others.for_each(|it| links.learn(it, now, Some(now + REMEMBERED)));
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
                let linked = link(&linking, server).await;
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
        let look = shared.config.links_all.then_some(next_look);
        let next = shared.links().next().into_iter().chain(look).min();
        // One that is linked from the other side stays due.
        let pause = next.map_or(LONGEST_PAUSE, |at| at.saturating_sub(now).max(REDIAL.0));
        let changed = std::pin::pin!(shared.changes.above(seen));
        select(changed, shared.runtime.sleep(pause)).await;
    }
}

/// Makes a link, and serves it to its end. Whether it was made.
async fn link<R: Runtime>(shared: &Arc<Shared<R>>, server: KnownServer) -> bool {
    let counters = &shared.counters;
    let ip = server.address.ip();
    let mut limits = SessionConfig::with_pings(shared.config.max_streams);
    limits.send_budget = shared.send_budget.clone();
    limits.receive_queue = shared.config.receive_queue;
    limits.receive_budget = shared.receive_budget.clone();
    limits.source = Some(source(ip));
    let made = server_session::connect(&shared.runtime, &shared.endpoint, server, TIMES, &limits);
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
    shared.links().ways.forget_missing();
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

/// Says on a link's first stream that we are a server, and serves what comes over it. A server that
/// does not let us pass on requests is not kept as a link.
async fn announce<R: Runtime>(
    shared: &Arc<Shared<R>>,
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
    match within(&shared.runtime, ANSWER, asking).await.flatten() {
        Some(true) => {}
        Some(false) => {
            shared.counters.links_refused.count();
            shared.table().ended(&server.key, id);
        }
        // One of before August 2026 knows no announcements; it may have closed the stream.
        None => {
            shared.counters.links_unanswered.count();
            shared
                .config
                .notify
                .call(&Notice::Unanswered { key: server.key });
        }
    }
}

#[cfg(test)]
mod tests {
    use skydht_core::key::SecretKey;

    use super::*;

    fn server(n: u16) -> KnownServer {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        KnownServer {
            key: SecretKey::from_bytes(&bytes).unwrap().public(),
            address: ([192, 0, 2, 1], 80).into(),
        }
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_server_is_dialled_ever_less_often_until_a_link_lived() {
        let mut links = Links::default();
        links.learn(server(1), at(0), None);
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..8 {
            assert_eq!(links.begin(now, |_| false), [server(1)]);
            assert_eq!(links.begin(now, |_| false), [], "once at a time");
            links.ended(now, &server(1).key, at(29));
            waits.push((links.next().unwrap() - now).as_millis());
            now = links.next().unwrap();
        }
        assert_eq!(
            waits,
            [5_000, 7_500, 11_250, 16_875, 25_312, 37_968, 56_953, 60_000]
        );
        links.begin(now, |_| false);
        links.ended(now, &server(1).key, GOOD);
        assert_eq!(links.next(), Some(now + REDIAL.0));
        assert_eq!(
            links.begin(now + REDIAL.0, |_| true),
            [],
            "linked from the other side"
        );
    }

    #[test]
    fn servers_and_dials_are_bounded_and_what_is_not_named_is_forgotten() {
        let mut links = Links::default();
        for n in 0..600 {
            links.learn(server(n), at(0), Some(at(5)));
        }
        assert_eq!(links.known.len(), MOST_SERVERS);
        assert_eq!(links.begin(at(0), |_| false).len(), MOST_DIALS);
        assert_eq!(links.begin(at(0), |_| false).len(), 0);
        links.learn(server(3), at(1), None);
        links.begin(at(6), |_| false);
        // Those being dialled, and the one that is configured.
        assert_eq!(links.known.len(), MOST_DIALS + 1);
    }
}
