//! The DHT over DMSG in virtual time.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use skydht_core::Seed;
use skydht_core::item::{Salt, Value};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{
    Addrs, BootstrapPeer, GetRequest, OpenFailure, PingError, PutOptions, Reach, ReadPolicy,
    SessionUse,
};
use skydht_core::wire::{FrameDecoder, Response, ResponseMessage, Sender, Side, encode_response};
use skydht_dmsg::client::{Client, ClientConfig, LocalEntries};
use skydht_dmsg::discovery::{FixedServers, KnownServer, MemoryDiscovery};
use skydht_dmsg::endpoint::DmsgStream;
use skydht_dmsg::entry::{ClientFields, Entry};
use skydht_dmsg::server::{Server, ServerConfig};
use skydht_driver::testing::{Pair, conformance};
use skydht_driver::transport::dmsg::{DmsgOptions, DmsgTransport, Via};
use skydht_driver::{Dht, DmsgNode, Transport as _, Verifier};
use skydht_runtime::virtual_time::{VirtualRuntime, VirtualTime};
use skydht_runtime::within;

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn key(n: u8) -> PublicKey {
    secret(n).public()
}

fn ip(n: u8) -> IpAddr {
    [93, 184, 216, n].into()
}

fn known(n: u8) -> KnownServer {
    KnownServer {
        key: key(n),
        address: SocketAddr::new(ip(n), 8080),
    }
}

struct World(VirtualTime);

impl World {
    fn new() -> Self {
        Self(VirtualTime::new(7))
    }

    fn host(&self, n: u8) -> VirtualRuntime {
        self.0.host(ip(n))
    }

    #[track_caller]
    fn run<F: Future>(&self, future: F) -> F::Output {
        let runtime = self.0.runtime();
        let limited = within(&runtime, Duration::from_secs(600), future);
        let done = self.0.run_until(limited).expect("the world goes on");
        done.expect("not within ten minutes")
    }

    async fn server(&self, n: u8) -> Server<VirtualRuntime> {
        let discovery = MemoryDiscovery::new(self.0.runtime());
        let config = ServerConfig::new(known(n).address);
        let starting = Server::start(self.host(n), secret(n), [n; 32], discovery, config);
        starting.await.unwrap()
    }

    /// A client that is told of these servers, and keeps sessions with all of them.
    async fn client(&self, n: u8, servers: &[u8]) -> Client<VirtualRuntime> {
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

    async fn sleep(&self, seconds: u64) {
        use skydht_runtime::Runtime as _;
        let runtime = self.0.runtime();
        runtime.sleep(Duration::from_secs(seconds)).await;
    }

    fn transport(
        &self,
        n: u8,
        client: &Client<VirtualRuntime>,
        options: DmsgOptions,
    ) -> DmsgTransport<VirtualRuntime> {
        DmsgTransport::new(self.host(n), Via::Client(client.clone()), options).unwrap()
    }

    async fn node(&self, n: u8, via: Via<VirtualRuntime>, entries: Book) -> Dht {
        let mut node = DmsgNode::new(secret(n), via);
        node.config.bootstrap = [BOOTSTRAP]
            .into_iter()
            .filter(|peer| *peer != n)
            .map(|peer| BootstrapPeer {
                key: key(peer),
                addrs: Vec::new(),
            })
            .collect();
        node.dmsg.entries = Arc::new(entries);
        node.seed = Some(Seed::from_number(u64::from(n)));
        node.options.verifier = Verifier::inline();
        node.start(self.host(n), || Ok([n; 32])).await.unwrap()
    }
}

/// The first visor, from which the others start.
const BOOTSTRAP: u8 = 11;

/// Bootstrap data: entries at hand.
#[derive(Clone, Default)]
struct Book(BTreeMap<PublicKey, Entry>);

impl Book {
    /// These clients, each at this server.
    fn of(clients: &[(u8, u8)], servers: &[u8]) -> Self {
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

impl LocalEntries for Book {
    fn entry(&self, key: &PublicKey) -> Option<Entry> {
        self.0.get(key).cloned()
    }
}

async fn put_and_get(writer: &Dht, reader: &Dht, salt: &'static str) {
    let value = Value::new(salt.as_bytes());
    let put = writer.put(Salt::from(salt), value.clone(), PutOptions::default());
    put.await.unwrap();
    let request = GetRequest::of(writer.key(), Salt::from(salt), ReadPolicy::Freshest);
    assert_eq!(reader.get(request).await.unwrap().item.value, value);
}

#[test]
fn the_transport_conforms() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let mut options = DmsgOptions::default();
        options.close_sessions = true;
        let pair = Pair {
            near: world.transport(11, &near, options.clone()),
            far: world.transport(12, &far, options),
            far_addrs: Addrs::new(),
            absent: (key(13), Addrs::new()),
        };
        conformance(pair).await;
    });
}

#[test]
fn visors_and_relay_put_and_get_all_ways_without_a_new_connection() {
    let world = World::new();
    world.run(async {
        let server = world.server(1).await;
        let (first, second) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let before = world.0.connections().len();
        let first = world.node(11, Via::Client(first), Book::default()).await;
        let second = world.node(12, Via::Client(second), Book::default()).await;
        let relay = world.node(1, Via::Server(server), Book::default()).await;
        let nodes = [("a", first), ("b", second), ("c", relay)];
        for (_, node) in &nodes {
            node.ready().await.unwrap();
        }
        for (salt, writer) in &nodes {
            for (_, reader) in &nodes {
                put_and_get(writer, reader, salt).await;
            }
        }
        assert_eq!(world.0.connections().len(), before);
    });
}

#[test]
fn peers_that_share_no_server_meet_by_bootstrap_data_and_only_if_they_may_dial() {
    let world = World::new();
    world.run(async {
        let (_first, second) = (world.server(1).await, world.server(2).await);
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[2]).await);
        let book = Book::of(&[(11, 1), (12, 2)], &[1, 2]);
        let mut options = DmsgOptions::default();
        options.entries = Arc::new(book.clone());
        let probe = world.transport(11, &near, options);
        let open = probe.open(key(12), Addrs::new(), SessionUse::ReuseOnly);
        assert!(open.await.is_err());
        assert_eq!(second.stats().sessions, 1);
        let _far = world.transport(12, &far, DmsgOptions::default());
        let open = probe.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        assert!(open.await.is_ok());
        assert_eq!(second.stats().sessions, 2);
    });
}

#[test]
fn visors_behind_two_servers_that_share_no_client_put_and_get_both_ways() {
    let world = World::new();
    world.run(async {
        let _servers = (world.server(1).await, world.server(2).await);
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[2]).await);
        let book = Book::of(&[(11, 1), (12, 2)], &[1, 2]);
        let near = world.node(11, Via::Client(near), book.clone()).await;
        let far = world.node(12, Via::Client(far), book).await;
        near.ready().await.unwrap();
        far.ready().await.unwrap();
        put_and_get(&near, &far, "there").await;
        put_and_get(&far, &near, "back").await;
    });
}

#[test]
fn peers_without_a_dht_are_left_alone_until_they_show_one() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (near, far) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let near = world.transport(11, &near, DmsgOptions::default());
        let open = || near.open(key(12), Addrs::new(), SessionUse::ReuseOrDial);
        assert_eq!(open().await.err(), Some(OpenFailure::Unreachable));
        assert_eq!((near.stats().without_dht, near.stats().avoided), (1, 0));
        let far = world.transport(12, &far, DmsgOptions::default());
        assert_eq!(open().await.err(), Some(OpenFailure::Unreachable));
        assert_eq!(near.stats().avoided, 1);
        let opened = far.open(key(11), Addrs::new(), SessionUse::ReuseOnly).await;
        assert_eq!(opened.unwrap().1.reach, Reach::Relayed);
        let accepted = poll_fn(|cx| near.poll_accept(cx)).await.unwrap();
        assert_eq!(accepted.peer, key(12));
        assert!(open().await.is_ok());
    });
}

/// Reads the request that a stream begins with; does not answer.
async fn read_request(stream: &mut DmsgStream) {
    let mut decoder = FrameDecoder::new(Side::Request);
    let mut chunk = [0; 4096];
    loop {
        let n = stream.read(&mut chunk).await.unwrap();
        assert!(n > 0, "the request came before the end");
        if decoder.push(&mut &chunk[..n]).unwrap().is_some() {
            return;
        }
    }
}

#[test]
fn a_relay_that_dies_in_mid_call_is_passed_by_and_the_error_says_so() {
    let world = World::new();
    world.run(async {
        let mut servers = BTreeMap::new();
        for n in [1, 2] {
            servers.insert(key(n), world.server(n).await);
        }
        let near = world.client(11, &[1, 2]).await;
        let far = world.client(12, &[1, 2]).await;
        let near = world.node(11, Via::Client(near), Book::default()).await;
        let far = world.transport(12, &far, DmsgOptions::default());
        let accept = || poll_fn(|cx| far.poll_accept(cx));

        // The first dies before the answer, which then comes through the second.
        let served = async {
            let mut stream = accept().await.unwrap().stream;
            read_request(&mut stream).await;
            let first = stream.via();
            drop(servers.remove(&first));
            let mut stream = accept().await.unwrap().stream;
            assert_ne!(stream.via(), first);
            read_request(&mut stream).await;
            let responder = Sender::of(&key(12));
            let (ext, response) = (None, Response::Ping { responder });
            let answer = encode_response(&ResponseMessage { ext, response }).unwrap();
            stream.write_all(&answer).await.unwrap();
            stream.close().await.unwrap();
        };
        let (answer, ()) = join(near.ping(key(12), None), served).await;
        assert!(answer.is_ok(), "{answer:?}");

        // None is left after the second.
        let served = async {
            let mut stream = accept().await.unwrap().stream;
            read_request(&mut stream).await;
            servers.clear();
        };
        let (answer, ()) = join(near.ping(key(12), None), served).await;
        let error = answer.unwrap_err();
        assert_eq!(error, PingError::Open(OpenFailure::NoAddress));
    });
}

#[test]
fn a_node_answers_before_its_first_outgoing_ping() {
    let world = World::new();
    world.run(async {
        let _server = world.server(1).await;
        let (peer, own) = (world.client(11, &[1]).await, world.client(12, &[1]).await);
        let peer = world.transport(11, &peer, DmsgOptions::default());
        let node = world.node(12, Via::Client(own), Book::default()).await;
        // Its first stream: at this moment the way back is open.
        let asked = poll_fn(|cx| peer.poll_accept(cx)).await.unwrap();
        assert_eq!(asked.peer, key(12));
        let back = peer.open(key(12), Addrs::new(), SessionUse::ReuseOnly);
        assert!(back.await.is_ok());
        assert_eq!(peer.stats().without_dht, 0);
        node.shutdown().await;
    });
}
