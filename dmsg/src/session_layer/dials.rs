//! Dials in progress: all callers that need a session with one peer share one dial.

use std::collections::BTreeMap;

use futures::channel::oneshot;

/// Dials by key `K`, each with data `D`; every waiting caller receives the result `T`.
pub struct Dials<K, D, T>(BTreeMap<K, (D, Vec<oneshot::Sender<T>>)>);

/// Result of [`Dials::join`].
pub enum Joined<T> {
    /// A dial is in progress.
    Pending(oneshot::Receiver<T>),
    /// The caller must dial, and report with [`Dials::finish`] or [`Dials::forget`].
    MustDial(oneshot::Receiver<T>),
}

impl<K, D, T> Default for Dials<K, D, T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, D, T: Clone> Dials<K, D, T> {
    /// Returns the number of dials.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no dial.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the data of a dial.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut D> {
        self.0.get_mut(key).map(|(data, _)| data)
    }

    /// Returns whether a dial for `key` is in progress.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.0.contains_key(key)
    }

    /// Waits for the dial for `key`; registers one with `data` if there is none.
    pub fn join(&mut self, key: K, data: impl FnOnce() -> D) -> Joined<T> {
        let (sender, receiver) = oneshot::channel();
        if let Some((_, waiting)) = self.0.get_mut(&key) {
            waiting.push(sender);
            return Joined::Pending(receiver);
        }
        self.0.insert(key, (data(), vec![sender]));
        Joined::MustDial(receiver)
    }

    /// Returns whether a caller still waits for a dial.
    #[must_use]
    pub fn is_wanted(&self, key: &K) -> bool {
        let waiting = self.0.get(key).map(|(_, waiting)| waiting);
        waiting.is_some_and(|waiting| !waiting.iter().all(oneshot::Sender::is_canceled))
    }

    /// Sends `result` to the waiting callers. The dial continues, and further callers may join it.
    pub fn answer(&mut self, key: &K, result: &T) {
        let waiting = self.0.get_mut(key).map(|(_, waiting)| waiting);
        for waiting in waiting.into_iter().flat_map(std::mem::take) {
            let _ = waiting.send(result.clone());
        }
    }

    /// Ends a dial with its result. Returns whether there was one.
    pub fn finish(&mut self, key: &K, result: &T) -> bool {
        self.answer(key, result);
        self.0.remove(key).is_some()
    }

    /// Ends a dial without a result; its waiters see a closed channel.
    pub fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Sends `result` to the callers that wait for any dial.
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
