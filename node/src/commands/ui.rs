//! `skydht ui`: opens the status page.

use serde_json::json;

use crate::access::{Access, Purpose};
use crate::cli::{Common, Reach, Ui};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Prints a link that opens the status page once.
pub(crate) async fn run(common: &Common, args: Ui) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let link = access.ui_link().await?;
    if common.json {
        output::json(&json!({
            "schema": "skydht.ui-link/1",
            "url": link.url,
            "expires_in_ms": link.expires_in_ms,
        }))?;
    } else {
        output::line(&link.url)?;
        output::talk("it opens the page once, within a minute, and keeps the browser for 12 hours");
    }
    Ok(Exit::Ok)
}
