//! A network in virtual time.

use std::time::Duration;

use futures::future::join_all;
use skydht_core::Seed;
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    BootstrapPeer, Config, GetError, GetOutcome, GetRequest, Identity, PutError, PutOptions,
    PutOutcome, ReadPolicy,
};
use skydht_driver::transport::memory::MemoryNetwork;
use skydht_driver::{Dht, StartOptions, Verifier};
use skydht_runtime::virtual_time::VirtualTime;

/// Virtual time, and a network in memory. The key of node `n` is derived from `n`.
pub(crate) struct World {
    seed: u64,
    time: VirtualTime,
    network: MemoryNetwork,
}

impl World {
    /// Creates a world without nodes.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            time: VirtualTime::new(seed),
            network: MemoryNetwork::new(),
        }
    }

    /// Starts `n` nodes and waits until they are ready; the others bootstrap from the first one.
    pub(crate) fn nodes(&self, n: u64) -> Vec<Dht> {
        let nodes: Vec<_> = (0..n).map(|n| self.start(n, config(n))).collect();
        let ready = self.run(join_all(nodes.iter().map(Dht::ready)));
        assert!(ready.iter().all(Result::is_ok));
        nodes
    }

    /// Starts node `n` without serving requests.
    pub(crate) fn client(&self, n: u64) -> Dht {
        let mut config = config(n);
        config.serve = false;
        self.start(n, config)
    }

    fn start(&self, n: u64, config: Config) -> Dht {
        let options = StartOptions {
            verifier: Verifier::inline(),
            ..StartOptions::default()
        };
        let transport = self.network.transport(key(n));
        let identity = Identity::Keyed(secret(n));
        let (runtime, seed) = (self.time.runtime(), self.seed << 32 | n);
        Dht::start_with(
            runtime,
            transport,
            config,
            identity,
            Seed::from_number(seed),
            options,
        )
        .unwrap()
    }

    /// Crashes nodes: their connections break, and they can no longer be reached.
    pub(crate) fn crash(&self, nodes: Vec<Dht>) {
        for node in nodes {
            self.network.disconnect(&node.key());
            // Replaces the crashed node's transport by one that is dropped immediately.
            drop(self.network.transport(node.key()));
        }
    }

    /// Advances virtual time until `future` completes.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.time.run_until(future).unwrap()
    }

    /// Advances virtual time.
    pub(crate) fn pass(&self, duration: Duration) {
        self.time.advance(duration).unwrap();
    }
}

fn config(n: u64) -> Config {
    let mut config = Config::default();
    if n > 0 {
        config.bootstrap = vec![BootstrapPeer {
            key: key(0),
            addrs: Vec::new(),
        }];
    }
    config
}

fn secret(n: u64) -> SecretKey {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&n.to_be_bytes());
    SecretKey::from_entropy(&entropy)
}

fn key(n: u64) -> PublicKey {
    secret(n).public()
}

fn salt() -> Salt {
    Salt::from("dmsg")
}

/// Publishes the single item of a node.
pub(crate) async fn put(node: &Dht, value: &[u8]) -> Result<PutOutcome, PutError> {
    let options = PutOptions::default();
    node.put(salt(), Value::new(value), options).await
}

/// Returns a request for the item of node `n`.
pub(crate) fn request(n: u64, policy: ReadPolicy) -> GetRequest {
    GetRequest::of(key(n), salt(), policy)
}

/// Reads the freshest version of node `n`'s item.
pub(crate) async fn get(node: &Dht, n: u64) -> Result<GetOutcome, GetError> {
    node.get(request(n, ReadPolicy::Freshest)).await
}
