//! Runs of one scenario with different parameters and seeds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use super::fit::LogFit;
use super::plot::{Axis, Chart, Mark, Point, Scale, Series};
use super::quantity::Quantity;
use super::report::{ReportError, RunFile, make_dir, rows, write, write_chart, write_script};
use super::samples::quantile;

/// Maximum number of runs of one sweep.
const MAX_RUNS: usize = 100_000;
/// Number of nodes up to which a fit is extrapolated.
const PREDICTED_NODES: f64 = 1e7;

/// A parameter and the values that it takes: `dead=0,0.1,0.2`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sweep {
    /// Name of the parameter.
    pub key: String,
    /// Its values without duplicates.
    pub values: Vec<String>,
}

/// Reason why a sweep cannot be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The text does not have the form `KEY=VALUE,VALUE,…`.
    #[error("{0:?} is no sweep: write KEY=VALUE,VALUE,…")]
    Form(String),
    /// A value occurs twice.
    #[error("{key} takes the value {value:?} twice")]
    Twice {
        /// Name of the parameter.
        key: String,
        /// The repeated value.
        value: String,
    },
    /// A parameter occurs twice.
    #[error("{0} is swept twice")]
    KeyTwice(String),
    /// The sweep has too many runs.
    #[error("more than {MAX_RUNS} runs")]
    TooMany,
}

impl FromStr for Sweep {
    type Err = SweepError;

    fn from_str(text: &str) -> Result<Self, SweepError> {
        let wrong = || SweepError::Form(text.into());
        let (key, values) = text.split_once('=').ok_or_else(wrong)?;
        let (key, values): (_, Vec<&str>) =
            (key.trim(), values.split(',').map(str::trim).collect());
        if key.is_empty() || values.iter().any(|value| value.is_empty()) {
            return Err(wrong());
        }
        let mut seen = BTreeSet::new();
        if let Some(value) = values.iter().find(|value| !seen.insert(**value)) {
            return Err(SweepError::Twice {
                key: key.into(),
                value: (*value).into(),
            });
        }
        Ok(Self {
            key: key.into(),
            values: values.into_iter().map(String::from).collect(),
        })
    }
}

/// Parameters and seed of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cell {
    /// Parameters that the sweeps set.
    pub parameters: BTreeMap<String, String>,
    /// Seed of the run.
    pub seed: u64,
}

impl Sweep {
    /// Returns every combination of values, each with `seeds` seeds that start at `first`. The seed
    /// varies fastest, then the last sweep. Without sweeps, only the seed varies.
    ///
    /// # Errors
    /// A parameter occurs twice, or there are too many runs.
    pub fn grid(sweeps: &[Self], first: u64, seeds: u64) -> Result<Vec<Cell>, SweepError> {
        let mut keys = BTreeSet::new();
        if let Some(sweep) = sweeps.iter().find(|sweep| !keys.insert(&sweep.key)) {
            return Err(SweepError::KeyTwice(sweep.key.clone()));
        }
        let seeds = usize::try_from(seeds).map_err(|_| SweepError::TooMany)?;
        sweeps
            .iter()
            .try_fold(seeds, |runs, sweep| runs.checked_mul(sweep.values.len()))
            .filter(|runs| *runs <= MAX_RUNS)
            .ok_or(SweepError::TooMany)?;
        let mut combinations = vec![BTreeMap::new()];
        for sweep in sweeps {
            combinations = combinations
                .iter()
                .flat_map(|others| {
                    sweep.values.iter().map(|value| {
                        let mut parameters = others.clone();
                        parameters.insert(sweep.key.clone(), value.clone());
                        parameters
                    })
                })
                .collect();
        }
        Ok(combinations
            .into_iter()
            .flat_map(|parameters| {
                (0..seeds as u64).map(move |n| Cell {
                    parameters: parameters.clone(),
                    seed: first.wrapping_add(n),
                })
            })
            .collect())
    }
}

/// The results of several runs.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Runs {
    /// Results of the runs, in order.
    pub runs: Vec<RunFile>,
    /// The command that repeats the runs.
    pub command: String,
}

/// Median and extremes of one result over the seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// The smallest value.
    pub low: Quantity,
    /// The median.
    pub median: Quantity,
    /// The largest value.
    pub high: Quantity,
}

/// Runs that differ only in their seeds.
struct Group<'a> {
    parameters: &'a BTreeMap<String, String>,
    nodes: u64,
    columns: Vec<BTreeMap<String, Quantity>>,
}

impl Runs {
    /// Number of runs that violated an invariant.
    #[must_use]
    pub fn failed(&self) -> usize {
        let failed = |run: &&RunFile| !run.violations.is_empty();
        self.runs.iter().filter(failed).count()
    }

    /// CSV with one line per run.
    #[must_use]
    pub fn to_csv(&self) -> String {
        rows(&self.runs)
    }

    /// For each combination of parameters, in the order of the runs: its name, its number of runs,
    /// and the spread of each result.
    #[must_use]
    pub fn table(&self) -> Vec<(String, usize, BTreeMap<String, Spread>)> {
        let varied = self.varied();
        let mut rows = Vec::new();
        for group in self.groups() {
            let name: Vec<String> = varied
                .iter()
                .map(|key| format!("{key}={}", group.value(key)))
                .collect();
            let columns: BTreeSet<&String> = group.columns.iter().flat_map(|c| c.keys()).collect();
            let spreads = columns
                .into_iter()
                .filter_map(|column| Some((column.clone(), group.spread(column)?)))
                .collect();
            rows.push((name.join(" "), group.columns.len(), spreads));
        }
        rows
    }

    /// A chart of each result over the first parameter that is a number in every run, with a series
    /// for each combination of the other parameters. Empty if no such parameter varies.
    #[must_use]
    pub fn charts(&self) -> BTreeMap<String, Chart> {
        let mut varied = self.varied();
        let groups = self.groups();
        let Some(over) = varied
            .iter()
            .position(|key| groups.iter().all(|group| group.number(key).is_some()))
        else {
            return BTreeMap::new();
        };
        let over = varied.remove(over);
        let columns: BTreeMap<&String, Quantity> = groups
            .iter()
            .flat_map(|group| &group.columns)
            .flat_map(|columns| columns.iter().map(|(name, quantity)| (name, *quantity)))
            .filter(|(name, _)| is_headline(name))
            .collect();
        columns
            .into_iter()
            .map(|(column, quantity)| {
                let chart = self.chart(&groups, &over, &varied, column, quantity);
                (format!("{column}_over_{over}"), chart)
            })
            .collect()
    }

    fn chart(
        &self,
        groups: &[Group<'_>],
        over: &str,
        others: &[String],
        column: &str,
        quantity: Quantity,
    ) -> Chart {
        let mut series: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        for group in groups {
            let name: Vec<String> = others.iter().map(|key| group.value(key)).collect();
            let (Some(x), Some(spread)) = (group.number(over), group.spread(column)) else {
                continue;
            };
            let spread_of = (spread.low.shown(), spread.high.shown());
            let point = Point {
                x,
                y: spread.median.shown(),
                spread: (group.columns.len() > 1).then_some(spread_of),
            };
            series.entry(name.join(", ")).or_default().push(point);
        }
        for points in series.values_mut() {
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
        }
        let scale = scale_of(series.values().flatten().map(|point| point.x));
        let mut drawn = Vec::new();
        for (name, points) in series {
            let known: Vec<(f64, f64)> = points.iter().map(|point| (point.x, point.y)).collect();
            let name = if name.is_empty() { column.into() } else { name };
            let fit = LogFit::of(&known).filter(|_| scale == Scale::Log && known.len() >= 3);
            let ends = known.first().zip(known.last()).map(|(a, b)| (a.0, b.0));
            let fitted = fit.zip(ends).map(|(fit, (first, last))| {
                let to = if over == "nodes" {
                    last.max(PREDICTED_NODES)
                } else {
                    last
                };
                Series::fitted(&format!("fit, {name}"), &fit, first, to)
            });
            let mark = Mark::Line;
            drawn.push(Series { name, points, mark });
            drawn.extend(fitted);
        }
        let scenario = self.runs.first().map_or("", |run| run.scenario.as_str());
        Chart {
            title: format!("{scenario}: {column} over {over}"),
            x: Axis {
                label: over.into(),
                scale,
            },
            y: Axis::linear(format!("{column}, median{}", quantity.unit.label())),
            series: drawn,
        }
    }

    /// Writes `summary.csv`, `runs.json`, `repro.sh` and a chart of each result.
    ///
    /// # Errors
    /// [`ReportError::Io`].
    pub fn write_to(&self, dir: &Path) -> Result<(), ReportError> {
        make_dir(dir)?;
        write(dir, "summary.csv", &self.to_csv())?;
        // The same format as `run.json`.
        let mut json = serde_json::to_string_pretty(&self.runs).unwrap_or_default();
        json.push('\n');
        write(dir, "runs.json", &json)?;
        write_script(dir, &self.command)?;
        for (name, chart) in self.charts() {
            write_chart(dir, &name, &chart)?;
        }
        Ok(())
    }

    /// The parameters that differ between runs. `nodes` is treated as a parameter.
    fn varied(&self) -> Vec<String> {
        let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for run in &self.runs {
            for (key, value) in &run.parameters {
                // `population.nodes` is the long name of `nodes`; using both would make each size a
                // series of its own.
                if key != "population.nodes" {
                    values.entry(key).or_default().insert(value.clone());
                }
            }
            values
                .entry("nodes")
                .or_default()
                .insert(run.nodes.to_string());
        }
        values
            .into_iter()
            .filter(|(_, values)| values.len() > 1)
            .map(|(key, _)| key.into())
            .collect()
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for run in &self.runs {
            let same = |group: &&mut Group<'_>| {
                *group.parameters == run.parameters && group.nodes == run.nodes
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.columns.push(run.columns()),
                None => groups.push(Group {
                    parameters: &run.parameters,
                    nodes: run.nodes,
                    columns: vec![run.columns()],
                }),
            }
        }
        groups
    }
}

impl Group<'_> {
    fn value(&self, key: &str) -> String {
        match self.parameters.get(key) {
            Some(value) => value.clone(),
            None if key == "nodes" => self.nodes.to_string(),
            None => "-".into(),
        }
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.value(key).parse().ok().filter(|n: &f64| n.is_finite())
    }

    fn spread(&self, column: &str) -> Option<Spread> {
        let mut values = Vec::new();
        let mut unit = None;
        for quantity in self
            .columns
            .iter()
            .filter_map(|columns| columns.get(column))
        {
            values.push(quantity.value);
            unit = Some(quantity.unit);
        }
        values.sort_unstable();
        let unit = unit?;
        let of = |value| Quantity { value, unit };
        Some(Spread {
            low: of(*values.first()?),
            median: of(quantile(&values, 500)?),
            high: of(*values.last()?),
        })
    }
}

/// Whether a column is important enough for a table row and a chart: single results, and the median
/// and the 99th percentile of samples.
#[must_use]
pub fn is_headline(column: &str) -> bool {
    let bare = ["_ms", "_bytes", "_percent"]
        .iter()
        .find_map(|suffix| column.strip_suffix(suffix))
        .unwrap_or(column);
    !["_count", "_min", "_mean", "_p95", "_max"]
        .iter()
        .any(|part| bare.ends_with(part))
}

/// Logarithmic for values that differ by large factors.
fn scale_of(values: impl Iterator<Item = f64>) -> Scale {
    let (low, high) = values.fold((f64::INFINITY, 0f64), |(low, high), x| {
        (low.min(x), high.max(x))
    });
    if low > 0.0 && high >= 20.0 * low {
        Scale::Log
    } else {
        Scale::Linear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::report::tests::{TempDir, report};

    fn sweep(text: &str) -> Sweep {
        text.parse().unwrap()
    }

    fn runs() -> Runs {
        let sweeps = [sweep("dead=0,0.1,0.2"), sweep("model=ours,upstream")];
        let cells = Sweep::grid(&sweeps, 1, 3).unwrap();
        Runs {
            runs: cells
                .iter()
                .map(|cell| {
                    let of = |key: &str| cell.parameters[key].as_str();
                    report(of("dead"), of("model"), cell.seed).to_file()
                })
                .collect(),
            command: "skydht sim --scenario churn --seeds 3".into(),
        }
    }

    #[test]
    fn every_combination_runs_with_every_seed() {
        let sweeps = [sweep("dead=0, 0.1"), sweep("model=ours,upstream")];
        let cells = Sweep::grid(&sweeps, u64::MAX, 2).unwrap();
        assert_eq!(cells.len(), 8);
        let text: Vec<String> = cells
            .iter()
            .map(|cell| {
                let values: Vec<&str> = cell.parameters.values().map(String::as_str).collect();
                format!("{} {}", values.join(" "), cell.seed)
            })
            .collect();
        assert_eq!(text[0], format!("0 ours {}", u64::MAX));
        assert_eq!(
            text[1..4],
            [
                "0 ours 0",
                &format!("0 upstream {}", u64::MAX),
                "0 upstream 0"
            ]
        );
        assert_eq!(text[7], "0.1 upstream 0");
        assert_eq!(Sweep::grid(&[], 5, 1).unwrap().len(), 1);
    }

    #[test]
    fn wrong_sweeps_are_refused_before_anything_runs() {
        for text in ["", "dead", "=1", "dead=", "dead=1,,2"] {
            assert!(
                matches!(text.parse::<Sweep>(), Err(SweepError::Form(_))),
                "{text}"
            );
        }
        assert!(matches!(
            "a=1,1".parse::<Sweep>(),
            Err(SweepError::Twice { .. })
        ));
        let twice = [sweep("a=1"), sweep("a=2")];
        assert_eq!(
            Sweep::grid(&twice, 0, 1),
            Err(SweepError::KeyTwice("a".into()))
        );
        assert_eq!(Sweep::grid(&[], 0, u64::MAX), Err(SweepError::TooMany));
        let most = MAX_RUNS as u64;
        assert!(Sweep::grid(&[], 0, most).is_ok());
        assert_eq!(Sweep::grid(&[], 0, most + 1), Err(SweepError::TooMany));
    }

    #[test]
    fn a_line_a_run_and_the_median_over_seeds() {
        let runs = runs();
        assert_eq!(runs.to_csv().lines().count(), 19);
        let table = runs.table();
        assert_eq!(table.len(), 6);
        assert_eq!((table[0].0.as_str(), table[0].1), ("dead=0 model=ours", 3));
        let messages = table[5].2["messages"];
        assert_eq!(
            [messages.low, messages.median, messages.high].map(|q| q.value),
            [121, 122, 123]
        );
        assert_eq!(runs.failed(), 0);
    }

    #[test]
    fn charts_are_over_the_number_with_a_series_a_model() {
        let charts = runs().charts();
        let names: Vec<&str> = charts.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "first_value_p50_ms_over_dead",
                "first_value_p99_ms_over_dead",
                "gets_right_percent_over_dead",
                "messages_over_dead"
            ]
        );
        let chart = &charts["first_value_p50_ms_over_dead"];
        let series: Vec<&str> = chart.series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(series, ["ours", "upstream"]);
        let first = chart.series[1].points[0];
        assert_eq!((first.x, first.y), (0.0, 153.0));
        assert_eq!(first.spread, Some((151.5, 154.5)));
        assert_eq!(chart.x.scale, Scale::Linear);
    }

    #[test]
    fn sizes_are_on_a_log_axis_with_a_fit_to_ten_million() {
        let mut runs = Runs::default();
        for (nodes, hops) in [(1_000, 3), (10_000, 4), (100_000, 5)] {
            let mut run = report("0", "ours", 1);
            run.nodes = nodes;
            let by_its_path = ("population.nodes".into(), nodes.to_string());
            run.parameters.extend([by_its_path]);
            run.figures = [("hops".into(), Quantity::count(hops))].into();
            run.samples.clear();
            runs.runs.push(run.to_file());
        }
        let charts = runs.charts();
        let chart = &charts["hops_over_nodes"];
        assert_eq!(chart.x.scale, Scale::Log);
        assert_eq!(chart.series.len(), 2);
        assert_eq!(chart.series[1].mark, Mark::Fit);
        assert!(
            chart.series[1].name.ends_with("7.00 at 10M"),
            "{}",
            chart.series[1].name
        );
        assert_eq!(
            chart.series[0].points[0].spread, None,
            "one seed has no spread"
        );
    }

    #[test]
    fn files_are_written_and_nothing_varied_draws_nothing() {
        let dir = TempDir::new("sweep");
        runs().write_to(&dir.0).unwrap();
        assert_eq!(dir.text("summary.csv"), runs().to_csv());
        assert!(
            dir.text("gets_right_percent_over_dead.svg")
                .contains(">upstream<")
        );
        assert!(dir.text("repro.sh").contains("--seeds 3"));
        let back: Vec<RunFile> = serde_json::from_str(&dir.text("runs.json")).unwrap();
        assert_eq!(back, runs().runs);
        let mut seeds_only = runs();
        seeds_only.runs.truncate(3);
        assert!(seeds_only.charts().is_empty());
        assert_eq!(seeds_only.table().len(), 1);
        assert!(Runs::default().table().is_empty() && Runs::default().charts().is_empty());
    }
}
