//! A service discovery that answers from memory.

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::table::{Limits, Table};
use super::{Answer, Call, MOST_ANSWERED, Refusal};
use crate::auth::Nonces;
use crate::dmsg::Caller;
use crate::record::{Service, ServiceKind};
use crate::web::{Request, Response};

/// Keys whose numbers are remembered.
const MOST_CALLERS: usize = 50_000;

/// What was counted since the start; `services` is of now.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Services now.
    pub services: usize,
    /// Requests.
    pub requests: u64,
    /// Services that were registered, again or for the first time.
    pub registered: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Of these, callers that did not prove their key.
    pub unauthorized: u64,
    /// Of these, services for which there was no room.
    pub full: u64,
}

/// The service. Its owner gives it requests and the time, and sends the responses.
pub struct ServiceDiscovery {
    table: Table,
    nonces: Nonces,
    /// Where the next list with a quantity begins, so that the first are not asked for always.
    turn: usize,
    stats: Stats,
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
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            table: Table::new(limits),
            nonces: Nonces::new(MOST_CALLERS),
            turn: 0,
            stats: Stats::default(),
        }
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            services: self.table.len(),
            ..self.stats
        }
    }

    /// Whether a path is one of this service's, rather than of another one beside it.
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        Call::has_path(path) || Nonces::has_path(path)
    }

    /// Answers a request of a caller.
    pub fn handle(&mut self, now: Mono, caller: Caller, request: &Request) -> Response {
        self.stats.requests += 1;
        self.table.expire(now);
        if let Some(answer) = self.nonces.answer(request) {
            return answer;
        }
        match self.answer(now, caller, request) {
            Ok((answer, key)) => {
                let response = answer.write();
                if let Some(key) = key {
                    self.nonces.answered(caller, &key, response.status());
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

    /// The answer, and whose request it was if that had to be proved.
    fn answer(
        &mut self,
        now: Mono,
        caller: Caller,
        request: &Request,
    ) -> Result<(Answer, Option<PublicKey>), Refusal> {
        let call = Call::read(request)?;
        let key = match call.is_signed() {
            true => {
                let key = self.nonces.caller(caller, request);
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
                self.table.put(now, owner, (*service).clone())?;
                self.stats.registered += 1;
                Answer::One(service)
            }
            Call::Deregister(address, kind) => {
                if address.key != key {
                    return Err(Refusal::ForeignKey);
                }
                match self.table.remove(&(kind, address)) {
                    true => Answer::Deregistered,
                    false => return Err(Refusal::NotFound),
                }
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
