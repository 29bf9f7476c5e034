//! A single-threaded executor with timers, whose order depends on nothing outside of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::BoxFuture;

/// Number of polls without time advancing from which the world counts as [`Stalled::Busy`].
pub(super) const MAX_POLLS_AT_ONE_MOMENT: u64 = if cfg!(test) { 10_000 } else { 10_000_000 };

/// Why a world cannot continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stalled {
    /// No task is ready and no timer is set, so the future can never complete.
    Idle,
    /// Tasks wake each other endlessly without time advancing.
    Busy,
}

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Idle => "nothing is left to do, and the future is not complete",
            Self::Busy => "tasks wake each other without end while time stands still",
        })
    }
}

impl std::error::Error for Stalled {}

/// Index of the future given to `run_until`; tasks count from 0.
const MAIN: usize = usize::MAX;

type Ready = Mutex<VecDeque<usize>>;

struct TaskWaker {
    index: usize,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            lock(&self.ready).push_back(self.index);
        }
    }
}

/// A task. Its future is taken out while it is polled.
struct Task {
    host: IpAddr,
    future: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

#[derive(Default)]
struct ExecutorState {
    now: Duration,
    tasks: Vec<Option<Task>>,
    free: Vec<usize>,
    /// Timers by time, then by the order in which they were set.
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_set: u64,
    polls: BTreeMap<IpAddr, u64>,
    /// Suspended hosts, each with its tasks that were woken meanwhile.
    suspended: BTreeMap<IpAddr, BTreeSet<usize>>,
}

pub(super) struct Executor {
    state: Mutex<ExecutorState>,
    ready: Arc<Ready>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Executor {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            ready: Arc::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        lock(&self.state).now
    }

    pub(super) fn tasks(&self) -> usize {
        let state = lock(&self.state);
        state.tasks.len() - state.free.len()
    }

    pub(super) fn tasks_of(&self, host: IpAddr) -> usize {
        let state = lock(&self.state);
        let tasks = state.tasks.iter().flatten();
        tasks.filter(|task| task.host == host).count()
    }

    pub(super) fn polls(&self) -> u64 {
        lock(&self.state).polls.values().sum()
    }

    pub(super) fn polls_of(&self, host: IpAddr) -> u64 {
        lock(&self.state).polls.get(&host).copied().unwrap_or(0)
    }

    /// Drops the tasks of a host, as a power failure does.
    pub(super) fn crash(&self, host: IpAddr) {
        let mut state = lock(&self.state);
        state.suspended.remove(&host);
        let mut gone = Vec::new();
        for index in 0..state.tasks.len() {
            if state.tasks[index]
                .as_ref()
                .is_some_and(|it| it.host == host)
                && let Some(task) = state.tasks[index].take()
            {
                task.waker.queued.store(true, Ordering::Release);
                state.free.push(index);
                gone.push(task);
            }
        }
        drop(state);
        drop(gone); // without the lock: dropping them may cancel timers or wake other tasks
    }

    pub(super) fn suspend(&self, host: IpAddr) {
        lock(&self.state).suspended.entry(host).or_default();
    }

    pub(super) fn resume(&self, host: IpAddr) {
        let woken = lock(&self.state).suspended.remove(&host);
        lock(&self.ready).extend(woken.into_iter().flatten());
    }

    fn waker(&self, index: usize) -> Arc<TaskWaker> {
        Arc::new(TaskWaker {
            index,
            queued: AtomicBool::new(false),
            ready: Arc::clone(&self.ready),
        })
    }

    pub(super) fn spawn(&self, host: IpAddr, future: BoxFuture<'static, ()>) {
        let mut state = lock(&self.state);
        let index = state.free.pop().unwrap_or_else(|| {
            state.tasks.push(None);
            state.tasks.len() - 1
        });
        let waker = self.waker(index);
        state.tasks[index] = Some(Task {
            host,
            future: Some(future),
            waker: Arc::clone(&waker),
        });
        drop(state);
        waker.wake();
    }

    pub(super) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        Sleep {
            at: self.now().saturating_add(duration),
            executor: Arc::clone(self),
            timer: None,
        }
    }

    /// Wakes `waker` at `at`. Returns the timer's key, to cancel it.
    pub(super) fn wake_at(&self, at: Duration, waker: &Waker) -> (Duration, u64) {
        let mut state = lock(&self.state);
        state.timers_set += 1;
        let timer = (at.max(state.now), state.timers_set);
        state.timers.insert(timer, waker.clone());
        timer
    }

    fn cancel(&self, timer: (Duration, u64)) {
        let waker = lock(&self.state).timers.remove(&timer);
        drop(waker);
    }

    /// Polls the next ready task. Returns whether there was one.
    fn poll_next(&self, main: &mut dyn FnMut()) -> bool {
        let Some(index) = lock(&self.ready).pop_front() else {
            return false;
        };
        if index == MAIN {
            main();
            return true;
        }
        let (mut future, task_waker) = {
            let mut guard = lock(&self.state);
            let state = &mut *guard;
            let Some(Some(task)) = state.tasks.get_mut(index) else {
                return true;
            };
            if let Some(woken) = state.suspended.get_mut(&task.host) {
                // The task stays marked as queued, so that further wakes do not add it again.
                woken.insert(index);
                return true;
            }
            *state.polls.entry(task.host).or_default() += 1;
            task.waker.queued.store(false, Ordering::Release);
            let Some(future) = task.future.take() else {
                return true;
            };
            (future, Arc::clone(&task.waker))
        };
        let waker = Waker::from(Arc::clone(&task_waker));
        let done = future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready();
        // Drop a finished task without the lock: this may cancel timers or wake other tasks.
        let future = (!done).then_some(future);
        let mut state = lock(&self.state);
        // The poll may have called `clear` or `crash`.
        let slot = state.tasks.get_mut(index).filter(|slot| {
            let task = slot.as_ref();
            task.is_some_and(|task| Arc::ptr_eq(&task.waker, &task_waker))
        });
        let Some(slot) = slot else {
            drop(state);
            drop(future);
            return true;
        };
        if done {
            // Disable the old waker, which may still be in use; the next task at this index gets a
            // new one.
            task_waker.queued.store(true, Ordering::Release);
            let task = slot.take();
            state.free.push(index);
            drop(state);
            drop(task);
        } else if let Some(task) = slot {
            task.future = future;
        }
        true
    }

    /// Advances time to the next timer, if that is not after `limit`, and fires it. Returns whether
    /// there was one.
    fn next_timer(&self, limit: Duration) -> bool {
        let mut state = lock(&self.state);
        let Some((&timer, _)) = state.timers.first_key_value() else {
            return false;
        };
        if timer.0 > limit {
            return false;
        }
        let waker = state.timers.remove(&timer);
        state.now = state.now.max(timer.0);
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Runs until `done` returns true, or no task is ready and no timer is due by `limit`.
    fn run(
        &self,
        limit: Duration,
        main: &mut dyn FnMut(),
        done: &dyn Fn() -> bool,
    ) -> Result<(), Stalled> {
        let mut polls = 0;
        let mut moment = self.now();
        while !done() {
            if self.poll_next(main) {
                polls += 1;
                if polls > MAX_POLLS_AT_ONE_MOMENT {
                    return Err(Stalled::Busy);
                }
            } else if !self.next_timer(limit) {
                return Err(Stalled::Idle);
            }
            let now = self.now();
            if now > moment {
                (moment, polls) = (now, 0);
            }
        }
        Ok(())
    }

    pub(super) fn run_until<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        let mut future = pin!(future);
        let task_waker = self.waker(MAIN);
        let waker = Waker::from(Arc::clone(&task_waker));
        waker.wake_by_ref();
        let output = std::cell::RefCell::new(None);
        let mut main = || {
            task_waker.queued.store(false, Ordering::Release);
            // A waker of an earlier `run_until` may fire late.
            if output.borrow().is_none()
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                *output.borrow_mut() = Some(value);
            }
        };
        self.run(Duration::MAX, &mut main, &|| output.borrow().is_some())?;
        output.into_inner().ok_or(Stalled::Idle)
    }

    pub(super) fn advance(&self, duration: Duration) -> Result<(), Stalled> {
        let end = self.now().saturating_add(duration);
        match self.run(end, &mut || {}, &|| false) {
            Err(Stalled::Busy) => Err(Stalled::Busy),
            // Being idle until `end` is the expected result.
            Ok(()) | Err(Stalled::Idle) => {
                lock(&self.state).now = end;
                Ok(())
            }
        }
    }

    /// Drops all tasks and timers.
    pub(super) fn clear(&self) {
        let tasks = std::mem::take(&mut lock(&self.state).tasks);
        drop(tasks); // without the lock: dropping them may cancel timers
        let mut state = lock(&self.state);
        state.free.clear();
        let timers = std::mem::take(&mut state.timers);
        drop(state);
        drop(timers);
    }
}

/// Completes at a given time.
pub(super) struct Sleep {
    executor: Arc<Executor>,
    at: Duration,
    timer: Option<(Duration, u64)>,
}

impl Sleep {
    fn cancel(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.executor.cancel(timer);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The future may have moved to another task, so the timer is set again.
        self.cancel();
        if self.executor.now() >= self.at {
            return Poll::Ready(());
        }
        self.timer = Some(self.executor.wake_at(self.at, cx.waker()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}
