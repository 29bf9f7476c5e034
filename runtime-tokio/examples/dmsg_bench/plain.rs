//! The relay to compare with: copies between yamux connections, without encryption.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Poll;

use futures::channel::{mpsc, oneshot};
use futures::future::{join, select};
use futures::{AsyncReadExt, AsyncWriteExt as _, StreamExt as _};
use skydht_runtime::{Connection, Listener as _, Runtime as _};
use skydht_tokio::TokioRuntime;

use crate::Result;
use crate::process::{Process, print_and_wait};
use crate::roles;

type OpenRequest = oneshot::Sender<yamux::Stream>;

/// Runs one yamux connection in a task of its own. Returns the sender of requests to open streams,
/// and the receiver of the peer's streams.
fn run<C: Connection>(
    connection: C,
    mode: yamux::Mode,
) -> (
    mpsc::UnboundedSender<OpenRequest>,
    mpsc::UnboundedReceiver<yamux::Stream>,
) {
    let mut config = yamux::Config::default();
    config.set_max_num_streams(4_096);
    let mut connection = yamux::Connection::new(connection, config, mode);
    let (want, mut wanted) = mpsc::unbounded::<OpenRequest>();
    let (queue, incoming) = mpsc::unbounded();
    tokio::spawn(async move {
        let mut next: Option<OpenRequest> = None;
        poll_fn(|cx| {
            loop {
                if next.is_none()
                    && let Poll::Ready(Some(wanted)) = wanted.poll_next_unpin(cx)
                {
                    next = Some(wanted);
                }
                if let Some(wanted) = next.take() {
                    match connection.poll_new_outbound(cx) {
                        Poll::Ready(Ok(stream)) => {
                            let _ = wanted.send(stream);
                            continue;
                        }
                        Poll::Ready(Err(_)) => return Poll::Ready(()),
                        Poll::Pending => next = Some(wanted),
                    }
                }
                match connection.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        let _ = queue.unbounded_send(stream);
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    });
    (want, incoming)
}

async fn open(want: &mpsc::UnboundedSender<OpenRequest>) -> Result<yamux::Stream> {
    let (wanted, stream) = oneshot::channel();
    want.unbounded_send(wanted)?;
    Ok(stream.await?)
}

/// Relays streams from its second connection, the source's, to its first one, the sink's.
pub(crate) async fn relay() -> Result<()> {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let listener = TokioRuntime.listen(loopback).await?;
    let addr = listener.local_addr().to_string();
    tokio::spawn(async move {
        let (sink, _) = listener.accept().await?;
        let (to_sink, _unused) = run(sink, yamux::Mode::Server);
        let (source, _) = listener.accept().await?;
        let (_unused, mut incoming) = run(source, yamux::Mode::Server);
        while let Some(near) = incoming.next().await {
            let far = open(&to_sink).await?;
            tokio::spawn(async move {
                let (read_near, write_near) = AsyncReadExt::split(near);
                let (read_far, write_far) = AsyncReadExt::split(far);
                let near_to_far = Box::pin(copy(read_near, write_far));
                let far_to_near = Box::pin(copy(read_far, write_near));
                join(near_to_far, far_to_near).await
            });
        }
        Result::Ok(())
    });
    print_and_wait(&addr).await
}

async fn copy(
    mut from: impl futures::AsyncRead + Unpin,
    mut to: impl futures::AsyncWrite + Unpin,
) -> std::io::Result<()> {
    let mut chunk = vec![0; 16 << 10];
    loop {
        let n = from.read(&mut chunk).await?;
        if n == 0 {
            return to.close().await;
        }
        to.write_all(&chunk[..n]).await?;
        to.flush().await?;
    }
}

pub(crate) async fn sink(addr: &str) -> Result<()> {
    let connection = TokioRuntime.connect(addr.parse()?).await?;
    let (_want, mut incoming) = run(connection, yamux::Mode::Client);
    let serving = async {
        while let Some(stream) = incoming.next().await {
            tokio::spawn(roles::serve(stream));
        }
    };
    select(Box::pin(serving), Box::pin(print_and_wait("connected"))).await;
    Ok(())
}

/// A plain relay, a sink connected to it, and a connection from this process.
pub(crate) struct RelaySetup {
    _relay: Process,
    _sink: Process,
    want: mpsc::UnboundedSender<OpenRequest>,
    _incoming: mpsc::UnboundedReceiver<yamux::Stream>,
}

impl RelaySetup {
    pub(crate) async fn start() -> Result<Self> {
        let (relay, addr) = Process::start(&["plain-relay"])?;
        let (sink, _) = Process::start(&["plain-sink", &addr])?;
        let connection = TokioRuntime.connect(addr.parse()?).await?;
        let (want, incoming) = run(connection, yamux::Mode::Client);
        Ok(Self {
            _relay: relay,
            _sink: sink,
            want,
            _incoming: incoming,
        })
    }

    pub(crate) async fn open(&self) -> Result<yamux::Stream> {
        open(&self.want).await
    }
}
