//! Deadlines of streams, by what the stream waits for.
//!
//! Streams that wait for the same thing nearly always have the same time limit, so the latest
//! deadline is nearly always added last: each kind has a sorted queue, in which a stream is found
//! by its deadline.

use alloc::collections::VecDeque;

use crate::node::ids::StreamId;
use crate::time::Mono;

/// What the deadline of a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// The request must be complete.
    Read,
    /// An accepted stream idles between two requests.
    Idle,
    /// An outbound stream idles between two calls.
    Kept,
    /// An answer must have left.
    Send,
    /// Storage must have answered.
    Load,
    /// A long poll is answered without a newer item.
    Poll,
}

/// The deadlines of all streams. Adding in chronological order is O(1), otherwise O(n) moves.
#[derive(Default)]
pub(crate) struct Deadlines {
    /// The minimum of the queues, cached because every input asks for it.
    first: Option<(Mono, StreamId)>,
    queues: [VecDeque<(Mono, StreamId)>; 6],
}

impl Deadlines {
    pub(crate) fn add(&mut self, wait: Wait, at: Mono, id: StreamId) {
        let queue = &mut self.queues[wait as usize];
        if queue.back().is_none_or(|last| *last < (at, id)) {
            queue.push_back((at, id));
        } else if let Err(place) = queue.binary_search(&(at, id)) {
            queue.insert(place, (at, id));
        }
        if self.first.is_none_or(|first| (at, id) < first) {
            self.first = Some((at, id));
        }
    }

    pub(crate) fn remove(&mut self, wait: Wait, at: Mono, id: StreamId) {
        let queue = &mut self.queues[wait as usize];
        if queue.back() == Some(&(at, id)) {
            queue.pop_back();
        } else if let Ok(place) = queue.binary_search(&(at, id)) {
            queue.remove(place);
        }
        // Frees the memory: most nodes are idle most of the time.
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
        if self.first == Some((at, id)) {
            let fronts = self.queues.iter().filter_map(VecDeque::front);
            self.first = fronts.min().copied();
        }
    }

    /// The earliest deadline.
    pub(crate) const fn first(&self) -> Option<(Mono, StreamId)> {
        self.first
    }

    /// The streams of one kind, the earliest deadline first.
    pub(crate) fn of(&self, wait: Wait) -> impl Iterator<Item = (Mono, StreamId)> {
        self.queues[wait as usize].iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_of_all_kinds_is_first_and_removal_finds_any() {
        let mut deadlines = Deadlines::default();
        for (wait, at, id) in [
            (Wait::Idle, 60, 1),
            (Wait::Idle, 61, 3),
            (Wait::Idle, 60, 5),
            (Wait::Read, 10, 7),
            (Wait::Kept, 32, 2),
        ] {
            deadlines.add(wait, Mono(at), StreamId(id));
        }
        assert_eq!(deadlines.first(), Some((Mono(10), StreamId(7))));
        assert_eq!(
            deadlines.of(Wait::Idle).next(),
            Some((Mono(60), StreamId(1)))
        );
        deadlines.remove(Wait::Read, Mono(10), StreamId(7));
        deadlines.remove(Wait::Kept, Mono(32), StreamId(2));
        deadlines.remove(Wait::Idle, Mono(60), StreamId(1));
        assert_eq!(deadlines.first(), Some((Mono(60), StreamId(5))));
        deadlines.remove(Wait::Idle, Mono(60), StreamId(5));
        assert_eq!(
            deadlines.of(Wait::Idle).next(),
            Some((Mono(61), StreamId(3)))
        );
    }
}
