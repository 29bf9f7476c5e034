//! Handover: a peer that enters the routing table among the k nearest to items stored here is
//! offered these items and given what it lacks, by reconciliation messages if it supports our
//! extensions, otherwise by puts of items that are young enough.
//!
//! Traffic is limited: only the few nodes nearest to an item hand it over, to one new peer and by
//! one request at a time, up to a number of items per peer. Renewals and read repair supply the
//! rest.

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

/// Time that a peer must be in the table before a handover, so that peers that join together know
/// each other by then.
const SETTLE: Duration = Duration::from_secs(10);
/// Maximum number of new peers waiting for their handover.
const MOST_WAITING: usize = 256;
/// Number of nodes nearest to an item that hand it over.
const HANDING_NODES: usize = 3;
/// Maximum number of items offered to one peer.
const MOST_ITEMS: usize = 256;
/// Maximum number of items put to an upstream peer, each as a whole item.
const MOST_PUTS: usize = 8;
/// Maximum number of entries visited in one step, and for one peer.
const SCAN_STEP: usize = 256;
const MOST_SCANNED: usize = 8_192;

/// State of the handover to one peer.
struct HandoverRound {
    peer: PublicKey,
    id: NodeId,
    /// When the peer entered the table.
    entered: Mono,
    range: Prefix,
    /// Where the scan continues; `None` when it is complete.
    from: Option<Target>,
    scanned: usize,
    /// Items still to be offered.
    found: VecDeque<Target>,
    step: HandoverStep,
}

/// What a handover waits for.
enum HandoverStep {
    Nothing,
    /// The answer to an offer of these targets.
    Offered(Vec<Target>),
    /// The answer to the items given.
    Given,
}

/// The peers waiting for a handover, and the current one.
#[derive(Default)]
pub(crate) struct HandOver {
    /// Peers with the time at which their handover may begin.
    waiting: VecDeque<(Mono, PublicKey)>,
    round: Option<HandoverRound>,
}

impl HandOver {
    /// Number of peers that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Queues the peers that have entered the table.
    pub(crate) fn note(&mut self, base: &mut Base) {
        for peer in base.peers.take_newcomers() {
            if self.waiting.len() >= MOST_WAITING {
                base.cx.counters.count(Counter::HandoversSkipped);
                continue;
            }
            let at = base.cx.now.mono.plus(SETTLE);
            self.waiting.push_back((at, peer));
        }
        self.schedule(base);
    }

    fn schedule(&self, base: &mut Base) {
        if let (None, Some((at, _))) = (&self.round, self.waiting.front()) {
            base.cx.timers.set_earlier(Timer::HandOver, *at);
        }
    }

    /// Continues the current handover, or begins the next.
    pub(crate) fn advance(&mut self, base: &mut Base) {
        if self.round.is_none() {
            self.round = self.next(base);
        }
        let Some(round) = &mut self.round else {
            return self.schedule(base);
        };
        if !matches!(round.step, HandoverStep::Nothing) {
            return;
        }
        if round.from.is_some() {
            round.scan(base);
            return base.cx.timers.set(Timer::HandOver, base.cx.now.mono);
        }
        if !round.offer(base) {
            self.end(base);
        }
    }

    /// Takes the next peer that is still live and to which this node may have to hand something
    /// over.
    fn next(&mut self, base: &Base) -> Option<HandoverRound> {
        while let Some((at, peer)) = self.waiting.front().copied()
            && at <= base.cx.now.mono
        {
            self.waiting.pop_front();
            let id = peer.id();
            let contact = base.peers.table.get(&id);
            // Full nodes reconcile with each other by sessions.
            let has_session =
                base.cx.config.full_node && base.peers.store.full_nodes().contains(&peer);
            if contact.is_some_and(Contact::is_live) && !has_session && !base.loading.is_under_way()
            {
                let range = neighbourhood(&base.peers.table, &id, &base.cx.id);
                return Some(HandoverRound {
                    peer,
                    id,
                    entered: at.minus(SETTLE),
                    range,
                    from: Some(range.first()),
                    scanned: 0,
                    found: VecDeque::new(),
                    step: HandoverStep::Nothing,
                });
            }
        }
        None
    }

    /// Takes the result of a request of the handover.
    pub(crate) fn call_ended(&mut self, base: &mut Base, ended: &CallEnded) {
        let Some(round) = &mut self.round else {
            return;
        };
        let continues = match (
            core::mem::replace(&mut round.step, HandoverStep::Nothing),
            &ended.result,
        ) {
            (HandoverStep::Offered(targets), Ok(message)) => match &message.response {
                Response::Reconcile { message } => round.give(base, &targets, message),
                _ => false,
            },
            (HandoverStep::Given, Ok(_)) => true,
            _ => false,
        };
        match continues {
            true => base.cx.timers.set(Timer::HandOver, base.cx.now.mono),
            false => self.end(base),
        }
    }

    fn end(&mut self, base: &mut Base) {
        self.round = None;
        self.schedule(base);
    }
}

impl HandoverRound {
    /// Scans the next entries for items to offer.
    fn scan(&mut self, base: &Base) {
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
            if should_hand_over(table, k, &id, &self.id, &target) {
                self.found.push_back(target);
            }
        }
    }

    /// Offers the next items. Returns false if there are none.
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
        self.step = HandoverStep::Offered(offered);
        true
    }

    /// Gives the items that the peer requested. Returns whether the handover continues.
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
        // Full-size values may exceed one message; the rest is offered once more.
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
        self.step = HandoverStep::Given;
        true
    }

    /// Puts items that are young enough to an upstream peer, which would start their lifetime anew.
    /// An item published since the peer is known was put to it by its publisher.
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

/// The prefix outside of which enough other nodes are nearer to every target than this node. Every
/// bucket before the first sparse one contains enough nodes nearer to the targets in its range.
fn neighbourhood(table: &Table, newcomer: &NodeId, local: &NodeId) -> Prefix {
    let own = table.bucket_of(&Target::from(*newcomer));
    let sparse = (0..u8::MAX).find(|index| {
        let newcomer = usize::from(own == Some(*index));
        table.peers_in(*index) < HANDING_NODES + newcomer
    });
    Prefix::of(&Target::from(*local), sparse.unwrap_or(0))
}

/// Whether the new peer is among the k nearest to an item, and this node among the few nearest
/// apart from it.
fn should_hand_over(
    table: &Table,
    k: usize,
    local: &NodeId,
    newcomer: &NodeId,
    target: &Target,
) -> bool {
    let is_nearer = target.distance(newcomer) < target.distance(local);
    let nearer = table.nearer_than_local(target, HANDING_NODES + 1);
    let nearer = nearer.saturating_sub(usize::from(is_nearer));
    if nearer >= HANDING_NODES {
        return false;
    }
    let places = k.saturating_sub(usize::from(!is_nearer));
    let mut nearest = table.closest_where(target, places, Contact::is_live);
    nearest.any(|contact| contact.id == *newcomer)
}
