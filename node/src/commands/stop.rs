//! `skydht stop`: stops a node.

use std::time::Duration;

use serde_json::json;

use crate::access::{Access, Purpose};
use crate::cli::{Common, Reach, Stop};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output;

/// Longest wait for the node to stop; above the node's own limit.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks a node to stop, and waits until it has.
pub(crate) async fn run(common: &Common, args: Stop) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    access.shut_down().await?;
    if tokio::time::timeout(PATIENCE, access.gone()).await.is_err() {
        return Err(Failure::new(
            Code::Timeout,
            format_args!(
                "the node was told to stop and still runs after {} s",
                PATIENCE.as_secs()
            ),
        )
        .hint("see its log; a second signal to it (SIGTERM) ends it at once"));
    }
    if common.json {
        output::json(&json!({"schema": "skydht.stop/1", "stopped": true}))?;
    } else {
        output::line("stopped")?;
    }
    Ok(Exit::Ok)
}
