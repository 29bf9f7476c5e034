//! What is planned for a moment of a run, on cores as well as on the whole program.

use std::time::Duration;

use super::storage::StorageFault;
use super::work::Task;
use crate::network::{HostId, Rate};

/// A planned fault, its end, or a user's step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Starts a host, with what its disk holds unless that is wiped first.
    Start {
        host: HostId,
        wipe: bool,
    },
    /// Ends a host without a word: its process, whose connections the kernel closes, or its
    /// machine.
    Crash {
        host: HostId,
        process: bool,
    },
    Suspend(HostId),
    Resume(HostId),
    /// Steps a host's wall clock.
    Step {
        host: HostId,
        by: Duration,
        forward: bool,
    },
    /// Lets a host's clocks run too fast or too slow from now on.
    Drift {
        host: HostId,
        ppm: i32,
    },
    /// Divides the network into two parts; `share` of the hosts are in the second.
    Cut {
        share: Rate,
        one_way: bool,
    },
    /// Ends every division.
    Join,
    /// Sets the wall clock of a host that never had the right time.
    SetClock(HostId),
    /// A fault of storage, or its end.
    Storage(StorageFault),
    /// A user's step on an item.
    User {
        item: usize,
        task: Task,
    },
    /// Checks the expensive invariants, and plans the next check.
    Check,
}
