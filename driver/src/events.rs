//! Event queues of subscribers: bounded rings that drop the oldest event and count the dropped
//! ones.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures::Stream;
use skydht_core::node::Event;

/// Maximum number of events that wait for one subscriber; beyond it, the oldest is dropped.
pub const EVENT_CAPACITY: usize = 1_024;

/// Events were lost because the subscriber was too slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} events were lost because this subscriber lagged")]
pub struct Lagged(
    /// Number of events lost since the last one that was delivered.
    pub u64,
);

struct Ring<T> {
    items: VecDeque<T>,
    lost: u64,
    closed: bool,
    waker: Option<Waker>,
}

/// The sending end of a ring. It does not keep the ring alive.
pub(crate) struct RingSender<T>(Weak<Mutex<Ring<T>>>);

/// The receiving end of a ring.
pub(crate) struct RingReceiver<T>(Arc<Mutex<Ring<T>>>);

pub(crate) fn ring<T>() -> (RingSender<T>, RingReceiver<T>) {
    let ring = Arc::new(Mutex::new(Ring {
        items: VecDeque::new(),
        lost: 0,
        closed: false,
        waker: None,
    }));
    (RingSender(Arc::downgrade(&ring)), RingReceiver(ring))
}

fn lock<T>(ring: &Mutex<Ring<T>>) -> MutexGuard<'_, Ring<T>> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> RingSender<T> {
    /// Adds an item, dropping the oldest from a full ring. Returns whether there is still a
    /// receiver.
    pub(crate) fn push(&self, item: T) -> bool {
        let Some(ring) = self.0.upgrade() else {
            return false;
        };
        let mut ring = lock(&ring);
        if ring.items.len() >= EVENT_CAPACITY {
            ring.items.pop_front();
            ring.lost += 1;
        }
        ring.items.push_back(item);
        let waker = ring.waker.take();
        drop(ring);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl<T> Drop for RingSender<T> {
    fn drop(&mut self) {
        if let Some(ring) = self.0.upgrade() {
            let mut ring = lock(&ring);
            ring.closed = true;
            let waker = ring.waker.take();
            drop(ring);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> RingReceiver<T> {
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Result<T, Lagged>>> {
        let mut ring = lock(&self.0);
        if ring.lost > 0 {
            return Poll::Ready(Some(Err(Lagged(std::mem::take(&mut ring.lost)))));
        }
        if let Some(item) = ring.items.pop_front() {
            return Poll::Ready(Some(Ok(item)));
        }
        if ring.closed {
            return Poll::Ready(None);
        }
        ring.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The node's events since the subscription; ends when the node stops.
///
/// At most [`EVENT_CAPACITY`] events wait here. Beyond that the oldest are lost, and the next item
/// is [`Lagged`] with their number.
pub struct EventStream(pub(crate) RingReceiver<Event>);

impl EventStream {
    /// Returns the next event; `None` once the node has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Event, Lagged>> {
        std::future::poll_fn(|cx| self.0.poll_next(cx)).await
    }
}

impl Stream for EventStream {
    type Item = Result<Event, Lagged>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use skydht_runtime::Runtime as _;
    use skydht_runtime::virtual_time::VirtualTime;
    use std::future::poll_fn;

    fn next<T>(receiver: &RingReceiver<T>) -> Option<Result<T, Lagged>> {
        block_on(poll_fn(|cx| receiver.poll_next(cx)))
    }

    #[test]
    fn a_full_ring_loses_the_oldest_and_says_how_many() {
        let (sender, receiver) = ring();
        for n in 0..EVENT_CAPACITY + 3 {
            assert!(sender.push(n));
        }
        assert_eq!(next(&receiver), Some(Err(Lagged(3))));
        assert_eq!(next(&receiver), Some(Ok(3)));
    }

    #[test]
    fn the_ring_ends_with_its_sender_after_the_last_item() {
        let (sender, receiver) = ring();
        sender.push(1);
        drop(sender);
        assert_eq!(next(&receiver), Some(Ok(1)));
        assert_eq!(next(&receiver), None);
    }

    #[test]
    fn the_sender_learns_that_the_receiver_is_gone() {
        let (sender, receiver) = ring();
        drop(receiver);
        assert!(!sender.push(1));
    }

    #[test]
    fn a_waiting_subscriber_is_woken_by_events_and_by_the_end() {
        let world = VirtualTime::new(1);
        let runtime = world.runtime();
        let (sender, receiver) = ring();
        for n in 0..2 * EVENT_CAPACITY {
            sender.push(n);
        }
        let clock = runtime.clone();
        runtime.spawn(Box::pin(async move {
            // By now the subscriber has read everything and waits.
            clock.sleep(std::time::Duration::from_secs(1)).await;
            sender.push(7);
            clock.sleep(std::time::Duration::from_secs(1)).await;
            drop(sender);
        }));
        let got = world.run_until(async {
            let (mut got, mut lost) = (Vec::new(), 0);
            while let Some(next) = poll_fn(|cx| receiver.poll_next(cx)).await {
                match next {
                    Ok(n) => got.push(n),
                    Err(Lagged(n)) => lost += n,
                }
            }
            (got.len(), got.last().copied(), lost)
        });
        let all = EVENT_CAPACITY as u64;
        assert_eq!(got.unwrap(), (EVENT_CAPACITY + 1, Some(7), all));
    }
}
