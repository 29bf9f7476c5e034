//! Bringing what discovery services have into the DHT.

use clap::Args;

use super::node::Run;

/// Run a node that mirrors discovery services in the DHT.
///
/// Visors that know only the services' HTTP API are found in the DHT, too: their DMSG entries,
/// their transports at both edges, and their services, each under the visor's own key. Changes are
/// published within seconds. Records that a service no longer has are removed some minutes later,
/// but nothing is removed while a service is unavailable. Other nodes accept mirrored items only
/// from keys in their `mirror_pks`, and a visor's own items take precedence.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  skydht mirror --dmsg-discovery http://127.0.0.1:9090 --bootstrap 02ab…c1@192.0.2.7:7470
  skydht mirror --dmsg-discovery https://dmsgd.example --transport-discovery https://tpd.example \\
      --service-discovery https://sd.example --discovery https://dmsgd.example
  skydht status        # what it follows, and how much of it is published

In the configuration: {\"mirror\": {\"dmsg_discovery\": URL, \"transport_discovery\": URL, …}}.")]
pub(crate) struct MirrorArgs {
    /// The DMSG discovery whose entries are mirrored.
    #[arg(long, value_name = "URL")]
    pub(crate) dmsg_discovery: Option<String>,
    /// The transport discovery whose transports are mirrored.
    #[arg(long, value_name = "URL")]
    pub(crate) transport_discovery: Option<String>,
    /// The service discovery whose services are mirrored.
    #[arg(long, value_name = "URL")]
    pub(crate) service_discovery: Option<String>,
    /// Interval of requests for changes [default: 20s].
    #[arg(long, value_name = "EVERY")]
    pub(crate) interval: Option<String>,
    #[command(flatten)]
    pub(crate) run: Run,
}
