//! `skydht doctor`: diagnoses a node.

use crate::cli::{Common, Doctor};
use crate::doctor::examine;
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::report::Verdict;
use crate::{logging, output};

/// Prints what prevents a node from working.
pub(crate) async fn run(common: &Common, args: &Doctor) -> Result<Exit> {
    let filter = common.log.as_deref().unwrap_or("off");
    logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
    let report = examine(common, args.timeout).await;
    if common.json {
        output::json(&report)?;
    } else {
        let word = report.verdict.painted();
        output::painted_line(&word, &format!("\n{report}"))?;
    }
    // Monitoring programs expect 0, 1 or 2.
    Ok(match report.verdict {
        Verdict::Green => Exit::Ok,
        Verdict::Yellow => Exit::Local,
        Verdict::Red => Exit::Usage,
    })
}
