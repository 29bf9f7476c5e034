//! Tests of dials, sessions and probes.

use std::net::SocketAddr;

use skydht_core::node::Reach;

use super::*;

fn open_at(bench: &mut Bench, stream: u64, peer: PublicKey, addrs: Addrs) -> Vec<Delivery> {
    let before = bench.now;
    bench.network.handle(
        A,
        Request::Open {
            stream: StreamId(stream),
            peer,
            addrs,
            session: SessionUse::ReuseOrDial,
        },
    );
    bench.run(SECOND * 10);
    let learnt = bench.take().into_iter().filter(|it| it.1 == A);
    learnt
        .map(|(at, _, what)| {
            assert!(SimTime::ZERO.plus(at) >= before);
            what
        })
        .collect()
}

#[test]
fn a_dial_takes_its_round_trips_and_later_streams_none() {
    let mut bench = Bench::with(|_| {});
    bench.open(A, 0, B);
    bench.open(A, 2, B);
    bench.run(SECOND);
    let opened = |stream| Delivery::Opened {
        stream: StreamId(stream),
        path: Path {
            reach: Reach::Dialled,
            remote: Access::numbered(B).addr,
        },
    };
    // Two round trips; both streams waited for the same dial.
    for stream in [0, 2] {
        assert_eq!(bench.when(A, &opened(stream)), Some(WAY * 4));
    }
    assert_eq!(bench.network.stats().dials, 1);
    let (_, _, accepted) = bench.learnt.iter().find(|it| it.1 == B).unwrap();
    let Delivery::Accepted { path, .. } = accepted else {
        panic!("{accepted:?}")
    };
    assert_eq!(path.reach, Reach::Accepted);
    let (seen, real) = (path.remote.unwrap(), Access::numbered(A).addr.unwrap());
    assert!(seen.ip() == real.ip() && seen.port() != real.port());
    // The other side may also use the session.
    bench.take();
    let before = bench.now.since(SimTime::ZERO);
    bench.reuse(B, 0, A);
    bench.run(SECOND);
    let at = bench.learnt.iter().find(|it| it.1 == A).unwrap().0;
    assert_eq!(at, before + WAY);
}

#[test]
fn a_transport_that_confirms_streams_takes_a_round_trip_more() {
    let transport = Transport {
        confirm_streams: true,
        ..Transport::default()
    };
    let mut bench = Bench::new(Faults::default(), transport);
    bench.open(A, 0, B);
    bench.run(SECOND);
    let opened = bench.learnt.iter().find(|it| it.1 == A).unwrap();
    assert_eq!(opened.0, WAY * 6);
}

#[test]
fn reuse_needs_a_session_and_idle_sessions_end() {
    let mut bench = Bench::with(|_| {});
    bench.reuse(A, 0, B);
    assert!(bench.when(A, &failed(0, OpenFailure::NoAddress)).is_some());
    bench.open(A, 2, B);
    bench.run(SECOND);
    bench.reuse(A, 4, B);
    bench.run(SECOND * 1000);
    assert_eq!(bench.network.sessions(), 1, "a stream keeps it");
    bench.close(A, 2, true);
    bench.close(A, 4, true);
    bench.run(SECOND * 179);
    assert_eq!((bench.network.sessions(), bench.network.streams()), (1, 0));
    bench.run(SECOND * 92);
    assert_eq!(bench.network.sessions(), 0);
    bench.take();
    bench.reuse(B, 0, A);
    assert!(bench.when(B, &failed(0, OpenFailure::NoAddress)).is_some());
}

#[test]
fn a_dial_fails_for_the_reason_it_should() {
    let mut bench = Bench::with(|_| {});
    let no_host: SocketAddr = ([192, 0, 2, 1], 1).into();
    let stranger = key(HostId(77));
    // x is beyond the field prime.
    let mut off_curve = [255; 33];
    off_curve[0] = 2;
    let off_curve = PublicKey::from_bytes(&off_curve).unwrap();
    assert!(off_curve.check_curve().is_err());
    for (n, peer, addrs, reason) in [
        (0, key(B), Addrs::new(), OpenFailure::NoAddress),
        (2, key(B), addrs(C), OpenFailure::Handshake),
        (4, stranger, addrs(C), OpenFailure::Handshake),
        (
            6,
            key(B),
            [no_host].into_iter().collect(),
            OpenFailure::Timeout,
        ),
        (8, off_curve, addrs(C), OpenFailure::InvalidKey),
    ] {
        assert_eq!(open_at(&mut bench, n, peer, addrs), [failed(n, reason)]);
    }
    // One correct address is sufficient.
    let both: Addrs = [no_host].into_iter().chain(addrs(B)).collect();
    assert!(matches!(
        open_at(&mut bench, 10, key(B), both)[..],
        [Delivery::Opened { .. }]
    ));
}

#[test]
fn behind_a_nat_a_host_dials_and_is_not_dialled() {
    let mut bench = Bench::with(|_| {});
    let addr = Access::numbered(B).addr.unwrap();
    bench.network.set_access(B, Access::behind_nat(addr));
    let silence = [failed(0, OpenFailure::Timeout)];
    assert_eq!(open_at(&mut bench, 0, key(B), addrs(B)), silence);
    bench.open(B, 0, A);
    bench.run(SECOND);
    bench.take();
    bench.reuse(A, 2, B);
    bench.run(SECOND);
    assert!(matches!(
        bench.learnt[..],
        [
            (_, A, Delivery::Opened { .. }),
            (_, B, Delivery::Accepted { .. })
        ]
    ));
}

#[test]
fn relayed_hosts_find_each_other_by_key() {
    let mut bench = Bench::with(|_| {});
    bench.network.set_access(A, Access::relayed());
    let none = [failed(0, OpenFailure::NoAddress)];
    assert_eq!(open_at(&mut bench, 0, key(B), Addrs::new()), none);
    bench.network.set_access(B, Access::relayed());
    let opened = open_at(&mut bench, 2, key(B), Addrs::new());
    let [Delivery::Opened { path, .. }] = opened[..] else {
        panic!("{opened:?}")
    };
    assert_eq!((path.reach, path.remote), (Reach::Relayed, None));
}

#[test]
fn dials_are_refused_or_lost_when_the_network_says_so() {
    let mut bench = Bench::with(|faults| faults.dial_refused = Rate::ALWAYS);
    bench.open(A, 0, B);
    bench.run(SECOND * 10);
    let refused = failed(0, OpenFailure::Unreachable);
    assert_eq!(bench.when(A, &refused), Some(WAY * 2));
    *bench.network.faults_mut() = Faults {
        dial_lost: Rate::ALWAYS,
        ..Faults::default()
    };
    let lost = [failed(2, OpenFailure::Timeout)];
    bench.take();
    assert_eq!(open_at(&mut bench, 2, key(B), addrs(B)), lost);
    bench.network.heal();
    assert!(matches!(
        open_at(&mut bench, 4, key(B), addrs(B))[..],
        [Delivery::Opened { .. }]
    ));
    assert_eq!(bench.network.stats().dials_failed, 2);
}

#[test]
fn a_probe_makes_no_session() {
    let mut bench = Bench::with(|_| {});
    for (n, peer, ok) in [(1, B, true), (2, C, false)] {
        let probe = ProbeId(n);
        let addr = Access::numbered(B).addr.unwrap();
        let peer = key(peer);
        bench
            .network
            .handle(A, Request::Probe { probe, peer, addr });
        bench.run(SECOND * 10);
        let result = if ok {
            Ok(())
        } else {
            Err(OpenFailure::Handshake)
        };
        let probed = Delivery::Probed { probe, result };
        assert!(bench.when(A, &probed).is_some());
    }
    assert_eq!(bench.network.sessions(), 0);
}

#[test]
fn a_stream_closed_while_it_opens_never_reaches_the_peer() {
    let mut bench = Bench::with(|_| {});
    bench.open(A, 0, B);
    bench.run(WAY);
    bench.close(A, 0, true);
    bench.run(SECOND);
    assert_eq!(bench.take(), []);
    assert_eq!(bench.network.streams(), 0);
    // But data sent on an open stream arrives, even if the stream was closed immediately
    // afterwards.
    bench.open(A, 2, B);
    bench.run(Duration::ZERO);
    bench.send(A, 2, b"x");
    bench.close(A, 2, true);
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 1).0, b"x");
    assert!(bench.when(B, &finished(1)).is_some());
    assert_eq!(bench.network.streams(), 0);
}
