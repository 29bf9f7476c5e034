//! The table: entering, ageing, leaving.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use crate::id::{NodeId, Target};
use crate::routing::bucket::Bucket;
use crate::routing::contact::{Contact, PeerUpdate};
use crate::time::{Mono, Time};

/// Places that a bucket which is not full gets at a time.
const GROWTH: usize = 4;
/// Failures in a row after which a peer leaves for a waiting replacement.
pub const FAILURES_KEPT: u8 = 3;
/// Failures in a row after which a peer leaves although no candidate waits for its entry.
pub const FAILURES_KEPT_ALONE: u8 = 5;
/// A peer that answered within this time is taken to be alive: a newcomer to its full bucket
/// causes no ping. Without it every lookup through full buckets would double its calls.
pub const PING_AGE: Duration = Duration::from_secs(5 * 60);

/// Strangers are asked for a sign of life only while fewer replacements wait in their bucket:
/// lookups bring more, and cost nothing extra.
const ENOUGH_WAITING: usize = 2;

/// Whether a caller that has not answered anything may enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Candidacy {
    /// It may not: its bucket has candidates enough.
    None,
    /// If it answers a ping there is room for it, or among those who wait.
    Member,
    /// It reminds of `oldest`, who has been silent for [`PING_AGE`] and should be pinged.
    Reminder {
        /// The least recently seen of the caller's bucket.
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
        /// Whether to ping `oldest` now, and to report the result by
        /// [`Table::ping_answered`] or [`Table::failed`]. False while such a ping is out, and
        /// when `oldest` answered within [`PING_AGE`].
        ping: bool,
    },
}

/// Whose fault a failed call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// The peer's, as far as can be told.
    Peer,
    /// Perhaps ours: all our calls fail, or the call was never sent. Nothing is held
    /// against the peer.
    Unclear,
}

/// What became of a peer whose call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failed {
    /// It stays.
    Kept {
        /// Its failures in a row.
        failures: u8,
    },
    /// It left the table.
    Removed {
        /// Who took its place.
        replacement: Option<NodeId>,
    },
    /// It left the replacements.
    Forgotten,
    /// It is not in the table; or it waits for a place, and the blame is unclear.
    Unknown,
}

/// The peers around the local node. At most 256 buckets of `k` peers and `replacements`
/// waiting ones; every peer is in the bucket of the prefix it shares with the local id.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) local: NodeId,
    pub(super) k: usize,
    replacements: usize,
    /// By length of the shared prefix. The last one is never empty, so that a small
    /// network needs few.
    pub(super) buckets: Vec<Bucket>,
    len: usize,
}

impl Table {
    /// An empty table: buckets of `k` peers (at least 1), each with at most `replacements`
    /// waiting.
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

    /// Notes that a peer answered, over a transport that proved its key. Nothing else may
    /// enter a table (`spec/dht.md` §14 row 3).
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
                // Doubling would end beyond k.
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

    /// Notes that a peer of the table answered a ping: it is now its bucket's most recent.
    /// False when it is not in the table.
    pub fn ping_answered(&mut self, id: &NodeId, now: Time) -> bool {
        let Some((bucket, position)) = self.find_mut(id) else {
            return false;
        };
        bucket.move_to_tail(position, |peer| peer.seen_again(now));
        true
    }

    /// Live peers that gave no sign of life since `since`, in a bucket the longest silent first.
    pub fn silent_since(&self, since: Mono) -> impl Iterator<Item = &Contact> {
        self.buckets
            .iter()
            .flat_map(move |bucket| bucket.silent_since(since))
    }

    /// Whether there is a peer whose last call did not fail.
    #[must_use]
    pub fn has_live(&self) -> bool {
        self.buckets
            .iter()
            .any(|bucket| bucket.live().next().is_some())
    }

    /// When the live peer that is silent for longest gave its last sign of life.
    #[must_use]
    pub fn longest_silent(&self) -> Option<Mono> {
        let oldest = |bucket: &Bucket| bucket.live().next().map(|peer| peer.last_seen.mono);
        self.buckets.iter().filter_map(oldest).min()
    }

    /// When any peer gave its last sign of life.
    #[must_use]
    pub fn last_sign_of_life(&self) -> Option<Mono> {
        let newest = |bucket: &Bucket| bucket.peers.last().map(|peer| peer.last_seen.mono);
        self.buckets.iter().filter_map(newest).max()
    }

    /// Peers whose last call did not fail and who gave a sign of life at `since` or later.
    #[must_use]
    pub fn proven(&self, since: Mono) -> usize {
        self.iter().filter(|peer| peer.is_proven(since)).count()
    }

    /// Sets where a peer can be dialled, as it said over its own proven session. Whether it is
    /// in the table and was not known to be there.
    pub fn set_addr(&mut self, id: &NodeId, addr: SocketAddr) -> bool {
        let Some((bucket, position)) = self.find_mut(id) else {
            return false;
        };
        bucket.peers[position].addr.replace(addr) != Some(addr)
    }

    /// Notes that a call to a peer failed. A peer whose eviction ping is out leaves at once
    /// for the newest replacement; others leave after [`FAILURES_KEPT`] failures in a row
    /// when a candidate waits, else after [`FAILURES_KEPT_ALONE`]. With [`Blame::Unclear`]
    /// no peer leaves and nothing is counted, and the bucket may ask for a ping again.
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

    /// Removes a peer that says goodbye, or that serves nothing. The newest replacement takes
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

    /// Sets what is known of a peer's address and reachability, for instance after a failed
    /// dial. False when it is not in the table.
    pub fn set_reach(&mut self, id: &NodeId, addr: Option<SocketAddr>, reachable: bool) -> bool {
        let Some((bucket, position)) = self.find_mut(id) else {
            return false;
        };
        let peer = &mut bucket.peers[position];
        peer.addr = addr;
        peer.reachable = reachable;
        true
    }

    /// The peer with this id, unless it only waits for a place.
    #[must_use]
    pub fn get(&self, id: &NodeId) -> Option<&Contact> {
        let bucket = self.buckets.get(self.index_of(id)?)?;
        Some(&bucket.peers[bucket.position(id)?])
    }

    /// Peers, without those that wait for a place.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All peers, nearest bucket first, in a bucket least recently seen first.
    pub fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.buckets.iter().rev().flat_map(|bucket| &bucket.peers)
    }

    /// Length of the shared prefix, peers and waiting replacements of each bucket that is not
    /// empty, farthest first.
    pub fn buckets(&self) -> impl Iterator<Item = (u8, usize, usize)> {
        self.indexed()
            .filter(|(_, bucket)| !bucket.peers.is_empty())
            .map(|(index, bucket)| (index, bucket.peers.len(), bucket.replacements.len()))
    }

    /// Buckets through whose range no lookup went within `age`, since they exist, farthest
    /// first. Only those up to the deepest that is not empty: the rest of the key space is what
    /// a lookup of the local id covers. Empty buckets among them count, since a lookup may fill
    /// them.
    pub fn stale_buckets(&self, now: Mono, age: Duration) -> impl Iterator<Item = u8> {
        self.indexed()
            .filter(move |(_, bucket)| now.since(bucket.refreshed) >= age)
            .map(|(index, _)| index)
    }

    /// Peers in bucket `index`.
    #[must_use]
    pub fn peers_in(&self, index: u8) -> usize {
        let bucket = self.buckets.get(usize::from(index));
        bucket.map_or(0, |bucket| bucket.peers.len())
    }

    /// Of what use a caller with this id is, who is not in the table. When only the oldest of
    /// its bucket is in doubt, that one's ping counts as out from now on.
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

    /// Buckets with fewer than `peers` peers, farthest first, among the same.
    pub fn sparse_buckets(&self, peers: usize) -> impl Iterator<Item = u8> {
        self.indexed()
            .filter(move |(_, bucket)| bucket.peers.len() < peers)
            .map(|(index, _)| index)
    }

    fn indexed(&self) -> impl Iterator<Item = (u8, &Bucket)> {
        (0u8..=u8::MAX).zip(&self.buckets)
    }

    /// Notes that a lookup went through the range of bucket `index`.
    pub fn refreshed(&mut self, index: u8, now: Mono) {
        if let Some(bucket) = self.buckets.get_mut(usize::from(index)) {
            bucket.refreshed = now;
        }
    }

    /// The bucket in whose range `target` lies; none for the local id itself.
    #[must_use]
    pub fn bucket_of(&self, target: &Target) -> Option<u8> {
        u8::try_from(target.distance(&self.local).common_prefix()).ok()
    }

    /// The target in the range of bucket `index` that `random` chooses.
    #[must_use]
    pub fn random_target_in(&self, index: u8, random: [u8; 32]) -> Target {
        let mut bytes = random;
        let (byte, bit) = (usize::from(index / 8), 0x80 >> (index % 8));
        let local = self.local.as_bytes();
        bytes[..byte].copy_from_slice(&local[..byte]);
        // Of the byte in the middle: the bits before `bit` are ours, `bit` is flipped.
        let after: u8 = bit - 1;
        bytes[byte] = (local[byte] & !after) ^ bit | (bytes[byte] & after);
        Target::from_bytes(bytes)
    }

    /// The bucket of a node: the length of the shared prefix; none for the local id.
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
