//! The control API: HTTP/1.1 and JSON on loopback, for this program's commands and for scripts.
//! Responses equal the commands' `--json` output.

mod answers;
pub(crate) mod auth;
pub(crate) mod client;
mod events;
pub(crate) mod register;
mod routes;
pub(crate) mod schema;
mod ui;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};

use crate::commands::config::ConfigReport;
use crate::failure::{Code, Failure, Result};
use crate::http;
use crate::local::Local;
use crate::registering::Registering;
use crate::ui::Sessions;
use auth::{Admission, Guard, OPEN_PATH};

/// Connection limits. Connections of clients without a token are closed first.
const LIMITS: http::Limits = http::Limits {
    connections: 128,
    a_second: 500,
};
/// Maximum number of concurrent requests; below the connection limit, so that `/livez` can always
/// be reached.
const MOST_REQUESTS: usize = 96;
/// Maximum number of browsers that follow the status page.
const MOST_BROWSERS: usize = 16;
/// Path that is answered even when all request slots are taken.
const METRICS_PATH: &str = "/metrics";
/// Upper bound of every request's duration.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(660);

/// State shared by all request handlers.
pub(crate) struct ApiState {
    pub(crate) local: Local,
    pub(crate) config: ConfigReport,
    /// Browser sessions of the status page.
    pub(crate) sessions: Sessions,
    /// One permit for each browser that follows the status page.
    pub(crate) browsers: Arc<Semaphore>,
    /// Publishes the visor's own records; `None` in a demo.
    pub(crate) registering: Option<Registering>,
    /// Notified when a client asks the node to stop.
    pub(crate) stop: Notify,
}

impl ApiState {
    /// Creates the state for a node, without registering.
    pub(crate) fn new(local: Local, config: ConfigReport) -> Self {
        Self {
            local,
            config,
            sessions: Sessions::default(),
            browsers: Arc::new(Semaphore::new(MOST_BROWSERS)),
            registering: None,
            stop: Notify::new(),
        }
    }
}

/// A running control API.
pub(crate) struct Server(http::Server);

/// Binds the API's address.
pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        Failure::new(Code::Local, format_args!("cannot listen for the control API at {addr}: {error}"))
            .hint("if another node uses the port, choose one with --api-listen IP:PORT (port 0: any free one) or --api-listen off")
    })
}

impl Server {
    /// Serves requests on `listener` until [`Server::stop`].
    pub(crate) fn start(
        listener: TcpListener,
        shared: Arc<ApiState>,
        guard: Guard,
    ) -> Result<Self> {
        let app = TowerToHyperService::new(routes::router(shared));
        let guard = Arc::new(guard);
        let slots = Arc::new(Semaphore::new(MOST_REQUESTS));
        let answer = move |request| {
            let (guard, slots) = (Arc::clone(&guard), Arc::clone(&slots));
            answer(app.clone(), guard, slots, request)
        };
        http::Server::start(listener, "the control API", None, LIMITS, answer).map(Self)
    }

    /// Returns the address that it listens at.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// Stops accepting requests, and waits briefly for those in progress.
    pub(crate) async fn stop(self) {
        self.0.stop().await;
    }
}

type App = TowerToHyperService<axum::Router>;

async fn answer(
    app: App,
    guard: Arc<Guard>,
    slots: Arc<Semaphore>,
    request: Request<Incoming>,
) -> Response {
    let admission = match guard.check(request.method(), request.uri(), request.headers()) {
        Ok(admission) => admission,
        Err(failure) => {
            // Closing the connection makes each guess at the token cost one.
            let mut response = failure.into_response();
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            return response;
        }
    };
    // This path is cheap to answer, and proves nothing about the client.
    let is_open = request.uri().path() == OPEN_PATH;
    let _slot = match slots.try_acquire() {
        Ok(slot) => Some(slot),
        // Monitoring of an overloaded node must work, and its answer is read from counters. The
        // connection limit bounds these requests.
        Err(_) if is_open || request.uri().path() == METRICS_PATH => None,
        Err(_) => {
            let busy = format!("the control API is answering {MOST_REQUESTS} requests already");
            return Failure::new(Code::Busy, busy)
                .hint("try again when some of them are done")
                .into_response();
        }
    };
    let answer = app.call(request.map(Body::new));
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer.unwrap_or_else(|never| match never {}),
        Err(_) => Failure::new(Code::Timeout, "the request took too long").into_response(),
    };
    if admission == Admission::Known {
        response.extensions_mut().insert(http::Trusted);
    }
    response
}
