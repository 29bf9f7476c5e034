//! Publishes mirrored records in the DHT.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use skydht_core::item::Value;
use skydht_core::node::{PutError, PutOptions};
use skydht_core::time::Mono;
use skydht_discovery::publish::{
    Content, Failure, Limits, Publication, Publisher, RecordId, Stats,
};
use skydht_driver::Dht;
use skydht_driver::large::{self, ItemsError, WriteError};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Longest duration of one put.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Records that this process publishes for other owners. Clones share them.
#[derive(Clone)]
pub(crate) struct Publishing(Arc<Inner>);

struct Inner {
    publisher: Mutex<Publisher>,
    changed: Notify,
    begun: Instant,
}

impl Default for Publishing {
    fn default() -> Self {
        Self(Arc::new(Inner {
            publisher: Mutex::new(Publisher::new(Limits::default())),
            changed: Notify::new(),
            begun: Instant::now(),
        }))
    }
}

impl Publishing {
    fn publisher(&self) -> MutexGuard<'_, Publisher> {
        let publisher = self.0.publisher.lock();
        publisher.unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.0.begun.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Sets the content of a record. It is published later, by [`Publishing::run`].
    pub(crate) fn set(&self, id: &RecordId, content: Content) {
        let result = self.publisher().set(self.now(), id, content);
        if let Err(error) = result {
            tracing::warn!("{id} is not mirrored: {error}");
        }
        self.0.changed.notify_one();
    }

    /// Returns the counts so far.
    pub(crate) fn stats(&self) -> Stats {
        self.publisher().stats()
    }

    /// Publishes records that are due, until it is dropped.
    pub(crate) async fn run(&self, dht: Dht) {
        if dht.ready().await.is_err() {
            return;
        }
        let mut putting = JoinSet::new();
        loop {
            let next = {
                let mut publisher = self.publisher();
                while let Some(publication) = publisher.poll_output(self.now()) {
                    let dht = dht.clone();
                    putting.spawn(async move {
                        let result = put(&dht, &publication).await;
                        (publication.id, result)
                    });
                }
                publisher.next_deadline()
            };
            let due = async {
                match next {
                    Some(due) => tokio::time::sleep_until(self.0.begun + due.since(Mono(0))).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = putting.join_next() => {
                    // A put that panicked has no result to record.
                    if let Ok((id, result)) = ended {
                        if let Err(failure) = result {
                            tracing::debug!("{id} was not mirrored: {failure:?}");
                        }
                        self.publisher().finished(self.now(), &id, result);
                    }
                }
                () = due => {}
                () = self.0.changed.notified() => {}
            }
        }
    }
}

async fn put(dht: &Dht, publication: &Publication) -> Result<(), Failure> {
    let Publication { id, content } = publication;
    let options = PutOptions {
        mirror_of: (id.owner != dht.key()).then_some(id.owner),
        timeout: Some(TIMEOUT),
        ..PutOptions::default()
    };
    match content {
        Content::Value(bytes) => {
            let value = Value::new(bytes);
            let put = dht.put(id.salt.clone(), value, options).await;
            put.map(drop).map_err(|error| failure(&error))
        }
        Content::Gone => {
            let put = dht.put(id.salt.clone(), Value::new(b""), options).await;
            put.map(drop).map_err(|error| failure(&error))
        }
        Content::List(array) => {
            let written = large::write_list(dht, id.owner, &id.salt, &options, array).await;
            written.map(drop).map_err(|error| match error {
                WriteError::Chunk { error, .. } | WriteError::Item(error) => match error {
                    ItemsError::Put(error) => failure(&error),
                    _ => Failure::Again,
                },
                WriteError::TooLarge(_) | WriteError::SaltTooLong | WriteError::List(_) => {
                    Failure::Never
                }
                _ => Failure::Again,
            })
        }
    }
}

fn failure(error: &PutError) -> Failure {
    match error {
        PutError::OwnerPublishes { .. } => Failure::OwnerPublishes,
        PutError::Item(_) | PutError::NoSecretKey => Failure::Never,
        _ => Failure::Again,
    }
}
