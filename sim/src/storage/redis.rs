//! A Redis that several hosts share: a server that takes writes, a replica that lags behind it, and
//! a failover that replaces the server by the replica.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::id::Target;
use skydht_core::node::StoreChange;
use skydht_core::record::StoredRecord;
use skydht_core::store::merge::{Judgement, Rank, judge};
use skydht_core::time::Unix;
use skydht_driver::storage::{Kept, News, Page, Storage, StorageError};

use crate::clock::SimTime;

/// Number of recent writes that clients can read. A client that lags further behind scans
/// everything.
const MOST_CHANGES: usize = 4_096;
/// Interval between polls.
pub(crate) const POLL: Duration = Duration::from_millis(200);
/// Interval between scans.
const SCAN_EVERY: Duration = Duration::from_secs(60);

/// A write of a client, and the previous record.
#[derive(Debug)]
struct Change {
    at: SimTime,
    target: Target,
    by: u32,
    before: Option<StoredRecord>,
}

#[derive(Debug, Default)]
struct Server {
    now: SimTime,
    records: BTreeMap<Target, StoredRecord>,
    /// The last changes, and the number of the first of them.
    changes: VecDeque<Change>,
    first: u64,
    failovers: u64,
    failing: Option<StorageError>,
}

impl Server {
    fn next(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    fn set(&mut self, by: u32, target: Target, record: Option<StoredRecord>) {
        let before = match record {
            Some(record) => self.records.insert(target, record),
            None => self.records.remove(&target),
        };
        if self.changes.len() >= MOST_CHANGES {
            self.changes.pop_front();
            self.first += 1;
        }
        self.changes.push_back(Change {
            at: self.now,
            target,
            by,
            before,
        });
    }
}

/// The servers. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Redis(Arc<Mutex<Server>>);

impl Redis {
    fn lock(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client with its own number.
    #[must_use]
    pub fn client(&self, number: u32) -> RedisClient {
        RedisClient {
            redis: self.clone(),
            number,
            clock: Unix::default(),
            seen: 0,
            failovers: 0,
            scanned: None,
            known: BTreeMap::new(),
            better: Vec::new(),
        }
    }

    /// Sets the true time.
    pub(crate) fn set_now(&self, now: SimTime) {
        self.lock().now = now;
    }

    /// From now on every call of a client fails with this error; `None`: calls succeed.
    pub fn set_failing(&self, error: Option<StorageError>) {
        self.lock().failing = error;
    }

    /// Replaces the server by the replica, which lacks the writes within `lag`. Returns the targets
    /// whose last writes are lost.
    pub fn fail_over(&self, lag: Duration) -> Vec<Target> {
        let mut server = self.lock();
        let mut lost = Vec::new();
        while let Some(change) = server.changes.pop_back() {
            if server.now.since(change.at) >= lag {
                server.changes.push_back(change);
                break;
            }
            lost.push(change.target);
            match change.before {
                Some(record) => drop(server.records.insert(change.target, record)),
                None => drop(server.records.remove(&change.target)),
            }
        }
        server.failovers += 1;
        lost
    }

    /// All records in the order of their targets.
    #[must_use]
    pub fn records(&self) -> Vec<StoredRecord> {
        self.lock().records.values().cloned().collect()
    }
}

/// The connection of one host. It reads the writes of other hosts, and scans everything when these
/// may be incomplete: every minute, after a failover, and after a long absence.
#[derive(Debug)]
pub struct RedisClient {
    redis: Redis,
    number: u32,
    /// The host's wall clock.
    clock: Unix,
    /// Number of the next change to read.
    seen: u64,
    failovers: u64,
    scanned: Option<SimTime>,
    /// Records that it knows to be stored.
    known: BTreeMap<Target, Rank>,
    /// Better records that prevented a write.
    better: Vec<StoredRecord>,
}

fn is_over(record: &StoredRecord, clock: Unix) -> bool {
    record.expires.is_some_and(|at| at <= clock)
}

fn rank(record: &StoredRecord) -> Rank {
    Rank::of(&record.target, &record.item)
}

fn unproven(record: StoredRecord) -> Kept {
    Kept {
        record,
        proven: false,
    }
}

impl RedisClient {
    /// Sets the time on the host's wall clock.
    pub(crate) fn set_clock(&mut self, clock: Unix) {
        self.clock = clock;
    }

    fn keep(&mut self, server: &mut Server, record: &StoredRecord) {
        let (target, new) = (record.target, rank(record));
        let old = server.records.get(&target);
        let old = old.filter(|old| !is_over(old, self.clock));
        let judgement = old.map(|old| judge(&rank(old), &new));
        match (judgement, old) {
            (None | Some(Judgement::Newer { .. }), _) => {}
            (Some(Judgement::Same), Some(old)) if record.expires > old.expires => {}
            (Some(Judgement::Older { .. }), Some(old)) => {
                self.known.insert(target, rank(old));
                return self.better.push(old.clone());
            }
            _ => {
                self.known.insert(target, new);
                return;
            }
        }
        server.set(self.number, target, Some(record.clone()));
        self.known.insert(target, new);
    }

    /// Adds all records that are not known yet, and the known ones that are gone.
    fn scan(&mut self, server: &Server, news: &mut News) {
        for record in server.records.values() {
            if !is_over(record, self.clock) {
                self.compare(record, news);
            }
        }
        let gone = self
            .known
            .keys()
            .filter(|it| !server.records.contains_key(*it));
        news.wanted.extend(gone.copied());
        for target in &news.wanted {
            self.known.remove(target);
        }
        self.scanned = Some(server.now);
    }

    fn compare(&mut self, record: &StoredRecord, news: &mut News) {
        let found = rank(record);
        let known = self.known.insert(record.target, found);
        if known != Some(found) {
            // The node has a newer record than the new server.
            if known.is_some_and(|known| known > found) {
                news.wanted.push(record.target);
            } else {
                news.kept.push(unproven(record.clone()));
            }
        }
    }
}

impl Storage for RedisClient {
    fn kind(&self) -> &'static str {
        "simulated redis"
    }

    fn page(&mut self, from: Target, most: usize) -> Result<Page, StorageError> {
        let server = self.redis.lock();
        if let Some(error) = &server.failing {
            return Err(error.clone());
        }
        let mut rest = server.records.range(from..);
        let kept = rest.by_ref().take(most);
        let kept = kept.map(|(_, record)| unproven(record.clone())).collect();
        Ok(Page {
            kept,
            damaged: 0,
            next: rest.next().map(|(target, _)| *target),
        })
    }

    fn get(&mut self, target: &Target) -> Result<Option<Kept>, StorageError> {
        let server = self.redis.lock();
        if let Some(error) = &server.failing {
            return Err(error.clone());
        }
        Ok(server.records.get(target).cloned().map(unproven))
    }

    fn write(&mut self, changes: &[StoreChange], _: bool) -> Result<(), StorageError> {
        let redis = self.redis.clone();
        let server = &mut *redis.lock();
        if let Some(error) = &server.failing {
            return Err(error.clone());
        }
        for change in changes {
            match change {
                StoreChange::Keep(record) => self.keep(server, record),
                StoreChange::Forget(target) => {
                    self.known.remove(target);
                    let there = server.records.get(target);
                    if there.is_some_and(|record| is_over(record, self.clock)) {
                        server.set(self.number, *target, None);
                    }
                }
            }
        }
        Ok(())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn poll_every(&self) -> Option<Duration> {
        Some(POLL)
    }

    fn poll(&mut self) -> Result<News, StorageError> {
        let redis = self.redis.clone();
        let server = &*redis.lock();
        if let Some(error) = &server.failing {
            return Err(error.clone());
        }
        let mut news = News::default();
        news.kept.extend(self.better.drain(..).map(unproven));
        let behind = self.failovers != server.failovers || self.seen < server.first;
        let due = self
            .scanned
            .is_none_or(|at| server.now.since(at) >= SCAN_EVERY);
        if behind || due {
            self.scan(server, &mut news);
        } else {
            let from = self.seen.saturating_sub(server.first) as usize;
            for change in server.changes.iter().skip(from) {
                let record = server.records.get(&change.target);
                let record = record.filter(|record| !is_over(record, self.clock));
                if let Some(record) = record.filter(|_| change.by != self.number) {
                    self.compare(record, &mut news);
                }
            }
        }
        (self.failovers, self.seen) = (server.failovers, server.next());
        Ok(news)
    }
}
