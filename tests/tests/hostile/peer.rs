//! A peer with a key of its own that says whatever it likes, over real TCP.

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

/// Long enough for any loaded machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// `future`, which a failing test would wait for without end.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    let result = tokio::time::timeout(DEADLINE, future).await;
    result.expect("nothing came of it in time")
}

/// The secret key made from `n`.
pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

/// A loopback address with any free port.
pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// An honest node that starts from `bootstrap`.
pub(crate) async fn honest(n: u8, bootstrap: Vec<BootstrapPeer>) -> Dht {
    let mut node = TcpNode::new(secret(n), Some(loopback()));
    node.seed = Some(Seed::from_number(n.into()));
    node.config.bootstrap = bootstrap;
    node.start().await.unwrap()
}

/// How to start from a node.
pub(crate) fn at(node: &Dht) -> BootstrapPeer {
    BootstrapPeer {
        key: node.key(),
        addrs: node.local_addr().into_iter().collect(),
    }
}

/// The salt of all items here.
pub(crate) fn salt() -> Salt {
    Salt::from("dmsg")
}

/// How often `node` counted `counter`.
pub(crate) async fn count(node: &Dht, counter: Counter) -> u64 {
    node.snapshot().await.unwrap().counters.get(counter)
}

/// The victim and a friend, who checks that the victim still serves.
pub(crate) struct Pair {
    /// Whom the peer attacks.
    pub(crate) victim: Dht,
    friend: Dht,
}

impl Pair {
    /// Two nodes that know each other.
    pub(crate) async fn new() -> Self {
        let victim = honest(1, Vec::new()).await;
        let friend = honest(2, vec![at(&victim)]).await;
        soon(friend.ready()).await.unwrap();
        Self { victim, friend }
    }

    /// The victim takes an item from its friend and gives it back.
    pub(crate) async fn still_serves(&self) {
        let value = Value::new(b"served");
        let put = self.friend.put(salt(), value, PutOptions::default());
        let stored = soon(put).await.unwrap();
        assert_eq!(stored.replicas.acknowledged(), 1);
        let request = GetRequest::of(self.friend.key(), salt(), ReadPolicy::Local);
        let read = soon(self.victim.get(request)).await.unwrap();
        assert_eq!(read.item.value.as_bytes(), b"served");
        // The misuse counter belongs to the driver: hostile input never breaks the contract.
        assert_eq!(self.victim.driver_stats().await.unwrap().misuse, 0);
    }

    /// Whether the victim lists a key.
    pub(crate) async fn lists(&self, key: &PublicKey) -> bool {
        let peers = self.victim.peers().await.unwrap();
        peers.iter().any(|peer| peer.key == *key)
    }
}

/// What a hostile server answers to a request's method and body.
pub(crate) type Lies = dyn Fn(u8, &[u8]) -> Option<Vec<u8>> + Send + Sync;

/// The hostile peer. Its handshake is honest: its key is proven.
pub(crate) struct Hostile {
    transport: Arc<TcpTransport<TokioRuntime>>,
}

impl Hostile {
    /// One that listens.
    pub(crate) async fn new(n: u8) -> Self {
        let mut options = TcpOptions::default();
        options.listen = Some(loopback());
        let transport = TcpTransport::start(TokioRuntime, secret(n), [n; 32], options);
        let transport = Arc::new(transport.await.unwrap());
        Self { transport }
    }

    /// Its key.
    pub(crate) fn key(&self) -> PublicKey {
        self.transport.local_key()
    }

    /// How to start from it.
    pub(crate) fn at(&self) -> BootstrapPeer {
        BootstrapPeer {
            key: self.key(),
            addrs: self.transport.local_addr().into_iter().collect(),
        }
    }

    /// A stream to `victim`.
    pub(crate) async fn open(&self, victim: &Dht) -> Stream {
        let addrs = victim.local_addr().into_iter().collect();
        let open = self
            .transport
            .open(victim.key(), addrs, SessionUse::ReuseOrDial);
        soon(open).await.unwrap().0
    }

    /// Writes `bytes` and returns all that the victim answers until it closes the stream.
    pub(crate) async fn say(&self, victim: &Dht, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(victim).await;
        // The victim may close in the middle.
        let _ = soon(stream.write_all(bytes)).await;
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        answer
    }

    /// As [`Hostile::say`], but says that no more comes.
    pub(crate) async fn break_off(&self, victim: &Dht, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.open(victim).await;
        soon(stream.write_all(bytes)).await.unwrap();
        soon(stream.close()).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        answer
    }

    /// Answers every request with `lies`; none closes the stream.
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

/// A frame around a body.
pub(crate) fn frame(method: u8, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 1).to_be_bytes().to_vec();
    out.push(method);
    out.extend_from_slice(body);
    out
}
