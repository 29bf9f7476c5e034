//! What is remembered of those who send requests: who was useful, and who wasted work.

use core::time::Duration;

use crate::key::PublicKey;
use crate::node::Node;
use crate::node::counters::Counter;
use crate::node::lru_map::LruMap;
use crate::node::output::{CloseReason, Event};
use crate::node::rpc::fair_queue::Lane;
use crate::time::Mono;

/// A caller counts as known for this long after a request of its was answered and the answer
/// taken.
const KNOWN_FOR: Duration = Duration::from_secs(10 * 60);
/// Bytes' worth of wasted work after which a caller's requests wait behind everybody else's.
const SLOWED_ABOVE: u64 = 256 * 1024;
/// Bytes' worth of wasted work after which a caller is cut off.
const CUT_ABOVE: u64 = 8 * 1024 * 1024;
/// Bytes' worth of wasted work forgiven each second.
const FORGIVEN: u64 = 64 * 1024;
/// How long a caller that was cut off is refused.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Wasted work of one message that does not decode, beside its bytes.
pub(crate) const JUNK_COST: u64 = 1024;
/// Wasted work of one invalid signature: what decoding so many bytes costs.
pub(crate) const FORGERY_COST: u64 = 64 * 1024;

/// One caller.
#[derive(Default)]
pub(crate) struct Caller {
    /// Wasted work at `counted`, in bytes.
    wasted: u64,
    counted: Mono,
    /// When it last took an answer.
    answered: Option<Mono>,
    refused_until: Mono,
}

impl Caller {
    fn wasted(&self, now: Mono) -> u64 {
        let forgiven = now.since(self.counted).as_millis() * u128::from(FORGIVEN) / 1_000;
        let forgiven = u64::try_from(forgiven).unwrap_or(u64::MAX);
        self.wasted.saturating_sub(forgiven)
    }
}

/// All callers, the least recently seen forgotten first.
pub(crate) type Callers = LruMap<Caller>;

impl Node {
    /// Whether a peer is served at present; it is not for a while after it wasted much work.
    pub(crate) fn is_refused(&self, peer: &PublicKey) -> bool {
        let caller = self.callers.get(peer);
        caller.is_some_and(|caller| caller.refused_until > self.cx.now.mono)
    }

    /// Whether a peer is one of those who keep a share when room is short: in the routing
    /// table, or served to the end lately.
    pub(crate) fn is_known(&self, peer: &PublicKey) -> bool {
        let answered = self.callers.get(peer).and_then(|caller| caller.answered);
        answered.is_some_and(|at| self.cx.now.mono.since(at) < KNOWN_FOR)
            || self.table.get(&peer.id()).is_some()
    }

    /// Where the requests of a peer wait.
    pub(crate) fn lane(&self, peer: &PublicKey) -> Lane {
        let caller = self.callers.get(peer);
        if caller.is_some_and(|caller| caller.wasted(self.cx.now.mono) > SLOWED_ABOVE) {
            Lane::Penalised
        } else if self.is_known(peer) {
            Lane::Known
        } else {
            Lane::New
        }
    }

    /// A peer took its answer.
    pub(crate) fn note_answered(&mut self, peer: &PublicKey) {
        let now = self.cx.now.mono;
        self.callers.get_or_default(peer, now).answered = Some(now);
    }

    /// A peer made this node work for nothing. One that goes on is cut off for a while.
    pub(crate) fn note_waste(&mut self, peer: &PublicKey, bytes: u64) {
        let now = self.cx.now.mono;
        let caller = self.callers.get_or_default(peer, now);
        caller.wasted = caller.wasted(now).saturating_add(bytes);
        caller.counted = now;
        if caller.wasted <= CUT_ABOVE {
            if caller.wasted > SLOWED_ABOVE {
                self.backlog.set_lane(peer, Lane::Penalised);
                self.jobs.set_lane(peer, Lane::Penalised);
            }
            return;
        }
        caller.wasted = 0;
        caller.answered = None;
        let until = now.plus(REFUSED_FOR);
        caller.refused_until = until;
        self.cx.counters.count(Counter::CallersCut);
        for stream in self.streams.inbound_of(peer) {
            self.close(stream, CloseReason::Protocol);
        }
        let peer = *peer;
        self.cx.event(Event::PeerRefused { peer, until });
    }
}
