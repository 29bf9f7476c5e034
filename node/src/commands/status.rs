//! `skydht status` and `skydht ping`.

use crate::access::{Access, Purpose};
use crate::api::schema::PingBody;
use crate::cli::{Common, Ping, Status, Whom};
use crate::color::{self, Painted, Tone};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output;
use crate::report::{StatusReport, Verdict};

/// Says how a node is.
pub(crate) async fn run(common: &Common, args: Status) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Look).await?;
    let result = access.status().await;
    access.close().await;
    let report = result?;
    if common.json {
        output::json(&report)?;
        return Ok(Exit::Ok);
    }
    let (word, rest) = verdict_and_rest(&report);
    output::painted_line(&word, &rest)?;
    if args.limits {
        let rows: Vec<Vec<String>> = report
            .limits
            .iter()
            .map(|limit| {
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
            })
            .collect();
        output::line(output::table(
            &["LIMIT", "USED", "MOST", "FULL", "HITS"],
            &rows,
        ))?;
    }
    Ok(Exit::Ok)
}

/// The report: its verdict, in its tone, and what follows.
fn verdict_and_rest(report: &StatusReport) -> (Painted<String>, String) {
    let text = report.to_string();
    let end = text.find(|c: char| !c.is_ascii_uppercase());
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let tone = match report.verdict {
        Verdict::Green => Tone::Good,
        Verdict::Yellow => Tone::Warning,
        Verdict::Red => Tone::Bad,
    };
    let word = Painted {
        text: word.to_owned(),
        tone,
        on: color::is_on(&std::io::stdout()),
    };
    (word, rest.to_owned())
}

/// Asks one peer for a sign of life.
pub(crate) async fn ping(common: &Common, args: Ping) -> Result<Exit> {
    let access = Access::open(common, &args.reach, Purpose::Read).await?;
    let result = async {
        let pk = match args.peer {
            Whom::Key(key) => key,
            Whom::Myself => access.own_key().await?,
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
