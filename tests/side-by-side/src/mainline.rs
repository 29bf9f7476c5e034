//! mainline, BitTorrent's DHT: UDP, and mutable items that their publisher signs (BEP 44).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::StreamExt as _;
use mainline::async_dht::AsyncDht;
use mainline::{Dht, Id, MutableItem, ServerSettings, SigningKey};

use crate::bench::{Facts, Found, WARM_CONCURRENCY};
use crate::measure::{each, open_files, secret};
use crate::{Bench as Options, Result};

/// Each node starts from this many earlier ones, as ours do. A node asks those again in each lookup
/// for which its own table has fewer peers than these.
const BOOTSTRAP_PEERS: usize = 3;
/// Lookups of each node before anything is measured. They fill its table, and it stores at more
/// nodes than the 20 nearest until some twenty lookups have shown that all addresses are alike.
const WARM_LOOKUPS: usize = 30;
/// Files that a process has open anyway.
const OTHER_FILES: u64 = 64;
/// There is one version of each item.
const SEQ: i64 = 1;

/// The network.
pub(crate) struct Network {
    nodes: Vec<AsyncDht>,
    ids: Vec<Id>,
    keys: Vec<SigningKey>,
    /// Copies that holders have acknowledged.
    copies: AtomicUsize,
}

impl crate::bench::Network for Network {
    const CRATE: &'static str = "mainline";
    const TRANSPORT: &'static str = "udp";

    async fn start(options: &Options) -> Result<Self> {
        let count = usize::from(options.nodes);
        open_files(count as u64 + OTHER_FILES)?;
        // The store's quotas are not what is measured.
        let settings = ServerSettings {
            max_mutable_values: (options.ops + options.warm_up) as usize,
            ..ServerSettings::default()
        };
        let (mut nodes, mut ids, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let earlier = addresses.iter().rev().take(BOOTSTRAP_PEERS);
            let earlier: Vec<String> = earlier.cloned().collect();
            // Without a list it would ask the public network.
            let mut builder = Dht::builder();
            builder
                .no_bootstrap()
                .extra_bootstrap(&earlier)
                .bind_address(Ipv4Addr::LOCALHOST)
                .port(0)
                .server_mode()
                .server_settings(settings.clone());
            let node = builder
                .build()
                .map_err(|error| error.to_string())?
                .as_async();
            let info = node.info().await;
            addresses.push(info.local_addr().to_string());
            ids.push(*info.id());
            nodes.push(node);
        }
        let keys = (0..count).map(|index| SigningKey::from_bytes(&secret(options.seed, index)));
        let keys = keys.collect();
        let joining = nodes.clone();
        let joined = each(count, WARM_CONCURRENCY, move |index| {
            let node = joining[index].clone();
            async move { node.bootstrapped().await }
        })
        .await;
        // The first node may have had no other to ask yet.
        match joined.iter().skip(1).position(|joined| !joined) {
            Some(index) => Err(format!("node {} found no other", index + 1)),
            None => Ok(Self {
                nodes,
                ids,
                keys,
                copies: AtomicUsize::new(0),
            }),
        }
    }

    /// There are no sessions; each node looks for some of the others.
    async fn meet(self: &Arc<Self>) -> Result<()> {
        let count = self.nodes.len();
        let lookups = WARM_LOOKUPS * count;
        let network = Arc::clone(self);
        let _: Vec<()> = each(lookups, WARM_CONCURRENCY, move |index| {
            let network = Arc::clone(&network);
            async move {
                let (node, round) = (index % count, index / count);
                let target = network.ids[(node + 1 + round * count / WARM_LOOKUPS) % count];
                // Not by find_node: the first node would take its target for the asker's id.
                network.nodes[node].get_closest_nodes(target).await;
            }
        })
        .await;
        Ok(())
    }

    async fn put(&self, node: usize, salt: &str, value: Vec<u8>) -> Result<()> {
        let key = self.keys[node].clone();
        let item = MutableItem::new(key, &value, SEQ, Some(salt.as_bytes()));
        let stored = self.nodes[node].put_mutable(item, None).await;
        let stored = stored.map_err(|error| error.to_string())?;
        self.copies.fetch_add(stored.stored_at as usize, Relaxed);
        Ok(())
    }

    /// A node that holds it asks itself over UDP, as it asks others.
    async fn get(&self, node: usize, owner: usize, salt: &str) -> Result<Found> {
        let key = self.keys[owner].verifying_key().to_bytes();
        let mut found = self.nodes[node].get_mutable_detailed(&key, Some(salt.as_bytes()), None);
        let Some(item) = found.items.next().await else {
            return Err(format!("no item: {:?}", found.outcome.recv().await));
        };
        Ok(Found {
            value: item.value().to_vec(),
            local: false,
        })
    }

    async fn facts(&self) -> Result<Facts> {
        let mut known_peers = 0;
        for node in &self.nodes {
            known_peers += node.to_bootstrap().await.len();
        }
        Ok(Facts {
            sessions: 0,
            known_peers,
            copies: self.copies.load(Relaxed),
        })
    }
}
