//! Counters of the event loop.

/// Counters of the event loop, all since its start, except the first seven fields, which are
/// current.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DriverStats {
    /// Streams that exist now, those being opened or finished included.
    pub streams: usize,
    /// Streams that the node has closed and that are still being flushed and finished.
    pub lingering: usize,
    /// Bytes that the lingering streams had to send when they started to linger.
    pub lingering_bytes: usize,
    /// Bytes of the node's frames that no stream has accepted yet.
    pub unsent_bytes: usize,
    /// Operations whose callers have not been answered yet.
    pub operations: usize,
    /// Signatures waiting to be verified, and verdicts waiting for the node.
    pub verifying: usize,
    /// Address probes in progress.
    pub probes: usize,
    /// Streams reset while being finished, because the peer took too long or there were too many.
    pub lingering_cut: u64,
    /// Inputs that the node reported as a misuse of its contract. Anything but 0 is a bug of this
    /// crate.
    pub misuse: u64,
}
