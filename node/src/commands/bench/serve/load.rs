//! The load: connections, the streams on them, and one request after the other on each.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{Addrs, SessionUse};
use skydht_core::wire::{Frame, FrameDecoder, Side};
use skydht_driver::Transport;
use skydht_runtime::Connection;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::requests::{Frames, is_good};
use crate::cli::{Ask, Mix};
use crate::failure::{Code, Failure, Result};

/// An answer must come within this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes read at a time.
const CHUNK: usize = 32 * 1024;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// A connection: a key, its transport, and what it sends.
pub(super) struct Loader<T> {
    pub(super) secret: SecretKey,
    pub(super) transport: T,
    pub(super) frames: Frames,
}

/// Where requests go.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) key: PublicKey,
    pub(super) addrs: Addrs,
}

/// How much is asked, and for how long.
pub(super) struct Plan<'p> {
    pub(super) mix: &'p Mix,
    pub(super) in_flight: usize,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Taken<M> {
    pub(super) elapsed: Duration,
    pub(super) latencies: Vec<Duration>,
    pub(super) failures: u64,
    /// What `read` gave at the beginning and at the end.
    pub(super) meters: (M, M),
}

/// What the tasks share.
#[derive(Default)]
struct Run {
    phase: AtomicU8,
    used_up: Notify,
    took: Mutex<(Vec<Duration>, u64)>,
}

/// A stream, and how far its answers are read.
struct Line<S> {
    stream: S,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl<S: Connection> Line<S> {
    async fn open<T: Transport<Stream = S>>(transport: &T, node: &Node) -> Result<Self> {
        let opening = transport.open(node.key, node.addrs.clone(), SessionUse::ReuseOrDial);
        let (stream, _) = opening
            .await
            .map_err(|error| failed(format_args!("no stream: {error:?}")))?;
        Ok(Self {
            stream,
            decoder: FrameDecoder::new(Side::Response),
            buffer: vec![0; CHUNK],
        })
    }

    async fn ask(&mut self, frame: &[u8]) -> Result<Frame> {
        let asking = async {
            self.stream.write_all(frame).await.map_err(failed)?;
            self.stream.flush().await.map_err(failed)?;
            loop {
                let read = self.stream.read(&mut self.buffer).await.map_err(failed)?;
                if read == 0 {
                    return Err(failed("it closed a stream"));
                }
                let answer = self.decoder.push(&mut &self.buffer[..read]);
                if let Some(frame) = answer.map_err(failed)? {
                    return Ok(frame);
                }
            }
        };
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, asking).await;
        answer.map_err(|_| failed("an answer took too long"))?
    }
}

fn failed(what: impl std::fmt::Display) -> Box<Failure> {
    Failure::new(
        Code::PeerUnreachable,
        format_args!("the node under load: {what}"),
    )
    .hint("with fewer --connections or --in-flight it may keep up")
}

/// Gives the node the items that it is to hold.
pub(super) async fn fill<T: Transport>(loaders: &[Arc<Loader<T>>], node: &Node) -> Result<()> {
    let mut filling = JoinSet::new();
    for loader in loaders {
        let (loader, node) = (Arc::clone(loader), node.clone());
        filling.spawn(async move {
            let mut line = Line::open(&loader.transport, &node).await?;
            for frame in loader.frames.held() {
                let answer = line.ask(frame).await?;
                if !is_good(Ask::PutRenewed, &answer) {
                    return Err(failed(format_args!(
                        "it did not take an item: {}",
                        answer.body.escape_ascii()
                    )));
                }
            }
            Ok(())
        });
    }
    filling.join_all().await.into_iter().collect()
}

/// Loads the node. `read` reads the meters when the measurement begins and ends.
pub(super) async fn run<T: Transport, M>(
    loaders: &[Arc<Loader<T>>],
    node: &Node,
    plan: &Plan<'_>,
    read: impl Fn() -> M,
) -> Result<Taken<M>> {
    let shared = Arc::new(Run::default());
    let mut tasks = JoinSet::new();
    for (number, loader) in loaders.iter().enumerate() {
        for lane in 0..plan.in_flight {
            let line = Line::open(&loader.transport, node).await?;
            let (run, loader) = (Arc::clone(&shared), Arc::clone(loader));
            let draw = plan.seed ^ ((number as u64 + 1) << 32) ^ (lane as u64 + 1);
            tasks.spawn(ask_on(line, loader, run, plan.mix.clone(), draw));
        }
    }
    tokio::time::sleep(plan.warm_up).await;
    let (begun, before) = (Instant::now(), read());
    shared.phase.store(MEASURING, Ordering::Relaxed);
    // A task ends before its time only by a failure.
    tokio::select! {
        () = tokio::time::sleep(plan.duration) => {}
        () = shared.used_up.notified() => {}
        Some(Ok(Err(failure))) = tasks.join_next() => return Err(failure),
    }
    shared.phase.store(STOPPED, Ordering::Relaxed);
    let (elapsed, after) = (begun.elapsed(), read());
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(failed)??;
    }
    let mut took = shared.took.lock().unwrap_or_else(PoisonError::into_inner);
    let (latencies, failures) = std::mem::take(&mut *took);
    Ok(Taken {
        elapsed,
        latencies,
        failures,
        meters: (before, after),
    })
}

/// Asks, waits for the answer, asks again.
async fn ask_on<T: Transport>(
    mut line: Line<T::Stream>,
    loader: Arc<Loader<T>>,
    run: Arc<Run>,
    mix: Mix,
    mut draw: u64,
) -> Result<()> {
    let (mut took, mut failures) = (Vec::new(), 0);
    loop {
        let phase = run.phase.load(Ordering::Relaxed);
        if phase == STOPPED {
            break;
        }
        draw = next(draw);
        let ask = match mix.pick(draw >> 32) {
            // New items are for the time that is measured.
            Ask::PutNew if phase == WARMING => Ask::PutRenewed,
            ask => ask,
        };
        let Some(frame) = loader.frames.of(ask, draw >> 16) else {
            run.used_up.notify_one();
            break;
        };
        let begun = Instant::now();
        let answer = line.ask(frame).await?;
        let good = is_good(ask, &answer);
        if phase == MEASURING && run.phase.load(Ordering::Relaxed) == MEASURING {
            took.push(begun.elapsed());
            failures += u64::from(!good);
        }
    }
    // The node sees the end of the stream; there is nothing to wait for.
    let _ = line.stream.close().await;
    let mut all = run.took.lock().unwrap_or_else(PoisonError::into_inner);
    all.0.append(&mut took);
    all.1 += failures;
    Ok(())
}

/// The next of a sequence of draws (xorshift64*).
fn next(mut state: u64) -> u64 {
    state |= u64::from(state == 0);
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// How many of `all` the part with this number gets.
pub(super) fn share(all: u32, number: usize, parts: usize) -> usize {
    let all = all as usize;
    all / parts + usize::from(number < all % parts)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_add_up() {
        let shares: Vec<usize> = (0..4).map(|number| share(10, number, 4)).collect();
        assert_eq!(shares, [3, 3, 2, 2]);
    }
}
