//! Attacks by peers with valid sessions and hostile requests.

use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::wire::{MAX_PUT_BATCH_REQUEST, Method, Request};
use skydht_dmsg::session::Stream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::super::peer::{Peer, page, read_answer};
use super::super::wire::Wire;
use super::{Attack, count};

/// Pause before a stream is opened again.
const PAUSE: Duration = Duration::from_millis(20);
/// Streams per key of the peers that fill the wait queue.
const WAITING_STREAMS: usize = 32;
/// Items in a batch that occupies a slot.
const HOLDING_ITEMS: usize = 100;
/// Size of a value in a forged batch, in bytes.
const FORGED_VALUE: usize = 100;

/// Runs `work` on each of `streams` streams of each of `keys` peers until the end.
async fn on_all<F, O>(attack: &Arc<Attack>, keys: usize, streams: usize, work: F)
where
    F: Fn(Arc<Attack>, Arc<Peer>, usize) -> O,
    O: Future<Output = ()> + Send + 'static,
{
    let mut workers = JoinSet::new();
    for _ in 0..keys {
        // Twice the streams, because the node may still count streams that have ended here.
        let Ok(peer) = Peer::new(attack.to(), 2 * streams, Wire::default()).await else {
            return;
        };
        let peer = Arc::new(peer);
        for stream in 0..streams {
            workers.spawn(work(Arc::clone(attack), Arc::clone(&peer), stream));
        }
    }
    workers.join_all().await;
}

/// Sends `bytes` over new streams until the attack ends, and runs `then` on each.
async fn again<F, O>(attack: &Attack, peer: &Peer, bytes: &[u8], then: F)
where
    F: Fn(Stream) -> O,
    O: Future<Output = ()>,
{
    while Instant::now() < attack.end {
        match attack.before_end(peer.open()).await {
            Some(Some(mut stream)) => {
                count(&attack.opened);
                let sending = async {
                    stream.write_all(bytes).await?;
                    stream.flush().await?;
                    std::io::Result::Ok(stream)
                };
                let course = async {
                    if let Ok(stream) = sending.await {
                        then(stream).await;
                    }
                };
                if attack.before_end(course).await.is_some() {
                    count(&attack.ended);
                }
            }
            Some(None) => count(&attack.refused),
            None => return,
        }
        sleep(PAUSE).await;
    }
}

/// Waits until the peer ends the stream.
async fn until_ended(mut stream: Stream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// Sends requests that never end; with `trickles`, one more byte a second.
pub(super) async fn half_sent(attack: &Arc<Attack>, keys: usize, streams: usize, trickles: bool) {
    on_all(attack, keys, streams, |attack, peer, _| async move {
        let mut head = frame(Method::PutValue, 1_000);
        head.extend_from_slice(b"{\"item\":{");
        again(&attack, &peer, &head, |stream| async move {
            if !trickles {
                return until_ended(stream).await;
            }
            let mut stream = stream;
            loop {
                sleep(Duration::from_secs(1)).await;
                let sent = stream.write_all(b" ").await;
                if sent.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        })
        .await;
    })
    .await;
}

/// Requests pages and never reads the answers. With `deaf`, the sockets are no longer read either.
pub(super) async fn never_read(
    attack: &Arc<Attack>,
    keys: usize,
    streams: usize,
    pause: Duration,
    deaf: bool,
) {
    let mut peers = Vec::new();
    for _ in 0..keys {
        let Ok(peer) = Peer::new(attack.to(), 2 * streams, Wire::default()).await else {
            return;
        };
        peers.push(peer);
    }
    let mut held = Vec::new();
    for _ in 0..streams {
        for peer in &peers {
            match attack.before_end(peer.send(&peer.request(page()))).await {
                Some(Some(stream)) => {
                    count(&attack.opened);
                    held.push(stream);
                }
                Some(None) => count(&attack.refused),
                None => return,
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        if deaf {
            peers.iter().for_each(Peer::turn_deaf);
        }
    }
    sleep_until(attack.end).await;
    for mut stream in held {
        // A reset is reported immediately after the data received before it.
        let ended = tokio::time::timeout(Duration::from_millis(1), async {
            let mut buffer = vec![0; 1 << 20];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        });
        if ended.await.is_ok() {
            count(&attack.ended);
        }
    }
}

/// Sends the same request again as soon as the answer has been read.
async fn ask_again(attack: &Attack, peer: &Peer, request: &[u8]) {
    again(attack, peer, request, |mut stream| async move {
        if read_answer(&mut stream).await.is_some() {
            count(&attack.answers);
        }
    })
    .await;
}

/// Requests pages of large items.
pub(super) async fn get_items(attack: &Arc<Attack>, keys: usize, streams: usize) {
    on_all(attack, keys, streams, |attack, peer, _| async move {
        ask_again(&attack, &peer, &peer.request(page())).await;
    })
    .await;
}

/// Sends bodies that are rejected only at their end.
pub(super) async fn junk(attack: &Arc<Attack>, keys: usize, streams: usize, escaped: bool) {
    let length = MAX_PUT_BATCH_REQUEST - 1;
    let mut body = frame(Method::PutBatch, length);
    let (start, part): (&[u8], &[u8]) = match escaped {
        true => (b"{\"items\":[{\"salt\":\"", b"\\u0041"),
        false => (b"{\"items\":[],\"more\":[0", b",[1,{\"a\":2}]"),
    };
    body.extend_from_slice(start);
    while body.len() + part.len() <= length {
        body.extend_from_slice(part);
    }
    body.resize(5 + length, b' ');
    let body: Arc<[u8]> = body.into();
    on_all(attack, keys, streams, |attack, peer, _| {
        let body = Arc::clone(&body);
        async move { ask_again(&attack, &peer, &body).await }
    })
    .await;
}

/// Encodes a batch of `items` items with invalid signatures.
fn forged_batch(peer: &Peer, items: usize) -> Vec<u8> {
    let signed = peer.item(0, FORGED_VALUE);
    let items = (0..items).map(|index| {
        let mut item = signed.clone();
        item.salt = skydht_core::item::Salt::from(format!("forged-{index}").as_str());
        item.into()
    });
    peer.request(Request::PutBatch {
        items: items.collect(),
        targets: Vec::new(),
    })
}

/// Sends batches of which each item costs a verification.
pub(super) async fn forged(attack: &Arc<Attack>, keys: usize, streams: usize, items: usize) {
    on_all(attack, keys, streams, |attack, peer, _| async move {
        ask_again(&attack, &peer, &forged_batch(&peer, items)).await;
    })
    .await;
}

/// Occupies all slots with forged batches, while empty batches wait for one.
pub(super) async fn wait_queue(attack: &Arc<Attack>, holders: usize, waiters: usize) {
    let holding = on_all(attack, holders, 16, |attack, peer, _| async move {
        ask_again(&attack, &peer, &forged_batch(&peer, HOLDING_ITEMS)).await;
    });
    let waiting = on_all(
        attack,
        waiters,
        WAITING_STREAMS,
        |attack, peer, _| async move {
            let empty = peer.request(Request::PutBatch {
                items: Vec::new(),
                targets: Vec::new(),
            });
            ask_again(&attack, &peer, &empty).await;
        },
    );
    tokio::join!(holding, waiting);
}

/// Returns the header of a frame whose body has `length` bytes.
fn frame(method: Method, length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(5 + length);
    // The cast cannot truncate: bodies here are within the limit of a message.
    head.extend_from_slice(&(length as u32 + 1).to_be_bytes());
    head.push(method.as_byte());
    head
}
