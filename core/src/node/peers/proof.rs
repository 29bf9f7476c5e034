//! Liveness checks of the routing table: peers that have been silent are pinged, so that none is
//! named to others or counted on old evidence, however idle the node is.
//!
//! The interval grows with the table, so the traffic of an idle node stays bounded: a peer is
//! pinged after [`PROVE_AFTER`] of silence, or after [`PACE`] times the size of the table if that
//! is longer. Calls of the peer count as signs of life too, so of two nodes that know each other
//! only one pings.

use core::time::Duration;

use smallvec::SmallVec;

use crate::id::NodeId;
use crate::node::context::Context;
use crate::node::counters::Counter;
use crate::node::ids::CallTag;
use crate::node::peers::Peers;
use crate::node::rpc::calls::Calls;
use crate::node::timers::Timer;
use crate::time::Mono;

/// Minimum silence after which a peer of the table is pinged.
pub const PROVE_AFTER: Duration = Duration::from_secs(2 * 60);
/// Silence per peer of the table after which a peer of a large table is pinged. A ping and its
/// answer take some 700 bytes.
pub const PACE: Duration = Duration::from_secs(2);
/// Time that a peer is still named to others after its ping is due, for the ping to be sent and to
/// fail.
pub const PROVE_GRACE: Duration = Duration::from_secs(30);
/// Peers due within this time are pinged together, so that an idle node rarely wakes.
const STEP: Duration = Duration::from_secs(10);
/// Maximum number of peers pinged per step.
const ASKED: usize = 16;

impl Peers {
    /// The silence after which a peer is pinged.
    fn prove_after(&self) -> Duration {
        let peers = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        PACE.saturating_mul(peers).max(PROVE_AFTER)
    }

    /// Maximum age of the last sign of life of a peer that is named to others and counted.
    pub(crate) fn proven_within(&self) -> Duration {
        self.prove_after().saturating_add(PROVE_GRACE)
    }

    /// The time since which a peer must have given a sign of life.
    pub(crate) fn proven_since(&self, now: Mono) -> Mono {
        now.minus(self.proven_within())
    }

    /// Schedules the check of a peer that entered the table.
    pub(crate) fn schedule_proof(&self, cx: &mut Context) {
        let at = cx.now.mono.plus(self.prove_after());
        cx.timers.set_earlier(Timer::Prove, at);
    }

    /// Pings the peers that have been silent longest, a bounded number at a time.
    pub(crate) fn prove(&mut self, cx: &mut Context, calls: &mut Calls) {
        let now = cx.now.mono;
        let after = self.prove_after();
        let silent_since = now.minus(after.saturating_sub(STEP));
        let due: SmallVec<[NodeId; ASKED]> = self
            .table
            .silent_since(silent_since)
            .filter(|contact| !self.store.has_call(&contact.key))
            .map(|contact| contact.id)
            .take(ASKED)
            .collect();
        for id in &due {
            if self.ping_contact(cx, calls, *id, CallTag::Proof) {
                cx.counters.count(Counter::ProofPings);
            }
        }
        let Some(silent) = self.table.longest_silent() else {
            return;
        };
        // The peers just pinged still count as silent, and many more may be due.
        let soon = now.plus(if due.len() == ASKED { STEP / 10 } else { STEP });
        let jitter = cx.random.proof.jitter(STEP / 2);
        let at = silent.plus(after).max(soon).plus(jitter);
        cx.timers.set(Timer::Prove, at);
    }
}
