//! `skydht gateway`: serves discovery APIs from the DHT.

use super::dmsg_discovery::secured;
use super::run::{Journal, Service, flags, operate};
use crate::cli::{Common, GatewayArgs};
use crate::dmsg::{DiscoveryService, OfferedServices};
use crate::exit::Exit;
use crate::failure::Result;
use crate::keys;

/// Runs a node with a gateway until a signal or a request stops it.
pub(crate) async fn run(common: &Common, args: GatewayArgs) -> Result<Exit> {
    let journal = Journal {
        path: args.run.journal.clone(),
        limit: args.run.journal_limit,
    };
    let tls = secured(args.tls_cert.as_deref(), args.tls_key.as_deref())?;
    let loaded = super::configuration(common, flags(common, args.run)?)?;
    let all = OfferedServices {
        services: true,
        transports: true,
        addresses: true,
    };
    let over_dmsg = args.dmsg_key_file.as_deref().map(keys::load).transpose()?;
    let mut service = DiscoveryService::start(args.addr, args.test_mode, all, tls).await?;
    if let Some(secret) = over_dmsg {
        service.start_over_dmsg(secret, args.dmsg_server)?;
    }
    operate(common, &loaded, Service::Node, journal, Some(service)).await
}
