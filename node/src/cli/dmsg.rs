//! DMSG's own services.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use skydht_core::key::PublicKey;
use skydht_dmsg::discovery::KnownServer;

use crate::keys::parse_public;

/// Run a DMSG discovery: the directory in which DMSG's servers and clients find each other.
///
/// It has upstream's HTTP API, so that Go's servers and visors can use it, too. Entries are signed
/// by their owners and kept in memory; after a restart, running servers and visors publish theirs
/// again within a minute. SIGINT or SIGTERM ends it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht dmsg-discovery
  skydht dmsg-discovery --addr 0.0.0.0:9090
  skydht dmsg-discovery --services --transports --addresses
  skydht dmsg-discovery --addr 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem
  skydht dmsg-discovery --key-file disc.key --dmsg-server PK@192.0.2.7:8081
  curl http://127.0.0.1:9090/dmsg-discovery/available_servers

A network on one machine, each in a terminal of its own:
  skydht dmsg-discovery
  skydht dmsg-server --discovery http://127.0.0.1:9090 --listen 127.0.0.1:8081 \\
      --state-dir /tmp/s --api-listen 127.0.0.1:0
  skydht run --discovery http://127.0.0.1:9090 --state-dir /tmp/a --api-listen 127.0.0.1:0
  skydht run --discovery http://127.0.0.1:9090 --state-dir /tmp/b --api-listen 127.0.0.1:0
  skydht --state-dir /tmp/a put 'hello' --salt greeting")]
pub(crate) struct DmsgDiscoveryArgs {
    /// The address to listen at, IP:PORT; port 0 takes any free one.
    #[arg(
        long,
        short,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:9090",
        help_heading = "What it answers"
    )]
    pub(crate) addr: SocketAddr,
    /// Accept servers on loopback; implied if --addr is.
    #[arg(long, short, help_heading = "What it answers")]
    pub(crate) test_mode: bool,
    /// Offer a service discovery, too: /api/services, as upstream has it.
    #[arg(long, help_heading = "What it answers")]
    pub(crate) services: bool,
    /// Offer a transport discovery, too: /transports, /v3/transports, /all-transports.
    #[arg(long)]
    pub(crate) transports: bool,
    /// Offer an address resolver, too, for TCP: /bind/stcpr, /resolve.
    #[arg(long)]
    pub(crate) addresses: bool,
    /// Answer over HTTPS: a PEM file with the certificate, followed by its issuers.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_key",
        help_heading = "HTTPS"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    #[arg(
        long,
        value_name = "FILE",
        requires = "tls_cert",
        help_heading = "HTTPS"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// Answer on DMSG, too: at dmsg://PK:80, where PK is the key in FILE (see `skydht keygen`).
    #[arg(long, value_name = "FILE", help_heading = "Over DMSG")]
    pub(crate) key_file: Option<PathBuf>,
    /// A DMSG server through which it can be reached, besides those that register; may be repeated.
    #[arg(long, value_name = "PK@IP:PORT", value_parser = parse_server, requires = "key_file", help_heading = "Over DMSG")]
    pub(crate) dmsg_server: Vec<KnownServer>,
}

/// Parses `PK@IP:PORT`.
pub(super) fn parse_server(text: &str) -> Result<KnownServer, String> {
    let wrong = || format!("{text:?} is no DMSG server: write PK@IP:PORT");
    let (key, at) = text.split_once('@').ok_or_else(wrong)?;
    let key = parse_public(key)?;
    key.check_curve()
        .map_err(|error| format!("{key}: {error}"))?;
    let address = at.parse().map_err(|_| wrong())?;
    Ok(KnownServer { key, address })
}

/// Run a DMSG server: a relay for visors that is a full node of the DHT, too.
///
/// Streams between its clients pass through it encrypted end to end. Its own key answers on port
/// 100, the DHT, and on port 80 over HTTP: /health and /dht/entry/PK?salt=SALT. It is ready once
/// the discovery has accepted its entry. SIGINT, SIGTERM or `POST /shutdown` ends it cleanly.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht dmsg-server --discovery http://127.0.0.1:9090 --listen 127.0.0.1:8081
  skydht dmsg-server --discovery http://disc.example --listen 0.0.0.0:8081 \\
      --public-address 192.0.2.7:8081 --state-dir /var/lib/skydht
  skydht --config server.json dmsg-server

In the configuration: {\"dmsg\": {\"discovery\": URL, \"public_address\": …, \"max_sessions\": …}}.")]
pub(crate) struct DmsgServerArgs {
    /// The discovery that announces this server to clients; without one they need its key and
    /// address.
    #[arg(long, value_name = "URL", help_heading = "Clients and peers")]
    pub(crate) discovery: Option<String>,
    /// The address that clients connect to, IP:PORT; port 0 takes any free one [default:
    /// 0.0.0.0:7470].
    #[arg(long, value_name = "IP:PORT", help_heading = "Clients and peers")]
    pub(crate) listen: Option<SocketAddr>,
    /// The address that is announced to clients [default: where it listens].
    #[arg(long, value_name = "HOST:PORT", help_heading = "Clients and peers")]
    pub(crate) public_address: Option<String>,
    /// Maximum number of clients; each needs an open file.
    #[arg(long, value_name = "N", help_heading = "Clients and peers")]
    pub(crate) max_sessions: Option<u32>,
    /// A bootstrap peer of the DHT, besides those configured; may be repeated.
    #[arg(long, value_name = "PK", value_parser = parse_public, help_heading = "Clients and peers")]
    pub(crate) bootstrap: Vec<PublicKey>,
    /// The file with the secret key [default: node.key in the state directory].
    #[arg(long, value_name = "FILE", help_heading = "What it is and keeps")]
    pub(crate) key_file: Option<PathBuf>,
    /// The control API's address, or "off" [default: 127.0.0.1:7471].
    #[arg(long, value_name = "IP:PORT", help_heading = "Control")]
    pub(crate) api_listen: Option<String>,
}
