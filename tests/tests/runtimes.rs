//! A node on tokio and one on async-std reach each other on real sockets.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use skydht_async_std::AsyncStdRuntime;
use skydht_core::item::{Salt, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::{BootstrapPeer, GetRequest, PutOptions, ReadPolicy};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::MemoryDiscovery;
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_driver::transport::dmsg::Via;
use skydht_driver::{Dht, DmsgNode, TcpNode};
use skydht_runtime::{Runtime, within};
use skydht_tokio::{TokioRuntime, entropy};

/// Longer than anything here takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn secret() -> SecretKey {
    SecretKey::from_entropy(&entropy().unwrap())
}

fn at(node: &Dht) -> BootstrapPeer {
    BootstrapPeer {
        key: node.key(),
        addrs: node.local_addr().into_iter().collect(),
    }
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

/// Runs a check on tokio, in time; async-std's runtime is everywhere.
fn in_time(check: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let tokio = builder.worker_threads(2).enable_all().build().unwrap();
    let done = tokio.block_on(async { within(&TokioRuntime, LIMIT, check).await });
    assert!(done.is_some(), "not within {LIMIT:?}");
}

#[test]
fn over_tcp() {
    in_time(async {
        let node = TcpNode::new(secret(), Some(loopback()));
        let one = skydht_tokio::start_tcp(node).await.unwrap();
        let mut node = TcpNode::new(secret(), Some(loopback()));
        node.config.bootstrap = vec![at(&one)];
        let other = skydht_async_std::start_tcp(node).await.unwrap();
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
        let one = skydht_tokio::start_dmsg(node).await.unwrap();
        let mut node = over(AsyncStdRuntime, &discovery);
        node.config.bootstrap = vec![at(&one)];
        let other = skydht_async_std::start_dmsg(node).await.unwrap();
        put_and_get_both_ways(&one, &other).await;
        assert!(relay.stats().relayed >= 2, "{:?}", relay.stats());
        relay.close().await;
    });
}
