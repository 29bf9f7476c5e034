//! What surrounds a node and decides, with its snapshot, how it is: whom it starts from, what
//! carries it, what its clock is worth, what happened lately.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skydht_core::node::Snapshot;

use crate::bootstrap::Bootstrap;
use crate::clock::Clock;
use crate::dmsg::Carrier;
use crate::lapsed::Lapsed;
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
}

impl Default for Condition {
    fn default() -> Self {
        Self::new(
            Bootstrap::default(),
            None,
            Clock::default(),
            Lapsed::default(),
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
    ) -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            bootstrap,
            carrier,
            clock,
            lapsed,
            hits: Mutex::default(),
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

    /// What time others say it is.
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Items of an earlier run.
    pub(crate) fn lapsed(&self) -> &Lapsed {
        &self.0.lapsed
    }

    /// How often each limit was hit lately.
    pub(crate) fn recent_hits(&self, snapshot: &Snapshot) -> Vec<u64> {
        let counts: Vec<u64> = snapshot.limits.iter().map(|limit| limit.hits).collect();
        let mut hits = self.0.hits.lock().unwrap_or_else(PoisonError::into_inner);
        hits.observe(self.0.begun.elapsed(), &counts)
    }
}
