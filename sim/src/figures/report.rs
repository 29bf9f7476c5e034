//! The results of one run and the files that contain them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::plot::{self, Chart};
use super::quantity::Quantity;
use super::samples::{Samples, Summary};

/// Name and version of the format of [`RunFile`].
pub const SCHEMA: &str = "skydht.sim/1";
/// Maximum size of a `run.json` that is read, in bytes.
const MAX_RUN_FILE: u64 = 16 << 20;

/// The results of one run of a scenario.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Seed of all random decisions.
    pub seed: u64,
    /// Number of nodes that took part.
    pub nodes: u64,
    /// Parameters that may differ between runs of the scenario, such as `dead` or `model`.
    pub parameters: BTreeMap<String, String>,
    /// Single results. Their names are `snake_case`, without the unit.
    pub figures: BTreeMap<String, Quantity>,
    /// Sets of measurements. Each gives a summary and a chart.
    pub samples: BTreeMap<String, Samples>,
    /// Further charts, by file name without extension.
    pub charts: BTreeMap<String, Chart>,
    /// Descriptions of violated invariants; empty in a run that passed.
    pub violations: Vec<String>,
    /// Digest of all events of the run. The same seed gives the same digest.
    pub digest: String,
    /// The command that repeats the run.
    pub command: String,
}

/// Contents of `run.json`: a [`Report`] without its charts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RunFile {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// See [`Report::scenario`].
    pub scenario: String,
    /// See [`Report::seed`]. Written as text because many JSON readers round large numbers.
    pub seed: String,
    /// See [`Report::nodes`].
    pub nodes: u64,
    /// See [`Report::parameters`].
    pub parameters: BTreeMap<String, String>,
    /// See [`Report::figures`].
    pub figures: BTreeMap<String, Quantity>,
    /// Summaries of [`Report::samples`].
    pub samples: BTreeMap<String, Summary>,
    /// See [`Report::violations`].
    pub violations: Vec<String>,
    /// See [`Report::digest`].
    pub digest: String,
    /// See [`Report::command`].
    pub command: String,
}

/// Reason why results could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Reading or writing a file or directory failed.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// The file is not a `run.json`.
    #[error("{path} is no result of a simulation: {error}", path = path.display())]
    Json {
        /// Path of the file.
        path: PathBuf,
        /// Error of the JSON parser.
        error: serde_json::Error,
    },
    /// The `run.json` has another version.
    #[error("{path} has the schema {schema:?}; this program reads {SCHEMA:?}", path = path.display())]
    Schema {
        /// Path of the file.
        path: PathBuf,
        /// Schema that the file names.
        schema: String,
    },
}

impl Report {
    /// Whether no invariant was violated.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    /// The contents of `run.json`.
    #[must_use]
    pub fn to_file(&self) -> RunFile {
        let summary =
            |(name, samples): (&String, &Samples)| Some((name.clone(), samples.summary()?));
        RunFile {
            schema: SCHEMA.into(),
            scenario: self.scenario.clone(),
            seed: self.seed.to_string(),
            nodes: self.nodes,
            parameters: self.parameters.clone(),
            figures: self.figures.clone(),
            samples: self.samples.iter().filter_map(summary).collect(),
            violations: self.violations.clone(),
            digest: self.digest.clone(),
            command: self.command.clone(),
        }
    }

    /// The text of `run.json`, on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.to_file().to_json()
    }

    /// Writes `run.json`, `summary.csv`, `repro.sh`, and for each chart and set of samples an SVG
    /// and a CSV of its points. Creates the directory and replaces files of the same name.
    ///
    /// # Errors
    /// [`ReportError::Io`].
    pub fn write_to(&self, dir: &Path) -> Result<(), ReportError> {
        let file = self.to_file();
        make_dir(dir)?;
        write(dir, "run.json", &file.to_json())?;
        write(dir, "summary.csv", &rows([&file]))?;
        write_script(dir, &self.command)?;
        let distributions = self
            .samples
            .iter()
            .filter(|(_, samples)| !samples.is_empty())
            .map(|(name, samples)| {
                let title = format!("{}: {name}, {} nodes", self.scenario, self.nodes);
                let chart = plot::cumulative(&title, name, [(name.as_str(), samples)]);
                (name, chart)
            });
        for (name, chart) in distributions {
            write_chart(dir, name, &chart)?;
        }
        for (name, chart) in &self.charts {
            write_chart(dir, name, chart)?;
        }
        Ok(())
    }
}

impl RunFile {
    /// Reads a `run.json` from a file or a directory that contains it.
    ///
    /// # Errors
    /// See [`ReportError`].
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let path = if path.is_dir() {
            path.join("run.json")
        } else {
            path.to_owned()
        };
        let failed = |error| ReportError::Io {
            path: path.clone(),
            error,
        };
        let mut text = String::new();
        fs::File::open(&path)
            .and_then(|file| file.take(MAX_RUN_FILE).read_to_string(&mut text))
            .map_err(failed)?;
        let file: Self = serde_json::from_str(&text).map_err(|error| ReportError::Json {
            path: path.clone(),
            error,
        })?;
        if file.schema != SCHEMA {
            let schema = file.schema;
            return Err(ReportError::Schema { path, schema });
        }
        Ok(file)
    }

    /// JSON on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Maps have text keys and all fields are plain, so JSON can represent everything.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Every result by column name, such as `gets_failed` or `first_value_p50_ms`.
    #[must_use]
    pub fn columns(&self) -> BTreeMap<String, Quantity> {
        let mut columns = BTreeMap::new();
        for (name, quantity) in &self.figures {
            columns.insert(column(name, *quantity), *quantity);
        }
        for (name, summary) in &self.samples {
            for (part, quantity) in summary.quantities() {
                columns.insert(column(&format!("{name}_{part}"), quantity), quantity);
            }
        }
        columns
    }
}

/// Adds the unit to a name unless the name ends in it already.
fn column(name: &str, quantity: Quantity) -> String {
    let suffix = quantity.unit.suffix();
    if name.ends_with(suffix.trim_start_matches('_')) {
        name.into()
    } else {
        format!("{name}{suffix}")
    }
}

/// CSV with one line per run: parameters, whether it passed, and results. Runs may lack columns.
pub(super) fn rows<'a>(runs: impl IntoIterator<Item = &'a RunFile>) -> String {
    let runs: Vec<_> = runs.into_iter().map(|run| (run, run.columns())).collect();
    let parameters: BTreeSet<&String> = runs
        .iter()
        .flat_map(|(run, _)| run.parameters.keys())
        .collect();
    let columns: BTreeSet<&String> = runs
        .iter()
        .flat_map(|(_, columns)| columns.keys())
        .collect();
    let mut head: Vec<String> = ["scenario", "seed", "nodes", "violations", "digest"]
        .map(String::from)
        .to_vec();
    head.extend(parameters.iter().map(|name| csv_field(name)));
    head.extend(columns.iter().map(|name| csv_field(name)));
    let mut out = head.join(",") + "\n";
    for (run, found) in &runs {
        let mut row = vec![
            csv_field(&run.scenario),
            csv_field(&run.seed),
            run.nodes.to_string(),
            run.violations.len().to_string(),
            csv_field(&run.digest),
        ];
        let parameter = |name: &&String| run.parameters.get(*name).map(|text| csv_field(text));
        row.extend(
            parameters
                .iter()
                .map(|name| parameter(name).unwrap_or_default()),
        );
        let result = |name: &&String| found.get(*name).map(|quantity| quantity.exact());
        row.extend(columns.iter().map(|name| result(name).unwrap_or_default()));
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}", row.join(","));
    }
    out
}

/// A CSV field, quoted if necessary.
pub(super) fn csv_field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// A word of a command line, quoted for a POSIX shell if necessary.
#[must_use]
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

pub(super) fn make_dir(dir: &Path) -> Result<(), ReportError> {
    fs::create_dir_all(dir).map_err(|error| ReportError::Io {
        path: dir.to_owned(),
        error,
    })
}

/// Writes a complete file or none, so that a full disk does not leave a partial result.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> Result<(), ReportError> {
    let path = dir.join(name);
    let aside = dir.join(format!(".{name}.new"));
    let written = fs::File::create(&aside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&aside, &path));
    written.map_err(|error| {
        // A temporary file that cannot be removed is ignored.
        let _ = fs::remove_file(&aside);
        ReportError::Io { path, error }
    })
}

pub(super) fn write_chart(dir: &Path, name: &str, chart: &Chart) -> Result<(), ReportError> {
    let name = file_name(name);
    write(dir, &format!("{name}.svg"), &chart.to_svg())?;
    write(dir, &format!("{name}.csv"), &chart.to_csv())
}

/// Writes `repro.sh`, which runs the command from any directory.
pub(super) fn write_script(dir: &Path, command: &str) -> Result<(), ReportError> {
    // A line end would start a second command.
    let command = command.replace(['\n', '\r'], " ");
    let text =
        format!("#!/bin/sh\n# Does the same again: same seed, same digest.\nexec {command}\n");
    write(dir, "repro.sh", &text)?;
    make_executable(&dir.join("repro.sh"))
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), ReportError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).map_err(|error| ReportError::Io {
        path: path.to_owned(),
        error,
    })
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), ReportError> {
    Ok(())
}

/// Makes a name safe, so that it can only name a file in the directory.
fn file_name(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = name.chars().map(plain).take(100).collect();
    match name.as_str() {
        "" => "_".into(),
        // `summary.csv` is already the name of another file.
        "summary" => "summary_".into(),
        _ => name,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::figures::plot::{Axis, Series};
    use crate::figures::{Quantity, Unit};
    use std::time::Duration;

    pub(in crate::figures) struct TempDir(pub(in crate::figures) PathBuf);

    impl TempDir {
        pub(in crate::figures) fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("skydht-sim-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(path)
        }

        pub(in crate::figures) fn text(&self, name: &str) -> String {
            fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A run with the parameters `dead` and `model`. Its results depend on them and the seed.
    pub(in crate::figures) fn report(dead: &str, model: &str, seed: u64) -> Report {
        let slow = if model == "ours" { 1 } else { 3 };
        let dead_share: f64 = dead.parse().unwrap();
        let base = 100 + (dead_share * 100.0) as u64 + seed;
        Report {
            scenario: "churn".into(),
            seed,
            nodes: 50,
            parameters: [("dead", dead), ("model", model)]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            figures: [
                ("gets_right".into(), Quantity::share(1_000 - seed, 1_000)),
                ("messages".into(), Quantity::count(base)),
            ]
            .into(),
            samples: [(
                "first_value".into(),
                Samples::of(
                    Unit::Nanoseconds,
                    (1..=100).map(|n| n * slow * base * 10_000),
                ),
            )]
            .into(),
            digest: format!("{seed:032x}"),
            command: format!("skydht sim --scenario churn --seed {seed}"),
            ..Report::default()
        }
    }

    #[test]
    fn a_directory_holds_numbers_drawings_and_the_command() {
        let dir = TempDir::new("report");
        let mut report = report("0.1", "ours", 7);
        report.figures.insert("bytes".into(), Quantity::bytes(5));
        let chart = Chart {
            title: "T".into(),
            x: Axis::linear("x"),
            y: Axis::linear("y"),
            series: vec![Series::line("s", vec![(1.0, 2.0), (2.0, 4.0)])],
        };
        report.charts.insert("../over time".into(), chart);
        report
            .samples
            .insert("empty".into(), Samples::new(Unit::Count));
        report.write_to(&dir.0).unwrap();
        let mut names: Vec<String> = fs::read_dir(&dir.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "___over_time.csv",
                "___over_time.svg",
                "first_value.csv",
                "first_value.svg",
                "repro.sh",
                "run.json",
                "summary.csv"
            ]
        );
        let summary = dir.text("summary.csv");
        let (head, row) = summary.split_once('\n').unwrap();
        assert!(head.starts_with("scenario,seed,nodes,violations,digest,dead,model,"));
        assert!(head.contains("first_value_p50_ms") && head.contains("gets_right_percent"));
        assert!(row.starts_with("churn,7,50,0,"), "{row}");
        assert!(row.contains(",99.3,"), "{row}");
        assert!(head.contains(",bytes,") && row.contains(",5,"), "{summary}");
        assert!(
            dir.text("repro.sh")
                .ends_with("exec skydht sim --scenario churn --seed 7\n")
        );

        // The same report gives the same bytes and can be read back.
        let other = TempDir::new("report-2");
        report.write_to(&other.0).unwrap();
        for name in names {
            assert_eq!(dir.text(&name), other.text(&name), "{name}");
        }
        assert_eq!(RunFile::read(&dir.0).unwrap(), report.to_file());
        assert_eq!(
            RunFile::read(&dir.0.join("run.json")).unwrap().columns()["first_value_p50_ms"],
            Quantity::duration(Duration::from_nanos(50 * 117 * 10_000))
        );
    }

    #[test]
    fn repro_sh_is_a_program_that_runs_the_command() {
        let dir = TempDir::new("script");
        make_dir(&dir.0).unwrap();
        let words = ["printf", "%s|", "it's", "$HOME", "a b", "", "`x`"].map(quote);
        write_script(&dir.0, &words.join(" ")).unwrap();
        let ran = std::process::Command::new(dir.0.join("repro.sh"))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(ran.stdout).unwrap(),
            "it's|$HOME|a b||`x`|"
        );
    }

    #[test]
    fn other_files_are_refused_with_their_name() {
        let dir = TempDir::new("refused");
        let missing = RunFile::read(&dir.0.join("run.json")).unwrap_err();
        assert!(matches!(missing, ReportError::Io { .. }));
        make_dir(&dir.0).unwrap();
        write(&dir.0, "run.json", "{}").unwrap();
        let error = RunFile::read(&dir.0).unwrap_err();
        assert!(matches!(error, ReportError::Json { .. }), "{error}");
        let mut file = report("0", "ours", 1).to_file();
        file.schema = "skydht.sim/9".into();
        write(&dir.0, "run.json", &file.to_json()).unwrap();
        let error = RunFile::read(&dir.0).unwrap_err().to_string();
        assert!(
            error.contains("run.json") && error.contains("skydht.sim/9"),
            "{error}"
        );
    }

    #[test]
    fn violations_make_a_run_fail() {
        let mut report = report("0", "ours", 1);
        assert!(report.passed());
        report.violations.push("an item was lost, \"x\"".into());
        assert!(!report.passed());
        assert!(rows([&report.to_file()]).contains("churn,1,50,1,"));
        assert!(report.to_json().contains("an item was lost"));
    }
}
