//! `skydht sync`: reconciles full nodes.

use std::time::Duration;

use crate::access::{Access, Purpose};
use crate::api::schema::SyncBody;
use crate::cli::{Common, Reach, Sync};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use crate::report::SyncReport;

/// Interval between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// Reconciles a running node with other full nodes.
pub(crate) async fn run(common: &Common, args: Sync) -> Result<Exit> {
    if args.salt.is_some() {
        output::warn(
            "--salt changes nothing: a reconciliation covers all salts; `skydht list --salt SALT` shows one",
        );
    }
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let body = SyncBody {
        pk: args.peer,
        timeout_ms: args.timeout.map(super::millis),
    };
    let report = tokio::select! {
        report = access.sync(&body) => report?,
        never = progress(&access) => match never {},
    };
    if common.json {
        output::json(&report)?;
    } else {
        output::line(&report)?;
    }
    Ok(exit(&report))
}

/// Prints the progress of the sessions until it is dropped.
async fn progress(access: &Access) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        // An error is ignored here: the request in progress reports it.
        for session in access.syncs().await.into_iter().flat_map(|it| it.sessions) {
            output::talk(&session);
        }
    }
}

fn exit(report: &SyncReport) -> Exit {
    let mut failed = report.peers.iter().filter(|peer| peer.error.is_some());
    match failed.clone().next() {
        None => Exit::Ok,
        Some(_) if failed.any(|peer| peer.is_unfinished()) => Exit::Timeout,
        Some(_) => Exit::Partial,
    }
}
