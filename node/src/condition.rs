//! What surrounds a node and decides, with its snapshot, how it is: whom it starts from, what
//! carries it, what its clock is worth, what happened lately.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use skydht_core::node::Snapshot;
use skydht_driver::transport::TransportStats;

use crate::bootstrap::Bootstrap;
use crate::clock::Clock;
use crate::derived::Derived;
use crate::dmsg::Carrier;
use crate::lapsed::Lapsed;
use crate::mirror::Mirror;
use crate::recent::Recent;
use crate::report::FilesReport;
use crate::tasks::Tasks;
use crate::verify::Verified;
use crate::window::Window;

/// The surroundings of one node. Clones are the same ones.
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
    derived: Derived,
}

/// What became of the connections to peers.
#[derive(Default)]
struct Connections {
    open: usize,
    /// Since the start: closed because they were idle.
    idle_closed: u64,
    /// Whether the last ones ended otherwise, and there is none since.
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
    /// Of a node that starts now. On direct TCP there is no `carrier`.
    pub(crate) fn new(
        bootstrap: Bootstrap,
        carrier: Option<Carrier>,
        clock: Clock,
        lapsed: Lapsed,
        tasks: Tasks,
    ) -> Self {
        let derived = carrier.as_ref().map(Carrier::derived).unwrap_or_default();
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
            derived,
        }))
    }

    /// How long the node has been told to run.
    pub(crate) fn uptime(&self) -> Duration {
        self.0.begun.elapsed()
    }

    /// Whom it starts from.
    pub(crate) fn bootstrap(&self) -> &Bootstrap {
        &self.0.bootstrap
    }

    /// What carries it; none on direct TCP.
    pub(crate) fn carrier(&self) -> Option<&Carrier> {
        self.0.carrier.as_ref()
    }

    /// It mirrors services; the first to say so counts.
    pub(crate) fn mirrors(&self, mirror: Mirror) {
        let _ = self.0.mirror.set(mirror);
    }

    /// What it mirrors, if it does.
    pub(crate) fn mirror(&self) -> Option<&Mirror> {
        self.0.mirror.get()
    }

    /// What is derived from the records that it holds.
    pub(crate) fn derived(&self) -> &Derived {
        &self.0.derived
    }

    /// What time others say it is.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Items of an earlier run.
    pub(crate) fn lapsed(&self) -> &Lapsed {
        &self.0.lapsed
    }

    /// What it does by itself again and again.
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    /// What its users asked for last.
    pub(crate) fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// What was found when own items were last read back.
    pub(crate) fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// Whether all connections to peers were lost, rather than closed because they were idle, and
    /// there is none since.
    pub(crate) fn lost_connections(&self, stats: &TransportStats) -> bool {
        let connections = self.0.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        connections.observe(stats.sessions, stats.idle_closed)
    }

    /// The limit on open files left fewer connections than wanted; the first to say so counts.
    pub(crate) fn lacks_files(&self, files: FilesReport) {
        let _ = self.0.files.set(files);
    }

    /// What the limit on open files took away, if anything.
    pub(crate) fn files(&self) -> Option<&FilesReport> {
        self.0.files.get()
    }

    /// How often each limit was hit lately.
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
