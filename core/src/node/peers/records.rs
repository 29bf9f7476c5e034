//! What is remembered about peers besides the routing table: round trips, dialect, addresses and
//! back-off, up to a limit; the least recently used are forgotten first.

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

/// Maximum number of addresses tried for a key that did not come from its own session.
const MAX_REPORTED: usize = 3;
/// First pause after a failed dial. Each further failure doubles it, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Maximum pause after a failed dial.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Maximum number of concurrent calls to a peer that does not answer.
const MAX_CALLS: u8 = 16;
/// Pause before a caller is pinged back again that answered but found its bucket full. Without it,
/// two nodes without room for each other would ping each other back forever.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10 * 60);

/// Protocol extensions that a peer supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialect {
    /// It has not answered yet.
    Unknown,
    /// It answered without our extensions.
    Go,
    /// It answered with our extensions.
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

/// Addresses of a peer that other nodes named.
#[derive(Default)]
struct ReportedAddrs {
    /// Addresses not known to fail.
    addrs: SmallVec<[SocketAddr; MAX_REPORTED]>,
    failures: u8,
}

struct PeerRecord {
    rtt: RttEstimator,
    /// The address that it advertised over its own session, or that a dial has proved.
    own: Option<SocketAddr>,
    /// Boxed because few peers need it.
    reported: Option<Box<ReportedAddrs>>,
    paused_until: Mono,
    /// Time before which the peer, as an unknown caller, is not pinged back.
    no_ping_back_until: Mono,
    /// Start of the first call since its last sign of life; `None` if no call is in progress.
    asked: Option<Mono>,
    calls: u8,
    /// Consecutive failures; 0: it is not in back-off.
    failures: u8,
    /// Consecutive ping-backs without an answer.
    ping_backs_failed: u8,
    dialect: Dialect,
}

impl Default for PeerRecord {
    fn default() -> Self {
        Self {
            rtt: RttEstimator::default(),
            own: None,
            reported: None,
            paused_until: Mono::default(),
            no_ping_back_until: Mono::default(),
            asked: None,
            calls: 0,
            failures: 0,
            ping_backs_failed: 0,
            dialect: Dialect::Unknown,
        }
    }
}

pub(crate) struct PeerStore {
    entries: LruMap<PeerRecord>,
    addresses: BTreeMap<SocketAddr, Pause>,
    addresses_by_end: BTreeSet<(Mono, SocketAddr)>,
    /// Bootstrap peers with their configured addresses; never in back-off, never forgotten.
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

    /// Sets the configured addresses of a bootstrap peer.
    pub(crate) fn pin(&mut self, key: PublicKey, addrs: &[SocketAddr]) {
        let addrs = addrs.iter().copied().map(canonical).collect();
        self.pinned.insert(key, addrs);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, key: &PublicKey, now: Mono) -> &mut PeerRecord {
        self.entries.get_or_default(key, now)
    }

    /// Records an answer of a peer, with its round-trip time unless that is meaningless.
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

    /// The peers whose last answer said that they are full nodes.
    pub(crate) const fn full_nodes(&self) -> &BTreeSet<PublicKey> {
        &self.full_nodes
    }

    /// Records whether a peer's answer says that it is a full node. Returns true if it is a newly
    /// known one. At most `max` are remembered.
    pub(crate) fn note_full_node(&mut self, key: &PublicKey, full: bool, max: usize) -> bool {
        if !full {
            self.full_nodes.remove(key);
            return false;
        }
        self.full_nodes.len() < max && self.full_nodes.insert(*key)
    }

    pub(crate) fn call_began(&mut self, key: &PublicKey, now: Mono) {
        let entry = self.entry(key, now);
        entry.calls = entry.calls.saturating_add(1);
        entry.asked.get_or_insert(now);
    }

    pub(crate) fn call_ended(&mut self, key: &PublicKey, now: Mono) {
        let entry = self.entry(key, now);
        entry.calls = entry.calls.saturating_sub(1);
        if entry.calls == 0 {
            entry.asked = None;
        }
    }

    pub(crate) fn has_call(&self, key: &PublicKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.calls > 0)
    }

    /// Whether so many calls to a peer are in progress that another is pointless.
    pub(crate) fn has_too_many_calls(&self, key: &PublicKey) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.calls >= MAX_CALLS)
    }

    /// Whether a peer has been silent for longer than operations wait for it.
    pub(crate) fn is_overdue(&self, key: &PublicKey, now: Mono) -> bool {
        let asked = self.entries.get(key).and_then(|entry| entry.asked);
        asked.is_some_and(|asked| now.since(asked) >= self.patience(key))
    }

    /// Records that a peer could not be reached at any of these addresses.
    pub(crate) fn unreachable(&mut self, key: &PublicKey, addrs: &[SocketAddr], now: Mono) {
        for addr in addrs {
            self.pause_address(*addr, now);
        }
        let entry = self.entry(key, now);
        // Failures of concurrent calls, or within the pause, are one failure.
        if entry.failures == 0 || entry.paused_until <= now {
            let pause = Pause::after(entry.failures, now);
            (entry.failures, entry.paused_until) = (pause.failures, pause.until);
        }
        if let Some(reported) = &mut entry.reported {
            reported.addrs.retain(|addr| !addrs.contains(addr));
        }
        // Only reported addresses are limited to a number of attempts.
        if entry.own.is_none() {
            let reported = entry.reported.get_or_insert_default();
            reported.failures = reported.failures.saturating_add(1);
        }
    }

    /// Puts an address into back-off, for every key.
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

    /// Whether an address is in back-off because it failed recently, for any key.
    pub(crate) fn address_paused(&self, addr: &SocketAddr, now: Mono) -> bool {
        self.addresses
            .get(addr)
            .is_some_and(|pause| pause.until > now)
    }

    /// Records that a handshake with a peer succeeded at an address.
    pub(crate) fn reached(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        if let Some(pause) = self.addresses.remove(&addr) {
            self.addresses_by_end.remove(&(pause.until, addr));
        }
        let entry = self.entry(key, now);
        entry.own = Some(addr);
        entry.reported = None;
        // It may be called again; whether it answers is a separate question.
        entry.paused_until = now;
    }

    /// Records an address that a peer advertised over its own proven session.
    pub(crate) fn claims(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        self.entry(key, now).own = Some(addr);
    }

    /// The address that the peer advertised, or that a dial has proved.
    pub(crate) fn own_address(&self, key: &PublicKey) -> Option<SocketAddr> {
        self.entries.get(key).and_then(|entry| entry.own)
    }

    /// Sets an address that this node's user gives, which is tried whatever failed before.
    pub(crate) fn set_address(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        let addr = canonical(addr);
        if let Some(pause) = self.addresses.remove(&addr) {
            self.addresses_by_end.remove(&(pause.until, addr));
        }
        if let Some(pinned) = self.pinned.get_mut(key) {
            // The newest comes first, since a host name may have moved.
            pinned.retain(|known| *known != addr);
            pinned.truncate(MAX_REPORTED - 1);
            return pinned.insert(0, addr);
        }
        let entry = self.entry(key, now);
        // The advertised address comes second: the user may know that the peer has moved.
        let own = entry.own.take().filter(|own| *own != addr);
        let reported = entry.reported.get_or_insert_default();
        reported.failures = 0;
        reported.addrs.retain(|known| *known != addr);
        own.into_iter()
            .for_each(|own| reported.addrs.insert(0, own));
        reported.addrs.truncate(MAX_REPORTED - 1);
        reported.addrs.insert(0, addr);
    }

    /// Whether a peer failed so recently that calling it again is not worth a call.
    pub(crate) fn is_paused(&self, key: &PublicKey, now: Mono) -> bool {
        self.entries
            .get(key)
            .is_some_and(|entry| entry.failures > 0 && entry.paused_until > now)
            && !self.pinned.contains_key(key)
    }

    pub(crate) fn bucket_full(&mut self, key: &PublicKey, now: Mono) {
        self.entry(key, now).no_ping_back_until = now.plus(NO_ROOM_PAUSE);
    }

    /// Records that a caller did not answer a ping on its own session.
    pub(crate) fn ping_back_failed(&mut self, key: &PublicKey, now: Mono) {
        let entry = self.entry(key, now);
        let pause = Pause::after(entry.ping_backs_failed, now);
        (entry.ping_backs_failed, entry.no_ping_back_until) = (pause.failures, pause.until);
    }

    /// Whether a caller is not to be pinged back: its bucket was full recently, or it did not
    /// answer.
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

    /// Time after which a call to `key` no longer occupies the window of a lookup.
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

    /// Time after which an operation that has another answer no longer waits for a call to `key`.
    pub(crate) fn patience(&self, key: &PublicKey) -> Duration {
        self.soft_deadline(key).saturating_mul(PATIENCE)
    }

    /// Time within which `key` usually answers; `None` if its last call failed or it is overdue, so
    /// that no operation waits for it.
    pub(crate) fn expected(&self, key: &PublicKey, now: Mono) -> Option<Duration> {
        let failed = self
            .entries
            .get(key)
            .is_some_and(|entry| entry.failures > 0);
        (!failed && !self.is_overdue(key, now)).then(|| self.soft_deadline(key))
    }
}

impl AddressSource for PeerStore {
    /// The addresses to dial for `key`: its own first, otherwise reported ones, with at most three
    /// attempts.
    fn addresses(&mut self, key: &PublicKey, hint: Option<SocketAddr>, now: Mono) -> Addrs {
        let hint = hint.map(canonical);
        if let Some(pinned) = self.pinned.get(key) {
            // The advertised address is newer than the configured ones.
            let own = self.own_address(key);
            let others = pinned.iter().copied().filter(|addr| own != Some(*addr));
            return own.into_iter().chain(others).collect();
        }
        let entry = self.entries.get_or_default(key, now);
        let mut addrs = Addrs::new();
        addrs.extend(entry.own);
        let failures = entry
            .reported
            .as_ref()
            .map_or(0, |reported| reported.failures);
        if entry.own.is_none() && usize::from(failures) < MAX_REPORTED {
            let known = |reported: &ReportedAddrs, hint| {
                reported.addrs.len() >= MAX_REPORTED || reported.addrs.contains(hint)
            };
            if let Some(hint) = hint
                && !entry
                    .reported
                    .as_ref()
                    .is_some_and(|reported| known(reported, &hint))
            {
                entry.reported.get_or_insert_default().addrs.push(hint);
            }
            addrs.extend(
                entry
                    .reported
                    .iter()
                    .flat_map(|reported| reported.addrs.iter().copied()),
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
            // Concurrent failures count as one.
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
    fn operations_do_not_wait_for_a_peer_that_failed_last_or_is_overdue() {
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
        // It answers one of the calls: it is alive, and the time starts anew with the next call.
        store.answered(&key(1), Some(RTT), Dialect::Skydht, millis(patience));
        store.call_ended(&key(1), millis(patience));
        assert!(store.expected(&key(1), millis(9_000)).is_some());
        store.unreachable(&key(1), &[], millis(9_000));
        // Long after the pause, its last call is still a failed one.
        assert!(!store.is_paused(&key(1), at(900)));
        assert!(store.expected(&key(1), at(900)).is_none());
        store.answered(&key(1), Some(RTT), Dialect::Go, at(900));
        assert!(store.expected(&key(1), at(900)).is_some());
        for _ in 0..MAX_CALLS {
            assert!(!store.has_too_many_calls(&key(2)));
            store.call_began(&key(2), at(900));
        }
        assert!(store.has_too_many_calls(&key(2)));
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
        store.bucket_full(&key(1), at(20));
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
                assert!(addrs.len() <= MAX_REPORTED);
                store.unreachable(&key, &addrs, now);
            }
        }
        // Given again during the pause after its failure.
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
    fn a_round_trip_time_is_known_once_it_was_measured() {
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
