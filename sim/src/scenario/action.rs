//! Actions planned for a moment of a run, with cores as well as with the whole program.

use std::time::Duration;

use super::storage::StorageFault;
use super::work::Task;
use crate::network::{HostId, Rate};

/// A planned fault, the end of one, or a user's action.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Starts a host. Its disk is wiped first if so planned.
    Start {
        host: HostId,
        wipe: bool,
    },
    /// Ends a host without a shutdown: its process, whose connections the kernel closes, or its
    /// machine.
    Crash {
        host: HostId,
        process: bool,
    },
    Suspend(HostId),
    Resume(HostId),
    /// Steps the wall clock of a host.
    Step {
        host: HostId,
        by: Duration,
        forward: bool,
    },
    /// Lets the clocks of a host run too fast or too slow from now on.
    Drift {
        host: HostId,
        ppm: i32,
    },
    /// Divides the network into two parts, with `share` of the hosts in the second.
    Cut {
        share: Rate,
        one_way: bool,
    },
    /// Ends every division.
    Join,
    /// Sets the wall clock of a host that never had the right time.
    SetClock(HostId),
    /// Starts or ends a fault of storage.
    Storage(StorageFault),
    /// A user's action on an item.
    User {
        item: usize,
        task: Task,
    },
    /// Checks the expensive invariants and plans the next check.
    Check,
}
