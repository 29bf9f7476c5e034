//! Tests of unencrypted sessions: pings in both directions, and the read buffer.

use super::*;
use crate::buffer::Input;
use crate::keepalive::Keepalive;
use crate::read_buffered::ReadBuffered;

const PING: u8 = 2;
const SYN: u16 = 1;
const ANSWER: u16 = 2;

/// Starts a session on one end, with its driver on the pool.
fn session(pool: &LocalPool, io: End, role: Role) -> (Session, Incoming, Keepalive) {
    let io = ReadBuffered::new(io, Input::default());
    let (session, incoming, driver) = Session::new(io, role, &SessionConfig::default());
    let keepalive = driver.keepalive();
    pool.spawner().spawn_local(driver.map(drop)).unwrap();
    (session, incoming, keepalive)
}

#[test]
fn a_ping_of_ours_is_answered() {
    let mut pool = LocalPool::new();
    let (a, b) = pipe(1 << 16);
    let (_a, _incoming, ours) = session(&pool, a, Role::Client);
    let (_b, _incoming_b, theirs) = session(&pool, b, Role::Server);
    pool.run_until_stalled();
    for beats in 1..5 {
        ours.request_ping();
        pool.run_until_stalled();
        // The peer has received the pings, and we their answers.
        assert_eq!((ours.received(), theirs.received()), (beats, beats));
    }
    assert!(!_a.is_closed() && !_b.is_closed());
}

/// Sent to a peer that answers pings that were not sent, or answers twice.
#[test]
fn an_answer_to_no_ping_is_a_violation() {
    for answers in [&[1][..], &[1, 1], &[2]] {
        let mut pool = LocalPool::new();
        let (mut peer, end) = pipe(1 << 16);
        let (session, _incoming, keepalive) = session(&pool, end, Role::Server);
        let asked = answers.len() == 2;
        if asked {
            keepalive.request_ping();
        }
        pool.run_until_stalled();
        for answer in answers {
            let pong = frame(PING, ANSWER, 0, *answer);
            pool.run_until(peer.write_all(&pong)).unwrap();
        }
        let reason = pool.run_until(session.closed());
        assert!(matches!(reason, CloseReason::Protocol(_)), "{reason:?}");
        assert_eq!(keepalive.received(), answers.len() as u64);
    }
}

#[test]
fn the_end_inside_a_header_is_no_plain_end() {
    for (bytes, expected) in [
        (0, CloseReason::Remote),
        (5, CloseReason::Io(ErrorKind::UnexpectedEof)),
        (12, CloseReason::Remote),
    ] {
        let mut pool = LocalPool::new();
        let (mut peer, end) = pipe(1 << 16);
        let (session, _incoming, _) = session(&pool, end, Role::Server);
        pool.run_until(peer.write_all(&frame(PING, SYN, 0, 7)[..bytes]))
            .unwrap();
        pool.run_until(peer.close()).unwrap();
        assert_eq!(pool.run_until(session.closed()), expected);
    }
}

#[test]
fn small_frames_share_writes_and_a_stalled_connection_holds_little() {
    let mut pool = LocalPool::new();
    let (a, b) = pipe(1 << 20);
    let wire = a.output();
    let (ours, _incoming, _) = session(&pool, a, Role::Client);
    let (_theirs, mut incoming, _) = session(&pool, b, Role::Server);
    let before = wire.lock().unwrap().writes;
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut stream = pool.run_until(ours.open()).unwrap();
        stream.write(b"x").now_or_never().unwrap().unwrap();
        streams.push(stream);
    }
    pool.run_until_stalled();
    let writes = wire.lock().unwrap().writes - before;
    assert!(writes <= 60, "{writes}");
    for _ in 0..50 {
        assert!(incoming.next().now_or_never().flatten().is_some());
    }
}

quickcheck! {
    fn any_fragmentation_and_any_pings_give_the_same_bytes(
        sizes: Vec<u16>, pieces: Vec<u16>, capacity: u8, beats: u8
    ) -> TestResult {
        if sizes.len() > 8 {
            return TestResult::discard();
        }
        let mut pool = LocalPool::new();
        let pieces: Vec<usize> = pieces.into_iter().map(|p| usize::from(p) % 9_000 + 1).collect();
        let (a, b) = pipe(usize::from(capacity) * 100 + 30);
        let (a, b) = (a.in_pieces(pieces.clone()), b.in_pieces(pieces));
        let (ours, _incoming, keepalive) = session(&pool, a, Role::Client);
        let (_theirs, mut incoming, other) = session(&pool, b, Role::Server);
        pool.spawner()
            .spawn_local(async move {
                while let Some(mut stream) = incoming.next().await {
                    other.request_ping();
                    let mut request = Vec::new();
                    stream.read_to_end(&mut request).await.unwrap();
                    stream.write_all(&request).await.unwrap();
                    stream.close().await.unwrap();
                }
            })
            .unwrap();
        let mut same = true;
        for size in sizes {
            if beats.is_multiple_of(2) {
                keepalive.request_ping();
            }
            let request: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            let answer = pool.run_until(async {
                let mut stream = ours.open().await.unwrap();
                stream.write_all(&request).await.unwrap();
                keepalive.request_ping();
                stream.close().await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                answer
            });
            same &= answer == request;
        }
        TestResult::from_bool(same && !ours.is_closed())
    }
}
