//! Networks of nodes in this process, over loopback, for the demo and the benchmarks.

mod dmsg;
mod parts;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{BootstrapPeer, Config};
use skydht_driver::Dht;
use skydht_runtime::Runtime;
use skydht_tokio::{TcpNode, TokioRuntime};

use crate::failure::Result;
use crate::{descriptors, start};

pub(crate) use dmsg::Relays;
use parts::{OTHER_FILES, all_ready, draws, secret};

/// Number of earlier nodes from which each node bootstraps.
const BOOTSTRAP_PEERS: usize = 3;
/// Minimum number of sessions per node; with fewer, handshakes would dominate.
const FEW_SESSIONS: u64 = 64;
/// Maximum number of sessions per node; more are not useful.
const MOST_SESSIONS: u64 = 1_024;

/// Nodes in this process.
pub(crate) struct Network {
    /// The running nodes; over DMSG without those of its servers.
    pub(crate) nodes: Vec<Dht>,
    /// The discovery and servers of a network over DMSG.
    pub(crate) relays: Option<Relays>,
    /// Time until all nodes were ready.
    pub(crate) up: Duration,
}

impl Network {
    /// Starts `count` nodes on TCP and waits until all are ready. Keys and randomness are derived
    /// from `seed`. `progress` is called with the number of ready nodes.
    pub(crate) async fn start(
        count: usize,
        seed: u64,
        config: &Config,
        progress: impl Fn(usize),
    ) -> Result<Self> {
        Self::start_on(TokioRuntime, count, seed, config, progress).await
    }

    /// Does as [`Network::start`], with sockets of another runtime.
    pub(crate) async fn start_on(
        runtime: impl Runtime,
        count: usize,
        seed: u64,
        config: &Config,
        progress: impl Fn(usize),
    ) -> Result<Self> {
        let max_sessions = share_of_files(descriptors::raise(), count)?;
        let begun = Instant::now();
        let mut peers: Vec<BootstrapPeer> = Vec::new();
        let mut nodes: Vec<Dht> = Vec::new();
        for index in 0..count {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut node = TcpNode::new(secret(seed, index), Some(loopback));
            node.config = config.clone();
            // The newest nodes, so that no single one has to answer all others.
            node.config.bootstrap = peers.iter().rev().take(BOOTSTRAP_PEERS).cloned().collect();
            node.tcp.max_sessions = max_sessions;
            node.seed = Some(draws(seed, index));
            let dht = start::start_node_on(runtime.clone(), node).await?;
            peers.push(BootstrapPeer {
                key: dht.key(),
                addrs: dht.local_addr().into_iter().collect(),
            });
            nodes.push(dht);
        }
        all_ready(&nodes, progress).await?;
        Ok(Self {
            nodes,
            relays: None,
            up: begun.elapsed(),
        })
    }

    /// Starts a discovery, `servers` DMSG servers and `count` nodes over them, and waits until all
    /// are ready. The nodes' keys and randomness are derived from `seed`. `progress` is called with
    /// the number of ready nodes.
    pub(crate) async fn start_over_dmsg(
        servers: usize,
        count: usize,
        seed: u64,
        config: &Config,
        progress: impl Fn(usize),
    ) -> Result<Self> {
        let begun = Instant::now();
        let (nodes, relays) = dmsg::start(servers, count, seed, config, progress).await?;
        Ok(Self {
            nodes,
            relays: Some(relays),
            up: begun.elapsed(),
        })
    }

    /// Returns the `k` nodes closest to a target.
    pub(crate) fn nearest(&self, target: &Target, k: usize) -> Vec<PublicKey> {
        let relays = self.relays.iter().flat_map(Relays::keys);
        let mut keys: Vec<PublicKey> = self.nodes.iter().map(Dht::key).chain(relays).collect();
        keys.sort_by_key(|key| target.distance(&key.id()));
        keys.truncate(k);
        keys
    }

    /// Stops all nodes, servers and the discovery.
    pub(crate) async fn stop_all(self) {
        Self::stop(self.nodes).await;
        if let Some(relays) = self.relays {
            relays.stop().await;
        }
    }

    /// Stops nodes, concurrently.
    pub(crate) async fn stop(nodes: Vec<Dht>) {
        let mut stopping = tokio::task::JoinSet::new();
        for dht in nodes {
            stopping.spawn(async move { dht.shutdown().await });
        }
        stopping.join_all().await;
    }
}

/// Returns the number of sessions for each of `count` nodes, when the process may have `limit` open
/// files and each session takes one at both ends.
fn share_of_files(limit: u64, count: usize) -> Result<usize> {
    let count = count as u64;
    let wanted = FEW_SESSIONS.min(count);
    let share = limit.saturating_sub(OTHER_FILES) / count.max(1);
    if share <= wanted {
        let files = count * (wanted + 1) + OTHER_FILES;
        let what = format!("a network of {count} nodes");
        return Err(descriptors::shortage(limit, files, &what));
    }
    // One file is the listener's.
    Ok((share - 1).min(MOST_SESSIONS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_shared_out_and_too_few_are_refused() {
        assert_eq!(share_of_files(20_000, 60).unwrap(), 331);
        assert_eq!(share_of_files(20_000, 300).unwrap(), 65);
        assert_eq!(share_of_files(u64::MAX, 3).unwrap(), 1_024);
        let failure = share_of_files(0, usize::MAX >> 32).unwrap_err();
        assert!(failure.hint.unwrap().contains("ulimit -n"));
    }
}
