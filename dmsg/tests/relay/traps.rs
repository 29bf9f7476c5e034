//! The pitfalls of the specification that show between two parties. Those of a single layer are
//! tested there: the order of the split keys, the first nonce, DH outputs of 33 bytes (`handshake`,
//! `cipher`), the limits of frames (`frame`), later fields and foreign type ids (`gob`).

use std::net::SocketAddr;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_dmsg::client::{Client, ClientConfig, DialError};
use skydht_dmsg::discovery::{FixedServers, KnownServer};
use skydht_dmsg::endpoint::StreamError;
use skydht_dmsg::handshake::Handshake;
use skydht_dmsg::object::{ErrorCode, SignedObject, StreamResponse};
use skydht_runtime::virtual_time::VirtualRuntime;
use skydht_runtime::{Listener as _, Runtime as _};

use crate::raw::{accepting, classical, code, request, signed};
use crate::world::{PORT, World, at, echoed, ip, key, secret};

/// Starts a client that knows only this server.
fn client_of(world: &World, n: u8, server: u8) -> Client<VirtualRuntime> {
    let address = SocketAddr::new(ip(server), PORT);
    let servers = FixedServers::new([KnownServer {
        key: key(server),
        address,
    }]);
    let config = ClientConfig::default();
    Client::start(world.host(n), secret(n), [n; 32], servers, config)
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes(), message].concat()
}

fn next(handshake: &mut Handshake) -> Vec<u8> {
    let mut message = Vec::new();
    handshake.write_message(&mut message).unwrap();
    framed(&message)
}

/// TCP may deliver the third message together with the first frames of yamux.
#[test]
fn mux_bytes_right_behind_the_third_message_are_accepted_as_server() {
    let world = World::new();
    let server = world.server(1);
    let host = world.host(2);
    world.run(async {
        let mut tcp = host.connect(SocketAddr::new(ip(1), PORT)).await.unwrap();
        let mut handshake = Handshake::xk_initiator(&secret(2), &key(1), classical(2)).unwrap();
        tcp.write_all(&next(&mut handshake)).await.unwrap();
        let mut second = [0; 51];
        tcp.read_exact(&mut second).await.unwrap();
        handshake.read_message(&second[2..]).unwrap();
        let mut third = next(&mut handshake);
        third.extend([0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9]); // a ping of yamux's
        tcp.write_all(&third).await.unwrap();
        let mut pong = [0; 12];
        tcp.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9]);
    });
    assert_eq!(server.stats().sessions, 1);
}

/// A Go server ends the session if any bytes follow the third message.
#[test]
fn mux_bytes_right_behind_the_third_message_are_avoided_as_client() {
    let world = World::new();
    let server = world.raw_server(1);
    let client = client_of(&world, 2, 1);
    world.run(async {
        let (mut tcp, _) = server.listener.accept().await.unwrap();
        let mut handshake = Handshake::xk_responder(&secret(1), classical(1)).unwrap();
        let mut first = [0; 1235];
        tcp.read_exact(&mut first).await.unwrap();
        handshake.read_message(&first[2..]).unwrap();
        tcp.write_all(&next(&mut handshake)).await.unwrap();
        // A caller waits for a stream already.
        let dialling = client.clone();
        let runtime = world.time.runtime();
        runtime.spawn(Box::pin(async move {
            dialling.ready().await;
            let _ = dialling.dial(at(9, 1)).await;
        }));
        let mut third = [0; 1000];
        assert_eq!(tcp.read(&mut third).await.unwrap(), 67);
        let arrived = world.time.now();
        handshake.read_message(&third[2..67]).unwrap();
        assert!(tcp.read(&mut third).await.unwrap() > 0);
        assert!(world.time.now() - arrived >= ClientConfig::default().settle);
    });
}

/// The server read both together after all (code 203), or restarts.
#[test]
fn a_server_that_closes_right_behind_the_handshake_is_tried_again() {
    let world = World::new();
    let server = world.raw_server(1);
    let client = client_of(&world, 2, 1);
    drop(world.run(server.accept()));
    let _session = world.run(server.accept());
    world.run(client.ready());
    let stats = client.stats();
    assert_eq!(
        (stats.connects_failed, stats.connected, stats.lost),
        (1, 1, 0)
    );
    assert!(world.time.now() < Duration::from_secs(4));
}

/// 51 bytes that crash the Go relay: a first message whose point has an x beyond the prime.
#[test]
fn invalid_points_are_refused_and_the_relay_lives() {
    let world = World::new();
    let server = world.server(1);
    let host = world.host(2);
    for x in [[0xff; 32], [0; 32]] {
        world.run(async {
            let mut tcp = host.connect(SocketAddr::new(ip(1), PORT)).await.unwrap();
            let message = [&[2][..], &x, &[0; 16]].concat();
            let message = framed(&message);
            assert_eq!(message.len(), 51);
            tcp.write_all(&message).await.unwrap();
            assert_eq!(tcp.read(&mut [0]).await.unwrap(), 0);
        });
    }
    assert_eq!(server.stats().handshakes_failed, 2);
    let alice = world.raw_client(3, 1);
    let object = signed(3, at(1, 9), 5);
    let answer = world.run(alice.ask(&object));
    assert_eq!(code(answer, &object, 1), ErrorCode::NoListener.number());
}

/// The relay forwards the received bytes in both directions, whatever type ids and fields they
/// contain.
#[test]
fn signed_bytes_pass_the_relay_unchanged() {
    let world = World::new();
    let server = world.server(1);
    let (alice, mut bob) = (world.raw_client(2, 1), world.raw_client(3, 1));
    // Encoded by a process with other type ids than ours.
    let (unsigned, _) = request(at(2, 50_000), at(3, 7), 5);
    let gob = unsigned.to_gob_numbered(700);
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&gob).into();
    let bytes = [&secret(2).sign(&digest).as_bytes()[..], &gob].concat();
    let object = SignedObject::from_bytes(bytes).unwrap();
    for refuse in [true, false] {
        let object = if refuse {
            object.clone()
        } else {
            signed(2, at(3, 7), 6)
        };
        let answer = if refuse {
            StreamResponse::refusal(object.hash(), ErrorCode::AcceptQueueFull)
        } else {
            accepting(3, 2, &object)
        };
        let answer = answer.sign(&secret(3));
        let (got, ()) = world.run(futures::future::join(alice.ask(&object), async {
            let (mut stream, came) = bob.accept().await;
            assert_eq!(came, object);
            let sent = bob.session.write_object(&mut stream, &answer).await;
            sent.unwrap();
            stream.close().await.unwrap();
        }));
        assert_eq!(got, Some(answer));
    }
    assert_eq!((server.stats().refusals, server.stats().relayed), (1, 1));
}

/// The multiplexer sends nothing while idle; Go's answers pings and expects answers.
#[test]
fn idle_sessions_are_kept_alive_and_dead_ones_noticed() {
    let world = World::new();
    let server = world.server(1);
    let alice = world.client(2);
    let bob = world.raw_client(3, 1);
    let before = bob.session.keepalive().received();
    world.sleep(Duration::from_secs(300));
    assert_eq!(server.stats().sessions, 2);
    assert_eq!((alice.stats().connected, alice.stats().lost), (1, 0));
    let pings = bob.session.keepalive().received() - before;
    assert!((8..=10).contains(&pings), "{pings}");

    // The host is suspended: nothing is closed, and nothing arrives.
    world.time.suspend(ip(3));
    world.sleep(Duration::from_secs(41));
    assert_eq!((server.stats().sessions, server.stats().lost), (1, 1));

    world.time.suspend(ip(1));
    world.sleep(Duration::from_secs(41));
    assert_eq!(alice.stats().lost, 1);
    world.time.resume(ip(1));
    world.until("a session again", || alice.servers() == [key(1)]);
}

/// Signed refusals, which upstream's destinations do not send.
#[test]
fn destinations_sign_their_refusals() {
    let world = World::new();
    let server = world.raw_server(1);
    let bob = client_of(&world, 3, 1);
    let listener = bob.listen(100).unwrap();
    let relay = world.run(server.accept());
    let object = signed(2, at(3, 99), 5);
    let answer = world.run(relay.ask(&object));
    assert_eq!(code(answer, &object, 3), ErrorCode::NoListener.number());
    for timestamp in 10..30 {
        let answer = world.run(relay.ask(&signed(2, at(3, 100), timestamp)));
        assert!(answer.is_some());
    }
    let object = signed(2, at(3, 100), 30);
    let answer = world.run(relay.ask(&object));
    assert_eq!(
        code(answer, &object, 3),
        ErrorCode::AcceptQueueFull.number()
    );
    assert_eq!((bob.stats().accepted, bob.stats().refused), (20, 2));
    drop(listener);
    let object = signed(2, at(3, 100), 31);
    let answer = world.run(relay.ask(&object));
    assert_eq!(code(answer, &object, 3), ErrorCode::NoListener.number());
}

/// A Go destination only closes the stream; its dialer must retry, and must keep the session.
#[test]
fn silence_is_tried_again_and_keeps_the_session() {
    let world = World::new();
    let server = world.raw_server(1);
    let alice = client_of(&world, 2, 1);
    let mut relay = world.run(server.accept());
    world.run(alice.ready());
    let runtime = world.time.runtime();
    runtime.spawn(Box::pin(async move {
        for i in 0.. {
            let (mut stream, object) = relay.accept().await;
            if i == 2 {
                let answer = accepting(3, 2, &object).sign(&secret(3));
                let sent = relay.session.write_object(&mut stream, &answer).await;
                sent.unwrap();
                futures::future::pending::<()>().await;
            }
        }
    }));
    let stream = world.dial(&alice, at(3, 100));
    assert_eq!(stream.remote(), at(3, 100));
    assert_eq!((alice.stats().redials, alice.stats().connected), (2, 1));
}

/// The relay of April 2026 does not answer if it does not know the destination.
#[test]
fn a_relay_that_never_answers_costs_a_few_seconds_once() {
    let world = World::new();
    let server = world.raw_server(1);
    let alice = client_of(&world, 2, 1);
    let mut relay = world.run(server.accept());
    world.run(alice.ready());
    world.time.runtime().spawn(Box::pin(async move {
        let mut held = Vec::new();
        loop {
            held.push(relay.accept().await);
        }
    }));
    let begun = world.time.now();
    let error = world.run(alice.dial(at(3, 100))).unwrap_err();
    assert!(
        matches!(error, DialError::Stream(StreamError::Timeout)),
        "{error}"
    );
    assert!((3..4).contains(&(world.time.now() - begun).as_secs()));
    assert_eq!((alice.stats().sessions, alice.stats().redials), (1, 0));
}

/// The listener exists before any peer can know of us.
#[test]
fn a_port_opened_at_the_start_answers_the_first_request() {
    let world = World::new();
    let _server = world.server(1);
    let alice = world.client(2);
    let discovery = world.discovery.clone();
    let config = ClientConfig::default();
    let bob = Client::start(world.host(3), secret(3), [3; 32], discovery, config);
    world.echo(bob.listen(100).unwrap());
    world.until("Bob is known", || world.discovery.get(&key(3)).is_some());
    let mut stream = world.dial(&alice, at(3, 100));
    world.run(echoed(&mut stream, b"hello")).unwrap();
    assert_eq!(alice.stats().redials, 0);
}
