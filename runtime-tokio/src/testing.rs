//! A network of real nodes on loopback, started with one call.

use std::ops::Deref;

use skydht_core::node::Config;
use skydht_driver::testing::Testnet as Nodes;
pub use skydht_driver::testing::TestnetError;

use crate::{TokioRuntime, entropy};

/// Nodes on loopback TCP that know each other. They stop when it is dropped. Dereferences to
/// [`skydht_driver::testing::Testnet`].
#[derive(Debug)]
pub struct Testnet(Nodes);

impl Testnet {
    /// Starts `n` nodes and waits until all are ready. A single node never becomes ready and is not
    /// waited for.
    ///
    /// # Errors
    /// If a node did not start.
    pub async fn new(n: usize) -> Result<Self, TestnetError> {
        Self::with(n, |_, _| ()).await
    }

    /// Starts nodes like [`Testnet::new`], after `configure` may have changed the configuration of
    /// each.
    ///
    /// # Errors
    /// As [`Testnet::new`].
    pub async fn with(
        n: usize,
        mut configure: impl FnMut(usize, &mut Config),
    ) -> Result<Self, TestnetError> {
        let configure = |index, node: &mut crate::TcpNode| configure(index, &mut node.config);
        let nodes = Nodes::start(TokioRuntime, n, entropy, configure).await?;
        Ok(Self(nodes))
    }
}

impl Deref for Testnet {
    type Target = Nodes;

    fn deref(&self) -> &Nodes {
        &self.0
    }
}
