//! Who may stay connected: bounded in all, and fair to new clients.
//!
//! When there is no room for one more connection, another one goes: of those that ask for nothing
//! just now and have not for a while, one of the source that has the most, and there the one that
//! was quiet longest. A connection that sends half a request, or does not read its answers, is
//! quiet. Those that showed a right to be here go last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

/// A connection may be quiet for this long without being sent away.
const GRACE: Duration = Duration::from_millis(100);

struct Connection<S> {
    source: S,
    /// When it came, or its last request ended.
    quiet_since: Instant,
    /// It waits for an answer that is being made.
    asks: bool,
    is_trusted: bool,
    _kill: oneshot::Sender<()>,
}

struct Table<S> {
    last_id: u64,
    connections: BTreeMap<u64, Connection<S>>,
}

/// Room for a number of connections from sources such as addresses.
pub(crate) struct Places<S> {
    most: usize,
    table: Mutex<Table<S>>,
    /// Wakes the tasks that wait: something may have changed for them.
    changed: Notify,
}

impl<S: Ord + Clone> Places<S> {
    /// Room for `most` connections, at least one.
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

    /// Takes a place, at another connection's cost if there is none free. Waits while no connection
    /// may be sent away.
    pub(crate) async fn take(self: &Arc<Self>, source: S) -> Place<S> {
        loop {
            let changed = self.changed.notified();
            match self.try_take(&source) {
                Ok(place) => return place,
                Err(None) => changed.await,
                Err(Some(wait)) => {
                    let _ = timeout(wait, changed).await;
                }
            }
        }
    }

    /// A place; else how long until a connection can be closed, if nothing happens before.
    fn try_take(self: &Arc<Self>, source: &S) -> Result<Place<S>, Option<Duration>> {
        let mut table = self.lock();
        if table.connections.len() >= self.most {
            let (id, quiet_since) = table.most_dispensable().ok_or(None)?;
            let wait = (quiet_since + GRACE).saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return Err(Some(wait));
            }
            table.connections.remove(&id);
        }
        table.last_id += 1;
        let id = table.last_id;
        let (kill, killed) = oneshot::channel();
        table.connections.insert(
            id,
            Connection {
                source: source.clone(),
                quiet_since: Instant::now(),
                asks: false,
                is_trusted: false,
                _kill: kill,
            },
        );
        Ok(Place {
            id,
            places: Arc::clone(self),
            killed: Some(killed),
        })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().connections.len()
    }
}

impl<S: Ord> Table<S> {
    /// Who goes first, and since when it is quiet: a newcomer waits for that one's grace to be
    /// over rather than send another one away.
    fn most_dispensable(&self) -> Option<(u64, Instant)> {
        let mut counts: BTreeMap<&S, usize> = BTreeMap::new();
        for connection in self.connections.values() {
            *counts.entry(&connection.source).or_default() += 1;
        }
        self.connections
            .iter()
            .filter(|(_, it)| !it.asks)
            .min_by_key(|(_, it)| {
                let of_source = counts.get(&it.source).copied().unwrap_or_default();
                (it.is_trusted, std::cmp::Reverse(of_source), it.quiet_since)
            })
            .map(|(id, it)| (*id, it.quiet_since))
    }
}

/// A connection's place, given back on drop.
pub(crate) struct Place<S: Ord + Clone> {
    id: u64,
    places: Arc<Places<S>>,
    killed: Option<oneshot::Receiver<()>>,
}

impl<S: Ord + Clone> Place<S> {
    /// Completes when the connection must make room. To be asked for once.
    pub(crate) fn killed(&mut self) -> impl Future<Output = ()> + use<S> {
        let killed = self.killed.take();
        async move {
            match killed {
                Some(killed) => drop(killed.await),
                None => std::future::pending().await,
            }
        }
    }

    fn with(&self, change: impl FnOnce(&mut Connection<S>)) {
        if let Some(connection) = self.places.lock().connections.get_mut(&self.id) {
            change(connection);
        }
        self.places.changed.notify_one();
    }

    /// A request came, or its answer is made.
    pub(crate) fn set_asks(&self, asks: bool) {
        self.with(|connection| {
            connection.asks = asks;
            connection.quiet_since = Instant::now();
        });
    }

    /// It showed a right to be here.
    pub(crate) fn trust(&self) {
        self.with(|connection| connection.is_trusted = true);
    }
}

impl<S: Ord + Clone> Drop for Place<S> {
    fn drop(&mut self) {
        self.places.lock().connections.remove(&self.id);
        self.places.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken(places: &Arc<Places<u8>>, source: u8) -> Place<u8> {
        timeout(2 * GRACE, places.take(source))
            .await
            .expect("a place")
    }

    async fn is_killed(place: &mut Place<u8>) -> bool {
        let killed = std::pin::pin!(place.killed());
        timeout(Duration::ZERO, killed).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_source_with_the_most_quiet_connections_makes_room() {
        let places = Places::new(4);
        let mut honest = taken(&places, 1).await;
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(taken(&places, 2).await);
            assert!(places.len() <= 4);
        }
        let mut newcomer = taken(&places, 3).await;
        assert!(is_killed(&mut flood[17]).await && !is_killed(&mut flood[19]).await);
        assert!(!is_killed(&mut honest).await && !is_killed(&mut newcomer).await);
        assert_eq!(places.len(), 4);
        drop(flood);
        assert_eq!(places.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_or_is_trusted_stays_and_grace_is_given() {
        let places = Places::new(3);
        let (asking, trusted) = (taken(&places, 1).await, taken(&places, 1).await);
        asking.set_asks(true);
        trusted.trust();
        let mut quiet = taken(&places, 2).await;
        let begun = Instant::now();
        let next = taken(&places, 3).await;
        assert!(begun.elapsed() >= GRACE, "a moment is given");
        assert!(is_killed(&mut quiet).await);
        next.set_asks(true);
        // Now only the trusted one is quiet.
        let last = taken(&places, 3).await;
        last.set_asks(true);
        assert!(timeout(10 * GRACE, places.take(4)).await.is_err());
        // A waiting client goes on when an answer is made, or a connection ends.
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(4).await }
        });
        tokio::task::yield_now().await;
        drop(last);
        let _four = timeout(Duration::from_millis(1), waiting).await.unwrap();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take(5).await }
        });
        tokio::task::yield_now().await;
        asking.set_asks(false);
        assert!(timeout(2 * GRACE, waiting).await.is_ok());
    }
}
