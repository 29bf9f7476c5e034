//! `skydht put`.

use std::io::Read as _;

use skydht_core::item::{MAX_VALUE_LEN, Seq};

use crate::access::{Access, Purpose};
use crate::api::schema::PutRequest;
use crate::cli::{Common, Put};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::report::PutReport;
use crate::{output, private_file};

/// Signs a value and publishes it.
pub(crate) async fn run(common: &Common, args: Put) -> Result<Exit> {
    let mut request = request(&args)?;
    let access = Access::open(common, &args.reach, Purpose::Sign).await?;
    // What joins for one operation renews nothing, and is not expected to.
    request.once |= !access.stays();
    let result = access.put(&request).await;
    access.close().await;
    show(common, &result?, &request)
}

/// Shows what came of a put. One that should be renewed and will not be is done in part.
pub(super) fn show(common: &Common, report: &PutReport, request: &PutRequest) -> Result<Exit> {
    if common.json {
        output::json(report)?;
    } else {
        output::line(report)?;
    }
    if report.renewed || !request.wants_renewal() {
        return Ok(Exit::Ok);
    }
    output::warn(
        "nothing will renew this item, for limits.own_items is full: it dies when its life ends
  delete other items, raise the limit with `skydht config set limits.own_items N`, or say --once",
    );
    Ok(Exit::Partial)
}

fn request(args: &Put) -> Result<PutRequest> {
    let mut request = match (&args.value, &args.file) {
        _ if args.delete => PutRequest {
            delete: true,
            ..PutRequest::default()
        },
        (Some(value), _) if value == "-" => PutRequest::of(&stdin()?),
        (Some(value), _) => PutRequest::of(value.as_bytes()),
        (None, Some(file)) => {
            let most = MAX_VALUE_LEN as u64;
            PutRequest::of(&private_file::read_data(file, most)?)
        }
        (None, None) => return Err(Failure::new(Code::Usage, "there is no value to put")),
    };
    request.salt = args
        .salt
        .clone()
        .or_else(|| args.salt_word.clone())
        .unwrap_or_default();
    request.seq = args.seq.map(Seq);
    request.expect = args.expect.map(Seq);
    request.min_replicas = args.min_replicas;
    request.force = args.force;
    request.once = args.once;
    request.timeout_ms = args.timeout.map(super::millis);
    // What is wrong with it is said before anybody is asked.
    request.read()?;
    Ok(request)
}

fn stdin() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(MAX_VALUE_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Code::Local, format_args!("cannot read stdin: {error}")))?;
    if bytes.len() > MAX_VALUE_LEN {
        return Err(Failure::new(
            Code::TooLarge,
            format_args!("a value has at most {MAX_VALUE_LEN} bytes; stdin has more"),
        ));
    }
    Ok(bytes)
}
