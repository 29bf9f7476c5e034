//! Checks what a node needs of others: a discovery, servers, bootstrap peers, the time.

use std::time::Duration;

use futures::future::join_all;
use skydht_core::node::{BootstrapPeer, OpenFailure, PingError};
use skydht_driver::{Dht, StartOptions};
use tokio::time::timeout;

use super::report::{Examination, Subject};
use crate::clock::Clock;
use crate::config::Settings;
use crate::report::Verdict;
use crate::state_dir::StateDir;
use crate::{dmsg, keys, known_peers, start, verdict};

/// Maximum number of peers that are pinged.
const MOST_ASKED: usize = 16;

pub(super) async fn examine(
    found: &mut Examination,
    settings: &Settings,
    state: &StateDir,
    patience: Duration,
) {
    if settings.dmsg.is_on() {
        over_dmsg(found, settings).await;
    } else {
        on_tcp(found, settings, state, patience).await;
    }
}

/// Checks the discovery, its servers, and the clock against the discovery's.
async fn over_dmsg(found: &mut Examination, settings: &Settings) {
    let clock = Clock::default();
    let reachable = dmsg::Reachable::look(&settings.dmsg, clock.clone()).await;
    let (servers, connected) = reachable.servers();
    if let Some(url) = &settings.dmsg.discovery {
        match reachable.discovery_error() {
            None => found.fine(Subject::Discovery, format_args!("{url} answers")),
            Some(why) => found.bad(
                Subject::Discovery,
                // Other known servers suffice for a node.
                if connected > 0 { Verdict::Yellow } else { Verdict::Red },
                "the DMSG discovery does not answer",
                format_args!("{url}: {why}"),
                format_args!(
                    "curl -si {url}/dmsg-discovery/available_servers; skydht config set dmsg.discovery URL"
                ),
            ),
        }
    }
    let is_told_why = reachable.discovery_error().is_some() && servers == 0;
    if connected > 0 {
        found.fine(Subject::DmsgServers, &reachable);
    } else if !is_told_why {
        let cause = match servers {
            0 => "no DMSG server is known",
            _ => "no DMSG server is reachable",
        };
        let remedy = "check this machine's network and firewall; skydht config get dmsg.servers";
        found.bad(
            Subject::DmsgServers,
            Verdict::Red,
            cause,
            &reachable,
            remedy,
        );
    }
    match clock.report(None) {
        Some(report) => match verdict::clock(&report) {
            Some(reason) => found.reason(reason),
            None => found.fine(Subject::Clock, report),
        },
        None => found.fine(Subject::Clock, "nothing says what time it is"),
    }
}

/// Checks the bootstrap peers: the configured ones, or else those remembered.
async fn on_tcp(
    found: &mut Examination,
    settings: &Settings,
    state: &StateDir,
    patience: Duration,
) {
    let (mut peers, unresolved) = start::resolve(&settings.bootstrap).await;
    let remembered = settings.bootstrap.is_empty();
    if remembered {
        peers = known_peers::load(&state.peers_file()).unwrap_or_default();
        peers.retain(|peer| !peer.addrs.is_empty());
        if peers.is_empty() {
            return found.bad(
                Subject::Bootstrap,
                Verdict::Yellow,
                "there is no peer to start from",
                "none is configured, and none is remembered",
                "skydht config set bootstrap PK@HOST:PORT",
            );
        }
    }
    peers.truncate(MOST_ASKED);
    let asked = peers.len() + unresolved.len();
    let mut causes = unresolved;
    causes.extend(ask(settings, peers, patience).await);
    let answered = asked.saturating_sub(causes.len());
    let whose = if remembered {
        "remembered"
    } else {
        "bootstrap"
    };
    let detail = format!("{answered} of {asked} {whose} peers answer");
    if answered > 0 {
        return found.fine(Subject::Bootstrap, detail);
    }
    found.bad(
        Subject::Bootstrap,
        Verdict::Red,
        format_args!("no {whose} peer answers"),
        causes.join("; "),
        "skydht config get bootstrap; `skydht status` at each peer shows its key and address",
    );
}

/// Pings each peer under a new key; returns the causes of failures.
async fn ask(settings: &Settings, peers: Vec<BootstrapPeer>, patience: Duration) -> Vec<String> {
    if peers.is_empty() {
        return Vec::new();
    }
    let mut config = settings.node.clone();
    config.serve = false;
    // The transport keeps the cause of a failed dial only for bootstrap peers.
    config.bootstrap = peers.clone();
    let started = async {
        let secret = keys::generate()?;
        start::start(config, secret, None, StartOptions::default()).await
    };
    let dht = match started.await {
        Ok(dht) => dht,
        Err(failure) => return peers.iter().map(|_| failure.message.clone()).collect(),
    };
    let asking = peers.iter().map(|peer| ask_one(&dht, peer, patience));
    let causes = join_all(asking).await.into_iter().flatten().collect();
    let _ = timeout(patience, dht.shutdown()).await;
    causes
}

async fn ask_one(dht: &Dht, peer: &BootstrapPeer, patience: Duration) -> Option<String> {
    let mut last = "it has no address".to_owned();
    for addr in &peer.addrs {
        last = match timeout(patience, dht.ping(peer.key, Some(*addr))).await {
            Ok(Ok(_)) => return None,
            Ok(Err(PingError::Open(OpenFailure::Handshake))) => {
                format!("{addr}: something answers there, but not with this key")
            }
            Ok(Err(error)) => {
                let mut seen = dht.dial_failures().into_iter();
                let seen =
                    seen.find(|it| it.peer == peer.key && it.addr.is_none_or(|at| at == *addr));
                let why = seen.map_or_else(|| error.to_string(), |it| it.cause);
                format!("{addr}: {why}")
            }
            Err(_) => format!("{addr}: no answer within {patience:?}"),
        };
    }
    Some(format!("{} {last}", peer.key))
}
