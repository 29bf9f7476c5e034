//! Conformance tests of transports.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures::future::{join, join_all};
use futures::io::{AsyncReadExt as _, AsyncWriteExt as _};
use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::PublicKey;
use skydht_core::node::{Addrs, OpenFailure, SessionUse};

use crate::transport::{Accepted, Transport};

/// Number of concurrent streams in the tests.
const MANY: usize = 100;
/// More bytes than any transport may accept for a reader that does not read.
const ENDLESS: usize = 64 * 1024 * 1024;

/// Two transports that can reach each other, without a stream between them yet.
pub struct Pair<T> {
    /// The dialling transport.
    pub near: T,
    /// The dialled transport.
    pub far: T,
    /// The addresses at which `near` dials `far`; empty if keys suffice.
    pub far_addrs: Addrs,
    /// A key without a node, and addresses to dial for it.
    pub absent: (PublicKey, Addrs),
}

/// Tests whether an implementation fulfils the contract of [`Transport`]. The caller sets a
/// deadline, since some defects make it wait forever.
///
/// # Panics
/// With the violated rule.
pub async fn conformance<T: Transport>(pair: Pair<T>) {
    assert_ne!(pair.near.local_key(), pair.far.local_key(), "keys differ");
    unreachable_key(&pair).await;
    both_directions(&pair).await;
    accepted_sessions_carry_streams_back(&pair).await;
    finish_and_reset(&pair).await;
    back_pressure(&pair).await;
    concurrent_streams(&pair).await;
    closing(pair).await;
}

async fn accept<T: Transport>(transport: &T) -> Accepted<T::Stream> {
    poll_fn(|cx| transport.poll_accept(cx))
        .await
        .expect("an open transport accepts")
}

/// Opens a stream from near to far and returns both ends. Some transports show the stream to the
/// other side only with its first byte, so one is sent.
async fn connect<T: Transport>(pair: &Pair<T>) -> (T::Stream, T::Stream) {
    let dial = async {
        let (mut stream, _) = pair
            .near
            .open(
                pair.far.local_key(),
                pair.far_addrs.clone(),
                SessionUse::ReuseOrDial,
            )
            .await
            .expect("far is there");
        send(&mut stream, b"!").await;
        stream
    };
    let (near, mut accepted) = join(dial, accept(&pair.far)).await;
    assert_eq!(accepted.peer, pair.near.local_key(), "the key is proven");
    assert_eq!(receive(&mut accepted.stream, 1).await, b"!");
    (near, accepted.stream)
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) {
    stream
        .write_all(bytes)
        .await
        .expect("an open stream takes bytes");
    stream.flush().await.expect("an open stream flushes");
}

async fn receive<S: AsyncRead + Unpin>(stream: &mut S, n: usize) -> Vec<u8> {
    let mut got = vec![0; n];
    stream
        .read_exact(&mut got)
        .await
        .expect("sent bytes arrive");
    got
}

async fn unreachable_key<T: Transport>(pair: &Pair<T>) {
    let (key, addrs) = &pair.absent;
    let open = pair.near.open(*key, addrs.clone(), SessionUse::ReuseOrDial);
    assert!(open.await.is_err(), "an absent peer cannot be reached");
    let open = pair.near.open(*key, addrs.clone(), SessionUse::ReuseOnly);
    assert!(
        open.await.is_err(),
        "there is no session with an absent peer"
    );
    let far = pair.far.local_key();
    let open = pair
        .near
        .open(far, pair.far_addrs.clone(), SessionUse::ReuseOrDial);
    drop(open); // giving up before the start disturbs nothing
}

async fn both_directions<T: Transport>(pair: &Pair<T>) {
    let (mut near, mut far) = connect(pair).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let ((), got) = join(send(&mut near, &bytes), receive(&mut far, bytes.len())).await;
    assert!(got == bytes, "bytes arrive whole and in order");
    let ((), got) = join(send(&mut far, &bytes), receive(&mut near, bytes.len())).await;
    assert!(
        got == bytes,
        "bytes arrive whole and in order, on the way back too"
    );
}

/// Opens streams back to near, which far never dialled and of which it has no address.
async fn accepted_sessions_carry_streams_back<T: Transport>(pair: &Pair<T>) {
    let (near, far) = connect(pair).await;
    let mut there = Some((near, far));
    for session in [SessionUse::ReuseOnly, SessionUse::ReuseOrDial] {
        // First beside a stream that near has opened, then without one.
        let back = async {
            let key = pair.near.local_key();
            let back = pair.far.open(key, Addrs::new(), session).await;
            let (mut stream, _) = back.expect("an accepted session carries streams back");
            send(&mut stream, b"?").await;
            stream
        };
        let (mut far, mut accepted) = join(back, accept(&pair.near)).await;
        assert_eq!(accepted.peer, pair.far.local_key(), "the key is proven");
        assert_eq!(receive(&mut accepted.stream, 1).await, b"?");
        send(&mut accepted.stream, b"!").await;
        assert_eq!(receive(&mut far, 1).await, b"!", "it carries both ways");
        if let Some((mut near, mut far)) = there.take() {
            near.close().await.expect("an open stream closes");
            far.close().await.expect("an open stream closes");
        }
    }
}

async fn finish_and_reset<T: Transport>(pair: &Pair<T>) {
    let (mut near, mut far) = connect(pair).await;
    send(&mut near, b"question").await;
    near.close().await.expect("an open stream closes");
    let mut got = Vec::new();
    far.read_to_end(&mut got)
        .await
        .expect("a closed stream ends in order");
    assert_eq!(
        got, b"question",
        "what was written before the close arrives"
    );
    send(&mut far, b"answer").await;
    assert_eq!(
        receive(&mut near, 6).await,
        b"answer",
        "directions close apart"
    );

    let (near, mut far) = connect(pair).await;
    drop(near);
    let end = far.read(&mut [0]).await;
    assert!(
        end.is_err(),
        "a stream dropped without close is reset, got {end:?}"
    );
}

/// Writes until the stream accepts no more. Returns how many bytes it accepted.
async fn fill<S: AsyncWrite + Unpin>(stream: &mut S) -> usize {
    let (chunk, mut taken) = ([7; 4096], 0);
    poll_fn(|cx| {
        while taken < ENDLESS {
            match Pin::new(&mut *stream).poll_write(cx, &chunk) {
                Poll::Ready(Ok(n)) => taken += n,
                Poll::Ready(Err(error)) => panic!("an open stream takes bytes: {error}"),
                Poll::Pending => break,
            }
        }
        Poll::Ready(())
    })
    .await;
    taken
}

async fn back_pressure<T: Transport>(pair: &Pair<T>) {
    let (mut near, mut far) = connect(pair).await;
    let taken = fill(&mut near).await;
    assert!(
        taken < ENDLESS,
        "a reader that does not read holds the writer back"
    );
    // Other streams of the session are not affected.
    let (mut near_other, mut far_other) = connect(pair).await;
    send(&mut near_other, b"free").await;
    assert_eq!(
        receive(&mut far_other, 4).await,
        b"free",
        "streams do not block each other"
    );
    let rest = async {
        near.flush().await.expect("an open stream flushes");
        send(&mut near, b"end").await;
    };
    let ((), got) = join(rest, receive(&mut far, taken + 3)).await;
    assert!(got.ends_with(b"end"), "reading on lets the writer on");
}

async fn concurrent_streams<T: Transport>(pair: &Pair<T>) {
    let mut near = Vec::new();
    let mut far = Vec::new();
    for _ in 0..MANY {
        let (one, other) = connect(pair).await;
        near.push(one);
        far.push(other);
    }
    let exchanges = near.iter_mut().zip(&mut far).map(|(near, far)| async {
        send(near, b"question").await;
        assert_eq!(receive(far, 8).await, b"question");
        send(far, b"answer").await;
        assert_eq!(receive(near, 6).await, b"answer");
    });
    join_all(exchanges).await;
}

async fn closing<T: Transport>(pair: Pair<T>) {
    let (mut near, mut far) = connect(&pair).await;
    send(&mut far, b"last words").await;
    assert_eq!(receive(&mut near, 10).await, b"last words");
    pair.far.close().await;
    let ended = near.read(&mut [0]).await;
    assert!(
        !matches!(ended, Ok(1..)),
        "a closed transport sends no more"
    );
    let accepted = poll_fn(|cx| pair.far.poll_accept(cx)).await;
    assert!(accepted.is_none(), "a closed transport accepts nothing");
    let key = pair.near.local_key();
    let opened = pair
        .far
        .open(key, Addrs::new(), SessionUse::ReuseOrDial)
        .await;
    let closing = opened.err();
    assert_eq!(
        closing,
        Some(OpenFailure::Closing),
        "a closed transport opens nothing"
    );
    let far_key = pair.far.local_key();
    let opened = pair
        .near
        .open(far_key, pair.far_addrs.clone(), SessionUse::ReuseOrDial);
    assert!(
        opened.await.is_err(),
        "a closed transport cannot be reached"
    );
}
