//! Dials under way: all that want a session with one peer wait for one dial.

use std::collections::BTreeMap;

use futures::channel::oneshot;

/// Dials by what they are for, each with data `D` of its own; their results are `T`.
pub struct Dials<K, D, T>(BTreeMap<K, (D, Vec<oneshot::Sender<T>>)>);

/// How a caller gets a session.
pub enum Joined<T> {
    /// Another one dials already.
    Pending(oneshot::Receiver<T>),
    /// The caller must dial.
    MustDial(oneshot::Receiver<T>),
}

impl<K, D, T> Default for Dials<K, D, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, D, T: Clone> Dials<K, D, T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The data of a dial.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut D> {
        self.0.get_mut(key).map(|(data, _)| data)
    }

    /// Whether there is one.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Waits for a dial; begins it with `data` when there is none.
    pub fn join(&mut self, key: K, data: impl FnOnce() -> D) -> Joined<T> {
        let (sender, receiver) = oneshot::channel();
        if let Some((_, waiting)) = self.0.get_mut(&key) {
            waiting.push(sender);
            return Joined::Pending(receiver);
        }
        self.0.insert(key, (data(), vec![sender]));
        Joined::MustDial(receiver)
    }

    /// Whether a caller still waits for a dial.
    #[must_use]
    pub fn is_wanted(&self, key: &K) -> bool {
        let waiting = self.0.get(key).map(|(_, waiting)| waiting);
        waiting.is_some_and(|waiting| !waiting.iter().all(oneshot::Sender::is_canceled))
    }

    /// Answers those who wait. The dial goes on, and others may join it.
    pub fn answer(&mut self, key: &K, result: &T) {
        let waiting = self.0.get_mut(key).map(|(_, waiting)| waiting);
        for waiting in waiting.into_iter().flat_map(std::mem::take) {
            let _ = waiting.send(result.clone());
        }
    }

    /// Ends a dial with its result. Whether there was one.
    pub fn finish(&mut self, key: &K, result: &T) -> bool {
        self.answer(key, result);
        self.0.remove(key).is_some()
    }

    /// Ends a dial without a result.
    pub fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Answers every waiter.
    pub fn answer_all(&mut self, result: &T) {
        for (_, waiting) in self.0.values_mut() {
            for waiting in std::mem::take(waiting) {
                let _ = waiting.send(result.clone());
            }
        }
    }

    /// Ends all dials; their waiters see a closed channel.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
