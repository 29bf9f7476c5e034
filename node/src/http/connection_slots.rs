//! Admission of connections: bounded in total, and fair to new clients.
//!
//! When all slots are taken, a new connection replaces an idle one: the longest idle connection of
//! the source with the most of them. A connection is idle while no request of it is being answered;
//! one that sends a request slowly, or does not read responses, is therefore idle. Trusted
//! connections are replaced last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

/// Minimum idle time before a connection may be replaced.
const GRACE: Duration = Duration::from_millis(100);

struct Connection<S> {
    source: S,
    /// When it was opened, or its last request was answered.
    idle_since: Instant,
    /// Whether a request is being answered.
    is_answering: bool,
    is_trusted: bool,
    _evict: oneshot::Sender<()>,
}

struct Table<S> {
    last_id: u64,
    connections: BTreeMap<u64, Connection<S>>,
}

/// A bounded number of slots for connections from sources such as IP addresses.
pub(crate) struct ConnectionSlots<S> {
    most: usize,
    table: Mutex<Table<S>>,
    /// Notified on changes that may free a slot.
    changed: Notify,
}

impl<S: Ord + Clone> ConnectionSlots<S> {
    /// Creates `most` slots, at least one.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most: most.max(1),
            table: Mutex::new(Table {
                last_id: 0,
                connections: BTreeMap::new(),
            }),
            changed: Notify::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Table<S>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a slot, if necessary by replacing an idle connection. Waits while no connection may
    /// be replaced.
    pub(crate) async fn acquire(self: &Arc<Self>, source: S) -> ConnectionSlot<S> {
        loop {
            let changed = self.changed.notified();
            match self.try_acquire(&source) {
                Ok(slot) => return slot,
                Err(None) => changed.await,
                Err(Some(wait)) => {
                    let _ = timeout(wait, changed).await;
                }
            }
        }
    }

    /// Acquires a slot if possible; otherwise returns the time until an idle connection may be
    /// replaced, or `None` if there is no idle connection.
    fn try_acquire(self: &Arc<Self>, source: &S) -> Result<ConnectionSlot<S>, Option<Duration>> {
        let mut table = self.lock();
        if table.connections.len() >= self.most {
            let (id, idle_since) = table.next_to_evict().ok_or(None)?;
            let wait = (idle_since + GRACE).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Err(Some(wait));
            }
            table.connections.remove(&id);
        }
        table.last_id += 1;
        let id = table.last_id;
        let (evict, evicted) = oneshot::channel();
        table.connections.insert(
            id,
            Connection {
                source: source.clone(),
                idle_since: Instant::now(),
                is_answering: false,
                is_trusted: false,
                _evict: evict,
            },
        );
        Ok(ConnectionSlot {
            id,
            slots: Arc::clone(self),
            evicted: Some(evicted),
        })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().connections.len()
    }
}

impl<S: Ord> Table<S> {
    /// Returns the connection to replace next, and since when it is idle. A new connection waits
    /// for this one's grace period, even if another one's ends earlier.
    fn next_to_evict(&self) -> Option<(u64, Instant)> {
        let mut counts: BTreeMap<&S, usize> = BTreeMap::new();
        for connection in self.connections.values() {
            *counts.entry(&connection.source).or_default() += 1;
        }
        self.connections
            .iter()
            .filter(|(_, it)| !it.is_answering)
            .min_by_key(|(_, it)| {
                let of_source = counts.get(&it.source).copied().unwrap_or_default();
                (it.is_trusted, std::cmp::Reverse(of_source), it.idle_since)
            })
            .map(|(id, it)| (*id, it.idle_since))
    }
}

/// A connection's slot, which is released on drop.
pub(crate) struct ConnectionSlot<S: Ord + Clone> {
    id: u64,
    slots: Arc<ConnectionSlots<S>>,
    evicted: Option<oneshot::Receiver<()>>,
}

impl<S: Ord + Clone> ConnectionSlot<S> {
    /// Completes when the connection must close. Only the first call returns a future that can
    /// complete.
    pub(crate) fn evicted(&mut self) -> impl Future<Output = ()> + use<S> {
        let evicted = self.evicted.take();
        async move {
            match evicted {
                Some(evicted) => drop(evicted.await),
                None => std::future::pending().await,
            }
        }
    }

    fn with(&self, change: impl FnOnce(&mut Connection<S>)) {
        if let Some(connection) = self.slots.lock().connections.get_mut(&self.id) {
            change(connection);
        }
        self.slots.changed.notify_one();
    }

    /// Marks the start or the end of a request.
    pub(crate) fn set_answering(&self, is_answering: bool) {
        self.with(|connection| {
            connection.is_answering = is_answering;
            connection.idle_since = Instant::now();
        });
    }

    /// Marks the connection as trusted.
    pub(crate) fn trust(&self) {
        self.with(|connection| connection.is_trusted = true);
    }
}

impl<S: Ord + Clone> Drop for ConnectionSlot<S> {
    fn drop(&mut self) {
        self.slots.lock().connections.remove(&self.id);
        self.slots.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn acquired(slots: &Arc<ConnectionSlots<u8>>, source: u8) -> ConnectionSlot<u8> {
        timeout(2 * GRACE, slots.acquire(source))
            .await
            .expect("a place")
    }

    async fn is_evicted(slot: &mut ConnectionSlot<u8>) -> bool {
        let evicted = std::pin::pin!(slot.evicted());
        timeout(Duration::ZERO, evicted).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_source_with_the_most_quiet_connections_makes_room() {
        let slots = ConnectionSlots::new(4);
        let mut honest = acquired(&slots, 1).await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(acquired(&slots, 2).await);
            assert!(slots.len() <= 4);
        }
        let mut newcomer = acquired(&slots, 3).await;
        assert!(is_evicted(&mut flood[17]).await && !is_evicted(&mut flood[19]).await);
        assert!(!is_evicted(&mut honest).await && !is_evicted(&mut newcomer).await);
        assert_eq!(slots.len(), 4);
        drop(flood);
        assert_eq!(slots.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_or_is_trusted_stays_and_grace_is_given() {
        let slots = ConnectionSlots::new(3);
        let (asking, trusted) = (acquired(&slots, 1).await, acquired(&slots, 1).await);
        asking.set_answering(true);
        trusted.trust();
        let mut quiet = acquired(&slots, 2).await;
        let begun = Instant::now();
        let next = acquired(&slots, 3).await;
        assert!(begun.elapsed() >= GRACE, "a moment is given");
        assert!(is_evicted(&mut quiet).await);
        next.set_answering(true);
        // Only the trusted connection is idle now.
        let last = acquired(&slots, 3).await;
        last.set_answering(true);
        assert!(timeout(10 * GRACE, slots.acquire(4)).await.is_err());
        // A waiting client proceeds when a request has been answered, or a connection ends.
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.acquire(4).await }
        });
        tokio::task::yield_now().await;
        drop(last);
        let _four = timeout(Duration::from_millis(1), waiting).await.unwrap();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.acquire(5).await }
        });
        tokio::task::yield_now().await;
        asking.set_answering(false);
        assert!(timeout(2 * GRACE, waiting).await.is_ok());
    }
}
