//! `skydht replay`: repeats a recorded run and compares it step by step.

mod calls;
mod diagram;
mod explain;
mod trace;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use skydht_core::Node;
use skydht_core::journal::{self, Digest, Header, ReplayError, Step};
use skydht_core::key::PublicKey;
use skydht_core::node::{Input, Output};
use skydht_driver::journal::{End, Ending, JournalError, Reader};

use crate::cli::{Common, Replay};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::output::{self, Human};
use crate::path_text;
use crate::private_file::{self, open_regular};
use crate::progress::Progress;
use crate::report::ms;

/// Steps between two updates of the progress bar.
const PROGRESS_STEPS: u64 = 1_000;

/// Report of a replay.
#[derive(Serialize)]
struct Report<'a> {
    schema: &'static str,
    #[serde(serialize_with = "path_text::serialize")]
    file: &'a Path,
    key: PublicKey,
    /// Version of skydht-core that recorded the journal.
    version: &'a str,
    steps: u64,
    digest: Digest,
    /// Time from the start of the node to the last step.
    run_ms: f64,
    /// Number of operations that the node's users started.
    operations: u64,
    /// "stopped", "limit", "overrun", "open" or "torn"; `None` with `--until`.
    ending: Option<&'static str>,
    /// Offset of the last record, if it is incomplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    torn_at: Option<u64>,
}

/// Replays a journal and prints the result.
pub(crate) fn run(common: &Common, args: &Replay) -> Result<Exit> {
    let mut run = Run::open(&args.file)?;
    if let Some(op) = args.trace_op {
        return trace_operation(common, &mut run, op, args.svg.as_deref());
    }
    let last = match (args.until, args.explain) {
        (Some(until), true) => {
            run.skip(until)?;
            let Some(taken) = run.next()? else {
                return Err(run.too_short(until));
            };
            let explained = explain::Explained::new(&taken);
            run.progress.clear();
            if common.json {
                output::json(&explained)?;
                return Ok(Exit::Ok);
            }
            output::line(&explained)?;
            Some(until)
        }
        (until, _) => until,
    };
    match last {
        Some(until) => {
            run.skip(until.saturating_add(1))?;
            if run.steps <= until {
                return Err(run.too_short(until));
            }
        }
        None => run.skip(u64::MAX)?,
    }
    run.progress.clear();
    print(common, &args.file, &run)
}

fn trace_operation(common: &Common, run: &mut Run, op: u64, svg: Option<&Path>) -> Result<Exit> {
    let mut tracer = trace::Tracer::new(op);
    while let Some(taken) = run.next()? {
        if tracer.step(&taken) {
            break;
        }
    }
    run.progress.clear();
    let trace = tracer.finish().map_err(|seen| {
        let there = match seen {
            Some((first, last)) => format!("it holds operations {first} to {last}"),
            None => "it holds none".into(),
        };
        Failure::new(
            Code::Usage,
            format_args!("the journal holds no operation {op}: {there}"),
        )
    })?;
    if let Some(path) = svg {
        private_file::replace_public(path, diagram::draw(&trace).as_bytes())?;
    }
    if common.json {
        output::json(&trace)?;
    } else {
        output::line(&trace)?;
    }
    Ok(Exit::Ok)
}

fn print(common: &Common, file: &Path, run: &Run) -> Result<Exit> {
    let ending = run.reader.ending();
    let report = Report {
        schema: "skydht.replay/1",
        file,
        key: run.header.key,
        version: &run.header.version,
        steps: run.steps,
        digest: run.digest,
        run_ms: ms(run.at),
        operations: run.operations,
        ending: ending.map(|ending| match ending {
            Ending::Closed(End::Stopped) => "stopped",
            Ending::Closed(End::Limit) => "limit",
            Ending::Closed(_) => "overrun",
            Ending::Open => "open",
            Ending::Torn { .. } => "torn",
        }),
        torn_at: match ending {
            Some(Ending::Torn { offset, .. }) => Some(offset),
            _ => None,
        },
    };
    if common.json {
        output::json(&report)?;
        return Ok(Exit::Ok);
    }
    output::talk(format_args!(
        "node {}, recorded by skydht-core {}: {} and {}",
        report.key,
        report.version,
        Human(run.at),
        output::counted(report.operations, "operation")
    ));
    match ending {
        None | Some(Ending::Closed(End::Stopped)) => {}
        Some(Ending::Closed(End::Limit)) => {
            output::talk("the run went on: recording ended at --journal-limit");
        }
        Some(Ending::Closed(_)) => {
            output::talk("the run went on: recording ended because the disk was too slow");
        }
        Some(Ending::Open) => {
            output::talk("the journal was not closed: the process was killed, or still runs");
        }
        Some(Ending::Torn { offset, bytes }) => output::talk(format_args!(
            "the last record, at byte {offset}, is incomplete: its {bytes} bytes are ignored"
        )),
    }
    output::line(format_args!(
        "replayed {} steps, digest {}",
        output::count(report.steps),
        report.digest
    ))?;
    Ok(Exit::Ok)
}

/// A replay in progress.
struct Run {
    reader: Reader<BufReader<File>>,
    header: Header,
    replay: journal::Replay,
    path: PathBuf,
    progress: Progress,
    /// Number of steps replayed.
    steps: u64,
    digest: Digest,
    /// Time from the start of the node to the last step.
    at: Duration,
    operations: u64,
}

/// A replayed step whose result equals the recorded one.
struct ReplayedStep<'a> {
    index: u64,
    at: Duration,
    step: Step<'a>,
    outputs: Vec<Output>,
    node: &'a Node,
}

impl Run {
    fn open(path: &Path) -> Result<Self> {
        let file = open_regular(path)?;
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let reader =
            Reader::new(BufReader::new(file)).map_err(|error| unreadable(path, 0, &error))?;
        let header = reader.header().clone();
        let replay = journal::Replay::new(header.clone())
            .map_err(|error| Failure::new(Code::Journal, error))?;
        let progress = Progress::new();
        progress.begin("replay", usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Self {
            reader,
            header,
            replay,
            path: path.to_owned(),
            progress,
            steps: 0,
            digest: Digest::default(),
            at: Duration::ZERO,
            operations: 0,
        })
    }

    /// Replays the next step; `None` at the end of the journal.
    fn next(&mut self) -> Result<Option<ReplayedStep<'_>>> {
        if self.steps.is_multiple_of(PROGRESS_STEPS) {
            let offset = self.reader.offset();
            self.progress
                .at(usize::try_from(offset).unwrap_or(usize::MAX));
        }
        let step = match self.reader.step() {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(None),
            Err(error) => {
                self.progress.clear();
                return Err(unreadable(&self.path, self.steps, &error));
            }
        };
        let at = step.now.mono.since(self.header.start.mono);
        let outputs = match self.replay.step(&step) {
            Ok(outputs) => outputs,
            Err(error) => {
                self.progress.clear();
                return Err(differs(&self.header, self.steps, at, &step, error));
            }
        };
        let index = self.steps;
        self.steps += 1;
        self.digest = step.digest;
        self.at = at;
        self.operations += u64::from(matches!(step.input, Input::Command { .. }));
        Ok(Some(ReplayedStep {
            index,
            at,
            step,
            outputs,
            node: self.replay.node(),
        }))
    }

    /// Replays until `steps` steps are done, or to the end of the journal.
    fn skip(&mut self, steps: u64) -> Result<()> {
        while self.steps < steps && self.next()?.is_some() {}
        Ok(())
    }

    fn too_short(&self, until: u64) -> Box<Failure> {
        self.progress.clear();
        Failure::new(
            Code::Usage,
            format_args!(
                "there is no step {until}: the journal holds {} steps, counted from 0",
                self.steps
            ),
        )
    }
}

fn unreadable(path: &Path, steps: u64, error: &JournalError) -> Box<Failure> {
    let failure = Failure::new(Code::Journal, format_args!("{}: {error}", path.display()));
    match error {
        JournalError::Damaged { .. } if steps > 0 => failure.hint(format_args!(
            "the {steps} steps before are sound and replay; --until {} stops after them",
            steps - 1
        )),
        JournalError::Format { .. } | JournalError::Container { .. } => {
            failure.hint("replay it with the version that recorded it")
        }
        JournalError::Content { .. } => failure
            .hint("it was written by another version of skydht, probably; replay it with that one"),
        _ => failure,
    }
}

/// Details of a difference, for scripts.
#[derive(Serialize)]
struct Difference {
    step: u64,
    at_ms: f64,
    expected: Digest,
    got: Digest,
    input: serde_json::Value,
    outputs: Vec<serde_json::Value>,
}

fn differs(
    header: &Header,
    index: u64,
    at: Duration,
    step: &Step<'_>,
    error: ReplayError,
) -> Box<Failure> {
    let ReplayError::Diverged {
        expected,
        got,
        outputs,
        ..
    } = error
    else {
        return Failure::new(Code::Journal, error);
    };
    let input = explain::legible(&step.input);
    let outputs: Vec<_> = outputs.iter().map(explain::legible).collect();
    let mut text = format!(
        "step {index} differs, {} ms after the start: recorded digest {expected}, replayed {got}\n  input   {input}",
        ms(at)
    );
    for output in &outputs {
        text.push_str(&format!("\n  output  {output}"));
    }
    let difference = Difference {
        step: index,
        at_ms: ms(at),
        expected,
        got,
        input,
        outputs,
    };
    let failure = Failure::new(Code::Differs, text).details(&difference);
    if header.version == journal::VERSION {
        failure.hint("same version, other behaviour: another revision recorded it, or something besides its inputs decides what the node does")
    } else {
        failure.hint(format_args!(
            "recorded by skydht-core {}, replayed by {}: behaviour changes between versions; replay it with the version that recorded it",
            header.version,
            journal::VERSION
        ))
    }
}
