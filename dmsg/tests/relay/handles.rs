//! Tests of what the handles of clients and servers report, and of the conditions they can await.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use skydht_core::key::PublicKey;
use skydht_dmsg::client::{Client, ClientConfig, DialError};
use skydht_dmsg::discovery::{Discovery, DiscoveryError, KnownServer, MemoryDiscovery};
use skydht_dmsg::entry::{Entry, SignedEntry};
use skydht_dmsg::object::SignedObject;
use skydht_dmsg::server::Server;
use skydht_runtime::virtual_time::VirtualRuntime;
use skydht_runtime::{BoxFuture, Runtime as _, within};

use crate::raw::{request, signed};
use crate::world::{PORT, World, at, ip, key, secret};

/// A discovery that accepts no entry until it is opened.
#[derive(Clone)]
struct ClosedDiscovery {
    entries: MemoryDiscovery,
    is_open: Arc<AtomicBool>,
}

impl ClosedDiscovery {
    fn of(world: &World) -> Self {
        Self {
            entries: world.discovery.clone(),
            is_open: Arc::default(),
        }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }
}

impl Discovery for ClosedDiscovery {
    fn entry(&self, key: PublicKey) -> BoxFuture<'static, Result<Entry, DiscoveryError>> {
        self.entries.entry(key)
    }

    fn stored(&self, key: PublicKey) -> BoxFuture<'static, Result<SignedEntry, DiscoveryError>> {
        self.entries.stored(key)
    }

    fn servers(&self) -> BoxFuture<'static, Result<Vec<KnownServer>, DiscoveryError>> {
        self.entries.servers()
    }

    fn publish(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        if self.is_open.load(Ordering::Relaxed) {
            return self.entries.publish(entry);
        }
        let shut = DiscoveryError::Unavailable("shut".into());
        Box::pin(std::future::ready(Err(shut)))
    }

    fn remove(&self, entry: SignedEntry) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.entries.remove(entry)
    }
}

fn known(n: u8) -> KnownServer {
    KnownServer {
        key: key(n),
        address: SocketAddr::new(ip(n), PORT),
    }
}

/// Starts a client that knows these servers, without waiting for it.
fn client_of(
    world: &World,
    n: u8,
    servers: &[u8],
    discovery: impl Discovery,
) -> Client<VirtualRuntime> {
    let mut config = ClientConfig::default();
    config.servers = servers.iter().map(|n| known(*n)).collect();
    config.min_sessions = 0;
    Client::start(world.host(n), secret(n), [n; 32], discovery, config)
}

#[test]
fn a_server_is_ready_once_its_entry_was_taken_and_tries_again_less_and_less() {
    let world = World::new();
    let discovery = ClosedDiscovery::of(&world);
    let config = World::server_config(1);
    let starting = Server::start(world.host(1), secret(1), [1; 32], discovery.clone(), config);
    let server = world.run(starting).unwrap();
    world.sleep(Duration::from_secs(60));
    assert!(server.ready().now_or_never().is_none());
    // The waits between the attempts are 1, 2, 4, 8 and 16 s.
    let stats = server.stats();
    assert_eq!((stats.publish_failed, stats.published), (6, 0));
    discovery.open();
    world.run(server.ready());
    assert_eq!(server.stats().published, 1);
    assert_eq!(server.local_addr(), SocketAddr::new(ip(1), PORT));
    assert_eq!(server.key(), key(1));
}

#[test]
fn a_client_is_connected_with_its_first_session_and_ready_once_its_entry_was_answered() {
    let world = World::new();
    let client = client_of(&world, 2, &[1], world.discovery.clone());
    world.sleep(Duration::from_secs(5));
    assert!(client.connected().now_or_never().is_none());
    assert!(client.ready().now_or_never().is_none());
    let server = world.server(1);
    world.run(client.connected());
    assert_eq!(client.stats().sessions, 1);
    world.run(client.ready());
    assert_eq!(client.stats().published, 1);
    assert!(server.has_session(&key(2)) && !server.has_session(&key(3)));
    assert_eq!(client.key(), key(2));
    // A refusal counts as an answer.
    let shut = client_of(&world, 3, &[1], ClosedDiscovery::of(&world));
    world.run(shut.ready());
    let stats = shut.stats();
    assert_eq!((stats.published, stats.publish_failed), (0, 1));
}

#[test]
fn a_weak_handle_gives_the_client_while_another_holds_it() {
    let world = World::new();
    let _server = world.server(1);
    let client = world.client(2);
    let weak = client.downgrade();
    assert_eq!(weak.upgrade().unwrap().key(), key(2));
    drop(client);
    assert!(weak.upgrade().is_none());
}

#[test]
fn server_states_say_why_there_is_no_session() {
    let world = World::new();
    let (_one, two) = (world.server(1), world.server(2));
    // Another key answers at the address of server 9.
    let starting = Server::start(
        world.host(9),
        secret(7),
        [7; 32],
        ClosedDiscovery::of(&world),
        World::server_config(9),
    );
    let _other = world.run(starting).unwrap();
    let client = client_of(&world, 5, &[1, 2, 8, 9], ClosedDiscovery::of(&world));
    world.until("two sessions", || client.stats().sessions == 2);
    world.run(two.close());
    world.until("one is lost", || client.stats().lost == 1);
    let mut states = client.server_states();
    states.sort_by_key(|state| state.server.address);
    let reported: Vec<_> = states
        .iter()
        .map(|state| (state.connected, state.lost, state.failure.as_deref()))
        .collect();
    let [one, two, eight, nine] = &reported[..] else {
        panic!("{reported:?}");
    };
    assert_eq!(*one, (true, false, None));
    assert_eq!((two.0, two.1), (false, true));
    assert!(two.2.is_some());
    assert_eq!(*eight, (false, false, Some("connection refused")));
    assert_eq!((nine.0, nine.1), (false, false));
    assert!(nine.2.unwrap().starts_with("another key answers there"));
}

/// Requests carry the time of their signature, since peers refuse those older than what they have
/// seen.
#[test]
fn requests_say_the_time_of_their_signature() {
    let world = World::new();
    world.sleep(Duration::from_secs(7));
    let now = || world.time.runtime().clocks().unix.as_nanos() as i64;
    let is_of_now = |object: &SignedObject| {
        let timestamp = object.verify_request().unwrap().timestamp;
        assert!(
            (0..1_000_000_000).contains(&(now() - timestamp)),
            "{timestamp}"
        );
    };
    let relay = world.raw_server(1);
    let client = client_of(&world, 2, &[1], world.discovery.clone());
    let mut session = world.run(relay.accept());
    world.run(client.connected());
    let (asked, ()) = world.run(join(client.lookup_ip(None), async {
        is_of_now(&session.accept().await.1);
    }));
    assert!(asked.is_err());
    let (dialled, ()) = world.run(join(client.dial(at(3, 7)), async {
        is_of_now(&session.accept().await.1);
    }));
    assert!(dialled.is_err());
    let server = world.server(4);
    let mut session = world.raw_client(5, 4);
    let (dialled, ()) = world.run(join(server.dial(at(5, 7)), async {
        is_of_now(&session.accept().await.1);
    }));
    assert!(dialled.is_err());
}

#[test]
fn an_address_that_is_not_public_is_reported_with_the_reason() {
    let seen = DialError::NotPublic(Some([10, 0, 0, 9].into())).to_string();
    assert_eq!(
        seen,
        "the server sees us at 10.0.0.9, which is no public address"
    );
    let none = DialError::NotPublic(None).to_string();
    assert_eq!(none, "the server told no address");
}

#[test]
fn a_client_counts_inbound_streams_by_result() {
    let world = World::new();
    let relay = world.raw_server(1);
    let client = client_of(&world, 2, &[1], world.discovery.clone());
    let session = world.run(relay.accept());
    world.run(client.connected());
    let _listener = client.listen(7).unwrap();
    let good = signed(3, at(2, 7), 5);
    let no_listener = signed(3, at(2, 8), 6);
    let forged = request(at(3, 50_000), at(2, 7), 7).0.sign(&secret(4));
    for (round, expected) in [(1, (1, 1, 1)), (2, (1, 3, 2))] {
        for object in [&good, &no_listener, &forged] {
            world.run(session.ask(object));
        }
        let stats = client.stats();
        let counted = (stats.accepted, stats.refused, stats.invalid);
        // The second time, the valid request is a replay and is refused.
        assert_eq!(counted, expected, "{round}");
    }
}

#[test]
fn the_entry_of_a_server_says_what_its_configuration_does() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.server_type = "public".to_owned();
    config.public_address = Some("relay.example:8080".to_owned());
    config.max_sessions = 77;
    config.dht_bootstrap = true;
    let _server = world.server_with(1, config);
    let entry = world.discovery.get(&key(1)).unwrap();
    let reported = entry.entry().server.clone().unwrap();
    assert_eq!(
        (&*reported.server_type, &*reported.address),
        ("public", "relay.example:8080")
    );
    assert_eq!(
        (reported.available_sessions, reported.dht_bootstrap),
        (77, true)
    );
}

/// Like old relays: reads further data until the other side has finished.
#[test]
fn a_stream_to_a_stranger_may_be_left_open_until_its_source_has_finished() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.leaves_unknown_open = true;
    let server = world.server_with(1, config);
    let client = world.raw_client(2, 1);
    let runtime = world.time.runtime();
    let mut stream = world.run(async {
        let mut stream = client.session.mux().open().await.unwrap();
        let object = signed(2, at(9, 7), 5);
        let sent = client.session.write_object(&mut stream, &object);
        sent.await.unwrap();
        stream.write_all(b"more").await.unwrap();
        stream.flush().await.unwrap();
        let mut byte = [0];
        let reading = stream.read(&mut byte);
        let answer = within(&runtime, Duration::from_secs(60), reading).await;
        assert!(answer.is_none(), "nothing is said");
        stream
    });
    assert_eq!(
        (server.stats().no_destination, server.stats().streams),
        (1, 1)
    );
    world.run(stream.close()).unwrap();
    world.until("it is gone", || server.stats().streams == 0);
}
