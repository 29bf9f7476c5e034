//! Tests of faults that affect sent data.

use super::*;

/// Sends `n` numbered messages. Returns those that arrived, in order, and the time needed.
fn burst(bench: &mut Bench, n: u8) -> (Vec<u8>, Option<Duration>) {
    let start = bench.now.since(SimTime::ZERO);
    for i in 0..n {
        bench.send(A, 0, &[i]);
    }
    bench.run(SECOND * 600);
    let (bytes, last) = bench.bytes(B, 1);
    (bytes, last.map(|at| at - start))
}

fn in_order(n: u8) -> Vec<u8> {
    (0..n).collect()
}

#[test]
fn without_faults_bytes_take_the_latency_and_no_more() {
    let mut bench = Bench::with(|_| {}).connected();
    assert_eq!(burst(&mut bench, 20), (in_order(20), Some(WAY)));
    assert!(bench.when(A, &reset(0)).is_none() && bench.when(B, &reset(1)).is_none());
}

#[test]
fn each_pair_has_its_latency_the_same_both_ways() {
    let (from, to) = (10 * MS, 90 * MS);
    let bench = Bench::with(|faults| faults.latency = Spread::Uniform { from, to });
    let way = |a, b| bench.network.latency(a, b);
    assert_eq!((way(A, B), way(A, C)), (way(B, A), way(C, A)));
    assert_ne!(way(A, B), way(A, C));
    assert!((from..=to).contains(&way(A, B)));
}

#[test]
fn jitter_delays_but_does_not_reorder() {
    let mut bench = Bench::with(|faults| faults.jitter = 30 * MS).connected();
    let (bytes, last) = burst(&mut bench, 100);
    assert_eq!(bytes, in_order(100));
    let last = last.unwrap();
    assert!(last > WAY + 20 * MS && last <= WAY + 30 * MS, "{last:?}");
}

#[test]
fn a_loss_costs_retransmission_timeouts_and_no_order() {
    let mut bench = Bench::with(|faults| faults.loss = Rate::percent(30)).connected();
    let (bytes, last) = burst(&mut bench, 100);
    assert_eq!(bytes, in_order(100));
    assert!(last.unwrap() >= WAY + 200 * MS, "{last:?}");
    let repeats = bench.network.stats().retransmissions;
    assert!((20..80).contains(&repeats), "{repeats}");
}

#[test]
fn bandwidth_delays_bytes_and_sent() {
    let mut bench = Bench::with(|faults| faults.bandwidth = 1000).connected();
    let start = bench.now.since(SimTime::ZERO);
    bench.send(A, 0, &[1; 500]);
    bench.send(A, 0, &[2; 500]);
    bench.run(SECOND * 5);
    let (bytes, last) = bench.bytes(B, 1);
    assert_eq!((bytes.len(), last), (1000, Some(start + SECOND + WAY)));
    // `Sent` means that all data sent so far has been transmitted.
    assert_eq!(bench.when(A, &sent(0)), Some(start + SECOND));
}

#[test]
fn a_slow_stream_is_slow_and_others_are_not() {
    let mut bench = Bench::with(|faults| {
        faults.slow = Rate::ALWAYS;
        faults.slow_bandwidth = 100;
    })
    .connected();
    bench.network.faults_mut().slow = Rate::NEVER;
    bench.open(A, 2, B);
    bench.run(SECOND);
    let start = bench.now.since(SimTime::ZERO);
    for stream in [0, 2] {
        bench.send(A, stream, &[1; 100]);
    }
    bench.run(SECOND * 5);
    assert_eq!(bench.bytes(B, 1).1, Some(start + SECOND + WAY));
    assert_eq!(bench.bytes(B, 3).1, Some(start + WAY));
}

#[test]
fn a_reset_stream_leaves_the_session() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.open(A, 2, B);
    bench.run(SECOND);
    bench.network.faults_mut().stream_reset = Rate::ALWAYS;
    let start = bench.now.since(SimTime::ZERO);
    bench.send(A, 0, b"x");
    bench.run(SECOND);
    assert_eq!(bench.when(A, &reset(0)), Some(start));
    assert_eq!(bench.when(B, &reset(1)), Some(start + WAY));
    assert_eq!(bench.bytes(B, 1).0, b"");
    bench.network.heal();
    bench.send(A, 2, b"y");
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 3).0, b"y");
}

#[test]
fn a_reset_session_takes_all_its_streams_and_no_others() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.open(B, 0, A);
    bench.open(A, 2, C);
    bench.run(SECOND);
    bench.network.faults_mut().session_reset = Rate::ALWAYS;
    let start = bench.now.since(SimTime::ZERO);
    bench.send(A, 0, b"x");
    bench.run(SECOND);
    for stream in [0, 1] {
        assert_eq!(bench.when(A, &reset(stream)), Some(start));
        assert_eq!(bench.when(B, &reset(stream)), Some(start + WAY));
    }
    assert_eq!((bench.network.sessions(), bench.network.streams()), (1, 1));
    bench.reuse(B, 2, A);
    assert!(bench.when(B, &failed(2, OpenFailure::NoAddress)).is_some());
}

#[test]
fn a_half_open_stream_loses_one_direction_until_it_is_reset() {
    let mut bench = Bench::with(|faults| faults.half_open = Rate::ALWAYS);
    bench.open(A, 0, B);
    bench.run(SECOND);
    bench.send(A, 0, b"there");
    bench.send(B, 1, b"back");
    bench.run(SECOND);
    let arrived = (bench.bytes(B, 1).0.len(), bench.bytes(A, 0).0.len());
    assert!(arrived == (5, 0) || arrived == (0, 4), "{arrived:?}");
    assert!(bench.when(A, &reset(0)).is_none());
    bench.run(SECOND * 60);
    assert!(bench.when(A, &reset(0)).is_some() && bench.when(B, &reset(1)).is_some());
    assert_eq!(bench.network.stats().half_open, 1);
}

#[test]
fn a_short_cut_holds_bytes_up_in_order() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.network.set_group(B, 1);
    bench.network.cut(0, 1);
    bench.send(A, 0, b"1");
    bench.run(20 * SECOND);
    bench.send(A, 0, b"2");
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 1).0, b"");
    bench.network.join();
    bench.send(A, 0, b"3");
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 1).0, b"123");
    assert!(bench.network.stats().held_up > 0);
}

#[test]
fn a_long_cut_ends_the_session_at_both_ends_and_dials_meet_silence() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.network.set_group(B, 1);
    bench.network.cut(0, 1);
    let start = bench.now.since(SimTime::ZERO);
    bench.send(A, 0, b"1");
    bench.run(SECOND * 100);
    for (host, stream) in [(A, 0), (B, 1)] {
        let at = bench.when(host, &reset(stream)).unwrap() - start;
        assert!(at >= SECOND * 90 && at <= SECOND * 91, "{at:?}");
    }
    bench.open(A, 2, B);
    bench.run(SECOND * 10);
    assert!(bench.when(A, &failed(2, OpenFailure::Timeout)).is_some());
    bench.open(A, 4, C);
    bench.run(SECOND);
    assert_eq!(bench.network.sessions(), 1, "others are not cut off");
    bench.network.heal();
    bench.open(A, 6, B);
    bench.run(SECOND);
    assert_eq!(bench.network.sessions(), 2);
}

#[test]
fn a_one_way_cut_leaves_the_way_back() {
    let mut bench = Bench::with(|_| {}).connected();
    bench.network.set_group(B, 1);
    bench.network.cut_one_way(0, 1);
    bench.send(A, 0, b"there");
    bench.send(B, 1, b"back");
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 1).0, b"");
    assert_eq!(bench.bytes(A, 0).0, b"back");
    // A dial needs both directions.
    bench.open(B, 0, C);
    bench.run(SECOND * 10);
    assert!(bench.when(B, &failed(0, OpenFailure::Timeout)).is_some());
}

#[test]
fn a_cut_during_a_dial_makes_it_time_out() {
    let mut bench = Bench::with(|_| {});
    bench.network.set_group(B, 1);
    bench.open(A, 0, B);
    bench.run(WAY);
    bench.network.cut(0, 1);
    bench.run(SECOND * 10);
    let timeout = failed(0, OpenFailure::Timeout);
    assert_eq!(bench.when(A, &timeout), Some(SECOND * 3));
    assert_eq!((bench.network.sessions(), bench.network.streams()), (0, 0));
}
