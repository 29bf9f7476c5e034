//! Tests of server entries that name an address of another host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::Discovery as _;
use skydht_dmsg::entry::{Entry, ServerFields};
use skydht_runtime::{Listener as _, Runtime as _};

use crate::world::{World, ip, secret};

/// Publishes entries of servers on the host 99, each with a port of its own.
fn publish_fakes(world: &World, count: u16) {
    for n in 0..count {
        let mut bytes = [9; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        let fake = SecretKey::from_bytes(&bytes).unwrap();
        let now = world.time.runtime().clocks().unix.as_nanos() as i64;
        let mut entry = Entry::new(fake.public(), now as u64, now);
        entry.server = Some(ServerFields {
            address: SocketAddr::new(ip(99), 1_000 + n % 10).to_string(),
            available_sessions: 1_000_000,
            ..ServerFields::default()
        });
        world
            .run(world.discovery.publish(entry.sign(&fake)))
            .unwrap();
    }
}

/// A client that keeps sessions with all servers dials an unrelated host only a few times an hour,
/// however many keys are claimed to be there.
#[test]
fn server_entries_cannot_make_clients_flood_an_unrelated_host() {
    let world = World::new();
    let _server = world.server(1);
    let dialled = Arc::new(AtomicU32::new(0));
    for port in 1_000..1_010 {
        let host = world.host(99);
        let listener = world
            .run(host.listen(SocketAddr::new(ip(99), port)))
            .unwrap();
        let counting = Arc::clone(&dialled);
        host.spawn(Box::pin(async move {
            while listener.accept().await.is_ok() {
                counting.fetch_add(1, Relaxed);
            }
        }));
    }
    publish_fakes(&world, 300);
    let mut config = ClientConfig::default();
    config.min_sessions = 0;
    let discovery = world.discovery.clone();
    let client = Client::start(world.host(2), secret(2), [2; 32], discovery, config);
    world.run(client.ready());
    for _ in 0..10 {
        world.sleep(Duration::from_secs(60));
        publish_fakes(&world, 300);
    }
    let dialled = dialled.load(Relaxed);
    assert!(
        (3..=20).contains(&dialled),
        "dialled {dialled} times in ten minutes"
    );
    assert_eq!(client.servers().len(), 1, "the real one is found");
}
