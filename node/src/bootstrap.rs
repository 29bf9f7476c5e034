//! The configured bootstrap peers: their state, and the resolution of host names among them, which
//! is repeated at each attempt.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::{BootstrapPeer, PeerInfo, Snapshot};
use skydht_driver::Dht;
use skydht_driver::transport::DialFailure;
use skydht_runtime::BoxFuture;
use tokio::time::Instant;

use crate::config::{PeerAddress, Settings};
use crate::known_peers;
use crate::names;
use crate::report::{BootstrapPeerReport, BootstrapReport, ms};

/// First and longest pause before a host name is resolved again after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Interval between two checks of a peer that was reached by its host name.
const LOOK: Duration = Duration::from_secs(30);

/// The configured bootstrap peers. Clones share their state.
#[derive(Clone, Default)]
pub(crate) struct Bootstrap(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Each key once, in the order of the configuration.
    peers: Vec<(PublicKey, Vec<PeerAddress>)>,
    names: Mutex<Vec<Name>>,
}

/// A peer whose host is a name.
#[derive(Clone)]
struct Name {
    at: PeerAddress,
    /// Why the last attempt failed; `None` before the first attempt and after a success.
    failure: Option<String>,
    /// When the next attempt begins.
    next: Option<Instant>,
}

/// Resolves host names.
pub(crate) trait Resolve: Send + Sync + 'static {
    /// Returns the addresses of a host, or why there are none.
    fn resolve(&self, at: &PeerAddress) -> BoxFuture<'static, Result<Vec<SocketAddr>, String>>;
}

/// The system's resolver.
pub(crate) struct System;

impl Resolve for System {
    fn resolve(&self, at: &PeerAddress) -> BoxFuture<'static, Result<Vec<SocketAddr>, String>> {
        let (host, port) = (at.host.clone(), at.port);
        Box::pin(async move { names::resolve(&host, port).await })
    }
}

/// Operations on the node that an attempt needs.
pub(crate) trait Joining: Send + Sync + 'static {
    /// Returns whether the peer is in the routing table and has answered.
    fn knows(&self, peer: PublicKey) -> BoxFuture<'_, bool>;
    /// Pings a peer at an address; an error says why there was no answer.
    fn reach(&self, peer: PublicKey, addr: SocketAddr) -> BoxFuture<'_, Result<(), String>>;
}

impl Joining for Dht {
    fn knows(&self, key: PublicKey) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let peers = self.peers().await.unwrap_or_default();
            peers.iter().any(|peer| peer.key == key && peer.proven)
        })
    }

    fn reach(&self, peer: PublicKey, addr: SocketAddr) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let Err(error) = self.ping(peer, Some(addr)).await else {
                return Ok(());
            };
            // The transport's own error is more precise than the ping's.
            let failures = self.dial_failures();
            let seen = failures
                .into_iter()
                .find(|it| it.peer == peer && it.addr == Some(addr));
            Err(seen.map_or_else(|| error.to_string(), |seen| seen.cause))
        })
    }
}

impl Bootstrap {
    /// Collects the bootstrap peers of the configuration, without the node itself; also returns
    /// warnings about them.
    pub(crate) fn new(settings: &Settings, own: &PublicKey) -> (Self, Vec<String>) {
        let mut peers: Vec<(PublicKey, Vec<PeerAddress>)> = Vec::new();
        let mut warnings = BTreeSet::new();
        let keys = settings.bootstrap_pks.iter().map(|key| (*key, None));
        let with_address = settings.bootstrap.iter().map(|at| (at.key, Some(at)));
        for (key, at) in keys.chain(with_address) {
            if key == *own {
                warnings.insert(format!(
                    "{key} among the bootstrap peers is this node's own key, and is ignored"
                ));
                continue;
            }
            let index = peers.iter().position(|(known, _)| *known == key);
            let index = index.unwrap_or_else(|| {
                peers.push((key, Vec::new()));
                peers.len() - 1
            });
            let known = &mut peers[index].1;
            if let Some(at) = at.filter(|at| !known.contains(at)) {
                known.push(at.clone());
            }
        }
        let names = peers.iter().flat_map(|(_, at)| at);
        let names = names.filter(|at| numeric(at).is_none()).map(|at| Name {
            at: at.clone(),
            failure: None,
            next: None,
        });
        let names = Mutex::new(names.collect());
        let this = Self(Arc::new(Inner { peers, names }));
        (this, warnings.into_iter().collect())
    }

    fn names(&self) -> MutexGuard<'_, Vec<Name>> {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.peers.len()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.0.peers.iter().map(|(key, _)| *key)
    }

    /// Adds the peers to `config`, with those addresses that are IP addresses.
    pub(crate) fn add_to(&self, config: &mut Vec<BootstrapPeer>) {
        let peers = self.0.peers.iter().map(|(key, at)| BootstrapPeer {
            key: *key,
            addrs: at.iter().filter_map(numeric).collect(),
        });
        known_peers::merge(config, peers.collect());
    }

    /// Resolves each host name until its peer is reached, and again when the peer is lost. Runs
    /// until it is dropped.
    pub(crate) async fn keep(self, node: impl Joining, resolver: impl Resolve) {
        let count = self.names().len();
        let one = |index| self.keep_one(index, &node, &resolver);
        let all = (0..count).map(|index| Box::pin(one(index)));
        let mut all: Vec<_> = all.collect();
        // None of the futures completes.
        std::future::poll_fn(|cx| {
            for one in &mut all {
                let _ = one.as_mut().poll(cx);
            }
            std::task::Poll::Pending
        })
        .await
    }

    async fn keep_one(&self, index: usize, node: &impl Joining, resolver: &impl Resolve) {
        let at = self.names()[index].at.clone();
        let mut wait = RETRY.0;
        loop {
            let pause = if node.knows(at.key).await {
                self.set(index, None, None);
                wait = RETRY.0;
                LOOK
            } else {
                match attempt(&at, node, resolver).await {
                    Ok(()) => {
                        self.set(index, None, None);
                        wait = RETRY.0;
                        LOOK
                    }
                    Err(why) => {
                        let pause = wait;
                        wait = (wait * 2).min(RETRY.1);
                        self.set(index, Some(why), Some(Instant::now() + pause));
                        pause
                    }
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn set(&self, index: usize, failure: Option<String>, next: Option<Instant>) {
        let name = &mut self.names()[index];
        if let Some(why) = &failure
            && name.failure.as_ref() != Some(why)
        {
            tracing::debug!("bootstrap peer {}: {why}", name.at);
        }
        (name.failure, name.next) = (failure, next);
    }

    /// Reports the state of each bootstrap peer.
    pub(crate) fn report(
        &self,
        snapshot: Option<&Snapshot>,
        peers: &[PeerInfo],
        failures: &[DialFailure],
    ) -> BootstrapReport {
        let names = self.names().clone();
        // The routing table says whether a peer answers. A peer outside it is judged by its last
        // call.
        let is_reached = |key| match peers.iter().find(|peer| peer.key == key) {
            Some(peer) => peer.proven,
            None => {
                let answered = |it: &Snapshot| it.bootstrap_reached.contains(&key);
                let failed = failures.iter().any(|failure| failure.peer == key);
                snapshot.is_some_and(answered) && !failed
            }
        };
        let report = |(key, at): &(PublicKey, Vec<PeerAddress>)| {
            let reachable = is_reached(*key);
            let mut causes = Vec::new();
            let mut next = None;
            if !reachable {
                for name in names.iter().filter(|name| name.at.key == *key) {
                    let why = name.failure.clone();
                    causes.extend(why.map(|why| describe(&name.at, &why)));
                    next = next.into_iter().chain(name.next).min();
                }
                let seen = failures.iter().filter(|failure| failure.peer == *key);
                let is_named = |addr: &SocketAddr| {
                    at.iter().all(|at| numeric(at).as_ref() != Some(addr)) && !names.is_empty()
                };
                causes.extend(seen.filter_map(|failure| match failure.addr {
                    // The name's own failure already contains this cause.
                    Some(addr) if is_named(&addr) => None,
                    Some(addr) => Some(format!("{addr}: {}", failure.cause)),
                    None => Some(failure.cause.clone()),
                }));
            }
            let next = next.map(|next| next.saturating_duration_since(Instant::now()));
            BootstrapPeerReport {
                key: *key,
                at: at.iter().map(host_and_port).collect(),
                reachable,
                causes,
                next_try_ms: next.map(ms),
            }
        };
        let peers: Vec<_> = self.0.peers.iter().map(report).collect();
        BootstrapReport {
            configured: peers.len(),
            known: snapshot.map_or(0, |snapshot| snapshot.bootstrap_configured),
            reachable: peers.iter().filter(|peer| peer.reachable).count(),
            peers,
        }
    }
}

/// Formats the address as `HOST:PORT`.
fn host_and_port(at: &PeerAddress) -> String {
    let text = at.to_string();
    text.split_once('@')
        .map_or(text.clone(), |(_, at)| at.into())
}

/// Prefixes the cause with the host and port, unless the cause names the host already.
fn describe(at: &PeerAddress, why: &str) -> String {
    if why.contains(&at.host) {
        why.to_owned()
    } else {
        format!("{}: {why}", host_and_port(at))
    }
}

fn numeric(at: &PeerAddress) -> Option<SocketAddr> {
    let ip = at.host.parse().ok()?;
    Some(SocketAddr::new(ip, at.port))
}

/// Resolves a host name and pings its peer at each address until one answers.
async fn attempt(
    at: &PeerAddress,
    node: &impl Joining,
    resolver: &impl Resolve,
) -> Result<(), String> {
    let mut causes = Vec::new();
    for addr in resolver.resolve(at).await? {
        match node.reach(at.key, addr).await {
            Ok(()) => return Ok(()),
            Err(why) => causes.push(format!("{} ({addr}): {why}", at.host)),
        }
    }
    Err(causes.join("; "))
}

#[cfg(test)]
mod tests;
