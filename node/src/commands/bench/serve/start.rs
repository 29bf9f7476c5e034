//! Starts the measured processes and the connections that load them.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::json;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Addrs, BootstrapPeer, Config};
use skydht_driver::Dht;
use skydht_tokio::dmsg::client::{Client, ClientConfig};
use skydht_tokio::dmsg::discovery::{FixedServers, KnownServer};
use skydht_tokio::{
    DmsgNode, DmsgOptions, DmsgTransport, Start as _, TcpNode, TcpOptions, TcpTransport,
    TokioRuntime, Via,
};

use super::super::process::{Processors, Running};
use super::load::{Loader, Node, share};
use super::requests::Frames;
use crate::cli::{BenchServe, LoadTransport};
use crate::failure::{Code, Failure, Result};
use crate::{random_bytes, start};

/// Stream limit of the node, beyond twice the streams of the load.
const OTHER_STREAMS: u32 = 2_048;

/// The measured processes, which are killed when this is dropped.
pub(super) struct Measured {
    node: Running,
    relay: Option<(Running, Relay)>,
    addrs: Addrs,
}

/// What clients need to know of a relay, and its process id.
#[derive(Clone)]
pub(super) struct Relay {
    key: PublicKey,
    address: SocketAddr,
    pub(super) process: u32,
}

/// What is measured: where the load connects, and the process ids.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) node: Node,
    pub(super) node_process: u32,
    pub(super) relay: Option<Relay>,
}

impl Measured {
    pub(super) fn target(&self) -> Target {
        Target {
            node: Node {
                key: self.node.about.key,
                addrs: self.addrs.clone(),
            },
            node_process: self.node.process.id(),
            relay: self.relay.as_ref().map(|(_, relay)| relay.clone()),
        }
    }
}

/// Starts the node, and a relay if the load is to pass through one.
pub(super) async fn start_measured(
    dir: &Path,
    args: &BenchServe,
    for_node: &Processors,
    for_others: &Processors,
) -> Result<Measured> {
    let relay = match args.transport {
        LoadTransport::Tcp => None,
        LoadTransport::Dmsg => Some(start_relay(&dir.join("relay"), for_others).await?),
    };
    let servers = relay.as_ref().map(|(_, relay)| {
        let Relay { key, address, .. } = relay;
        json!({ "servers": [format!("{key}@{address}")] })
    });
    let streams = u32::from(args.connections) * u32::from(args.in_flight);
    let mut config = json!({
        "full_node": true,
        // Quotas are not measured.
        "limits": {
            "items_per_publisher": 0,
            "items_per_peer": 0,
            "public_items": 0,
            "store_items": 0,
            "store_bytes": 0,
            "streams": 2 * streams + OTHER_STREAMS,
        },
    });
    if let Some(servers) = servers {
        config["dmsg"] = servers;
    }
    let file = dir.join("config.json");
    let local = |error| Failure::new(Code::Local, error);
    fs::write(&file, config.to_string()).map_err(local)?;
    let state = dir.join("node");
    let name = || Failure::new(Code::Local, "the temporary directory's name is no text");
    let file = file.to_str().ok_or_else(name)?;
    let mut words = vec!["run", "--config", file];
    if relay.is_none() {
        words.extend(["--listen", "127.0.0.1:0", "--advertise", "none"]);
    }
    let node = Running::start(&state, &words, for_node).await?;
    let addrs = match relay {
        Some(_) => Addrs::new(),
        None => [address(&node.about.listen)?].into_iter().collect(),
    };
    Ok(Measured { node, relay, addrs })
}

async fn start_relay(dir: &Path, processors: &Processors) -> Result<(Running, Relay)> {
    let words = ["dmsg-server", "--listen", "127.0.0.1:0"];
    let running = Running::start(dir, &words, processors).await?;
    let at = running.about.dmsg_server.as_deref().unwrap_or_default();
    let relay = Relay {
        key: running.about.key,
        address: address(at)?,
        process: running.process.id(),
    };
    Ok((running, relay))
}

fn address(text: &str) -> Result<SocketAddr> {
    let wrong = || Failure::new(Code::Local, format_args!("{text:?} is no address to dial"));
    let at = text.rsplit('@').next().unwrap_or_default();
    at.parse().map_err(|_| wrong())
}

/// Derives the key of a loader or a peer from its number.
fn secret(seed: u64, what: u8, number: usize) -> SecretKey {
    let mut entropy = [what; 32];
    entropy[..8].copy_from_slice(&seed.to_be_bytes());
    entropy[8..16].copy_from_slice(&(number as u64).to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

const LOADER: u8 = b'l';
const PEER: u8 = b'p';

fn frames(args: &BenchServe, secret: &SecretKey, number: usize) -> Frames {
    let items = share(args.items, number, usize::from(args.connections)).max(1);
    Frames::new(secret, args.seed, items, args.value_bytes as usize)
}

/// Starts connections and peers over TCP.
pub(super) async fn tcp_load(
    args: &BenchServe,
    target: &Target,
) -> Result<(Vec<Loader<TcpTransport<TokioRuntime>>>, Vec<Dht>)> {
    let mut peers = Vec::new();
    for number in 0..usize::from(args.peers) {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut peer = TcpNode::new(secret(args.seed, PEER, number), Some(loopback));
        peer.config = bootstrapped_from(&target.node);
        peers.push(start::start_node(peer).await?);
    }
    all_ready(&peers).await?;
    let mut loaders = Vec::new();
    for number in 0..usize::from(args.connections) {
        let secret = secret(args.seed, LOADER, number);
        let options = TcpOptions::default();
        let starting = TcpTransport::start(TokioRuntime, secret.clone(), random_bytes()?, options);
        let transport = starting
            .await
            .map_err(|error| Failure::new(Code::Local, error))?;
        let frames = frames(args, &secret, number);
        loaders.push(Loader {
            secret,
            transport,
            frames,
        });
    }
    Ok((loaders, peers))
}

/// Starts connections and peers over the relay.
pub(super) async fn dmsg_load(
    args: &BenchServe,
    target: &Target,
    relay: &Relay,
) -> Result<(Vec<Loader<DmsgTransport<TokioRuntime>>>, Vec<Dht>)> {
    let client = |secret: &SecretKey| -> Result<Client<TokioRuntime>> {
        let Relay { key, address, .. } = *relay;
        let servers = FixedServers::new([KnownServer { key, address }]);
        let (secret, config) = (secret.clone(), ClientConfig::default());
        let entropy = random_bytes()?;
        Ok(Client::start(
            TokioRuntime,
            secret,
            entropy,
            servers,
            config,
        ))
    };
    let mut peers = Vec::new();
    for number in 0..usize::from(args.peers) {
        let secret = secret(args.seed, PEER, number);
        let mut peer = DmsgNode::new(secret.clone(), Via::Client(client(&secret)?));
        peer.config = bootstrapped_from(&target.node);
        let starting = peer.start().await;
        peers.push(starting.map_err(|error| Failure::new(Code::Local, error))?);
    }
    all_ready(&peers).await?;
    let mut loaders = Vec::new();
    for number in 0..usize::from(args.connections) {
        let secret = secret(args.seed, LOADER, number);
        let client = client(&secret)?;
        client.ready().await;
        let (via, options) = (Via::Client(client), DmsgOptions::default());
        let transport = DmsgTransport::new(TokioRuntime, via, options)
            .map_err(|code| Failure::new(Code::Local, code))?;
        let frames = frames(args, &secret, number);
        loaders.push(Loader {
            secret,
            transport,
            frames,
        });
    }
    Ok((loaders, peers))
}

/// Returns the configuration of a peer that bootstraps from the node.
fn bootstrapped_from(node: &Node) -> Config {
    let mut config = Config::default();
    config.bootstrap = vec![BootstrapPeer {
        key: node.key,
        addrs: node.addrs.to_vec(),
    }];
    config
}

/// Waits until every peer's bootstrap has succeeded.
async fn all_ready(peers: &[Dht]) -> Result<()> {
    for peer in peers {
        let ready = tokio::time::timeout(super::super::process::START_TIMEOUT, peer.ready());
        ready
            .await
            .map_err(|_| Failure::new(Code::Timeout, "the node's peers are not ready in time"))??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_key() {
        let expected = SocketAddr::from((Ipv4Addr::LOCALHOST, 7));
        for text in ["127.0.0.1:7", "02ab@127.0.0.1:7"] {
            assert_eq!(address(text).unwrap(), expected);
        }
        assert!(address("dmsg://02ab:100").is_err());
    }
}
