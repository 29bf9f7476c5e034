//! A network of real nodes on loopback, in one call.

use std::net::{Ipv4Addr, SocketAddr};

use skydht_core::key::SecretKey;
use skydht_core::node::{BootstrapPeer, Config};
use skydht_driver::{Dht, Stopped};

use crate::{StartTcpError, TcpNode, entropy, start_tcp};

/// How many earlier nodes each node starts from.
const BOOTSTRAP_PEERS: usize = 3;

/// Why a test network did not come up.
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
pub struct Testnet(Vec<Dht>);

impl Testnet {
    /// Starts `n` nodes and waits until all are ready; one alone is never ready, and is not
    /// waited for.
    ///
    /// # Errors
    /// A node did not start.
    pub async fn new(n: usize) -> Result<Self, TestnetError> {
        Self::with(n, |_, _| ()).await
    }

    /// As [`Testnet::new`]; `configure` may change what each node is told.
    ///
    /// # Errors
    /// As [`Testnet::new`].
    pub async fn with(
        n: usize,
        mut configure: impl FnMut(usize, &mut Config),
    ) -> Result<Self, TestnetError> {
        let mut net = Self(Vec::with_capacity(n));
        for index in 0..n {
            let random = entropy().map_err(StartTcpError::Entropy)?;
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let mut node = TcpNode::new(SecretKey::from_entropy(&random), Some(loopback));
            // The newest nodes, so that no single one has to answer all the others.
            node.config.bootstrap = net.0.iter().rev().take(BOOTSTRAP_PEERS).map(at).collect();
            configure(index, &mut node.config);
            net.0.push(start_tcp(node).await?);
        }
        if n > 1 {
            for node in &net.0 {
                node.ready().await?;
            }
        }
        Ok(net)
    }

    /// The nodes, stopped ones too.
    #[must_use]
    pub fn nodes(&self) -> &[Dht] {
        &self.0
    }

    /// How to start from a node of this network.
    #[must_use]
    pub fn bootstrap(&self, index: usize) -> Option<BootstrapPeer> {
        self.0.get(index).map(at)
    }

    /// Shuts one node down and waits for it. An index beyond the last does nothing.
    pub async fn stop(&self, index: usize) {
        if let Some(node) = self.0.get(index) {
            node.shutdown().await;
        }
    }

    /// Shuts all nodes down and waits for them.
    pub async fn stop_all(&self) {
        for node in &self.0 {
            node.shutdown().await;
        }
    }
}

fn at(node: &Dht) -> BootstrapPeer {
    BootstrapPeer {
        key: node.key(),
        addrs: node.local_addr().into_iter().collect(),
    }
}
