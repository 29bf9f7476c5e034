//! The DHT over DMSG: from settings to a client or a server with a node on it.

mod answering;
mod carrier;
mod directory;
mod entries;
mod known_servers;
mod reachable;
mod service;
mod service_over_dmsg;
mod start;
mod two_sources;
mod web;

pub(crate) use answering::OfferedServices;
pub(crate) use carrier::Carrier;
pub(crate) use directory::Directory;
pub(crate) use known_servers::KnownServers;
pub(crate) use reachable::Reachable;
pub(crate) use service::DiscoveryService;
pub(crate) use start::{Node, Server, start_client, start_server};

use skydht_core::key::PublicKey;
use skydht_driver::transport::dmsg::PORT;

/// Returns the address of a node on DMSG, in upstream's form.
pub(crate) fn dht_address(key: &PublicKey) -> String {
    format!("dmsg://{key}:{PORT}")
}

/// Returns a command that starts another node on this machine, over the DMSG of this discovery.
pub(crate) fn join_command(discovery: &str) -> String {
    format!("skydht run --discovery {discovery} --state-dir ./visor --api-listen 127.0.0.1:0")
}
