//! The control API: HTTP/1.1 and JSON on loopback, for this program's commands and for
//! scripts. Its answers are what the commands print with `--json`.

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

/// How many connections there may be: clients without a token lose them first.
const LIMITS: http::Limits = http::Limits {
    connections: 128,
    a_second: 500,
};
/// Requests being answered at the same time, so that connections are left for `/livez`.
const MOST_REQUESTS: usize = 96;
/// Browsers that get news of the status page.
const MOST_BROWSERS: usize = 16;
/// Answered however many requests are.
const METRICS_PATH: &str = "/metrics";
/// No request takes longer, whatever it asks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(660);

/// What requests share.
pub(crate) struct Shared {
    /// The node.
    pub(crate) local: Local,
    /// Its configuration.
    pub(crate) config: ConfigReport,
    /// Browsers that may look at the status page.
    pub(crate) sessions: Sessions,
    /// Room for browsers that get news.
    pub(crate) browsers: Arc<Semaphore>,
    /// Its own records; none in a demo.
    pub(crate) registering: Option<Registering>,
    /// Raised when a client asks the node to stop.
    pub(crate) stop: Notify,
}

impl Shared {
    /// What requests to the API of this node share.
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

/// A control API that runs.
pub(crate) struct Server(http::Server);

/// Binds the API's address.
pub(crate) async fn bind(addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        Failure::new(Code::Local, format_args!("cannot listen for the control API at {addr}: {error}"))
            .hint("if another node uses the port, choose one with --api-listen IP:PORT (port 0: any free one) or --api-listen off")
    })
}

impl Server {
    /// Serves on `listener` until [`Server::stop`].
    pub(crate) fn start(listener: TcpListener, shared: Arc<Shared>, guard: Guard) -> Result<Self> {
        let app = TowerToHyperService::new(routes::router(shared));
        let guard = Arc::new(guard);
        let slots = Arc::new(Semaphore::new(MOST_REQUESTS));
        let answer = move |request| {
            let (guard, slots) = (Arc::clone(&guard), Arc::clone(&slots));
            answer(app.clone(), guard, slots, request)
        };
        http::Server::start(listener, "the control API", None, LIMITS, answer).map(Self)
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.0.addr()
    }

    /// Takes no more requests, and waits a little for those under way.
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
            // A guess at the token costs a connection.
            let mut response = failure.into_response();
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
            return response;
        }
    };
    // It is answered immediately, and has shown nothing.
    let is_open = request.uri().path() == OPEN_PATH;
    let _slot = match slots.try_acquire() {
        Ok(slot) => Some(slot),
        // What watches a node that is overloaded, answered from its counts: as many as there are
        // connections, at most.
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
