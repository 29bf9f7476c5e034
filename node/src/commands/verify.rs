//! `skydht verify`: checks the replicas of own items.

use crate::access::{Access, Purpose};
use crate::api::schema::VerifyBody;
use crate::cli::{Common, Reach, Verify};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Reads the node's own items back from the closest peers.
pub(crate) async fn run(common: &Common, args: Verify) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let body = VerifyBody {
        salts: args.salts,
        all: args.all,
        timeout_ms: args.timeout.map(super::millis),
    };
    let report = access.verify(&body).await?;
    if common.json {
        output::json(&report)?;
    } else if report.items.is_empty() {
        output::talk("no items: `skydht put VALUE --salt SALT` publishes one");
    } else {
        output::line(&report)?;
    }
    Ok(match report.not_held().next() {
        None => Exit::Ok,
        Some(_) => Exit::Partial,
    })
}
