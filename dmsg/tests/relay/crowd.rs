//! Tests of parties that use as many of the relay's shared resources as they can.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_dmsg::client::Client;
use skydht_dmsg::endpoint::DmsgStream;
use skydht_runtime::virtual_time::VirtualRuntime;
use skydht_runtime::within;

use crate::raw::Raw;
use crate::world::{World, at, echoed, ip};

/// Dials until a dial fails, at most `most` times.
fn dial_all(world: &World, from: &Client<VirtualRuntime>, to: u8, most: usize) -> Vec<DmsgStream> {
    let dialled = (0..most).map_while(|_| world.run(from.dial(at(to, 7))).ok());
    dialled.collect()
}

fn reset(world: &World, streams: &mut [DmsgStream]) -> usize {
    let runtime = world.time.runtime();
    let ended = streams.iter_mut().map(|stream| {
        let mut byte = [0];
        let reading = within(&runtime, Duration::from_secs(1), stream.read(&mut byte));
        usize::from(world.run(reading).is_some())
    });
    ended.sum()
}

#[test]
fn the_largest_source_makes_room_for_a_newcomer() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_relayed = 12;
    let server = world.server_with(1, config);
    let (alice, bob, carol) = (world.client(2), world.client(3), world.client(4));
    world.echo(bob.listen(7).unwrap());
    let mut held = dial_all(&world, &alice, 3, 12);
    assert_eq!(held.len(), 12);
    let mut own = dial_all(&world, &carol, 3, 6);
    assert_eq!(own.len(), 6, "a half is her share");
    for stream in &mut own {
        world.run(echoed(stream, b"there is room")).unwrap();
    }
    assert_eq!(reset(&world, &mut held), 6);
    let stats = server.stats();
    assert_eq!((stats.relaying, stats.displaced_streams), (12, 6));
    // Neither address can get more than the other.
    assert!(world.run(carol.dial(at(3, 7))).is_err());
    assert!(server.stats().over_capacity > 0);
}

#[test]
fn one_source_does_not_take_all_streams_of_a_destination() {
    let world = World::new();
    let mut config = World::server_config(1);
    (config.max_streams, config.max_relayed_per_pair) = (32, 20);
    let server = world.server_with(1, config);
    let (alice, bob, carol) = (world.client(2), world.client(3), world.client(4));
    world.echo(bob.listen(7).unwrap());
    let held = dial_all(&world, &alice, 3, 32);
    assert_eq!(held.len(), 20);
    assert!(server.stats().over_share > 0);
    let own = dial_all(&world, &carol, 3, 15);
    assert_eq!(
        own.len(),
        15,
        "the destination's other streams, and then alice's"
    );
    assert_eq!(server.stats().displaced_streams, 5);
    // A part of the destination's streams is reserved for the server's own.
    assert_eq!(server.stats().relaying, 30);
}

/// Destinations that read nothing, and sources that send to them as much as they can.
#[test]
fn readers_that_stall_pin_a_bounded_amount() {
    let world = World::new();
    let mut config = World::server_config(1);
    (config.receive_budget, config.receive_queue) = (2 << 20, 1 << 20);
    let server = world.server_with(1, config);
    let (alice, mallory, bob) = (world.client(2), world.client(3), world.client(4));
    let mut idle = mallory.listen(7).unwrap();
    world.echo(bob.listen(7).unwrap());
    let mut unread = Vec::new();
    let mut stuck = Vec::new();
    let runtime = world.time.runtime();
    let data = vec![0; 1_000_000];
    for n in 0..16 {
        let mut stream = world.dial(&alice, at(3, 7));
        unread.push(world.run(idle.accept()).unwrap());
        let writing = within(&runtime, Duration::from_secs(5), stream.write_all(&data));
        assert!(world.run(writing).is_none_or(|it| it.is_err()));
        stuck.push(stream);
        let held = server.stats().unread_bytes;
        assert!(held <= 1 << 20, "{held} bytes after {n} streams");
    }
    let stats = server.stats();
    assert!(stats.cut_streams >= 10, "{stats:?}");
    world.until("cut streams are gone on both sides", || {
        server.stats().relaying == 16 - server.stats().cut_streams as usize
    });
    // Other sources, and other streams of the same source, are not affected.
    for from in [&alice, &mallory] {
        let mut stream = world.dial(from, at(4, 7));
        world.run(echoed(&mut stream, &[1; 300_000])).unwrap();
    }
    drop((stuck, unread));
    world.until("everything is back", || {
        let stats = server.stats();
        (stats.unread_bytes, stats.relaying) == (0, 0)
    });
}

/// Incomplete requests that each wait for ten seconds.
#[test]
fn requests_that_never_end_pin_a_bounded_amount() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.receive_queue = 1 << 20;
    let server = world.server_with(1, config);
    let flooder = world.raw_client(2, 1);
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = world.run(flooder.session.mux().open()).unwrap();
        let sending = async {
            stream.write_all(&[0xff, 0xff]).await?;
            stream.write_all(&[7; 65_534]).await?;
            stream.flush().await
        };
        let _ = world.run(sending);
        held.push(stream);
        let unread = server.stats().unread_bytes;
        assert!(unread <= 1 << 20, "{unread} bytes");
    }
    let stats = server.stats();
    assert!(
        stats.cut_streams > 80 && stats.unread_bytes > 0,
        "{stats:?}"
    );
    world.sleep(Duration::from_secs(11));
    assert_eq!(server.stats().unread_bytes, 0);
}

#[test]
fn sessions_of_one_address_make_room_for_another() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_sessions = 8;
    let server = world.server_with(1, config);
    let crowd: Vec<Raw> = (10..18)
        .map(|n| world.raw_newcomer_at(n, ip(2), 1))
        .collect();
    world.until("all are there", || server.stats().sessions == 8);
    // A busy session is not the one that ends.
    let _busy = world.run(async {
        let mut stream = crowd[0].session.mux().open().await.unwrap();
        stream.write_all(&[0]).await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    world.sleep(Duration::from_millis(500));
    let (alice, bob) = (world.client(3), world.client(4));
    world.echo(bob.listen(7).unwrap());
    let mut stream = world.dial(&alice, at(4, 7));
    world.run(echoed(&mut stream, b"hello")).unwrap();
    let stats = server.stats();
    assert_eq!((stats.sessions, stats.displaced_sessions), (8, 2));
    world.run(crowd[1].session.mux().closed());
    assert!(!crowd[0].session.mux().is_closed());
    // Peers that return do not displace the others in turn.
    let again: Vec<Raw> = (18..22)
        .map(|n| world.raw_newcomer_at(n, ip(2), 1))
        .collect();
    world.until("they are refused", || {
        again.iter().all(|it| it.session.mux().is_closed())
    });
    assert_eq!(server.stats().refused_sessions, 4);
    assert!(server.has_session(&alice.key()) && server.has_session(&bob.key()));
}
