//! Upstream's discovery services behind one address: DMSG discovery, transport discovery, service
//! discovery and address resolver, whose paths differ.
//!
//! All of them share the nonces of signed requests, which are requested at a single path.

use skydht_core::key::PublicKey;
use skydht_core::time::{Mono, Time};

use crate::auth::Nonces;
use crate::dmsg::{Caller, DmsgDiscovery};
use crate::resolver::AddressResolver;
use crate::service::ServiceDiscovery;
use crate::transport::TransportDiscovery;
use crate::web::{Request, Response};

/// Maximum number of keys with a nonce.
const MOST_CALLERS: usize = 50_000;
/// Largest body that any of the services accepts, in bytes.
pub const MAX_REQUEST: usize = 1 << 20;

/// The services. One that is `None` is not offered, and its paths do not exist.
pub struct Host {
    /// The DMSG discovery.
    pub dmsg: DmsgDiscovery,
    /// The service discovery.
    pub services: Option<ServiceDiscovery>,
    /// The transport discovery.
    pub transports: Option<TransportDiscovery>,
    /// The address resolver.
    pub addresses: Option<AddressResolver>,
    nonces: Nonces,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("dmsg", &self.dmsg.stats())
            .field("services", &self.services)
            .field("transports", &self.transports)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Creates a host with a DMSG discovery only.
    #[must_use]
    pub fn new(dmsg: DmsgDiscovery) -> Self {
        Self {
            dmsg,
            services: None,
            transports: None,
            addresses: None,
            nonces: Nonces::new(MOST_CALLERS),
        }
    }

    /// Returns the next nonce of a key, for signed requests over plain HTTP.
    #[must_use]
    pub fn next_nonce(&self, key: &PublicKey) -> u64 {
        self.nonces.next(key)
    }

    /// Makes each service record its changes.
    pub fn note_changes(&mut self) {
        self.dmsg.note_changes();
        if let Some(services) = &mut self.services {
            services.note_changes();
        }
        if let Some(transports) = &mut self.transports {
            transports.note_changes();
        }
        if let Some(addresses) = &mut self.addresses {
            addresses.note_changes();
        }
    }

    /// Removes expired data from each service.
    pub fn expire(&mut self, now: Mono) {
        self.dmsg.expire(now);
        if let Some(services) = &mut self.services {
            services.expire(now);
        }
        if let Some(transports) = &mut self.transports {
            transports.expire(now);
        }
        if let Some(addresses) = &mut self.addresses {
            addresses.expire(now);
        }
    }

    /// Answers a request.
    pub fn handle(&mut self, now: Time, caller: Caller, request: &Request) -> Response {
        let (path, nonces) = (request.uri().path(), &mut self.nonces);
        let has_signed =
            self.services.is_some() || self.transports.is_some() || self.addresses.is_some();
        if has_signed && let Some(answer) = nonces.answer(request) {
            return answer;
        }
        if let Some(services) = &mut self.services
            && ServiceDiscovery::has_path(path)
        {
            return services.handle(now.mono, nonces, caller, request);
        }
        if let Some(transports) = &mut self.transports
            && TransportDiscovery::has_path(path)
        {
            return transports.handle(now.mono, nonces, caller, request);
        }
        if let Some(addresses) = &mut self.addresses
            && AddressResolver::has_path(path)
        {
            return addresses.handle(now.mono, nonces, caller, request);
        }
        self.dmsg.handle_from(now, caller, request)
    }
}
