//! What the event loop counts.

/// What the loop counts; all since the start, except `streams` and `lingering`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct DriverStats {
    /// Streams now, those being opened and those being finished included.
    pub streams: usize,
    /// Streams that the node has closed and that are being flushed and finished.
    pub lingering: usize,
    /// Bytes that those had to send when they began to take their time.
    pub lingering_bytes: usize,
    /// Bytes of the node's frames that no stream has taken yet.
    pub unsent_bytes: usize,
    /// Operations whose callers have not been answered.
    pub operations: usize,
    /// Signatures that wait for their check, or whose verdicts wait for the node.
    pub verifying: usize,
    /// Address probes under way.
    pub probes: usize,
    /// Streams cut while being finished, because the peer took too long or there were too many.
    pub lingering_cut: u64,
    /// Inputs that the node called a misuse of its contract. Anything but 0 is a bug here.
    pub misuse: u64,
}
