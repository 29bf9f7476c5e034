//! `skydht dmsg-server`: runs a DMSG server with a full node.

use serde_json::json;

use super::run::{Journal, Service, operate};
use crate::cli::{Common, DmsgServerArgs};
use crate::config::Loaded;
use crate::exit::Exit;
use crate::failure::Result;

/// Runs a DMSG server until a signal or a request stops it.
pub(crate) async fn run(common: &Common, args: DmsgServerArgs) -> Result<Exit> {
    let loaded = load(common, args)?;
    let journal = Journal {
        path: None,
        limit: 0,
    };
    operate(common, &loaded, Service::DmsgServer, journal, None).await
}

fn load(common: &Common, args: DmsgServerArgs) -> Result<Loaded> {
    let mut flags: Vec<super::Flag> = Vec::new();
    // Every DMSG server is a full node.
    flags.push(("dmsg-server", "full_node", json!(true).into()));
    if let Some(url) = args.discovery {
        flags.push(("--discovery", "dmsg.discovery", json!(url).into()));
    }
    if let Some(addr) = args.listen {
        flags.push(("--listen", "listen", json!(addr.to_string()).into()));
    }
    if let Some(at) = args.public_address {
        flags.push(("--public-address", "dmsg.public_address", json!(at).into()));
    }
    if let Some(most) = args.max_sessions {
        flags.push(("--max-sessions", "dmsg.max_sessions", json!(most).into()));
    }
    if let Some(file) = args.key_file {
        flags.push(("--key-file", "key_file", file.into()));
    }
    if let Some(addr) = args.api_listen {
        flags.push(("--api-listen", "api_listen", json!(addr).into()));
    }
    if !args.bootstrap.is_empty() {
        // The option adds to the configured peers, so that these are loaded first.
        let configured = super::configuration(common, flags.clone())?;
        let mut all = configured.settings.bootstrap_pks;
        all.extend(args.bootstrap);
        flags.push(("--bootstrap", "bootstrap_pks", json!(all).into()));
    }
    super::configuration(common, flags)
}
