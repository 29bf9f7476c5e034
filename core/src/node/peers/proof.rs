//! Who of the table still lives: peers that are silent for long are asked, so that no peer is
//! handed out or counted on old evidence, however idle the node is.
//!
//! The pace is by the size of the table, so that an idle node's traffic stays bounded: a peer is
//! asked after [`PROVE_AFTER`], or after [`PACE`] for each peer of the table where that is more.
//! A call of the peer's own counts as well, so that of two nodes that know each other one asks.

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

/// A peer of a small table is asked for a sign of life when it is silent for this long.
pub const PROVE_AFTER: Duration = Duration::from_secs(2 * 60);
/// In larger tables: for so long for each peer. A ping and its answer take some 700 bytes.
pub const PACE: Duration = Duration::from_secs(2);
/// Between the question and its failure, waking in steps included, a peer is still handed out.
pub const PROVE_GRACE: Duration = Duration::from_secs(30);
/// Peers due within this are asked together: an idle node wakes seldom.
const STEP: Duration = Duration::from_secs(10);
/// Peers asked at one waking.
const ASKED: usize = 16;

impl Peers {
    /// After this much silence a peer is asked.
    fn prove_after(&self) -> Duration {
        let peers = u32::try_from(self.table.len()).unwrap_or(u32::MAX);
        PACE.saturating_mul(peers).max(PROVE_AFTER)
    }

    /// How old a sign of life may be for its peer to be handed out and counted.
    pub(crate) fn proven_within(&self) -> Duration {
        self.prove_after().saturating_add(PROVE_GRACE)
    }

    /// The moment since when a peer must have given a sign of life.
    pub(crate) fn proven_since(&self, now: Mono) -> Mono {
        now.minus(self.proven_within())
    }

    /// A peer entered the table: some time it has to be asked.
    pub(crate) fn schedule_proof(&self, cx: &mut Context) {
        let at = cx.now.mono.plus(self.prove_after());
        cx.timers.set_earlier(Timer::Prove, at);
    }

    /// Asks the peers that are silent for longest, a bounded number at a time.
    pub(crate) fn prove(&mut self, cx: &mut Context, calls: &mut Calls) {
        let now = cx.now.mono;
        let after = self.prove_after();
        let silent_since = now.minus(after.saturating_sub(STEP));
        let due: SmallVec<[NodeId; ASKED]> = self
            .table
            .silent_since(silent_since)
            .filter(|contact| !self.store.is_asked(&contact.key))
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
        // Those just asked are silent still; many more may be due.
        let soon = now.plus(if due.len() == ASKED { STEP / 10 } else { STEP });
        let jitter = cx.random.proof.jitter(STEP / 2);
        let at = silent.plus(after).max(soon).plus(jitter);
        cx.timers.set(Timer::Prove, at);
    }
}
