//! A service discovery with its services in memory.

use std::collections::BTreeSet;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::table::{Limits, Table};
use super::{Answer, Call, MOST_ANSWERED, Refusal};
use crate::auth::Nonces;
use crate::dmsg::Caller;
use crate::record::{Service, ServiceKind};
use crate::web::{Request, Response};

/// Counts since the start; `services` is the current number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Stored services.
    pub services: usize,
    /// Requests.
    pub requests: u64,
    /// Services that were registered, first or again.
    pub registered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Refused requests whose sender was not authenticated.
    pub unauthorized: u64,
    /// Refused requests beyond the limits.
    pub full: u64,
}

/// The service discovery. Its owner passes in requests with the time, and sends the responses.
pub struct ServiceDiscovery {
    table: Table,
    /// Index at which the next limited list begins, so that all services are listed in turn.
    turn: usize,
    stats: Stats,
    /// Keys whose services have changed; `None` unless changes are recorded.
    changed: Option<BTreeSet<PublicKey>>,
}

impl std::fmt::Debug for ServiceDiscovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceDiscovery")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Default for ServiceDiscovery {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl ServiceDiscovery {
    /// Creates an empty service discovery.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            table: Table::new(limits),
            turn: 0,
            stats: Stats::default(),
            changed: None,
        }
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            services: self.table.len(),
            ..self.stats
        }
    }

    /// Returns whether a path belongs to this service.
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        Call::has_path(path)
    }

    /// Starts to record changes for [`ServiceDiscovery::take_changes`].
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Returns the keys whose services have changed since the last call, with their current
    /// services.
    pub fn take_changes(&mut self) -> Vec<(PublicKey, Vec<Service>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let list = |key: PublicKey| (key, self.table.of_key(&key));
        changed.into_iter().flatten().map(list).collect()
    }

    /// Removes expired services.
    pub fn expire(&mut self, now: Mono) {
        let gone = self.table.expire(now);
        if let Some(changed) = &mut self.changed {
            changed.extend(gone);
        }
    }

    fn note(&mut self, key: Option<PublicKey>) {
        if let Some(changed) = &mut self.changed {
            changed.extend(key);
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
            Ok((answer, key)) => {
                let response = answer.write();
                if let Some(key) = key {
                    nonces.answered(caller, &key, response.status());
                }
                response
            }
            Err(refusal) => {
                self.stats.refused += 1;
                match refusal {
                    Refusal::Unauthorized(_) => self.stats.unauthorized += 1,
                    Refusal::Full => self.stats.full += 1,
                    _ => {}
                }
                refusal.write()
            }
        }
    }

    /// Returns the response, and the key of the sender if it had to be authenticated.
    fn answer(
        &mut self,
        now: Mono,
        nonces: &Nonces,
        caller: Caller,
        request: &Request,
    ) -> Result<(Answer, Option<PublicKey>), Refusal> {
        let call = Call::read(request)?;
        let key = match call.is_signed() {
            true => {
                let key = nonces.caller(caller, request);
                Some(key.map_err(Refusal::Unauthorized)?)
            }
            false => None,
        };
        let answer = match call {
            Call::List {
                kind,
                version,
                country,
                quantity,
            } => Answer::List(self.list(&kind, version, country, quantity)),
            Call::One(address, kind) => {
                let found = self.table.get(&(kind, address));
                Answer::One(Box::new(found.ok_or(Refusal::NotFound)?.clone()))
            }
            Call::Register(service) => {
                let owner = service.validate()?;
                if key != Some(owner) {
                    return Err(Refusal::ForeignKey);
                }
                let needs_version =
                    matches!(service.kind(), ServiceKind::Vpn | ServiceKind::Skysocks);
                if needs_version && service.version.is_empty() {
                    return Err(Refusal::NoVersion);
                }
                if self.table.put(now, owner, (*service).clone())? {
                    self.note(Some(owner));
                }
                self.stats.registered += 1;
                Answer::One(service)
            }
            Call::Deregister(address, kind) => {
                if address.key != key {
                    return Err(Refusal::ForeignKey);
                }
                if !self.table.remove(&(kind, address)) {
                    return Err(Refusal::NotFound);
                }
                self.note(key);
                Answer::Deregistered
            }
        };
        Ok((answer, key))
    }

    fn list(
        &mut self,
        kind: &ServiceKind,
        version: Option<String>,
        country: Option<String>,
        quantity: Option<usize>,
    ) -> Vec<Service> {
        let matches = |service: &&Service| {
            let of = service.geo.as_ref().map_or("", |geo| &geo.country);
            version.as_ref().is_none_or(|it| *it == service.version)
                && country
                    .as_ref()
                    .is_none_or(|it| it.eq_ignore_ascii_case(of))
        };
        let all: Vec<&Service> = self.table.of_kind(kind).filter(matches).collect();
        let wanted = quantity.unwrap_or(MOST_ANSWERED).min(MOST_ANSWERED);
        if all.len() <= wanted {
            return all.into_iter().cloned().collect();
        }
        let from = self.turn % all.len();
        let turned = all.iter().cycle().skip(from).take(wanted);
        let list = turned.map(|service| (*service).clone()).collect();
        self.turn = from + wanted;
        list
    }
}
