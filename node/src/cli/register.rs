//! Registering what this visor has.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::own::Running;

/// Register what this visor has: its transports, its services, its address.
///
/// The running node publishes it in the DHT under its own key, renews it there, and registers it
/// with the HTTP services under `register` in its configuration, for visors that know only those. A
/// given option replaces what was registered before; the others stay as they are. Without options:
/// what is registered, and the state at each service.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht register
  skydht register --services services.json --address 192.0.2.7:7777
  echo '[]' | skydht register --transports -

The files hold JSON arrays in upstream's words:
  [{\"t_id\":\"…\",\"edges\":[\"02…\",\"03…\"],\"type\":\"stcpr\",\"label\":\"user\"}]
  [{\"address\":\"PK:44\",\"type\":\"vpn\",\"version\":\"v1.3.99\"}]")]
pub(crate) struct RegisterArgs {
    /// A file with all transports of this visor; - for stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) transports: Option<PathBuf>,
    /// A file with all services of this visor; - for stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) services: Option<PathBuf>,
    /// The address at which this visor accepts TCP connections.
    #[arg(long, value_name = "IP:PORT", conflicts_with = "no_address")]
    pub(crate) address: Option<SocketAddr>,
    /// Withdraw the address: this visor accepts no TCP connections.
    #[arg(long)]
    pub(crate) no_address: bool,
    #[command(flatten)]
    pub(crate) running: Running,
}
