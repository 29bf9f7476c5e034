//! `skydht full-node`: full-node mode of a running node.

use crate::access::{Access, Purpose};
use crate::cli::{Common, FullNode, Reach, Switch};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Switches full-node mode, or prints whether it is on.
pub(crate) async fn run(common: &Common, args: FullNode) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let wanted = match args.switch {
        Some(Switch::On) => Some(true),
        Some(Switch::Off) => Some(false),
        Some(Switch::Status) | None => None,
    };
    let report = match wanted {
        Some(full_node) => access.set_full_node(full_node).await?,
        None => access.full_node().await?,
    };
    if common.json {
        output::json(&report)?;
        return Ok(Exit::Ok);
    }
    output::line(&report)?;
    if wanted.is_some() {
        output::talk(format_args!(
            "until the node stops; `skydht config set full_node {}` keeps it so",
            report.full_node
        ));
    }
    Ok(Exit::Ok)
}
