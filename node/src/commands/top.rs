//! `skydht top`: shows the status page in a terminal.

mod picture;

use tokio::time::sleep;

use crate::access::{Access, Purpose};
use crate::cli::{Common, Top};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use picture::Picture;

/// Draws a node repeatedly.
pub(crate) async fn run(common: &Common, args: Top) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Look).await?;
    let result = draw(common, &access, &args).await;
    access.close().await;
    result.map(|()| Exit::Ok)
}

/// Draws until stdout is closed or the node stops.
async fn draw(common: &Common, access: &Access, args: &Top) -> Result<()> {
    loop {
        let picture = Picture {
            status: access.status().await?,
            peers: access.peers().await?,
            items: access.items().await?,
            metrics: access.metrics().await?,
        };
        if common.json {
            return output::json(&picture.json());
        }
        let wanted = output::redraw(&picture.to_string())?;
        if !wanted || args.once {
            return Ok(());
        }
        sleep(args.every).await;
    }
}
