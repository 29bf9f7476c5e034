//! Tests of parties that violate rules, flood, stall or disappear, and must not affect others.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{join, join_all};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use skydht_dmsg::cipher::CipherError;
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{FixedServers, KnownServer};
use skydht_dmsg::dmsg_session;
use skydht_dmsg::handshake::NoiseError;
use skydht_dmsg::object::{ErrorCode, SignedObject, StreamResponse};
use skydht_dmsg::secure::{HandshakeError, SecureError};
use skydht_dmsg::server::ServerConfig;
use skydht_dmsg::session::SessionConfig;
use skydht_runtime::{Runtime as _, within};

use crate::raw::{accepting, fresh, request, signed};
use crate::world::{PORT, World, at, echoed, ip, key, secret};

#[test]
fn garbage_and_oversized_handshakes_end_immediately() {
    let world = World::new();
    let server = world.server(1);
    let host = world.host(2);
    let http = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n".to_vec();
    let long = vec![0xff; 100];
    let zeros = vec![0; 100];
    for garbage in [http, long, zeros] {
        world.run(async {
            let mut tcp = host.connect(SocketAddr::new(ip(1), PORT)).await.unwrap();
            tcp.write_all(&garbage).await.unwrap();
            let end = tcp.read_to_end(&mut Vec::new()).await;
            assert!(end.is_err() || end.unwrap() == 0);
        });
    }
    assert_eq!(server.stats().handshakes_failed, 3);
    // A silent peer has until the timeout, and a peer that closes does not count as a failure.
    let silent = world
        .run(host.connect(SocketAddr::new(ip(1), PORT)))
        .unwrap();
    world.sleep(Duration::from_secs(6));
    assert_eq!(server.stats().handshakes_failed, 4);
    drop(silent);
    drop(
        world
            .run(host.connect(SocketAddr::new(ip(1), PORT)))
            .unwrap(),
    );
    world.sleep(Duration::from_secs(1));
    assert_eq!(server.stats().handshakes_abandoned, 1);
}

#[test]
fn a_server_with_another_key_is_no_server() {
    let world = World::new();
    let server = world.server(1);
    let host = world.host(2);
    let error = world.run(async {
        let tcp = host.connect(SocketAddr::new(ip(1), PORT)).await.unwrap();
        let config = SessionConfig::default();
        let own = secret(2);
        let connecting = dmsg_session::connect(tcp, &own, key(9), fresh(2), &config);
        connecting.await.err().unwrap()
    });
    // It cannot decrypt our first message, and closes the connection.
    assert!(matches!(
        error,
        HandshakeError::Closed | HandshakeError::Noise(NoiseError::Forged)
    ));
    assert_eq!(
        (server.stats().handshakes_failed, server.stats().sessions),
        (1, 0)
    );
}

#[test]
fn handshakes_that_hang_make_room_for_others() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_handshakes = 10;
    let server = world.server_with(1, config);
    let host = world.host(2);
    let address = SocketAddr::new(ip(1), PORT);
    let hanging = world.run(join_all((0..100).map(|_| host.connect(address))));
    assert_eq!(hanging.len(), 100);
    let _honest = world.raw_client(3, 1);
    world.until("the honest one is in", || server.stats().sessions == 1);
    assert!(server.stats().handshakes_dropped >= 90);
}

/// 1,500 connections a second from one address that send nothing, while clients with a round trip
/// of 80 ms connect from another address and from the same one.
#[test]
fn half_open_connections_do_not_keep_clients_out() {
    let far = Duration::from_millis(40);
    for clients in [[100, 101, 102], [2, 100, 101]] {
        let world = World::new();
        let server = world.server(1);
        world.time.set_latency(far, far);
        let host = world.host(2);
        let flooding = host.clone();
        host.spawn(Box::pin(async move {
            let address = SocketAddr::new(ip(1), PORT);
            loop {
                for _ in 0..15 {
                    let host = flooding.clone();
                    flooding.spawn(Box::pin(async move {
                        let mut connection = host.connect(address).await.unwrap();
                        let _ = connection.read_to_end(&mut Vec::new()).await;
                    }));
                }
                flooding.sleep(Duration::from_millis(10)).await;
            }
        }));
        world.sleep(Duration::from_secs(1));
        let most = ServerConfig::new(SocketAddr::new(ip(1), PORT)).max_handshakes_per_address;
        assert_eq!(server.stats().handshaking, most);
        let clients = clients.map(|n| world.raw_client(n, 1));
        let stats = server.stats();
        assert_eq!(stats.sessions, clients.len(), "{stats:?}");
        assert!(stats.handshakes_dropped > 0, "{stats:?}");
        assert!(stats.handshaking <= most + clients.len(), "{stats:?}");
    }
}

/// Invalid requests: the stream is reset immediately, and the session continues.
#[test]
fn bad_requests_are_reset_and_the_session_lives() {
    let world = World::new();
    let server = world.server(1);
    let (alice, mut bob) = (world.raw_client(2, 1), world.raw_client(3, 1));
    let good = signed(2, at(3, 7), 5);
    let mut flipped = good.as_bytes().to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let bomb = [
        &[7; 65][..],
        &[0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]
    .concat();
    let nested = {
        // A struct that contains itself a thousand times.
        let mut gob =
            b"\x13\x7f\x03\x01\x01\x01A\x01\xff\x80\x00\x01\x01\x01\x01A\x01\xff\x80\x00\x00\x00"
                .to_vec();
        gob[0] = (gob.len() - 1) as u8;
        gob.extend([0xfe, 0x03, 0xea, 0xff, 0x80]);
        gob.extend([1; 1000]);
        [&[7; 65][..], &gob].concat()
    };
    let others_name = signed(4, at(3, 7), 5);
    let badly_signed = request(at(2, 50_000), at(3, 7), 6).0.sign(&secret(4));
    let old = signed(2, at(3, 7), 0);
    let object = |bytes| SignedObject::from_bytes(bytes).unwrap();
    let bad = [
        object(flipped),
        object(bomb),
        object(nested),
        others_name,
        badly_signed,
        old,
    ];
    for (i, bad) in bad.iter().enumerate() {
        let begun = world.time.now();
        assert_eq!(world.run(alice.ask(bad)), None, "{i}");
        assert!(world.time.now() - begun < Duration::from_secs(1), "{i}");
        assert_eq!(server.stats().invalid_requests, i as u64 + 1);
    }
    assert!(bob.incoming.next().now_or_never().is_none());
    // A valid request still passes.
    let (answer, ()) = world.run(join(alice.ask(&good), async {
        let (mut stream, came) = bob.accept().await;
        let answer = StreamResponse::refusal(came.hash(), ErrorCode::NoListener);
        let answer = answer.sign(&secret(3));
        bob.session
            .write_object(&mut stream, &answer)
            .await
            .unwrap();
    }));
    assert!(answer.is_some());
}

#[test]
fn a_replayed_request_is_refused_by_the_relay_and_by_the_destination() {
    let world = World::new();
    let server = world.server(1);
    let (alice, mut bob) = (world.raw_client(2, 1), world.raw_client(3, 1));
    let object = signed(2, at(3, 7), 5);
    let (mut first, ()) = world.run(async {
        let mut stream = alice.session.mux().open().await.unwrap();
        alice
            .session
            .write_object(&mut stream, &object)
            .await
            .unwrap();
        drop(bob.accept().await);
        (stream, ())
    });
    assert!(world.run(alice.session.read_object(&mut first)).is_err());
    assert_eq!(world.run(alice.ask(&object)), None);
    assert_eq!(server.stats().invalid_requests, 1);
    assert!(bob.incoming.next().now_or_never().is_none());

    // A relay that replays it gets a signed refusal, without using a slot of the queue.
    let relay = world.raw_server(4);
    let mut config = ClientConfig::default();
    config.servers = vec![KnownServer {
        key: key(4),
        address: SocketAddr::new(ip(4), PORT),
    }];
    config.min_sessions = 0;
    let discovery = world.discovery.clone();
    let carol = Client::start(world.host(5), secret(5), [5; 32], discovery, config);
    let _listener = carol.listen(7).unwrap();
    let relay = world.run(relay.accept());
    let object = signed(2, at(5, 7), 5);
    let refused = |answer: Option<SignedObject>| {
        let response = answer.unwrap().verify_response(&object.hash(), &key(5));
        response.unwrap().refused()
    };
    assert_eq!(refused(world.run(relay.ask(&object))), None);
    let again = refused(world.run(relay.ask(&object)));
    assert_eq!(again, Some(ErrorCode::RequestTimestamp));
    assert_eq!(carol.stats().accepted, 1);
}

/// The same sealed record twice: the relay's replay window refuses it before decryption.
#[test]
fn a_replayed_record_of_a_session_is_refused() {
    let world = World::new();
    let server = world.server(1);
    let alice = world.raw_client(2, 1);
    let object = signed(2, at(1, 7), 5);
    let mut sealed = Vec::new();
    let answers = world.run(async {
        alice
            .session
            .write_object(&mut sealed, &object)
            .await
            .unwrap();
        let mut answers = Vec::new();
        for _ in 0..2 {
            let mut stream = alice.session.mux().open().await.unwrap();
            stream.write_all(&sealed).await.unwrap();
            answers.push(alice.session.read_object(&mut stream).await.is_ok());
        }
        answers
    });
    assert_eq!(answers, [true, false]);
    assert_eq!(
        (server.stats().own_refused, server.stats().invalid_requests),
        (1, 1)
    );
}

/// A relay that replays, reorders or forges records that it cannot read.
#[test]
fn records_that_a_relay_tampers_with_end_the_stream_with_the_reason() {
    let world = World::new();
    let relay = world.raw_server(1);
    let client = |n| {
        let address = SocketAddr::new(ip(1), PORT);
        let server = KnownServer {
            key: key(1),
            address,
        };
        let servers = FixedServers::new([server]);
        let config = ClientConfig::default();
        Client::start(world.host(n), secret(n), [n; 32], servers, config)
    };
    let alice = client(2);
    let mut to_alice = world.run(relay.accept());
    let bob = client(3);
    let to_bob = world.run(relay.accept());
    let mut listener = bob.listen(7).unwrap();
    world.run(join(alice.ready(), bob.ready()));
    let expected = [
        CipherError::Replay { nonce: 1, last: 1 },
        CipherError::Replay { nonce: 1, last: 2 },
        CipherError::Forged,
    ];
    for (kind, expected) in expected.into_iter().enumerate() {
        let relaying = async {
            let (mut a, object) = to_alice.accept().await;
            let (b, answer) = to_bob.send(&object).await;
            let answer = answer.unwrap();
            let sent = to_alice.session.write_object(&mut a, &answer);
            sent.await.unwrap();
            (a, b)
        };
        let (dialled, (mut a, mut b)) = world.run(join(alice.dial(at(3, 7)), relaying));
        let mut ours = dialled.unwrap();
        let mut theirs = world.run(listener.accept()).unwrap();
        let error = world.run(async {
            let mut frames = Vec::new();
            for byte in [1, 2] {
                ours.write_all(&[byte; 10]).await.unwrap();
                ours.flush().await.unwrap();
                let mut frame = vec![0; 2 + 8 + 10 + 16];
                a.read_exact(&mut frame).await.unwrap();
                frames.push(frame);
            }
            match kind {
                0 => frames[1] = frames[0].clone(),
                1 => frames.swap(0, 1), // a gap, then one that comes late
                _ => frames[1][20] ^= 1,
            }
            b.write_all(&frames.concat()).await.unwrap();
            b.flush().await.unwrap();
            let mut got = Vec::new();
            let error = theirs.read_to_end(&mut got).await.unwrap_err();
            assert_eq!(got.len(), 10); // what was good before arrived
            error
        });
        assert_eq!(SecureError::of(&error), Some(expected.into()));
    }
}

#[test]
fn a_frame_beyond_the_limit_ends_the_stream_at_its_prefix() {
    let world = World::new();
    let _server = world.server(1);
    let (alice, bob) = (world.raw_client(2, 1), world.client(3));
    let mut listener = bob.listen(7).unwrap();
    let object = signed(2, at(3, 7), 5);
    let (mut ours, answer) = world.run(alice.send(&object));
    assert!(answer.is_some());
    let mut theirs = world.run(listener.accept()).unwrap();
    let error = world.run(async {
        ours.write_all(&4095u16.to_be_bytes()).await.unwrap();
        ours.flush().await.unwrap();
        theirs.read(&mut [0; 10]).await.unwrap_err()
    });
    assert!(matches!(
        SecureError::of(&error),
        Some(SecureError::Frame(_))
    ));
}

/// An object that announces 65,535 bytes and never sends them costs only its timeout.
#[test]
fn an_object_that_never_ends_times_out() {
    let world = World::new();
    let server = world.server(1);
    let alice = world.raw_client(2, 1);
    let mut stream = world.run(async {
        let mut stream = alice.session.mux().open().await.unwrap();
        stream.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
        stream.flush().await.unwrap();
        stream
    });
    let begun = world.time.now();
    assert!(world.run(stream.read(&mut [0])).is_err());
    assert!((world.time.now() - begun).as_secs().abs_diff(10) <= 1);
    assert_eq!(
        (server.stats().invalid_requests, server.stats().sessions),
        (1, 1)
    );
}

#[test]
fn an_invalid_answer_resets_the_stream_immediately() {
    let world = World::new();
    let server = world.server(1);
    let (alice, mut bob) = (world.raw_client(2, 1), world.raw_client(3, 1));
    for kind in 0..4 {
        let object = signed(2, at(3, 7), 10 + kind);
        let (answer, _) = world.run(join(alice.ask(&object), async {
            let (mut stream, came) = bob.accept().await;
            let answer = match kind {
                0 => accepting(3, 2, &came).sign(&secret(4)), // another key's
                1 => StreamResponse::refusal([0; 32], ErrorCode::NoListener).sign(&secret(3)),
                2 => SignedObject::from_bytes(vec![1; 100]).unwrap(),
                _ => return None, // closes without a word
            };
            bob.session
                .write_object(&mut stream, &answer)
                .await
                .unwrap();
            Some(stream)
        }));
        assert_eq!(answer, None, "{kind}");
        assert_eq!(server.stats().failed_destinations, kind as u64 + 1);
    }
    assert_eq!(server.stats().relayed, 0);
}

#[test]
fn a_destination_that_never_answers_is_given_up_in_time() {
    let world = World::new();
    let server = world.server(1);
    let (alice, mut bob) = (world.raw_client(2, 1), world.raw_client(3, 1));
    let begun = world.time.now();
    let object = signed(2, at(3, 7), 5);
    let (answer, _held) = world.run(join(alice.ask(&object), bob.accept()));
    assert_eq!(answer, None);
    assert!((world.time.now() - begun).as_secs().abs_diff(10) <= 1);
    let stats = server.stats();
    assert_eq!((stats.failed_destinations, stats.invalid_requests), (1, 0));
}

/// More streams than a session may have: those beyond are reset, and other streams and sessions are
/// not affected.
#[test]
fn a_flood_of_streams_hits_its_own_limit() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_streams = 32;
    let server = world.server_with(1, config);
    let flooder = world.raw_client(2, 1);
    let (alice, bob) = (world.client(3), world.client(4));
    world.echo(bob.listen(7).unwrap());
    let open = world.run(join_all((0..500).map(|_| async {
        let mut stream = flooder.session.mux().open().await.unwrap();
        stream.write_all(&[0, 9]).await.unwrap();
        stream.flush().await.unwrap();
        stream
    })));
    world.sleep(Duration::from_secs(1));
    let mut reset = 0;
    for mut stream in open {
        reset += usize::from(stream.read(&mut [0]).now_or_never().is_some());
    }
    assert_eq!(reset, 500 - 32);
    let mut stream = world.dial(&alice, at(4, 7));
    world.run(echoed(&mut stream, b"undisturbed")).unwrap();
    assert_eq!(server.stats().sessions, 3);
}

#[test]
fn beyond_the_limit_on_relayed_streams_the_next_is_reset_immediately() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_relayed = 3;
    let server = world.server_with(1, config);
    let (alice, bob) = (world.client(2), world.client(3));
    world.echo(bob.listen(7).unwrap());
    let mut held: Vec<_> = (0..3).map(|_| world.dial(&alice, at(3, 7))).collect();
    assert!(world.run(alice.dial(at(3, 7))).is_err());
    let stats = server.stats();
    assert_eq!((stats.relaying, stats.relayed), (3, 3));
    assert!(stats.over_capacity >= 1);
    held.pop();
    world.until("one ended", || server.stats().relaying == 2);
    let mut stream = world.dial(&alice, at(3, 7));
    world.run(echoed(&mut stream, b"there is room")).unwrap();
}

#[test]
fn a_client_that_opens_streams_without_pause_is_delayed_and_no_other() {
    let world = World::new();
    let mut config = World::server_config(1);
    (config.streams_per_second, config.stream_burst) = (50, 40);
    let server = world.server_with(1, config);
    let (alice, bob, carol) = (world.client(2), world.client(3), world.client(4));
    world.echo(carol.listen(7).unwrap());
    let begun = world.time.now();
    let took = || world.time.now() - begun;
    let many = join_all((0..232).map(|_| alice.dial(at(4, 7))));
    let one = async {
        let dialled = bob.dial(at(4, 7)).await;
        (dialled, took())
    };
    let (many, (one, time)) = world.run(join(many, one));
    assert!(one.is_ok() && time < Duration::from_secs(1), "{time:?}");
    assert!(many.iter().all(Result::is_ok));
    // 32 streams without delay, and 200 more at 50 a second.
    let (least, most) = (Duration::from_secs(4), Duration::from_secs(5));
    assert!((least..most).contains(&took()), "{:?}", took());
    let paced = server.stats().paced;
    assert!(paced >= 190, "{paced}");
}

/// A destination that reads nothing holds back only those that send to it, and little is buffered
/// for it.
#[test]
fn a_client_that_never_reads_holds_back_only_its_own_stream() {
    let world = World::new();
    let server = world.server(1);
    let (alice, bob, carol) = (world.client(2), world.client(3), world.client(4));
    let mut idle = bob.listen(7).unwrap();
    world.echo(bob.listen(8).unwrap());
    world.echo(carol.listen(8).unwrap());
    let mut stuck = world.dial(&alice, at(3, 7));
    let _unread = world.run(idle.accept()).unwrap();
    let mut written = 0;
    let chunk = [0; 10_000];
    let runtime = world.time.runtime();
    loop {
        let writing = within(&runtime, Duration::from_secs(30), stuck.write_all(&chunk));
        // Outside of `run`, since the write must be dropped before it completes.
        match world.run(writing) {
            Some(result) => result.unwrap(),
            None => break,
        }
        written += chunk.len();
    }
    // Two windows of 256 KiB, plus buffers.
    assert!((400_000..1_200_000).contains(&written), "{written}");
    for to in [3, 4] {
        let mut stream = world.dial(&alice, at(to, 8));
        world.run(echoed(&mut stream, &[1; 300_000])).unwrap();
    }
    world.until("only the stuck one is left", || {
        server.stats().relaying == 1
    });
    assert_eq!(server.stats().sessions, 3);
}

/// The client's host is suspended, so that not even its connection is read.
#[test]
fn a_suspended_client_disturbs_no_other_and_is_lost() {
    let world = World::new();
    let server = world.server(1);
    let (alice, bob, carol) = (world.client(2), world.client(3), world.client(4));
    let mut idle = bob.listen(7).unwrap();
    world.echo(carol.listen(8).unwrap());
    let mut stuck = world.dial(&alice, at(3, 7));
    let _unread = world.run(idle.accept()).unwrap();
    world.time.suspend(ip(3));
    let limit = Duration::from_secs(5);
    let runtime = world.time.runtime();
    let writing = within(&runtime, limit, stuck.write_all(&[0; 4_000_000]));
    assert!(world.run(writing).is_none());
    let mut stream = world.dial(&alice, at(4, 8));
    world.run(echoed(&mut stream, &[1; 300_000])).unwrap();
    world.until("the relay gives it up", || server.stats().sessions == 2);
    let end = world.run(stuck.write_all(&[0; 1_000_000]));
    assert!(end.is_err());
    world.run(echoed(&mut stream, b"still there")).unwrap();
}

#[test]
fn a_server_suspended_during_a_stream_is_noticed() {
    let world = World::new();
    let _server = world.server(1);
    let (alice, bob) = (world.client(2), world.client(3));
    world.echo(bob.listen(7).unwrap());
    let mut stream = world.dial(&alice, at(3, 7));
    world.run(echoed(&mut stream, b"hello")).unwrap();
    world.time.suspend(ip(1));
    let begun = world.time.now();
    let error = world.run(stream.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted);
    assert!((world.time.now() - begun).as_secs() <= 40);
    // Nothing is dialled endlessly, either.
    let begun = world.time.now();
    assert!(world.run(alice.dial(at(3, 7))).is_err());
    assert!((world.time.now() - begun).as_secs() <= 31);
}

/// A dead connection must not lock its client out.
#[test]
fn the_newest_session_of_a_key_wins() {
    let world = World::new();
    let server = world.server(1);
    let (alice, old) = (world.client(2), world.raw_client(3, 1));
    let mut new = world.raw_client(3, 1);
    world.run(old.session.mux().closed());
    assert_eq!((server.stats().sessions, server.stats().superseded), (2, 1));
    let dialling = alice.dial(at(3, 7));
    let (dialled, _held) = world.run(join(dialling, async {
        let (mut stream, object) = new.accept().await;
        let answer = accepting(3, 2, &object).sign(&secret(3));
        new.session
            .write_object(&mut stream, &answer)
            .await
            .unwrap();
        stream
    }));
    assert!(dialled.is_ok());
    // The end of the old session does not affect the new one.
    drop(old);
    world.sleep(Duration::from_secs(1));
    assert!(server.has_session(&key(3)));
}

#[test]
fn a_full_server_refuses_strangers_and_lets_its_own_come_back() {
    let world = World::new();
    let mut config = World::server_config(1);
    config.max_sessions = 2;
    let server = world.server_with(1, config);
    let first = world.raw_client(2, 1);
    let _second = world.raw_client(3, 1);
    world.until("both are there", || server.stats().sessions == 2);
    let third = world.raw_newcomer(4, 1);
    world.run(third.session.mux().closed());
    assert_eq!(server.stats().refused_sessions, 1);
    let again = world.raw_client(2, 1);
    world.run(first.session.mux().closed());
    assert_eq!((server.stats().sessions, server.stats().superseded), (2, 1));
    drop(again);
    world.until("there is room", || server.stats().sessions == 1);
    world.sleep(Duration::from_secs(6));
    let entry = world.discovery.get(&key(1)).unwrap();
    assert_eq!(entry.entry().server.as_ref().unwrap().available_sessions, 1);
}
