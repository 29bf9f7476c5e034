//! The validated settings of a node.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_core::node::Config;
use skydht_discovery::BaseUrl;
use skydht_dmsg::discovery::KnownServer;
use skydht_dmsg::hybrid::Hybrid;
use skydht_driver::storage::{Durability, RedisUrl};

use super::default_paths;
use crate::failure::Result;
use crate::keys;
use crate::state_dir::StateDir;

/// Default address at which the node listens for peers.
pub(crate) const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7470);
/// Default address of the control API.
pub(crate) const API_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7471);

/// A peer with its address: `PK@HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeerAddress {
    /// Public key, which the connection's handshake verifies.
    pub(crate) key: PublicKey,
    /// A host name or an IP address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl FromStr for PeerAddress {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong =
            || format!("{text:?} is no peer: write PK@HOST:PORT, the key as 66 hexadecimal digits");
        let (key, at) = text.split_once('@').ok_or_else(wrong)?;
        let key = keys::parse_public(key)?;
        let (host, port) = at.rsplit_once(':').ok_or_else(wrong)?;
        let port = port
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(wrong)?;
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        // Without brackets, the port of an IPv6 address would be ambiguous.
        if host.is_empty() || (bare.is_none() && host.contains(':')) {
            return Err(wrong());
        }
        Ok(Self {
            key,
            host: bare.unwrap_or(host).into(),
            port,
        })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}@[{}]:{}", self.key, self.host, self.port)
        } else {
            write!(f, "{}@{}:{}", self.key, self.host, self.port)
        }
    }
}

/// A bootstrap peer: a key alone, which DMSG resolves, or with an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum StartPeer {
    /// `PK`.
    Key(PublicKey),
    /// `PK@HOST:PORT`.
    At(PeerAddress),
}

impl FromStr for StartPeer {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text.contains('@') {
            text.parse().map(Self::At)
        } else {
            keys::parse_public(text).map(Self::Key)
        }
    }
}

/// Storage of items across restarts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct StorageSettings {
    /// Where items are stored.
    pub(crate) location: StorageLocation,
    /// When a write counts as done.
    pub(crate) durability: Durability,
}

/// Location of stored items.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum StorageLocation {
    /// A file in the state directory.
    #[default]
    File,
    /// No storage: items are lost at the end of the process.
    None,
    /// A Redis, which several nodes may share.
    Redis(Box<RedisUrl>),
}

impl FromStr for StorageLocation {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "file" => Ok(Self::File),
            "none" => Ok(Self::None),
            url if RedisUrl::is_meant(url) => match url.parse() {
                Ok(url) => Ok(Self::Redis(Box::new(url))),
                Err(error) => Err(error.to_string()),
            },
            // The text is not repeated, because it may be a mistyped URL with a password.
            _ => Err("expected \"file\", \"none\" or a URL like redis://HOST:PORT".into()),
        }
    }
}

/// Displays a URL without its password.
impl fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::None => f.write_str("none"),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

/// The address that peers are asked to dial.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Advertising {
    /// The listening port, at the address that each peer observes.
    Auto,
    /// None: peers are not asked to dial this node.
    Nothing,
    /// This address.
    Address(SocketAddr),
}

impl fmt::Display for Advertising {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Nothing => f.write_str("none"),
            Self::Address(addr) => addr.fmt(f),
        }
    }
}

/// Services at which this visor's own records are registered, besides the DHT.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct RegisterSettings {
    /// The transport discovery.
    pub(crate) transports: Option<BaseUrl>,
    /// The service discovery.
    pub(crate) services: Option<BaseUrl>,
    /// The address resolver.
    pub(crate) addresses: Option<BaseUrl>,
}

/// Discovery services that this node mirrors in the DHT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MirrorSettings {
    /// The DMSG discovery.
    pub(crate) dmsg: Option<BaseUrl>,
    /// The transport discovery.
    pub(crate) transports: Option<BaseUrl>,
    /// The service discovery.
    pub(crate) services: Option<BaseUrl>,
    /// Interval between two requests for changes.
    pub(crate) interval: Duration,
}

impl MirrorSettings {
    /// Returns whether any service is mirrored.
    pub(crate) fn is_on(&self) -> bool {
        self.dmsg.is_some() || self.transports.is_some() || self.services.is_some()
    }
}

impl Default for MirrorSettings {
    fn default() -> Self {
        Self {
            dmsg: None,
            transports: None,
            services: None,
            interval: Duration::from_secs(20),
        }
    }
}

/// Settings of DMSG.
#[derive(Clone, Debug)]
pub(crate) struct DmsgSettings {
    /// URL of the discovery of servers and clients.
    pub(crate) discovery: Option<BaseUrl>,
    /// Servers to use besides those of the discovery.
    pub(crate) servers: Vec<KnownServer>,
    /// Number of servers that a client keeps sessions with; 0: all.
    pub(crate) sessions_count: usize,
    /// Address that a server publishes for its clients, `HOST:PORT`.
    pub(crate) public_address: Option<String>,
    /// Maximum number of client sessions of a server.
    pub(crate) max_sessions: usize,
    /// Whether handshakes without a post-quantum part are refused.
    pub(crate) require_pq: bool,
    /// Servers that a server establishes links with.
    pub(crate) peers: Vec<KnownServer>,
    /// Whether a server establishes links with all servers of the discovery.
    pub(crate) link_all: bool,
    /// Keys of servers that may open links to this one; empty: any.
    pub(crate) accepted_peer_pks: Vec<PublicKey>,
    /// Maximum number of inbound links.
    pub(crate) max_peer_links: usize,
    /// Maximum number of concurrent streams relayed over links.
    pub(crate) max_relayed_streams: usize,
    /// Whether a server's clients may relay only streams of their own key.
    pub(crate) reject_relayed_requests: bool,
}

impl DmsgSettings {
    /// Returns whether the DHT uses DMSG.
    pub(crate) fn is_on(&self) -> bool {
        self.discovery.is_some() || !self.servers.is_empty()
    }

    /// Returns the post-quantum mode of handshakes.
    pub(crate) fn hybrid(&self) -> Hybrid {
        if self.require_pq {
            Hybrid::Require
        } else {
            Hybrid::Offer
        }
    }
}

impl Default for DmsgSettings {
    fn default() -> Self {
        Self {
            discovery: None,
            servers: Vec::new(),
            // As in visors: one session may fail.
            sessions_count: 2,
            public_address: None,
            max_sessions: 2048,
            require_pq: false,
            peers: Vec::new(),
            link_all: true,
            accepted_peer_pks: Vec::new(),
            max_peer_links: 512,
            max_relayed_streams: 4096,
            reject_relayed_requests: false,
        }
    }
}

/// The configuration after validation.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Configuration of the core. Bootstrap peers and the advertised address are added from the
    /// fields below when the node starts.
    pub(crate) node: Config,
    /// Keys of bootstrap peers.
    pub(crate) bootstrap_pks: Vec<PublicKey>,
    /// Bootstrap peers with addresses.
    pub(crate) bootstrap: Vec<PeerAddress>,
    /// The address that the node listens at for peers.
    pub(crate) listen: SocketAddr,
    /// Maximum number of concurrent connections to peers.
    pub(crate) max_connections: usize,
    /// The address that peers are asked to dial.
    pub(crate) advertise: Advertising,
    /// Services whose records this node publishes in the DHT.
    pub(crate) mirror: MirrorSettings,
    /// Services at which this visor's own records are registered.
    pub(crate) register: RegisterSettings,
    /// Settings of DMSG, if peers are reached over it.
    pub(crate) dmsg: DmsgSettings,
    /// The file with the secret key; `None`: `node.key` in the state directory.
    pub(crate) key_file: Option<PathBuf>,
    /// The node's state directory; `None`: not configured, and there is no home directory.
    pub(crate) state_dir: Option<PathBuf>,
    /// Storage of items across restarts.
    pub(crate) storage: StorageSettings,
    /// Address of the control API; `None`: no control API.
    pub(crate) api_listen: Option<SocketAddr>,
    /// Further host names that requests to the control API may use.
    pub(crate) api_hosts: Vec<String>,
    /// The log filter.
    pub(crate) log: String,
}

impl Settings {
    /// Returns the state directory.
    ///
    /// # Errors
    /// None is configured, and there is no home directory.
    pub(crate) fn state(&self) -> Result<StateDir> {
        let path = self
            .state_dir
            .as_ref()
            .ok_or_else(default_paths::no_state_dir)?;
        Ok(StateDir::new(path))
    }

    /// Returns the file with the secret key.
    ///
    /// # Errors
    /// As [`Settings::state`], unless the file is configured.
    pub(crate) fn key_file(&self) -> Result<PathBuf> {
        match &self.key_file {
            Some(file) => Ok(file.clone()),
            None => Ok(self.state()?.key_file()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

    #[test]
    fn peers_read_back_what_they_show() {
        for at in ["127.0.0.1:7470", "node.example:1", "[::1]:7470"] {
            let text = format!("{KEY}@{at}");
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn half_peers_are_refused() {
        for text in [
            KEY.to_owned(),
            format!("{KEY}@"),
            format!("{KEY}@host"),
            format!("{KEY}@host:0"),
            format!("{KEY}@:7470"),
            format!("{KEY}@::1:7470"),
            format!("{}@host:1", &KEY[2..]),
        ] {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
    }
}
