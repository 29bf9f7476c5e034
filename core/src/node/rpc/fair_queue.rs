//! A queue in which peers take turns, however much one of them queues.

use alloc::collections::{BTreeMap, VecDeque};

use crate::key::PublicKey;

/// Priority classes of peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lane {
    /// In the routing table, or recently read an answer.
    Known,
    /// Unknown.
    New,
    /// Wasted work recently: served when no other peer waits, and at every eighth turn.
    Penalised,
}

/// Every n-th turn begins with the penalised peers.
const PENALISED_EVERY: u32 = 8;

struct Entries<T> {
    queued: VecDeque<T>,
    lane: Lane,
    parked: bool,
}

/// A fair queue. Peers take turns within their lane, and the lanes of known and new peers
/// alternate. The entries of one peer are served in order.
pub(crate) struct FairQueue<T> {
    /// For each lane, the peers with queued entries that are not parked.
    turns: [VecDeque<PublicKey>; 3],
    peers: BTreeMap<PublicKey, Entries<T>>,
    len: usize,
    runnable: usize,
    turn: u32,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            turns: Default::default(),
            peers: BTreeMap::new(),
            len: 0,
            runnable: 0,
            turn: 0,
        }
    }
}

impl<T: PartialEq> FairQueue<T> {
    /// Number of queued entries.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Number of queued entries of peers that are not parked.
    pub(crate) const fn runnable(&self) -> usize {
        self.runnable
    }

    /// Queues an entry for `peer`. The lane matters only if the peer has no other entry.
    pub(crate) fn push(&mut self, peer: PublicKey, lane: Lane, entry: T) {
        let entries = self.peers.entry(peer).or_insert_with(|| {
            self.turns[lane as usize].push_back(peer);
            Entries {
                queued: VecDeque::new(),
                lane,
                parked: false,
            }
        });
        entries.queued.push_back(entry);
        self.len += 1;
        self.runnable += usize::from(!entries.parked);
    }

    /// Takes the next entry of the peer whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<(PublicKey, T)> {
        self.turn = self.turn.wrapping_add(1);
        let order = match self.turn {
            turn if turn.is_multiple_of(PENALISED_EVERY) => [2, 0, 1],
            turn if turn.is_multiple_of(2) => [0, 1, 2],
            _ => [1, 0, 2],
        };
        let peer = order
            .into_iter()
            .find_map(|lane: usize| self.turns[lane].pop_front())?;
        let entries = self.peers.get_mut(&peer)?;
        let entry = entries.queued.pop_front()?;
        if entries.queued.is_empty() {
            self.peers.remove(&peer);
        } else {
            self.turns[entries.lane as usize].push_back(peer);
        }
        self.len -= 1;
        self.runnable -= 1;
        Some((peer, entry))
    }

    /// Removes an entry. O(entries of the peer + peers).
    pub(crate) fn remove(&mut self, peer: &PublicKey, entry: &T) -> bool {
        let Some(entries) = self.peers.get_mut(peer) else {
            return false;
        };
        let Some(at) = entries.queued.iter().position(|queued| queued == entry) else {
            return false;
        };
        entries.queued.remove(at);
        self.len -= 1;
        self.runnable -= usize::from(!entries.parked);
        if entries.queued.is_empty() {
            self.turns[entries.lane as usize].retain(|other| other != peer);
            self.peers.remove(peer);
        }
        true
    }

    /// Moves the entries of a peer to another lane.
    pub(crate) fn set_lane(&mut self, peer: &PublicKey, lane: Lane) {
        if let Some(entries) = self.peers.get_mut(peer)
            && entries.lane != lane
        {
            let before = core::mem::replace(&mut entries.lane, lane);
            if !entries.parked {
                self.turns[before as usize].retain(|other| other != peer);
                self.turns[lane as usize].push_back(*peer);
            }
        }
    }

    /// Skips a peer that is at a limit of its own until [`FairQueue::unpark`].
    pub(crate) fn park(&mut self, peer: &PublicKey) {
        if let Some(entries) = self.peers.get_mut(peer)
            && !core::mem::replace(&mut entries.parked, true)
        {
            self.runnable -= entries.queued.len();
            self.turns[entries.lane as usize].retain(|other| other != peer);
        }
    }

    /// Ends [`FairQueue::park`].
    pub(crate) fn unpark(&mut self, peer: &PublicKey) {
        if let Some(entries) = self.peers.get_mut(peer)
            && core::mem::take(&mut entries.parked)
        {
            self.runnable += entries.queued.len();
            self.turns[entries.lane as usize].push_back(*peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn key(n: u8) -> PublicKey {
        let mut bytes = [n; 33];
        bytes[0] = 2;
        PublicKey::from_bytes(&bytes).unwrap()
    }

    fn drain(queue: &mut FairQueue<u32>) -> Vec<u32> {
        core::iter::from_fn(|| queue.pop().map(|(_, n)| n)).collect()
    }

    #[test]
    fn a_peer_with_a_thousand_entries_delays_another_by_one() {
        let mut queue = FairQueue::default();
        for n in 0..1_000 {
            queue.push(key(1), Lane::New, n);
        }
        queue.push(key(2), Lane::New, 7_777);
        let order = drain(&mut queue);
        assert_eq!(order.iter().position(|n| *n == 7_777), Some(1));
        assert_eq!((order.len(), queue.len(), queue.runnable()), (1_001, 0, 0));
        assert!(queue.peers.is_empty() && queue.turns.iter().all(VecDeque::is_empty));
    }

    #[test]
    fn known_peers_take_turns_with_a_crowd_and_the_penalised_come_last_but_come() {
        let mut queue = FairQueue::default();
        for n in 1..100 {
            queue.push(key(n), Lane::New, u32::from(n));
        }
        queue.push(key(200), Lane::Known, 200);
        queue.push(key(201), Lane::Penalised, 201);
        let order = drain(&mut queue);
        assert!(order.iter().position(|n| *n == 200) < Some(2), "{order:?}");
        assert_eq!(order.iter().position(|n| *n == 201), Some(7), "{order:?}");
    }

    #[test]
    fn new_peers_take_turns_with_a_crowd_of_known_ones() {
        let mut queue = FairQueue::default();
        for n in 1..100 {
            queue.push(key(n), Lane::Known, u32::from(n));
        }
        queue.push(key(200), Lane::New, 200);
        let order = drain(&mut queue);
        assert!(order.iter().position(|n| *n == 200) < Some(2), "{order:?}");
    }

    #[test]
    fn a_peer_that_is_penalised_loses_its_turn_for_what_is_queued_too() {
        let mut queue = FairQueue::default();
        for n in 1..4 {
            queue.push(key(n), Lane::New, u32::from(n));
        }
        queue.park(&key(2));
        queue.set_lane(&key(1), Lane::Penalised);
        queue.set_lane(&key(2), Lane::Penalised);
        assert_eq!(drain(&mut queue), [3, 1]);
        queue.unpark(&key(2));
        assert_eq!(drain(&mut queue), [2]);
    }

    #[test]
    fn parked_peers_are_passed_over_and_removal_leaves_nothing() {
        let mut queue = FairQueue::default();
        for n in 0..3 {
            queue.push(key(1), Lane::New, n);
            queue.push(key(2), Lane::New, 10 + n);
        }
        queue.park(&key(1));
        queue.push(key(1), Lane::New, 3);
        assert_eq!((queue.len(), queue.runnable()), (7, 3));
        assert_eq!(drain(&mut queue), [10, 11, 12]);
        assert!(queue.remove(&key(1), &1) && !queue.remove(&key(1), &1));
        queue.unpark(&key(1));
        assert_eq!(drain(&mut queue), [0, 2, 3]);
        queue.push(key(1), Lane::New, 4);
        assert!(queue.remove(&key(1), &4));
        assert!(queue.peers.is_empty() && queue.turns.iter().all(VecDeque::is_empty));
    }
}
