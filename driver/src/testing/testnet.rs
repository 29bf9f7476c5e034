//! A network of nodes on TCP, started with one call.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use futures::future::join_all;
use skydht_core::key::SecretKey;
use skydht_core::node::BootstrapPeer;
use skydht_runtime::Runtime;

use crate::dht::{Dht, Stopped};
use crate::tcp_node::{StartTcpError, TcpNode};

/// Number of earlier nodes from which each node bootstraps.
const BOOTSTRAP_PEERS: usize = 3;

/// Why a test network did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestnetError {
    /// A node did not start.
    #[error(transparent)]
    Start(#[from] StartTcpError),
    /// A node stopped before it was ready.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Nodes on loopback TCP that know each other. They stop when it is dropped.
///
/// The runtime crates wrap it, as in `skydht_tokio::testing::Testnet::new(n)`; [`Testnet::start`]
/// also works in virtual time.
#[derive(Debug)]
pub struct Testnet(Vec<Dht>);

impl Testnet {
    /// Starts `n` nodes and waits until all are ready. A single node never becomes ready and is not
    /// waited for. `entropy` provides keys, seeds and the randomness of handshakes; `configure` may
    /// change each node's configuration.
    ///
    /// # Errors
    /// If a node did not start.
    pub async fn start<R: Runtime>(
        runtime: R,
        n: usize,
        mut entropy: impl FnMut() -> io::Result<[u8; 32]>,
        mut configure: impl FnMut(usize, &mut TcpNode),
    ) -> Result<Self, TestnetError> {
        let mut net = Self(Vec::with_capacity(n));
        for index in 0..n {
            let secret = SecretKey::from_entropy(&entropy().map_err(StartTcpError::Entropy)?);
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut node = TcpNode::new(secret, Some(loopback));
            // Bootstrap from the newest nodes, so that no single node has to answer all others.
            node.config.bootstrap = net.0.iter().rev().take(BOOTSTRAP_PEERS).map(at).collect();
            configure(index, &mut node);
            net.0
                .push(node.start_on(runtime.clone(), &mut entropy).await?);
        }
        if n > 1 {
            for node in &net.0 {
                node.ready().await?;
            }
        }
        Ok(net)
    }

    /// Returns the nodes, including stopped ones.
    #[must_use]
    pub fn nodes(&self) -> &[Dht] {
        &self.0
    }

    /// Returns a node of this network as a bootstrap peer.
    #[must_use]
    pub fn bootstrap(&self, index: usize) -> Option<BootstrapPeer> {
        self.0.get(index).map(at)
    }

    /// Shuts one node down and waits for it. Does nothing if there is no such node.
    pub async fn stop(&self, index: usize) {
        if let Some(node) = self.0.get(index) {
            node.shutdown().await;
        }
    }

    /// Shuts all nodes down and waits for them.
    pub async fn stop_all(&self) {
        join_all(self.0.iter().map(Dht::shutdown)).await;
    }
}

fn at(node: &Dht) -> BootstrapPeer {
    BootstrapPeer {
        key: node.key(),
        addrs: node.local_addr().into_iter().collect(),
    }
}
