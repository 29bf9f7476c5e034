//! The running sessions, and which of them makes room when there are too many.

use std::collections::BTreeMap;
use std::net::IpAddr;

use futures::channel::oneshot;

use crate::shares::{Shares, source};

struct Entry<S> {
    session: S,
    /// Address that the session counts for, see [`crate::shares`]; `None` if unknown.
    address: Option<IpAddr>,
    /// Completes [`Started::killed`] when dropped.
    _kill: oneshot::Sender<()>,
}

/// Sessions by id. Removing one ends its task.
pub struct Running<S> {
    max: usize,
    last_id: u64,
    sessions: BTreeMap<u64, Entry<S>>,
    shares: Shares<()>,
}

/// A session that was added to [`Running`].
pub struct Started {
    /// Its id; later sessions have higher ones.
    pub id: u64,
    /// Completes when the session must end immediately.
    pub killed: oneshot::Receiver<()>,
}

impl<S> Running<S> {
    /// Creates a table for `max` sessions. [`Running::add`] does not enforce the limit: check
    /// [`Running::is_full`] before.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            last_id: 0,
            sessions: BTreeMap::new(),
            shares: Shares::default(),
        }
    }

    /// Returns the number of sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// Returns how many more sessions the limit allows.
    #[must_use]
    pub fn room(&self) -> usize {
        self.max.saturating_sub(self.len())
    }

    /// Returns whether a session must be removed before the next one is added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room() == 0
    }

    /// Adds a session with a peer at `ip`, if the address is known.
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

    /// Returns the session with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&S> {
        self.sessions.get(&id).map(|entry| &entry.session)
    }

    /// Returns all sessions, oldest first.
    pub fn all(&self) -> impl Iterator<Item = &S> {
        self.sessions.values().map(|entry| &entry.session)
    }

    /// Removes a session, which ends its task if it runs.
    pub fn remove(&mut self, id: u64) -> Option<S> {
        let entry = self.sessions.remove(&id)?;
        if let Some(address) = entry.address {
            self.shares.remove(address, (), id);
        }
        Some(entry.session)
    }

    /// Removes all sessions, which ends their tasks.
    pub fn clear(&mut self) {
        self.sessions.clear();
        self.shares.clear();
    }

    /// Returns the session that makes room for one from `ip`: the first in `order` of the address
    /// with the most sessions, if that has at least two more than `ip`.
    pub fn largest_yields<K: Ord>(&self, ip: IpAddr, order: impl Fn(&S) -> K) -> Option<u64> {
        let largest = self.shares.yields_to(source(ip))?;
        let of_largest = self.sessions.iter();
        let of_largest = of_largest.filter(|(_, entry)| entry.address == Some(largest));
        let first = of_largest.min_by_key(|(id, entry)| (order(&entry.session), **id));
        first.map(|(id, _)| *id)
    }

    /// Returns the first session in `order` that `may_go` and whose address is `ip` or has more
    /// sessions than `ip`. Without `ip`, every address qualifies.
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
