//! Publishing the server's entry: its address, and how many more clients it takes.

use std::sync::Arc;

use skydht_runtime::Runtime;

use super::{Notice, ServerInner};
use crate::discovery::DiscoveryError;
use crate::entry::{Entry, Half, ServerFields, SignedEntry};
use crate::publisher::{self, Cadence, EntryOwner, Publisher};
use crate::signal::Signal;

/// Spawns the task that publishes the entry until the server closes.
pub(super) fn spawn<R: Runtime>(shared: &Arc<ServerInner<R>>) {
    let config = &shared.config;
    let cadence = Cadence {
        interval: config.update_interval,
        debounce: config.debounce,
        retry: config.retry,
    };
    publisher::spawn(publisher(shared), shared, cadence);
}

fn publisher<R: Runtime>(shared: &ServerInner<R>) -> Publisher<R> {
    Publisher::new(
        shared.runtime.clone(),
        Arc::clone(&shared.discovery),
        shared.endpoint.secret().clone(),
        Half::Server,
        shared.config.discovery_timeout,
    )
}

/// Withdraws the entry that was published last, if any.
pub(super) async fn remove<R: Runtime>(shared: &ServerInner<R>) {
    let published = shared.table().take_published();
    if let Some(entry) = published {
        publisher(shared).withdraw(entry).await;
    }
}

impl<R: Runtime> EntryOwner for ServerInner<R> {
    /// How many more sessions it takes.
    type Content = usize;

    fn content(&self) -> Option<usize> {
        Some(self.table().room())
    }

    fn fill(&self, entry: &mut Entry, room: &usize) {
        entry.server = Some(ServerFields {
            address: self.address.clone(),
            available_sessions: i64::try_from(*room).unwrap_or(i64::MAX),
            server_type: self.config.server_type.clone(),
            dht_bootstrap: self.config.dht_bootstrap,
            ..ServerFields::default()
        });
    }

    fn published(&self, answer: Result<SignedEntry, DiscoveryError>) {
        match answer {
            Ok(entry) => {
                self.counters.published.count();
                self.table().set_published(entry);
            }
            Err(_) => self.counters.publish_failed.count(),
        }
        self.changes.raise();
    }

    fn published_plain(&self) {
        self.counters.plain_entries.count();
        self.config.notify.call(&Notice::PlainEntry);
    }

    fn changes(&self) -> &Signal {
        &self.changes
    }

    fn is_closed(&self) -> bool {
        self.table().is_closed()
    }
}
