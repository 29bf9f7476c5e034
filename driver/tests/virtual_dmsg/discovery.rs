//! Tests of the DHT as the discovery of the clients and relays that carry it.

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::item::{Salt, Value};
use skydht_core::node::{GetRequest, PutOptions, ReadPolicy};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::{Discovery as _, DiscoveryError};
use skydht_dmsg::endpoint::Listener;
use skydht_dmsg::object::Address;
use skydht_driver::transport::dmsg::{Relay, Via};
use skydht_driver::{Dht, DhtDiscovery};
use skydht_runtime::virtual_time::VirtualRuntime;

use crate::world::{BootstrapEntries, World, key, known, secret};

const PORT: u16 = 7;

/// A node, and the discovery that uses it.
struct Party {
    discovery: DhtDiscovery,
    dht: Dht,
}

/// A visor that knows only one relay.
struct Visor {
    party: Party,
    client: Client<VirtualRuntime>,
    listener: Listener,
}

impl World {
    /// Starts two relays with sessions between them, both full nodes.
    async fn relays(&self) -> [Party; 2] {
        let discoveries = [(); 2].map(|()| DhtDiscovery::default());
        let one = self.server_at(1, discoveries[0].clone()).await;
        let other = self.server_at(2, discoveries[1].clone()).await;
        let clients = [self.client(1, &[2]).await, self.client(2, &[1]).await];
        let mut parties = Vec::new();
        let servers = [one, other].into_iter().zip(clients);
        for ((n, (server, client)), discovery) in (1..).zip(servers).zip(discoveries) {
            let via = Via::Relay(Relay::new(server, client).unwrap());
            let dht = self.node_from(n, via, &[3 - n]).await;
            discovery.attach(&dht);
            parties.push(Party { discovery, dht });
        }
        parties.try_into().ok().unwrap()
    }

    async fn visor(&self, n: u8, relay: u8) -> Visor {
        let discovery = DhtDiscovery::new([key(relay)]);
        let mut config = ClientConfig::default();
        config.servers = vec![known(relay)];
        let (host, own) = (self.host(n), discovery.clone());
        let client = Client::start(host, secret(n), [n; 32], own, config);
        let listener = client.listen(PORT).unwrap();
        let via = Via::Client(client.clone());
        let dht = self.node_from(n, via, &[relay]).await;
        discovery.attach(&dht);
        dht.ready().await.unwrap();
        let party = Party { discovery, dht };
        Visor {
            party,
            client,
            listener,
        }
    }

    async fn node_from(&self, n: u8, via: Via<VirtualRuntime>, from: &[u8]) -> Dht {
        self.node_knowing(n, via, BootstrapEntries::default(), from)
            .await
    }
}

#[test]
fn visors_that_share_no_relay_find_each_other_in_the_dht() {
    let world = World::new();
    world.run(async {
        let relays = world.relays().await;
        let mut near = world.visor(11, 1).await;
        let mut far = world.visor(12, 2).await;
        for party in [&near.party, &far.party].into_iter().chain(&relays) {
            // The first attempts to publish were before the node existed.
            while party.discovery.entry(party.dht.key()).await.is_err() {
                world.sleep(1).await;
            }
        }
        assert_eq!(near.client.servers(), [key(1)]);
        for (from, to) in [(&near, 12), (&far, 11)] {
            let asked = from.client.dial(Address {
                key: key(to),
                port: PORT,
            });
            let mut stream = asked.await.unwrap();
            stream.write_all(b"found").await.unwrap();
            stream.close().await.unwrap();
        }
        for visor in [&mut near, &mut far] {
            let mut text = String::new();
            let mut stream = visor.listener.accept().await.unwrap();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "found");
        }
        let mut servers = near.party.discovery.servers().await.unwrap();
        servers.sort();
        let mut both = [known(1), known(2)];
        both.sort();
        assert_eq!(servers, both);
    });
}

#[test]
fn an_entry_is_put_again_only_when_it_says_something_new() {
    let world = World::new();
    let (relays, visor) = world.run(async { (world.relays().await, world.visor(11, 1).await) });
    let published = async || {
        let asked = GetRequest::of(key(11), Salt::from("dmsg"), ReadPolicy::Freshest);
        relays[0].dht.get(asked).await.map(|found| found.item.seq)
    };
    let first = world.run(async {
        while published().await.is_err() {
            world.sleep(1).await;
        }
        let first = published().await;
        let before = visor.client.stats().published;
        world.sleep(300).await;
        assert!(visor.client.stats().published >= before + 4);
        assert_eq!(published().await, first);
        first
    });
    world.run(world.sleep(550));
    assert_eq!(world.run(published()), first);
    world.run(world.sleep(120));
    assert!(world.run(published()).unwrap() > first.unwrap());
}

#[test]
fn what_is_no_entry_is_not_found_and_nothing_is_without_a_node() {
    let world = World::new();
    world.run(async {
        let [one, other] = world.relays().await;
        let value = Value::new(b"{}");
        let put = one
            .dht
            .put(Salt::from("dmsg"), value, PutOptions::default());
        put.await.unwrap();
        let found = other.discovery.entry(key(1)).await;
        assert_eq!(found, Err(DiscoveryError::NotFound));
        let found = other.discovery.entry(key(77)).await;
        assert_eq!(found, Err(DiscoveryError::NotFound));
        other.dht.shutdown().await;
        drop(other.dht);
        let found = other.discovery.entry(key(1)).await;
        assert!(matches!(found, Err(DiscoveryError::Unavailable(_))));
        let servers = other.discovery.servers().await;
        assert!(matches!(servers, Err(DiscoveryError::Unavailable(_))));
        let early = DhtDiscovery::new([key(1)]);
        assert_eq!(early.servers().await, Ok(Vec::new()));
        assert_eq!(early.entry(key(1)).await, Err(DiscoveryError::NotFound));
    });
}
