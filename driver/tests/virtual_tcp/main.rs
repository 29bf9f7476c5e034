//! Tests of the TCP transport and of the whole driver over it, in virtual time, with real Noise and
//! yamux.

mod causes;
mod half_open;
mod nodes;
mod sessions;
mod stalled;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::{Either, join, join_all, select};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::Seed;
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::SessionUse::{ReuseOnly, ReuseOrDial};
use skydht_core::node::{
    Addrs, Advertise, BootstrapPeer, Config, GetRequest, Identity, OpenFailure, Path, PutOptions,
    Reach, ReadPolicy,
};
use skydht_core::wire::{
    Frame, FrameDecoder, Request, RequestExt, RequestMessage, Sender, Side, decode_response,
    encode_request,
};
use skydht_dmsg::handshake::{Ephemeral, Handshake};
use skydht_dmsg::secure;
use skydht_dmsg::session::Stream;
use skydht_driver::testing::{Pair, Testnet, conformance};
use skydht_driver::transport::TransportStats;
use skydht_driver::transport::tcp::{TcpOptions, TcpTransport};
use skydht_driver::{Accepted, Dht, StartOptions, TcpNode, Transport as _, Verifier};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};
use skydht_runtime::{Runtime as _, within};

type Tcp = TcpTransport<VirtualRuntime>;

const SECOND: Duration = Duration::from_secs(1);

fn secret(n: u8) -> SecretKey {
    SecretKey::from_entropy(&[n; 32])
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn ip(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

fn addr(n: u8) -> SocketAddr {
    (ip(n), 4_000).into()
}

fn addrs(hosts: &[u8]) -> Addrs {
    hosts.iter().map(|n| addr(*n)).collect()
}

fn options(n: u8) -> TcpOptions {
    let mut options = TcpOptions::default();
    options.listen = Some(addr(n));
    options
}

async fn transport(world: &VirtualTime, n: u8, options: TcpOptions) -> Tcp {
    TcpTransport::start(world.host(ip(n)), secret(n), [n; 32], options)
        .await
        .unwrap()
}

async fn accept(transport: &Tcp) -> Accepted<Stream> {
    std::future::poll_fn(|cx| transport.poll_accept(cx))
        .await
        .unwrap()
}

async fn open(from: &Tcp, to: u8) -> Result<(Stream, Path), OpenFailure> {
    from.open(key(to), addrs(&[to]), ReuseOrDial).await
}

/// Opens a stream and sends a byte, so that the peer accepts it.
async fn greet(from: &Tcp, to: u8) -> (Stream, Path) {
    let (mut stream, path) = open(from, to).await.unwrap();
    stream.write_all(b"!").await.unwrap();
    stream.flush().await.unwrap();
    (stream, path)
}

/// Runs a test, which fails after a day.
#[track_caller]
fn run<T>(test: impl AsyncFnOnce(&VirtualTime) -> T) -> T {
    let world = VirtualTime::new(5);
    let runtime = world.runtime();
    let limited = within(&runtime, 24 * 3600 * SECOND, test(&world));
    let done = world.run_until(limited).expect("the world goes on");
    done.expect("not within a day")
}

#[test]
fn the_tcp_transport_conforms() {
    run(async |world| {
        let pair = Pair {
            near: transport(world, 1, options(1)).await,
            far: transport(world, 2, options(2)).await,
            far_addrs: addrs(&[2]),
            absent: (key(3), addrs(&[3])),
        };
        let checks = std::pin::pin!(conformance(pair));
        let late = world.host(ip(9)).sleep(600 * SECOND);
        assert!(matches!(select(checks, late).await, Either::Left(_)));
    });
}

#[test]
fn a_test_network_runs_in_virtual_time() {
    let world = VirtualTime::new(5);
    let mut drawn = 0u8;
    let entropy = || {
        drawn += 1;
        Ok([drawn; 32])
    };
    let inline = |_: usize, node: &mut TcpNode| node.options.verifier = Verifier::inline();
    let net = Testnet::start(world.runtime(), 5, entropy, inline);
    world
        .run_until(async {
            let net = net.await.unwrap();
            let ports: std::collections::BTreeSet<_> =
                net.nodes().iter().filter_map(Dht::local_addr).collect();
            assert_eq!(ports.len(), 5);
            net.stop(1).await;
            let node = &net.nodes()[3];
            let put = node.put(Salt::from("s"), Value::new(b"v"), PutOptions::default());
            assert_eq!(put.await.unwrap().replicas.acknowledged(), 3);
            net.stop_all().await;
        })
        .unwrap();
}

#[test]
fn all_streams_share_one_session_and_either_side_opens() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        let opens = join_all((0..50).map(|_| greet(&one, 2))).await;
        let mut accepts = Vec::new();
        for _ in 0..50 {
            accepts.push(accept(&two).await);
        }
        assert!(accepts.iter().all(|it| it.peer == key(1)));
        assert_eq!(opens[0].1.reach, Reach::Dialled);
        assert_eq!(opens[0].1.remote, Some(addr(2)));
        assert_eq!(accepts[0].path.reach, Reach::Accepted);
        assert_eq!(accepts[0].path.remote.unwrap().ip(), ip(1));
        // A stream back over the same session, without an address.
        let back = two.open(key(1), addrs(&[]), ReuseOnly).await;
        assert_eq!(back.unwrap().1.reach, Reach::Accepted);
        let (ours, theirs) = (one.stats(), two.stats());
        assert_eq!((ours.sessions, ours.dials), (1, 1));
        assert_eq!((theirs.sessions, theirs.accepted), (1, 1));
    });
}

#[test]
fn a_simultaneous_dial_ends_with_one_session() {
    for seed in 0..20 {
        let world = VirtualTime::new(seed);
        let left = world.run_until(async {
            let one = transport(&world, 1, options(1)).await;
            let two = transport(&world, 2, options(2)).await;
            let ((mut to_two, _), (mut to_one, _)) = join(greet(&one, 2), greet(&two, 1)).await;
            // Both streams work, whichever session they use.
            let (mut at_two, mut at_one) = (accept(&two).await, accept(&one).await);
            for (there, back) in [(&mut to_two, &mut at_two), (&mut to_one, &mut at_one)] {
                there.write_all(b"question").await.unwrap();
                there.flush().await.unwrap();
                let mut got = [0; 9];
                back.stream.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"!question");
            }
            drop((to_two, to_one, at_two, at_one));
            world.host(ip(9)).sleep(5 * SECOND).await;
            let reach = |it: Result<(Stream, Path), _>| it.unwrap().1.reach;
            let ends = (reach(open(&one, 2).await), reach(open(&two, 1).await));
            // One end dialled and the other accepted, so it is the same session.
            assert_ne!(ends.0, ends.1);
            [one.stats(), two.stats()]
        });
        let left = left.unwrap();
        assert_eq!(left.map(|stats| stats.sessions), [1, 1], "seed {seed}");
    }
}

#[test]
fn a_silent_address_does_not_keep_the_next_ones_waiting() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let _two = transport(world, 2, options(2)).await;
        let _other = transport(world, 3, options(3)).await;
        world.set_silent(ip(8), true);
        let (_, path) = one
            .open(key(2), addrs(&[7, 8, 3, 2]), ReuseOrDial)
            .await
            .unwrap();
        assert_eq!(path.remote, Some(addr(2)));
        let waited = world.now();
        assert!(waited > SECOND / 4 && waited < SECOND, "{waited:?}");
        // Also if the address is added late, and for a host that answers after the silent ones.
        let (late, begun) = (one.open(key(3), addrs(&[8, 4]), ReuseOrDial), world.now());
        let wait = world.host(ip(9)).sleep(SECOND);
        let joins = async {
            wait.await;
            one.open(key(3), addrs(&[3]), ReuseOrDial).await
        };
        let (late, joined) = join(late, joins).await;
        assert!(late.is_ok() && joined.is_ok());
        assert!(world.now() - begun < 2 * SECOND);
    });
}

#[test]
fn failures_say_what_happened() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let _three = transport(world, 3, options(3)).await;
        world.set_silent(ip(8), true);
        let mute = world.host(ip(6)).listen(addr(6)).await.unwrap();
        let off_curve = {
            let mut bytes = [0xff; 33];
            bytes[0] = 2;
            PublicKey::from_bytes(&bytes).unwrap()
        };
        for (peer, hosts, session, expected) in [
            (key(2), &[][..], ReuseOrDial, OpenFailure::NoAddress),
            (key(2), &[3], ReuseOnly, OpenFailure::NoAddress),
            (key(2), &[7], ReuseOrDial, OpenFailure::Unreachable),
            (key(2), &[8], ReuseOrDial, OpenFailure::Timeout),
            (key(2), &[6], ReuseOrDial, OpenFailure::Timeout),
            (key(2), &[3], ReuseOrDial, OpenFailure::Handshake),
            (key(2), &[3, 7], ReuseOrDial, OpenFailure::Handshake),
            (off_curve, &[3], ReuseOrDial, OpenFailure::InvalidKey),
            (key(1), &[1], ReuseOrDial, OpenFailure::Unreachable),
        ] {
            let failed = one.open(peer, addrs(hosts), session).await;
            assert_eq!(failed.err(), Some(expected), "{hosts:?}");
        }
        drop(mute);
        assert_eq!(one.stats().sessions, 0);
        assert_eq!(one.stats().dials_failed, 6);
    });
}

#[test]
fn a_probe_proves_the_key_and_leaves_nothing() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        assert_eq!(one.probe(key(2), addr(2)).await, Ok(()));
        let wrong = one.probe(key(3), addr(2)).await;
        assert_eq!(wrong, Err(OpenFailure::Handshake));
        let unreachable = one.probe(key(2), addr(7)).await;
        assert_eq!(unreachable, Err(OpenFailure::Unreachable));
        world.host(ip(9)).sleep(SECOND).await;
        assert_eq!((one.stats().sessions, two.stats().sessions), (0, 0));
        assert_eq!(two.stats().handshakes_abandoned, 1);
        assert_eq!(two.stats().handshakes_failed, 1);
    });
}

#[test]
fn joining_a_dial_adds_addresses() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let _two = transport(world, 2, options(2)).await;
        world.set_silent(ip(8), true);
        let bad = one.open(key(2), addrs(&[8]), ReuseOrDial);
        let good = one.open(key(2), addrs(&[2]), ReuseOrDial);
        let (bad, good) = join(bad, good).await;
        assert!(bad.is_ok() && good.is_ok());
        assert_eq!(one.stats().dials, 1);
    });
}

#[test]
fn an_abandoned_open_does_not_end_the_dial_of_others() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let _two = transport(world, 2, options(2)).await;
        let mut first = one.open(key(2), addrs(&[2]), ReuseOrDial);
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = one.open(key(2), addrs(&[2]), ReuseOrDial);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        assert!(second.await.is_ok());
    });
}

#[test]
fn a_lost_session_resets_its_streams_and_is_replaced() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        let (mut stream, _) = greet(&one, 2).await;
        let mut accepted = accept(&two).await;
        world.disconnect(ip(2));
        assert!(stream.read(&mut [0]).await.is_err());
        let mut rest = Vec::new();
        assert!(accepted.stream.read_to_end(&mut rest).await.is_err());
        assert_eq!((one.stats().sessions, one.stats().lost), (0, 1));
        greet(&one, 2).await;
        accept(&two).await;
        assert_eq!((one.stats().sessions, one.stats().dials), (1, 2));
    });
}

#[test]
fn a_peer_that_dials_again_later_replaces_its_old_session() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        greet(&two, 1).await;
        accept(&one).await;
        world.host(ip(9)).sleep(60 * SECOND).await;
        // Node 2 restarts elsewhere, and node 1 has not noticed that the old session is gone.
        let again = TcpTransport::start(world.host(ip(4)), secret(2), [4; 32], options(4))
            .await
            .unwrap();
        greet(&again, 1).await;
        accept(&one).await;
        let (_, path) = open(&one, 2).await.unwrap();
        assert_eq!(path.remote.unwrap().ip(), ip(4));
        assert_eq!(one.stats().superseded, 1);
        world.host(ip(9)).sleep(5 * SECOND).await;
        assert_eq!((one.stats().sessions, two.stats().sessions), (1, 0));
    });
}

#[test]
fn an_idle_session_is_closed_and_a_used_one_kept() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let two = transport(world, 2, options(2)).await;
        let three = transport(world, 3, options(3)).await;
        greet(&one, 2).await;
        let kept = greet(&one, 3).await;
        let (_two_end, _three_end) = (accept(&two).await, accept(&three).await);
        drop(_two_end);
        world.host(ip(9)).sleep(900 * SECOND).await;
        assert_eq!(one.stats().sessions, 1);
        assert_eq!((two.stats().sessions, three.stats().sessions), (0, 1));
        assert_eq!(one.stats().idle_closed + two.stats().idle_closed, 1);
        assert_eq!((one.stats().lost, two.stats().lost), (0, 0));
        drop(kept);
    });
}

#[test]
fn a_peer_that_shows_no_sign_of_life_is_lost() {
    run(async |world| {
        let one = transport(world, 1, options(1)).await;
        let runtime = world.host(ip(2));
        let connection = runtime.connect(addr(1)).await.unwrap();
        let ephemeral = Ephemeral::from_entropy(&[9; 32]);
        let held = secure::connect(connection, &secret(2), key(1), ephemeral)
            .await
            .unwrap();
        runtime.sleep(SECOND).await;
        let (stream, _) = one.open(key(2), addrs(&[]), ReuseOnly).await.unwrap();
        runtime.sleep(119 * SECOND).await;
        assert_eq!((one.stats().sessions, one.stats().lost), (0, 1));
        drop((held, stream));
    });
}

#[test]
fn garbage_and_stalled_connections_do_not_keep_others_out() {
    run(async |world| {
        let mut few = options(1);
        few.max_handshakes = 128;
        let one = transport(world, 1, few).await;
        let two = transport(world, 2, options(2)).await;
        world.set_latency(SECOND / 1_000, SECOND / 1_000);
        let mut held = Vec::new();
        for n in 0..200u8 {
            let mut connection = world.host(ip(100)).connect(addr(1)).await.unwrap();
            if n < 50 {
                let _ = connection.write_all(&[n; 5_000]).await;
            }
            held.push(connection);
        }
        greet(&two, 1).await;
        assert_eq!(accept(&one).await.peer, key(2));
        let stats = one.stats();
        assert_eq!(stats.handshakes_failed, 50);
        assert!(stats.handshakes_dropped >= 150 - 128, "{stats:?}");
        // Connections that stall time out.
        world.host(ip(9)).sleep(6 * SECOND).await;
        let stats = one.stats();
        assert_eq!(stats.handshakes_failed + stats.handshakes_dropped, 200);
        for connection in &mut held {
            let mut rest = Vec::new();
            let _ = connection.read_to_end(&mut rest).await;
        }
    });
}

#[test]
fn at_the_limit_an_idle_session_makes_room_and_a_busy_one_does_not() {
    run(async |world| {
        let mut few = options(1);
        few.max_sessions = 2;
        let one = transport(world, 1, few).await;
        let mut others = Vec::new();
        for n in 2..=5 {
            others.push(transport(world, n, options(n)).await);
        }
        let busy = greet(&one, 2).await;
        let idle = greet(&one, 3).await;
        let (_busy, _idle) = (accept(&others[0]).await, accept(&others[1]).await);
        drop((idle, _idle));
        world.host(ip(9)).sleep(SECOND).await;
        let third = greet(&one, 4).await;
        let _third = accept(&others[2]).await;
        assert_eq!((one.stats().sessions, one.stats().idle_closed), (2, 1));
        let full = open(&one, 5).await;
        assert_eq!(full.err(), Some(OpenFailure::Overloaded));
        // No handshake takes place, which would leave the peer with a session for nothing.
        assert_eq!(others[3].stats().accepted, 0);
        // The same applies to incoming connections.
        world.host(ip(9)).sleep(SECOND).await;
        let mut refused = open(&others[3], 1).await;
        if let Ok((stream, _)) = &mut refused {
            let _ = stream.write_all(b"!").await;
            assert!(stream.read(&mut [0]).await.is_err());
        }
        assert_eq!((one.stats().sessions, one.stats().refused), (2, 2));
        drop((busy, third));
    });
}

#[test]
fn closing_flushes_streams_and_ends_everything() {
    let world = VirtualTime::new(5);
    let one = world
        .run_until(async {
            let one = transport(&world, 1, options(1)).await;
            let two = transport(&world, 2, options(2)).await;
            let (mut stream, _) = greet(&one, 2).await;
            let mut accepted = accept(&two).await;
            stream.write_all(b"last words").await.unwrap();
            stream.close().await.unwrap();
            one.close().await;
            let mut got = [0; 11];
            accepted.stream.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"!last words");
            assert_eq!(open(&one, 2).await.err(), Some(OpenFailure::Closing));
            assert_eq!(open(&two, 1).await.err(), Some(OpenFailure::Unreachable));
            let refused = world.host(ip(3)).connect(addr(1)).await;
            let refused = refused.err().map(|error| error.kind());
            assert_eq!(refused, Some(io::ErrorKind::ConnectionRefused));
            one
        })
        .unwrap();
    // The other transport was dropped without being closed.
    world.advance(10 * SECOND).unwrap();
    assert_eq!((one.stats().sessions, world.tasks()), (0, 0));
}

// Tests of the whole driver.
