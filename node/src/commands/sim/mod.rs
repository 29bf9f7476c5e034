//! `skydht sim`: simulates scenarios in virtual time, and compares results.

mod present;
mod scenarios;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use skydht_sim::coverage::Coverage;
use skydht_sim::figures::{
    Cell, Comparison, Quantity, Report, ReportError, RunFile, Runs, Sweep, quote,
};
use skydht_sim::scenario::{self, Scenario};

use crate::cli::{Common, Sim};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::large_pages;
use crate::measure;
use crate::output;
use crate::private_file;
use crate::progress::Progress;
use scenarios::{BUILT_IN, Source};

/// Runs scenarios, lists them, or compares two results.
pub(crate) fn run(common: &Common, args: &Sim) -> Result<Exit> {
    if args.list {
        return list(common);
    }
    if let [a, b] = &args.compare[..] {
        return compare(common, a, b);
    }
    let Some(wanted) = &args.scenario else {
        return Err(Failure::new(Code::Usage, "which scenario?").hint("see `skydht sim --list`"));
    };
    let plan = Plan::new(wanted, args)?;
    if let Some(dir) = &args.out {
        // The directory is created first, so that a long run does not fail at its end.
        private_file::make_dirs(dir)?;
    }
    let sizes = plan.cells.iter().map(|(_, cell)| cell.population.nodes);
    large_pages::for_nodes(sizes.max().unwrap_or_default());
    if let [(cell, scenario)] = &plan.cells[..] {
        single(common, args, &plan, cell, scenario)
    } else {
        several(common, args, &plan)
    }
}

fn list(common: &Common) -> Result<Exit> {
    let mut rows = Vec::new();
    for (name, _) in BUILT_IN {
        let scenario = Source::find(name)?.with(&[])?;
        rows.push((
            (*name).to_owned(),
            scenario.population.nodes,
            scenario.about,
        ));
    }
    present::list(common, rows)?;
    Ok(Exit::Ok)
}

fn compare(common: &Common, a: &Path, b: &Path) -> Result<Exit> {
    let read = |path: &Path| {
        if !path.exists() {
            let error = std::io::ErrorKind::NotFound.into();
            return Err(private_file::failed("read", path, &error));
        }
        RunFile::read(path).map_err(|error| {
            Failure::new(Code::Local, error)
                .hint("name a `run.json`, or the directory that `skydht sim --out` wrote it to")
        })
    };
    present::comparison(common, &Comparison::of(&read(a)?, &read(b)?))?;
    Ok(Exit::Ok)
}

/// The simulations to run.
struct Plan {
    /// The scenario as named on the command line.
    scenario: String,
    /// Settings of `--set` and `--nodes`.
    settings: Vec<(String, String)>,
    cells: Vec<(Cell, Scenario)>,
    /// The command that repeats all of it.
    command: String,
    /// Runs one simulation at a time and measures memory.
    memory: bool,
}

impl Plan {
    /// Checks all arguments before anything runs.
    fn new(wanted: &str, args: &Sim) -> Result<Self> {
        let source = Source::find(wanted)?;
        let usage = |error: &dyn std::fmt::Display| Failure::new(Code::Usage, error);
        let mut settings = Vec::new();
        for text in &args.set {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| usage(&format_args!("{text:?} is no setting: write KEY=VALUE")))?;
            settings.push((key.trim().to_owned(), value.trim().to_owned()));
        }
        if let Some(nodes) = args.nodes {
            settings.push(("nodes".into(), nodes.to_string()));
        }
        let mut sweeps = args.sweep.clone();
        if let Some(models) = &args.model {
            let sweep: std::result::Result<Sweep, _> = format!("model={models}").parse();
            sweeps.push(sweep.map_err(|error| usage(&error))?);
        }
        let grid = Sweep::grid(&sweeps, args.seed, args.seeds).map_err(|error| usage(&error))?;
        let mut cells = Vec::new();
        let mut known: BTreeMap<&BTreeMap<String, String>, Scenario> = BTreeMap::new();
        for cell in &grid {
            if !known.contains_key(&cell.parameters) {
                let mut all = settings.clone();
                all.extend(cell.parameters.clone());
                known.insert(&cell.parameters, source.with(&all)?);
            }
            cells.push((cell.clone(), known[&cell.parameters].clone()));
        }
        let mut command = words(wanted, &settings);
        for sweep in &sweeps {
            command.extend([
                "--sweep".into(),
                format!("{}={}", sweep.key, sweep.values.join(",")),
            ]);
        }
        command.extend(["--seed".into(), args.seed.to_string()]);
        command.extend(["--seeds".into(), args.seeds.to_string()]);
        Ok(Self {
            scenario: wanted.into(),
            settings,
            cells,
            command: quoted(&command),
            memory: args.memory,
        })
    }

    /// Returns the command that repeats one run.
    fn command_of(&self, cell: &Cell) -> String {
        let mut settings = self.settings.clone();
        settings.extend(cell.parameters.clone());
        let mut command = words(&self.scenario, &settings);
        command.extend(["--seed".into(), cell.seed.to_string()]);
        quoted(&command)
    }

    /// Runs one simulation, and adds its parameters and command to the report.
    fn run(
        &self,
        cell: &Cell,
        scenario: &Scenario,
        progress: &mut dyn FnMut(scenario::Progress),
    ) -> Result<(Report, Coverage)> {
        measure::forget_peak();
        let outcome = skydht_sim::run(scenario, cell.seed, progress)
            .map_err(|error| Failure::new(Code::Usage, error))?;
        let mut report = outcome.report;
        if let Some(peak) = measure::peak_bytes().filter(|_| self.memory) {
            let each = Quantity::bytes(peak / report.nodes.max(1));
            report.figures.insert("memory_per_node".to_owned(), each);
        }
        report.parameters = self.settings.iter().cloned().collect();
        // The number of nodes has its own field.
        report.parameters.remove("nodes");
        report.parameters.extend(cell.parameters.clone());
        report.command = self.command_of(cell);
        Ok((report, outcome.coverage))
    }
}

fn words(scenario: &str, settings: &[(String, String)]) -> Vec<String> {
    let mut words: Vec<String> = ["skydht", "sim", "--scenario", scenario]
        .map(String::from)
        .into();
    for (key, value) in settings {
        words.extend(["--set".into(), format!("{key}={value}")]);
    }
    words
}

fn quoted(words: &[String]) -> String {
    words
        .iter()
        .map(|word| quote(word))
        .collect::<Vec<_>>()
        .join(" ")
}

fn single(
    common: &Common,
    args: &Sim,
    plan: &Plan,
    cell: &Cell,
    scenario: &Scenario,
) -> Result<Exit> {
    let bar = Progress::timed();
    let (report, coverage) = plan.run(cell, scenario, &mut watch(&bar, ""))?;
    bar.clear();
    if let Some(dir) = &args.out {
        report.write_to(dir).map_err(|error| cannot_write(&error))?;
    }
    let missing = missing(args, scenario, &coverage);
    present::single(common, &report.to_file(), &coverage, args.out.as_deref())?;
    verdict(&[report.to_file()], &missing)
}

/// Returns a callback that shows the progress of one run.
fn watch<'a>(bar: &'a Progress, run: &'a str) -> impl FnMut(scenario::Progress) + 'a {
    let mut phase = "";
    move |at| {
        if phase != at.phase {
            phase = at.phase;
            let name = format!("{run}{phase}");
            bar.begin(&name, millis(at.total));
            bar.note(&name);
        }
        bar.at(millis(at.done));
    }
}

fn several(common: &Common, args: &Sim, plan: &Plan) -> Result<Exit> {
    let count = plan.cells.len();
    let bar = Progress::timed();
    bar.begin("runs", count);
    let next = AtomicUsize::new(0);
    let results: Mutex<BTreeMap<usize, Result<(RunFile, Coverage)>>> = Mutex::default();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = if plan.memory {
        1
    } else {
        args.jobs.map_or(cores, NonZero::get).min(count)
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((cell, scenario)) = plan.cells.get(index) else {
                        return;
                    };
                    // With several jobs, concurrent runs would overwrite each other's progress.
                    let name = format!("run {} of {count}: ", index + 1);
                    let mut one = watch(&bar, &name);
                    let result = plan
                        .run(cell, scenario, &mut |at| {
                            if jobs == 1 {
                                one(at);
                            }
                        })
                        // Samples are summarised immediately, because their memory would add up
                        // over many runs.
                        .map(|(report, coverage)| (report.to_file(), coverage));
                    if let Ok((run, _)) = &result
                        && !run.violations.is_empty()
                    {
                        bar.end(&present::failure(run));
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.insert(index, result);
                    if jobs > 1 {
                        bar.step();
                    }
                }
            });
        }
    });
    bar.clear();
    let mut runs = Runs {
        runs: Vec::new(),
        command: plan.command.clone(),
    };
    let mut coverage = Coverage::default();
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    for result in results.into_values() {
        let (run, counted) = result?;
        runs.runs.push(run);
        coverage.merge(&counted);
    }
    if let Some(dir) = &args.out {
        runs.write_to(dir).map_err(|error| cannot_write(&error))?;
    }
    let missing = plan
        .cells
        .first()
        .map_or_else(Vec::new, |(_, scenario)| missing(args, scenario, &coverage));
    present::several(common, &runs, &coverage, args.out.as_deref())?;
    verdict(&runs.runs, &missing)
}

/// Converts an error of writing results.
fn cannot_write(error: &ReportError) -> Box<Failure> {
    match error {
        ReportError::Io { path, error } => private_file::failed("write", path, error),
        other => Failure::new(Code::Local, other),
    }
}

/// Returns the coverage counters below the scenario's goals: name, goal, value.
fn missing(args: &Sim, scenario: &Scenario, coverage: &Coverage) -> Vec<(String, u64, u64)> {
    if args.coverage {
        coverage.missing(&scenario.coverage)
    } else {
        Vec::new()
    }
}

fn verdict(runs: &[RunFile], missing: &[(String, u64, u64)]) -> Result<Exit> {
    for (name, wanted, reached) in missing {
        output::talk(format_args!(
            "coverage: {name} happened {reached} times, wanted {wanted}"
        ));
    }
    let failed = runs.iter().filter(|run| !run.violations.is_empty()).count();
    if failed == 0 && missing.is_empty() {
        return Ok(Exit::Ok);
    }
    if failed > 0 {
        output::talk(format_args!("FAILED: {failed} of {} runs", runs.len()));
    }
    Ok(Exit::Local)
}

fn millis(duration: std::time::Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}
