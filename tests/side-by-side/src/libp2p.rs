//! rust-libp2p's Kademlia over TCP, Noise and yamux: a swarm for each node, a task for each swarm.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore as _};
use libp2p::kad::{
    Behaviour, Caching, Config, Event, GetRecordOk, Mode, QueryId, QueryResult, Quorum, Record,
    RecordKey,
};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, identity, noise, tcp, yamux};
use tokio::sync::{mpsc, oneshot};

use crate::bench::{Facts, Found, WARM_CONCURRENCY, WARM_PAIRS};
use crate::measure::{each, open_files, secret};
use crate::{Bench as Options, Result};

/// As ours.
const REPLICATION: NonZeroUsize = NonZeroUsize::new(20).unwrap();
const PARALLELISM: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// Sessions outlast every measurement.
const IDLE: Duration = Duration::from_secs(3_600);
/// Files that a process has open anyway.
const OTHER_FILES: u64 = 64;

type Reply<T> = oneshot::Sender<Result<T>>;

/// What a node is asked to do.
enum Command {
    Dial(PeerId, Multiaddr, Reply<()>),
    /// Takes addresses into the routing table, then bootstraps.
    Join(Vec<(PeerId, Multiaddr)>, Reply<()>),
    Put(RecordKey, Vec<u8>, Quorum, Reply<()>),
    Get(RecordKey, Reply<Found>),
    Facts(Reply<Facts>),
}

/// The network.
pub(crate) struct Network {
    nodes: Vec<Handle>,
    quorum: Quorum,
}

/// A node as the others see it.
struct Handle {
    peer: PeerId,
    address: Multiaddr,
    commands: mpsc::UnboundedSender<Command>,
}

impl crate::bench::Network for Network {
    const CRATE: &'static str = "libp2p-kad";
    const TRANSPORT: &'static str = "tcp";

    async fn start(options: &Options) -> Result<Self> {
        let count = u64::from(options.nodes);
        // A session takes a file at both ends.
        open_files(count * count + OTHER_FILES)?;
        let mut nodes = Vec::new();
        for index in 0..usize::from(options.nodes) {
            nodes.push(start_node(secret(options.seed, index)).await?);
        }
        let quorum = match options.quorum {
            crate::Quorum::One => Quorum::One,
            // A small network has fewer than 20 others.
            crate::Quorum::All => Quorum::N(
                NonZeroUsize::new(usize::from(options.nodes) - 1)
                    .map_or(REPLICATION, |others| others.min(REPLICATION)),
            ),
        };
        Ok(Self { nodes, quorum })
    }

    async fn meet(self: &Arc<Self>) -> Result<()> {
        let count = self.nodes.len();
        let pairs: Vec<(usize, usize)> = (0..count)
            .flat_map(|from| (from + 1..count).map(move |to| (from, to)))
            .take(WARM_PAIRS + 1)
            .collect();
        if pairs.len() <= WARM_PAIRS {
            let network = Arc::clone(self);
            let met = each(pairs.len(), WARM_CONCURRENCY, move |index| {
                let (from, to) = pairs[index];
                let network = Arc::clone(&network);
                async move {
                    let Handle { peer, address, .. } = &network.nodes[to];
                    let dial = |reply| Command::Dial(*peer, address.clone(), reply);
                    network.nodes[from].ask(dial).await
                }
            })
            .await;
            met.into_iter().collect::<Result<()>>()?;
        }
        let network = Arc::clone(self);
        let joined = each(count, WARM_CONCURRENCY, move |index| {
            let network = Arc::clone(&network);
            async move {
                // Identify would give them these addresses, in a program without our list.
                let others = network.nodes.iter().enumerate();
                let others = others.filter(|(other, _)| *other != index);
                let addresses = others.map(|(_, node)| (node.peer, node.address.clone()));
                let addresses = addresses.collect();
                let node = &network.nodes[index];
                node.ask(|reply| Command::Join(addresses, reply)).await
            }
        })
        .await;
        joined.into_iter().collect()
    }

    async fn put(&self, node: usize, salt: &str, value: Vec<u8>) -> Result<()> {
        let key = key(node, salt);
        let put = |reply| Command::Put(key, value, self.quorum, reply);
        self.nodes[node].ask(put).await
    }

    async fn get(&self, node: usize, owner: usize, salt: &str) -> Result<Found> {
        let key = key(owner, salt);
        self.nodes[node].ask(|reply| Command::Get(key, reply)).await
    }

    async fn facts(&self) -> Result<Facts> {
        let mut all = Facts::default();
        for node in &self.nodes {
            let facts = node.ask(Command::Facts).await?;
            all.sessions += facts.sessions;
            all.known_peers += facts.known_peers;
            all.copies += facts.copies;
        }
        Ok(all)
    }
}

/// Keys are free to choose here; ours follow from the owner and the salt.
fn key(owner: usize, salt: &str) -> RecordKey {
    RecordKey::new(&format!("{owner}/{salt}"))
}

impl Handle {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, result) = oneshot::channel();
        let gone = "the node has ended";
        self.commands.send(command(reply)).map_err(|_| gone)?;
        result.await.map_err(|_| gone)?
    }
}

/// Starts a node on a port of its own, and waits until it listens.
async fn start_node(secret: [u8; 32]) -> Result<Handle> {
    let key = identity::Keypair::ed25519_from_bytes(secret).map_err(|error| error.to_string())?;
    let mut swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(
            tcp::Config::default(),
            noise::Config::new,
            yamux::Config::default,
        )
        .map_err(|error| error.to_string())?
        .with_behaviour(|key| behaviour(key.public().to_peer_id()))
        .map_err(|error| error.to_string())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build();
    let loopback: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    swarm
        .listen_on(loopback)
        .map_err(|error| error.to_string())?;
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    let peer = *swarm.local_peer_id();
    let (commands, receiver) = mpsc::unbounded_channel();
    let node = Node {
        swarm,
        dialing: HashMap::new(),
        joining: HashMap::new(),
        putting: HashMap::new(),
        getting: HashMap::new(),
    };
    tokio::spawn(node.run(receiver));
    Ok(Handle {
        peer,
        address,
        commands,
    })
}

fn behaviour(peer: PeerId) -> Behaviour<MemoryStore> {
    let mut config = Config::new(StreamProtocol::new("/side-by-side/kad/1.0.0"));
    config
        .set_replication_factor(REPLICATION)
        .set_parallelism(PARALLELISM)
        // Renewal is not what is measured.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_periodic_bootstrap_interval(None)
        .set_caching(Caching::Disabled);
    // The store's quotas are not what is measured.
    let store = MemoryStoreConfig {
        max_records: usize::MAX,
        ..MemoryStoreConfig::default()
    };
    let store = MemoryStore::with_config(peer, store);
    let mut behaviour = Behaviour::with_config(peer, store, config);
    behaviour.set_mode(Some(Mode::Server));
    behaviour
}

/// A node, and who waits for what.
struct Node {
    swarm: Swarm<Behaviour<MemoryStore>>,
    dialing: HashMap<PeerId, Reply<()>>,
    joining: HashMap<QueryId, Reply<()>>,
    putting: HashMap<QueryId, Reply<()>>,
    getting: HashMap<QueryId, Reply<Found>>,
}

impl Node {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Dial(peer, address, reply) => {
                let options = DialOpts::peer_id(peer).addresses(vec![address]).build();
                match self.swarm.dial(options) {
                    Ok(()) => drop(self.dialing.insert(peer, reply)),
                    Err(error) => answer(reply, Err(error.to_string())),
                }
            }
            Command::Join(addresses, reply) => {
                let kad = self.swarm.behaviour_mut();
                for (peer, address) in addresses {
                    kad.add_address(&peer, address);
                }
                match kad.bootstrap() {
                    Ok(query) => drop(self.joining.insert(query, reply)),
                    Err(error) => answer(reply, Err(error.to_string())),
                }
            }
            Command::Put(key, value, quorum, reply) => {
                let kad = self.swarm.behaviour_mut();
                match kad.put_record(Record::new(key, value), quorum) {
                    Ok(query) => drop(self.putting.insert(query, reply)),
                    Err(error) => answer(reply, Err(error.to_string())),
                }
            }
            Command::Get(key, reply) => {
                let query = self.swarm.behaviour_mut().get_record(key);
                self.getting.insert(query, reply);
            }
            Command::Facts(reply) => {
                let sessions = self.swarm.network_info().num_peers();
                let kad = self.swarm.behaviour_mut();
                let facts = Facts {
                    sessions,
                    known_peers: kad.kbuckets().map(|bucket| bucket.num_entries()).sum(),
                    copies: kad.store_mut().records().count(),
                };
                answer(reply, Ok(facts));
            }
        }
    }

    fn event(&mut self, event: SwarmEvent<Event>) {
        match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                if let Some(reply) = self.dialing.remove(&peer_id) {
                    answer(reply, Ok(()));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                if let Some(reply) = self.dialing.remove(&peer) {
                    answer(reply, Err(error.to_string()));
                }
            }
            SwarmEvent::Behaviour(Event::OutboundQueryProgressed {
                id, result, step, ..
            }) => self.progress(id, result, step.last),
            _ => {}
        }
    }

    fn progress(&mut self, query: QueryId, result: QueryResult, last: bool) {
        match result {
            QueryResult::Bootstrap(result) => {
                let over = last || result.is_err();
                if over && let Some(reply) = self.joining.remove(&query) {
                    answer(reply, result.map(drop).map_err(|error| error.to_string()));
                }
            }
            QueryResult::PutRecord(result) => {
                if let Some(reply) = self.putting.remove(&query) {
                    answer(reply, result.map(drop).map_err(|error| error.to_string()));
                }
            }
            QueryResult::GetRecord(result) => {
                let Some(reply) = self.getting.remove(&query) else {
                    return;
                };
                // The first record is enough.
                if let Some(mut query) = self.swarm.behaviour_mut().query_mut(&query) {
                    query.finish();
                }
                answer(
                    reply,
                    match result {
                        Ok(GetRecordOk::FoundRecord(found)) => Ok(Found {
                            value: found.record.value,
                            local: found.peer.is_none(),
                        }),
                        Ok(GetRecordOk::FinishedWithNoAdditionalRecord { .. }) => {
                            Err("no record".into())
                        }
                        Err(error) => Err(error.to_string()),
                    },
                );
            }
            _ => {}
        }
    }
}

/// The caller may have gone.
fn answer<T>(reply: Reply<T>, result: Result<T>) {
    let _ = reply.send(result);
}
