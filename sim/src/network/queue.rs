//! A queue of events ordered by time, and by insertion at equal times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::SimTime;

/// An event queue. Queued values stay in place: only small keys move in the heap, which contains
/// hundreds of thousands of them in large networks.
pub(crate) struct EventQueue<T> {
    /// Time, sequence number and index in `queued`, the earliest first.
    heap: BinaryHeap<Reverse<(SimTime, u64, u32)>>,
    queued: Vec<Option<T>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            queued: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }
}

impl<T> EventQueue<T> {
    pub(crate) fn push(&mut self, at: SimTime, what: T) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.queued.push(None);
            (self.queued.len() - 1) as u32
        });
        self.queued[place as usize] = Some(what);
        self.heap.push(Reverse((at, self.sequence, place)));
    }

    pub(crate) fn next_at(&self) -> Option<SimTime> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let Reverse((_, _, place)) = self.heap.pop()?;
        self.free.push(place);
        self.queued[place as usize].take()
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earlier_first_and_at_one_time_first_come_first() {
        let mut queue = EventQueue::default();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            queue.push(SimTime(at), what);
        }
        assert_eq!((queue.next_at(), queue.len()), (Some(SimTime(1)), 4));
        let order: String = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, "abcd");
    }

    #[test]
    fn places_are_used_again() {
        let mut queue = EventQueue::default();
        for round in 0..100 {
            queue.push(SimTime(round), 2 * round);
            queue.push(SimTime(round), 2 * round + 1);
            assert_eq!(queue.pop(), Some(2 * round));
            assert_eq!(queue.pop(), Some(2 * round + 1));
        }
        assert_eq!((queue.queued.len(), queue.len(), queue.pop()), (2, 0, None));
    }
}
