//! `skydht ls`: lists own items.

use crate::access::{Access, Purpose};
use crate::cli::{Common, Ls, Reach};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Prints the items that a node renews.
pub(crate) async fn run(common: &Common, args: Ls) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let report = access.items().await?;
    if common.json {
        output::json(&report)?;
        return Ok(Exit::Ok);
    }
    if report.items.is_empty() {
        output::talk("no items: `skydht put VALUE --salt SALT` publishes one");
    } else {
        output::line(&report)?;
    }
    Ok(Exit::Ok)
}
