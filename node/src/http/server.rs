//! The HTTP server, with bounds on connections, requests and time.

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

use super::connection_slots::{ConnectionSlot, ConnectionSlots};
use super::rate_limit::RateLimit;
use super::tls;
use super::write_timeout::WriteTimeout;
use crate::failure::{Code, Failure, Result};

/// Longest wait for a request's head, and for a next request on an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for requests in progress when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Buffer limit for a request's head, and for responses to be written, in bytes.
const MOST_BUFFERED: usize = 16 * 1024;
/// Maximum number of requests on a connection that is not trusted; it is closed afterwards.
const MOST_UNTRUSTED: u32 = 20;
/// Number of connections that are accepted without delay after a pause.
const BURST: u32 = 256;

/// Extension of a response to a caller that proved its right to access; the connection becomes
/// trusted.
#[derive(Clone, Copy)]
pub(crate) struct Trusted;

/// Limits of a server.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Maximum number of concurrent connections; at the limit, idle ones are replaced, see
    /// [`ConnectionSlots`].
    pub(crate) connections: usize,
    /// Connections accepted per second on average; further ones wait.
    pub(crate) a_second: u32,
}

/// A running server.
pub(crate) struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves `what` on `listener` until [`Server::stop`]; `what` names it in the log.
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

    /// Returns the address that it listens at.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting requests, and waits briefly for those in progress.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(true);
        // The task ends after the drain timeout; a panic in it has been logged.
        let _ = self.task.await;
    }
}

/// Extension of a request: the client's address.
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
    let slots = ConnectionSlots::new(limits.connections);
    let mut rate_limit = RateLimit::new(limits.a_second, BURST);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stopped.changed() => break,
        };
        match accepted {
            Ok((stream, addr)) => {
                let turn = rate_limit.take();
                let slot = async {
                    sleep_until(turn).await;
                    slots.acquire(addr.ip()).await
                };
                let slot = tokio::select! {
                    slot = slot => slot,
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
                        return converse(io, answer, stopped, slot).await;
                    };
                    let io = tls::accept(&acceptor, stream).map_ok(TokioIo::new);
                    converse(io, answer, stopped, slot).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "{what} cannot accept a connection");
                // Usually the process is out of file descriptors; retrying immediately would keep a
                // processor busy.
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

/// Answers the requests of one connection, after `io` has established it. Ends with the connection,
/// when its slot is replaced, or when `stopped` changes.
pub(crate) async fn converse<T, F, O, S>(
    io: impl Future<Output = io::Result<T>>,
    answer: F,
    mut stopped: watch::Receiver<bool>,
    mut slot: ConnectionSlot<S>,
) where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    F: Fn(Request<Incoming>) -> O,
    O: Future<Output = Response>,
    S: Ord + Clone,
{
    let mut evicted = std::pin::pin!(slot.evicted());
    let io = tokio::select! {
        io = io => io,
        () = evicted.as_mut() => return,
        _ = stopped.changed() => return,
    };
    let io = match io {
        Ok(io) => io,
        Err(error) => return tracing::debug!(%error, "a connection came to nothing"),
    };
    let untrusted = AtomicU32::new(0);
    let service = service_fn(|request| {
        let (answer, slot, untrusted) = (answer(request), &slot, &untrusted);
        async move {
            slot.set_answering(true);
            let mut response = answer.await;
            slot.set_answering(false);
            if response.extensions().get::<Trusted>().is_some() {
                slot.trust();
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
        .serve_connection(WriteTimeout::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = evicted => return,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
