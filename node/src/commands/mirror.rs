//! `skydht mirror`: runs a node that mirrors discovery services.

use serde_json::json;

use super::run::{Journal, Service, flags, operate};
use crate::cli::{Common, MirrorArgs};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};

/// Runs a mirroring node until a signal or a request stops it.
pub(crate) async fn run(common: &Common, args: MirrorArgs) -> Result<Exit> {
    let journal = Journal {
        path: args.run.journal.clone(),
        limit: args.run.journal_limit,
    };
    let mut given = flags(common, args.run)?;
    let options = [
        (
            "--dmsg-discovery",
            "mirror.dmsg_discovery",
            args.dmsg_discovery,
        ),
        (
            "--transport-discovery",
            "mirror.transport_discovery",
            args.transport_discovery,
        ),
        (
            "--service-discovery",
            "mirror.service_discovery",
            args.service_discovery,
        ),
        ("--interval", "mirror.interval", args.interval),
    ];
    for (option, key, value) in options {
        if let Some(value) = value {
            given.push((option, key, json!(value).into()));
        }
    }
    let loaded = super::configuration(common, given)?;
    if !loaded.settings.mirror.is_on() {
        let failure = Failure::new(Code::Usage, "there is no service to mirror");
        return Err(failure.hint(
            "name one or more with --dmsg-discovery, --transport-discovery and --service-discovery",
        ));
    }
    operate(common, &loaded, Service::Node, journal, None).await
}
