//! Answers requests to the discovery services, over HTTP and over DMSG.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use skydht_core::node::{GetRequest, ReadPolicy};
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_discovery::dmsg::{Caller, DmsgDiscovery, Refusal};
use skydht_discovery::gateway::Wanted;
use skydht_discovery::publish::RecordId;
use skydht_discovery::resolver::{self, AddressResolver};
use skydht_discovery::service::ServiceDiscovery;
use skydht_discovery::transport::TransportDiscovery;
use skydht_discovery::{Host, MAX_REQUEST, web};
use skydht_driver::{Dht, large};
use skydht_runtime::Clocks;
use tokio::time::timeout;

use crate::http::{BodyError, read_body};

/// Longest lookup of a gateway in the DHT.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn now() -> Time {
    let clocks = Clocks::system();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

/// The services offered besides the DMSG discovery.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct OfferedServices {
    pub(crate) services: bool,
    pub(crate) transports: bool,
    pub(crate) addresses: bool,
}

/// The discovery services of this process.
pub(super) struct Discoveries {
    host: Mutex<Host>,
    /// The node of a gateway, once it runs.
    dht: OnceLock<Dht>,
}

impl Discoveries {
    /// Creates the services. In test mode, addresses need not be public.
    pub(super) fn new(dmsg: DmsgDiscovery, offered: OfferedServices, test_mode: bool) -> Self {
        let mut host = Host::new(dmsg);
        host.services = offered.services.then(ServiceDiscovery::default);
        host.transports = offered.transports.then(TransportDiscovery::default);
        host.addresses = offered.addresses.then(|| {
            AddressResolver::new(resolver::Limits {
                allow_private: test_mode,
                ..resolver::Limits::default()
            })
        });
        Self {
            host: Mutex::new(host),
            dht: OnceLock::new(),
        }
    }

    pub(super) fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a gateway look up missing records in the DHT.
    pub(super) fn attach(&self, dht: &Dht) {
        // A gateway attaches exactly one node, so that this cannot fail.
        let _ = self.dht.set(dht.clone());
    }

    /// Returns a response with the record in the DHT, if `response` says that there is none here.
    async fn found_in_dht(
        &self,
        request: &web::Request,
        response: &web::Response,
    ) -> Option<web::Response> {
        let dht = self.dht.get()?;
        let wanted = Wanted::instead_of(request, response)?;
        let RecordId { owner, salt } = wanted.record();
        let value = match wanted {
            Wanted::Transports(_) => {
                let list = timeout(PATIENCE, large::read_list(dht, owner, &salt));
                list.await.ok()?.ok()??
            }
            Wanted::Entry(_) | Wanted::Address(_) => {
                let mut question = GetRequest::of(owner, salt, ReadPolicy::Freshest);
                question.timeout = Some(PATIENCE);
                let found = dht.get(question).await.ok()?;
                found.item.value.as_bytes().to_vec()
            }
        };
        wanted.answer(request, &value)
    }

    pub(super) fn handle(&self, caller: Caller, request: &web::Request) -> web::Response {
        self.host().handle(now(), caller, request)
    }
}

/// Answers a request. `caller` is what the connection proves about the sender.
pub(super) async fn answer_to(
    caller: Caller,
    discoveries: Arc<Discoveries>,
    request: Request<Incoming>,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match read_body(Body::new(body), MAX_REQUEST).await {
        Ok(body) => body,
        // The service rejects and counts a body of this length.
        Err(BodyError::TooLong) => vec![0; MAX_REQUEST + 1],
        Err(BodyError::Late | BodyError::Broken(_)) => {
            return Refusal::Unexpected.write().map(Body::from);
        }
    };
    let request = Request::from_parts(head, body);
    let response = discoveries.handle(caller, &request);
    let found = discoveries.found_in_dht(&request, &response).await;
    found.unwrap_or(response).map(Body::from)
}
