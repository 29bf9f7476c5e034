//! What waits to be accepted: from many tasks to one, within a capacity.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct State<T> {
    waiting: VecDeque<T>,
    /// Slots that are reserved and not filled.
    reserved: usize,
    closed: bool,
    receiver_waker: Option<Waker>,
    /// Tasks that wait for room.
    sender_wakers: Vec<Waker>,
    /// Times that one began to wait.
    held: u64,
}

impl<T> State<T> {
    fn taken(&self) -> usize {
        self.waiting.len() + self.reserved
    }
}

/// A queue from many tasks to one. Who adds to it waits for room, or reserves a slot.
pub struct AcceptQueue<T> {
    capacity: usize,
    state: Mutex<State<T>>,
}

/// Why there is no slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoSlot {
    Closed,
    Full,
}

impl<T> AcceptQueue<T> {
    /// Room for `capacity`, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                reserved: 0,
                closed: false,
                receiver_waker: None,
                sender_wakers: Vec::new(),
                held: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready when there is room for one more.
    pub fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.taken() < self.capacity || state.closed {
            return Poll::Ready(());
        }
        let mut wakers = state.sender_wakers.iter();
        if !wakers.any(|waker| waker.will_wake(cx.waker())) {
            state.sender_wakers.push(cx.waker().clone());
            state.held += 1;
        }
        Poll::Pending
    }

    /// Times that a task had to wait for room.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.lock().held
    }

    /// Reserves a slot for what is not there yet.
    pub(crate) fn reserve(self: &Arc<Self>) -> Result<Slot<T>, NoSlot> {
        let mut state = self.lock();
        if state.closed {
            return Err(NoSlot::Closed);
        }
        if state.taken() >= self.capacity {
            return Err(NoSlot::Full);
        }
        state.reserved += 1;
        Ok(Slot(Arc::clone(self)))
    }

    /// Adds one; after the close it is dropped, hence reset.
    pub fn push(&self, item: T) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            return drop(item);
        }
        state.waiting.push_back(item);
        let receiver = state.receiver_waker.take();
        drop(state);
        receiver.into_iter().for_each(Waker::wake);
    }

    /// The next one; none after the close.
    pub fn poll_pop(&self, cx: &Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        if let Some(item) = state.waiting.pop_front() {
            let senders = std::mem::take(&mut state.sender_wakers);
            drop(state);
            senders.into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(item));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        match &mut state.receiver_waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Drops what waits; nothing more comes.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        let wakers = std::mem::take(&mut state.sender_wakers)
            .into_iter()
            .chain(state.receiver_waker.take());
        drop(state);
        drop(waiting);
        wakers.for_each(Waker::wake);
    }
}

/// A slot in a queue, given back on drop.
pub(crate) struct Slot<T>(Arc<AcceptQueue<T>>);

impl<T> Slot<T> {
    /// Fills the slot.
    pub(crate) fn fill(self, item: T) {
        self.0.push(item);
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.reserved -= 1;
        let senders = std::mem::take(&mut state.sender_wakers);
        drop(state);
        senders.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use futures::future::{join, join_all};
    use skydht_runtime::Runtime as _;
    use skydht_runtime::virtual_time::VirtualTime;

    use super::*;

    const CAPACITY: usize = 3;
    const SENDERS: usize = 10;
    const EACH: usize = 5;

    /// Runs senders, each a task of its own as a session is; the world stalls if one of them is
    /// not woken.
    fn run<T>(
        test: impl AsyncFnOnce(&VirtualTime, Arc<AcceptQueue<usize>>, Vec<Sender>) -> T,
    ) -> T {
        let world = VirtualTime::new(1);
        let queue = Arc::new(AcceptQueue::new(CAPACITY));
        let senders = (0..SENDERS).map(|_| {
            let (done, ended) = futures::channel::oneshot::channel();
            let queue = Arc::clone(&queue);
            world.runtime().spawn(Box::pin(async move {
                for n in 0..EACH {
                    poll_fn(|cx| queue.poll_room(cx)).await;
                    queue.push(n);
                }
                let _ = done.send(());
            }));
            ended
        });
        let senders = senders.collect();
        world.run_until(test(&world, queue, senders)).unwrap()
    }

    type Sender = futures::channel::oneshot::Receiver<()>;

    #[test]
    fn every_waiter_goes_on_when_a_full_queue_is_drained() {
        run(async |world, queue, senders| {
            // All have filled it as far as they may, and wait.
            world
                .runtime()
                .sleep(std::time::Duration::from_secs(1))
                .await;
            assert_eq!(queue.lock().waiting.len(), CAPACITY);
            assert!(queue.held() >= SENDERS as u64 - 1);
            let drain = async {
                for _ in 0..SENDERS * EACH {
                    assert!(poll_fn(|cx| queue.poll_pop(cx)).await.is_some());
                }
            };
            let (ended, ()) = join(join_all(senders), drain).await;
            assert!(ended.iter().all(Result::is_ok));
        });
    }

    #[test]
    fn every_waiter_goes_on_when_a_full_queue_is_closed() {
        run(async |world, queue, senders| {
            world
                .runtime()
                .sleep(std::time::Duration::from_secs(1))
                .await;
            queue.close();
            assert!(join_all(senders).await.iter().all(Result::is_ok));
            assert_eq!(poll_fn(|cx| queue.poll_pop(cx)).await, None);
        });
    }

    #[test]
    fn a_waiting_receiver_goes_on_when_something_comes_and_at_the_end() {
        let world = VirtualTime::new(1);
        let queue = Arc::new(AcceptQueue::new(CAPACITY));
        let sending = Arc::clone(&queue);
        let runtime = world.runtime();
        let sleeping = runtime.clone();
        runtime.spawn(Box::pin(async move {
            for n in 0..2 {
                sleeping.sleep(std::time::Duration::from_secs(1)).await;
                sending.push(n);
            }
            sleeping.sleep(std::time::Duration::from_secs(1)).await;
            sending.close();
        }));
        let got = world.run_until(async {
            let mut got = Vec::new();
            while let Some(n) = poll_fn(|cx| queue.poll_pop(cx)).await {
                got.push(n);
            }
            got
        });
        assert_eq!(got.unwrap(), [0, 1]);
    }
}
