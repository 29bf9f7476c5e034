//! `skydht list`: lists stored items.

use crate::access::{Access, Purpose};
use crate::api::schema::ListBody;
use crate::cli::{Common, List, Reach};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Items per page.
const PAGE: u64 = 256;

/// Prints a node's items page by page.
pub(crate) async fn run(common: &Common, args: List) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let mut body = ListBody {
        salt: args.salt,
        pk: args.owner,
        prefix: args.prefix,
        from: None,
        limit: PAGE,
        values: args.values,
    };
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut any = false;
    loop {
        body.limit = left.min(PAGE);
        let page = access.list(&body).await?;
        left = left.saturating_sub(page.items.len() as u64);
        for item in &page.items {
            any = true;
            match common.json {
                true => output::json(item)?,
                false => output::line(item)?,
            }
        }
        match page.next {
            Some(next) if left > 0 => body.from = Some(next),
            _ => break,
        }
    }
    if !any && !common.json {
        output::talk("the node holds no such item; a full node (`skydht full-node`) holds all");
    }
    Ok(Exit::Ok)
}
