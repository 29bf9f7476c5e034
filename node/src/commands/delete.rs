//! `skydht delete`: publishes a deletion.

use super::put;
use crate::access::{Access, Purpose};
use crate::api::schema::PutRequest;
use crate::cli::{Common, Delete, Owner};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};

/// Publishes an empty value in an item's place.
pub(crate) async fn run(common: &Common, args: Delete) -> Result<Exit> {
    let request = PutRequest {
        delete: true,
        salt: args.salt.or(args.salt_word).unwrap_or_default(),
        min_replicas: args.min_replicas,
        force: args.force,
        timeout_ms: args.timeout.map(super::millis),
        ..PutRequest::default()
    };
    // The request is validated before any peer is contacted.
    request.read()?;
    let access = Access::open(common, &args.reach, Purpose::Sign).await?;
    let result = match check(&access, args.owner).await {
        Ok(()) => access.put(&request).await,
        Err(failure) => Err(failure),
    };
    access.close().await;
    put::show(common, &result?, &request)
}

/// Fails unless the item belongs to the node.
async fn check(access: &Access, owner: Owner) -> Result<()> {
    match owner {
        Owner::Myself => Ok(()),
        Owner::Target(_) => Err(Failure::new(
            Code::Usage,
            "a target alone does not say which item to sign: give key and salt",
        )),
        Owner::Key(key) => {
            let own = access.key().await?;
            if key == own {
                return Ok(());
            }
            Err(Failure::new(
                Code::Refused,
                format_args!("only {key} can delete its items, and this node is {own}"),
            )
            .hint("use --state-dir or --api of that key's node, or --bootstrap with --key-file"))
        }
    }
}
