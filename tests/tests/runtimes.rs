//! A node on tokio and one on async-std communicate over real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use skydht_async_std::{AsyncStdRuntime, Start as _};
use skydht_core::item::{Salt, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::{GetRequest, PutOptions, ReadPolicy};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::MemoryDiscovery;
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_driver::transport::dmsg::Via;
use skydht_driver::{Dht, DmsgNode};
use skydht_runtime::{Runtime, within};
use skydht_tokio::{Start as _, TokioRuntime, entropy};

/// Longest duration of a test; not reached on a working machine.
const LIMIT: Duration = Duration::from_secs(60);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn secret() -> SecretKey {
    SecretKey::from_entropy(&entropy().unwrap())
}

async fn put_and_get_both_ways(one: &Dht, other: &Dht) {
    one.ready().await.unwrap();
    other.ready().await.unwrap();
    for (writer, reader) in [(one, other), (other, one)] {
        let (salt, value) = (Salt::from("x"), Value::new(b"from the other executor"));
        let put = writer.put(salt.clone(), value.clone(), PutOptions::default());
        assert_eq!(put.await.unwrap().replicas.stored, 1);
        let request = GetRequest::of(writer.key(), salt, ReadPolicy::Freshest);
        assert_eq!(reader.get(request).await.unwrap().item.value, value);
    }
    one.shutdown().await;
    other.shutdown().await;
}

/// Runs a check on tokio, with a timeout; async-std's runtime is global.
fn in_time(check: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let tokio = builder.worker_threads(2).enable_all().build().unwrap();
    let done = tokio.block_on(async { within(&TokioRuntime, LIMIT, check).await });
    assert!(done.is_some(), "not within {LIMIT:?}");
}

#[test]
fn over_tcp() {
    in_time(async {
        let node = Dht::tcp(secret()).listen(loopback());
        let one = skydht_tokio::Start::start(node).await.unwrap();
        let node = Dht::tcp(secret()).listen(loopback());
        let node = node.bootstrap([one.as_bootstrap()]);
        let other = skydht_async_std::Start::start(node).await.unwrap();
        put_and_get_both_ways(&one, &other).await;
    });
}

fn over<R: Runtime>(runtime: R, discovery: &MemoryDiscovery) -> DmsgNode<R> {
    let (secret, config) = (secret(), ClientConfig::default());
    let entropy = entropy().unwrap();
    let client = Client::start(runtime, secret.clone(), entropy, discovery.clone(), config);
    let mut node = DmsgNode::new(secret, Via::Client(client));
    node.dmsg.close_sessions = true;
    node
}

#[test]
fn over_dmsg_through_one_relay() {
    in_time(async {
        let discovery = MemoryDiscovery::new(TokioRuntime);
        let config = ServerConfig::new(loopback());
        let random = entropy().unwrap();
        let relay = Server::start(TokioRuntime, secret(), random, discovery.clone(), config);
        let relay = relay.await.unwrap();
        relay.ready().await;
        let node = over(TokioRuntime, &discovery);
        let one = node.start().await.unwrap();
        let node = over(AsyncStdRuntime, &discovery).bootstrap([one.key()]);
        let other = node.start().await.unwrap();
        put_and_get_both_ways(&one, &other).await;
        assert!(relay.stats().relayed >= 2, "{:?}", relay.stats());
        relay.close().await;
    });
}
