//! The peers that a node is told to start from: what is said of them, and the names among them,
//! which are looked up anew at each attempt.

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

/// The first and the longest wait before a name that led nowhere is looked up again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How often a peer that was reached by its name is looked at.
const LOOK: Duration = Duration::from_secs(30);

/// The configured bootstrap peers. Clones are the same ones.
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
    /// Why the last attempt led nowhere; none before the first, and once it led somewhere.
    failure: Option<String>,
    /// When the next attempt begins.
    next: Option<Instant>,
}

/// Looks a name up.
pub(crate) trait Resolve: Send + Sync + 'static {
    /// Its addresses, or why there are none.
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

/// What an attempt needs of a node.
pub(crate) trait Joining: Send + Sync + 'static {
    /// Whether a peer is known and answers.
    fn knows(&self, peer: PublicKey) -> BoxFuture<'_, bool>;
    /// Asks a peer at an address for a sign of life; why there was none.
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
            // What the transport saw says more.
            let failures = self.dial_failures();
            let seen = failures
                .into_iter()
                .find(|it| it.peer == peer && it.addr == Some(addr));
            Err(seen.map_or_else(|| error.to_string(), |seen| seen.cause))
        })
    }
}

impl Bootstrap {
    /// Those of the configuration, without the node itself; and what is odd about them.
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

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.peers.len()
    }

    /// Their keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.0.peers.iter().map(|(key, _)| *key)
    }

    /// Adds them to those that the node starts from, with the addresses that are no names.
    pub(crate) fn add_to(&self, config: &mut Vec<BootstrapPeer>) {
        let peers = self.0.peers.iter().map(|(key, at)| BootstrapPeer {
            key: *key,
            addrs: at.iter().filter_map(numeric).collect(),
        });
        known_peers::merge(config, peers.collect());
    }

    /// Looks the names up until each has led to its peer, and again when that is lost. Ends when
    /// it is dropped.
    pub(crate) async fn keep(self, node: impl Joining, resolver: impl Resolve) {
        let count = self.names().len();
        let one = |index| self.keep_one(index, &node, &resolver);
        let all = (0..count).map(|index| Box::pin(one(index)));
        let mut all: Vec<_> = all.collect();
        // They never end, so that all are polled for ever.
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

    /// What is known of each.
    pub(crate) fn report(
        &self,
        snapshot: Option<&Snapshot>,
        peers: &[PeerInfo],
        failures: &[DialFailure],
    ) -> BootstrapReport {
        let names = self.names().clone();
        // In the table it shows whether a peer answers; elsewhere what its last call came to.
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
                    // The name's own cause has it.
                    Some(addr) if is_named(&addr) => None,
                    Some(addr) => Some(format!("{addr}: {}", failure.cause)),
                    None => Some(failure.cause.clone()),
                }));
            }
            let next = next.map(|next| next.saturating_duration_since(Instant::now()));
            BootstrapPeerReport {
                key: *key,
                at: at.iter().map(place).collect(),
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

/// HOST:PORT.
fn place(at: &PeerAddress) -> String {
    let text = at.to_string();
    text.split_once('@')
        .map_or(text.clone(), |(_, at)| at.into())
}

/// A cause that names the host already says it once.
fn describe(at: &PeerAddress, why: &str) -> String {
    if why.contains(&at.host) {
        why.to_owned()
    } else {
        format!("{}: {why}", place(at))
    }
}

fn numeric(at: &PeerAddress) -> Option<SocketAddr> {
    let ip = at.host.parse().ok()?;
    Some(SocketAddr::new(ip, at.port))
}

/// Looks a name up and asks its peer at each of the addresses.
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
