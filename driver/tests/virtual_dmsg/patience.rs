//! Tests that a discovery that does not answer does not prevent the start of a node that is
//! reachable.

use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_driver::DmsgNode;
use skydht_driver::transport::dmsg::Via;
use skydht_runtime::{BoxFuture, within};

use crate::world::{World, key, known, secret};

/// A discovery that answers nothing.
struct SilentDiscovery;

impl Discovery for SilentDiscovery {
    fn entry(&self, _: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn stored(&self, _: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn publish(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::pending())
    }

    fn remove(&self, _: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        Box::pin(std::future::pending())
    }
}

#[test]
fn a_silent_discovery_delays_a_start_by_the_patience_and_no_session_does_for_ever() {
    let world = World::new();
    world.run(async {
        let patience = Duration::from_secs(3);
        let server = world.server_at(1, SilentDiscovery).await;
        let connected = |n, servers: &[u8]| {
            let mut config = ClientConfig::default();
            config.servers = servers.iter().map(|n| known(*n)).collect();
            Client::start(world.host(n), secret(n), [n; 32], SilentDiscovery, config)
        };
        for (n, via, starts) in [
            (1, Via::Server(server.clone()), true),
            (11, Via::Client(connected(11, &[1])), true),
            (12, Via::Client(connected(12, &[])), false),
        ] {
            let mut node = DmsgNode::new(secret(n), via);
            node.patience = Some(patience);
            let starting = node.start_on(world.host(n), || Ok([n; 32]));
            let limit = Duration::from_secs(20);
            let started = within(&world.host(n), limit, starting).await;
            assert_eq!(started.is_some(), starts, "{n}");
            if let Some(started) = started {
                assert_eq!(started.unwrap().key(), key(n));
            }
        }
    });
}

#[test]
fn a_client_says_what_became_of_each_server() {
    let world = World::new();
    world.run(async {
        let server = world.server(1).await;
        let mut config = ClientConfig::default();
        config.min_sessions = 0;
        config.servers = vec![known(1), known(2)];
        let client = Client::start(
            world.host(11),
            secret(11),
            [11; 32],
            SilentDiscovery,
            config,
        );
        client.connected().await;
        world.sleep(30).await;
        let states = client.server_states();
        let of = |n| states.iter().find(|it| it.server == known(n)).unwrap();
        assert_eq!((of(1).connected, of(1).failure.as_deref()), (true, None));
        let failure = of(2).failure.as_deref().unwrap();
        assert!(!of(2).connected && failure.contains("refused"), "{failure}");
        server.close().await;
        drop(server);
        world.sleep(5).await;
        let states = client.server_states();
        assert!(
            states
                .iter()
                .all(|it| !it.connected && it.failure.is_some())
        );
    });
}
