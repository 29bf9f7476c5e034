//! Tests of pings as streams: two zero bytes that are echoed. Go clients since June 2026 close a
//! session after two that fail.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join_all;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{FixedServers, KnownServer};
use skydht_dmsg::session::Stream;
use skydht_runtime::{Runtime as _, within};

use crate::raw::{Raw, signed};
use crate::world::{PORT, World, at, echoed, ip, key, secret};

/// How long a Go client waits for the answer.
const PATIENCE: Duration = Duration::from_secs(18);

async fn send(stream: &mut Stream, bytes: &[u8]) {
    stream.write_all(bytes).await.unwrap();
    stream.flush().await.unwrap();
}

/// Returns whether the answer is a ping's, followed by the end.
async fn is_answered(mut stream: Stream) -> bool {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer).await;
    read.is_ok() && answer == [0, 0]
}

impl Raw {
    async fn opened(&self) -> Stream {
        self.session.mux().open().await.unwrap()
    }

    async fn ping(&self) -> bool {
        let mut stream = self.opened().await;
        send(&mut stream, &[0, 0]).await;
        is_answered(stream).await
    }
}

/// Pings like a Go client: every minute; the session ends after two failures.
async fn ping_like_go(world: &World, client: &Raw, minutes: u32) -> bool {
    let runtime = world.time.runtime();
    let mut failures = 0;
    for _ in 0..minutes {
        runtime.sleep(Duration::from_secs(60)).await;
        match within(&runtime, PATIENCE, client.ping()).await {
            Some(true) => failures = 0,
            _ => failures += 1,
        }
        if failures == 2 {
            client.session.mux().close();
            return false;
        }
    }
    true
}

#[test]
fn a_client_that_pings_every_minute_keeps_its_session() {
    let world = World::new();
    let server = world.server(1);
    let clients: Vec<_> = (2..7).map(|n| world.raw_client(n, 1)).collect();
    for _ in 0..3 {
        let pinging = clients.iter().map(|it| ping_like_go(&world, it, 5));
        let kept = world.run(join_all(pinging));
        assert_eq!(kept, [true; 5]);
    }
    assert!(clients.iter().all(|it| !it.session.mux().is_closed()));
    let stats = server.stats();
    assert_eq!((stats.sessions, stats.lost, stats.pings), (5, 0, 75));
    // The pings have no other effect.
    assert_eq!((stats.invalid_requests, stats.superseded), (0, 0));
}

#[test]
fn a_ping_in_two_pieces_is_answered_and_one_without_end_is_given_up() {
    let world = World::new();
    let server = world.server(1);
    let client = world.raw_client(2, 1);
    let runtime = world.time.runtime();
    let answered = world.run(async {
        let mut stream = client.opened().await;
        send(&mut stream, &[0]).await;
        runtime.sleep(Duration::from_secs(3)).await;
        send(&mut stream, &[0]).await;
        is_answered(stream).await
    });
    assert!(answered);
    for bytes in [&[][..], &[0]] {
        let begun = world.time.now();
        world.run(async {
            let mut stream = client.opened().await;
            send(&mut stream, bytes).await;
            assert!(stream.read(&mut [0]).await.is_err());
        });
        let took = world.time.now() - begun;
        assert!(took.as_secs().abs_diff(5) <= 1, "{took:?}");
    }
    let stats = server.stats();
    assert_eq!((stats.pings, stats.invalid_requests), (1, 2));
    assert!(world.run(client.ping()));
}

#[test]
fn a_session_at_its_limit_of_streams_is_still_answered() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_streams = 8;
    let server = world.server_with(1, config);
    let client = world.raw_client(2, 1);
    world.until("no stream is left", || server.stats().streams == 0);
    // Streams of incomplete requests first, and then relayed streams.
    let held = world.run(join_all((0..8).map(|_| async {
        let mut stream = client.opened().await;
        send(&mut stream, &[0, 9]).await;
        stream
    })));
    let mut beyond = world.run(client.opened());
    world.run(send(&mut beyond, &[0, 9]));
    assert!(world.run(beyond.read(&mut [0])).is_err());
    assert_eq!(server.stats().over_capacity, 1);
    for _ in 0..40 {
        assert!(world.run(client.ping()));
    }
    drop(held);
    let bob = world.client(3);
    world.echo(bob.listen(7).unwrap());
    let mut relayed = Vec::new();
    for timestamp in 0..8 {
        let request = signed(2, at(3, 7), 10 + timestamp);
        let (stream, answer) = world.run(client.send(&request));
        assert!(answer.is_some(), "{timestamp}");
        relayed.push(stream);
    }
    assert!(world.run(client.ping()));
    let stats = server.stats();
    assert_eq!((stats.relaying, stats.pings), (8, 41));
}

#[test]
fn a_flood_of_pings_is_paced_and_disturbs_no_other() {
    let world = World::new();
    let mut config = World::server_config(1);
    (config.streams_per_second, config.stream_burst) = (50, 40);
    let server = world.server_with(1, config);
    let (alice, bob) = (world.client(3), world.client(4));
    world.echo(bob.listen(7).unwrap());
    let flooder = world.raw_client(2, 1);
    let begun = world.time.now();
    let took = || world.time.now() - begun;
    let pings = join_all((0..232).map(|_| flooder.ping()));
    let other = async {
        let mut stream = alice.dial(at(4, 7)).await.unwrap();
        echoed(&mut stream, b"undisturbed").await.unwrap();
        took()
    };
    let (answered, time) = world.run(futures::future::join(pings, other));
    assert!(answered.iter().all(|it| *it));
    assert!(time < Duration::from_secs(1), "{time:?}");
    assert!(took() >= Duration::from_secs(4), "{:?}", took());
    assert!(took() < PATIENCE, "{:?}", took());
    assert_eq!(server.stats().pings, 232);
}

#[test]
fn a_client_answers_its_servers_pings() {
    let world = World::new();
    let server = world.raw_server(1);
    let address = SocketAddr::new(ip(1), PORT);
    let known = KnownServer {
        key: key(1),
        address,
    };
    let servers = FixedServers::new([known]);
    let config = ClientConfig::default();
    let client = Client::start(world.host(2), secret(2), [2; 32], servers, config);
    let relay = world.run(server.accept());
    world.run(client.ready());
    for _ in 0..3 {
        assert!(world.run(relay.ping()));
    }
    let stats = client.stats();
    assert_eq!((stats.pings, stats.invalid, stats.accepted), (3, 0, 0));
}
