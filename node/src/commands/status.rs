//! `skydht status` and `skydht ping`: the state of a node, and of one peer.

use std::io::IsTerminal as _;

use crate::access::{Access, Purpose};
use crate::api::schema::PingBody;
use crate::cli::{Common, Ping, PingTarget, Status};
use crate::color::Painted;
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output::{self, Human};
use crate::report::{LimitReport, StatusReport, TaskReport, from_ms};

/// Prints the status of a node, once or repeatedly.
pub(crate) async fn run(common: &Common, args: Status) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Look).await?;
    let result = match args.watch {
        true => watch(common, &access, &args).await,
        false => once(common, &access, &args).await,
    };
    access.close().await;
    result.map(|()| Exit::Ok)
}

async fn once(common: &Common, access: &Access, args: &Status) -> Result<()> {
    let report = access.status().await?;
    if common.json {
        return output::json(&report);
    }
    let (word, rest) = verdict_and_rest(&report);
    output::painted_line(&word, &rest)?;
    for table in tables(&report, args) {
        output::line(table)?;
    }
    Ok(())
}

/// Prints the status repeatedly, until stdout is closed or the node stops.
async fn watch(common: &Common, access: &Access, args: &Status) -> Result<()> {
    let as_json = common.json || !std::io::stdout().is_terminal();
    loop {
        let report = access.status().await?;
        let text = match as_json {
            true => {
                serde_json::to_string(&report).map_err(|error| Failure::new(Code::Local, error))?
            }
            false => {
                let mut parts = vec![report.to_string()];
                parts.extend(tables(&report, args));
                parts.join("\n")
            }
        };
        if !output::redraw(&text)? {
            return Ok(());
        }
        tokio::time::sleep(args.every).await;
    }
}

/// Returns the tables requested by options.
fn tables(report: &StatusReport, args: &Status) -> Vec<String> {
    let limits = args.limits.then(|| limits(report));
    let tasks = args.tasks.then(|| tasks(report));
    limits.into_iter().chain(tasks).collect()
}

fn tasks(report: &StatusReport) -> String {
    let time = |ms: Option<f64>| ms.map_or("-".into(), |ms| Human(from_ms(ms)).to_string());
    let row = |task: &TaskReport| {
        vec![
            task.task.clone(),
            time(task.last_ok_ms),
            time(task.last_run_ms),
            time(task.next_ms),
            task.runs.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = report.tasks.iter().map(row).collect();
    let head = ["TASK", "LAST OK", "LAST RUN", "NEXT", "RUNS"];
    output::table(&head, &rows)
}

fn limits(report: &StatusReport) -> String {
    let row = |limit: &LimitReport| {
        let percent = limit
            .percent()
            .map_or("-".into(), |percent| format!("{percent} %"));
        vec![
            limit.key.clone(),
            limit.used.to_string(),
            limit.most(),
            percent,
            limit.hits.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = report.limits.iter().map(row).collect();
    output::table(&["LIMIT", "USED", "MOST", "FULL", "HITS"], &rows)
}

/// Splits the report into its coloured verdict and the text after it.
fn verdict_and_rest(report: &StatusReport) -> (Painted<String>, String) {
    let text = report.to_string();
    let end = text.find(|c: char| !c.is_ascii_uppercase());
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    debug_assert_eq!(word, report.verdict.to_string());
    (report.verdict.painted(), rest.to_owned())
}

/// Pings a peer and prints the result.
pub(crate) async fn ping(common: &Common, args: Ping) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Read).await?;
    let result = async {
        let pk = match args.peer {
            PingTarget::Key(key) => key,
            PingTarget::Myself => access.own_key().await?,
        };
        let addr = args.addr;
        access.ping(&PingBody { pk, addr }).await
    };
    let result = result.await;
    access.close().await;
    let report = result?;
    if common.json {
        output::json(&report)?;
    } else {
        output::line(&report)?;
    }
    Ok(Exit::Ok)
}
