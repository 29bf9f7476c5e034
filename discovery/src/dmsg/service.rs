//! A DMSG discovery with its entries in memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::{Mono, Time};
use skydht_dmsg::discovery::{EntryTable, Limits, Written};
use skydht_dmsg::entry::SignedEntry;

use super::refusal::RETRY_AFTER;
use super::{Answer, Call, MOST_ANSWERED, Refusal, Rules};
use crate::health::Health;
use crate::rate_limit::RateLimit;
use crate::web::{Request, Response};

/// How long the collected clients of servers are reused.
const CLIENTS_LIFE: Duration = Duration::from_secs(15);

/// Rate limit per caller over DMSG, as in Go's service: interval between requests on average, and
/// burst.
const RATE_LIMIT: (Duration, u32) = (Duration::from_millis(10), 200);

/// What is known about the sender of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// Nothing is known.
    Unknown,
    /// A key authenticated by a DMSG stream; its requests are rate-limited, as in Go's services.
    Key(PublicKey),
    /// The address of a connection: it may store only a share of all entries, and may remove only
    /// entries that it stored.
    Address(IpAddr),
}

/// Contents of a discovery, and counts since its start.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Stored entries.
    pub entries: usize,
    /// Stored entries of servers.
    pub servers: usize,
    /// Total size of the entries' JSON, in bytes.
    pub bytes: usize,
    /// Requests.
    pub requests: u64,
    /// First entries of a key that were stored.
    pub set: u64,
    /// Newer entries of a key that were stored.
    pub updated: u64,
    /// Requests to remove an entry.
    pub removed: u64,
    /// Entries that expired.
    pub expired: u64,
    /// Inactive clients removed in favour of others.
    pub displaced: u64,
    /// Requests for keys or servers without an entry.
    pub not_found: u64,
    /// Entries that violated a rule.
    pub invalid: u64,
    /// Entries that were not signed by their owner.
    pub unauthorized: u64,
    /// Requests that were malformed, or not for this service.
    pub malformed: u64,
    /// Bodies or servers' entries that were too long.
    pub too_long: u64,
    /// Requests over DMSG beyond the rate limit.
    pub rate_limited: u64,
    /// Entries beyond the limit.
    pub full: u64,
}

/// A DMSG discovery with its entries in memory: takes requests with the time, and returns
/// responses.
pub struct DmsgDiscovery {
    rules: Rules,
    table: EntryTable,
    health: Health,
    stats: Stats,
    rate_limit: RateLimit<PublicKey>,
    /// The clients of each server, and when they were collected.
    clients: Option<(Mono, BTreeMap<PublicKey, Vec<PublicKey>>)>,
}

skydht_runtime::opaque_debug!(DmsgDiscovery);

impl DmsgDiscovery {
    /// Creates an empty discovery that starts now, with default limits.
    #[must_use]
    pub fn new(rules: Rules, now: Time) -> Self {
        Self::with(rules, Limits::default(), Health::new(now.unix, "unknown"))
    }

    /// Creates an empty discovery with these limits, whose `/health` is `health`.
    #[must_use]
    pub fn with(rules: Rules, limits: Limits, health: Health) -> Self {
        Self {
            rules,
            table: EntryTable::new(limits),
            health,
            stats: Stats::default(),
            rate_limit: RateLimit::new(RATE_LIMIT.0, RATE_LIMIT.1),
            clients: None,
        }
    }

    /// Starts to record changes for [`DmsgDiscovery::take_changes`].
    pub fn note_changes(&mut self) {
        self.table.note_changes();
    }

    /// Returns the keys whose entry has changed since the last call, with the current entry.
    pub fn take_changes(&mut self) -> Vec<(PublicKey, Option<SignedEntry>)> {
        self.table.take_changes()
    }

    /// Removes expired entries.
    pub fn expire(&mut self, now: Mono) {
        self.table.expire(now);
    }

    /// Replaces the rules for new entries.
    pub fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Answers a request of an unknown sender. Bodies above [`super::MAX_REQUEST`] are refused.
    pub fn handle(&mut self, now: Time, request: &Request) -> Response {
        self.handle_from(now, Caller::Unknown, request)
    }

    /// Answers a request of a sender about whom something is known.
    pub fn handle_from(&mut self, now: Time, caller: Caller, request: &Request) -> Response {
        let (may_ask, source) = match caller {
            Caller::Unknown => (true, None),
            Caller::Key(key) => (self.rate_limit.take(now.mono, key), None),
            Caller::Address(ip) => (true, Some(ip)),
        };
        let answer = match may_ask {
            true => Call::read(request).and_then(|call| self.apply(now, source, call)),
            false => Err(Refusal::RateLimited {
                retry_after: RETRY_AFTER,
            }),
        };
        self.count(&answer);
        match answer {
            Ok(answer) => answer.write(),
            Err(refusal) => refusal.write(),
        }
    }

    fn apply(&mut self, now: Time, source: Option<IpAddr>, call: Call) -> Result<Answer, Refusal> {
        self.table.expire(now.mono);
        let servers = |servers: Vec<_>| match servers.len() {
            0 => Err(Refusal::NoServers),
            _ => Ok(Answer::Servers(servers)),
        };
        match call {
            Call::Entry(key) => {
                let entry = self.table.get(&key).ok_or(Refusal::NotFound)?;
                Ok(Answer::Entry(entry.clone()))
            }
            Call::Publish { entry, expiring } => {
                let entry = self.rules.publish(entry, now.unix)?;
                match self.table.write(now.mono, entry, expiring, source)? {
                    Written::First => Ok(Answer::Set),
                    Written::Next => Ok(Answer::Updated),
                }
            }
            // As in upstream's service, the entry is removed even if it is newer than the one in
            // the request. Unlike there, only the host that stored it may remove it, because the
            // signed entry is public and proves nothing about the sender.
            Call::Remove(entry) => {
                self.rules.remove(&entry, now.unix)?;
                let key = entry.entry().key;
                if !self.table.may_remove(&key, source) {
                    return Err(Refusal::Forbidden);
                }
                self.table.remove_at(now.mono, &key);
                Ok(Answer::Removed)
            }
            Call::Clients => Ok(Answer::Keys(self.table.clients(|_| true))),
            Call::Visors => {
                let visors = self.table.clients(|entry| entry.client_type == "visor");
                Ok(Answer::Keys(visors))
            }
            Call::AvailableServers => servers(self.table.available_servers(now.mono)),
            Call::AllServers => servers(self.table.all_servers()),
            Call::Batch(keys) => self.batch(&keys),
            Call::ClientsByServer => {
                let clients = self.clients(now.mono).clone();
                Ok(Answer::ClientsByServer(clients))
            }
            Call::ClientsOf(server) => {
                let clients = self.clients(now.mono).get(&server).cloned();
                Ok(Answer::ClientsOf(clients.unwrap_or_default()))
            }
            Call::Health => Ok(Answer::Health(self.health.clone())),
        }
    }

    fn batch(&self, keys: &[PublicKey]) -> Result<Answer, Refusal> {
        let found = |key| self.table.get(key).map(|entry| (*key, entry));
        let entries: BTreeMap<_, _> = keys.iter().filter_map(found).collect();
        let bytes: usize = entries.values().map(|entry| entry.json().len()).sum();
        if bytes > MOST_ANSWERED {
            return Err(Refusal::TooLong);
        }
        let entries = entries.into_iter();
        let entries = entries.map(|(key, entry)| (key, entry.clone()));
        Ok(Answer::Entries(entries.collect()))
    }

    /// Returns the clients of each server, at most [`CLIENTS_LIFE`] old, because collecting them
    /// visits every entry.
    fn clients(&mut self, now: Mono) -> &BTreeMap<PublicKey, Vec<PublicKey>> {
        let known = self.clients.take();
        let known = known.filter(|(at, _)| now.since(*at) < CLIENTS_LIFE);
        let known = known.unwrap_or_else(|| (now, self.table.clients_by_server()));
        &self.clients.insert(known).1
    }

    fn count(&mut self, answer: &Result<Answer, Refusal>) {
        let stats = &mut self.stats;
        stats.requests += 1;
        let counter = match answer {
            Ok(Answer::Set) => &mut stats.set,
            Ok(Answer::Updated) => &mut stats.updated,
            Ok(Answer::Removed) => &mut stats.removed,
            Ok(
                Answer::Entry(_)
                | Answer::Keys(_)
                | Answer::Servers(_)
                | Answer::Entries(_)
                | Answer::ClientsByServer(_)
                | Answer::ClientsOf(_)
                | Answer::Health(_),
            ) => return,
            Err(Refusal::NotFound | Refusal::NoServers) => &mut stats.not_found,
            Err(Refusal::Invalid(_)) => &mut stats.invalid,
            Err(Refusal::Unauthorized) => &mut stats.unauthorized,
            Err(Refusal::TooLong) => &mut stats.too_long,
            Err(Refusal::RateLimited { .. }) => &mut stats.rate_limited,
            Err(Refusal::Full) => &mut stats.full,
            Err(
                Refusal::BadInput
                | Refusal::Unexpected
                | Refusal::Forbidden
                | Refusal::NoSuchPath
                | Refusal::Method(_),
            ) => &mut stats.malformed,
        };
        *counter += 1;
    }

    /// Returns contents and counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (entries, servers, bytes) = self.table.size();
        let (expired, displaced) = self.table.lost();
        Stats {
            entries,
            servers,
            bytes,
            expired,
            displaced,
            ..self.stats
        }
    }
}
