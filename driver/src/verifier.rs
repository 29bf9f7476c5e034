//! Signature checks off the loop: a small pool of threads, shared by all nodes of a process.
//!
//! The pool holds no jobs of its own: it holds the *nodes* that have some, in turn. A node's
//! queue is bounded by the core (`limits.verify_jobs`), so the whole is bounded, and a busy node
//! cannot starve the others. A worker takes a batch, and wakes the loop once for it.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use futures::task::AtomicWaker;
use skydht_core::node::{JobId, Verdict, VerifyJob};

/// Threads of the shared pool at most.
pub const MAX_THREADS: usize = 4;
/// Jobs that a worker takes at once: some half a millisecond.
const BATCH: usize = 8;

/// Where signatures are checked.
#[derive(Clone)]
pub struct Verifier(Place);

#[derive(Clone)]
enum Place {
    Inline,
    Pool(Arc<Pool>),
}

impl Verifier {
    /// The process's pool: as many threads as cores, at most [`MAX_THREADS`], started at the
    /// first use and never ended.
    #[must_use]
    pub fn shared() -> Self {
        static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
        let pool = POOL.get_or_init(|| {
            let cores = thread::available_parallelism().map_or(1, NonZero::get);
            Pool::start(cores.min(MAX_THREADS))
        });
        Self(Place::Pool(Arc::clone(pool)))
    }

    /// On the loop's own task: for virtual time, where threads would bring their own order.
    #[must_use]
    pub const fn inline() -> Self {
        Self(Place::Inline)
    }

    pub(crate) fn queue(&self, waker: Arc<AtomicWaker>) -> VerifyQueue {
        VerifyQueue {
            place: self.0.clone(),
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
struct State {
    jobs: VecDeque<(JobId, VerifyJob)>,
    done: Vec<(JobId, Verdict)>,
    /// Whether the pool has this queue in its turn.
    in_turn: bool,
}

struct Queue {
    state: Mutex<State>,
    waker: Arc<AtomicWaker>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One node's jobs and results.
pub(crate) struct VerifyQueue {
    place: Place,
    queue: Arc<Queue>,
}

impl VerifyQueue {
    pub(crate) fn submit(&self, job: JobId, work: VerifyJob) {
        match &self.place {
            Place::Inline => {
                let verdict = work.run();
                self.queue.lock().done.push((job, verdict));
                self.queue.waker.wake();
            }
            Place::Pool(pool) => {
                let mut state = self.queue.lock();
                state.jobs.push_back((job, work));
                if !std::mem::replace(&mut state.in_turn, true) {
                    drop(state);
                    pool.enqueue(Arc::clone(&self.queue));
                }
            }
        }
    }

    /// Jobs that wait and verdicts that were not taken; a job that a thread runs is in neither.
    pub(crate) fn len(&self) -> usize {
        let state = self.queue.lock();
        state.jobs.len() + state.done.len()
    }

    /// Swaps the results with `empty`.
    pub(crate) fn take(&self, empty: &mut Vec<(JobId, Verdict)>) {
        std::mem::swap(&mut self.queue.lock().done, empty);
    }
}

impl Drop for VerifyQueue {
    fn drop(&mut self) {
        // The node of these has ended.
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
            // Without a single thread (an exhausted system) jobs would wait for ever: fail loudly.
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
            state.in_turn = more;
            drop(state);
            if more {
                // Before running this batch, so that other threads take part.
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
