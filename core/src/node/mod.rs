//! The node: one door in, one door out.
mod config;
mod counters;
mod input;
mod limits;
mod outcome;
mod output;
mod snapshot;
mod verify;
pub use config::*;
pub use counters::*;
pub use input::*;
pub use limits::*;
pub use outcome::*;
pub use output::*;
pub use snapshot::*;
pub use verify::*;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::key::PublicKey;
use crate::random::Seed;
use crate::time::Time;

/// The DHT as a state machine. After every [`Node::handle`], drain [`Node::poll_output`]
/// until it is empty, then sleep until [`Node::next_deadline`].
#[allow(dead_code, reason = "grows in the next commits")]
pub struct Node {
    config: Config,
    identity: Identity,
    public: PublicKey,
    seed: Seed,
    now: Time,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Node {
    /// A node at `now`. It does nothing before the first [`Node::handle`].
    ///
    /// # Errors
    /// A field of `config` that cannot be.
    pub fn new(
        config: Config,
        identity: Identity,
        seed: Seed,
        now: Time,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        let public = identity.public();
        Ok(Self {
            config,
            identity,
            public,
            seed,
            now,
            outputs: VecDeque::new(),
            counters: Counters::default(),
        })
    }

    /// Takes one input.
    ///
    /// # Errors
    /// Only when the driver broke the contract.
    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Result<(), Misuse> {
        self.now = now;
        if let Input::Command { op, .. } = input {
            self.counters.count(Counter::Operations);
            let outcome = Outcome::FindNode(Err(OperationError::NoPeers));
            self.outputs.push_back(Output::Finished { op, outcome });
        }
        Ok(())
    }

    /// The next thing to do. Drain until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send [`Input::TimerFired`]; none while nothing is due ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Deadline> {
        None
    }

    /// The node's public key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    /// Sizes, counts and limits.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            key: self.public,
            id: self.public.id(),
            ready: false,
            bootstrap_configured: self.config.bootstrap.len(),
            bootstrap_reachable: 0,
            peers: 0,
            network_size: 1,
            buckets: Vec::new(),
            store: crate::store::StoreFill::default(),
            own_items: 0,
            limits: Vec::new(),
            counters: self.counters.clone(),
        }
    }

    /// The peers in the routing table, nearest bucket first.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        Vec::new()
    }
}
