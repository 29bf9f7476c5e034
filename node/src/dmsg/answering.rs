//! A request to the DMSG discovery, or to one of the services beside it, whatever it came over, and its
//! answer.

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

/// How long a gateway looks for a record in the DHT.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn now() -> Time {
    let clocks = Clocks::system();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

/// Which services are offered beside the DMSG discovery.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Offered {
    pub(crate) services: bool,
    pub(crate) transports: bool,
    pub(crate) addresses: bool,
}

/// What is answered.
pub(super) struct Discoveries {
    host: Mutex<Host>,
    /// A gateway's node, once it runs.
    dht: OnceLock<Dht>,
}

impl Discoveries {
    /// Those offered. On one machine addresses need not be public.
    pub(super) fn new(dmsg: DmsgDiscovery, offered: Offered, test_mode: bool) -> Self {
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

    /// From now on what is missing here is looked for in the DHT.
    pub(super) fn attach(&self, dht: &Dht) {
        // There is one node a gateway.
        let _ = self.dht.set(dht.clone());
    }

    /// The answer with what the DHT has instead of one that says that there is nothing here.
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

/// Answers a caller of whom this is known.
pub(super) async fn answer_to(
    caller: Caller,
    discoveries: Arc<Discoveries>,
    request: Request<Incoming>,
) -> Response {
    let (head, body) = request.into_parts();
    let body = match read_body(Body::new(body), MAX_REQUEST).await {
        Ok(body) => body,
        // The service says it, and counts it.
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
