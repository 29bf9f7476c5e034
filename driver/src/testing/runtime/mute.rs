//! A peer that answers pings, so that it enters routing tables, and nothing else, so that lookups
//! wait for it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures::stream::StreamExt as _;
use skydht_core::key::PublicKey;
use skydht_core::wire::{
    FrameDecoder, Request, Response, ResponseMessage, Sender, Side, decode_request, encode_response,
};
use skydht_runtime::{Connection, Runtime};

use crate::transport::Transport;

pub(super) struct MutePeer {
    pub(super) key: PublicKey,
    pub(super) addr: Option<SocketAddr>,
    asked: mpsc::UnboundedReceiver<()>,
    /// Stops answering when dropped.
    _transport: Arc<dyn Send + Sync>,
}

impl MutePeer {
    pub(super) fn new<R: Runtime, T: Transport>(runtime: &R, transport: T) -> Self {
        let transport = Arc::new(transport);
        let (key, addr) = (transport.local_key(), transport.local_addr());
        let (asked, heard) = mpsc::unbounded();
        let accepting = Arc::downgrade(&transport);
        let spawner = runtime.clone();
        runtime.spawn(Box::pin(async move {
            loop {
                let accepted = poll_fn(|cx| match accepting.upgrade() {
                    Some(transport) => transport.poll_accept(cx),
                    None => std::task::Poll::Ready(None),
                });
                let Some(accepted) = accepted.await else {
                    return;
                };
                let asked = asked.clone();
                spawner.spawn(Box::pin(async move {
                    // An error means that the peer has closed the stream.
                    let _ = listen(accepted.stream, key, asked).await;
                }));
            }
        }));
        Self {
            key,
            addr,
            asked: heard,
            _transport: transport,
        }
    }

    /// Completes once an item was requested.
    pub(super) async fn item_requested(&mut self) {
        self.asked.next().await;
    }
}

async fn listen<S: Connection>(
    mut stream: S,
    key: PublicKey,
    asked: mpsc::UnboundedSender<()>,
) -> std::io::Result<()> {
    let mut decoder = FrameDecoder::new(Side::Request);
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).await?;
        if n == 0 {
            return Ok(());
        }
        let mut rest = &chunk[..n];
        while let Some(frame) = decoder.push(&mut rest).map_err(std::io::Error::other)? {
            let message = decode_request(&frame).map_err(std::io::Error::other)?;
            match message.request {
                Request::Ping => {
                    let responder = Sender::of(&key);
                    let (ext, response) = (None, Response::Ping { responder });
                    let answer = encode_response(&ResponseMessage { ext, response });
                    stream
                        .write_all(&answer.map_err(std::io::Error::other)?)
                        .await?;
                    return stream.close().await; // one answer a stream, as Go
                }
                Request::GetValue { .. } => {
                    let _ = asked.unbounded_send(());
                }
                _ => {}
            }
        }
    }
}
