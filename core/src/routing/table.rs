//! The routing table: inserting, ageing and removing peers.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::routing::bucket::Bucket;
use crate::routing::contact::{Contact, PeerUpdate};
use crate::time::{Mono, Time};

/// Number of entries by which the memory of a bucket that is not full grows.
const GROWTH: usize = 4;
/// Consecutive failures after which a peer is removed if a replacement waits.
pub const FAILURES_KEPT: u8 = 3;
/// Consecutive failures after which a peer is removed even if no replacement waits.
pub const FAILURES_KEPT_ALONE: u8 = 5;
/// A peer that answered within this time is assumed to be alive: a new peer for its full bucket
/// causes no ping. Without this, every lookup through full buckets would double its calls.
pub const PING_AGE: Duration = Duration::from_secs(5 * 60);

/// Unknown callers are pinged only while fewer replacements wait in their bucket: lookups find more
/// at no extra cost.
const ENOUGH_WAITING: usize = 2;

/// Whether a caller that has not answered anything may enter the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Candidacy {
    /// It may not: its bucket has enough candidates.
    None,
    /// If it answers a ping, it enters the bucket or the replacements.
    Member,
    /// Its call is a reason to ping `oldest`, which has been silent for [`PING_AGE`].
    Reminder {
        /// The least recently seen peer of the caller's bucket.
        oldest: NodeId,
    },
}

/// Result of inserting a peer that answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InsertResult {
    /// It is the local node; nothing changed.
    Itself,
    /// It was in the table and is now its bucket's most recent.
    Refreshed,
    /// It entered.
    Added,
    /// It entered in place of a peer that had failed [`FAILURES_KEPT`] times.
    Replaced {
        /// The peer that left.
        removed: NodeId,
    },
    /// Its bucket is full; it waits among the replacements.
    Full {
        /// The bucket's least recently seen peer.
        oldest: NodeId,
        /// Whether the caller is to ping `oldest` now, and to report the result by
        /// [`Table::ping_answered`] or [`Table::failed`]. False while such a ping is in progress,
        /// and if `oldest` answered within [`PING_AGE`].
        ping: bool,
    },
}

/// Whose fault a failed call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// The peer's, as far as is known.
    Peer,
    /// Possibly ours: all our calls fail, or the call was never sent. It does not count against the
    /// peer.
    Unclear,
}

/// The consequence of a failed call for its peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// It stays.
    Kept {
        /// Consecutive failures of the peer.
        failures: u8,
    },
    /// It left the table.
    Removed {
        /// The replacement that took its place.
        replacement: Option<NodeId>,
    },
    /// It left the replacements.
    Forgotten,
    /// It is not in the table; or it is a replacement, and the blame is unclear.
    Unknown,
}

/// The peers around the local node. At most 256 buckets of `k` peers and `replacements` waiting
/// ones; every peer is in the bucket of the prefix that it shares with the local id.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) local: NodeId,
    pub(super) k: usize,
    replacements: usize,
    /// Buckets by length of the shared prefix. The last one is never empty, so that a small network
    /// needs few.
    pub(super) buckets: Vec<Bucket>,
    len: usize,
}

impl Table {
    /// Creates an empty table with buckets of `k` peers (at least 1) and at most `replacements`
    /// waiting ones each.
    #[must_use]
    pub fn new(local: NodeId, k: usize, replacements: usize) -> Self {
        Self {
            local,
            k: k.max(1),
            replacements,
            buckets: Vec::new(),
            len: 0,
        }
    }

    /// Records that a peer answered, over a transport that proved its key. No other peer may enter
    /// a table (`spec/dht.md` §14 row 3).
    pub fn insert_or_update(&mut self, update: &PeerUpdate, now: Time) -> InsertResult {
        let id = update.key.id();
        let Some(index) = self.index_of(&id) else {
            return InsertResult::Itself;
        };
        if index >= self.buckets.len() {
            let fresh = Bucket::new(now.mono);
            self.buckets.resize(index + 1, fresh);
        }
        let bucket = &mut self.buckets[index];
        if let Some(position) = bucket.position(&id) {
            bucket.move_to_tail(position, |peer| peer.seen(update, now));
            return InsertResult::Refreshed;
        }
        let mut newcomer = match bucket.forget_replacement(&id) {
            Some(waiting) => waiting,
            None => Contact::new(update, id, now),
        };
        newcomer.seen(update, now);
        if bucket.peers.len() < self.k {
            if bucket.peers.len() == bucket.peers.capacity() {
                // Doubling could exceed k.
                let room = self.k - bucket.peers.len();
                bucket.peers.reserve_exact(room.min(GROWTH));
            }
            bucket.peers.push(newcomer);
            self.len += 1;
            return InsertResult::Added;
        }
        let worst = (0..self.k).rev().max_by_key(|i| bucket.peers[*i].failures);
        if let Some(worst) = worst.filter(|i| bucket.peers[*i].failures >= FAILURES_KEPT) {
            let removed = bucket.peers[worst].id;
            bucket.replacements.push(newcomer);
            bucket.replace(worst);
            return InsertResult::Replaced { removed };
        }
        bucket.remember(newcomer, self.replacements);
        let oldest = bucket.peers[0];
        let ping = bucket.pinging.is_none() && now.mono.since(oldest.last_seen.mono) >= PING_AGE;
        if ping {
            bucket.pinging = Some(oldest.id);
        }
        InsertResult::Full {
            oldest: oldest.id,
            ping,
        }
    }

    /// Records that a peer of the table answered a ping, which makes it the most recent of its
    /// bucket. Returns false if it is not in the table.
    pub fn ping_answered(&mut self, id: &NodeId, now: Time) -> bool {
        let Some((bucket, position)) = self.find_mut(id) else {
            return false;
        };
        bucket.move_to_tail(position, |peer| peer.seen_again(now));
        true
    }

    /// Live peers without a sign of life since `since`; in each bucket the longest silent first.
    pub fn silent_since(&self, since: Mono) -> impl Iterator<Item = &Contact> {
        self.buckets
            .iter()
            .flat_map(move |bucket| bucket.silent_since(since))
    }

    /// Whether any peer is live, that is, its last call did not fail.
    #[must_use]
    pub fn has_live(&self) -> bool {
        self.buckets
            .iter()
            .any(|bucket| bucket.live().next().is_some())
    }

    /// Time of the last sign of life of the live peer that has been silent longest.
    #[must_use]
    pub fn longest_silent(&self) -> Option<Mono> {
        let oldest = |bucket: &Bucket| bucket.live().next().map(|peer| peer.last_seen.mono);
        self.buckets.iter().filter_map(oldest).min()
    }

    /// Time of the most recent sign of life of any peer.
    #[must_use]
    pub fn last_sign_of_life(&self) -> Option<Mono> {
        let newest = |bucket: &Bucket| bucket.peers.last().map(|peer| peer.last_seen.mono);
        self.buckets.iter().filter_map(newest).max()
    }

    /// Number of peers whose last call did not fail and whose last sign of life was at `since` or
    /// later.
    #[must_use]
    pub fn proven(&self, since: Mono) -> usize {
        self.iter().filter(|peer| peer.is_proven(since)).count()
    }

    /// Sets the address that a peer advertised over its own proven session. Returns whether the
    /// peer is in the table and its address changed.
    pub fn set_addr(&mut self, id: &NodeId, addr: SocketAddr) -> bool {
        let Some((bucket, position)) = self.find_mut(id) else {
            return false;
        };
        bucket.peers[position].addr.replace(addr) != Some(addr)
    }

    /// Records that a call to a peer failed.
    ///
    /// A peer whose eviction ping is in progress is immediately replaced by the newest replacement.
    /// Others are removed after [`FAILURES_KEPT`] consecutive failures if a replacement waits,
    /// otherwise after [`FAILURES_KEPT_ALONE`]. With [`Blame::Unclear`] no peer is removed and
    /// nothing is counted, and the bucket may request a ping again.
    pub fn failed(&mut self, id: &NodeId, blame: Blame) -> Failed {
        let Some((bucket, position)) = self.find_mut(id) else {
            return self.replacement_failed(id, blame);
        };
        let pinged = bucket.pinging.take_if(|pinged| pinged == id).is_some();
        let replaceable = !bucket.replacements.is_empty();
        let peer = &mut bucket.peers[position];
        if blame == Blame::Peer {
            peer.failures = peer.failures.saturating_add(1);
            let kept = match replaceable {
                true if pinged => 1,
                true => FAILURES_KEPT,
                false => FAILURES_KEPT_ALONE,
            };
            if peer.failures >= kept {
                return self.remove(id);
            }
        }
        Failed::Kept {
            failures: peer.failures,
        }
    }

    fn replacement_failed(&mut self, id: &NodeId, blame: Blame) -> Failed {
        if blame == Blame::Unclear {
            return Failed::Unknown;
        }
        let bucket = self.index_of(id).and_then(|i| self.buckets.get_mut(i));
        match bucket.and_then(|bucket| bucket.forget_replacement(id)) {
            Some(_) => Failed::Forgotten,
            None => Failed::Unknown,
        }
    }

    /// Removes a peer that says goodbye, or that serves no requests. The newest replacement takes
    /// its place.
    pub fn remove(&mut self, id: &NodeId) -> Failed {
        let Some((bucket, position)) = self.find_mut(id) else {
            return self.replacement_failed(id, Blame::Peer);
        };
        let replacement = bucket.replace(position);
        if replacement.is_none() {
            self.len -= 1;
            while self.buckets.last().is_some_and(|b| b.peers.is_empty()) {
                self.buckets.pop();
            }
        }
        Failed::Removed { replacement }
    }

    /// Sets the address and reachability of a peer, for instance after a failed dial. Returns false
    /// if it is not in the table.
    pub fn set_reach(&mut self, id: &NodeId, addr: Option<SocketAddr>, reachable: bool) -> bool {
        let Some((bucket, position)) = self.find_mut(id) else {
            return false;
        };
        let peer = &mut bucket.peers[position];
        peer.addr = addr;
        peer.reachable = reachable;
        true
    }

    /// The peer with this id; replacements are not included.
    #[must_use]
    pub fn get(&self, id: &NodeId) -> Option<&Contact> {
        let bucket = self.buckets.get(self.index_of(id)?)?;
        Some(&bucket.peers[bucket.position(id)?])
    }

    /// Number of peers, without replacements.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All peers, nearest bucket first, in each bucket the least recently seen first.
    pub fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.buckets.iter().rev().flat_map(|bucket| &bucket.peers)
    }

    /// Length of the shared prefix, number of peers and of replacements for each bucket that is not
    /// empty, farthest first.
    pub fn buckets(&self) -> impl Iterator<Item = (u8, usize, usize)> {
        self.indexed()
            .filter(|(_, bucket)| !bucket.peers.is_empty())
            .map(|(index, bucket)| (index, bucket.peers.len(), bucket.replacements.len()))
    }

    /// Buckets whose range no lookup has covered within `age`, farthest first. Only those up to the
    /// deepest non-empty one: the rest of the key space is covered by a lookup of the local id.
    /// Empty buckets in between count, since a lookup may fill them.
    pub fn stale_buckets(&self, now: Mono, age: Duration) -> impl Iterator<Item = u8> {
        self.indexed()
            .filter(move |(_, bucket)| now.since(bucket.refreshed) >= age)
            .map(|(index, _)| index)
    }

    /// Number of peers in bucket `index`.
    #[must_use]
    pub fn peers_in(&self, index: u8) -> usize {
        let bucket = self.buckets.get(usize::from(index));
        bucket.map_or(0, |bucket| bucket.peers.len())
    }

    /// Whether a caller with this id, which is not in the table, may enter it. For
    /// [`Candidacy::Reminder`] the ping of the oldest counts as in progress from now on.
    pub fn candidacy_of(&mut self, id: &NodeId, now: Mono) -> Candidacy {
        let Some(index) = self.index_of(id) else {
            return Candidacy::None;
        };
        let Some(bucket) = self.buckets.get_mut(index) else {
            return Candidacy::Member;
        };
        if bucket.peers.len() < self.k
            || bucket.replacements.len() < self.replacements.min(ENOUGH_WAITING)
            || bucket.peers.iter().any(|peer| !peer.is_live())
        {
            return Candidacy::Member;
        }
        match bucket.peers.first() {
            Some(oldest)
                if bucket.pinging.is_none() && now.since(oldest.last_seen.mono) >= PING_AGE =>
            {
                bucket.pinging = Some(oldest.id);
                Candidacy::Reminder { oldest: oldest.id }
            }
            _ => Candidacy::None,
        }
    }

    /// Buckets with fewer than `peers` peers, farthest first, up to the deepest non-empty one.
    pub fn sparse_buckets(&self, peers: usize) -> impl Iterator<Item = u8> {
        self.indexed()
            .filter(move |(_, bucket)| bucket.peers.len() < peers)
            .map(|(index, _)| index)
    }

    fn indexed(&self) -> impl Iterator<Item = (u8, &Bucket)> {
        (0u8..=u8::MAX).zip(&self.buckets)
    }

    /// Records that a lookup covered the range of bucket `index`.
    pub fn refreshed(&mut self, index: u8, now: Mono) {
        if let Some(bucket) = self.buckets.get_mut(usize::from(index)) {
            bucket.refreshed = now;
        }
    }

    /// Index of the bucket whose range contains `target`; `None` for the local id itself.
    #[must_use]
    pub fn bucket_of(&self, target: &Target) -> Option<u8> {
        u8::try_from(target.distance(&self.local).common_prefix()).ok()
    }

    /// A target in the range of bucket `index`, chosen by `random`.
    #[must_use]
    pub fn random_target_in(&self, index: u8, random: [u8; 32]) -> Target {
        let mut bytes = random;
        let (byte, bit) = (usize::from(index / 8), 0x80 >> (index % 8));
        let local = self.local.as_bytes();
        bytes[..byte].copy_from_slice(&local[..byte]);
        // In the middle byte, the bits before `bit` are the local id's, and `bit` is flipped.
        let after: u8 = bit - 1;
        bytes[byte] = (local[byte] & !after) ^ bit | (bytes[byte] & after);
        Target::from_bytes(bytes)
    }

    /// Index of the bucket of a node: the length of the shared prefix; `None` for the local id.
    fn index_of(&self, id: &NodeId) -> Option<usize> {
        self.bucket_of(&Target::from(*id)).map(usize::from)
    }

    fn find_mut(&mut self, id: &NodeId) -> Option<(&mut Bucket, usize)> {
        let index = self.index_of(id)?;
        let bucket = self.buckets.get_mut(index)?;
        let position = bucket.position(id)?;
        Some((bucket, position))
    }
}
