//! The control API: HTTP/1.1 and JSON on loopback, for this program's commands and for
//! scripts. Its answers are what the commands print with `--json`.

pub(crate) mod auth;
pub(crate) mod client;
mod routes;
pub(crate) mod schema;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::commands::config::ConfigReport;
use crate::failure::{Code, Failure, Result};
use crate::local::Local;
use auth::Guard;

/// Connections at once; more wait.
const MOST_CONNECTIONS: usize = 64;
/// A request's head must be there after this; idle connections are closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// No request takes longer, whatever it asks.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(660);
/// Requests under way when the node stops get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What requests share.
pub(crate) struct Shared {
    /// The node.
    pub(crate) local: Local,
    /// Its configuration.
    pub(crate) config: ConfigReport,
    /// Told when somebody wants the node to stop.
    pub(crate) stop: Notify,
}

/// A control API that runs.
pub(crate) struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

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
        let addr = listener
            .local_addr()
            .map_err(|error| Failure::new(Code::Local, error))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, shared, Arc::new(guard), stopped));
        Ok(Self { addr, stop, task })
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more requests, and waits a little for those under way.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        // The task ends by itself after the drain timeout; a panic in it was reported already.
        let _ = self.task.await;
    }
}

type App = TowerToHyperService<axum::Router>;

async fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    guard: Arc<Guard>,
    mut stopped: watch::Receiver<bool>,
) {
    let app = TowerToHyperService::new(routes::router(shared));
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            accepted = accepted => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (app, guard, stopped) = (app.clone(), Arc::clone(&guard), stopped.clone());
                connections.spawn(async move {
                    let _slot = slot;
                    converse(stream, app, guard, stopped).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control API cannot accept a connection");
                // Out of descriptors, mostly: trying again at once would only burn time.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
}

async fn converse(
    stream: TcpStream,
    app: App,
    guard: Arc<Guard>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(move |request| answer(app.clone(), Arc::clone(&guard), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the control API ended");
    }
}

async fn answer(
    app: App,
    guard: Arc<Guard>,
    request: Request<Incoming>,
) -> std::result::Result<Response, Infallible> {
    if let Err(failure) = guard.check(request.method(), request.uri(), request.headers()) {
        return Ok(failure.into_response());
    }
    let answer = app.call(request.map(Body::new));
    match tokio::time::timeout(REQUEST_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Ok(Failure::new(Code::Timeout, "the request took too long").into_response()),
    }
}
