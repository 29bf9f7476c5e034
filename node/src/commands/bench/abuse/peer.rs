//! A peer whose streams and requests the attacks control directly.

use std::net::SocketAddr;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::item::{Item, Salt, Seq, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::SessionUse;
use skydht_core::wire::{
    Frame, FrameDecoder, Request, RequestMessage, Response, Sender, Side, decode_response,
    encode_request,
};
use skydht_dmsg::session::Stream;
use skydht_runtime::{Clocks, Runtime as _};
use skydht_tokio::{TcpOptions, TcpTransport, Transport as _};

use super::wire::Wire;
use crate::failure::{Code, Failure, Result};
use crate::random_bytes;

/// Size of a large item's value, in bytes.
const LARGE: usize = 60_000;
/// Number of large items per owner that a full node gets.
const LARGE_ITEMS: usize = 40;
/// Number of owners of large items.
const OWNERS: usize = 3;

/// A key with at most one session to the attacked node.
pub(super) struct Peer {
    secret: SecretKey,
    transport: TcpTransport<Wire>,
    wire: Wire,
    to: (PublicKey, SocketAddr),
}

impl Peer {
    /// Creates one with a fresh key, whose session may have this many streams.
    pub(super) async fn new(
        to: (PublicKey, SocketAddr),
        streams: usize,
        wire: Wire,
    ) -> Result<Self> {
        let secret = SecretKey::from_entropy(&random_bytes()?);
        let mut options = TcpOptions::default();
        options.max_streams = streams.max(1);
        let starting = TcpTransport::start(wire.clone(), secret.clone(), random_bytes()?, options);
        let transport = starting
            .await
            .map_err(|error| Failure::new(Code::Local, error))?;
        Ok(Self {
            secret,
            transport,
            wire,
            to,
        })
    }

    /// Opens a stream; dials if there is no session.
    pub(super) async fn open(&self) -> Option<Stream> {
        let addrs = [self.to.1].into_iter().collect();
        let opening = self
            .transport
            .open(self.to.0, addrs, SessionUse::ReuseOrDial);
        opening.await.ok().map(|(stream, _)| stream)
    }

    /// Opens a stream and sends `bytes` over it.
    pub(super) async fn send(&self, bytes: &[u8]) -> Option<Stream> {
        let mut stream = self.open().await?;
        stream.write_all(bytes).await.ok()?;
        stream.flush().await.ok()?;
        Some(stream)
    }

    /// Sends a request and reads the response.
    pub(super) async fn call(&self, request: &[u8]) -> Option<Response> {
        let mut stream = self.send(request).await?;
        let answer = read_answer(&mut stream).await?;
        // The response is complete, so that an error here does not matter.
        let _ = stream.close().await;
        Some(decode_response(&answer).ok()?.response)
    }

    /// Encodes a request of this peer as a frame.
    pub(super) fn request(&self, request: Request) -> Vec<u8> {
        let message = RequestMessage {
            sender: Sender::of(&self.secret.public()),
            ext: None,
            request,
        };
        // Requests built here are below every limit, so that encoding succeeds.
        encode_request(&message).unwrap_or_default()
    }

    /// Signs a valid item with a value of `bytes` bytes.
    pub(super) fn item(&self, index: usize, bytes: usize) -> Item {
        let seq = Seq(u64::try_from(Clocks::system().unix.as_nanos()).unwrap_or(u64::MAX));
        let salt = Salt::from(format!("abuse-{index}").as_str());
        Item::sign(&self.secret, seq, Value::from(vec![b'x'; bytes]), salt)
    }

    /// Stops reading this peer's sockets.
    pub(super) fn turn_deaf(&self) {
        self.wire.turn_deaf();
    }
}

/// Reads one frame.
pub(super) async fn read_answer(stream: &mut Stream) -> Option<Frame> {
    let mut decoder = FrameDecoder::new(Side::Response);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        if let Some(frame) = decoder.push(&mut &buffer[..read]).ok()? {
            return Some(frame);
        }
    }
}

/// Returns a request for as many items as fit into one response.
pub(super) fn page() -> Request {
    Request::GetItems {
        salt: String::new(),
        since_seq: Seq(0),
        limit: 0,
    }
}

/// Puts large items to a full node, and returns how many it stored.
pub(super) async fn fill(to: (PublicKey, SocketAddr)) -> Result<usize> {
    let mut stored = 0;
    for _ in 0..OWNERS {
        let peer = Peer::new(to, 8, Wire::default()).await?;
        for index in 0..LARGE_ITEMS {
            let request = peer.request(Request::PutValue {
                item: peer.item(index, LARGE).into(),
                mirror_target: None,
            });
            if let Some(Response::PutValue { stored: true, .. }) = peer.call(&request).await {
                stored += 1;
            }
        }
        peer.transport.close().await;
    }
    Ok(stored)
}

/// Connects with a fresh key over `wire` and pings once; returns whether the ping was answered.
pub(super) async fn newcomer(to: (PublicKey, SocketAddr), wire: Wire) -> Result<bool> {
    let peer = Peer::new(to, 8, wire.clone()).await?;
    let ping = peer.request(Request::Ping);
    let answered = matches!(peer.call(&ping).await, Some(Response::Ping { .. }));
    wire.spawn(peer.transport.close());
    Ok(answered)
}
