//! `skydht put`: publishes an item, a list or a large value.

use std::io::Read;

use skydht_core::item::{MAX_VALUE_LEN, Seq};
use skydht_core::large::{MAX_LARGE, MAX_LARGE_SALT};

use super::large;
use crate::access::{Access, Purpose};
use crate::api::schema::PutRequest;
use crate::cli::{Common, Put};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::report::PutReport;
use crate::{output, private_file};

/// Signs a value and publishes it.
pub(crate) async fn run(common: &Common, args: Put) -> Result<Exit> {
    let input = input(&args)?;
    let mut request = request(&args, &input)?;
    let access = Access::open(common, &args.reach, Purpose::Sign).await?;
    // A temporary node does not stay to renew the item.
    request.once |= !access.stays();
    let result = match input {
        PutInput::Nothing | PutInput::Item(_) => access
            .put(&request)
            .await
            .and_then(|report| show(common, &report, &request)),
        PutInput::List(array) => large::put_list(&access, common.json, &request, &array).await,
        PutInput::Large(source) => large::put(&access, common.json, &request, source).await,
    };
    access.close().await;
    result
}

/// The value to publish.
enum PutInput {
    /// Deletes the item.
    Nothing,
    Item(Vec<u8>),
    List(Vec<u8>),
    Large(large::Source),
}

fn input(args: &Put) -> Result<PutInput> {
    let mut source = match (&args.value, &args.file) {
        _ if args.delete => return Ok(PutInput::Nothing),
        (Some(value), _) if value == "-" => source(Box::new(std::io::stdin()), None, "stdin")?,
        (Some(value), _) if args.list => return Ok(PutInput::List(value.clone().into_bytes())),
        (Some(value), _) => return Ok(PutInput::Item(value.clone().into_bytes())),
        (None, Some(file)) => {
            let path = file.display().to_string();
            let file = private_file::open_data(file)?;
            let length = file.metadata().ok().filter(std::fs::Metadata::is_file);
            let length = length.map(|metadata| metadata.len());
            source(Box::new(file), length, &path)?
        }
        (None, None) => return Err(Failure::new(Code::Usage, "there is no value to put")),
    };
    if args.list {
        let mut array = source.head;
        let most = MAX_LARGE as u64;
        let read = source.rest.by_ref().take(most).read_to_end(&mut array);
        read.map_err(|error| unreadable("the list", &error))?;
        return Ok(PutInput::List(array));
    }
    Ok(match source.head.len() > MAX_VALUE_LEN {
        true => PutInput::Large(source),
        false => PutInput::Item(source.head),
    })
}

/// Reads enough of the value to know whether it fits into one item.
fn source(
    mut rest: Box<dyn Read + Send>,
    length: Option<u64>,
    name: &str,
) -> Result<large::Source> {
    if length.is_some_and(|length| length > MAX_LARGE as u64) {
        return Err(Failure::new(
            Code::TooLarge,
            format_args!("a value has at most {MAX_LARGE} bytes; {name} has more"),
        ));
    }
    let mut head = Vec::new();
    let most = MAX_VALUE_LEN as u64 + 1;
    let read = rest.by_ref().take(most).read_to_end(&mut head);
    read.map_err(|error| unreadable(name, &error))?;
    Ok(large::Source { head, rest, length })
}

fn unreadable(name: &str, error: &std::io::Error) -> Box<Failure> {
    Failure::new(Code::Local, format_args!("cannot read {name}: {error}"))
}

/// Prints the report of a put. The exit status is [`Exit::Partial`] if the item should be renewed
/// and will not be.
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

fn request(args: &Put, input: &PutInput) -> Result<PutRequest> {
    let mut request = match input {
        PutInput::Nothing => PutRequest {
            delete: true,
            ..PutRequest::default()
        },
        PutInput::Item(value) => PutRequest::of(value),
        // A placeholder that passes validation; each chunk is validated on its own.
        PutInput::List(_) | PutInput::Large(_) => PutRequest::of(b"chunks"),
    };
    request.salt = args
        .salt
        .clone()
        .or_else(|| args.salt_word.clone())
        .unwrap_or_default();
    request.seq = args.seq.map(Seq);
    request.expect = args.expect.map(|seq| Seq(seq).into());
    request.min_replicas = args.min_replicas;
    request.force = args.force;
    request.once = args.once;
    request.timeout_ms = args.timeout.map(super::millis);
    // The request is validated before any peer is contacted.
    request.read()?;
    let in_chunks = matches!(input, PutInput::List(_) | PutInput::Large(_));
    if in_chunks && request.salt.len() > MAX_LARGE_SALT {
        return Err(Failure::new(
            Code::TooLarge,
            format_args!("the salt of a value in chunks has at most {MAX_LARGE_SALT} bytes"),
        ));
    }
    Ok(request)
}
