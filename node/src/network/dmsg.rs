//! A local network over DMSG: a discovery, servers that are full nodes, and visors.

use std::net::{Ipv4Addr, SocketAddr};

use skydht_core::key::PublicKey;
use skydht_core::node::Config;
use skydht_driver::{Dht, StartOptions};
use tokio::task::JoinSet;

use super::parts::{OTHER_FILES, all_ready, draws, secret};
use crate::config::DmsgSettings;
use crate::descriptors;
use crate::dmsg::{
    Carrier, Directory, DiscoveryService, Node, OfferedServices, Server, start_client, start_server,
};
use crate::failure::{Code, Failure, Result};

/// Number of visors that start concurrently.
const CONCURRENCY: usize = 8;
/// Approximate number of concurrent requests to the discovery.
const REQUESTS: u64 = 256;

/// The discovery and the servers of a network over DMSG.
pub(crate) struct Relays {
    discovery: DiscoveryService,
    servers: Vec<(Server, Dht)>,
}

impl Relays {
    /// Returns the keys of the running servers, each of which is a full node.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.servers.iter().map(|(_, dht)| dht.key())
    }

    /// Returns the discovery's URL.
    pub(crate) fn discovery(&self) -> String {
        self.discovery.url()
    }

    /// Stops a server as a crash would: its sessions break, and its entry stays in the discovery.
    pub(crate) async fn kill_one(&mut self) {
        if let Some((server, dht)) = self.servers.pop() {
            dht.shutdown().await;
            drop(server);
        }
    }

    /// Stops all servers and the discovery.
    pub(crate) async fn stop(mut self) {
        while !self.servers.is_empty() {
            self.kill_one().await;
        }
        self.discovery.stop().await;
    }
}

/// Starts a discovery, `servers` DMSG servers and `count` nodes over them, and waits until all are
/// ready. The nodes' keys and randomness are derived from `seed`. `progress` is called with the
/// number of ready nodes.
pub(super) async fn start(
    servers: usize,
    count: usize,
    seed: u64,
    config: &Config,
    progress: impl Fn(usize),
) -> Result<(Vec<Dht>, Relays)> {
    enough_files(descriptors::raise(), servers, count)?;
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let discovery =
        DiscoveryService::start(loopback, true, OfferedServices::default(), None).await?;
    let url = discovery.url().parse();
    let dmsg = DmsgSettings {
        discovery: Some(url.map_err(|error| Failure::new(Code::Local, error))?),
        sessions_count: servers,
        max_sessions: count + servers,
        ..DmsgSettings::default()
    };
    let node = |index: usize, config: Config| Node {
        config,
        secret: secret(seed, index),
        from: Vec::new(),
        seed: Some(draws(seed, index)),
        options: StartOptions::default(),
        close_sessions: false,
        stays: true,
        directory: Directory::new(&dmsg),
        carrier: Carrier::default(),
    };
    let mut relays = Relays {
        discovery,
        servers: Vec::new(),
    };
    for index in 0..servers {
        let mut config = config.clone();
        config.full_node = true;
        // The servers' keys follow those of the visors.
        let starting = start_server(&dmsg, loopback, node(count + index, config));
        relays.servers.push(starting.await?);
    }
    let mut nodes: Vec<(usize, Dht)> = Vec::new();
    let mut starting = JoinSet::new();
    for index in 0..count {
        if starting.len() >= CONCURRENCY {
            nodes.extend(started(&mut starting).await?);
        }
        let (dmsg, node) = (dmsg.clone(), node(index, config.clone()));
        starting.spawn(async move { (index, start_client(&dmsg, node).await) });
    }
    while !starting.is_empty() {
        nodes.extend(started(&mut starting).await?);
    }
    nodes.sort_by_key(|(index, _)| *index);
    let nodes: Vec<Dht> = nodes.into_iter().map(|(_, dht)| dht).collect();
    all_ready(&nodes, progress).await?;
    Ok((nodes, relays))
}

type Starting = JoinSet<(usize, Result<Dht>)>;

/// Waits for the next node to start.
async fn started(starting: &mut Starting) -> Result<Option<(usize, Dht)>> {
    match starting.join_next().await {
        None => Ok(None),
        Some(Ok((index, started))) => Ok(Some((index, started?))),
        Some(Err(error)) => Err(Failure::new(Code::Local, error)),
    }
}

/// Checks the limit of open files. A session takes one at both ends, between a visor and a server
/// as well as between two servers.
fn enough_files(limit: u64, servers: usize, count: usize) -> Result<()> {
    let (servers, count) = (servers as u64, count as u64);
    let wanted = 2 * servers * (count + servers) + REQUESTS + OTHER_FILES;
    if wanted <= limit {
        return Ok(());
    }
    let what = format!("a network of {count} nodes over {servers} DMSG servers");
    Err(descriptors::shortage(limit, wanted, &what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_open_files_are_refused() {
        assert!(enough_files(568, 2, 60).is_ok());
        let failure = enough_files(567, 2, 60).unwrap_err();
        assert!(failure.hint.unwrap().contains("ulimit -n 568"));
    }
}
