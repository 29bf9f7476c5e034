//! Upstream's lookup: rounds of three requests, each of which waits for its slowest one. Items are
//! not verified. Numbers of defects refer to `spec/dht.md` §14.

use std::collections::{BTreeMap, BTreeSet};

use skydht_core::id::{NodeId, Target};
use skydht_core::item::Seq;
use skydht_core::key::PublicKey;
use skydht_core::time::Unix;
use skydht_core::wire::{WireItem, WirePeer};

use super::table::{Contact, K};

/// Number of peers asked in one round.
pub(super) const ALPHA: usize = 3;

/// Whether a peer answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AskResult {
    Answered,
    Failed,
}

/// The best item so far: highest sequence number, unverified (defect 7).
#[derive(Clone, Debug)]
pub(super) struct Best {
    pub(super) item: WireItem,
    pub(super) from: Option<PublicKey>,
    /// Number of peers that sent exactly this item.
    pub(super) agree: u16,
}

/// A lookup in progress.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub(super) target: Target,
    /// Whether the lookup also asks for items.
    pub(super) wants_item: bool,
    own: NodeId,
    /// The nearest 20 known peers, answered or not (defect 6), nearest first.
    shortlist: Vec<Contact>,
    /// Number of referrals from here to each known peer.
    depth: BTreeMap<NodeId, u16>,
    asked: BTreeSet<NodeId>,
    answers: BTreeMap<NodeId, AskResult>,
    in_flight: usize,
    pub(super) best: Option<Best>,
    pub(super) requests: u16,
}

impl Lookup {
    /// A lookup that starts from these peers.
    pub(super) fn new(own: NodeId, target: Target, wants_item: bool, seeds: Vec<Contact>) -> Self {
        let depth = seeds.iter().map(|contact| (contact.id, 0)).collect();
        Self {
            target,
            wants_item,
            own,
            shortlist: seeds,
            depth,
            asked: BTreeSet::new(),
            answers: BTreeMap::new(),
            in_flight: 0,
            best: None,
            requests: 0,
        }
    }

    /// Returns the peers to ask next: empty while a round is in progress, and when all have been
    /// asked.
    pub(super) fn next_round(&mut self) -> Vec<Contact> {
        if self.in_flight > 0 {
            return Vec::new();
        }
        let open = self.shortlist.iter();
        let open = open.filter(|contact| !self.asked.contains(&contact.id));
        let round: Vec<Contact> = open.take(ALPHA).copied().collect();
        self.in_flight = round.len();
        self.asked.extend(round.iter().map(|contact| contact.id));
        let requests = u16::try_from(round.len()).unwrap_or(u16::MAX);
        self.requests = self.requests.saturating_add(requests);
        round
    }

    /// Whether a round is in progress.
    pub(super) const fn is_waiting(&self) -> bool {
        self.in_flight > 0
    }

    /// A peer answered.
    pub(super) fn answered(
        &mut self,
        from: &Contact,
        item: Option<WireItem>,
        peers: &[WirePeer],
        now: Unix,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answers.insert(from.id, AskResult::Answered);
        if let Some(item) = item {
            self.consider(item, from.key);
        }
        let depth = self.depth.get(&from.id).copied().unwrap_or_default();
        let target = self.target;
        let full = self.shortlist.len() >= K;
        let farthest = self.shortlist.last().filter(|_| full);
        let farthest = farthest.map(|it| target.distance(&it.id));
        for peer in peers {
            // Do not hash the keys of peers that are known or that would be truncated below.
            let beyond = farthest.is_some_and(|it| target.distance(&peer.id) >= it);
            if beyond || peer.id == self.own || self.depth.contains_key(&peer.id) {
                continue;
            }
            // That the id is the hash of the key is all that upstream checks.
            if let Some(key) = peer.key.filter(|key| key.id() == peer.id) {
                self.depth.insert(peer.id, depth.saturating_add(1));
                self.shortlist.push(Contact::of(&key, now));
            }
        }
        self.shortlist
            .sort_by_cached_key(|contact| target.distance(&contact.id));
        self.shortlist.truncate(K);
    }

    /// A peer did not answer. It stays in the list.
    pub(super) fn failed(&mut self, from: &Contact) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.answers.insert(from.id, AskResult::Failed);
    }

    /// The 20 nearest known peers, including dead ones.
    pub(super) fn closest(&self) -> &[Contact] {
        &self.shortlist
    }

    /// Number of peers that answered.
    pub(super) fn answered_count(&self) -> u16 {
        self.count(AskResult::Answered)
    }

    /// Number of peers that did not answer.
    pub(super) fn failed_count(&self) -> u16 {
        self.count(AskResult::Failed)
    }

    /// Whether all of the nearest 20 peers answered.
    pub(super) fn converged(&self) -> bool {
        let mut list = self.shortlist.iter();
        !self.shortlist.is_empty()
            && list.all(|it| self.answers.get(&it.id) == Some(&AskResult::Answered))
    }

    /// Number of referrals to the nearest peer that answered.
    pub(super) fn hops(&self) -> u16 {
        let mut list = self.shortlist.iter();
        let nearest = list.find(|it| self.answers.get(&it.id) == Some(&AskResult::Answered));
        let depth = nearest.and_then(|it| self.depth.get(&it.id));
        depth.copied().unwrap_or_default()
    }

    fn count(&self, answer: AskResult) -> u16 {
        let count = self.answers.values().filter(|it| **it == answer).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    fn consider(&mut self, item: WireItem, from: Option<PublicKey>) {
        match &mut self.best {
            Some(best) if best.item == item => best.agree = best.agree.saturating_add(1),
            Some(best) if seq(&item) <= seq(&best.item) => {}
            best => {
                *best = Some(Best {
                    item,
                    from,
                    agree: 1,
                });
            }
        }
    }
}

fn seq(item: &WireItem) -> Seq {
    match item {
        WireItem::Keyed(item) => item.seq,
        WireItem::Keyless(item) => item.seq,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skydht_core::item::{Item, Salt, Value};
    use skydht_core::key::{SecretKey, Signature};

    fn key(n: u8) -> PublicKey {
        SecretKey::from_bytes(&[n; 32]).unwrap().public()
    }

    fn lookup(seeds: std::ops::Range<u8>) -> Lookup {
        let target = Target::default();
        let mut seeds: Vec<Contact> = seeds.map(|n| Contact::of(&key(n), Unix(0))).collect();
        seeds.sort_by_key(|it| target.distance(&it.id));
        Lookup::new(key(200).id(), target, true, seeds)
    }

    #[test]
    fn a_round_waits_for_its_slowest() {
        let mut lookup = lookup(1..9);
        let round = lookup.next_round();
        assert_eq!(round.len(), ALPHA);
        for contact in &round[..2] {
            lookup.answered(contact, None, &[], Unix(0));
            assert!(lookup.next_round().is_empty());
        }
        lookup.failed(&round[2]);
        assert_eq!(lookup.next_round().len(), ALPHA);
    }

    #[test]
    fn the_failed_stay_in_the_result() {
        let mut lookup = lookup(1..3);
        for contact in lookup.next_round() {
            lookup.failed(&contact);
        }
        assert!(lookup.next_round().is_empty() && !lookup.is_waiting());
        assert_eq!((lookup.closest().len(), lookup.failed_count()), (2, 2));
        assert!(!lookup.converged());
    }

    #[test]
    fn only_ids_that_are_hashes_are_merged_and_the_nearest_twenty_stay() {
        let mut lookup = lookup(1..2);
        let round = lookup.next_round();
        let mut peers: Vec<WirePeer> = (2..60)
            .map(|n| WirePeer::new(&key(n), Default::default(), None))
            .collect();
        let liar = WirePeer {
            id: NodeId::default(),
            ..peers[0]
        };
        peers.push(liar);
        peers.push(WirePeer::new(&key(200), Default::default(), None));
        lookup.answered(&round[0], None, &peers, Unix(0));
        assert_eq!(lookup.closest().len(), K);
        let ids: BTreeSet<NodeId> = lookup.closest().iter().map(|it| it.id).collect();
        assert!(!ids.contains(&NodeId::default()) && !ids.contains(&key(200).id()));
        assert_eq!(ids.len(), K);
    }

    #[test]
    fn a_liar_with_the_highest_sequence_wins_unverified() {
        let mut lookup = lookup(1..3);
        let round = lookup.next_round();
        let secret = SecretKey::from_bytes(&[9; 32]).unwrap();
        let good = Item::sign(&secret, Seq(5), Value::new(b"good"), Salt::default());
        let forged = Item {
            seq: Seq(u64::MAX),
            signature: Signature::default(),
            ..good.clone()
        };
        lookup.answered(&round[0], Some(forged.clone().into()), &[], Unix(0));
        lookup.answered(&round[1], Some(good.into()), &[], Unix(0));
        let best = lookup.best.unwrap();
        assert_eq!((best.item, best.agree), (forged.into(), 1));
    }
}
