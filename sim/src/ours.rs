//! A skydht node as a host.

use std::sync::Arc;

use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Config, ConfigError, Identity, Input, Misuse, Output};
use skydht_core::time::{Mono, Time};
use skydht_core::{Node, Seed};

use crate::hostile::Lies;

use crate::host::{Boot, Host, Start};

/// A core [`Node`] in a simulated world.
pub struct Ours {
    node: Node,
    lies: Option<Lies>,
    misuse: Option<Misuse>,
    /// Number of answers since the last input.
    answers: usize,
}

/// Maximum number of answers to peers after one input, because the work per `handle` is bounded.
const MOST_ANSWERS: usize = 40;

impl Ours {
    /// A node that starts at `now`.
    ///
    /// # Errors
    /// A field of `config` is invalid.
    pub fn new(
        config: Config,
        secret: SecretKey,
        seed: Seed,
        now: Time,
    ) -> Result<Self, ConfigError> {
        let node = Node::new(config, Identity::Keyed(secret), seed, now)?;
        Ok(Self {
            node,
            lies: None,
            misuse: None,
            answers: 0,
        })
    }

    /// The node itself.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Makes the node send invented data when it reconciles.
    fn lying(self, seed: Seed) -> Self {
        let lies = Some(Lies::new(seed));
        Self { lies, ..self }
    }

    /// The first violation of the node's contract. `None` unless the simulated world is faulty.
    #[must_use]
    pub fn misuse(&self) -> Option<Misuse> {
        self.misuse
    }
}

impl Host for Ours {
    fn key(&self) -> PublicKey {
        self.node.public_key()
    }

    fn handle(&mut self, now: Time, input: Input<'_>) {
        self.answers = 0;
        if let Err(misuse) = self.node.handle(now, input) {
            debug_assert!(false, "{misuse}");
            self.misuse.get_or_insert(misuse);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        let mut output = self.node.poll_output();
        if let (Some(lies), Some(Output::Send { stream, bytes })) = (&mut self.lies, &mut output) {
            lies.twist(stream.is_ours(), bytes);
        }
        if let Some(Output::Send { stream, .. }) = &output
            && !stream.is_ours()
        {
            self.answers += 1;
            let answers = self.answers;
            assert!(answers <= MOST_ANSWERS, "{answers} answers in one handle");
        }
        output
    }

    fn next_deadline(&self) -> Option<Mono> {
        self.node.next_deadline().map(|deadline| deadline.at)
    }
}

/// How a node of ours starts, each time. Several nodes may share the configuration.
#[derive(Clone)]
pub struct OurNode {
    /// Configuration of the node.
    pub config: Arc<Config>,
    /// Identity of the node.
    pub secret: SecretKey,
    /// Whether the node sends invented data when it reconciles with others.
    pub lies: bool,
}

impl Boot for OurNode {
    fn key(&self) -> PublicKey {
        self.secret.public()
    }

    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError> {
        let config = Config::clone(&self.config);
        let ours = Ours::new(config, self.secret.clone(), start.seed, start.now)?;
        Ok(Box::new(match self.lies {
            true => ours.lying(start.seed),
            false => ours,
        }))
    }
}
