//! Nodes of one runtime on loopback, over TCP or over DMSG.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, Config};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::MemoryDiscovery;
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_runtime::Runtime;

use super::mute::MutePeer;
use crate::dht::Dht;
use crate::dmsg_node::DmsgNode;
use crate::tcp_node::TcpNode;
use crate::transport::dmsg::{DmsgOptions, DmsgTransport, Via};
use crate::transport::tcp::{TcpOptions, TcpTransport};

/// How the nodes of a test reach each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// Direct TCP.
    Tcp,
    /// DMSG, through one relay.
    Dmsg,
}

/// Returns 32 secret bytes.
pub(super) type Entropy = fn() -> io::Result<[u8; 32]>;

/// What the nodes need to reach each other.
enum Network<R: Runtime> {
    Tcp,
    Dmsg {
        discovery: MemoryDiscovery,
        _relay: Server<R>,
    },
}

pub(super) struct Nodes<R: Runtime> {
    runtime: R,
    entropy: Entropy,
    network: Network<R>,
    secrets: [SecretKey; 2],
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

impl<R: Runtime> Nodes<R> {
    pub(super) async fn new(runtime: R, entropy: Entropy, over: Over) -> Self {
        let network = match over {
            Over::Tcp => Network::Tcp,
            Over::Dmsg => {
                let discovery = MemoryDiscovery::new(runtime.clone());
                let relay = Server::start(
                    runtime.clone(),
                    secret(entropy),
                    draw(entropy),
                    discovery.clone(),
                    ServerConfig::new(loopback()),
                );
                let relay = relay.await.expect("loopback is free");
                relay.ready().await;
                Network::Dmsg {
                    discovery,
                    _relay: relay,
                }
            }
        };
        Self {
            runtime,
            entropy,
            network,
            secrets: [secret(entropy), secret(entropy)],
        }
    }

    fn client(&self, secret: &SecretKey, discovery: &MemoryDiscovery) -> Client<R> {
        Client::start(
            self.runtime.clone(),
            secret.clone(),
            draw(self.entropy),
            discovery.clone(),
            ClientConfig::default(),
        )
    }

    /// Starts the node with one of the two keys, at `listen` if that is given.
    pub(super) async fn start(
        &self,
        index: usize,
        listen: Option<SocketAddr>,
        configure: impl FnOnce(&mut Config),
    ) -> Dht {
        let secret = self.secrets[index].clone();
        match &self.network {
            Network::Tcp => {
                let mut node = TcpNode::new(secret, Some(listen.unwrap_or_else(loopback)));
                configure(&mut node.config);
                let started = node.start_on(self.runtime.clone(), self.entropy).await;
                started.expect("the address is free")
            }
            Network::Dmsg { discovery, .. } => {
                let client = self.client(&secret, discovery);
                let mut node = DmsgNode::new(secret, Via::Client(client));
                node.dmsg.close_sessions = true;
                configure(&mut node.config);
                let started = node.start_on(self.runtime.clone(), self.entropy).await;
                started.expect("the port is free")
            }
        }
    }

    /// Starts two nodes, the second from the first, and waits until both are ready.
    pub(super) async fn two(&self) -> (Dht, Dht) {
        let first = self.start(0, None, |_| ()).await;
        let addr = first.local_addr();
        let from = peer(first.key(), addr);
        let second = self
            .start(1, None, |config| config.bootstrap = vec![from])
            .await;
        first.ready().await.expect("it runs");
        second.ready().await.expect("it runs");
        (first, second)
    }

    /// Starts a peer that answers pings and nothing else.
    pub(super) async fn mute(&self) -> MutePeer {
        let secret = self.secrets[0].clone();
        let runtime = self.runtime.clone();
        match &self.network {
            Network::Tcp => {
                let options = TcpOptions {
                    listen: Some(loopback()),
                    ..TcpOptions::default()
                };
                let entropy = draw(self.entropy);
                let transport = TcpTransport::start(runtime.clone(), secret, entropy, options);
                MutePeer::new(&runtime, transport.await.expect("loopback is free"))
            }
            Network::Dmsg { discovery, .. } => {
                let client = self.client(&secret, discovery);
                client.ready().await;
                let via = Via::Client(client);
                let transport = DmsgTransport::new(runtime.clone(), via, DmsgOptions::default());
                MutePeer::new(&runtime, transport.expect("the port is free"))
            }
        }
    }

    /// Starts a node that knows the mute peer.
    pub(super) async fn starting_from(
        &self,
        mute: &MutePeer,
        configure: impl FnOnce(&mut Config),
    ) -> Dht {
        let node = self.start(1, None, |config| {
            config.bootstrap = vec![peer(mute.key, mute.addr)];
            configure(config);
        });
        let node = node.await;
        let pong = node.ping(mute.key, mute.addr).await;
        pong.expect("it answers pings");
        node
    }
}

pub(super) fn peer(key: PublicKey, addr: Option<SocketAddr>) -> BootstrapPeer {
    let addrs = addr.into_iter().collect();
    BootstrapPeer { key, addrs }
}

fn draw(entropy: Entropy) -> [u8; 32] {
    entropy().expect("the system gives randomness")
}

fn secret(entropy: Entropy) -> SecretKey {
    SecretKey::from_entropy(&draw(entropy))
}
