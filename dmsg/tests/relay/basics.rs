//! Tests of what must work between honest parties.

use std::time::Duration;

use futures::future::join_all;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, ClientConfig, DialError, LocalEntries};
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer, MemoryDiscovery};
use skydht_dmsg::endpoint::StreamError;
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_dmsg::object::ErrorCode;
use skydht_runtime::{BoxFuture, Runtime as _};

use crate::world::{World, at, echoed, ip, key, secret};

/// A discovery that lists no servers.
#[derive(Clone)]
pub(crate) struct WithoutServers(pub(crate) MemoryDiscovery);

impl Discovery for WithoutServers {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.0.entry(key)
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        self.0.stored(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.0.publish(entry)
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.0.remove(entry)
    }
}

/// A single local entry.
struct OneEntry(Entry);

impl LocalEntries for OneEntry {
    fn entry(&self, key: &PublicKey) -> Option<Entry> {
        (self.0.key == *key).then(|| self.0.clone())
    }
}

#[test]
fn a_stream_passes_through_a_relay_and_proves_both_keys() {
    let world = World::new();
    let server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    let mut listener = bob.listen(100).unwrap();
    let mut stream = world.dial(&alice, at(3, 100));
    assert_eq!((stream.remote(), stream.via()), (at(3, 100), key(1)));
    let mut theirs = world.run(listener.accept()).unwrap();
    assert_eq!(
        (theirs.remote(), theirs.local()),
        (stream.local(), at(3, 100))
    );
    assert_eq!(stream.local().key, key(2));
    assert!(stream.local().port > 49_152);
    world.run(async {
        stream.write_all(b"request").await.unwrap();
        stream.close().await.unwrap();
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"request");
        theirs.write_all(&[7; 100_000]).await.unwrap();
        theirs.close().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, [7; 100_000]);
    });
    let stats = server.stats();
    assert_eq!((stats.sessions, stats.relayed, stats.relaying), (2, 1, 0));
    assert!(stats.relayed_bytes > 100_000);
    assert_eq!((alice.stats().dialled, bob.stats().accepted), (1, 1));
}

#[test]
fn many_streams_share_one_session_and_leave_nothing_behind() {
    let world = World::new();
    let server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    world.echo(bob.listen(100).unwrap());
    for round in 0..3 {
        world.run(join_all((0..50).map(|i| {
            let alice = &alice;
            async move {
                let mut stream = alice.dial(at(3, 100)).await.unwrap();
                echoed(&mut stream, &vec![i; 1000 * usize::from(i)])
                    .await
                    .unwrap();
                stream.close().await.unwrap();
            }
        })));
        world.until("all streams ended", || server.stats().relaying == 0);
        assert_eq!(server.stats().relayed, 50 * (round + 1));
    }
    assert_eq!(server.stats().sessions, 2);
}

/// Upstream's `TestConcurrentStreams`: a queue of 20, 200 concurrent dials, and an application that
/// takes 20 ms for each stream.
#[test]
fn two_hundred_concurrent_dials_to_a_queue_of_twenty_all_succeed() {
    let world = World::new();
    let _server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    let mut listener = bob.listen(100).unwrap();
    let runtime = world.time.runtime();
    let pause = runtime.clone();
    runtime.spawn(Box::pin(async move {
        let mut held = Vec::new();
        while let Some(stream) = listener.accept().await {
            held.push(stream);
            pause.sleep(Duration::from_millis(20)).await;
        }
    }));
    let begun = world.time.now();
    let dials = world.run(join_all((0..200).map(|_| alice.dial(at(3, 100)))));
    assert!(dials.iter().all(Result::is_ok));
    // This takes 4 s at least, and the queue was full repeatedly.
    let took = world.time.now() - begun;
    assert!((4..20).contains(&took.as_secs()), "{took:?}");
    let stats = alice.stats();
    assert_eq!((stats.dialled, stats.dials_failed), (200, 0));
    assert!(stats.redials > 100, "{stats:?}");
    assert!(bob.stats().refused > 100 && bob.stats().accepted == 200);
}

#[test]
fn a_port_without_a_listener_is_refused_immediately_and_signed() {
    let world = World::new();
    let server = world.server(1);
    let (alice, _bob) = (world.client(2), world.client(3));
    let begun = world.time.now();
    let refused = world.run(alice.dial(at(3, 81))).unwrap_err();
    let code = ErrorCode::NoListener;
    assert!(
        matches!(refused, DialError::Stream(StreamError::Refused(refused)) if refused == code),
        "{refused}"
    );
    assert!(world.time.now() - begun < Duration::from_secs(1));
    assert_eq!(server.stats().refusals, 1);
}

#[test]
fn a_stream_to_a_key_without_a_session_is_closed_immediately() {
    let world = World::new();
    let server = world.server(1);
    let alice = world.client(2);
    let begun = world.time.now();
    let error = world.run(alice.dial(at(9, 100))).unwrap_err();
    assert!(
        matches!(error, DialError::Stream(StreamError::Closed)),
        "{error}"
    );
    assert!(world.time.now() - begun < Duration::from_secs(3));
    assert!(server.stats().no_destination >= 1);
}

#[test]
fn the_server_reports_the_public_address() {
    let world = World::new();
    let server = world.server(1);
    let alice = world.client(2);
    assert_eq!(world.run(alice.lookup_ip(Some(key(1)))).unwrap(), ip(2));
    assert_eq!(world.run(alice.lookup_ip(None)).unwrap(), ip(2));
    assert_eq!(server.stats().ip_lookups, 2);
    // A private address is refused, except for test clients.
    let discovery = world.discovery.clone();
    let start = |config| {
        let host = world.time.host([10, 0, 0, 9].into());
        let client = Client::start(host, secret(9), [9; 32], discovery.clone(), config);
        world.run(client.ready());
        client
    };
    let private = world.run(start(ClientConfig::default()).lookup_ip(None));
    assert!(matches!(private, Err(DialError::NotPublic(Some(_)))));
    let mut config = ClientConfig::default();
    config.client_type = "test".to_owned();
    assert!(world.run(start(config).lookup_ip(None)).is_ok());
}

#[test]
fn the_server_serves_its_own_key_and_dials_its_clients() {
    let world = World::new();
    let server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    world.echo(server.listen(100).unwrap());
    let mut stream = world.dial(&alice, at(1, 100));
    assert_eq!((stream.remote(), stream.via()), (at(1, 100), key(1)));
    world.run(echoed(&mut stream, &[1; 100_000])).unwrap();
    let refused = world.run(bob.dial(at(1, 80))).unwrap_err();
    assert!(refused.to_string().contains("306"), "{refused}");

    world.echo(bob.listen(100).unwrap());
    let mut stream = world.run(server.dial(at(3, 100))).unwrap();
    world.run(echoed(&mut stream, b"from the relay")).unwrap();
    let error = world.run(server.dial(at(9, 100))).unwrap_err();
    assert!(error.to_string().contains("307"), "{error}");
    let stats = server.stats();
    assert_eq!(
        (stats.own_accepted, stats.own_refused, stats.relayed),
        (1, 1, 0)
    );
    // No session was needed for any of this.
    assert_eq!(stats.accepted, 2);
}

#[test]
fn entries_name_the_sessions_and_are_removed_at_the_end() {
    let world = World::new();
    let (first, second) = (world.server(1), world.server(2));
    let mut config = ClientConfig::default();
    config.min_sessions = 0;
    config.client_type = "visor".to_owned();
    let alice = world.client_with(3, config);
    let named = || {
        let entry = world.discovery.get(&key(3)).unwrap();
        entry.entry().delegated_servers().to_vec()
    };
    let mut both = vec![key(1), key(2)];
    both.sort();
    world.until("both are named", || named() == both);
    let entry = world.discovery.get(&key(3)).unwrap();
    assert_eq!(entry.entry().client_type, "visor");
    assert_eq!(entry.verify(), Ok(()));
    // An unchanged entry is published once a minute.
    let before = alice.stats().published;
    world.sleep(Duration::from_secs(300));
    assert_eq!(alice.stats().published - before, 5);
    let room = |n| {
        let entry = world.discovery.get(&key(n)).unwrap();
        entry.entry().server.clone().unwrap().available_sessions
    };
    assert_eq!((room(1), room(2)), (2047, 2047));

    world.run(first.close());
    assert!(world.discovery.get(&key(1)).is_none());
    world.until("the other is named", || named() == [key(2)]);
    let begun = world.time.now();
    world.run(alice.close());
    assert!(world.time.now() - begun < Duration::from_secs(1));
    assert!(world.discovery.get(&key(3)).is_none());
    world.until("the session is gone", || second.stats().sessions == 0);
}

/// The old entry has a higher sequence than the first one of a restarted client would have.
#[test]
fn a_restarted_client_continues_its_sequence() {
    let world = World::new();
    let _server = world.server(1);
    let sequence = || world.discovery.get(&key(2)).unwrap().entry().sequence;
    let first = world.client(2);
    world.sleep(Duration::from_secs(200));
    let before = sequence();
    assert!(before >= 3);
    drop(first);
    let again = world.client(2);
    assert_eq!(sequence(), before + 1);
    assert_eq!(again.stats().publish_failed, 0);
}

#[test]
fn clients_of_two_servers_meet_by_a_new_session() {
    let world = World::new();
    let (_first, second) = (world.server(1), world.server(2));
    let only = |n: u8| {
        let mut config = ClientConfig::default();
        let address = std::net::SocketAddr::new(ip(n), crate::world::PORT);
        config.servers = vec![KnownServer {
            key: key(n),
            address,
        }];
        config
    };
    // The discovery returns servers only by key.
    let entries = WithoutServers(world.discovery.clone());
    let start = |n: u8, config| {
        let client = Client::start(world.host(n), secret(n), [n; 32], entries.clone(), config);
        world.run(client.ready());
        client
    };
    let (alice, bob) = (start(3, only(1)), start(4, only(2)));
    assert_eq!(
        (alice.servers(), bob.servers()),
        (vec![key(1)], vec![key(2)])
    );
    world.echo(bob.listen(100).unwrap());
    // Without permission to establish a session there is no route, and the dial fails quickly.
    let entry = world.discovery.get(&key(4)).unwrap().entry().clone();
    let local = OneEntry(entry);
    assert!(
        world
            .run(alice.dial_local(at(4, 100), &local, false))
            .is_err()
    );
    assert_eq!(second.stats().sessions, 1);
    let mut stream = world.dial(&alice, at(4, 100));
    assert_eq!(stream.via(), key(2));
    world.run(echoed(&mut stream, b"hello")).unwrap();
    // The second dial uses the existing session.
    assert_eq!(world.dial(&alice, at(4, 100)).via(), key(2));
    assert_eq!((alice.stats().connected, second.stats().accepted), (2, 2));
}

#[test]
fn when_a_server_fails_the_next_common_one_is_used() {
    let world = World::new();
    let (first, second) = (world.server(1), world.server(2));
    let mut config = ClientConfig::default();
    config.min_sessions = 2;
    let alice = world.client_with(3, config.clone());
    let bob = world.client_with(4, config);
    world.echo(bob.listen(100).unwrap());
    world.until("two sessions each", || {
        alice.servers().len() == 2 && bob.servers().len() == 2
    });
    world.sleep(Duration::from_secs(5));
    let mut stream = world.dial(&alice, at(4, 100));
    let via = stream.via();
    let other = if via == key(1) { key(2) } else { key(1) };
    let gone = if via == key(1) { first } else { second };
    // The server disappears during a stream, like a process that is killed.
    drop(gone);
    let broken = world.run(echoed(&mut stream, &[1; 100_000]));
    assert!(broken.is_err());
    let mut stream = world.dial(&alice, at(4, 100));
    assert_eq!(stream.via(), other);
    world.run(echoed(&mut stream, b"again")).unwrap();
}

#[test]
fn a_lost_server_is_found_again_with_longer_and_longer_waits() {
    let world = World::new();
    let server = world.server(1);
    let alice = world.client(2);
    assert_eq!(alice.servers(), [key(1)]);
    drop(server);
    world.until("the session is lost", || alice.servers().is_empty());
    world.sleep(Duration::from_secs(120));
    let failed = alice.stats().connects_failed;
    assert!((4..12).contains(&failed), "{failed}");
    let _again = world.server(1);
    world.until("a session again", || alice.servers() == [key(1)]);
}

#[test]
fn closed_and_dropped_handles_leave_nothing_behind() {
    let world = World::new();
    let server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    world.echo(bob.listen(100).unwrap());
    let mut stream = world.dial(&alice, at(3, 100));
    world.run(echoed(&mut stream, b"hello")).unwrap();
    world.run(alice.close());
    assert!(matches!(
        world.run(alice.dial(at(3, 100))),
        Err(DialError::Closed)
    ));
    assert_eq!(alice.listen(5).err(), Some(ErrorCode::EntityClosed));
    assert!(world.run(echoed(&mut stream, b"hello")).is_err());
    drop(bob);
    world.sleep(Duration::from_secs(5));
    assert_eq!(server.stats().sessions, 0);
    drop(server);
    world.sleep(Duration::from_secs(70));
    let left = [1, 2, 3].map(|n| world.time.tasks_of(ip(n)));
    assert_eq!(left, [0, 0, 0]);
    assert!(world.time.connections().is_empty());
}
