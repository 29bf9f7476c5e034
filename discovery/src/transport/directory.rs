//! A transport discovery with its transports in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::table::{Limits, Table};
use super::{Answer, Call, MOST_ANSWERED, Refusal};
use crate::auth::Nonces;
use crate::dmsg::Caller;
use crate::rate_limit::RateLimit;
use crate::record::{ElementError, Signed, Transport, TransportId};
use crate::web::{Request, Response};

/// Strictness of a transport discovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Whether it answers requests for all transports, as upstream did until autumn 2026; otherwise
    /// it responds with status 410.
    pub lists_all: bool,
    /// Rate limit per key or address: interval between requests on average, and burst.
    pub pace: (Duration, u32),
}

impl Default for Rules {
    /// Upstream's limit of 30 requests a minute with a burst of ten, and a list of all transports.
    fn default() -> Self {
        Self {
            lists_all: true,
            pace: (Duration::from_secs(2), 10),
        }
    }
}

/// Counts since the start; `transports` is the current number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Stored transports.
    pub transports: usize,
    /// Requests.
    pub requests: u64,
    /// Transports that were registered, first or again.
    pub registered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Refused requests whose sender was not authenticated.
    pub unauthorized: u64,
    /// Refused requests beyond the limit of transports.
    pub full: u64,
    /// Refused requests beyond the rate limit.
    pub too_often: u64,
}

/// The transport discovery. Its owner passes in requests with the time, and sends the responses.
pub struct TransportDiscovery {
    rules: Rules,
    table: Table,
    rate_limit: RateLimit<[u8; 34]>,
    stats: Stats,
    /// Edges whose lists have changed; `None` unless changes are recorded.
    changed: Option<BTreeSet<PublicKey>>,
}

impl std::fmt::Debug for TransportDiscovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportDiscovery")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Default for TransportDiscovery {
    fn default() -> Self {
        Self::new(Rules::default(), Limits::default())
    }
}

impl TransportDiscovery {
    /// Creates an empty transport discovery.
    #[must_use]
    pub fn new(rules: Rules, limits: Limits) -> Self {
        Self {
            rules,
            table: Table::new(limits),
            rate_limit: RateLimit::new(rules.pace.0, rules.pace.1),
            stats: Stats::default(),
            changed: None,
        }
    }

    /// Returns the rules.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        self.rules
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            transports: self.table.len(),
            ..self.stats
        }
    }

    /// Returns whether a path belongs to this service.
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        Call::has_path(path)
    }

    /// Starts to record the edges whose lists change, for [`TransportDiscovery::take_changes`]. The
    /// record holds each edge once.
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Returns the edges whose lists have changed since the last call, with their current lists.
    pub fn take_changes(&mut self) -> Vec<(PublicKey, Vec<Transport>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let list = |edge: PublicKey| (edge, self.table.of_edge(&edge).cloned().collect());
        changed.into_iter().flatten().map(list).collect()
    }

    /// Removes expired transports.
    pub fn expire(&mut self, now: Mono) {
        for gone in self.table.expire(now) {
            self.note(&gone);
        }
    }

    /// Answers a request.
    pub fn handle(
        &mut self,
        now: Mono,
        nonces: &mut Nonces,
        caller: Caller,
        request: &Request,
    ) -> Response {
        self.stats.requests += 1;
        self.expire(now);
        match self.answer(now, nonces, caller, request) {
            Ok(response) => response,
            Err(refusal) => {
                self.stats.refused += 1;
                match refusal {
                    Refusal::Unauthorized(_) => self.stats.unauthorized += 1,
                    Refusal::Full => self.stats.full += 1,
                    Refusal::TooOften(_) => self.stats.too_often += 1,
                    _ => {}
                }
                refusal.write()
            }
        }
    }

    fn answer(
        &mut self,
        now: Mono,
        nonces: &mut Nonces,
        caller: Caller,
        request: &Request,
    ) -> Result<Response, Refusal> {
        let call = Call::read(request)?;
        let mut key = None;
        if call.is_signed() {
            let proven = nonces.caller(caller, request);
            key = Some(proven.map_err(Refusal::Unauthorized)?);
        }
        if let Some(payer) = payer(caller, key)
            && !self.rate_limit.take(now, payer)
        {
            return Err(Refusal::TooOften(self.rules.pace.0));
        }
        let response = self.carry_out(now, key, &call)?.write(&call);
        if let Some(key) = key {
            nonces.answered(caller, &key, response.status());
        }
        Ok(response)
    }

    fn carry_out(
        &mut self,
        now: Mono,
        key: Option<PublicKey>,
        call: &Call,
    ) -> Result<Answer, Refusal> {
        let key = || key.ok_or(Refusal::ForeignEdge);
        Ok(match call {
            Call::ById(id) => {
                let found = self.table.get(id).ok_or(Refusal::NoSuchId(*id))?;
                Answer::One(found.clone())
            }
            Call::ByEdge(edge) => {
                let list: Vec<_> = self.table.of_edge(edge).cloned().collect();
                if list.is_empty() {
                    return Err(Refusal::NoneOfEdge(*edge));
                }
                Answer::List(list)
            }
            Call::OfEdge(edge) => Answer::List(self.table.of_edge(edge).cloned().collect()),
            Call::OfEdges(edges) => {
                let of_all = edges.iter().flat_map(|edge| self.table.of_edge(edge));
                let each: BTreeMap<TransportId, &Transport> =
                    of_all.map(|transport| (transport.id, transport)).collect();
                Answer::List(each.into_values().take(MOST_ANSWERED).cloned().collect())
            }
            Call::All if !self.rules.lists_all => return Err(Refusal::Gone),
            Call::All => Answer::List(self.table.all().take(MOST_ANSWERED).cloned().collect()),
            Call::Register(list) => {
                let key = key()?;
                let mut transports = Vec::with_capacity(list.len());
                for (index, signed) in list.iter().enumerate() {
                    let invalid = |error| Refusal::Invalid { index, error };
                    let entry = signed.entry.as_ref();
                    let entry = entry.ok_or_else(|| invalid(ElementError::Missing("entry")))?;
                    entry.validate().map_err(invalid)?;
                    if !entry.edges.contains(&key) {
                        return Err(Refusal::ForeignEdge);
                    }
                    if signed.verify().map_err(invalid)? == Signed::Neither {
                        return Err(invalid(ElementError::Missing("signatures")));
                    }
                    transports.push(entry.clone());
                }
                Answer::List(self.register(now, key, transports)?)
            }
            Call::RegisterBare(list) => {
                let key = key()?;
                for (index, transport) in list.iter().enumerate() {
                    let valid = transport.validate();
                    valid.map_err(|error| Refusal::Invalid { index, error })?;
                }
                let own = list.iter().filter(|it| it.edges.contains(&key));
                let own = own.cloned().collect();
                Answer::List(self.register(now, key, own)?)
            }
            Call::Delete(id) => {
                let found = self.table.get(id).ok_or(Refusal::NoSuchId(*id))?;
                if !found.edges.contains(&key()?) {
                    return Err(Refusal::ForeignEdge);
                }
                self.delete(id);
                Answer::Deleted
            }
            Call::DeleteBatch(ids) => {
                let key = key()?;
                let is_own = |id: &&TransportId| {
                    let found = self.table.get(id);
                    found.is_some_and(|it| it.edges.contains(&key))
                };
                let own: Vec<TransportId> = ids.iter().filter(is_own).copied().collect();
                let deleted = own.iter().filter(|id| self.delete(id)).count();
                let skipped = ids.len() - deleted;
                Answer::Batch { deleted, skipped }
            }
            Call::Heartbeat => {
                self.table.refresh(now, &key()?);
                Answer::Noted
            }
        })
    }

    /// Stores a list, and returns the stored transports.
    fn register(
        &mut self,
        now: Mono,
        by: PublicKey,
        list: Vec<Transport>,
    ) -> Result<Vec<Transport>, Refusal> {
        for transport in &list {
            if self.table.put(now, by, transport.clone())? {
                self.note(transport);
            }
            self.stats.registered += 1;
        }
        Ok(list)
    }

    fn delete(&mut self, id: &TransportId) -> bool {
        let gone = self.table.remove(id);
        if let Some(transport) = &gone {
            self.note(transport);
        }
        gone.is_some()
    }

    fn note(&mut self, transport: &Transport) {
        if let Some(changed) = &mut self.changed {
            changed.extend(transport.edges);
        }
    }
}

/// Returns the name of the bucket that a request is charged to: the authenticated key, or else the
/// address; for IPv6, that is the network of a site.
fn payer(caller: Caller, key: Option<PublicKey>) -> Option<[u8; 34]> {
    let mut name = [0; 34];
    match (key, caller) {
        (Some(key), _) | (None, Caller::Key(key)) => {
            name[0] = 1;
            name[1..].copy_from_slice(key.as_bytes());
        }
        (None, Caller::Address(std::net::IpAddr::V4(address))) => {
            name[0] = 4;
            name[1..5].copy_from_slice(&address.octets());
        }
        (None, Caller::Address(std::net::IpAddr::V6(address))) => {
            name[0] = 6;
            name[1..9].copy_from_slice(&address.octets()[..8]);
        }
        (None, Caller::Unknown) => return None,
    }
    Some(name)
}
