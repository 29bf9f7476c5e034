//! A request to the DMSG discovery, whatever it came over, and its answer.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use skydht_core::time::{Mono, Time, Unix, nanos};
use skydht_discovery::dmsg::{Caller, DmsgDiscovery, MAX_REQUEST, Refusal};
use skydht_runtime::Clocks;

use crate::http::{BodyError, read_body};

pub(super) fn now() -> Time {
    let clocks = Clocks::system();
    Time {
        mono: Mono(nanos(clocks.monotonic)),
        unix: Unix(nanos(clocks.unix)),
    }
}

/// Answers a caller of whom this is known.
pub(super) async fn answer_to(
    caller: Caller,
    discovery: Arc<Mutex<DmsgDiscovery>>,
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
    let mut discovery = discovery.lock().unwrap_or_else(PoisonError::into_inner);
    discovery
        .handle_from(now(), caller, &request)
        .map(Body::from)
}
