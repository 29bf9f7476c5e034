//! The sessions that run, with what ends each, and who makes room when there are too many.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::channel::oneshot;

use crate::shares::{Shares, source};

struct Entry<S> {
    session: S,
    /// What it counts for: see [`crate::shares`].
    address: Option<IpAddr>,
    _kill: oneshot::Sender<()>,
}

/// Sessions by number.
pub struct Running<S> {
    max: usize,
    last_id: u64,
    sessions: BTreeMap<u64, Entry<S>>,
    shares: Shares<()>,
}

/// A session that was entered.
pub struct Started {
    /// Its number; later ones are higher.
    pub id: u64,
    /// Completes when it must end at once.
    pub killed: oneshot::Receiver<()>,
}

impl<S> Running<S> {
    /// For `max` sessions. Who adds looks at it: see [`Running::is_full`].
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            last_id: 0,
            sessions: BTreeMap::new(),
            shares: Shares::default(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many more there may be.
    #[must_use]
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.len())
    }

    /// Whether another one must make room for the next.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// Enters a session with a peer at `ip`, if that is known.
    pub fn add(&mut self, ip: Option<IpAddr>, session: impl FnOnce(u64) -> S) -> Started {
        self.last_id += 1;
        let id = self.last_id;
        let (kill, killed) = oneshot::channel();
        let address = ip.map(source);
        if let Some(address) = address {
            self.shares.insert(address, (), id);
        }
        let entry = Entry {
            session: session(id),
            address,
            _kill: kill,
        };
        self.sessions.insert(id, entry);
        Started { id, killed }
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&S> {
        self.sessions.get(&id).map(|entry| &entry.session)
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &S> {
        self.sessions.values().map(|entry| &entry.session)
    }

    /// Takes one out, and ends it if it runs.
    pub fn remove(&mut self, id: u64) -> Option<S> {
        let entry = self.sessions.remove(&id)?;
        if let Some(address) = entry.address {
            self.shares.remove(address, (), id);
        }
        Some(entry.session)
    }

    /// Ends all.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.shares.clear();
    }

    /// The session that makes room for one with `ip`: of the address with the most, if it has at
    /// least two more, the first in `order`.
    pub fn largest_yields<K: Ord>(&self, ip: IpAddr, order: impl Fn(&S) -> K) -> Option<u64> {
        let largest = self.shares.yields_to(source(ip))?;
        let of_largest = self.sessions.iter();
        let of_largest = of_largest.filter(|(_, entry)| entry.address == Some(largest));
        let first = of_largest.min_by_key(|(id, entry)| (order(&entry.session), **id));
        first.map(|(id, _)| *id)
    }

    /// The first in `order` of those that `may_go`, and whose addresses have more than `ip` has, or
    /// are the same. Without an address, of all.
    pub fn equal_yields<K: Ord>(
        &self,
        ip: Option<IpAddr>,
        may_go: impl Fn(&S) -> bool,
        order: impl Fn(&S) -> K,
    ) -> Option<u64> {
        let address = ip.map(source);
        let own = address.map_or(0, |address| self.shares.of_address(address));
        let has_more = |entry: &Entry<S>| match entry.address {
            Some(other) if Some(other) != address => self.shares.of_address(other) > own,
            _ => true,
        };
        let candidates = self.sessions.iter();
        let candidates = candidates.filter(|(_, entry)| may_go(&entry.session) && has_more(entry));
        let first = candidates.min_by_key(|(id, entry)| (order(&entry.session), **id));
        first.map(|(id, _)| *id)
    }
}
