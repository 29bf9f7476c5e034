//! Tests of hosts that stop, come back, and are suspended.

use super::*;

#[test]
fn when_a_process_ends_peers_are_reset_and_dials_refused() {
    let mut bench = Bench::with(|_| {}).connected();
    let start = bench.now.since(SimTime::ZERO);
    bench.network.depart_host(B, Departure::Process);
    bench.run(SECOND);
    assert_eq!(bench.when(A, &reset(0)), Some(start + WAY));
    assert_eq!((bench.network.sessions(), bench.network.streams()), (0, 0));
    let again = bench.now.since(SimTime::ZERO);
    bench.open(A, 2, B);
    bench.run(SECOND);
    let refused = failed(2, OpenFailure::Unreachable);
    assert_eq!(bench.when(A, &refused), Some(again + WAY * 2));
    assert!(!bench.learnt.iter().any(|(_, host, _)| *host == B));
}

#[test]
fn when_a_machine_vanishes_peers_notice_late_and_dials_meet_silence() {
    let mut bench = Bench::with(|_| {}).connected();
    let start = bench.now.since(SimTime::ZERO);
    bench.network.depart_host(B, Departure::Machine);
    bench.send(A, 0, b"x");
    bench.open(A, 2, C);
    bench.run(SECOND * 89);
    assert_eq!(bench.when(A, &reset(0)), None);
    bench.run(SECOND * 2);
    assert_eq!(bench.when(A, &reset(0)), Some(start + SECOND * 90));
    let again = bench.now.since(SimTime::ZERO);
    bench.open(A, 4, B);
    bench.run(SECOND * 10);
    let silence = failed(4, OpenFailure::Timeout);
    assert_eq!(bench.when(A, &silence), Some(again + SECOND * 3));
    assert!(!bench.learnt.iter().any(|(_, host, _)| *host == B));
}

#[test]
fn a_host_that_comes_back_begins_anew() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.open(B, 0, C);
    bench.run(SECOND);
    bench.network.depart_host(B, Departure::Machine);
    bench.run(SECOND);
    bench.take();
    bench.network.arrive_host(B);
    // The same stream numbers are free: nothing of the old streams is left.
    bench.open(B, 0, A);
    bench.run(SECOND);
    assert!(bench.when(A, &reset(0)).is_some() && bench.when(C, &reset(1)).is_some());
    assert!(bench.learnt.iter().any(|(_, host, what)| {
        *host == B
            && matches!(
                what,
                Delivery::Opened {
                    stream: StreamId(0),
                    ..
                }
            )
    }));
    bench.take();
    bench.send(B, 0, b"new");
    bench.send(A, 0, b"old");
    bench.open(A, 2, B);
    bench.run(SECOND);
    assert_eq!(bench.bytes(A, 1).0, b"new");
    let to_b = bench.learnt.iter().filter(|it| it.1 == B);
    let accepted = to_b.filter(|it| {
        matches!(
            it.2,
            Delivery::Accepted {
                stream: StreamId(1),
                ..
            }
        )
    });
    assert_eq!(accepted.count(), 1, "its numbers begin at 1 again");
    assert_eq!(bench.bytes(B, 1).0, b"");
}

#[test]
fn deliveries_for_one_life_do_not_reach_the_next() {
    let mut bench = Bench::with(|_| {});
    let (probe, peer) = (ProbeId(1), key(C));
    let addr = Access::numbered(C).addr.unwrap();
    bench
        .network
        .handle(B, Request::Probe { probe, peer, addr });
    bench.network.depart_host(C, Departure::Machine);
    bench.open(B, 0, C);
    bench.network.depart_host(B, Departure::Process);
    bench.network.arrive_host(B);
    bench.run(SECOND * 20);
    assert_eq!(bench.take(), []);
    assert_eq!(bench.network.streams(), 0);
}

#[test]
fn a_short_suspension_delays_and_loses_nothing() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.network.suspend_host(B);
    bench.send(A, 0, b"1");
    bench.run(SECOND * 60);
    assert_eq!(bench.bytes(B, 1).0, b"");
    bench.send(A, 0, b"2");
    bench.network.resume_host(B);
    bench.run(SECOND * 300);
    assert_eq!(bench.bytes(B, 1).0, b"12");
    assert!(bench.when(A, &reset(0)).is_none());
}

#[test]
fn a_long_suspension_loses_the_sessions_and_the_host_learns_it_on_resuming() {
    let mut bench = Bench::with(|_| {}).connected();
    let start = bench.now.since(SimTime::ZERO);
    // A first, short suspension does not count towards the timeout of the second.
    bench.network.suspend_host(B);
    bench.run(SECOND * 60);
    bench.network.resume_host(B);
    bench.run(SECOND);
    bench.network.suspend_host(B);
    bench.run(SECOND * 60);
    assert!(bench.when(A, &reset(0)).is_none());
    bench.run(SECOND * 60);
    assert_eq!(bench.when(A, &reset(0)), Some(start + SECOND * 151));
    assert!(bench.when(B, &reset(1)).is_none());
    let resumed = bench.now.since(SimTime::ZERO);
    bench.network.resume_host(B);
    bench.run(SECOND);
    assert_eq!(bench.when(B, &reset(1)), Some(resumed));
}
