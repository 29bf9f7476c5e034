//! Tests of how a client keeps its sessions: which servers it tries, when, and how often it queries
//! them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer, MemoryDiscovery};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_runtime::BoxFuture;
use skydht_runtime::virtual_time::VirtualRuntime;

use crate::world::{PORT, World, ip, key, secret};

/// A discovery that counts the queries for servers.
#[derive(Clone)]
struct Counting {
    entries: MemoryDiscovery,
    asked: Arc<AtomicU64>,
}

impl Counting {
    fn of(world: &World) -> Self {
        Self {
            entries: world.discovery.clone(),
            asked: Arc::default(),
        }
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Discovery for Counting {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.entries.entry(key)
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        self.entries.stored(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.entries.servers()
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.entries.publish(entry)
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.entries.remove(entry)
    }
}

fn start(
    world: &World,
    n: u8,
    servers: impl IntoIterator<Item = u8>,
    min_sessions: usize,
    discovery: impl Discovery,
) -> Client<VirtualRuntime> {
    let mut config = ClientConfig::default();
    let known = servers.into_iter().map(|n| KnownServer {
        key: key(n),
        address: SocketAddr::new(ip(n), PORT),
    });
    config.servers = known.collect();
    config.min_sessions = min_sessions;
    Client::start(world.host(n), secret(n), [n; 32], discovery, config)
}

#[test]
fn clients_that_want_one_session_spread_over_the_servers() {
    let world = World::new();
    let servers = [1, 2, 3].map(|n| world.server(n));
    let clients: Vec<_> = (10..40).map(|n| world.client(n)).collect();
    let sessions = servers.each_ref().map(|server| server.stats().sessions);
    assert!(sessions.iter().all(|it| *it >= 2), "{sessions:?}");
    assert_eq!(sessions.iter().sum::<usize>(), clients.len());
    // Also with only two servers.
    let world = World::new();
    let servers = [1, 2].map(|n| world.server(n));
    let _clients: Vec<_> = (10..30).map(|n| world.client(n)).collect();
    let sessions = servers.each_ref().map(|server| server.stats().sessions);
    assert!(sessions.iter().all(|it| *it >= 4), "{sessions:?}");
}

#[test]
fn a_client_goes_on_to_the_next_server_without_a_pause() {
    let world = World::new();
    let _server = world.server(1);
    let client = start(&world, 50, 2..20, 1, world.discovery.clone());
    world.run(client.connected());
    let stats = client.stats();
    assert!(stats.connects_failed > 2, "{stats:?}");
    assert!(world.time.now() < Duration::from_secs(1));
}

#[test]
fn a_client_without_any_server_looks_for_one_every_second() {
    let world = World::new();
    let discovery = Counting::of(&world);
    let client = start(&world, 2, [], 1, discovery.clone());
    world.sleep(Duration::from_millis(20_500));
    assert_eq!(discovery.asked(), 21);
    let _server = world.server(1);
    let begun = world.time.now();
    world.run(client.connected());
    assert!(world.time.now() - begun < Duration::from_secs(2));
    // It has as many sessions as configured.
    let asked = discovery.asked();
    world.sleep(Duration::from_secs(300));
    assert_eq!(discovery.asked(), asked);
}

#[test]
fn a_client_of_all_servers_asks_for_new_ones_with_each_publication_and_no_more() {
    let world = World::new();
    let _server = world.server(1);
    let discovery = Counting::of(&world);
    let client = start(&world, 2, [], 0, discovery.clone());
    world.run(client.ready());
    world.sleep(Duration::from_secs(1));
    let asked = discovery.asked();
    world.sleep(Duration::from_secs(600));
    let asked = discovery.asked() - asked;
    assert!((10..=21).contains(&asked), "{asked}");
}

/// Retries do not depend on the queries for servers: the wait is [`ClientConfig::retry`].
#[test]
fn a_client_of_all_servers_tries_again_what_failed_when_its_wait_is_over() {
    let world = World::new();
    let discovery = Counting::of(&world);
    let client = start(&world, 2, [7], 0, discovery.clone());
    world.sleep(Duration::from_secs(120));
    let failed = client.stats().connects_failed;
    assert!((6..12).contains(&failed), "{failed}");
    assert!(discovery.asked() <= 3 * failed + 3);
    let _server = world.server(7);
    let begun = world.time.now();
    world.run(client.connected());
    assert!(world.time.now() - begun <= Duration::from_secs(60));
}
