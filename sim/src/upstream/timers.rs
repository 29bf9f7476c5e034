//! A set of timers.

use std::collections::{BTreeMap, BTreeSet};

use skydht_core::time::Mono;

/// Timers with at most one time for each `T`.
#[derive(Clone, Debug)]
pub(crate) struct Timers<T> {
    at: BTreeMap<T, Mono>,
    order: BTreeSet<(Mono, T)>,
}

impl<T: Ord + Copy> Timers<T> {
    /// No timers set.
    pub(crate) const fn new() -> Self {
        Self {
            at: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Sets or moves a timer.
    pub(crate) fn set(&mut self, timer: T, at: Mono) {
        self.cancel(timer);
        self.at.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Stops a timer if it is set.
    pub(crate) fn cancel(&mut self, timer: T) {
        if let Some(at) = self.at.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Removes and returns the first timer that is due by `now`.
    pub(crate) fn due(&mut self, now: Mono) -> Option<T> {
        let (at, timer) = self.order.first().copied()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    /// Time of the first timer.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Stops all timers.
    pub(crate) fn clear(&mut self) {
        self.at.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_come_in_order_and_once() {
        let mut timers = Timers::new();
        timers.set('b', Mono(2));
        timers.set('a', Mono(5));
        timers.set('a', Mono(1));
        timers.set('c', Mono(1));
        timers.cancel('c');
        assert_eq!(timers.next(), Some(Mono(1)));
        assert_eq!(timers.due(Mono(0)), None);
        assert_eq!(timers.due(Mono(2)), Some('a'));
        assert_eq!(timers.due(Mono(2)), Some('b'));
        assert_eq!((timers.due(Mono(9)), timers.next()), (None, None));
    }
}
