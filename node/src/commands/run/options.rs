//! Converts the options of `skydht run` to configuration keys.

use serde_json::json;

use crate::cli::{Common, Run};
use crate::commands::{Flag, configuration};
use crate::config::{PeerAddress, StartPeer};
use crate::failure::Result;

/// Returns the configuration keys that the options set.
pub(in crate::commands) fn flags(common: &Common, args: Run) -> Result<Vec<Flag>> {
    let mut flags: Vec<Flag> = Vec::new();
    if let Some(addr) = args.listen {
        flags.push(("--listen", "listen", json!(addr.to_string()).into()));
    }
    if let Some(url) = args.discovery {
        flags.push(("--discovery", "dmsg.discovery", json!(url).into()));
    }
    if let Some(what) = args.advertise {
        flags.push(("--advertise", "advertise", json!(what).into()));
    }
    if let Some(file) = args.key_file {
        flags.push(("--key-file", "key_file", file.into()));
    }
    if args.full_node {
        flags.push(("--full-node", "full_node", json!(true).into()));
    }
    if let Some(place) = args.storage {
        flags.push(("--storage", "storage", json!(place).into()));
    }
    if let Some(addr) = args.api_listen {
        flags.push(("--api-listen", "api_listen", json!(addr).into()));
    }
    if !args.bootstrap.is_empty() {
        // The option adds to the configured peers, so that these are loaded first.
        let configured = configuration(common, flags.clone())?.settings;
        let (mut keys, mut peers) = (configured.bootstrap_pks, configured.bootstrap);
        let before = (keys.len(), peers.len());
        for peer in args.bootstrap {
            match peer {
                StartPeer::Key(key) => keys.push(key),
                StartPeer::At(peer) => peers.push(peer),
            }
        }
        // The option is named as the source of a list only if it added to it.
        if keys.len() > before.0 {
            flags.push(("--bootstrap", "bootstrap_pks", json!(keys).into()));
        }
        if peers.len() > before.1 {
            let peers: Vec<String> = peers.iter().map(PeerAddress::to_string).collect();
            flags.push(("--bootstrap", "bootstrap", json!(peers).into()));
        }
    }
    Ok(flags)
}
