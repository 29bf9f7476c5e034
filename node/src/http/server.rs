//! Answering, with bounds on connections, requests and time.

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::response::Response;
use futures::TryFutureExt as _;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_rustls::TlsAcceptor;

use super::pace::Pace;
use super::patient::Patient;
use super::places::{Place, Places};
use super::tls;
use crate::failure::{Code, Failure, Result};

/// A request's head must be there after this; idle connections are closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests under way when the server stops get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of a request's head, and of answers that wait to be written.
const MOST_BUFFERED: usize = 16 * 1024;
/// Requests of one connection that has shown no right to be here; then it is closed.
const MOST_UNTRUSTED: u32 = 20;
/// As many connections are taken without waiting after a pause.
const BURST: u32 = 256;

/// Among a response's extensions: the caller has shown a right to be here.
#[derive(Clone, Copy)]
pub(crate) struct Trusted;

/// How much a server does.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Connections at once. Beyond, quiet ones make room: see [`Places`].
    pub(crate) connections: usize,
    /// Connections that are taken a second, over time; more wait.
    pub(crate) a_second: u32,
}

/// A server that runs.
pub(crate) struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves `what` on `listener` until [`Server::stop`].
    pub(crate) fn start<F, O>(
        listener: TcpListener,
        what: &'static str,
        tls: Option<TlsAcceptor>,
        limits: Limits,
        answer: F,
    ) -> Result<Self>
    where
        F: Fn(Request<Incoming>) -> O + Clone + Send + Sync + 'static,
        O: Future<Output = Response> + Send + 'static,
    {
        let addr = listener
            .local_addr()
            .map_err(|error| Failure::new(Code::Local, error))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(listener, what, tls, limits, answer, stopped));
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

/// The address that a request came from, as its extension.
#[derive(Clone, Copy)]
pub(crate) struct RemoteIp(pub(crate) IpAddr);

async fn serve<F, O>(
    listener: TcpListener,
    what: &'static str,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    answer: F,
    mut stopped: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>) -> O + Clone + Send + Sync + 'static,
    O: Future<Output = Response> + Send + 'static,
{
    let places = Places::new(limits.connections);
    let mut pace = Pace::new(limits.a_second, BURST);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, addr)) => {
                let turn = pace.take();
                let place = async {
                    sleep_until(turn).await;
                    places.take(addr.ip()).await
                };
                let place = tokio::select! {
                    place = place => place,
                    _ = stopped.changed() => break,
                };
                let (answer, stopped, tls) = (answer.clone(), stopped.clone(), tls.clone());
                connections.spawn(async move {
                    let answer = |mut request: Request<Incoming>| {
                        request.extensions_mut().insert(RemoteIp(addr.ip()));
                        answer(request)
                    };
                    let Some(acceptor) = tls else {
                        let io = ready(Ok(TokioIo::new(stream)));
                        return converse(io, answer, stopped, place).await;
                    };
                    let io = tls::accept(&acceptor, stream).map_ok(TokioIo::new);
                    converse(io, answer, stopped, place).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "{what} cannot accept a connection");
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

/// Answers the requests of one connection, once it stands, until it ends, must make room, or
/// `stopped` changes.
pub(crate) async fn converse<T, F, O, S>(
    io: impl Future<Output = io::Result<T>>,
    answer: F,
    mut stopped: watch::Receiver<bool>,
    mut place: Place<S>,
) where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    F: Fn(Request<Incoming>) -> O,
    O: Future<Output = Response>,
    S: Ord + Clone,
{
    let mut killed = std::pin::pin!(place.killed());
    let io = tokio::select! {
        io = io => io,
        () = killed.as_mut() => return,
        _ = stopped.changed() => return,
    };
    let io = match io {
        Ok(io) => io,
        Err(error) => return tracing::debug!(%error, "a connection came to nothing"),
    };
    let untrusted = AtomicU32::new(0);
    let service = service_fn(|request| {
        let (answer, place, untrusted) = (answer(request), &place, &untrusted);
        async move {
            place.set_asks(true);
            let mut response = answer.await;
            place.set_asks(false);
            if response.extensions().get::<Trusted>().is_some() {
                place.trust();
            } else {
                let before = untrusted.fetch_add(1, Ordering::Relaxed);
                if before + 1 >= MOST_UNTRUSTED {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MOST_BUFFERED)
        .serve_connection(Patient::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = killed => return,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
