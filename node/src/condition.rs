//! State around a node that, with its snapshot, determines its status: bootstrap peers, DMSG,
//! clock, and recent history.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use skydht_core::node::Snapshot;
use skydht_driver::transport::TransportStats;

use crate::bootstrap::Bootstrap;
use crate::clock::Clock;
use crate::dmsg::Carrier;
use crate::lapsed::Lapsed;
use crate::mirror::Mirror;
use crate::recent::Recent;
use crate::record_index::RecordIndex;
use crate::report::FilesReport;
use crate::tasks::Tasks;
use crate::verify::Verified;
use crate::window::Window;

/// The surroundings of one node. Clones share their state.
#[derive(Clone)]
pub(crate) struct Condition(Arc<Inner>);

struct Inner {
    begun: Instant,
    bootstrap: Bootstrap,
    carrier: Option<Carrier>,
    clock: Clock,
    lapsed: Lapsed,
    hits: Mutex<Window>,
    connections: Mutex<Connections>,
    files: OnceLock<FilesReport>,
    verified: Verified,
    tasks: Tasks,
    recent: Recent,
    mirror: OnceLock<Mirror>,
    record_index: RecordIndex,
}

/// History of the number of sessions.
#[derive(Default)]
struct Connections {
    open: usize,
    /// Sessions closed because they were idle, since the start.
    idle_closed: u64,
    /// Whether the number of sessions became 0 for another reason than idleness, and is still 0.
    are_lost: bool,
}

impl Connections {
    fn observe(&mut self, open: usize, idle_closed: u64) -> bool {
        let idle = idle_closed.saturating_sub(self.idle_closed);
        self.are_lost = match (self.open, open) {
            (_, 1..) => false,
            (0, 0) => self.are_lost,
            (before, 0) => idle < before as u64,
        };
        (self.open, self.idle_closed) = (open, idle_closed);
        self.are_lost
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new(
            Bootstrap::default(),
            None,
            Clock::default(),
            Lapsed::default(),
            Tasks::default(),
        )
    }
}

impl Condition {
    /// Creates the surroundings of a node that starts now. `carrier` is `None` on direct TCP.
    pub(crate) fn new(
        bootstrap: Bootstrap,
        carrier: Option<Carrier>,
        clock: Clock,
        lapsed: Lapsed,
        tasks: Tasks,
    ) -> Self {
        let record_index = carrier
            .as_ref()
            .map(Carrier::record_index)
            .unwrap_or_default();
        Self(Arc::new(Inner {
            begun: Instant::now(),
            bootstrap,
            carrier,
            clock,
            lapsed,
            hits: Mutex::default(),
            connections: Mutex::default(),
            files: OnceLock::new(),
            verified: Verified::default(),
            tasks,
            recent: Recent::default(),
            mirror: OnceLock::new(),
            record_index,
        }))
    }

    /// Returns the time since the start of the process.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// Returns the configured bootstrap peers.
    pub(crate) fn bootstrap(&self) -> &Bootstrap {
        &self.0.bootstrap
    }

    /// Returns the DMSG connection; `None` on direct TCP.
    pub(crate) fn carrier(&self) -> Option<&Carrier> {
        self.0.carrier.as_ref()
    }

    /// Sets the services that the node mirrors; only the first call has an effect.
    pub(crate) fn mirrors(&self, mirror: Mirror) {
        let _ = self.0.mirror.set(mirror);
    }

    /// Returns the services that the node mirrors.
    pub(crate) fn mirror(&self) -> Option<&Mirror> {
        self.0.mirror.get()
    }

    /// Returns the index of the records that the node stores.
    pub(crate) fn record_index(&self) -> &RecordIndex {
        &self.0.record_index
    }

    /// Returns the estimate of the clock's offset.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Returns the items of an earlier run that are not renewed yet.
    pub(crate) fn lapsed(&self) -> &Lapsed {
        &self.0.lapsed
    }

    /// Returns the periodic tasks.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// Returns the latest operations of users.
    pub(crate) fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// Returns the results of the latest verification of own items.
    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// Returns whether all connections to peers were lost for another reason than idleness, and
    /// none has been established since.
    pub(crate) fn lost_connections(&self, stats: &TransportStats) -> bool {
        let connections = self.0.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        connections.observe(stats.sessions, stats.idle_closed)
    }

    /// Notes that the limit of open files allows fewer connections than configured; only the first
    /// call has an effect.
    pub(crate) fn lacks_files(&self, files: FilesReport) {
        let _ = self.0.files.set(files);
    }

    /// Returns the effect of the limit of open files, if it is too low.
    pub(crate) fn files(&self) -> Option<&FilesReport> {
        self.0.files.get()
    }

    /// Returns how often each limit was hit recently.
    pub(crate) fn recent_hits(&self, snapshot: &Snapshot) -> Vec<u64> {
        let counts: Vec<u64> = snapshot.limits.iter().map(|limit| limit.hits).collect();
        let mut hits = self.0.hits.lock().unwrap_or_else(PoisonError::into_inner);
        hits.observe(self.0.begun.elapsed(), &counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_idle_away_are_not_lost_and_others_are_until_there_are_some() {
        let mut connections = Connections::default();
        for (open, idle_closed, lost) in [
            (0, 0, false),
            (9, 0, false),
            (0, 9, false),
            (9, 9, false),
            (1, 10, false),
            (0, 10, true),
            (0, 10, true),
            (1, 10, false),
            (3, 10, false),
            (0, 12, true),
        ] {
            assert_eq!(
                connections.observe(open, idle_closed),
                lost,
                "{open} {idle_closed}"
            );
        }
    }
}
