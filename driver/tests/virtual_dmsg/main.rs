//! Tests of the DHT over DMSG, in virtual time.

mod discovery;
mod patience;
mod routes;
mod without_dht;
mod world;

use std::future::poll_fn;

use skydht_core::node::{Addrs, OpenFailure, SessionUse};
use skydht_driver::Transport as _;
use skydht_driver::testing::{Pair, conformance};
use skydht_driver::transport::dmsg::{DmsgOptions, Via};

use world::{BootstrapEntries, World, key, put_and_get};

#[test]
fn the_transport_conforms() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let mut options = DmsgOptions::default();
        options.close_sessions = true;
        let pair = Pair {
            near: world.transport(11, &near, options.clone()),
            far: world.transport(12, &far, options),
            far_addrs: Addrs::new(),
            absent: (key(13), Addrs::new()),
        };
        conformance(pair).await;
    });
}

#[test]
fn visors_and_relay_put_and_get_all_ways_without_a_new_connection() {
    let world = World::new();
    world.run(async {
        let server = world.server(1).await;
        let (first, second) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let before = world.0.connections().len();
        let first = world
            .node(11, Via::Client(first), BootstrapEntries::default())
            .await;
        let second = world
            .node(12, Via::Client(second), BootstrapEntries::default())
            .await;
        let relay = world
            .node(1, Via::Server(server), BootstrapEntries::default())
            .await;
        let nodes = [("a", first), ("b", second), ("c", relay)];
        for (_, node) in &nodes {
            node.ready().await.unwrap();
        }
        for (salt, writer) in &nodes {
            for (_, reader) in &nodes {
                put_and_get(writer, reader, salt).await;
            }
        }
        assert_eq!(world.0.connections().len(), before);
    });
}

#[test]
fn a_node_answers_before_its_first_outgoing_ping() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (peer, own) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let peer = world.transport(11, &peer, DmsgOptions::default());
        let node = world
            .node(12, Via::Client(own), BootstrapEntries::default())
            .await;
        // When its first stream arrives, the way back must be open.
        let asked = poll_fn(|cx| peer.poll_accept(cx)).await.unwrap();
        assert_eq!(asked.peer, key(12));
        let back = peer.open(key(12), Addrs::new(), SessionUse::ReuseOnly);
        assert!(back.await.is_ok());
        assert_eq!(peer.stats().without_dht, 0);
        node.shutdown().await;
    });
}

/// Others may use the client: it keeps running, and its port is free again.
#[test]
fn closing_the_transport_leaves_the_client_alone() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (client, far) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let near = world.transport(11, &client, DmsgOptions::default());
        let far = world.transport(12, &far, DmsgOptions::default());
        near.close().await;
        let open = near.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        assert_eq!(open.await.err(), Some(OpenFailure::Closing));
        assert!(poll_fn(|cx| near.poll_accept(cx)).await.is_none());
        let back = far.open(key(11), Addrs::new(), SessionUse::ReuseOrDial);
        assert_eq!(back.await.err(), Some(OpenFailure::Unreachable));
        assert_eq!(client.servers(), [key(1)]);
        let again = world.transport(11, &client, DmsgOptions::default());
        let open = again.open(key(12), Addrs::new(), SessionUse::ReuseOnly);
        assert!(open.await.is_ok());
    });
}
