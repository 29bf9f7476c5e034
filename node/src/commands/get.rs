//! `skydht get`.

use std::io::IsTerminal as _;

use skydht_core::node::ReadPolicy;

use crate::access::{Access, Purpose};
use crate::api::schema::GetBody;
use crate::cli::{Common, Get, parse_policy};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output;
use crate::report::GetReport;

/// Reads an item.
pub(crate) async fn run(common: &Common, args: Get) -> Result<Exit> {
    let salt = args.salt.or(args.salt_word).unwrap_or_default();
    let body = GetBody {
        owner: args.owner.to_string(),
        salt,
        policy: Some(args.policy.to_string()),
        unknown_mirrors: args.unknown_mirrors,
        timeout_ms: args.timeout.map(super::millis),
    };
    let access = Access::open(common, &args.reach, Purpose::Read).await?;
    let result = access.get(body).await;
    access.close().await;
    let report = match result {
        Ok(report) => report,
        Err(failure) => {
            // A value that came too late for its policy is shown all the same.
            if let Some(best) = late_value(&failure).filter(|_| !common.json) {
                show(&best)?;
            }
            return Err(failure);
        }
    };
    if common.json {
        output::json(&report)?;
    } else {
        show(&report)?;
    }
    match parse_policy(&args.policy) {
        Ok(ReadPolicy::Quorum(wanted)) if usize::from(report.agree) < usize::from(wanted) => {
            output::warn(format_args!(
                "{} peers agree, fewer than the {wanted} asked for, and no more hold it",
                report.agree
            ));
            Ok(Exit::Partial)
        }
        _ => Ok(Exit::Ok),
    }
}

fn show(report: &GetReport) -> Result<()> {
    let bytes = report.bytes();
    output::value(&bytes)?;
    if std::io::stdout().is_terminal() && !bytes.ends_with(b"\n") {
        // For the eye only: stdout gets the value and nothing else.
        output::talk("");
    }
    output::talk(report);
    Ok(())
}

fn late_value(failure: &Failure) -> Option<GetReport> {
    let details = failure
        .details
        .clone()
        .filter(|_| failure.code == Code::Partial)?;
    serde_json::from_value(details).ok()
}
