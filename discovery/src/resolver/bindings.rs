//! An address resolver with its addresses in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::time::Mono;

use super::{Answer, Binding, Call, Carrier, Refusal};
use crate::auth::Nonces;
use crate::dmsg::Caller;
use crate::record::VisorAddress;
use crate::web::{Request, Response};

/// Lifetime of an address that is not bound again.
pub const BINDING_LIFE: Duration = Duration::from_secs(10 * 60);

/// Limits and rules of an address resolver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Maximum number of addresses, one per visor and type of transport.
    pub bindings: usize,
    /// Whether addresses are accepted that other machines cannot dial: for networks on one machine.
    pub allow_private: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bindings: 50_000,
            allow_private: false,
        }
    }
}

/// Counts since the start; `bindings` is the current number.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Stored addresses.
    pub bindings: usize,
    /// Requests.
    pub requests: u64,
    /// Addresses that were bound, first or again.
    pub bound: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// Refused requests whose sender was not authenticated.
    pub unauthorized: u64,
    /// Refused requests beyond the limit of addresses.
    pub full: u64,
}

type Id = (PublicKey, Carrier);

/// The address resolver. Its owner passes in requests with the time, and sends the responses.
pub struct AddressResolver {
    limits: Limits,
    bindings: BTreeMap<Id, (VisorAddress, Mono)>,
    by_end: BTreeSet<(Mono, Id)>,
    stats: Stats,
    /// Bindings that have changed; `None` unless changes are recorded.
    changed: Option<BTreeSet<Id>>,
}

impl std::fmt::Debug for AddressResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressResolver")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Default for AddressResolver {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl AddressResolver {
    /// Creates an empty address resolver.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bindings: BTreeMap::new(),
            by_end: BTreeSet::new(),
            stats: Stats::default(),
            changed: None,
        }
    }

    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            bindings: self.bindings.len(),
            ..self.stats
        }
    }

    /// Returns whether a path belongs to this service.
    #[must_use]
    pub fn has_path(path: &str) -> bool {
        Call::has_path(path)
    }

    /// Starts to record changes for [`AddressResolver::take_changes`].
    pub fn note_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Returns the bindings that have changed since the last call, with their current addresses.
    pub fn take_changes(&mut self) -> Vec<(PublicKey, Carrier, Option<VisorAddress>)> {
        let changed = self.changed.as_mut().map(std::mem::take);
        let of = |id: Id| self.bindings.get(&id).map(|(visor, _)| visor.clone());
        let changed = changed.into_iter().flatten();
        changed.map(|id| (id.0, id.1, of(id))).collect()
    }

    /// Removes expired bindings.
    pub fn expire(&mut self, now: Mono) {
        while let Some((end, id)) = self.by_end.first().copied()
            && end <= now
        {
            self.remove(&id);
        }
    }

    fn remove(&mut self, id: &Id) -> bool {
        let Some((_, end)) = self.bindings.remove(id) else {
            return false;
        };
        self.by_end.remove(&(end, *id));
        self.note(*id);
        true
    }

    fn note(&mut self, id: Id) {
        if let Some(changed) = &mut self.changed {
            changed.insert(id);
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
        let answered = Call::read(request).and_then(|call| {
            let key = nonces.caller(caller, request);
            let key = key.map_err(Refusal::Unauthorized)?;
            Ok((self.carry_out(now, key, caller, call)?.write(), key))
        });
        match answered {
            Ok((response, key)) => {
                nonces.answered(caller, &key, response.status());
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

    fn carry_out(
        &mut self,
        now: Mono,
        key: PublicKey,
        caller: Caller,
        call: Call,
    ) -> Result<Answer, Refusal> {
        match call {
            Call::Bind(carrier, binding) => {
                let visor = self.judge(caller, *binding)?;
                let id = (key, carrier);
                let before = self.bindings.get(&id);
                if before.is_none() && self.bindings.len() >= self.limits.bindings {
                    return Err(Refusal::Full);
                }
                let has_changed = before.is_none_or(|(before, _)| *before != visor);
                let end = now.plus(BINDING_LIFE);
                if let Some((_, end)) = self.bindings.insert(id, (visor.clone(), end)) {
                    self.by_end.remove(&(end, id));
                }
                self.by_end.insert((end, id));
                if has_changed {
                    self.note(id);
                }
                self.stats.bound += 1;
                Ok(Answer::Address(visor))
            }
            Call::Unbind(carrier) => match self.remove(&(key, carrier)) {
                true => Ok(Answer::Unbound),
                false => Err(Refusal::NotFound),
            },
            Call::Resolve(carrier, of) => {
                let found = self.bindings.get(&(of, carrier));
                let (mut visor, _) = found.ok_or(Refusal::NotFound)?.clone();
                let seen = visor.remote_addr.parse::<SocketAddr>().ok();
                visor.is_local = match caller {
                    Caller::Address(ip) => seen.is_some_and(|seen| seen.ip() == ip),
                    Caller::Key(_) | Caller::Unknown => false,
                };
                Ok(Answer::Address(visor))
            }
        }
    }

    /// Validates a binding, and returns it in the form in which it is stored: with the observed
    /// address, which others dial.
    fn judge(&self, caller: Caller, binding: Binding) -> Result<VisorAddress, Refusal> {
        let Binding {
            mut visor,
            public_ip,
        } = binding;
        let port = match visor.port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(Refusal::Port(visor.port)),
        };
        let seen = match caller {
            Caller::Address(ip) => Some(ip.to_canonical()),
            Caller::Key(_) | Caller::Unknown => public_ip,
        };
        let seen = seen.ok_or(Refusal::NoAddress)?;
        if !self.limits.allow_private {
            if !is_public(seen) {
                return Err(Refusal::NotPublic(seen));
            }
            let listed = |text: &String| text.parse::<IpAddr>() == Ok(seen);
            if !visor.addresses.iter().any(listed) {
                return Err(Refusal::NotListed(seen));
            }
        }
        if let Some(long) = visor.addresses.iter().find(|text| text.len() > 64) {
            return Err(Refusal::Malformed(format!(
                "{} bytes of address",
                long.len()
            )));
        }
        visor.remote_addr = SocketAddr::new(seen, port).to_string();
        visor.is_local = false;
        Ok(visor)
    }
}

/// Returns whether an address can be dialled from other networks.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_broadcast()
                || ip.is_multicast()
                || ip.is_documentation()
                || is_shared)
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}
