//! What is remembered about peers beside the routing table: round trips, dialect, addresses,
//! back-off. Bounded; the least recently used are forgotten first.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::net::SocketAddr;
use core::time::Duration;

use smallvec::SmallVec;

use crate::key::PublicKey;
use crate::lookup::RttEstimator;
use crate::node::config::{INITIAL_SOFT_DEADLINE, MAX_SOFT_DEADLINE, MIN_SOFT_DEADLINE};
use crate::node::output::Addrs;
use crate::node::recent::Recent;
use crate::time::Mono;

/// Addresses tried for one key that never came from its own session.
const MAX_HEARD: usize = 3;
/// The first pause after a peer could not be reached; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after a peer or an address could not be reached.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// A caller that answered a ping and found no place in the table is not pinged again for this
/// long. Without the pause, two nodes without room for each other would ping back for ever.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(10 * 60);

/// What a peer speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
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
    fn after(previous: Option<Self>, now: Mono) -> Self {
        let failures = previous.map_or(0, |pause| pause.failures).saturating_add(1);
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
    no_room_until: Mono,
    /// Failures in a row; none means that it is not paused.
    failures: u8,
    dialect: Dialect,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            rtt: RttEstimator::default(),
            own: None,
            heard: None,
            paused_until: Mono::default(),
            no_room_until: Mono::default(),
            failures: 0,
            dialect: Dialect::Unknown,
        }
    }
}

impl Entry {
    fn pause(&self) -> Option<Pause> {
        (self.failures > 0).then_some(Pause {
            failures: self.failures,
            until: self.paused_until,
        })
    }

    fn is_alive(&mut self) {
        self.failures = 0;
    }
}

/// The book.
pub(super) struct Book {
    entries: Recent<Entry>,
    addresses: BTreeMap<SocketAddr, Pause>,
    addresses_by_end: BTreeSet<(Mono, SocketAddr)>,
    /// Bootstrap peers and their configured addresses: never paused, never forgotten.
    pinned: BTreeMap<PublicKey, Addrs>,
    all: RttEstimator,
    max: usize,
}

impl Book {
    pub(super) fn new(max: usize, hash_seed: u64) -> Self {
        Self {
            entries: Recent::new(max, hash_seed),
            addresses: BTreeMap::new(),
            addresses_by_end: BTreeSet::new(),
            pinned: BTreeMap::new(),
            all: RttEstimator::default(),
            max,
        }
    }

    /// Configured addresses of a bootstrap peer.
    pub(super) fn pin(&mut self, key: PublicKey, addrs: &[SocketAddr]) {
        self.pinned.insert(key, addrs.into());
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn entry(&mut self, key: &PublicKey, now: Mono) -> &mut Entry {
        self.entries.get_or_default(key, now)
    }

    /// A peer answered: it is alive, and this long away.
    pub(super) fn answered(&mut self, key: &PublicKey, rtt: Duration, dialect: Dialect, now: Mono) {
        self.all.sample(rtt);
        let entry = self.entry(key, now);
        entry.rtt.sample(rtt);
        entry.dialect = dialect;
        entry.is_alive();
    }

    /// Any sign of life ends the back-off.
    pub(super) fn alive(&mut self, key: &PublicKey, now: Mono) {
        self.entry(key, now).is_alive();
    }

    /// A peer could not be reached, at none of these addresses.
    pub(super) fn unreachable(&mut self, key: &PublicKey, addrs: &[SocketAddr], now: Mono) {
        for addr in addrs {
            self.pause_address(*addr, now);
        }
        let entry = self.entry(key, now);
        let pause = Pause::after(entry.pause(), now);
        (entry.failures, entry.paused_until) = (pause.failures, pause.until);
        if let Some(heard) = &mut entry.heard {
            heard.addrs.retain(|addr| !addrs.contains(addr));
        }
        if entry.own.is_none_or(|own| !addrs.contains(&own)) {
            let heard = entry.heard.get_or_insert_default();
            heard.failures = heard.failures.saturating_add(1);
        }
    }

    /// An address did not work, for whatever key.
    pub(super) fn pause_address(&mut self, addr: SocketAddr, now: Mono) {
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
        let pause = Pause::after(old, now);
        self.addresses.insert(addr, pause);
        self.addresses_by_end.insert((pause.until, addr));
    }

    /// Whether dialling this address must wait: it failed lately, for whatever key.
    pub(super) fn address_paused(&self, addr: &SocketAddr, now: Mono) -> bool {
        self.addresses
            .get(addr)
            .is_some_and(|pause| pause.until > now)
    }

    /// An address worked.
    pub(super) fn reached(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) {
        if let Some(pause) = self.addresses.remove(&addr) {
            self.addresses_by_end.remove(&(pause.until, addr));
        }
        let entry = self.entry(key, now);
        entry.own = Some(addr);
        entry.heard = None;
        entry.is_alive();
    }

    /// A peer named its own address over its own proven session. Returns whether it is news.
    pub(super) fn claims(&mut self, key: &PublicKey, addr: SocketAddr, now: Mono) -> bool {
        let entry = self.entry(key, now);
        entry.own.replace(addr) != Some(addr)
    }

    /// The address from the peer's own session.
    pub(super) fn own_address(&self, key: &PublicKey) -> Option<SocketAddr> {
        self.entries.get(key).and_then(|entry| entry.own)
    }

    /// Where to dial `key`: its own word first, else what others said (at most three tries).
    pub(super) fn addresses(
        &mut self,
        key: &PublicKey,
        hint: Option<SocketAddr>,
        now: Mono,
    ) -> Addrs {
        if let Some(pinned) = self.pinned.get(key) {
            let mut addrs = pinned.clone();
            let own = self.own_address(key).filter(|own| !addrs.contains(own));
            addrs.extend(own);
            return addrs;
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

    /// Whether a peer failed so lately that asking it again would waste a place.
    pub(super) fn is_paused(&self, key: &PublicKey, now: Mono) -> bool {
        self.entries
            .get(key)
            .and_then(Entry::pause)
            .is_some_and(|pause| pause.until > now)
            && !self.pinned.contains_key(key)
    }

    /// A caller answered a ping, but its bucket is full.
    pub(super) fn no_room(&mut self, key: &PublicKey, now: Mono) {
        self.entry(key, now).no_room_until = now.plus(NO_ROOM_PAUSE);
    }

    /// Whether a caller answered lately and found no room.
    pub(super) fn had_no_room(&self, key: &PublicKey, now: Mono) -> bool {
        let entry = self.entries.get(key);
        entry.is_some_and(|entry| entry.no_room_until > now)
    }

    pub(super) fn dialect(&self, key: &PublicKey) -> Dialect {
        self.entries
            .get(key)
            .map_or(Dialect::Unknown, |entry| entry.dialect)
    }

    pub(super) fn rtt(&self, key: &PublicKey) -> Option<Duration> {
        self.entries.get(key).and_then(|entry| entry.rtt.smoothed())
    }

    /// After this long, a call to `key` no longer keeps its place in a lookup's window.
    pub(super) fn soft_deadline(&self, key: &PublicKey) -> Duration {
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

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
    fn back_off_grows_to_thirty_seconds_and_any_sign_of_life_ends_it() {
        let mut book = Book::new(8, 1);
        for _ in 0..20 {
            book.unreachable(&key(1), &[], at(100));
        }
        assert!(book.is_paused(&key(1), at(129)) && !book.is_paused(&key(1), at(131)));
        book.alive(&key(1), at(101));
        assert!(!book.is_paused(&key(1), at(102)));
    }

    #[test]
    fn hearsay_gets_three_tries_and_the_peers_own_word_ends_that() {
        let mut book = Book::new(8, 1);
        for port in 1..=3 {
            let addrs = book.addresses(&key(1), Some(addr(port)), at(port.into()));
            assert_eq!(addrs.as_slice(), [addr(port)]);
            book.unreachable(&key(1), &addrs, at(port.into()));
        }
        assert!(book.addresses(&key(1), Some(addr(4)), at(1000)).is_empty());
        assert!(book.claims(&key(1), addr(9), at(1000)));
        assert_eq!(
            book.addresses(&key(1), None, at(1000)).as_slice(),
            [addr(9)]
        );
    }

    #[test]
    fn an_address_that_failed_for_one_key_is_not_dialled_for_another() {
        let mut book = Book::new(8, 1);
        book.unreachable(&key(1), &[addr(1)], at(10));
        assert!(book.addresses(&key(2), Some(addr(1)), at(10)).is_empty());
        assert!(!book.addresses(&key(2), Some(addr(1)), at(12)).is_empty());
    }

    #[test]
    fn the_least_recently_used_are_forgotten_at_the_limit() {
        let mut book = Book::new(3, 1);
        for n in 1..=5 {
            book.alive(&key(n), at(u64::from(n) * 100));
            book.unreachable(&key(n), &[addr(n.into())], at(u64::from(n) * 100));
        }
        assert_eq!((book.len(), book.addresses.len()), (3, 3));
        assert_eq!(book.addresses_by_end.len(), book.addresses.len());
        assert!(book.entries.get(&key(1)).is_none() && book.entries.get(&key(5)).is_some());
    }
}
