//! Publishing in the DHT what visors registered at discovery services: services somewhere else that are
//! followed over HTTP, or one of this process.

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

/// Own items that a node renews, at least, when it mirrors: a production's visors several times over.
const OWN_ITEMS: usize = 100_000;

/// Lets a node of this key keep what it mirrors, and read it.
pub(crate) fn prepare(config: &mut Config, own: PublicKey) {
    if !config.mirrors.contains(&own) {
        config.mirrors.push(own);
    }
    let limit = &mut config.limits.own_items;
    *limit = (*limit).max(OWN_ITEMS);
}

/// What a node mirrors. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Mirror {
    publishing: Publishing,
    sources: Arc<follow::Sources>,
}

impl Mirror {
    /// Of these services; nothing happens before [`Mirror::run`].
    pub(crate) fn new(settings: &MirrorSettings) -> Self {
        Self {
            publishing: Publishing::default(),
            sources: Arc::new(follow::Sources::new(settings)),
        }
    }

    /// What it publishes.
    pub(crate) fn publishing(&self) -> Publishing {
        self.publishing.clone()
    }

    /// Follows the services and publishes, until it is dropped.
    pub(crate) async fn run(self, dht: Dht, exchanger: Exchanger) {
        let changes = follow::run(&self.sources, exchanger, |id, content| {
            self.publishing.set(id, content);
        });
        tokio::join!(changes, self.publishing.run(dht));
    }

    /// How it is.
    pub(crate) fn report(&self) -> MirrorReport {
        MirrorReport::new(self.sources.reports(), self.publishing.stats())
    }
}
