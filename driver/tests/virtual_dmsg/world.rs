//! Servers, clients and nodes on hosts of their own, in virtual time.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use skydht_core::Seed;
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, GetRequest, PutOptions, ReadPolicy};
use skydht_dmsg::client::{Client, ClientConfig, LocalEntries};
use skydht_dmsg::discovery::{Discovery, FixedServers, KnownServer, MemoryDiscovery};
use skydht_dmsg::entry::{ClientFields, Entry};
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_driver::transport::dmsg::{DmsgOptions, DmsgTransport, Via};
use skydht_driver::{Dht, DmsgNode, Verifier};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};
use skydht_runtime::within;

pub(crate) fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

pub(crate) fn key(n: u8) -> PublicKey {
    secret(n).public()
}

pub(crate) fn ip(n: u8) -> IpAddr {
    [93, 184, 216, n].into()
}

pub(crate) fn known(n: u8) -> KnownServer {
    KnownServer {
        key: key(n),
        address: SocketAddr::new(ip(n), 8080),
    }
}

pub(crate) struct World(pub(crate) VirtualTime);

impl World {
    pub(crate) fn new() -> Self {
        Self(VirtualTime::new(7))
    }

    pub(crate) fn host(&self, n: u8) -> VirtualRuntime {
        self.0.host(ip(n))
    }

    #[track_caller]
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.0.runtime();
        let limited = within(&runtime, Duration::from_secs(600), future);
        let done = self.0.run_until(limited).expect("the world goes on");
        done.expect("not within ten minutes")
    }

    pub(crate) async fn server(&self, n: u8) -> Server<VirtualRuntime> {
        let discovery = MemoryDiscovery::new(self.0.runtime());
        self.server_at(n, discovery).await
    }

    pub(crate) async fn server_at(
        &self,
        n: u8,
        discovery: impl Discovery,
    ) -> Server<VirtualRuntime> {
        let config = ServerConfig::new(known(n).address);
        let starting = Server::start(self.host(n), secret(n), [n; 32], discovery, config);
        starting.await.unwrap()
    }

    /// Starts a client that is configured with these servers, and keeps sessions with all of them.
    pub(crate) async fn client(&self, n: u8, servers: &[u8]) -> Client<VirtualRuntime> {
        let mut config = ClientConfig::default();
        config.min_sessions = 0;
        let list = FixedServers::new(servers.iter().map(|n| known(*n)));
        let client = Client::start(self.host(n), secret(n), [n; 32], list, config);
        client.ready().await;
        while client.servers().len() < servers.len() {
            self.sleep(1).await;
        }
        client
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        use skydht_runtime::Runtime as _;
        let runtime = self.0.runtime();
        runtime.sleep(Duration::from_secs(seconds)).await;
    }

    pub(crate) fn transport(
        &self,
        n: u8,
        client: &Client<VirtualRuntime>,
        options: DmsgOptions,
    ) -> DmsgTransport<VirtualRuntime> {
        DmsgTransport::new(self.host(n), Via::Client(client.clone()), options).unwrap()
    }

    pub(crate) async fn node(
        &self,
        n: u8,
        via: Via<VirtualRuntime>,
        entries: BootstrapEntries,
    ) -> Dht {
        self.node_knowing(n, via, entries, &[BOOTSTRAP]).await
    }

    pub(crate) async fn node_knowing(
        &self,
        n: u8,
        via: Via<VirtualRuntime>,
        entries: BootstrapEntries,
        bootstrap: &[u8],
    ) -> Dht {
        let mut node = DmsgNode::new(secret(n), via);
        node.config.bootstrap = bootstrap
            .iter()
            .filter(|peer| **peer != n)
            .map(|peer| BootstrapPeer {
                key: key(*peer),
                addrs: Vec::new(),
            })
            .collect();
        node.dmsg.entries = Arc::new(entries);
        node.seed = Some(Seed::from_number(u64::from(n)));
        node.options.verifier = Verifier::inline();
        node.start_on(self.host(n), || Ok([n; 32])).await.unwrap()
    }
}

/// The first visor, from which the others bootstrap.
pub(crate) const BOOTSTRAP: u8 = 11;

/// Bootstrap data: local entries.
#[derive(Clone, Default)]
pub(crate) struct BootstrapEntries(BTreeMap<PublicKey, Entry>);

impl BootstrapEntries {
    /// Creates entries of these clients, each at this server.
    pub(crate) fn of(clients: &[(u8, u8)], servers: &[u8]) -> Self {
        let clients = clients.iter().map(|(client, server)| {
            let mut entry = Entry::new(key(*client), 0, 1);
            entry.client = Some(ClientFields {
                delegated_servers: Some(vec![key(*server)]),
            });
            (key(*client), entry)
        });
        let servers = servers.iter().map(|n| {
            let mut entry = Entry::new(key(*n), 0, 1);
            entry.server = Some(skydht_dmsg::entry::ServerFields {
                address: known(*n).address.to_string(),
                ..Default::default()
            });
            (key(*n), entry)
        });
        Self(clients.chain(servers).collect())
    }
}

impl LocalEntries for BootstrapEntries {
    fn entry(&self, key: &PublicKey) -> Option<Entry> {
        self.0.get(key).cloned()
    }
}

pub(crate) async fn put_and_get(writer: &Dht, reader: &Dht, salt: &'static str) {
    let value = Value::new(salt.as_bytes());
    let put = writer.put(Salt::from(salt), value.clone(), PutOptions::default());
    put.await.unwrap();
    let request = GetRequest::of(writer.key(), Salt::from(salt), ReadPolicy::Freshest);
    assert_eq!(reader.get(request).await.unwrap().item.value, value);
}
