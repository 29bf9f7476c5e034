//! Output of simulation results, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use skydht_sim::coverage::Coverage;
use skydht_sim::figures::{Comparison, RunFile, Runs, Spread, is_headline};

use crate::cli::Common;
use crate::failure::Result;
use crate::output;

/// Maximum number of columns in a table of runs; `summary.csv` has all.
const MOST_COLUMNS: usize = 6;
/// Maximum number of violations printed per run; the JSON has all.
const MOST_VIOLATIONS: usize = 5;

#[derive(Serialize)]
struct ListedScenario<'a> {
    name: &'a str,
    nodes: u32,
    about: &'a str,
}

#[derive(Serialize)]
struct List<'a> {
    schema: &'static str,
    scenarios: Vec<ListedScenario<'a>>,
}

/// Prints the scenarios: name, number of nodes, description.
pub(super) fn list(common: &Common, rows: Vec<(String, u32, String)>) -> Result<()> {
    if common.json {
        let scenarios = rows
            .iter()
            .map(|(name, nodes, about)| ListedScenario {
                name,
                nodes: *nodes,
                about,
            })
            .collect();
        return output::json(&List {
            schema: "skydht.sim_list/1",
            scenarios,
        });
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, nodes, about)| vec![name, nodes.to_string(), about])
        .collect();
    output::line(output::table(&["SCENARIO", "NODES", "WHAT"], &rows))
}

pub(super) fn comparison(common: &Common, comparison: &Comparison) -> Result<()> {
    if common.json {
        return output::json(comparison);
    }
    let rows: Vec<Vec<String>> = comparison.rows().into_iter().map(Vec::from).collect();
    output::line(output::table(&["RESULT", "A", "B", "CHANGE"], &rows))?;
    output::line(comparison)
}

#[derive(Serialize)]
struct Single<'a> {
    #[serde(flatten)]
    run: &'a RunFile,
    coverage: BTreeMap<&'a str, u64>,
}

/// Prints the result of one run.
pub(super) fn single(
    common: &Common,
    run: &RunFile,
    coverage: &Coverage,
    out: Option<&Path>,
) -> Result<()> {
    if common.json {
        return output::json(&Single {
            run,
            coverage: coverage.iter().collect(),
        });
    }
    let figures: Vec<Vec<String>> = run
        .figures
        .iter()
        .map(|(name, quantity)| vec![name.clone(), quantity.to_string()])
        .collect();
    output::line(output::table(&["FIGURE", "VALUE"], &figures))?;
    let samples: Vec<Vec<String>> = run
        .samples
        .iter()
        .map(|(name, summary)| {
            let mut row = vec![name.clone()];
            row.extend(
                summary
                    .quantities()
                    .map(|(_, quantity)| quantity.to_string()),
            );
            row
        })
        .collect();
    if !samples.is_empty() {
        let head = [
            "SAMPLES", "COUNT", "MIN", "MEAN", "P50", "P95", "P99", "MAX",
        ];
        output::line(output::table(&head, &samples))?;
    }
    output::line(format_args!("digest {}", run.digest))?;
    for violation in run.violations.iter().take(MOST_VIOLATIONS) {
        output::line(format_args!("VIOLATION {violation}"))?;
    }
    if run.violations.len() > MOST_VIOLATIONS {
        let more = run.violations.len() - MOST_VIOLATIONS;
        output::line(format_args!("… and {more} more violations"))?;
    }
    written(out);
    output::line(format_args!("rerun: {}", run.command))
}

fn written(out: Option<&Path>) {
    if let Some(dir) = out {
        output::talk(format_args!(
            "results, drawings and repro.sh are in {}",
            dir.display()
        ));
    }
}

/// Formats a run that broke an invariant in two lines.
pub(super) fn failure(run: &RunFile) -> String {
    let first = run.violations.first().map_or("", String::as_str);
    let more = match run.violations.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    format!("seed {}: {first}{more}\n  rerun: {}", run.seed, run.command)
}

#[derive(Serialize)]
struct Several<'a> {
    schema: &'static str,
    runs: &'a [RunFile],
    failed: usize,
    coverage: BTreeMap<&'a str, u64>,
    command: &'a str,
}

/// Prints several runs: medians over the seeds, with a column for each combination of parameters.
pub(super) fn several(
    common: &Common,
    runs: &Runs,
    coverage: &Coverage,
    out: Option<&Path>,
) -> Result<()> {
    if common.json {
        return output::json(&Several {
            schema: "skydht.sim_runs/1",
            runs: &runs.runs,
            failed: runs.failed(),
            coverage: coverage.iter().collect(),
            command: &runs.command,
        });
    }
    let table = runs.table();
    for part in table.chunks(MOST_COLUMNS) {
        output::line(medians(part))?;
    }
    output::line(format_args!(
        "{} runs, {} failed",
        runs.runs.len(),
        runs.failed()
    ))?;
    written(out);
    output::line(format_args!("rerun: {}", runs.command))
}

/// Formats a part of the table of runs: a row per figure, a column per combination.
fn medians(part: &[(String, usize, BTreeMap<String, Spread>)]) -> String {
    let mut head = vec!["MEDIAN OVER SEEDS".to_owned()];
    head.extend(part.iter().map(|(name, count, _)| match name.as_str() {
        "" => format!("{count} RUNS"),
        name => format!("{name} ({count} RUNS)"),
    }));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let results: BTreeSet<&String> = part
        .iter()
        .flat_map(|(_, _, spreads)| spreads.keys())
        .filter(|result| is_headline(result))
        .collect();
    let rows: Vec<Vec<String>> = results
        .into_iter()
        .map(|result| {
            let mut row = vec![result.clone()];
            row.extend(part.iter().map(|(_, _, spreads)| {
                let spread = spreads.get(result);
                spread.map_or("-".into(), |spread| spread.median.to_string())
            }));
            row
        })
        .collect();
    output::table(&head, &rows)
}
