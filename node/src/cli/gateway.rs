//! Serving the discovery services' HTTP APIs from the DHT.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use skydht_dmsg::discovery::KnownServer;

use super::dmsg::parse_server;
use super::node::Run;

/// Run a node that serves the discovery services' HTTP APIs from the DHT.
///
/// Old visors register and ask here as they do at upstream's DMSG discovery, transport discovery,
/// service discovery and address resolver (TCP; no hole punching). What they register is published
/// in the DHT under their keys, and what is not registered here is looked up there. Other nodes
/// accept it only if they have this node's key in their `mirror_pks`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht gateway --bootstrap 02ab…c1@192.0.2.7:7470
  skydht gateway --addr 0.0.0.0:9090 --discovery http://127.0.0.1:9091
  skydht gateway --addr 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem
  skydht gateway --dmsg-key-file gateway.key --dmsg-server 02ab…c1@192.0.2.7:8081
  curl http://127.0.0.1:9090/dmsg-discovery/entries")]
pub(crate) struct GatewayArgs {
    /// The address that visors ask, IP:PORT; port 0 takes any free one.
    #[arg(long, short, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    pub(crate) addr: SocketAddr,
    /// Accept servers and addresses on loopback; implied if --addr is.
    #[arg(long, short)]
    pub(crate) test_mode: bool,
    /// Answer over HTTPS: a PEM file with the certificate, followed by its issuers.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The PEM file with the certificate's private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Answer on DMSG, too: at dmsg://PK:80, where PK is the key in FILE (see `skydht keygen`). Not
    /// the node's own key.
    #[arg(long, value_name = "FILE")]
    pub(crate) dmsg_key_file: Option<PathBuf>,
    /// A DMSG server to be reached through, besides those that register here; may be repeated.
    #[arg(long, value_name = "PK@IP:PORT", value_parser = parse_server, requires = "dmsg_key_file")]
    pub(crate) dmsg_server: Vec<KnownServer>,
    #[command(flatten)]
    pub(crate) run: Run,
}
