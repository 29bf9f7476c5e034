//! Starts a node from settings, over TCP.

use std::net::SocketAddr;

use skydht_core::key::SecretKey;
use skydht_core::node::{Advertise, BootstrapPeer, Config};
use skydht_driver::{Dht, StartOptions};
use skydht_runtime::Runtime;
use skydht_tokio::{StartTcpError, TcpNode, TokioRuntime};

use crate::config::{Advertising, PeerAddress};
use crate::failure::{Code, Failure, Result};
use crate::names;

/// Address at which a node listens, and limits of its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    /// Address to bind.
    pub(crate) addr: SocketAddr,
    /// Address that peers are asked to dial.
    pub(crate) advertising: Advertising,
    /// Maximum number of concurrent connections to peers.
    pub(crate) max_connections: usize,
    /// Maximum number of concurrent inbound handshakes.
    pub(crate) max_handshakes: usize,
}

/// Resolves the addresses of peers concurrently. Returns the resolved peers, and errors for the
/// others.
pub(crate) async fn resolve(peers: &[PeerAddress]) -> (Vec<BootstrapPeer>, Vec<String>) {
    let mut asking = tokio::task::JoinSet::new();
    for (index, peer) in peers.iter().enumerate() {
        let (host, port) = (peer.host.clone(), peer.port);
        asking.spawn(async move { (index, names::resolve(&host, port).await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(index, _)| *index);
    let mut found = Vec::new();
    let mut warnings = Vec::new();
    for (index, answer) in answers {
        let peer = &peers[index];
        match answer {
            Ok(addrs) => {
                let key = peer.key;
                crate::known_peers::merge(&mut found, vec![BootstrapPeer { key, addrs }]);
            }
            Err(why) => warnings.push(format!("bootstrap peer {peer} is left out: {why}")),
        }
    }
    (found, warnings)
}

/// Starts a node. Without `listening`, it only dials.
pub(crate) async fn start(
    config: Config,
    secret: SecretKey,
    listening: Option<Listening>,
    options: StartOptions,
) -> Result<Dht> {
    let mut node = TcpNode::new(secret, listening.map(|listening| listening.addr));
    node.config = config;
    node.advertise_port = false;
    node.options = options;
    if let Some(listening) = listening {
        node.tcp.max_sessions = listening.max_connections;
        node.tcp.max_handshakes = listening.max_handshakes;
        node.tcp.max_handshakes_per_address = listening.max_handshakes.div_ceil(2);
        match listening.advertising {
            Advertising::Auto => node.advertise_port = true,
            Advertising::Address(addr) => node.config.advertise = Advertise::Address(addr),
            Advertising::Nothing => {}
        }
    }
    start_node(node).await
}

/// Starts a node; a failure contains advice.
pub(crate) async fn start_node(node: TcpNode) -> Result<Dht> {
    start_node_on(TokioRuntime, node).await
}

/// Does as [`start_node`], with sockets of another runtime.
pub(crate) async fn start_node_on(runtime: impl Runtime, node: TcpNode) -> Result<Dht> {
    let listen = node.tcp.listen;
    let starting = node.start_on(runtime, skydht_tokio::entropy);
    starting.await.map_err(|error| match error {
        StartTcpError::Listen(error) => cannot_listen(listen, "peers", &error),
        StartTcpError::Start(error) => Failure::new(Code::Config, error),
        error => Failure::new(Code::Local, error),
    })
}

/// Converts an error of binding an address for `whom` to a failure with advice.
pub(crate) fn cannot_listen(
    addr: Option<SocketAddr>,
    whom: &str,
    error: &std::io::Error,
) -> Box<Failure> {
    let Some(addr) = addr else {
        return Failure::new(Code::Local, format_args!("cannot start: {error}"));
    };
    let failure = Failure::new(
        Code::Local,
        format_args!("cannot listen for {whom} at {addr}: {error}"),
    );
    let port = addr.port();
    match error.kind() {
        std::io::ErrorKind::AddrInUse => failure.hint(format_args!(
            "port {port} is in use, by another node perhaps: choose one with --listen IP:PORT (port 0: any free one)"
        )),
        std::io::ErrorKind::PermissionDenied => failure.hint(format_args!(
            "port {port} needs privileges: choose one above 1023 with --listen IP:PORT"
        )),
        std::io::ErrorKind::AddrNotAvailable => failure.hint(
            "this machine has no such address: choose one of its own, or 0.0.0.0, with --listen IP:PORT",
        ),
        _ => failure.hint("choose another address with --listen IP:PORT"),
    }
}
