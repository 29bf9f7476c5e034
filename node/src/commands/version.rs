//! `skydht version`.

use serde_json::json;

use crate::cli::Common;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;

/// Prints the program's version.
pub(crate) fn run(common: &Common) -> Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    if common.json {
        output::json(&json!({"schema": "skydht.version/1", "version": version}))?;
    } else {
        output::line(format_args!("skydht {version}"))?;
    }
    Ok(Exit::Ok)
}
