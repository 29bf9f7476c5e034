//! The load: connections, their streams, and one request after the other on each stream.

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

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Size of one read, in bytes.
const CHUNK: usize = 32 * 1024;

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const STOPPED: u8 = 2;

/// One connection of the load: its key, its transport, and the frames it sends.
pub(super) struct Loader<T> {
    pub(super) secret: SecretKey,
    pub(super) transport: T,
    pub(super) frames: Frames,
}

/// The loaded node's key and addresses.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) key: PublicKey,
    pub(super) addrs: Addrs,
}

/// Parameters of one sample.
pub(super) struct Plan<'p> {
    pub(super) mix: &'p Mix,
    pub(super) in_flight: usize,
    pub(super) warm_up: Duration,
    pub(super) duration: Duration,
    pub(super) seed: u64,
}

/// Result of one sample.
pub(super) struct SampleResult<M> {
    pub(super) elapsed: Duration,
    pub(super) latencies: Vec<Duration>,
    pub(super) failures: u64,
    /// What `read` returned at the beginning and at the end.
    pub(super) meters: (M, M),
}

/// State shared by the streams of one sample.
#[derive(Default)]
struct Run {
    phase: AtomicU8,
    used_up: Notify,
    results: Mutex<(Vec<Duration>, u64)>,
}

/// A stream with the decoder of its answers.
struct LoadStream<S> {
    stream: S,
    decoder: FrameDecoder,
    buffer: Vec<u8>,
}

impl<S: Connection> LoadStream<S> {
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

/// Puts the items that the node is to store.
pub(super) async fn fill<T: Transport>(loaders: &[Arc<Loader<T>>], node: &Node) -> Result<()> {
    let mut filling = JoinSet::new();
    for loader in loaders {
        let (loader, node) = (Arc::clone(loader), node.clone());
        filling.spawn(async move {
            let mut line = LoadStream::open(&loader.transport, &node).await?;
            for frame in loader.frames.initial_puts() {
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

/// Runs one sample. Calls `read` when the measurement begins and when it ends.
pub(super) async fn run<T: Transport, M>(
    loaders: &[Arc<Loader<T>>],
    node: &Node,
    plan: &Plan<'_>,
    read: impl Fn() -> M,
) -> Result<SampleResult<M>> {
    let shared = Arc::new(Run::default());
    let mut tasks = JoinSet::new();
    for (number, loader) in loaders.iter().enumerate() {
        for lane in 0..plan.in_flight {
            let line = LoadStream::open(&loader.transport, node).await?;
            let (run, loader) = (Arc::clone(&shared), Arc::clone(loader));
            let draw = plan.seed ^ ((number as u64 + 1) << 32) ^ (lane as u64 + 1);
            tasks.spawn(ask_on(line, loader, run, plan.mix.clone(), draw));
        }
    }
    tokio::time::sleep(plan.warm_up).await;
    let (begun, before) = (Instant::now(), read());
    shared.phase.store(MEASURING, Ordering::Relaxed);
    // A task ends before the stop only with a failure.
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
    let mut results = shared
        .results
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (latencies, failures) = std::mem::take(&mut *results);
    Ok(SampleResult {
        elapsed,
        latencies,
        failures,
        meters: (before, after),
    })
}

/// Sends requests until the sample ends, each after the answer to the one before.
async fn ask_on<T: Transport>(
    mut line: LoadStream<T::Stream>,
    loader: Arc<Loader<T>>,
    run: Arc<Run>,
    mix: Mix,
    mut draw: u64,
) -> Result<()> {
    let (mut results, mut failures) = (Vec::new(), 0);
    loop {
        let phase = run.phase.load(Ordering::Relaxed);
        if phase == STOPPED {
            break;
        }
        draw = next(draw);
        let ask = match mix.pick(draw >> 32) {
            // New items are reserved for the measured time.
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
            results.push(begun.elapsed());
            failures += u64::from(!good);
        }
    }
    // The stream's end needs no confirmation.
    let _ = line.stream.close().await;
    let mut all = run.results.lock().unwrap_or_else(PoisonError::into_inner);
    all.0.append(&mut results);
    all.1 += failures;
    Ok(())
}

/// Returns the next number of a pseudo-random sequence (xorshift64*).
fn next(mut state: u64) -> u64 {
    state |= u64::from(state == 0);
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

/// Returns the share of part `number` when `all` is divided into `parts` nearly equal parts.
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
