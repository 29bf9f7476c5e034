//! `skydht watch`: prints new versions of an item.

use std::time::{Duration, Instant};

use skydht_core::item::Seq;

use crate::access::{Access, Purpose};
use crate::api::schema::WatchBody;
use crate::cli::{Common, Watch};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output::{self, Human};
use crate::report::VersionReport;

/// Interval between two requests, so that a node that has stopped is noticed.
const ROUND: Duration = Duration::from_secs(30);

/// Prints versions of an item as they arrive.
pub(crate) async fn run(common: &Common, args: Watch) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Read).await?;
    let mut body = WatchBody {
        owner: args.owner.to_string(),
        salt: args.salt.or(args.salt_word).unwrap_or_default(),
        after: args.after.map(Seq),
        unknown_mirrors: args.unknown_mirrors,
        timeout_ms: None,
    };
    let mut left = args.count;
    let result = loop {
        if left == Some(0) {
            break Ok(Exit::Ok);
        }
        match next(&access, &mut body, args.timeout).await {
            Ok(version) => {
                body.after = Some(version.seq);
                show(common, &version)?;
                left = left.map(|left| left - 1);
            }
            Err(failure) => break Err(resumable(failure, &body)),
        }
    };
    access.close().await;
    result
}

/// Returns the next version, in several requests if necessary.
async fn next(
    access: &Access,
    body: &mut WatchBody,
    timeout: Option<Duration>,
) -> Result<VersionReport> {
    let begun = Instant::now();
    waiting(body);
    loop {
        let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
        let round = left.map_or(ROUND, |left| left.min(ROUND));
        body.timeout_ms = Some(super::millis(round).max(1));
        match access.watch(body).await {
            Err(failure) if failure.code == Code::NothingNew => {}
            answer => return answer,
        }
        if let Some(timeout) = timeout.filter(|timeout| begun.elapsed() >= *timeout) {
            let text = format!("nothing newer came within {}", Human(timeout));
            return Err(Failure::new(Code::Timeout, text));
        }
    }
}

fn waiting(body: &WatchBody) {
    match body.after {
        None => output::talk("waiting for the item"),
        Some(after) => output::talk(format_args!(
            "waiting for something newer than sequence {after}"
        )),
    }
}

fn show(common: &Common, version: &VersionReport) -> Result<()> {
    if common.json {
        return output::json(version);
    }
    output::talk(version);
    if !version.deleted {
        output::value(&version.bytes())?;
        output::line("")?;
    }
    Ok(())
}

/// Adds a hint how to resume after the last version seen.
fn resumable(failure: Box<Failure>, body: &WatchBody) -> Box<Failure> {
    match body.after {
        Some(after) => failure.hint(format_args!("to go on from here: --after {after}")),
        None => failure,
    }
}
