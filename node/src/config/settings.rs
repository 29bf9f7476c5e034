//! The settings of a node, read and checked.

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

use super::place;
use crate::failure::Result;
use crate::keys;
use crate::state_dir::StateDir;

/// Where peers dial this node, unless told otherwise.
pub(crate) const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 7470);
/// Where the control API listens, unless told otherwise.
pub(crate) const API_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7471);

/// A peer and where to dial it: `PK@HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PeerAddress {
    /// Its key; the connection proves it.
    pub(crate) key: PublicKey,
    /// A name or an address.
    pub(crate) host: String,
    /// Its port.
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
        // An IPv6 address without brackets would swallow the port.
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

/// A peer to start from: by its key, which DMSG finds, or with its address.
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

/// How items are kept across restarts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct StorageSettings {
    /// In a file of the state directory, in Redis, or not at all.
    pub(crate) place: StoragePlace,
    /// When they are on the disk.
    pub(crate) durability: Durability,
}

/// Where items are kept.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum StoragePlace {
    /// A file of the state directory.
    #[default]
    File,
    /// Memory alone.
    None,
    /// A Redis, which other nodes may share.
    Redis(Box<RedisUrl>),
}

impl FromStr for StoragePlace {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "file" => Ok(Self::File),
            "none" => Ok(Self::None),
            url if RedisUrl::is_meant(url) => match url.parse() {
                Ok(url) => Ok(Self::Redis(Box::new(url))),
                Err(error) => Err(error.to_string()),
            },
            // It is not repeated: it may be a URL with a typing error and a password.
            _ => Err("expected \"file\", \"none\" or a URL like redis://HOST:PORT".into()),
        }
    }
}

/// A URL without its password.
impl fmt::Display for StoragePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::None => f.write_str("none"),
            Self::Redis(url) => url.fmt(f),
        }
    }
}

/// What peers are told about dialling this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Advertising {
    /// The listening port, at whatever address they see.
    Auto,
    /// Nothing.
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

/// Where this visor's own records are registered beside the DHT.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(crate) struct RegisterSettings {
    /// The transport discovery.
    pub(crate) transports: Option<BaseUrl>,
    /// The service discovery.
    pub(crate) services: Option<BaseUrl>,
    /// The address resolver.
    pub(crate) addresses: Option<BaseUrl>,
}

/// Which discovery services this node mirrors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MirrorSettings {
    /// Whose entries.
    pub(crate) dmsg: Option<BaseUrl>,
    /// Whose transports.
    pub(crate) transports: Option<BaseUrl>,
    /// Whose services.
    pub(crate) services: Option<BaseUrl>,
    /// How often they are asked.
    pub(crate) interval: Duration,
}

impl MirrorSettings {
    /// Whether there is any.
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

/// What is configured of DMSG.
#[derive(Clone, Debug)]
pub(crate) struct DmsgSettings {
    /// Where servers and clients are found.
    pub(crate) discovery: Option<BaseUrl>,
    /// Servers that are known anyway.
    pub(crate) servers: Vec<KnownServer>,
    /// Servers that a client keeps sessions with; 0: all.
    pub(crate) sessions_count: usize,
    /// Where a server says that it is, HOST:PORT.
    pub(crate) public_address: Option<String>,
    /// Clients that a server takes.
    pub(crate) max_sessions: usize,
    /// Whether handshakes without a post-quantum half are refused.
    pub(crate) require_pq: bool,
    /// Servers that a server links with.
    pub(crate) peers: Vec<KnownServer>,
    /// Whether it links with all servers of the discovery.
    pub(crate) link_all: bool,
    /// Servers that may pass on requests to it; none: any.
    pub(crate) accepted_peer_pks: Vec<PublicKey>,
    /// How many may.
    pub(crate) max_peer_links: usize,
    /// Concurrent streams that were passed on.
    pub(crate) max_relayed_streams: usize,
    /// Whether its clients may pass on nothing of other keys.
    pub(crate) reject_relayed_requests: bool,
}

impl DmsgSettings {
    /// Whether the DHT runs over DMSG.
    pub(crate) fn is_on(&self) -> bool {
        self.discovery.is_some() || !self.servers.is_empty()
    }

    /// How handshakes are made.
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
            // As visors: one may fail.
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

/// The configuration, read and checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// What the core is told. Its bootstrap peers and advertisement follow from the fields
    /// below, when the node starts.
    pub(crate) node: Config,
    /// Keys to start from.
    pub(crate) bootstrap_pks: Vec<PublicKey>,
    /// Peers to start from.
    pub(crate) bootstrap: Vec<PeerAddress>,
    /// The address that peers dial.
    pub(crate) listen: SocketAddr,
    /// Connections to them at once.
    pub(crate) max_connections: usize,
    /// What they are told.
    pub(crate) advertise: Advertising,
    /// Services whose records this node publishes, too.
    pub(crate) mirror: MirrorSettings,
    /// Services where this visor's own records are registered, too.
    pub(crate) register: RegisterSettings,
    /// DMSG, if that is how peers are reached.
    pub(crate) dmsg: DmsgSettings,
    /// The file with the secret key, if it is not in the state directory.
    pub(crate) key_file: Option<PathBuf>,
    /// Where the node keeps what it needs again; none: it is not configured, and there is no home.
    pub(crate) state_dir: Option<PathBuf>,
    /// How items are kept across restarts.
    pub(crate) storage: StorageSettings,
    /// The control API's address; none: no control API.
    pub(crate) api_listen: Option<SocketAddr>,
    /// Further names that requests to the control API may use.
    pub(crate) api_hosts: Vec<String>,
    /// What to log.
    pub(crate) log: String,
}

impl Settings {
    /// The node's directory.
    ///
    /// # Errors
    /// No directory is named, and there is no home.
    pub(crate) fn state(&self) -> Result<StateDir> {
        let path = self.state_dir.as_ref().ok_or_else(place::no_state_dir)?;
        Ok(StateDir::new(path))
    }

    /// The file with the secret key.
    ///
    /// # Errors
    /// As [`Settings::state`], unless the file is named itself.
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
