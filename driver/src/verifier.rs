//! Signature verification outside of the event loop, in a small thread pool shared by all nodes of
//! a process.
//!
//! The pool does not queue jobs but *nodes* that have jobs, in turn. A node's queue is bounded by
//! the core (`limits.verify_jobs`), so the total is bounded, and a busy node cannot starve the
//! others. A thread takes a batch of jobs and wakes the event loop once for it.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use futures::task::AtomicWaker;
use skydht_core::node::{JobId, Verdict, VerifyJob};

/// Maximum number of threads of the shared pool.
pub const MAX_THREADS: usize = 4;
/// Maximum number of jobs in a batch: about half a millisecond of work.
const BATCH: usize = 8;

/// Where signatures are verified.
#[derive(Clone)]
pub struct Verifier(Backend);

#[derive(Clone)]
enum Backend {
    Inline,
    Pool(Arc<Pool>),
}

impl Verifier {
    /// Returns the process-wide pool: one thread per core, at most [`MAX_THREADS`], started at the
    /// first use and never ended.
    #[must_use]
    pub fn shared() -> Self {
        static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
        let pool = POOL.get_or_init(|| {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            Pool::start(cores.min(MAX_THREADS))
        });
        Self(Backend::Pool(Arc::clone(pool)))
    }

    /// Verifies on the event loop's own task: for virtual time, where threads would add
    /// nondeterminism.
    #[must_use]
    pub const fn inline() -> Self {
        Self(Backend::Inline)
    }

    pub(crate) fn queue(&self, waker: Arc<AtomicWaker>) -> VerifyQueue {
        VerifyQueue {
            backend: self.0.clone(),
            queue: Arc::new(Queue {
                state: Mutex::default(),
                waker,
            }),
        }
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::shared()
    }
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<(JobId, VerifyJob)>,
    done: Vec<(JobId, Verdict)>,
    /// Whether the pool's queue contains this one.
    is_queued: bool,
}

struct Queue {
    state: Mutex<QueueState>,
    waker: Arc<AtomicWaker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs and verdicts of one node.
pub(crate) struct VerifyQueue {
    backend: Backend,
    queue: Arc<Queue>,
}

impl VerifyQueue {
    pub(crate) fn submit(&self, job: JobId, work: VerifyJob) {
        match &self.backend {
            Backend::Inline => {
                let verdict = work.run();
                self.queue.lock().done.push((job, verdict));
                self.queue.waker.wake();
            }
            Backend::Pool(pool) => {
                let mut state = self.queue.lock();
                state.jobs.push_back((job, work));
                if !std::mem::replace(&mut state.is_queued, true) {
                    drop(state);
                    pool.enqueue(Arc::clone(&self.queue));
                }
            }
        }
    }

    /// Returns the number of waiting jobs and of verdicts not taken; jobs being verified are not
    /// counted.
    pub(crate) fn len(&self) -> usize {
        let state = self.queue.lock();
        state.jobs.len() + state.done.len()
    }

    /// Swaps the verdicts with `empty`.
    pub(crate) fn take(&self, empty: &mut Vec<(JobId, Verdict)>) {
        std::mem::swap(&mut self.queue.lock().done, empty);
    }
}

impl Drop for VerifyQueue {
    fn drop(&mut self) {
        // The node has ended, so its jobs need no verdict.
        self.queue.lock().jobs.clear();
    }
}

struct Pool {
    turn: Mutex<VecDeque<Arc<Queue>>>,
    wake: Condvar,
}

impl Pool {
    fn start(threads: usize) -> Arc<Self> {
        let pool = Arc::new(Self {
            turn: Mutex::default(),
            wake: Condvar::new(),
        });
        for n in 0..threads {
            let pool = Arc::clone(&pool);
            // Without any thread (an exhausted system) jobs would wait forever, so panic instead.
            thread::Builder::new()
                .name(format!("skydht-verify-{n}"))
                .spawn(move || pool.work())
                .map(drop)
                .unwrap_or_else(|error| assert!(n > 0, "no verification thread: {error}"));
        }
        pool
    }

    fn enqueue(&self, queue: Arc<Queue>) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.push_back(queue);
        drop(turn);
        self.wake.notify_one();
    }

    fn work(&self) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut verdicts = Vec::with_capacity(BATCH);
        loop {
            let queue = {
                let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
                let mut turn = self
                    .wake
                    .wait_while(turn, |turn| turn.is_empty())
                    .unwrap_or_else(PoisonError::into_inner);
                let Some(queue) = turn.pop_front() else {
                    continue;
                };
                queue
            };
            let mut state = queue.lock();
            let n = state.jobs.len().min(BATCH);
            batch.extend(state.jobs.drain(..n));
            let more = !state.jobs.is_empty();
            state.is_queued = more;
            drop(state);
            if more {
                // Queue it again before running this batch, so that other threads take part.
                self.enqueue(Arc::clone(&queue));
            }
            verdicts.extend(batch.drain(..).map(|(job, work)| (job, work.run())));
            queue.lock().done.append(&mut verdicts);
            queue.waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
