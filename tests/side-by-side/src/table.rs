//! The medians of several reports, as Markdown with ratios.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::Result;

/// A column: its head, the figures in it by their JSON pointers, their digits behind the point.
struct Column(&'static str, &'static [&'static str], usize);

const COLUMNS: [Column; 8] = [
    Column("puts/s", &["/puts_per_s"], 0),
    Column("put p50 / p99, ms", &["/put_p50_ms", "/put_p99_ms"], 1),
    Column("CPU a put, ms", &["/put/each/cpu_ms"], 2),
    Column("gets/s", &["/gets_per_s"], 0),
    Column("get p50 / p99, ms", &["/get_p50_ms", "/get_p99_ms"], 2),
    Column("CPU a get, ms", &["/get/each/cpu_ms"], 2),
    Column("RSS / at most, MiB", &["/rss_mib", "/rss_peak_mib"], 0),
    Column("up / warm after, s", &["/up_s", "/warm_up_s"], 1),
];

/// Reports of the same size of network and load.
struct Setting {
    head: String,
    /// The first is compared with.
    peers: Vec<(String, Vec<Value>)>,
}

/// The tables of reports in files.
pub(crate) fn of_files(files: &[PathBuf]) -> Result<String> {
    let mut reports = Vec::new();
    for file in files {
        let at = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| at(error.to_string()))?;
        reports.push(serde_json::from_str(&text).map_err(|error| at(error.to_string()))?);
    }
    of_reports(reports)
}

fn of_reports(reports: Vec<Value>) -> Result<String> {
    let mut settings: Vec<Setting> = Vec::new();
    for report in reports {
        let head = head(&report);
        let index = settings.iter().position(|setting| setting.head == head);
        let index = index.unwrap_or_else(|| {
            settings.push(Setting {
                head,
                peers: Vec::new(),
            });
            settings.len() - 1
        });
        let (name, peers) = (name(&report), &mut settings[index].peers);
        match peers.iter_mut().find(|(peer, _)| *peer == name) {
            Some((_, reports)) => reports.push(report),
            None => peers.push((name, vec![report])),
        }
    }
    let mut text = String::new();
    for setting in &settings {
        table(&mut text, setting).map_err(|error| error.to_string())?;
    }
    Ok(text)
}

fn number(report: &Value, pointer: &str) -> Option<f64> {
    report.pointer(pointer)?.as_f64()
}

fn head(report: &Value) -> String {
    let field = |pointer| number(report, pointer).unwrap_or_default();
    format!(
        "{} nodes, {} operations of each kind, {} concurrently, {} bytes",
        field("/nodes"),
        field("/ops"),
        field("/concurrency"),
        field("/value_bytes")
    )
}

/// A report of ours names no library.
fn name(report: &Value) -> String {
    let text = |field: &str| report[field].as_str().unwrap_or("?").to_owned();
    match report["peer"].as_str() {
        Some(peer) => format!("{peer} ({})", text("transport").to_uppercase()),
        None => format!("skydht {} (TCP)", text("version")),
    }
}

/// The median of one figure (nearest rank, as in our benches); none where a report lacks it.
fn median(reports: &[Value], pointer: &str) -> Option<f64> {
    let figures: Option<Vec<f64>> = reports.iter().map(|it| number(it, pointer)).collect();
    let mut figures = figures?;
    figures.sort_by(f64::total_cmp);
    figures
        .get(figures.len().div_ceil(2).checked_sub(1)?)
        .copied()
}

fn table(text: &mut String, setting: &Setting) -> std::fmt::Result {
    let Some((_, ours)) = setting.peers.first() else {
        return Ok(());
    };
    let rounds = setting.peers.iter().map(|(_, reports)| reports.len());
    let (least, most) = (rounds.clone().min(), rounds.max());
    let rounds = match (least.unwrap_or_default(), most.unwrap_or_default()) {
        (1, 1) => "one round".to_owned(),
        (least, most) if least == most => format!("medians of {most} rounds"),
        (least, most) => format!("medians of {least} to {most} rounds"),
    };
    writeln!(text, "\n{}: {rounds}\n", setting.head)?;
    let heads: Vec<&str> = COLUMNS.iter().map(|Column(head, ..)| *head).collect();
    writeln!(text, "| | {} |", heads.join(" | "))?;
    writeln!(text, "|---{}|", "|---".repeat(heads.len()))?;
    for (index, (name, reports)) in setting.peers.iter().enumerate() {
        write!(text, "| {name} ")?;
        for Column(_, pointers, digits) in &COLUMNS {
            let cells: Vec<String> = pointers
                .iter()
                .map(|pointer| {
                    let figure = median(reports, pointer);
                    let first = median(ours, pointer).filter(|_| index > 0);
                    cell(figure, first, *digits)
                })
                .collect();
            write!(text, "| {} ", cells.join(" / "))?;
        }
        writeln!(text, "|")?;
    }
    writeln!(
        text,
        "\nIn brackets: the figure divided by that of the first row."
    )?;
    for (name, reports) in &setting.peers {
        let (Some(holders), Some(local)) =
            (median(reports, "/holders"), median(reports, "/local_gets"))
        else {
            continue;
        };
        writeln!(
            text,
            "{name}: {holders:.1} holders a value, {:.0} % of the gets from the node's own store.",
            local * 100.0
        )?;
    }
    Ok(())
}

fn cell(figure: Option<f64>, first: Option<f64>, digits: usize) -> String {
    match (figure, first) {
        (None, _) => "–".into(),
        (Some(figure), Some(first)) if first > 0.0 => {
            let ratio = figure / first;
            let ratio_digits = match ratio {
                10.0.. => 0,
                0.1.. => 2,
                _ => 3,
            };
            format!("{figure:.digits$} ({ratio:.ratio_digits$})")
        }
        (Some(figure), _) => format!("{figure:.digits$}"),
    }
}
