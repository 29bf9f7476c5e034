//! A bounded queue of items to be accepted, from many tasks to one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

struct QueueState<T> {
    waiting: VecDeque<T>,
    /// Slots that are reserved and not filled yet.
    reserved: usize,
    closed: bool,
    receiver_waker: Option<Waker>,
    /// Wakers of the tasks that wait for room.
    sender_wakers: Vec<Waker>,
    /// How many times a task began to wait for room.
    held: u64,
}

impl<T> QueueState<T> {
    fn taken(&self) -> usize {
        self.waiting.len() + self.reserved
    }
}

/// A bounded queue from many tasks to one. Senders wait for room ([`Self::poll_room`]) or reserve a
/// slot.
pub struct AcceptQueue<T> {
    capacity: usize,
    state: Mutex<QueueState<T>>,
}

/// Why no slot was reserved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoSlot {
    Closed,
    Full,
}

impl<T> AcceptQueue<T> {
    /// Creates a queue for `capacity` items, at least one.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            state: Mutex::new(QueueState {
                waiting: VecDeque::new(),
                reserved: 0,
                closed: false,
                receiver_waker: None,
                sender_wakers: Vec::new(),
                held: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when there is room for one more item, or the queue is closed.
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

    /// Returns how many times a task had to wait for room.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.lock().held
    }

    /// Reserves a slot for an item that is not ready yet.
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

    /// Adds an item. After [`Self::close`] it is dropped instead, which resets it if it is a
    /// stream.
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

    /// Polls for the next item; `None` after the queue was closed.
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

    /// Drops the waiting items and refuses further ones.
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

/// A reserved slot of a queue, released on drop.
pub(crate) struct Slot<T>(Arc<AcceptQueue<T>>);

impl<T> Slot<T> {
    /// Fills the slot with an item.
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

    /// Runs `test` with senders that are tasks of their own, as sessions are. The virtual time
    /// stalls if one of them is not woken.
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
    fn waiters_are_woken_when_a_full_queue_is_drained() {
        run(async |world, queue, senders| {
            // Every sender has pushed as much as it could, and waits.
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
    fn waiters_are_woken_when_a_full_queue_is_closed() {
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
    fn a_waiting_receiver_is_woken_by_items_and_by_the_close() {
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
