//! Interface of everything that takes part in a simulated network: a skydht node, the model of
//! upstream, a hostile peer.

use std::any::Any;

use skydht_core::Seed;
use skydht_core::key::PublicKey;
use skydht_core::node::{ConfigError, Input, Output};
use skydht_core::time::{Mono, Time};

/// A participant with a key that opens, accepts, reads and closes streams. It uses [`Input`] and
/// [`Output`] of the core, so a core [`Node`](skydht_core::Node) needs no adapter.
///
/// A host that is not a skydht node handles the stream inputs, [`Input::TimerFired`] and commands
/// (`Put`, `Get`, `FindNode`, `Shutdown`), and emits `OpenStream`, `Send`, `CloseStream`,
/// `Finished` and events. The same rules apply: ids of streams that it opens are even and new,
/// those of accepted streams are odd; a stream is closed or reset exactly once; each command ends
/// with one `Finished`. All times are those of the host's *own* clock, which the world may skew,
/// step or suspend.
pub trait Host: Any {
    /// The key that the host's transport proves.
    fn key(&self) -> PublicKey;

    /// Handles an input.
    fn handle(&mut self, now: Time, input: Input<'_>);

    /// Returns the next output. The world calls this until it returns `None` after each `handle`.
    fn poll_output(&mut self) -> Option<Output>;

    /// Time on the host's own clock at which it wants [`Input::TimerFired`].
    fn next_deadline(&self) -> Option<Mono>;
}

/// What a host gets when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Time on the host's clock.
    pub now: Time,
    /// Seed of the host's randomness, different in each life.
    pub seed: Seed,
    /// Number of the life, counted from 1.
    pub life: u32,
}

/// Creates a host each time it starts: first at the beginning, then after each stop or crash.
pub trait Boot {
    /// The key that the host's transport proves, the same in every life.
    fn key(&self) -> PublicKey;

    /// Starts the host.
    ///
    /// # Errors
    /// The configuration is invalid.
    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError>;
}
