//! A hostile peer with its own key, over real TCP.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::Seed;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, Counter, GetRequest, PutOptions, ReadPolicy, SessionUse};
use skydht_dmsg::session::Stream;
use skydht_tokio::{
    Dht, Salt, Start as _, TcpNode, TcpOptions, TcpTransport, TokioRuntime, Transport as _, Value,
};

/// Longest wait; only a failing test reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Awaits `future`, with a timeout.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let result = tokio::time::timeout(DEADLINE, future).await;
    result.expect("nothing came of it in time")
}

/// Returns the secret key derived from `n`.
pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

/// Returns a loopback address with any free port.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Starts an honest node that bootstraps from `bootstrap`.
pub(crate) async fn honest(n: u8, bootstrap: Vec<BootstrapPeer>) -> Dht {
    let mut node = TcpNode::new(secret(n), Some(loopback()));
    node.seed = Some(Seed::from_number(n.into()));
    node.config.bootstrap = bootstrap;
    node.start().await.unwrap()
}

/// Returns the bootstrap peer for a node.
pub(crate) fn at(node: &Dht) -> BootstrapPeer {
    BootstrapPeer {
        key: node.key(),
        addrs: node.local_addr().into_iter().collect(),
    }
}

/// Returns the salt of all items in these tests.
pub(crate) fn salt() -> Salt {
    Salt::from("dmsg")
}

/// Returns the value of a node's counter.
pub(crate) async fn count(node: &Dht, counter: Counter) -> u64 {
    node.snapshot().await.unwrap().counters.get(counter)
}

/// The attacked node, and an honest one that checks that it still serves.
pub(crate) struct Pair {
    /// The attacked node.
    pub(crate) victim: Dht,
    friend: Dht,
}

impl Pair {
    /// Starts two nodes that know each other.
    pub(crate) async fn new() -> Self {
        let victim = honest(1, Vec::new()).await;
        let friend = honest(2, vec![at(&victim)]).await;
        soon(friend.ready()).await.unwrap();
        Self { victim, friend }
    }

    /// Checks that the attacked node stores an item of the honest one and returns it.
    pub(crate) async fn still_serves(&self) {
        let value = Value::new(b"served");
        let put = self.friend.put(salt(), value, PutOptions::default());
        let stored = soon(put).await.unwrap();
        assert_eq!(stored.replicas.acknowledged(), 1);
        let request = GetRequest::of(self.friend.key(), salt(), ReadPolicy::Local);
        let read = soon(self.victim.get(request)).await.unwrap();
        assert_eq!(read.item.value.as_bytes(), b"served");
        // The driver counts misuse of the core's interface, which hostile input must not cause.
        assert_eq!(self.victim.driver_stats().await.unwrap().misuse, 0);
    }

    /// Returns whether the attacked node's routing table contains a key.
    pub(crate) async fn lists(&self, key: &PublicKey) -> bool {
        let peers = self.victim.peers().await.unwrap();
        peers.iter().any(|peer| peer.key == *key)
    }
}

/// Returns the response to a request with this method and body.
pub(crate) type Lies = dyn Fn(u8, &[u8]) -> Option<Vec<u8>> + Send + Sync;

/// The hostile peer. Its handshake is honest, so that its key is proven.
pub(crate) struct Hostile {
    transport: Arc<TcpTransport<TokioRuntime>>,
}

impl Hostile {
    /// Starts a peer that listens.
    pub(crate) async fn new(n: u8) -> Self {
        let mut options = TcpOptions::default();
        options.listen = Some(loopback());
        let transport = TcpTransport::start(TokioRuntime, secret(n), [n; 32], options);
        let transport = Arc::new(transport.await.unwrap());
        Self { transport }
    }

    /// Returns its key.
    pub(crate) fn key(&self) -> PublicKey {
        self.transport.local_key()
    }

    /// Returns the bootstrap peer for it.
    pub(crate) fn at(&self) -> BootstrapPeer {
        BootstrapPeer {
            key: self.key(),
            addrs: self.transport.local_addr().into_iter().collect(),
        }
    }

    /// Opens a stream to `victim`.
    pub(crate) async fn open(&self, victim: &Dht) -> Stream {
        let addrs = victim.local_addr().into_iter().collect();
        let open = self
            .transport
            .open(victim.key(), addrs, SessionUse::ReuseOrDial);
        soon(open).await.unwrap().0
    }

    /// Writes `bytes`, and returns the response until `victim` closes the stream.
    pub(crate) async fn say(&self, victim: &Dht, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(victim).await;
        // The stream may be closed during the write.
        let _ = soon(stream.write_all(bytes)).await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        answer
    }

    /// Does as [`Hostile::say`], and closes its side of the stream after writing.
    pub(crate) async fn break_off(&self, victim: &Dht, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(victim).await;
        soon(stream.write_all(bytes)).await.unwrap();
        soon(stream.close()).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        answer
    }

    /// Answers one request per stream with `lies` and closes the stream; `None` sends no answer.
    pub(crate) fn serve(&self, lies: Arc<Lies>) {
        let transport = Arc::clone(&self.transport);
        tokio::spawn(async move {
            while let Some(accepted) = poll_fn(|cx| transport.poll_accept(cx)).await {
                let (mut stream, lies) = (accepted.stream, Arc::clone(&lies));
                tokio::spawn(async move {
                    let mut header = [0; 5];
                    if stream.read_exact(&mut header).await.is_err() {
                        return;
                    }
                    let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
                    let mut body = vec![0; length as usize - 1];
                    if stream.read_exact(&mut body).await.is_err() {
                        return;
                    }
                    if let Some(answer) = lies(header[4], &body) {
                        let _ = stream.write_all(&answer).await;
                    }
                    let _ = stream.close().await;
                });
            }
        });
    }
}

/// Encodes a frame with this body.
pub(crate) fn frame(method: u8, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 1).to_be_bytes().to_vec();
    out.push(method);
    out.extend_from_slice(body);
    out
}
