//! A request to the DMSG discovery, or to the service discovery beside it, whatever it came over, and
//! its answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_discovery::dmsg::{Caller, DmsgDiscovery, MAX_REQUEST, Refusal};
use skydht_discovery::service::ServiceDiscovery;
use skydht_discovery::web;
use skydht_runtime::Clocks;

use crate::http::{BodyError, read_body};

pub(super) fn now() -> Time {
    let clocks = Clocks::system();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

/// What is answered.
pub(super) struct Discoveries {
    pub(super) dmsg: Mutex<DmsgDiscovery>,
    /// None: this program is no service discovery.
    pub(super) services: Option<Mutex<ServiceDiscovery>>,
}

impl Discoveries {
    pub(super) fn dmsg(&self) -> MutexGuard<'_, DmsgDiscovery> {
        self.dmsg.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, caller: Caller, request: &web::Request) -> web::Response {
        let services = self.services.as_ref();
        match services.filter(|_| ServiceDiscovery::has_path(request.uri().path())) {
            Some(services) => {
                let mut services = services.lock().unwrap_or_else(PoisonError::into_inner);
                services.handle(now().mono, caller, request)
            }
            None => self.dmsg().handle_from(now(), caller, request),
        }
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
    discoveries.handle(caller, &request).map(Body::from)
}
