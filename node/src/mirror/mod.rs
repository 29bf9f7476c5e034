//! Publishes in the DHT what visors registered at discovery services: at remote ones, which are
//! followed over HTTP, or at those of this process.

mod follow;
mod publish;

use std::sync::Arc;

use skydht_core::key::PublicKey;
use skydht_core::node::Config;
use skydht_driver::Dht;

use crate::config::MirrorSettings;
use crate::http::Exchanger;
use crate::report::MirrorReport;

pub(crate) use publish::Publishing;

/// Minimum limit of own items for a mirroring node: several times the visors of the production
/// network.
const OWN_ITEMS: usize = 100_000;

/// Adjusts the configuration, so that the node with this key stores what it mirrors, and reads it.
pub(crate) fn prepare(config: &mut Config, own: PublicKey) {
    if !config.mirrors.contains(&own) {
        config.mirrors.push(own);
    }
    let limit = &mut config.limits.own_items;
    *limit = (*limit).max(OWN_ITEMS);
}

/// The mirror of a node. Clones share its state.
#[derive(Clone)]
pub(crate) struct Mirror {
    publishing: Publishing,
    sources: Arc<follow::Sources>,
}

impl Mirror {
    /// Creates a mirror of the configured services; nothing happens before [`Mirror::run`].
    pub(crate) fn new(settings: &MirrorSettings) -> Self {
        Self {
            publishing: Publishing::default(),
            sources: Arc::new(follow::Sources::new(settings)),
        }
    }

    /// Returns the publisher of mirrored records.
    pub(crate) fn publishing(&self) -> Publishing {
        self.publishing.clone()
    }

    /// Follows the services and publishes changes, until it is dropped.
    pub(crate) async fn run(self, dht: Dht, exchanger: Exchanger) {
        let changes = follow::run(&self.sources, exchanger, |id, content| {
            self.publishing.set(id, content);
        });
        tokio::join!(changes, self.publishing.run(dht));
    }

    /// Reports the state of the mirror.
    pub(crate) fn report(&self) -> MirrorReport {
        MirrorReport::new(self.sources.reports(), self.publishing.stats())
    }
}
