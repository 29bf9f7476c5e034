//! Entries in memory, within limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::DiscoveryError;
use super::gone::Gone;
use crate::entry::{Entry, SignedEntry};
use crate::shares::{self, Shares};

/// How long a server's entry counts after it was written.
pub const SERVER_LIFE: Duration = Duration::from_secs(120);
/// How long a client's entry counts, that of a client which is a server as well included.
pub const CLIENT_LIFE: Duration = Duration::from_secs(3600);
/// How long a server that is a client as well counts as available after it was written: three
/// times what a server waits between two entries. Its entry lives on.
pub const AVAILABLE_LIFE: Duration = Duration::from_secs(180);
/// How long a client's entry counts that asked to be forgotten.
pub const EXPIRING_LIFE: Duration = Duration::from_secs(180);
/// After this without a word a client's entry makes room for others when there is no more. Clients
/// write every 5 minutes or more often.
pub const CLIENT_STALE: Duration = Duration::from_secs(900);
/// Servers of one client that are looked at in [`EntryTable::clients_by_server`]; a client dials as
/// many.
pub const MOST_DELEGATED: usize = 16;
/// Clients in one answer of [`EntryTable::clients_by_server`], each counted as often as it is in
/// it.
pub const MOST_PAIRS: usize = 1 << 18;
/// Servers in one answer of available ones.
pub const MOST_SERVERS: usize = 512;

/// How much a table holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Entries in all.
    pub entries: usize,
    /// Servers among them.
    pub servers: usize,
    /// Bytes of all entries' JSON.
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

/// What became of an entry that was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// It is the first of its key.
    First,
    /// It follows another.
    Next,
}

struct Held {
    entry: SignedEntry,
    /// Where it came from, and its number among those that did.
    source: Option<(IpAddr, u64)>,
    written: Mono,
    expires: Mono,
    /// It makes room for others when it is old enough.
    is_displaceable: bool,
}

/// The entries of a discovery in memory, one a key, within [`Limits`].
pub struct EntryTable {
    held: BTreeMap<PublicKey, Held>,
    /// All of them, by when they expire.
    expiring: BTreeSet<(Mono, PublicKey)>,
    /// Those that make room for others, by when they were written.
    displaceable: BTreeSet<(Mono, PublicKey)>,
    servers: BTreeSet<PublicKey>,
    /// Those whose address is known: all, and the servers among them.
    shares: [Shares<()>; 2],
    numbers: BTreeMap<u64, PublicKey>,
    last_number: u64,
    /// The timestamps of entries that are gone.
    gone: Gone,
    bytes: usize,
    limits: Limits,
    /// Where the next sample of servers begins.
    cursor: Option<PublicKey>,
    expired: u64,
    displaced: u64,
    /// Keys whose entry has changed or gone, if somewhere else wants to know.
    changed: Option<BTreeSet<PublicKey>>,
}

impl EntryTable {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            held: BTreeMap::new(),
            expiring: BTreeSet::new(),
            displaceable: BTreeSet::new(),
            servers: BTreeSet::new(),
            shares: Default::default(),
            numbers: BTreeMap::new(),
            last_number: 0,
            gone: Gone::new(limits.entries),
            bytes: 0,
            limits,
            cursor: None,
            expired: 0,
            displaced: 0,
            changed: None,
        }
    }

    /// From now on [`EntryTable::take_changes`] says which entries have changed or gone.
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The keys whose entry has changed since the last call, with what it is now.
    pub fn take_changes(&mut self) -> Vec<(PublicKey, Option<SignedEntry>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let changed = changed.into_iter().flatten();
        changed.map(|key| (key, self.get(&key).cloned())).collect()
    }

    fn note(&mut self, key: PublicKey) {
        if let Some(changed) = &mut self.changed {
            changed.insert(key);
        }
    }

    /// Forgets what has expired. The other functions see nothing of it, if this one is called
    /// first.
    pub fn expire(&mut self, now: Mono) {
        while let Some((at, key)) = self.expiring.first().copied()
            && at <= now
        {
            self.remove_at(now, &key);
            self.expired += 1;
        }
        self.gone.expire(now);
    }

    /// The entry of a key.
    #[must_use]
    pub fn get(&self, key: &PublicKey) -> Option<&SignedEntry> {
        self.held.get(key).map(|held| &held.entry)
    }

    /// Writes an entry that was judged by itself; here it is judged against the one held, or that
    /// was held lately, so that no replay brings back what its owner has removed. `source` is where
    /// it came from: when there is no room, the address with the most makes some for others.
    ///
    /// # Errors
    /// [`DiscoveryError::Refused`] for a sequence or timestamp, or [`DiscoveryError::Full`].
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
                self.gone.judge(entry.entry())?;
                Written::First
            }
        };
        if is_server && !self.servers.contains(&key) && self.servers.len() >= self.limits.servers {
            self.yield_to(now, source, SERVERS, &key)
                .ok_or(DiscoveryError::Full)?;
        }
        let (mut entries, mut bytes) = (self.held.len() + 1, self.bytes + entry.json().len());
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
            for kind in kinds(is_server) {
                self.shares[kind].insert(source, (), self.last_number);
            }
            (source, self.last_number)
        });
        let held = Held {
            entry,
            source,
            written: now,
            expires,
            is_displaceable,
        };
        self.held.insert(key, held);
        self.note(key);
        Ok(written)
    }

    /// Makes room: the client that has been silent longest goes, if it was long enough. Says how
    /// many bytes that gave.
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
        let held = self.remove_at(now, &key)?;
        self.displaced += 1;
        Some(held.json().len())
    }

    /// Makes room for an entry from `source`: the newest goes from the address with the most, if it
    /// has more. Says how many bytes that gave.
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
        let held = self.remove_at(now, &key)?;
        self.displaced += 1;
        Some(held.json().len())
    }

    /// Whether an entry may be removed from here: only from where it was written last, if both are
    /// known. Anyone can read an entry, so that it proves nothing about its sender.
    #[must_use]
    pub fn may_remove(&self, key: &PublicKey, source: Option<IpAddr>) -> bool {
        let held = self.held.get(key).and_then(|held| held.source);
        match (held, source) {
            (Some((written_from, _)), Some(source)) => written_from == shares::source(source),
            _ => true,
        }
    }

    /// Forgets a key, and remembers for a while that older entries of it are so.
    pub fn remove_at(&mut self, now: Mono, key: &PublicKey) -> Option<SignedEntry> {
        let entry = self.remove(key)?;
        self.gone.note(now, entry.entry());
        Some(entry)
    }

    /// Forgets a key.
    fn remove(&mut self, key: &PublicKey) -> Option<SignedEntry> {
        let held = self.held.remove(key)?;
        self.note(*key);
        self.expiring.remove(&(held.expires, *key));
        if held.is_displaceable {
            self.displaceable.remove(&(held.written, *key));
        }
        let is_server = self.servers.remove(key);
        if let Some((source, number)) = held.source {
            self.numbers.remove(&number);
            for kind in kinds(is_server) {
                self.shares[kind].remove(source, (), number);
            }
        }
        self.bytes -= held.entry.json().len();
        Some(held.entry)
    }

    /// The keys of clients for which `fits` holds.
    pub fn clients(&self, fits: impl Fn(&Entry) -> bool) -> Vec<PublicKey> {
        let entries = self.held.values().map(|held| held.entry.entry());
        let clients = entries.filter(|entry| entry.client.is_some() && fits(entry));
        clients.map(|entry| entry.key).collect()
    }

    /// All servers.
    #[must_use]
    pub fn all_servers(&self) -> Vec<SignedEntry> {
        let servers = self.servers.iter().filter_map(|key| self.get(key));
        servers.cloned().collect()
    }

    /// Servers that take clients and were heard of lately, those with most room first: at most
    /// [`MOST_SERVERS`], as many of each address as others allow, and if there are more, others
    /// the next time.
    pub fn available_servers(&mut self, now: Mono) -> Vec<SignedEntry> {
        let after = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let before = self.cursor.into_iter();
        let before = before.flat_map(|cursor| self.servers.range(..=cursor));
        let order = self.servers.range((after, Bound::Unbounded)).chain(before);
        let mut of_source = BTreeMap::<_, usize>::new();
        let open = order
            .filter_map(|key| self.held.get(key))
            .filter(|held| now.since(held.written) < AVAILABLE_LIFE)
            .filter(|held| sessions(&held.entry) > 0);
        // The first of each address, then the second of each.
        let mut open: Vec<_> = open
            .map(|held| {
                let rank = held.source.map_or(0, |(source, _)| {
                    let before = of_source.entry(source).or_default();
                    *before += 1;
                    *before
                });
                (rank, &held.entry)
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

    /// Of each server the clients that name it, in order: of each client [`MOST_DELEGATED`]
    /// servers, and [`MOST_PAIRS`] in all. Looks at every entry.
    #[must_use]
    pub fn clients_by_server(&self) -> BTreeMap<PublicKey, Vec<PublicKey>> {
        let mut clients: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let entries = self.held.values().map(|held| held.entry.entry());
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

    /// Entries, servers among them, and their bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize, usize) {
        (self.held.len(), self.servers.len(), self.bytes)
    }

    /// Entries that expired, and clients that made room for others, since the start.
    #[must_use]
    pub fn lost(&self) -> (u64, u64) {
        (self.expired, self.displaced)
    }
}

const ALL: usize = 0;
const SERVERS: usize = 1;

/// Which shares an entry counts in.
fn kinds(is_server: bool) -> impl Iterator<Item = usize> {
    [ALL, SERVERS].into_iter().take(1 + usize::from(is_server))
}

fn sessions(signed: &SignedEntry) -> i64 {
    let server = signed.entry().server.as_ref();
    server.map_or(0, |server| server.available_sessions)
}
