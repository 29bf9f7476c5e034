//! A table of entries in memory, within limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::DiscoveryError;
use super::removed::RemovedEntries;
use crate::entry::{Entry, SignedEntry};
use crate::shares::{self, Shares};

/// How long a server's entry is kept after it was written.
pub const SERVER_LIFE: Duration = Duration::from_secs(120);
/// How long a client's entry is kept, also if it is a server's as well.
pub const CLIENT_LIFE: Duration = Duration::from_secs(3600);
/// How long a server that is also a client counts as available after its entry was written: three
/// times the interval at which servers write. Its entry is kept for longer.
pub const AVAILABLE_LIFE: Duration = Duration::from_secs(180);
/// How long the entry of a client is kept that asked for early expiry.
pub const EXPIRING_LIFE: Duration = Duration::from_secs(180);
/// A client's entry that was not written again for this long makes room for others when the table
/// is full. Clients write at least every 5 minutes.
pub const CLIENT_STALE: Duration = Duration::from_secs(900);
/// Maximum number of servers per client in [`EntryTable::clients_by_server`]; a client dials as
/// many.
pub const MOST_DELEGATED: usize = 16;
/// Maximum number of clients in one answer of [`EntryTable::clients_by_server`], counted once for
/// each server.
pub const MOST_PAIRS: usize = 1 << 18;
/// Maximum number of servers in one answer of [`EntryTable::available_servers`].
pub const MOST_SERVERS: usize = 512;

/// Capacity of an [`EntryTable`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Number of entries.
    pub entries: usize,
    /// Number of entries that are servers'.
    pub servers: usize,
    /// Total length of the entries' JSON, in bytes.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 100_000,
            servers: 4096,
            bytes: 256 << 20,
        }
    }
}

/// Result of writing an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// It is the first entry of its key.
    First,
    /// It replaced an older entry.
    Next,
}

struct StoredEntry {
    entry: SignedEntry,
    /// Address that it came from, and its id in `numbers`; `None` if the address is unknown.
    source: Option<(IpAddr, u64)>,
    written: Mono,
    expires: Mono,
    /// Whether it makes room for others once it is stale.
    is_displaceable: bool,
}

/// The entries of a discovery in memory, one per key, within [`Limits`].
pub struct EntryTable {
    stored: BTreeMap<PublicKey, StoredEntry>,
    /// All entries by expiry.
    expiring: BTreeSet<(Mono, PublicKey)>,
    /// Entries with `is_displaceable`, by when they were written.
    displaceable: BTreeSet<(Mono, PublicKey)>,
    servers: BTreeSet<PublicKey>,
    /// Entries with a known address, by address: those of [`ALL`], and those of [`SERVERS`].
    shares: [Shares<()>; 2],
    /// Keys by the id that `shares` uses for their entries.
    numbers: BTreeMap<u64, PublicKey>,
    last_number: u64,
    removed: RemovedEntries,
    bytes: usize,
    limits: Limits,
    /// Where the next sample of available servers begins.
    cursor: Option<PublicKey>,
    expired: u64,
    displaced: u64,
    /// Keys whose entry was changed or removed; `None` unless [`EntryTable::note_changes`] was
    /// called.
    changed: Option<BTreeSet<PublicKey>>,
}

impl EntryTable {
    /// Creates an empty table.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            stored: BTreeMap::new(),
            expiring: BTreeSet::new(),
            displaceable: BTreeSet::new(),
            servers: BTreeSet::new(),
            shares: Default::default(),
            numbers: BTreeMap::new(),
            last_number: 0,
            removed: RemovedEntries::new(limits.entries),
            bytes: 0,
            limits,
            cursor: None,
            expired: 0,
            displaced: 0,
            changed: None,
        }
    }

    /// Starts recording changes for [`EntryTable::take_changes`].
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Returns the keys whose entry has changed since the last call, each with its current entry.
    pub fn take_changes(&mut self) -> Vec<(PublicKey, Option<SignedEntry>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let changed = changed.into_iter().flatten();
        changed.map(|key| (key, self.get(&key).cloned())).collect()
    }

    fn record_change(&mut self, key: PublicKey) {
        if let Some(changed) = &mut self.changed {
            changed.insert(key);
        }
    }

    /// Removes expired entries. Other methods return expired entries unless this one is called
    /// first.
    pub fn expire(&mut self, now: Mono) {
        while let Some((at, key)) = self.expiring.first().copied()
            && at <= now
        {
            self.remove_at(now, &key);
            self.expired += 1;
        }
        self.removed.expire(now);
    }

    /// Returns the entry of a key.
    #[must_use]
    pub fn get(&self, key: &PublicKey) -> Option<&SignedEntry> {
        self.stored.get(key).map(|stored| &stored.entry)
    }

    /// Writes an entry that [`SignedEntry::judge`] has accepted. Here it is compared with the
    /// stored entry, or with one that was removed lately, so that no replay brings back what its
    /// owner removed. `source` is the address that it came from: at a limit, the address with the
    /// most entries makes room for others.
    ///
    /// # Errors
    /// [`DiscoveryError::Refused`] for its sequence or timestamp, or [`DiscoveryError::Full`].
    pub fn write(
        &mut self,
        now: Mono,
        entry: SignedEntry,
        expiring: bool,
        source: Option<IpAddr>,
    ) -> Result<Written, DiscoveryError> {
        let source = source.map(shares::source);
        let key = entry.entry().key;
        let is_server = entry.entry().server.is_some();
        let written = match self.get(&key) {
            Some(old) => {
                entry.entry().validate_iteration(old.entry())?;
                Written::Next
            }
            None => {
                self.removed.check_newer(entry.entry())?;
                Written::First
            }
        };
        if is_server && !self.servers.contains(&key) && self.servers.len() >= self.limits.servers {
            self.yield_to(now, source, SERVERS, &key)
                .ok_or(DiscoveryError::Full)?;
        }
        let (mut entries, mut bytes) = (self.stored.len() + 1, self.bytes + entry.json().len());
        if let Some(old) = self.get(&key) {
            entries -= 1;
            bytes -= old.json().len();
        }
        while entries > self.limits.entries || bytes > self.limits.bytes {
            let displaced = self.displace(now, &key);
            let displaced = displaced.or_else(|| self.yield_to(now, source, ALL, &key));
            bytes -= displaced.ok_or(DiscoveryError::Full)?;
            entries -= 1;
        }
        self.remove(&key);
        let is_client = entry.entry().client.is_some();
        let life = match (is_client, is_server, expiring) {
            (false, _, _) => SERVER_LIFE,
            (true, false, true) => EXPIRING_LIFE,
            (true, _, _) => CLIENT_LIFE,
        };
        let expires = now.plus(life);
        self.expiring.insert((expires, key));
        let is_displaceable = !is_server && !expiring;
        if is_displaceable {
            self.displaceable.insert((now, key));
        }
        if is_server {
            self.servers.insert(key);
        }
        self.bytes += entry.json().len();
        let source = source.map(|source| {
            self.last_number += 1;
            self.numbers.insert(self.last_number, key);
            for kind in share_indices(is_server) {
                self.shares[kind].insert(source, (), self.last_number);
            }
            (source, self.last_number)
        });
        let stored = StoredEntry {
            entry,
            source,
            written: now,
            expires,
            is_displaceable,
        };
        self.stored.insert(key, stored);
        self.record_change(key);
        Ok(written)
    }

    /// Makes room by removing the client's entry that was written longest ago, if it is stale.
    /// Returns the freed bytes.
    fn displace(&mut self, now: Mono, but: &PublicKey) -> Option<usize> {
        let oldest = self
            .displaceable
            .iter()
            .find(|(_, key)| key != but)
            .copied();
        let (written, key) = oldest?;
        if now.since(written) < CLIENT_STALE {
            return None;
        }
        let stored = self.remove_at(now, &key)?;
        self.displaced += 1;
        Some(stored.json().len())
    }

    /// Makes room for an entry from `source` by removing the newest entry of the address with the
    /// most, if it has more. Returns the freed bytes.
    fn yield_to(
        &mut self,
        now: Mono,
        source: Option<IpAddr>,
        kind: usize,
        but: &PublicKey,
    ) -> Option<usize> {
        let newest = self.shares[kind].yield_to(source?, ())?.last()?;
        let key = *self.numbers.get(newest)?;
        if key == *but {
            return None;
        }
        let stored = self.remove_at(now, &key)?;
        self.displaced += 1;
        Some(stored.json().len())
    }

    /// Returns whether an entry may be removed by a request from `source`: only from the address
    /// that wrote it last, if both are known. Anyone can read an entry and send it, so it proves
    /// nothing about its sender.
    #[must_use]
    pub fn may_remove(&self, key: &PublicKey, source: Option<IpAddr>) -> bool {
        let stored = self.stored.get(key).and_then(|stored| stored.source);
        match (stored, source) {
            (Some((written_from, _)), Some(source)) => written_from == shares::source(source),
            _ => true,
        }
    }

    /// Removes the entry of a key, and refuses its replay for a while.
    pub fn remove_at(&mut self, now: Mono, key: &PublicKey) -> Option<SignedEntry> {
        let entry = self.remove(key)?;
        self.removed.record(now, entry.entry());
        Some(entry)
    }

    /// Removes the entry of a key.
    fn remove(&mut self, key: &PublicKey) -> Option<SignedEntry> {
        let stored = self.stored.remove(key)?;
        self.record_change(*key);
        self.expiring.remove(&(stored.expires, *key));
        if stored.is_displaceable {
            self.displaceable.remove(&(stored.written, *key));
        }
        let is_server = self.servers.remove(key);
        if let Some((source, number)) = stored.source {
            self.numbers.remove(&number);
            for kind in share_indices(is_server) {
                self.shares[kind].remove(source, (), number);
            }
        }
        self.bytes -= stored.entry.json().len();
        Some(stored.entry)
    }

    /// Returns the keys of clients whose entry satisfies `fits`.
    pub fn clients(&self, fits: impl Fn(&Entry) -> bool) -> Vec<PublicKey> {
        let entries = self.stored.values().map(|stored| stored.entry.entry());
        let clients = entries.filter(|entry| entry.client.is_some() && fits(entry));
        clients.map(|entry| entry.key).collect()
    }

    /// Returns the entries of all servers.
    #[must_use]
    pub fn all_servers(&self) -> Vec<SignedEntry> {
        let servers = self.servers.iter().filter_map(|key| self.get(key));
        servers.cloned().collect()
    }

    /// Returns available servers that wrote their entry lately, those with the most free sessions
    /// first: at most [`MOST_SERVERS`], distributed evenly over addresses. If there are more, the
    /// next call continues with others.
    pub fn available_servers(&mut self, now: Mono) -> Vec<SignedEntry> {
        let after = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let before = self.cursor.into_iter();
        let before = before.flat_map(|cursor| self.servers.range(..=cursor));
        let order = self.servers.range((after, Bound::Unbounded)).chain(before);
        let mut of_source = BTreeMap::<_, usize>::new();
        let open = order
            .filter_map(|key| self.stored.get(key))
            .filter(|stored| now.since(stored.written) < AVAILABLE_LIFE)
            .filter(|stored| sessions(&stored.entry) > 0);
        // Take the first server of each address, then the second of each, and so on.
        let mut open: Vec<_> = open
            .map(|stored| {
                let rank = stored.source.map_or(0, |(source, _)| {
                    let before = of_source.entry(source).or_default();
                    *before += 1;
                    *before
                });
                (rank, &stored.entry)
            })
            .collect();
        open.sort_by_key(|(rank, _)| *rank);
        open.truncate(MOST_SERVERS);
        let mut open: Vec<SignedEntry> = open.into_iter().map(|(_, entry)| entry.clone()).collect();
        if open.len() == MOST_SERVERS {
            self.cursor = open.last().map(|signed| signed.entry().key);
        }
        open.sort_by_key(|signed| std::cmp::Reverse(sessions(signed)));
        open
    }

    /// Returns for each server the clients that name it, in order: up to [`MOST_DELEGATED`] servers
    /// per client, and [`MOST_PAIRS`] pairs in total. Reads every entry.
    #[must_use]
    pub fn clients_by_server(&self) -> BTreeMap<PublicKey, Vec<PublicKey>> {
        let mut clients: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let entries = self.stored.values().map(|stored| stored.entry.entry());
        let pairs = entries.flat_map(|entry| {
            let servers = entry.delegated_servers().iter().take(MOST_DELEGATED);
            let servers: BTreeSet<_> = servers.collect();
            servers.into_iter().map(|server| (*server, entry.key))
        });
        for (server, client) in pairs.take(MOST_PAIRS) {
            clients.entry(server).or_default().push(client);
        }
        clients
    }

    /// Returns the number of entries, the number of servers among them, and their bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        (self.stored.len(), self.servers.len(), self.bytes)
    }

    /// Returns how many entries expired, and how many were displaced by others, since the start.
    #[must_use]
    pub fn lost(&self) -> (u64, u64) {
        (self.expired, self.displaced)
    }
}

const ALL: usize = 0;
const SERVERS: usize = 1;

/// Returns the indices of the shares in which an entry counts.
fn share_indices(is_server: bool) -> impl Iterator<Item = usize> {
    [ALL, SERVERS].into_iter().take(1 + usize::from(is_server))
}

fn sessions(signed: &SignedEntry) -> i64 {
    let server = signed.entry().server.as_ref();
    server.map_or(0, |server| server.available_sessions)
}
