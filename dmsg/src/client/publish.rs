//! Publishing the client's entry, which names the servers that we have sessions with.

use std::sync::Arc;

use skydht_core::key::PublicKey;
use skydht_runtime::Runtime;

use super::ClientInner;
use crate::discovery::DiscoveryError;
use crate::entry::{ClientFields, Entry, Half, SignedEntry};
use crate::publisher::{self, Cadence, EntryOwner, Publisher};
use crate::signal::Signal;

/// Spawns the task that publishes the entry until the client closes.
pub(super) fn spawn<R: Runtime>(shared: &Arc<ClientInner<R>>) {
    let config = &shared.config;
    let cadence = Cadence {
        interval: config.update_interval,
        debounce: config.debounce,
        retry: config.retry,
    };
    publisher::spawn(publisher(shared), shared, cadence);
}

fn publisher<R: Runtime>(shared: &ClientInner<R>) -> Publisher<R> {
    Publisher::new(
        shared.runtime.clone(),
        Arc::clone(&shared.discovery),
        shared.endpoint.secret().clone(),
        Half::Client,
        shared.config.discovery_timeout,
    )
}

/// Withdraws the entry that was published last, if any.
pub(super) async fn remove<R: Runtime>(shared: &ClientInner<R>) {
    let published = shared.table().take_published();
    if let Some(entry) = published {
        publisher(shared).withdraw(entry).await;
    }
}

impl<R: Runtime> EntryOwner for ClientInner<R> {
    type Content = Vec<PublicKey>;

    fn content(&self) -> Option<Vec<PublicKey>> {
        let table = self.table();
        let servers = table.servers();
        // Before the first session there is nothing to publish. Later, an empty list replaces lost
        // servers.
        (!servers.is_empty() || table.stats().published > 0).then_some(servers)
    }

    fn fill(&self, entry: &mut Entry, servers: &Vec<PublicKey>) {
        entry.client = Some(ClientFields {
            delegated_servers: Some(servers.clone()),
        });
        entry.client_type.clone_from(&self.config.client_type);
    }

    fn published(&self, answer: Result<SignedEntry, DiscoveryError>) {
        {
            let mut table = self.table();
            table.set_publish_tried();
            match answer {
                Ok(entry) => table.set_published(entry),
                Err(_) => table.stats_mut().publish_failed += 1,
            }
        }
        self.changes.raise();
    }

    fn changes(&self) -> &Signal {
        &self.changes
    }

    fn is_closed(&self) -> bool {
        self.table().is_closed()
    }
}
