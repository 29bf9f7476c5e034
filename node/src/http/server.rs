//! Answering, with bounds on connections and time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::failure::{Code, Failure, Result};

/// A request's head must be there after this; idle connections are closed after it, too.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests under way when the server stops get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A server that runs.
pub(crate) struct Server {
    addr: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Serves `what` on `listener` until [`Server::stop`], over at most `most` connections at
    /// once; more wait.
    pub(crate) fn start<F, O>(
        listener: TcpListener,
        what: &'static str,
        most: usize,
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
        let task = tokio::spawn(serve(listener, what, most, answer, stopped));
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

async fn serve<F, O>(
    listener: TcpListener,
    what: &'static str,
    most: usize,
    answer: F,
    mut stopped: watch::Receiver<bool>,
) where
    F: Fn(Request<Incoming>) -> O + Clone + Send + Sync + 'static,
    O: Future<Output = Response> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(most));
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
                let (answer, stopped) = (answer.clone(), stopped.clone());
                connections.spawn(async move {
                    let _slot = slot;
                    converse(TokioIo::new(stream), answer, stopped).await;
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

/// Answers the requests of one connection until it ends, or `stopped` changes.
pub(crate) async fn converse<T, F, O>(io: T, answer: F, mut stopped: watch::Receiver<bool>)
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    F: Fn(Request<Incoming>) -> O,
    O: Future<Output = Response>,
{
    let service = service_fn(|request| {
        let answer = answer(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}
