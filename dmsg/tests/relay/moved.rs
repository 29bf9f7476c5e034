//! Tests of a client that has moved to other servers: it is dialled there, although an old relay
//! leaves streams to a client that is gone open without an answer.

use std::time::Duration;

use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::KnownServer;
use skydht_dmsg::server::Server;
use skydht_runtime::virtual_time::VirtualRuntime;

use crate::basics::WithoutServers;
use crate::world::{World, at, echoed, ip, key, secret};

fn old_relay(world: &World, n: u8) -> Server<VirtualRuntime> {
    let mut config = World::server_config(n);
    config.leaves_unknown_open = true;
    world.server_with(n, config)
}

/// Starts a client with sessions with exactly these servers.
fn client(world: &World, n: u8, servers: &[u8]) -> Client<VirtualRuntime> {
    let mut config = ClientConfig::default();
    config.min_sessions = servers.len();
    config.servers = servers
        .iter()
        .map(|n| KnownServer {
            key: key(*n),
            address: std::net::SocketAddr::new(ip(*n), crate::world::PORT),
        })
        .collect();
    let entries = WithoutServers(world.discovery.clone());
    let client = Client::start(world.host(n), secret(n), [n; 32], entries, config);
    world.run(client.ready());
    world.until("all its sessions", || {
        client.servers().len() == servers.len()
    });
    client
}

/// Returns how long a dial of `4` takes, and over which server it goes.
fn dial(world: &World, alice: &Client<VirtualRuntime>) -> (Duration, skydht_core::key::PublicKey) {
    let begin = world.time.now();
    let mut stream = world.dial(alice, at(4, 100));
    let took = world.time.now() - begin;
    world.run(echoed(&mut stream, b"hello")).unwrap();
    (took, stream.via())
}

#[test]
fn a_client_that_moved_is_dialled_where_it_dialled_from_last() {
    let world = World::new();
    let _relays = (old_relay(&world, 1), old_relay(&world, 2));
    let alice = client(&world, 3, &[1, 2]);
    world.echo(alice.listen(100).unwrap());
    let bob = client(&world, 4, &[1]);
    world.echo(bob.listen(100).unwrap());
    assert_eq!(dial(&world, &alice).1, key(1));
    world.run(bob.close());
    drop(bob);
    let bob = client(&world, 4, &[2]);
    world.echo(bob.listen(100).unwrap());
    world.dial(&bob, at(3, 100));
    let (took, via) = dial(&world, &alice);
    assert_eq!(via, key(2));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn an_entry_that_led_to_no_answer_is_fetched_again() {
    let world = World::new();
    let _relays = (old_relay(&world, 1), old_relay(&world, 2));
    let alice = client(&world, 3, &[1]);
    let bob = client(&world, 4, &[1]);
    world.echo(bob.listen(100).unwrap());
    assert_eq!(dial(&world, &alice).1, key(1));
    world.run(bob.close());
    drop(bob);
    let bob = client(&world, 4, &[2]);
    world.echo(bob.listen(100).unwrap());
    // The old route is tried first; then the new entry is read, and a session with its server
    // established.
    let (first, via) = dial(&world, &alice);
    assert_eq!(via, key(2));
    assert!(first < Duration::from_secs(12), "{first:?}");
    let (again, via) = dial(&world, &alice);
    assert_eq!(via, key(2));
    assert!(again < Duration::from_secs(1), "{again:?}");
}
