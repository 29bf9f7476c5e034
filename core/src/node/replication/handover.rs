//! Hand-over: a peer that enters the routing table among the k nearest of items held here is offered
//! these, and given what it lacks: by the messages of reconciliation where it has our dialect, by
//! puts of what is young enough to an upstream peer.
//!
//! It is polite: only the few nodes that are nearest to an item hand it on, one newcomer and one
//! request at a time, so many items to each and no more. What is left out, owners' renewals and read
//! repair bring.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::key::PublicKey;
use crate::lookup::Candidate;
use crate::node::base::Base;
use crate::node::counters::Counter;
use crate::node::ids::CallTag;
use crate::node::peers::records::Dialect;
use crate::node::replication::offers::{ask, fitting};
use crate::node::rpc::calls::CallEnded;
use crate::node::timers::Timer;
use crate::routing::{Contact, Table};
use crate::sync::{Entries, MAX_IDS, Prefix, RequestPart, ResponsePart, Source, SyncResponse};
use crate::time::Mono;
use crate::wire::{Request, Response};

/// How long a peer has to be in the table before it is handed anything: those who come in a burst
/// shall know each other by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Newcomers that wait for their turn.
const MOST_WAITING: usize = 256;
/// So many nodes, the nearest to an item, hand it on.
const HANDERS: usize = 3;
/// Items offered to one newcomer.
const MOST_ITEMS: usize = 256;
/// Items put to one of upstream's, each a whole item.
const MOST_PUTS: usize = 8;
/// Entries looked at in one step, and for one newcomer.
const SCAN_STEP: usize = 256;
const MOST_SCANNED: usize = 8_192;

/// What is being handed to one newcomer.
struct Round {
    peer: PublicKey,
    id: NodeId,
    /// When it entered the table.
    entered: Mono,
    range: Prefix,
    /// Where to look on; none when everything has been looked at.
    from: Option<Target>,
    scanned: usize,
    /// Items that it should hold, to be offered.
    found: VecDeque<Target>,
    step: Step,
}

/// What a round waits for.
enum Step {
    Nothing,
    /// The answer to an offer of these.
    Offered(Vec<Target>),
    /// The answer to what was given.
    Given,
}

/// Newcomers, and what is being handed to one of them.
#[derive(Default)]
pub(crate) struct HandOver {
    /// With the time of their turn.
    waiting: VecDeque<(Mono, PublicKey)>,
    round: Option<Round>,
}

impl HandOver {
    /// How many newcomers wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes up who has entered the table.
    pub(crate) fn note(&mut self, base: &mut Base) {
        for peer in base.peers.take_newcomers() {
            if self.waiting.len() >= MOST_WAITING {
                base.cx.counters.count(Counter::HandoversSkipped);
                continue;
            }
            let at = base.cx.now.mono.plus(SETTLE);
            self.waiting.push_back((at, peer));
        }
        self.arm(base);
    }

    fn arm(&self, base: &mut Base) {
        if let (None, Some((at, _))) = (&self.round, self.waiting.front()) {
            base.cx.timers.set_earlier(Timer::HandOver, *at);
        }
    }

    /// Goes on with the newcomer whose turn it is.
    pub(crate) fn advance(&mut self, base: &mut Base) {
        if self.round.is_none() {
            self.round = self.next(base);
        }
        let Some(round) = &mut self.round else {
            return self.arm(base);
        };
        if !matches!(round.step, Step::Nothing) {
            return;
        }
        if round.from.is_some() {
            round.look(base);
            return base.cx.timers.set(Timer::HandOver, base.cx.now.mono);
        }
        if !round.offer(base) {
            self.end(base);
        }
    }

    /// The next newcomer that is still there, and whom this node may have to hand something.
    fn next(&mut self, base: &Base) -> Option<Round> {
        while let Some((at, peer)) = self.waiting.front().copied()
            && at <= base.cx.now.mono
        {
            self.waiting.pop_front();
            let id = peer.id();
            let contact = base.peers.table.get(&id);
            // Full nodes have sessions with each other.
            let has_session =
                base.cx.config.full_node && base.peers.store.full_nodes().contains(&peer);
            if contact.is_some_and(Contact::is_live) && !has_session && !base.loading.is_under_way()
            {
                let range = neighbourhood(&base.peers.table, &id, &base.cx.id);
                return Some(Round {
                    peer,
                    id,
                    entered: at.minus(SETTLE),
                    range,
                    from: Some(range.first()),
                    scanned: 0,
                    found: VecDeque::new(),
                    step: Step::Nothing,
                });
            }
        }
        None
    }

    /// A request of the round was answered, or not.
    pub(crate) fn call_ended(&mut self, base: &mut Base, ended: &CallEnded) {
        let Some(round) = &mut self.round else {
            return;
        };
        let goes_on = match (
            core::mem::replace(&mut round.step, Step::Nothing),
            &ended.result,
        ) {
            (Step::Offered(targets), Ok(message)) => match &message.response {
                Response::Reconcile { message } => round.give(base, &targets, message),
                _ => false,
            },
            (Step::Given, Ok(_)) => true,
            _ => false,
        };
        match goes_on {
            true => base.cx.timers.set(Timer::HandOver, base.cx.now.mono),
            false => self.end(base),
        }
    }

    fn end(&mut self, base: &mut Base) {
        self.round = None;
        self.arm(base);
    }
}

impl Round {
    /// Looks at the next entries.
    fn look(&mut self, base: &Base) {
        let Some(from) = self.from.take() else {
            return;
        };
        let view = base.items.store.sync_view(base.cx.now);
        let table = &base.peers.table;
        let (id, k) = (base.cx.id, base.cx.config.k);
        for (seen, (target, _)) in view.entries(from).enumerate() {
            let is_enough = self.found.len() == MOST_ITEMS || self.scanned == MOST_SCANNED;
            if is_enough || !self.range.contains(&target) {
                return;
            }
            if seen == SCAN_STEP {
                self.from = Some(target);
                return;
            }
            self.scanned += 1;
            if is_to_hand(table, k, &id, &self.id, &target) {
                self.found.push_back(target);
            }
        }
    }

    /// Offers the next items; returns whether any are.
    fn offer(&mut self, base: &mut Base) -> bool {
        if base.peers.store.dialect(&self.peer) != Dialect::Skydht {
            self.put(base);
            return false;
        }
        let view = base.items.store.sync_view(base.cx.now);
        let (mut stamps, mut offered) = (Vec::new(), Vec::new());
        while offered.len() < MAX_IDS
            && let Some(target) = self.found.pop_front()
        {
            let entry = view.entries(target).next();
            if let Some((_, version)) = entry.filter(|(held, _)| *held == target) {
                stamps.push(version.stamp(&target));
                offered.push(target);
            }
        }
        let parts = Vec::from([RequestPart::Offer(stamps)]);
        if offered.is_empty() || !ask(base, self.peer, parts, CallTag::HandOver) {
            return false;
        }
        self.step = Step::Offered(offered);
        true
    }

    /// Gives what is wanted of an offer; returns whether the round goes on.
    fn give(&mut self, base: &mut Base, targets: &[Target], answer: &[u8]) -> bool {
        let Ok(response) = SyncResponse::decode(answer) else {
            return false;
        };
        let [ResponsePart::Wanted(wanted)] = response.parts[..] else {
            return false;
        };
        let places = targets.iter().enumerate();
        let wanted = places.filter(|(place, _)| wanted >> place & 1 == 1);
        let view = base.items.store.sync_view(base.cx.now);
        let (mut given, mut parts) = (Vec::new(), Vec::new());
        for (_, target) in wanted {
            if let Some(item) = view.item(target) {
                given.push(*target);
                parts.push(RequestPart::Give(item));
            }
        }
        // Values of full size are too many for one message at times: they are offered once more.
        let fits = fitting(&parts).max(1);
        self.found.extend(given.iter().skip(fits));
        parts.truncate(fits);
        given.truncate(fits);
        let (now, quiet) = (base.cx.now.mono, base.cx.config.item_ttl / 4);
        let repaired = &mut base.items.repaired;
        let mut is_new = given
            .iter()
            .map(|target| repaired.note(*target, self.id, now, quiet));
        parts.retain(|_| is_new.next().unwrap_or(false));
        if parts.is_empty() {
            return true;
        }
        let count = parts.len() as u64;
        if !ask(base, self.peer, parts, CallTag::HandOver) {
            return false;
        }
        base.cx.counters.add(Counter::Handovers, count);
        self.step = Step::Given;
        true
    }

    /// Puts what is young enough to an upstream peer, for whom its life would begin anew. What was
    /// published since it is known here was put to it by the publisher.
    fn put(&mut self, base: &mut Base) {
        let ttl = base.cx.config.item_ttl;
        let mut count = 0;
        for target in core::mem::take(&mut self.found) {
            let item = base.items.store.sync_view(base.cx.now).item(&target);
            let now = base.cx.now.mono;
            let known = now.since(self.entered);
            let item = item.filter(|(_, life)| life.left >= ttl / 2 && life.age > known);
            let Some((item, life)) = item else {
                continue;
            };
            if count == MOST_PUTS || !base.items.repaired.note(target, self.id, now, ttl / 4) {
                continue;
            }
            let mut ext = base.cx.request_ext();
            ext.life = Some(life);
            let request = Request::PutValue {
                item: (&item).into(),
                mirror_target: None,
            };
            let peer = Candidate {
                key: self.peer,
                id: self.id,
                addr: None,
            };
            if base.ask_with(peer, request, ext, CallTag::Given).is_some() {
                base.cx.counters.count(Counter::Handovers);
                count += 1;
            }
        }
    }
}

/// The range outside of which enough others are nearer to every target than this node: in whose
/// buckets before the first sparse one every target has them.
fn neighbourhood(table: &Table, newcomer: &NodeId, local: &NodeId) -> Prefix {
    let own = table.bucket_of(&Target::from(*newcomer));
    let sparse = (0..u8::MAX).find(|index| {
        let newcomer = usize::from(own == Some(*index));
        table.peers_in(*index) < HANDERS + newcomer
    });
    Prefix::of(&Target::from(*local), sparse.unwrap_or(0))
}

/// Whether the newcomer is among the k nearest to an item, and this node among the few nearest
/// apart from it.
fn is_to_hand(table: &Table, k: usize, local: &NodeId, newcomer: &NodeId, target: &Target) -> bool {
    let is_nearer = target.distance(newcomer) < target.distance(local);
    let nearer = table.nearer_than_local(target, HANDERS + 1);
    let nearer = nearer.saturating_sub(usize::from(is_nearer));
    if nearer >= HANDERS {
        return false;
    }
    let places = k.saturating_sub(usize::from(!is_nearer));
    let mut nearest = table.closest_where(target, places, Contact::is_live);
    nearest.any(|contact| contact.id == *newcomer)
}
