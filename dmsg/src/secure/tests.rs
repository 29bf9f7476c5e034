use futures::executor::block_on;
use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use quickcheck::{TestResult, quickcheck};

use super::*;
use crate::cipher::RECORD_OVERHEAD;
use crate::frame::{MAX_BODY, MAX_PLAINTEXT};
use crate::handshake::NoiseError;
use crate::pipe::{End, pipe};

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn fresh(byte: u8) -> Ephemeral {
    Ephemeral::from_entropy(&[byte; 32])
}

fn join_ends(a: End, b: End) -> (Secure<End>, Secure<End>) {
    let (client, server) = (key(1), key(2));
    let connecting = connect(a, &client, server.public(), fresh(3));
    let (a, b) = block_on(join(connecting, accept(b, &server, fresh(4))));
    let (remote, b) = b.unwrap();
    assert_eq!(remote, client.public());
    (a.unwrap(), b)
}

fn pair(capacity: usize) -> (Secure<End>, Secure<End>) {
    let (a, b) = pipe(capacity);
    join_ends(a, b)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

async fn send(to: &mut Secure<End>, data: &[u8]) {
    to.write_all(data).await.unwrap();
    to.flush().await.unwrap();
}

/// Reads to the end or to the first error.
fn drain(from: &mut Secure<End>) -> (Vec<u8>, Option<io::Error>) {
    let mut got = Vec::new();
    let mut buf = [0; 1000];
    loop {
        match block_on(from.read(&mut buf)) {
            Ok(0) => return (got, None),
            Ok(n) => got.extend_from_slice(&buf[..n]),
            Err(error) => return (got, Some(error)),
        }
    }
}

#[test]
fn bytes_pass_both_ways_and_the_end_is_seen() {
    let (mut a, mut b) = pair(1 << 20);
    let data = pattern(100_000);
    block_on(send(&mut a, &data));
    block_on(send(&mut b, b"answer"));
    block_on(a.close()).unwrap();
    let (got, error) = drain(&mut b);
    assert!(got == data && error.is_none());
    drop(b);
    assert_eq!(drain(&mut a).0, b"answer");
}

#[test]
fn bytes_right_behind_the_third_message_are_kept() {
    // The dialer sends data before the other side has read the last handshake message.
    let (a, b) = pipe(1 << 16);
    let (client, server) = (key(1), key(2));
    let mut dialling = Box::pin(async {
        let mut a = connect(a, &client, server.public(), fresh(3))
            .await
            .unwrap();
        send(&mut a, b"early").await;
        a
    });
    let mut accepting = Box::pin(accept(b, &server, fresh(4)));
    assert!((&mut dialling).now_or_never().is_none());
    assert!((&mut accepting).now_or_never().is_none());
    let a = (&mut dialling).now_or_never().unwrap();
    let (_, mut b) = (&mut accepting).now_or_never().unwrap().unwrap();
    drop(dialling);
    drop(a);
    assert_eq!(drain(&mut b).0, b"early");
}

#[test]
fn a_wrong_key_is_refused_before_our_own_is_shown() {
    let (a, b) = pipe(1 << 16);
    let output = a.output();
    let (client, server) = (key(1), key(2));
    let (a, b) = block_on(join(
        connect(a, &client, key(9).public(), fresh(3)),
        accept(b, &server, fresh(4)),
    ));
    assert!(matches!(
        b.err(),
        Some(HandshakeError::Noise(NoiseError::Forged))
    ));
    assert!(matches!(a.err(), Some(HandshakeError::Closed)));
    assert_eq!(output.lock().unwrap().writes, 1);
}

#[test]
fn a_probe_proves_the_key_and_is_harmless_to_the_other_side() {
    let (a, b) = pipe(1 << 16);
    let output = a.output();
    let (client, server) = (key(1), key(2));
    let (probed, accepted) = block_on(join(
        probe(a, &client, server.public(), fresh(3)),
        accept(b, &server, fresh(4)),
    ));
    probed.unwrap();
    assert!(matches!(accepted.err(), Some(HandshakeError::Closed)));
    assert_eq!(output.lock().unwrap().writes, 1, "only the first message");

    let (a, b) = pipe(1 << 16);
    let (probed, _) = block_on(join(
        probe(a, &client, key(9).public(), fresh(3)),
        accept(b, &server, fresh(4)),
    ));
    assert!(probed.is_err());
}

/// Feeds bytes to `accept` and returns its error.
fn accept_of(bytes: &[u8]) -> HandshakeError {
    let (mut a, b) = pipe(1 << 16);
    block_on(a.write_all(bytes)).unwrap();
    block_on(a.close()).unwrap();
    block_on(accept(b, &key(2), fresh(4))).err().unwrap()
}

#[test]
fn strangers_and_cut_off_handshakes_end_in_errors() {
    assert!(matches!(accept_of(b""), HandshakeError::Closed));
    assert!(matches!(accept_of(&[0, 49, 2, 2]), HandshakeError::Closed));
    assert!(matches!(
        accept_of(b"GET / HTTP/1.1\r\n\r\n"),
        HandshakeError::Frame(FrameTooLong(0x4745))
    ));
    assert!(matches!(
        accept_of(&[0, 0]),
        HandshakeError::Noise(NoiseError::Length)
    ));
    let mut deadly = [0xff; 51];
    deadly[..3].copy_from_slice(&[0, 49, 2]);
    assert!(matches!(
        accept_of(&deadly),
        HandshakeError::Noise(NoiseError::InvalidKey)
    ));
}

/// Returns two ends after a handshake, and the bytes that `data` becomes, taken out of the pipe.
fn captured(data: &[u8]) -> (Secure<End>, Secure<End>, Vec<u8>) {
    let (a, b) = pipe(1 << 20);
    let wire = a.output();
    let (mut a, b) = join_ends(a, b);
    block_on(send(&mut a, data));
    let bytes = wire.lock().unwrap().bytes.drain(..).collect();
    (a, b, bytes)
}

fn inject(into: &Secure<End>, bytes: &[u8]) {
    let input = into.io().input();
    input.lock().unwrap().bytes.extend(bytes);
}

fn secure_error(error: &Option<io::Error>) -> Option<SecureError> {
    SecureError::of(error.as_ref()?)
}

#[test]
fn a_tampered_record_kills_the_stream_after_what_came_before() {
    let (a, mut b, mut bytes) = captured(&pattern(10_000));
    bytes[2 + MAX_BODY + 2 + 100] ^= 1; // in the second of three frames
    inject(&b, &bytes);
    drop(a);
    let (got, error) = drain(&mut b);
    assert!(got == pattern(MAX_PLAINTEXT));
    let forged = Some(SecureError::Cipher(CipherError::Forged));
    assert_eq!(secure_error(&error), forged);
    // The failure is permanent in both directions; the connection still closes.
    assert_eq!(secure_error(&drain(&mut b).1), forged);
    let write = block_on(b.write(b"x")).err();
    assert_eq!(secure_error(&write), forged);
    block_on(b.close()).unwrap();
}

#[test]
fn a_replayed_record_kills_the_stream() {
    let (_a, mut b, bytes) = captured(b"once");
    inject(&b, &bytes);
    inject(&b, &bytes);
    let (got, error) = drain(&mut b);
    assert_eq!(got, b"once");
    let replay = CipherError::Replay { nonce: 1, last: 1 };
    assert_eq!(secure_error(&error), Some(SecureError::Cipher(replay)));
}

#[test]
fn an_oversized_frame_kills_the_stream_at_its_prefix() {
    let (_a, mut b, _) = captured(b"");
    inject(&b, &[0x0f, 0xff]);
    let error = drain(&mut b).1;
    assert_eq!(
        secure_error(&error),
        Some(SecureError::Frame(FrameTooLong(4095)))
    );
}

#[test]
fn the_end_inside_a_record_is_no_plain_end() {
    let (a, mut b, bytes) = captured(b"whole");
    inject(&b, &bytes[..bytes.len() - 1]);
    drop(a);
    let error = drain(&mut b).1.unwrap();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn small_writes_share_a_record_and_a_write_to_the_socket() {
    let (a, b) = pipe(1 << 20);
    let wire = a.output();
    let (mut a, mut b) = join_ends(a, b);
    let before = wire.lock().unwrap().writes;
    block_on(async {
        for byte in 0..100 {
            a.write_all(&[byte; 12]).await.unwrap();
        }
        a.flush().await.unwrap();
    });
    let half = wire.lock().unwrap();
    assert_eq!(half.writes - before, 1);
    assert_eq!(half.bytes.len(), 2 + RECORD_OVERHEAD + 1200);
    drop(half);
    drop(a);
    assert_eq!(drain(&mut b).0.len(), 1200);
}

#[test]
fn an_unread_connection_pushes_back_and_holds_little() {
    let (mut a, mut b) = pair(1000);
    let data = pattern(200_000);
    let mut taken = 0;
    while let Some(n) = a.write(&data[taken..]).now_or_never() {
        taken += n.unwrap();
    }
    assert!(taken <= 75_000, "{taken}");
    assert!(
        a.output.allocated() <= 160 * 1024,
        "{}",
        a.output.allocated()
    );
    assert!(a.flush().now_or_never().is_none());
    // Nothing is lost once the other side reads.
    let (sent, got) = block_on(join(
        async {
            send(&mut a, &data[taken..]).await;
            a.close().await
        },
        async {
            let mut got = Vec::new();
            b.read_to_end(&mut got).await.map(|_| got)
        },
    ));
    sent.unwrap();
    assert!(got.unwrap() == data);
}

#[test]
fn a_slow_reader_never_makes_the_writer_grow() {
    let (mut a, mut b) = pair(700);
    let data = pattern(3000);
    let mut buf = [0; 650];
    let mut peak = 0;
    for _ in 0..2000 {
        let _ = a.write(&data).now_or_never();
        let _ = a.flush().now_or_never();
        let _ = b.read(&mut buf).now_or_never();
        peak = peak.max(a.output.allocated());
    }
    assert!(peak <= 160 * 1024, "{peak}");
}

#[test]
fn buffers_are_large_under_load_and_hold_nothing_when_idle() {
    let (a, b) = pipe(1 << 20);
    let wire = a.output();
    let (mut a, mut b) = join_ends(a, b);
    let data = pattern(500_000);
    block_on(send(&mut a, &data));
    block_on(b.read_exact(&mut vec![0; data.len()])).unwrap();
    assert!(wire.lock().unwrap().largest_read >= 16 * 1024);
    assert!(a.read(&mut [0]).now_or_never().is_none());
    assert!(b.read(&mut [0]).now_or_never().is_none());
    let idle = |s: &Secure<End>| s.input.allocated() + s.output.allocated();
    assert_eq!((idle(&a), idle(&b)), (0, 0));
}

#[test]
fn a_keepalive_sends_one_empty_record_when_idle() {
    let (a, b) = pipe(1 << 16);
    let wire = a.output();
    let (mut a, mut b) = join_ends(a, b);
    let (ours, theirs) = (a.keepalive(), b.keepalive());
    block_on(a.flush()).unwrap();
    assert_eq!(wire.lock().unwrap().bytes.len(), 0);
    ours.request_ping();
    ours.request_ping();
    block_on(a.flush()).unwrap();
    block_on(a.flush()).unwrap();
    assert_eq!(wire.lock().unwrap().bytes.len(), 2 + RECORD_OVERHEAD);
    assert!(b.read(&mut [0]).now_or_never().is_none(), "no data");
    assert_eq!(theirs.received(), 1);
    // Other data has the same effect as a keepalive.
    ours.request_ping();
    block_on(send(&mut a, b"x"));
    assert_eq!(wire.lock().unwrap().bytes.len(), 2 + RECORD_OVERHEAD + 1);
}

quickcheck! {
    fn any_fragmentation_gives_the_same_bytes(
        writes: Vec<u16>, pieces: Vec<u8>, capacity: u8, flush_every: u8
    ) -> TestResult {
        if writes.len() > 10 {
            return TestResult::discard();
        }
        let pieces: Vec<usize> = pieces.into_iter().map(|p| usize::from(p) * 37 + 5).collect();
        let (a, b) = pipe(usize::from(capacity) * 50 + 20);
        let (mut a, mut b) = join_ends(a.in_pieces(pieces.clone()), b.in_pieces(pieces));
        let total: usize = writes.iter().map(|w| usize::from(w % 5000)).sum();
        let data = pattern(total);
        let sent = async {
            let mut at = 0;
            for (i, write) in writes.iter().enumerate() {
                let end = at + usize::from(write % 5000);
                a.write_all(&data[at..end]).await.unwrap();
                at = end;
                if i % (usize::from(flush_every) + 1) == 0 {
                    a.flush().await.unwrap();
                }
            }
            a.close().await.unwrap();
        };
        let mut got = Vec::new();
        let (_, read) = block_on(join(sent, b.read_to_end(&mut got)));
        read.unwrap();
        TestResult::from_bool(got == data)
    }

    fn damage_never_yields_other_bytes(len: u16, at: usize, flip: u8) -> bool {
        let data = pattern(usize::from(len % 12_000) + 1);
        let (a, mut b, mut bytes) = captured(&data);
        let at = at % bytes.len();
        bytes[at] ^= flip | 1;
        inject(&b, &bytes);
        drop(a);
        let (got, error) = drain(&mut b);
        error.is_some() && got.len() < data.len() && data.starts_with(&got)
    }
}
