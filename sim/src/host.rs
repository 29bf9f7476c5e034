//! What can take part in a simulated network: a skydht node, upstream's model, a hostile peer.

use std::any::Any;

use skydht_core::Seed;
use skydht_core::key::PublicKey;
use skydht_core::node::{ConfigError, Input, Output};
use skydht_core::time::{Mono, Time};

/// Something with a key that opens, accepts, reads and closes streams. It speaks the core's
/// [`Input`] and [`Output`], so that a core [`Node`](skydht_core::Node) is a host as it is.
///
/// A host that is no skydht node takes the stream inputs, [`Input::TimerFired`] and commands
/// (`Put`, `Get`, `FindNode`, `Shutdown`), and emits `OpenStream`, `Send`, `CloseStream`,
/// `Finished` and events. It follows the same contract: its own streams are even and fresh,
/// accepted ones odd; a stream is closed or reset once; each command ends in one `Finished`.
/// Time is its *own* clock, which the world may skew, step or suspend.
pub trait Host: Any {
    /// The key that its transport proves.
    fn key(&self) -> PublicKey;

    /// Something happened.
    fn handle(&mut self, now: Time, input: Input<'_>);

    /// The next thing that it wants done; drained until none after each `handle`.
    fn poll_output(&mut self) -> Option<Output>;

    /// When it wants [`Input::TimerFired`], on its own clock.
    fn next_deadline(&self) -> Option<Mono>;
}

/// What a host is told when it starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its clock.
    pub now: Time,
    /// Where its randomness comes from; another in each life.
    pub seed: Seed,
    /// 1 for the first time, then counting.
    pub life: u32,
}

/// Makes a host each time it starts: at first, and after a stop or a crash.
pub trait Boot {
    /// The key that the host's transport proves, the same in every life.
    fn key(&self) -> PublicKey;

    /// Starts it.
    ///
    /// # Errors
    /// A configuration that cannot be.
    fn boot(&mut self, start: Start) -> Result<Box<dyn Host>, ConfigError>;
}
