//! DMSG over real sockets: a server and two clients on loopback, on tokio.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::SecretKey;
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::MemoryDiscovery;
use skydht_dmsg::object::Address;
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_runtime::within;
use skydht_tokio::{TokioRuntime, entropy};

/// Longest duration of the test; not reached on a working machine.
const LIMIT: Duration = Duration::from_secs(60);

fn client(discovery: &MemoryDiscovery) -> Client<TokioRuntime> {
    let secret = SecretKey::from_entropy(&entropy().unwrap());
    let config = ClientConfig::default();
    let entropy = entropy().unwrap();
    Client::start(TokioRuntime, secret, entropy, discovery.clone(), config)
}

async fn scenario() {
    let discovery = MemoryDiscovery::new(TokioRuntime);
    let secret = SecretKey::from_entropy(&entropy().unwrap());
    let config = ServerConfig::new(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
    let server = Server::start(
        TokioRuntime,
        secret,
        entropy().unwrap(),
        discovery.clone(),
        config,
    );
    let server = server.await.unwrap();
    server.ready().await;
    let (alice, bob) = (client(&discovery), client(&discovery));
    let mut listener = bob.listen(100).unwrap();
    alice.ready().await;
    bob.ready().await;

    let echo = tokio::spawn(async move {
        let mut served = 0;
        while let Some(mut stream) = listener.accept().await {
            served += 1;
            tokio::spawn(async move {
                let mut request = Vec::new();
                stream.read_to_end(&mut request).await.unwrap();
                stream.write_all(&request).await.unwrap();
                stream.close().await.unwrap();
            });
        }
        served
    });
    let to = Address {
        key: bob.key(),
        port: 100,
    };
    let calls = (0..40u8).map(|i| {
        let alice = alice.clone();
        tokio::spawn(async move {
            let request = vec![i; 10_000 * usize::from(i)];
            let mut stream = alice.dial(to).await.unwrap();
            stream.write_all(&request).await.unwrap();
            stream.close().await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            assert!(answer == request);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    assert_eq!((server.stats().relayed, server.stats().sessions), (40, 2));

    alice.close().await;
    bob.close().await;
    assert_eq!(echo.await.unwrap(), 40);
    server.close().await;
    assert_eq!(server.stats().sessions, 0);
    assert!(discovery.get(&server.key()).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_pass_a_relay_over_tcp_and_all_ends_in_order() {
    let done = within(&TokioRuntime, LIMIT, scenario()).await;
    assert!(done.is_some(), "not within {LIMIT:?}");
}
