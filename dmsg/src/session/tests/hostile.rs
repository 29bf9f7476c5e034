//! Tests of peers that violate the protocol, stall, or flood.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::cipher::CipherError;
use crate::secure::SecureError;

const WINDOW_UPDATE: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const RST: u16 = 8;

/// A peer that opens streams as fast as it can and reads nothing, not even the resets.
#[test]
fn a_flood_of_streams_is_pushed_back_and_survived() {
    let mut pool = LocalPool::new();
    let (peer, end) = pipe(1000);
    let node = start(&pool.spawner(), end, Role::Server, &limits(4, 4, 4));
    let sent = Rc::new(Cell::new(0u32));
    let counted = sent.clone();
    let (mut reads, mut writes) = peer.split();
    pool.spawner()
        .spawn_local(async move {
            for i in 0..20_000 {
                writes
                    .write_all(&frame(WINDOW_UPDATE, SYN, 2 * i + 1, 0))
                    .await
                    .unwrap();
                counted.set(i + 1);
            }
        })
        .unwrap();
    pool.run_until_stalled();
    // The bytes that the connection, the buffers and the waiting resets can hold.
    let before = sent.get();
    assert!(before < 6000, "{before}");
    assert_eq!(node.session.counters().inbound, 4);

    // When the peer reads again, every stream over the limit was reset, and nothing else is
    // affected.
    let resets = Rc::new(RefCell::new(0));
    let seen = resets.clone();
    pool.spawner()
        .spawn_local(async move {
            let mut header = [0; 12];
            while reads.read_exact(&mut header).await.is_ok() {
                assert_ne!(header[1], GO_AWAY);
                if header[1] == DATA && header[3] & RST as u8 != 0 {
                    *seen.borrow_mut() += 1;
                }
            }
        })
        .unwrap();
    pool.run_until_stalled();
    assert_eq!(sent.get(), 20_000);
    assert_eq!(node.session.counters().refused, 19_996);
    assert_eq!(*resets.borrow(), 19_996);
    assert!(!node.session.is_closed());
    assert!(pool.run_until(node.session.open()).is_ok());
}

#[test]
fn opening_and_dropping_against_a_stalled_connection_is_survived() {
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(100);
    let node = start(&pool.spawner(), end, Role::Client, &limits(4, 4, 4));
    let mut opened = 0;
    for _ in 0..5000 {
        if let Some(stream) = node.session.open().now_or_never() {
            let _ = stream.unwrap().write(b"x").now_or_never();
            opened += 1;
        }
        pool.run_until_stalled();
    }
    // Opening stops when the limit of waiting resets is reached.
    assert!((200..300).contains(&opened), "{opened}");
    assert!(node.session.open().now_or_never().is_none());
    assert!(!node.session.is_closed());
    // When the peer reads again, opening continues.
    pool.spawner()
        .spawn_local(async move {
            let mut sink = [0; 1000];
            while peer.read(&mut sink).await.is_ok_and(|n| n > 0) {}
        })
        .unwrap();
    assert!(pool.run_until(node.session.open()).is_ok());
    assert_eq!(node.session.counters().outbound, 0);
}

/// Sends bytes to a session and returns its close reason.
fn ends_with(bytes: &[u8]) -> CloseReason {
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(1 << 16);
    let node = start(
        &pool.spawner(),
        end,
        Role::Server,
        &SessionConfig::default(),
    );
    pool.run_until(peer.write_all(bytes)).unwrap();
    pool.run_until(peer.close()).unwrap();
    pool.run_until(node.session.closed())
}

#[test]
fn every_end_has_its_reason() {
    assert_eq!(ends_with(b""), CloseReason::Remote);
    assert_eq!(ends_with(&frame(GO_AWAY, 0, 0, 0)), CloseReason::Remote);
    let cut = CloseReason::Io(ErrorKind::UnexpectedEof);
    assert_eq!(ends_with(&[0; 5]), cut);
    assert_eq!(ends_with(&frame(DATA, SYN, 1, 10)), cut);
    for violation in [
        [9; 12],                                // version
        frame(DATA, SYN, 1, u32::MAX),          // longer than any frame may be
        frame(DATA, SYN, 2, 0),                 // a stream id of ours
        frame(WINDOW_UPDATE, SYN, 1, u32::MAX), // more credit than there can be
        frame(PING, 2, 0, 7),                   // an answer to no ping
    ] {
        let reason = ends_with(&violation);
        assert!(matches!(reason, CloseReason::Protocol(_)), "{reason:?}");
    }
    let twice = frame(DATA, SYN, 1, 0).repeat(2);
    assert!(matches!(ends_with(&twice), CloseReason::Protocol(_)));
}

/// After a violation, nothing more is read from the peer.
#[test]
fn a_violation_ends_the_session_even_when_the_peer_stays() {
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(1000);
    let node = start(
        &pool.spawner(),
        end,
        Role::Server,
        &SessionConfig::default(),
    );
    pool.run_until(peer.write_all(&frame(DATA, SYN, 2, 0)))
        .unwrap();
    let reason = pool.run_until(node.session.closed());
    assert!(matches!(reason, CloseReason::Protocol(_)));
    let mut said = Vec::new();
    pool.run_until(peer.read_to_end(&mut said)).unwrap();
    assert_eq!(said[1], GO_AWAY);
}

#[test]
fn a_flood_of_pings_is_pushed_back() {
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(1000);
    let wire = end.output();
    let node = start(
        &pool.spawner(),
        end,
        Role::Server,
        &SessionConfig::default(),
    );
    let ping = frame(PING, SYN, 0, 7);
    let mut sent = 0;
    loop {
        let mut sending = std::pin::pin!(peer.write_all(&ping));
        if (&mut sending).now_or_never().is_none() {
            pool.run_until_stalled();
            if sending.now_or_never().is_none() {
                break;
            }
        }
        sent += 1;
    }
    // Twice what the connection holds, and the pings being processed.
    assert!(sent < 200, "{sent}");
    wire.lock().unwrap().bytes.clear();
    assert!(!node.session.is_closed());
}

/// Published frames that made older versions of yamux panic: CVE-2026-31814 and CVE-2026-32314.
#[test]
fn crafted_frames_do_not_panic() {
    for credit in [u32::MAX, u32::MAX - 256 * 1024 + 1] {
        ends_with(&frame(WINDOW_UPDATE, SYN, 1, credit));
        let mut twice = frame(WINDOW_UPDATE, SYN, 1, 0).to_vec();
        twice.extend(frame(WINDOW_UPDATE, 0, 1, credit));
        ends_with(&twice);
    }
    let mut first_body = frame(DATA, SYN, 1, 256 * 1024 + 1).to_vec();
    first_body.resize(12 + 256 * 1024 + 1, 0);
    let mut pool = LocalPool::new();
    let (mut peer, end) = pipe(1 << 20);
    let node = start(
        &pool.spawner(),
        end,
        Role::Server,
        &SessionConfig::default(),
    );
    pool.run_until(peer.write_all(&first_body)).unwrap();
    pool.run_until(peer.close()).unwrap();
    pool.run_until(node.session.closed());
}

#[test]
fn a_bad_record_below_ends_the_session_and_is_named() {
    let mut pool = LocalPool::new();
    let (a, b) = secured(&mut pool);
    let wire = a.io().input();
    let spawner = pool.spawner();
    let config = SessionConfig::default();
    let a = start(&spawner, a, Role::Client, &config);
    let b = start(&spawner, b, Role::Server, &config);
    let spawned = echo(b.incoming, spawner.clone());
    spawner.spawn_local(spawned).unwrap();
    pool.run_until(async {
        assert_eq!(call(&a.session, &[1; 20_000]).await, [1; 20_000]);
    });
    pool.run_until_stalled();
    let mut forged = vec![0, 40];
    forged.extend([0x10; 40]);
    wire.lock().unwrap().bytes.extend(forged);
    // Wake the driver, which then reads the record.
    let mut stream = pool.run_until(a.session.open()).unwrap();
    pool.run_until(stream.write_all(b"x")).unwrap();
    assert_eq!(
        pool.run_until(a.session.closed()),
        CloseReason::Secure(SecureError::Cipher(CipherError::Forged))
    );
}

quickcheck! {
    fn garbage_ends_the_session_without_a_panic(bytes: Vec<u8>, plausible: bool) -> bool {
        let mut bytes = bytes;
        if plausible {
            // Mostly valid frames: the right version, known types and flags.
            for header in bytes.chunks_mut(12) {
                header[0] = 0;
                if let Some(kind) = header.get_mut(1) {
                    *kind %= 4;
                }
                for i in [2, 4, 5, 6, 8, 9] {
                    if let Some(byte) = header.get_mut(i) {
                        *byte = 0;
                    }
                }
            }
        }
        ends_with(&bytes) != CloseReason::Dropped
    }
}
