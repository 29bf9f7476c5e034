//! Tests of the routes to a peer: common servers, new sessions, other relays, and routes that fail.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::node::{Addrs, OpenFailure, PingError, SessionUse};
use skydht_core::wire::{FrameDecoder, Response, ResponseMessage, Sender, Side, encode_response};
use skydht_dmsg::endpoint::DmsgStream;
use skydht_dmsg::object::Address;
use skydht_driver::Transport as _;
use skydht_driver::transport::dmsg::{DmsgOptions, DmsgTransport, OtherKey, Relay, Via};
use skydht_runtime::{Runtime as _, within};

use crate::world::{BootstrapEntries, World, ip, key, put_and_get};

#[test]
fn peers_that_share_no_server_meet_by_bootstrap_data_and_only_if_they_may_dial() {
    let world = World::new();
    world.run(async {
        let (_first, second) = (world.server(1).await, world.server(2).await);
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[2]).await);
        let book = BootstrapEntries::of(&[(11, 1), (12, 2)], &[1, 2]);
        let mut options = DmsgOptions::default();
        options.entries = Arc::new(book.clone());
        let probe = world.transport(11, &near, options);
        let open = probe.open(key(12), Addrs::new(), SessionUse::ReuseOnly);
        assert!(open.await.is_err());
        assert_eq!(second.stats().sessions, 1);
        let _far = world.transport(12, &far, DmsgOptions::default());
        let open = probe.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        assert!(open.await.is_ok());
        assert_eq!(second.stats().sessions, 2);
    });
}

#[test]
fn visors_behind_two_servers_that_share_no_client_put_and_get_both_ways() {
    let world = World::new();
    world.run(async {
        let _servers = (world.server(1).await, world.server(2).await);
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[2]).await);
        let book = BootstrapEntries::of(&[(11, 1), (12, 2)], &[1, 2]);
        let near = world.node(11, Via::Client(near), book.clone()).await;
        let far = world.node(12, Via::Client(far), book).await;
        near.ready().await.unwrap();
        far.ready().await.unwrap();
        put_and_get(&near, &far, "there").await;
        put_and_get(&far, &near, "back").await;
    });
}

/// Reads the request that a stream begins with, without answering.
async fn read_request(stream: &mut DmsgStream) {
    let mut decoder = FrameDecoder::new(Side::Request);
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).await.unwrap();
        assert!(n > 0, "the request came before the end");
        if decoder.push(&mut &chunk[..n]).unwrap().is_some() {
            return;
        }
    }
}

#[test]
fn a_relay_that_dies_in_mid_call_is_passed_by_and_the_error_says_so() {
    let world = World::new();
    world.run(async {
        let mut servers = BTreeMap::new();
        for n in [1, 2] {
            servers.insert(key(n), world.server(n).await);
        }
        let near = world.client(11, &[1, 2]).await;
        let far = world.client(12, &[1, 2]).await;
        let near = world
            .node(11, Via::Client(near), BootstrapEntries::default())
            .await;
        let far = world.transport(12, &far, DmsgOptions::default());
        let accept = || poll_fn(|cx| far.poll_accept(cx));

        // The first relay stops before the answer, which then comes through the second.
        let served = async {
            let mut stream = accept().await.unwrap().stream;
            read_request(&mut stream).await;
            let first = stream.via();
            drop(servers.remove(&first));
            let mut stream = accept().await.unwrap().stream;
            assert_ne!(stream.via(), first);
            read_request(&mut stream).await;
            let responder = Sender::of(&key(12));
            let (ext, response) = (None, Response::Ping { responder });
            let answer = encode_response(&ResponseMessage { ext, response }).unwrap();
            stream.write_all(&answer).await.unwrap();
            stream.close().await.unwrap();
        };
        let (answer, ()) = join(near.ping(key(12), None), served).await;
        assert!(answer.is_ok(), "{answer:?}");

        // No route is left after the second relay.
        let served = async {
            let mut stream = accept().await.unwrap().stream;
            read_request(&mut stream).await;
            servers.clear();
        };
        let (answer, ()) = join(near.ping(key(12), None), served).await;
        let error = answer.unwrap_err();
        assert_eq!(error, PingError::Open(OpenFailure::NoAddress));
    });
}

#[test]
fn relays_reach_each_other_and_each_others_clients() {
    let world = World::new();
    world.run(async {
        let mut relays = Vec::new();
        let servers = [world.server(1).await, world.server(2).await];
        for (server, (n, other)) in servers.into_iter().zip([(1, 2), (2, 1)]) {
            let client = world.client(n, &[other]).await;
            relays.push(Relay::new(server, client).unwrap());
        }
        let mut nodes = Vec::new();
        let visor = world.client(11, &[1]).await;
        nodes.push(
            world
                .node(11, Via::Client(visor), BootstrapEntries::default())
                .await,
        );
        for (n, relay) in (1..).zip(relays) {
            let via = Via::Relay(relay);
            nodes.push(world.node(n, via, BootstrapEntries::default()).await);
        }
        for node in &nodes {
            node.ready().await.unwrap();
        }
        for (salt, writer) in ["visor", "near relay", "far relay"].iter().zip(&nodes) {
            for reader in &nodes {
                put_and_get(writer, reader, salt).await;
            }
        }
        // Two sessions with the other relay, one for each role, and the visor's.
        let sessions: Vec<_> = nodes[1..].iter().map(|it| it.transport_stats()).collect();
        assert_eq!((sessions[0].sessions, sessions[0].accepted), (3, 2));
        assert_eq!((sessions[1].sessions, sessions[1].dials), (2, 1));
    });
}

/// A client of the relay itself refuses because it runs no DHT: that is the result, whatever other
/// relays would answer.
#[test]
fn a_relay_believes_its_own_client() {
    let world = World::new();
    world.run(async {
        let (near, far) = (world.server(1).await, world.server(2).await);
        let client = world.client(1, &[2]).await;
        let relay = Relay::new(near, client).unwrap();
        let _visor = world.client(11, &[1]).await;
        let via = Via::Relay(relay);
        let transport = DmsgTransport::new(world.host(1), via, DmsgOptions::default()).unwrap();
        for _ in 0..2 {
            let open = transport.open(key(11), Addrs::new(), SessionUse::ReuseOrDial);
            assert_eq!(open.await.err(), Some(OpenFailure::Unreachable));
        }
        let stats = transport.stats();
        assert_eq!((stats.without_dht, stats.avoided), (1, 1));
        assert_eq!(far.stats().no_destination, 0, "no other relay is asked");
    });
}

#[test]
fn what_keeps_bootstrap_peers_from_being_reached_is_reported_until_they_are() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let mut options = DmsgOptions::default();
        options.bootstrap = [key(12)].into();
        let near = world.transport(11, &near, options);
        let open = |peer| near.open(peer, Addrs::new(), SessionUse::ReuseOrDial);
        for peer in [12, 13] {
            assert!(open(key(peer)).await.is_err());
        }
        let failures = near.dial_failures();
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!((failures[0].peer, failures[0].addr), (key(12), None));
        assert!(!failures[0].cause.is_empty());
        let _far = world.transport(12, &far, DmsgOptions::default());
        assert!(open(key(12)).await.is_ok());
        assert_eq!(near.dial_failures(), []);
    });
}

#[test]
fn the_client_of_a_relay_has_the_relays_key() {
    let world = World::new();
    world.run(async {
        let server = world.server(1).await;
        let other = world.client(2, &[1]).await;
        assert_eq!(Relay::new(server, other).err(), Some(OtherKey));
    });
}

#[test]
fn a_silent_relay_leaves_time_for_the_next_and_is_not_asked_first_again() {
    let world = World::new();
    world.run(async {
        let _servers = (world.server(1).await, world.server(2).await);
        let near = world.client(11, &[1, 2]).await;
        let far = world.client(12, &[1, 2]).await;
        let near = world.transport(11, &near, DmsgOptions::default());
        let far = world.transport(12, &far, DmsgOptions::default());
        let open = || near.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        let via = open().await.unwrap().0.via();
        let silent = if via == key(1) { 1 } else { 2 };
        world.0.suspend(ip(silent));
        // Well within the ten seconds of a call; the second time, the working relay is first.
        for limit in [Duration::from_secs(4), Duration::from_secs(1)] {
            let runtime = world.0.runtime();
            let (stream, _) = within(&runtime, limit, open()).await.unwrap().unwrap();
            assert_eq!(stream.via(), key(3 - silent));
        }
        drop(far);
    });
}

#[test]
fn a_dial_ends_with_its_caller() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let client = world.client(11, &[1]).await;
        let _far = world.client(12, &[1]).await;
        let near = world
            .node(11, Via::Client(client.clone()), BootstrapEntries::default())
            .await;
        world.0.suspend(ip(1));
        let before = client.stats();
        let runtime = world.0.runtime();
        let begun = world.0.now();
        assert!(near.ping(key(12), None).await.is_err());
        assert!(world.0.now() - begun <= Duration::from_secs(10));
        assert_eq!(near.transport_stats().streams, 0);
        // A caller that gives up earlier leaves nothing behind, either.
        let (key, port) = (key(12), 7);
        let asked = client.dial(Address { key, port });
        let gone = within(&runtime, Duration::from_secs(1), asked).await;
        assert!(gone.is_none());
        assert_eq!(client.stats().streams, 0);
        world.sleep(5).await;
        assert_eq!(client.stats().redials, before.redials);
    });
}

#[test]
fn opens_share_a_dial_and_the_transport_counts_it() {
    let world = World::new();
    world.run(async {
        let _servers = (world.server(1).await, world.server(2).await);
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[2]).await);
        let mut options = DmsgOptions::default();
        options.entries = Arc::new(BootstrapEntries::of(&[(12, 2)], &[2]));
        let near = world.transport(11, &near, options);
        let _far = world.transport(12, &far, DmsgOptions::default());
        let open = || near.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        let watch = async {
            let runtime = world.0.runtime();
            loop {
                let dialling = near.stats().dialling;
                if dialling > 0 {
                    return dialling;
                }
                runtime.sleep(Duration::from_millis(1)).await;
            }
        };
        let ((one, other), dialling) = join(join(open(), open()), watch).await;
        assert_eq!(dialling, 1);
        let stats = near.stats();
        assert_eq!(
            (stats.dials, stats.dials_shared, stats.dials_failed),
            (2, 1, 0)
        );
        assert_eq!((stats.sessions, stats.streams, stats.dialling), (2, 2, 0));
        drop((one.unwrap(), other.unwrap()));
        assert_eq!(near.stats().streams, 0);
    });
}
