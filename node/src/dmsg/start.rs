//! Starts nodes over DMSG: with a client, or with a server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skydht_core::Seed;
use skydht_core::key::{PublicKey, SecretKey};
use skydht_core::node::{BootstrapPeer, Config};
use skydht_dmsg::client::{Client, ClientConfig};
use skydht_dmsg::discovery::KnownServer;
use skydht_dmsg::object::ErrorCode;
use skydht_dmsg::server::{Notify, ServerConfig};
use skydht_driver::transport::dmsg::{Relay, Via};
use skydht_driver::{Dht, DmsgNode, StartDmsgError, StartOptions};
use skydht_tokio::{TokioRuntime, entropy};
use tokio::task::JoinHandle;

use super::carrier::Carrier;
use super::directory::{Directory, OtherServers};
use super::entries::Entries;
use super::web;
use crate::config::DmsgSettings;
use crate::descriptors;
use crate::failure::{Code, Failure, Result};
use crate::start::cannot_listen;

/// Maximum number of servers of a discovery that a node uses as bootstrap peers.
const MOST_BOOTSTRAP: usize = 16;
/// First and longest pause before a server looks for servers that it does not know.
const MEETING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Time of the first message that a start is still waiting, and longest interval of later ones.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(600));
/// Longest wait for the own entry to be published before the node starts.
const DISCOVERY_PATIENCE: Duration = Duration::from_secs(3);

/// Parameters of a node that starts over DMSG.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) secret: SecretKey,
    /// Keys of bootstrap peers; DMSG resolves them.
    pub(crate) from: Vec<PublicKey>,
    /// Seed of its randomness; `None`: from the system.
    pub(crate) seed: Option<Seed>,
    /// Further options of the core's driver.
    pub(crate) options: StartOptions,
    /// Whether stopping the node also closes the sessions of its DMSG client or server.
    pub(crate) close_sessions: bool,
    /// Whether the node keeps running, so that its DMSG entry is published in the DHT, too.
    pub(crate) stays: bool,
    /// Finds servers and clients.
    pub(crate) directory: Directory,
    /// Receives the parts as they are started.
    pub(crate) carrier: Carrier,
}

/// Starts a node over a DMSG client. Waits for the first session.
pub(crate) async fn start_client(dmsg: &DmsgSettings, mut node: Node) -> Result<Dht> {
    let directory = node.directory.clone();
    let carrier = node.carrier.clone();
    carrier.set_directory(&directory);
    let servers = directory.known_servers().await;
    node.start_from(&servers);

    let mut client_config = ClientConfig::default();
    client_config.servers.clone_from(&servers);
    client_config.min_sessions = dmsg.sessions_count;
    client_config.hybrid = dmsg.hybrid();
    let client = Client::start(
        TokioRuntime,
        node.secret.clone(),
        crate::random_bytes()?,
        directory.clone(),
        client_config,
    );
    directory.set_client(&client, &servers);
    carrier.set_client(&client, dmsg.sessions_count);
    let stays = node.stays;
    let mut node = node.over(Via::Client(client.clone()));
    let own = directory.clone();
    node.dmsg.entries = Entries::new(&servers, move |key| own.entry_without_lookup(key));
    let dht = start_node(node, || carrier.report().waiting()).await?;
    if stays {
        directory.attach(&dht);
    }
    Ok(dht)
}

/// A running DMSG server, with the services on its own key. Dropping it stops them.
pub(crate) struct Server {
    pub(crate) relay: skydht_dmsg::server::Server<TokioRuntime>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Starts a DMSG server at `listen`, and a node with the same key that has sessions with all other
/// servers. Waits until the discovery has accepted the server's entry.
pub(crate) async fn start_server(
    dmsg: &DmsgSettings,
    listen: SocketAddr,
    mut node: Node,
) -> Result<(Server, Dht)> {
    if listen.ip().is_unspecified() && dmsg.public_address.is_none() {
        return Err(Failure::new(
            Code::Usage,
            format_args!(
                "clients cannot connect to {listen}: the address that they are told is missing"
            ),
        )
        .hint("give --public-address HOST:PORT, or --listen with an address of this machine"));
    }
    let directory = node.directory.clone();
    let carrier = node.carrier.clone();
    carrier.set_directory(&directory);
    let mut server_config = ServerConfig::new(listen);
    server_config
        .public_address
        .clone_from(&dmsg.public_address);
    server_config.max_sessions = dmsg.max_sessions;
    server_config.hybrid = dmsg.hybrid();
    server_config.peers.clone_from(&dmsg.peers);
    server_config.links_all = dmsg.link_all;
    server_config.accepted_peers = dmsg.accepted_peer_pks.iter().copied().collect();
    server_config.max_peers = dmsg.max_peer_links;
    server_config.max_passed_on = dmsg.max_relayed_streams;
    server_config.clients_pass_on = !dmsg.reject_relayed_requests;
    server_config.max_handshakes = descriptors::handshakes(descriptors::raise());
    server_config.max_handshakes_per_address = server_config.max_handshakes.div_ceil(2);
    server_config.dht_bootstrap = true;
    server_config.notify = Notify::new(|notice| tracing::warn!("{notice}"));
    let relay = skydht_dmsg::server::Server::start(
        TokioRuntime,
        node.secret.clone(),
        crate::random_bytes()?,
        directory.clone(),
        server_config,
    )
    .await
    .map_err(|error| cannot_listen(Some(listen), "DMSG clients", &error))?;

    carrier.set_relay(&relay);
    // Everything listens before the discovery announces this server.
    let mut client_config = ClientConfig::default();
    client_config.min_sessions = 0;
    let others = dmsg.servers.iter().filter(|it| it.key != relay.key());
    client_config.servers = others.copied().collect();
    let known = client_config.servers.clone();
    client_config.hybrid = dmsg.hybrid();
    let client = Client::start(
        TokioRuntime,
        node.secret.clone(),
        crate::random_bytes()?,
        OtherServers::new(directory.clone(), relay.key()),
        client_config,
    );
    directory.set_client(&client, &known);
    carrier.set_client(&client, 0);
    let own = relay.listen(web::PORT).map_err(no_port)?;
    let through_others = client.listen(web::PORT).map_err(no_port)?;
    let services = web::Services::new(&relay, dmsg, carrier.record_index());
    let web = [own, through_others].map(|listener| {
        let serving = web::serve(listener, Arc::clone(&services));
        tokio::spawn(serving)
    });
    let mut server = Server {
        relay,
        tasks: web.into(),
    };
    let both = Relay::new(server.relay.clone(), client)
        .map_err(|error| Failure::new(Code::Local, error))?;
    let (others, _) = directory.ask_servers().await;
    node.start_from(&others);
    let mut node = node.over(Via::Relay(both));
    let own = directory.clone();
    node.dmsg.entries = Entries::new(&others, move |key| own.entry_without_lookup(key));
    let dht = start_node(node, || carrier.report().waiting()).await?;
    services.node_started(&dht);
    directory.attach(&dht);
    let meeting = tokio::spawn(meet_others(dht.clone(), directory));
    server.tasks.push(meeting);
    Ok((server, dht))
}

/// Pings the servers of the directory that the node does not know, because they started later or at
/// the same time.
async fn meet_others(dht: Dht, directory: Directory) {
    let mut wait = MEETING.0;
    loop {
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(MEETING.1);
        let Ok(peers) = dht.peers().await else {
            return;
        };
        let (servers, _) = directory.ask_servers().await;
        let known = |key| key == dht.key() || peers.iter().any(|peer| peer.key == key);
        for server in servers.into_iter().filter(|server| !known(server.key)) {
            if let Err(error) = dht.ping(server.key, None).await {
                tracing::debug!(server = %server.key, %error, "another DMSG server is not reached");
            }
        }
    }
}

/// Starts a node, and logs what it waits for.
async fn start_node(node: DmsgNode<TokioRuntime>, why: impl Fn() -> String) -> Result<Dht> {
    let mut starting = std::pin::pin!(node.start_on(TokioRuntime, entropy));
    let mut patience = PATIENCE.0;
    loop {
        tokio::select! {
            started = starting.as_mut() => return started.map_err(|error| match error {
                StartDmsgError::Listen(code) => no_port(code),
                StartDmsgError::Start(error) => Failure::new(Code::Config, error),
                error => Failure::new(Code::Local, error),
            }),
            () = tokio::time::sleep(patience) => {
                tracing::info!("still starting: {}", why());
                patience = (patience * 3).min(PATIENCE.1);
            }
        }
    }
}

fn no_port(code: ErrorCode) -> Box<Failure> {
    Failure::new(Code::Local, format_args!("cannot listen over DMSG: {code}"))
}

impl Node {
    /// Adds servers as bootstrap peers, since every server is a full node.
    fn start_from(&mut self, servers: &[KnownServer]) {
        let known = servers.iter().map(|server| server.key);
        self.from.extend(known.take(MOST_BOOTSTRAP));
    }

    fn over(self, via: Via<TokioRuntime>) -> DmsgNode<TokioRuntime> {
        let mut seen = BTreeSet::from([self.secret.public()]);
        let mut config = self.config;
        let remembered = config.bootstrap.into_iter().map(|peer| peer.key);
        let from = self.from.into_iter().chain(remembered);
        let from = from.filter(|key| seen.insert(*key));
        let bootstrap = from.map(|key| BootstrapPeer {
            key,
            addrs: Vec::new(),
        });
        config.bootstrap = bootstrap.collect();
        let mut node = DmsgNode::new(self.secret, via);
        node.config = config;
        node.patience = Some(DISCOVERY_PATIENCE);
        node.seed = self.seed;
        node.dmsg.close_sessions = self.close_sessions;
        node.options = self.options;
        node
    }
}
