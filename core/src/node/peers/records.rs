//! What is remembered about peers beside the routing table: round trips, dialect, addresses,
//! back-off. Bounded; the least recently used are forgotten first.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

use crate::address::canonical;
use crate::key::PublicKey;
use crate::lookup::{PATIENCE, RttEstimator};
use crate::node::config::{INITIAL_SOFT_DEADLINE, MAX_SOFT_DEADLINE, MIN_SOFT_DEADLINE};
use crate::node::lru_map::LruMap;
use crate::node::output::Addrs;
use crate::node::rpc::calls::AddressSource;
use crate::time::Mono;

/// Addresses tried for one key that never came from its own session.
const MAX_HEARD: usize = 3;
/// The first pause after a peer could not be reached; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a peer or an address could not be reached.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Calls to a peer that owes an answer for too long; more would bring nothing.
const MAX_OWED: u8 = 16;
/// A caller that answered a ping and found no place in the table is not pinged again for this
/// long. Without the pause, two nodes without room for each other would ping back for ever.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10 * 60);

/// What a peer speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    /// It has not answered yet.
    Unknown,
    /// It ignored our extensions.
    Go,
    /// It answered with extensions.
    Skydht,
}

#[derive(Clone, Copy)]
struct Pause {
    failures: u8,
    until: Mono,
}

impl Pause {
    fn after(failures: u8, now: Mono) -> Self {
        let failures = failures.saturating_add(1);
        let length = FIRST_PAUSE * (1 << u32::from(failures - 1).min(5));
        Self {
            failures,
            until: now.plus(length.min(MAX_PAUSE)),
        }
    }
}

/// Addresses that others named.
#[derive(Default)]
struct Heard {
    /// Each is tried until it fails.
    addrs: SmallVec<[SocketAddr; MAX_HEARD]>,
    failures: u8,
}

struct Entry {
    rtt: RttEstimator,
    /// From its own proven session, or a dial that worked.
    own: Option<SocketAddr>,
    /// Few peers need it.
    heard: Option<Box<Heard>>,
    paused_until: Mono,
    /// An unknown caller is not pinged back before this.
    no_ping_back_until: Mono,
    /// When the first call after its last sign of life began; none while no call is out.
    asked: Option<Mono>,
    /// Calls that are out.
    owed: u8,
    /// Failures in a row; none means that it is not paused.
    failures: u8,
    /// Ping-backs in a row that it did not answer.
    ping_backs_failed: u8,
    dialect: Dialect,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            rtt: RttEstimator::default(),
            own: None,
            heard: None,
            paused_until: Mono::default(),
            no_ping_back_until: Mono::default(),
            asked: None,
            owed: 0,
            failures: 0,
            ping_backs_failed: 0,
            dialect: Dialect::Unknown,
        }
    }
}

/// What is remembered about peers.
pub(crate) struct PeerStore {
    entries: LruMap<Entry>,
    addresses: BTreeMap<SocketAddr, Pause>,
    addresses_by_end: BTreeSet<(Mono, SocketAddr)>,
    /// Bootstrap peers and their configured addresses: never paused, never forgotten.
    pinned: BTreeMap<PublicKey, Addrs>,
    all: RttEstimator,
    max: usize,
    /// Peers whose last answer said that they are full nodes.
    full_nodes: BTreeSet<PublicKey>,
}

impl PeerStore {
    pub(crate) fn new(max: usize, hash_seed: u64) -> Self {
        Self {
            entries: LruMap::new(max, hash_seed),
            addresses: BTreeMap::new(),
            addresses_by_end: BTreeSet::new(),
            pinned: BTreeMap::new(),
            all: RttEstimator::default(),
            max,
            full_nodes: BTreeSet::new(),
        }
    }

    /// Configured addresses of a bootstrap peer.
    pub(crate) fn pin(&mut self, key: PublicKey, addrs: &[SocketAddr]) {
        let addrs = addrs.iter().copied().map(canonical).collect();
        self.pinned.insert(key, addrs);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, key: &PublicKey, now: Mono) -> &mut Entry {
        self.entries.get_or_default(key, now)
    }

    /// A peer answered: it is alive, and this long away.
    pub(crate) fn answered(
        &mut self,
        key: &PublicKey,
        rtt: Option<Duration>,
        dialect: Dialect,
        now: Mono,
    ) {
        if let Some(rtt) = rtt {
            self.all.sample(rtt);
        }
        let entry = self.entry(key, now);
        if let Some(rtt) = rtt {
            entry.rtt.sample(rtt);
        }
        entry.dialect = dialect;
        entry.ping_backs_failed = 0;
        entry.failures = 0;
        entry.asked = None;
    }

    /// The full nodes among the peers that are remembered as such.
    pub(crate) const fn full_nodes(&self) -> &BTreeSet<PublicKey> {
        &self.full_nodes
    }

    /// A peer's answer says whether it is a full node. Returns whether that is news of one; at most
    /// `max` are remembered.
    pub(crate) fn note_full_node(&mut self, key: &PublicKey, full: bool, max: usize) -> bool {
        if !full {
            self.full_nodes.remove(key);
            return false;
        }
        self.full_nodes.len() < max && self.full_nodes.insert(*key)
    }

    /// A call to a peer began.
    pub(crate) fn call_began(&mut self, key: &PublicKey, now: Mono) {
        let entry = self.entry(key, now);
        entry.owed = entry.owed.saturating_add(1);
        entry.asked.get_or_insert(now);
    }

    /// A call to a peer ended, somehow.
    pub(crate) fn call_ended(&mut self, key: &PublicKey, now: Mono) {
        let entry = self.entry(key, now);
        entry.owed = entry.owed.saturating_sub(1);
        if entry.owed == 0 {
            entry.asked = None;
        }
    }

    /// Whether a call to a peer is out.
    pub(crate) fn is_asked(&self, key: &PublicKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.owed > 0)
    }

    /// Whether so many calls to a peer are out that another one would bring nothing.
    pub(crate) fn owes_much(&self, key: &PublicKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.owed >= MAX_OWED)
    }

    /// Whether a peer owes an answer for longer than a call waits for it.
    pub(crate) fn is_overdue(&self, key: &PublicKey, now: Mono) -> bool {
        let asked = self.entries.get(key).and_then(|entry| entry.asked);
        asked.is_some_and(|asked| now.since(asked) >= self.patience(key))
    }

    /// A peer could not be reached, at none of these addresses.
    pub(crate) fn unreachable(&mut self, key: &PublicKey, addrs: &[SocketAddr], now: Mono) {
        for addr in addrs {
            self.pause_address(*addr, now);
        }
        let entry = self.entry(key, now);
        // What failed beside it, or before the pause was over, is the same failure.
        if entry.failures == 0 || entry.paused_until <= now {
            let pause = Pause::after(entry.failures, now);
            (entry.failures, entry.paused_until) = (pause.failures, pause.until);
        }
        if let Some(heard) = &mut entry.heard {
            heard.addrs.retain(|addr| !addrs.contains(addr));
        }
        // Where its own word is known nothing else is tried.
        if entry.own.is_none() {
            let heard = entry.heard.get_or_insert_default();
            heard.failures = heard.failures.saturating_add(1);
        }
    }

    /// An address did not work, for whatever key.
    pub(crate) fn pause_address(&mut self, addr: SocketAddr, now: Mono) {
        let old = self.addresses.get(&addr).copied();
        if let Some(old) = old {
            self.addresses_by_end.remove(&(old.until, addr));
        }
        while self.addresses.len() >= self.max {
            let Some((_, ended)) = self.addresses_by_end.pop_first() else {
                break;
            };
            self.addresses.remove(&ended);
        }
        let pause = Pause::after(old.map_or(0, |old| old.failures), now);
        self.addresses.insert(addr, pause);
        self.addresses_by_end.insert((pause.until, addr));
    }

    /// Whether dialling this address must wait: it failed lately, for whatever key.
    pub(crate) fn address_paused(&self, addr: &SocketAddr, now: Mono) -> bool {
        self.addresses
            .get(addr)
            .is_some_and(|pause| pause.until > now)
    }

    /// An address worked: a handshake with the peer succeeded there.
    pub(crate) fn reached(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        if let Some(pause) = self.addresses.remove(&addr) {
            self.addresses_by_end.remove(&(pause.until, addr));
        }
        let entry = self.entry(key, now);
        entry.own = Some(addr);
        entry.heard = None;
        // It may be asked. Whether it answers is another matter.
        entry.paused_until = now;
    }

    /// A peer named its own address over its own proven session.
    pub(crate) fn claims(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        self.entry(key, now).own = Some(addr);
    }

    /// The address from the peer's own session.
    pub(crate) fn own_address(&self, key: &PublicKey) -> Option<SocketAddr> {
        self.entries.get(key).and_then(|entry| entry.own)
    }

    /// The node's own user says where a peer is: that is tried, whatever failed before.
    pub(crate) fn set_address(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        let addr = canonical(addr);
        if let Some(pause) = self.addresses.remove(&addr) {
            self.addresses_by_end.remove(&(pause.until, addr));
        }
        if let Some(pinned) = self.pinned.get_mut(key) {
            // The newest first: a name may have moved.
            pinned.retain(|known| *known != addr);
            pinned.truncate(MAX_HEARD - 1);
            return pinned.insert(0, addr);
        }
        let entry = self.entry(key, now);
        // What was its own word comes after: the user may know that it moved.
        let own = entry.own.take().filter(|own| *own != addr);
        let heard = entry.heard.get_or_insert_default();
        heard.failures = 0;
        heard.addrs.retain(|known| *known != addr);
        own.into_iter().for_each(|own| heard.addrs.insert(0, own));
        heard.addrs.truncate(MAX_HEARD - 1);
        heard.addrs.insert(0, addr);
    }

    /// Whether a peer failed so lately that asking it again would waste a place.
    pub(crate) fn is_paused(&self, key: &PublicKey, now: Mono) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.failures > 0 && entry.paused_until > now)
            && !self.pinned.contains_key(key)
    }

    /// A caller answered a ping, but its bucket is full.
    pub(crate) fn no_room(&mut self, key: &PublicKey, now: Mono) {
        self.entry(key, now).no_ping_back_until = now.plus(NO_ROOM_PAUSE);
    }

    /// A caller did not answer a ping on its own session.
    pub(crate) fn ping_back_failed(&mut self, key: &PublicKey, now: Mono) {
        let entry = self.entry(key, now);
        let pause = Pause::after(entry.ping_backs_failed, now);
        (entry.ping_backs_failed, entry.no_ping_back_until) = (pause.failures, pause.until);
    }

    /// Whether pinging a caller back is of no use: it found no room lately, or did not answer.
    pub(crate) fn is_ping_back_paused(&self, key: &PublicKey, now: Mono) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.no_ping_back_until > now)
    }

    pub(crate) fn dialect(&self, key: &PublicKey) -> Dialect {
        self.entries
            .get(key)
            .map_or(Dialect::Unknown, |entry| entry.dialect)
    }

    pub(crate) fn rtt(&self, key: &PublicKey) -> Option<Duration> {
        self.entries.get(key).and_then(|entry| entry.rtt.smoothed())
    }

    /// After this long, a call to `key` no longer keeps its place in a lookup's window.
    pub(crate) fn soft_deadline(&self, key: &PublicKey) -> Duration {
        let measured = |rtt: &RttEstimator| {
            rtt.smoothed().map(|_| {
                rtt.soft_deadline(MIN_SOFT_DEADLINE, MAX_SOFT_DEADLINE, INITIAL_SOFT_DEADLINE)
            })
        };
        self.entries
            .get(key)
            .and_then(|entry| measured(&entry.rtt))
            .or_else(|| measured(&self.all))
            .unwrap_or(INITIAL_SOFT_DEADLINE)
    }

    /// After this long, an operation that has another answer waits no longer for a call to `key`.
    pub(crate) fn patience(&self, key: &PublicKey) -> Duration {
        self.soft_deadline(key).saturating_mul(PATIENCE)
    }

    /// How long an answer of `key` usually takes at most; none when its last call failed or it
    /// owes an answer for too long, so that no operation waits for it.
    pub(crate) fn expected(&self, key: &PublicKey, now: Mono) -> Option<Duration> {
        let failed = self
            .entries
            .get(key)
            .is_some_and(|entry| entry.failures > 0);
        (!failed && !self.is_overdue(key, now)).then(|| self.soft_deadline(key))
    }
}

impl AddressSource for PeerStore {
    /// Where to dial `key`: its own word first, else what others said (at most three tries).
    fn addresses(&mut self, key: &PublicKey, hint: Option<SocketAddr>, now: Mono) -> Addrs {
        let hint = hint.map(canonical);
        if let Some(pinned) = self.pinned.get(key) {
            // Its own word is newer than what was configured.
            let own = self.own_address(key);
            let others = pinned.iter().copied().filter(|addr| own != Some(*addr));
            return own.into_iter().chain(others).collect();
        }
        let entry = self.entries.get_or_default(key, now);
        let mut addrs = Addrs::new();
        addrs.extend(entry.own);
        let failures = entry.heard.as_ref().map_or(0, |heard| heard.failures);
        if entry.own.is_none() && usize::from(failures) < MAX_HEARD {
            let known =
                |heard: &Heard, hint| heard.addrs.len() >= MAX_HEARD || heard.addrs.contains(hint);
            if let Some(hint) = hint
                && !entry
                    .heard
                    .as_ref()
                    .is_some_and(|heard| known(heard, &hint))
            {
                entry.heard.get_or_insert_default().addrs.push(hint);
            }
            addrs.extend(
                entry
                    .heard
                    .iter()
                    .flat_map(|heard| heard.addrs.iter().copied()),
            );
        }
        addrs.retain(|addr| {
            self.addresses
                .get(addr)
                .is_none_or(|pause| pause.until <= now)
        });
        addrs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

    const RTT: Duration = Duration::from_millis(100);

    fn key(n: u8) -> PublicKey {
        SecretKey::from_bytes(&[n; 32]).unwrap().public()
    }

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn back_off_grows_to_thirty_seconds_and_an_answer_ends_it() {
        let mut store = PeerStore::new(8, 1);
        let mut now = 100;
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            // Many at the same time are one failure.
            for _ in 0..20 {
                store.unreachable(&key(1), &[], at(now));
            }
            assert!(store.is_paused(&key(1), at(now + pause - 1)), "{pause}");
            now += pause;
            assert!(!store.is_paused(&key(1), at(now)), "{pause}");
        }
        store.unreachable(&key(1), &[], at(now));
        store.answered(&key(1), Some(RTT), Dialect::Go, at(now + 1));
        assert!(!store.is_paused(&key(1), at(now + 1)));
    }

    #[test]
    fn nobody_waits_for_whom_failed_last_or_owes_an_answer_for_too_long() {
        let mut store = PeerStore::new(8, 1);
        store.answered(&key(1), Some(RTT), Dialect::Skydht, at(1));
        let millis = |n: u64| at(10).plus(Duration::from_millis(n));
        let soft = store.expected(&key(1), millis(0)).unwrap();
        store.call_began(&key(1), millis(0));
        store.call_began(&key(1), millis(500));
        let patience = u64::try_from((soft * PATIENCE).as_millis()).unwrap();
        assert!(store.expected(&key(1), millis(patience - 1)).is_some());
        assert!(store.expected(&key(1), millis(patience)).is_none());
        assert!(store.is_overdue(&key(1), millis(patience)));
        // It answers one of them: it is alive, and the clock starts with the next call.
        store.answered(&key(1), Some(RTT), Dialect::Skydht, millis(patience));
        store.call_ended(&key(1), millis(patience));
        assert!(store.expected(&key(1), millis(9_000)).is_some());
        store.unreachable(&key(1), &[], millis(9_000));
        // Long after the pause it is still the one that failed last.
        assert!(!store.is_paused(&key(1), at(900)));
        assert!(store.expected(&key(1), at(900)).is_none());
        store.answered(&key(1), Some(RTT), Dialect::Go, at(900));
        assert!(store.expected(&key(1), at(900)).is_some());
        for _ in 0..MAX_OWED {
            assert!(!store.owes_much(&key(2)));
            store.call_began(&key(2), at(900));
        }
        assert!(store.owes_much(&key(2)));
    }

    #[test]
    fn a_failed_ping_back_pauses_ping_backs_and_a_failed_dial_does_not() {
        let mut store = PeerStore::new(8, 1);
        store.unreachable(&key(1), &[addr(1)], at(10));
        assert!(!store.is_ping_back_paused(&key(1), at(10)));
        store.ping_back_failed(&key(1), at(10));
        store.ping_back_failed(&key(1), at(11));
        assert!(store.is_ping_back_paused(&key(1), at(12)));
        assert!(!store.is_ping_back_paused(&key(1), at(13)));
        store.no_room(&key(1), at(20));
        assert!(store.is_ping_back_paused(&key(1), at(619)));
    }

    #[test]
    fn hearsay_gets_three_tries_and_the_peers_own_word_ends_that() {
        let mut store = PeerStore::new(8, 1);
        for port in 1..=3 {
            let addrs = store.addresses(&key(1), Some(addr(port)), at(port.into()));
            assert_eq!(addrs.as_slice(), [addr(port)]);
            store.unreachable(&key(1), &addrs, at(port.into()));
        }
        assert!(store.addresses(&key(1), Some(addr(4)), at(1000)).is_empty());
        store.claims(&key(1), addr(9), at(1000));
        assert_eq!(
            store.addresses(&key(1), None, at(1000)).as_slice(),
            [addr(9)]
        );
    }

    #[test]
    fn a_bootstrap_peer_that_moved_is_dialled_where_it_says_first() {
        let mut store = PeerStore::new(8, 1);
        store.pin(key(1), &[addr(1), addr(2)]);
        store.claims(&key(1), addr(3), at(1));
        let addrs = store.addresses(&key(1), None, at(1));
        assert_eq!(addrs.as_slice(), [addr(3), addr(1), addr(2)]);
        store.claims(&key(1), addr(2), at(1));
        let addrs = store.addresses(&key(1), None, at(1));
        assert_eq!(addrs.as_slice(), [addr(2), addr(1)]);
    }

    #[test]
    fn an_address_is_paused_until_its_moment() {
        let mut store = PeerStore::new(8, 1);
        store.pause_address(addr(1), at(10));
        assert!(store.address_paused(&addr(1), Mono(at(11).0 - 1)));
        assert!(!store.address_paused(&addr(1), at(11)));
    }

    #[test]
    fn a_call_is_overdue_since_the_first_that_is_out_and_not_when_none_is() {
        let mut store = PeerStore::new(8, 1);
        for _ in 0..2 {
            store.call_began(&key(1), at(10));
        }
        store.call_ended(&key(1), at(11));
        assert!(store.is_overdue(&key(1), at(100)));
        store.call_ended(&key(1), at(11));
        assert!(!store.is_overdue(&key(1), at(100)));
    }

    #[test]
    fn an_address_that_failed_for_one_key_is_not_dialled_for_another() {
        let mut store = PeerStore::new(8, 1);
        store.unreachable(&key(1), &[addr(1)], at(10));
        assert!(store.addresses(&key(2), Some(addr(1)), at(10)).is_empty());
        assert!(!store.addresses(&key(2), Some(addr(1)), at(12)).is_empty());
    }

    #[test]
    fn an_address_that_the_user_gives_is_tried_whatever_failed_before() {
        let mut store = PeerStore::new(8, 1);
        store.pin(key(2), &[]);
        for key in [key(1), key(2)] {
            for port in 1..=6 {
                let now = at(port.into());
                store.set_address(&key, addr(port), now);
                let addrs = store.addresses(&key, None, now);
                assert_eq!(addrs[0], addr(port));
                assert!(addrs.len() <= MAX_HEARD);
                store.unreachable(&key, &addrs, now);
            }
        }
        // Told again, in the pause after its failure.
        store.set_address(&key(1), addr(6), at(6));
        assert_eq!(store.addresses(&key(1), None, at(6)).as_slice(), [addr(6)]);
    }

    #[test]
    fn of_the_addresses_heard_of_the_newest_are_kept() {
        let mut store = PeerStore::new(8, 1);
        store.pin(key(2), &[]);
        for key in [key(1), key(2)] {
            for port in 1..=5 {
                store.set_address(&key, addr(port), at(1));
            }
            let addrs = store.addresses(&key, None, at(1));
            assert_eq!(addrs.as_slice(), [addr(5), addr(4), addr(3)]);
        }
    }

    #[test]
    fn a_round_trip_is_told_once_it_was_measured() {
        let mut store = PeerStore::new(8, 1);
        assert_eq!(store.rtt(&key(1)), None);
        store.answered(&key(1), Some(RTT), Dialect::Go, at(1));
        assert_eq!(store.rtt(&key(1)), Some(RTT));
    }

    #[test]
    fn the_least_recently_used_are_forgotten_at_the_limit() {
        let mut store = PeerStore::new(3, 1);
        for n in 1..=5 {
            store.answered(&key(n), Some(RTT), Dialect::Go, at(u64::from(n) * 100));
            store.unreachable(&key(n), &[addr(n.into())], at(u64::from(n) * 100));
        }
        assert_eq!((store.len(), store.addresses.len()), (3, 3));
        assert_eq!(store.addresses_by_end.len(), store.addresses.len());
        assert!(store.entries.get(&key(1)).is_none() && store.entries.get(&key(5)).is_some());
    }
}
