//! A network of real nodes on loopback, in one call.

use std::ops::Deref;

use skydht_core::node::Config;
use skydht_driver::testing::Testnet as Nodes;
pub use skydht_driver::testing::TestnetError;

use crate::{TokioRuntime, entropy};

/// Nodes on loopback TCP that know each other; what can be done with them is in
/// [`skydht_driver::testing::Testnet`]. They stop when it is dropped.
#[derive(Debug)]
pub struct Testnet(Nodes);

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
