//! Tests of back-pressure by readers that pause.

use super::*;

fn bench(window: u32) -> Bench {
    let transport = Transport {
        window,
        ..Transport::default()
    };
    Bench::new(Faults::default(), transport).connected()
}

fn pause(bench: &mut Bench) {
    let stream = StreamId(1);
    bench.network.handle(B, Request::Pause { stream });
}

fn resume(bench: &mut Bench) {
    let stream = StreamId(1);
    bench.network.handle(B, Request::Resume { stream });
}

#[test]
fn a_paused_reader_gets_nothing_until_it_resumes_and_then_in_order() {
    let mut bench = bench(1 << 20);
    pause(&mut bench);
    bench.send(A, 0, b"1");
    bench.send(A, 0, b"2");
    bench.run(SECOND);
    bench.close(A, 0, true);
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 1).0, b"");
    assert!(bench.when(B, &finished(1)).is_none());
    resume(&mut bench);
    assert_eq!(bench.bytes(B, 1).0, b"12");
    let last = bench.learnt.last().map(|it| it.2.clone());
    assert_eq!(last, Some(finished(1)));
    assert_eq!(bench.network.streams(), 0);
}

#[test]
fn a_full_window_keeps_the_sender_waiting() {
    let mut bench = bench(4);
    pause(&mut bench);
    bench.send(A, 0, b"1234");
    bench.run(SECOND);
    assert_eq!(bench.take().len(), 1, "sent");
    bench.send(A, 0, b"56");
    bench.send(A, 0, b"78");
    bench.close(A, 0, true);
    bench.run(SECOND * 100);
    assert_eq!(bench.take(), [], "not sent, not finished");
    assert_eq!(bench.network.stats().blocked, 2);
    resume(&mut bench);
    bench.run(SECOND);
    assert_eq!(bench.bytes(B, 1).0, b"12345678");
    assert!(bench.when(B, &finished(1)).is_some());
}

#[test]
fn sent_comes_when_the_reader_has_made_room() {
    let mut bench = bench(4);
    pause(&mut bench);
    bench.send(A, 0, b"1234");
    bench.run(SECOND);
    bench.take();
    bench.send(A, 0, b"56");
    bench.run(SECOND);
    assert_eq!(bench.when(A, &sent(0)), None);
    resume(&mut bench);
    bench.run(SECOND);
    assert!(bench.when(A, &sent(0)).is_some());
}

#[test]
fn a_reset_arrives_although_data_waits() {
    let mut bench = bench(1 << 20);
    pause(&mut bench);
    bench.send(A, 0, b"1");
    bench.run(SECOND);
    bench.close(A, 0, false);
    bench.run(SECOND);
    assert!(bench.when(B, &reset(1)).is_some());
    assert_eq!(bench.bytes(B, 1).0, b"");
}

#[test]
fn a_reader_that_pauses_again_gets_no_more() {
    let mut bench = bench(1 << 20);
    pause(&mut bench);
    bench.send(A, 0, b"1");
    bench.send(A, 0, b"2");
    bench.run(SECOND);
    resume(&mut bench);
    let first = bench.network.poll_output();
    assert!(matches!(first, Some((B, Delivery::Bytes { .. }))));
    pause(&mut bench);
    assert_eq!(bench.network.poll_output(), None);
    resume(&mut bench);
    assert_eq!(bench.bytes(B, 1).0, b"2");
}
