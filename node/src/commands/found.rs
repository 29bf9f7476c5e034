//! `skydht services` and `skydht transports`: list records of visors.

use crate::access::{Access, Purpose};
use crate::api::schema::{ServicesBody, TransportsBody};
use crate::cli::{Common, Reach, ServicesArgs, TransportsArgs};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Printed when a list may be incomplete.
const PARTIAL: &str =
    "this node holds only a part of all records; a full node (`skydht full-node`) holds all";

/// Lists services.
pub(crate) async fn services(common: &Common, args: ServicesArgs) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let body = ServicesBody {
        kind: args.kind,
        country: args.country,
        version: args.version,
    };
    let report = access.services(&body).await?;
    if common.json {
        output::json(&report)?;
    } else {
        if !report.services.is_empty() {
            output::line(&report)?;
        }
        if !report.complete {
            output::talk(PARTIAL);
        }
    }
    Ok(found(report.services.len()))
}

/// Lists transports.
pub(crate) async fn transports(common: &Common, args: TransportsArgs) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let body = TransportsBody {
        edge: args.edge,
        id: args.id,
    };
    let report = access.transports(&body).await?;
    if common.json {
        output::json(&report)?;
    } else {
        if !report.transports.is_empty() {
            output::line(&report)?;
        }
        if !report.complete {
            output::talk(PARTIAL);
        }
    }
    Ok(found(report.transports.len()))
}

fn found(count: usize) -> Exit {
    match count {
        0 => Exit::NotFound,
        _ => Exit::Ok,
    }
}
