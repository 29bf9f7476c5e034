//! Finding what visors offer, and how they are linked.

use clap::Args;
use skydht_core::key::PublicKey;
use skydht_discovery::record::TransportId;

use super::own::Running;
use crate::keys::parse_public;

/// List what visors offer, by type: VPNs, proxies, public visors.
///
/// From the records in the DHT. A full node has all of them; a regular node asks one of its DMSG
/// servers, or else lists the records that it stores itself.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht services vpn
  skydht services vpn --country DE
  skydht services skysocks --json | jq -r '.services[].address'")]
pub(crate) struct ServicesArgs {
    /// Type of the service: vpn, skysocks, visor, or any other.
    #[arg(value_name = "TYPE")]
    pub(crate) kind: String,
    /// Only in this country, two letters.
    #[arg(long, value_name = "COUNTRY")]
    pub(crate) country: Option<String>,
    /// Only of visors of this version.
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) running: Running,
}

/// List the transports of a visor, or find one by its id.
///
/// From the records that this node stores; a full node has all of them. The last column is the
/// evidence for each: one side lists it, both do, or both have signed it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht transports 02ab…c1
  skydht transports --id dd4b8040-99cf-0f53-8a6f-35fc94712513 --json")]
pub(crate) struct TransportsArgs {
    /// Public key of the visor.
    #[arg(value_name = "PK", value_parser = parse_public, required_unless_present = "id", conflicts_with = "id")]
    pub(crate) edge: Option<PublicKey>,
    /// Id of a transport.
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    pub(crate) id: Option<TransportId>,
    #[command(flatten)]
    pub(crate) running: Running,
}

fn parse_id(text: &str) -> Result<TransportId, String> {
    let id = text.parse::<TransportId>();
    id.map_err(|error| format!("{text:?}: {error}"))
}
