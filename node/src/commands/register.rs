//! `skydht register`: registers what this visor has.

use std::io::Read as _;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::access::{Access, Purpose};
use crate::api::register::RegisterBody;
use crate::cli::{Common, Reach, RegisterArgs};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output;
use crate::path_text::shown;

/// Largest input file, in bytes.
const LONGEST: u64 = 2 << 20;

/// Registers the given parts, or prints what is registered.
pub(crate) async fn run(common: &Common, args: RegisterArgs) -> Result<Exit> {
    let access = Access::open(common, &Reach::from(args.running), Purpose::Look).await?;
    let address = args.address.map(|address| address.to_string());
    let body = RegisterBody {
        transports: args.transports.as_deref().map(list).transpose()?,
        services: args.services.as_deref().map(list).transpose()?,
        address: address.or_else(|| args.no_address.then(String::new)),
    };
    let report = match body == RegisterBody::default() {
        true => access.registered().await?,
        false => access.register(&body).await?,
    };
    if common.json {
        output::json(&report)?;
    } else {
        output::line(&report)?;
    }
    Ok(Exit::Ok)
}

fn list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let wrong = |code, error: &dyn std::fmt::Display| {
        Failure::new(code, format_args!("{}: {error}", shown(path)))
    };
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(LONGEST + 1).read_to_end(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(|error| wrong(Code::Local, &error))?;
        file.take(LONGEST + 1).read_to_end(&mut text)
    };
    read.map_err(|error| wrong(Code::Local, &error))?;
    if text.len() as u64 > LONGEST {
        let why = format!("longer than {LONGEST} bytes");
        return Err(wrong(Code::Usage, &why));
    }
    serde_json::from_slice(&text).map_err(|error| wrong(Code::Usage, &error))
}
